"""Manifests: what passes between tasks through XCom: references, counts, digests. Never content, number or address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from o2_connector.core.source import Batch
from o2_connector.core.window import Window


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedObject:
    """Refer to one write-once object in staging.

    :param name: path below the staging root, with ``/`` between its parts.
    :param sha256: digest of its bytes, 64 lower-case hex digits.
    :param size: bytes.
    """

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Frozen:
    """Sum up what the source froze (``extract``'s XCom ``frozen``).

    :param export: the source's answer, staged.
    :param items: how many items it says the window has.
    """

    window: Window
    export: StagedObject
    items: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportGroup:
    """List the batches that one task stages. ``extract`` returns a list of these."""

    window: Window
    export_id: str
    batches: tuple[Batch, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedBatch:
    """Refer to one batch as staged.

    :param items: records in its bytes.
    :param promised: items that the source said it has.
    :param missing: the attachments that could not be had, a line each, where there are any.
    """

    batch_id: str
    items: int
    promised: int
    raw: StagedObject
    missing: StagedObject | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedGroup:
    """List the batches that one task converts. ``stage_to_blob`` returns it."""

    window: Window
    batches: tuple[StagedBatch, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedBatch:
    """Refer to what one batch was converted to.

    :param emls: EMLs, one after the other.
    :param index: a line for each item: where its EML and its Graph message lie, and its digests.
    :param messages: Graph messages, a line each.
    :param participants: a row for each item and participant.
    :param rejects: a line for each record that breaks the contract, where there are any.
    """

    batch_id: str
    items: int
    converted: int
    rejected: int
    emls: StagedObject
    index: StagedObject
    messages: StagedObject
    participants: StagedObject
    rejects: StagedObject | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedGroup:
    """List the batches that were converted by one task. ``convert`` returns it."""

    window: Window
    batches: tuple[ConvertedBatch, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """Refer to the deliveries to the mailboxes of a range of buckets. ``map_mailboxes`` returns a list of these.

    :param first: the first bucket; see :data:`o2_connector.core.layout.BUCKETS`.
    :param last: the last one.
    :param mailboxes: how many there are deliveries for.
    :param count: deliveries.
    :param deliveries: see :mod:`o2_connector.core.ledger`.
    """

    window: Window
    first: int
    last: int
    mailboxes: int
    count: int
    deliveries: StagedObject
    dry_run: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Sum up what ``map_mailboxes`` decided (its XCom ``decision``).

    :param mapping: the mapping that was used, frozen.
    :param items: items looked at; each has at least one delivery or is parked.
    :param details: a line for each parked item, and for each mapping row that leads to no mailbox.
    """

    window: Window
    mapping: StagedObject
    items: int
    items_parked: int
    details: StagedObject
    shards: tuple[Shard, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportManifest:
    """Refer to the report of a run. ``reconcile`` returns it.

    :param report: the book, as JSON.
    :param log: the book in the terms of Microsoft's connector log, and each item that needs a person, as CSV.
    """

    window: Window
    report: StagedObject
    log: StagedObject
    counts: dict[str, int | bool]


def to_xcom(manifest: Any) -> Any:
    """Return a manifest, or a list of them, as plain JSON values."""
    return msgspec.to_builtins(manifest)


T = TypeVar("T")


def from_xcom(value: Any, kind: type[T]) -> T:
    """Return the manifest that plain JSON values stand for.

    :raises msgspec.ValidationError: when another version of the connector wrote it.
    """
    return msgspec.convert(value, kind)
