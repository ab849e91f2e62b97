"""Manifest: what an export's ``manifest.jsonl`` says, line by line."""

from __future__ import annotations

from datetime import datetime

import msgspec

from o2_connector.engine.export.outcomes import Delivered, Waits


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Be the base of the lines: what is not so is not there."""


class WindowLine(_Line, frozen=True, kw_only=True, tag="window"):
    """Say what was exported, and whether it is all.

    :param window: its name.
    :param start: of capture time, included; UTC, as the end, which is not.
    :param report: name and digest of the report, as staged.
    :param link: digest of the report's link in the chain of books.
    :param converters: versions by which the items were converted.
    :param items: so many the source said it has: exported, rejected and not exported are as many.
    :param is_whole: whether nothing is missing and the counts add up.
    :param faults: what is not as it should be, in words.
    """

    window: str
    start: datetime
    end: datetime
    format: str
    contains: str = "personal data: texts, numbers, names and addresses"
    run_id: str
    report: str
    report_sha256: str
    link_sha256: str
    converters: tuple[str, ...]
    items: int
    exported: int
    rejected: int
    not_exported: int
    files: int
    bytes: int
    is_whole: bool
    faults: tuple[str, ...] = ()


class FileLine(_Line, frozen=True, kw_only=True, tag="file"):
    """Name a file."""

    path: str
    size: int
    sha256: str


class AttachmentPlace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Say where an attachment is.

    :param path: the file that is it, or has it.
    :param cause: why it is nowhere, where it is not.
    """

    attachment_id: str
    size: int
    sha256: str
    path: str | None = None
    cause: str | None = None


class ItemLine(_Line, frozen=True, kw_only=True, tag="item"):
    """Name an item.

    :param record: SHA-256 of its record as captured.
    :param path: the file that has it.
    :param line: its line there, where that is one.
    :param outcome: what became of it, in the report's words.
    :param causes: why parts of it are not in its e-mail.
    :param fault: why it is not exported, where it is not.
    """

    item_id: str
    record: str
    message_id: str
    path: str | None = None
    line: int | None = None
    outcome: str
    deliveries: tuple[Delivered, ...] = ()
    waits: tuple[Waits, ...] = ()
    causes: tuple[str, ...] = ()
    attachments: tuple[AttachmentPlace, ...] = ()
    fault: str | None = None


class RejectLine(_Line, frozen=True, kw_only=True, tag="reject"):
    """Name a record that breaks the contract.

    :param batch: the source's id of its batch.
    :param batch_line: its line there, from 1.
    :param path: the file that has it as it was captured; none where it is not exported.
    :param line: its line there, where that is one.
    """

    item_id: str | None = None
    record: str
    batch: str
    batch_line: int
    fault: str
    path: str | None = None
    line: int | None = None
