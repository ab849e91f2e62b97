"""Places: what every format of an export has in common: where an item is written, and its attachments beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from o2_connector.core.errors import IntegrityError
from o2_connector.core.items import Attachment
from o2_connector.core.layout import attachment_object
from o2_connector.engine.export.folder import Folder
from o2_connector.engine.export.manifest import AttachmentPlace
from o2_connector.engine.export.source import Item, OpenBatch, Rejected
from o2_connector.hooks.staging import StagingHook

NOT_IN_STAGING = "it is not in staging as it was"

PIECE = 1 << 20
"""Bytes that are copied at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """Say where an item or a reject was written.

    :param line: its line in the file, where that is one.
    """

    path: str
    line: int | None = None
    attachments: tuple[AttachmentPlace, ...] = ()


Places: TypeAlias = Iterator[tuple[Item | Rejected, Placed]]


class Format(Protocol):
    """Write items as files."""

    def write(self, batch: OpenBatch) -> Places:
        """Write a batch, and yield where each of its records is, as far as that is known yet."""

    def finish(self) -> Places:
        """Write what is left, and yield where it is."""


@dataclass(kw_only=True)
class Place:
    """Hold where an export is written, and what of it could not be.

    :param faults: in words.
    """

    staging: StagingHook
    folder: Folder
    faults: list[str] = field(default_factory=list)

    def attachment(self, batch: OpenBatch, each: Attachment) -> AttachmentPlace:
        """Write an attachment under its digest, once; say why where it is not to be had."""
        if each.file in batch.missing:
            return place_of(each, None, batch.missing[each.file])
        path = f"attachments/{each.sha256}"
        if not self.folder.has(path):
            try:
                self._copy(each, path)
            except IntegrityError as error:
                self.faults.append(str(error))
                return place_of(each, None, NOT_IN_STAGING)
        return place_of(each, path, None)

    def reject(self, rejected: Rejected) -> Placed:
        """Write a rejected record under its digest."""
        path = f"rejected/{rejected.reject.record}.json"
        if not self.folder.has(path):
            with self.folder.file(path) as out:
                out.write(rejected.record)
        return Placed(path=path)

    def _copy(self, each: Attachment, path: str) -> None:
        with (
            self.staging.reader(attachment_object(each.sha256, each.byte_count)) as content,
            self.folder.file(path) as out,
        ):
            while piece := content.read(PIECE):
                out.write(piece)


def place_of(each: Attachment, path: str | None, cause: str | None) -> AttachmentPlace:
    """Say where an attachment is, or why it is not there."""
    return AttachmentPlace(
        attachment_id=each.attachment_id, size=each.byte_count, sha256=each.sha256, path=path, cause=cause
    )
