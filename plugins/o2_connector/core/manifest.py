"""Manifests: what passes between tasks through XCom: references, counts, digests. Never content, number or address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from o2_connector.core.conversion_profile import Profile
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
    """Refer to what one batch was converted to, and from what: the same again makes the same bytes.

    :param raw: the batch as staged.
    :param missing: the attachments that could not be had, where there are any.
    :param converter: version of the converter.
    :param emls: EMLs, one after the other.
    :param index: a line for each item: where its EML and its Graph message lie, and its digests.
    :param messages: Graph messages, a line each.
    :param participants: a row for each item and participant.
    :param rejects: a line for each record that breaks the contract, where there are any.
    """

    batch_id: str
    raw: StagedObject
    missing: StagedObject | None
    converter: str
    profile: Profile
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
    """Sum up what was decided, and by what (the XCom ``decision`` of ``map_mailboxes`` and ``find_parked``).

    :param mapping: the mapping that was used, frozen.
    :param rows: how many rows it has.
    :param rows_used: how many of them counted for a participant.
    :param directory: what the directory said of each address, and of each number where it was asked.
    :param items: items looked at; each has at least one delivery, is parked, or is unserved.
    :param items_parked: items that nobody gets.
    :param items_waiting: items that are delivered, while somebody of the organisation who took part has no mailbox yet.
    :param items_unserved: those of a replay's that were delivered before it, and get no delivery now.
    :param details: a line for each parked or waiting item, and for each mapping row that needs a person.
    :param numbers: which numbers had how many items.
    :param leaving: what waits no longer when the deliveries are made, where there is any.
    :param coverage: who was silent and who is unknown; a replay has none.
    :param changes: of a dry run, what it would do otherwise than the window's last run.
    """

    window: Window
    mapping: StagedObject
    rows: int
    rows_used: int
    directory: StagedObject
    items: int
    items_parked: int
    items_waiting: int
    details: StagedObject
    shards: tuple[Shard, ...]
    items_unserved: int = 0
    numbers: StagedObject | None = None
    leaving: StagedObject | None = None
    coverage: StagedObject | None = None
    changes: StagedObject | None = None


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Keep a decision in staging with all that is needed to explain it, or to decide again.

    :param batches: what was decided on; of a replay, none.
    :param region: see :class:`o2_connector.engine.rules.MappingRules`, as the following.
    :param catch_all: object id of the catch-all mailbox, where there is one.
    """

    run_id: str
    decided_at: datetime
    dry_run: bool
    decision: Decision
    batches: tuple[ConvertedBatch, ...]
    region: str
    zone: str
    by_number: bool
    catch_all: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportManifest:
    """Refer to the report of a run. ``reconcile`` returns it.

    :param report: the book, as JSON.
    :param log: the book in the terms of Microsoft's connector log, and each item that needs a person, as CSV.
    :param link: the book's link of the chain: a copy of its digest outside of staging.
    """

    window: Window
    report: StagedObject
    log: StagedObject
    link: StagedObject
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
