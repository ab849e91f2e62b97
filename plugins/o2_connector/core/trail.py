"""Trails: what a task reads and what it writes, with counts; the UI's links and the lineage events are made of it.

Beside them, what the UI calls the task of a batch or a shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from o2_connector.core.layout import MAPPING_STEM, PARKED, export_stem, window_stem
from o2_connector.core.manifest import (
    ConvertedBatch,
    ConvertedGroup,
    Decision,
    ExportGroup,
    Frozen,
    ReportManifest,
    Shard,
    StagedBatch,
    StagedGroup,
    StagedObject,
)
from o2_connector.core.outcomes import Outcome
from o2_connector.core.source import Batch
from o2_connector.core.window import Window

TELEMESSAGE = "telemessage"
"""The place that is TeleMessage's archive."""

MAILBOXES = "mailboxes"
"""The place that is all mailboxes together: which ones they are is the ledger's business alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """Say how much was read from a place, or written there.

    :param place: the same word in every run: :data:`TELEMESSAGE`, :data:`MAILBOXES`, or a part of staging.
    :param stem: what the names of the objects begin with, where the place is a part of staging.
    :param items: how many items, or lines that stand for something.
    :param size: bytes.
    :param objects: how many batches, or objects in staging.
    """

    place: str
    stem: str | None = None
    items: int | None = None
    size: int | None = None
    objects: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trail:
    """Say what a task reads and writes: where, before it ran, and how much, when it is done."""

    window: Window | None = None
    reads: tuple[Flow, ...] = ()
    writes: tuple[Flow, ...] = ()

    @property
    def stem(self) -> str | None:
        """Return what the names of the objects begin with that the task writes, as far as it is known."""
        named = next((flow.stem for flow in self.writes if flow.stem), None)
        return named or (window_stem(self.window) if self.window else None)


def extract_trail(window: Window | None, done: Frozen | None) -> Trail:
    """Say what freezing a window reads and writes."""
    reads = (Flow(place=TELEMESSAGE, items=done.items if done else None),)
    if window is None:
        return Trail(reads=reads)
    export = _staged("windows/export", export_stem(window), [done.export] if done else None)
    return Trail(window=window, reads=reads, writes=(export,))


def stage_trail(group: ExportGroup, done: StagedGroup | None, attachments: int | None) -> Trail:
    """Say what staging batches reads and writes.

    :param attachments: how many of the batches' attachments are in staging.
    """
    batches = Flow(
        place=TELEMESSAGE,
        items=sum(batch.item_count for batch in group.batches),
        size=sum(batch.size for batch in group.batches),
        objects=len(group.batches),
    )
    beside = Flow(place="attachments", stem="attachments/", objects=attachments)
    raw = _raw(group.window, done.batches if done else None)
    return Trail(window=group.window, reads=(batches,), writes=(raw, beside))


def convert_trail(group: StagedGroup, done: ConvertedGroup | None) -> Trail:
    """Say what converting batches reads and writes."""
    converted = _converted(group.window, done.batches if done else None)
    return Trail(window=group.window, reads=(_raw(group.window, group.batches),), writes=(converted,))


def map_trail(groups: Sequence[ConvertedGroup], done: Decision | None) -> Trail:
    """Say what deciding on a window reads and writes."""
    window = groups[0].window
    converted = _converted(window, [batch for group in groups for batch in group.batches])
    return Trail(window=window, reads=(converted, _mapping(done)), writes=(_shards("windows/shards", done),))


def replay_trail(done: Decision | None) -> Trail:
    """Say what deciding again on parked items reads and writes."""
    parked = Flow(place="parked", stem=PARKED, items=done.items if done else None)
    window = done.window if done else None
    return Trail(window=window, reads=(parked, _mapping(done)), writes=(_shards("replays/shards", done),))


def import_trail(shard: Shard, done: Mapping[Outcome, int] | None) -> Trail:
    """Say what importing a shard reads and writes.

    :param done: how many receipts of each outcome were written.
    """
    name = shard.deliveries.name
    root = name.partition("/")[0]
    receipts = sum(done.values()) if done is not None else None
    written = sum(done.get(each, 0) for each in (Outcome.IMPORTED, Outcome.PARTIALLY_IMPORTED)) if done else receipts
    return Trail(
        window=shard.window,
        reads=(_staged(f"{root}/shards", name, [shard.deliveries], shard.count),),
        writes=(
            Flow(place=MAILBOXES, items=written),
            Flow(place=f"{root}/receipts", stem=f"{name.removesuffix('.jsonl')}/", items=receipts),
        ),
    )


def reconcile_trail(done: ReportManifest | None) -> Trail:
    """Say what adding a book up reads and writes."""
    if done is None:
        return Trail()
    root, run = done.report.name.partition("/")[0], _folder(done.report)
    receipts = Flow(place=f"{root}/receipts", stem=f"{run}shards/", items=done.counts["available_for_import"])
    report = _staged(f"{root}/report", f"{run}report.", [done.report, done.log])
    return Trail(window=done.window, reads=(receipts,), writes=(report,))


def batches_label(batches: Sequence[Batch] | Sequence[StagedBatch]) -> str:
    """Name the task that does some batches."""
    first, *rest = [_short(batch.batch_id) for batch in batches]
    return f"batches {first} to {rest[-1]}" if rest else f"batch {first}"


def shard_label(shard: Shard) -> str:
    """Name the task that does a shard."""
    mailboxes = "1 mailbox" if shard.mailboxes == 1 else f"{shard.mailboxes} mailboxes"
    return f"buckets {shard.first:02d}-{shard.last:02d}, {mailboxes}"


def _short(batch_id: str) -> str:
    return batch_id if len(batch_id) <= 40 else f"{batch_id[:39]}…"  # Airflow keeps 250 characters of a name


def _staged(place: str, stem: str, objects: Sequence[StagedObject] | None, items: int | None = None) -> Flow:
    if objects is None:
        return Flow(place=place, stem=stem)
    return Flow(place=place, stem=stem, items=items, size=sum(each.size for each in objects), objects=len(objects))


def _folder(staged: StagedObject) -> str:
    return f"{staged.name.rpartition('/')[0]}/"


def _raw(window: Window, batches: Sequence[StagedBatch] | None) -> Flow:
    place, stem = "windows/raw", f"{window_stem(window)}raw/"
    if batches is None:
        return _staged(place, stem, None)
    return _staged(place, stem, [batch.raw for batch in batches], sum(batch.items for batch in batches))


def _converted(window: Window, batches: Sequence[ConvertedBatch] | None) -> Flow:
    place, stem = "windows/converted", f"{window_stem(window)}converted/"
    if batches is None:
        return _staged(place, stem, None)
    objects = [
        staged
        for batch in batches
        for staged in (batch.emls, batch.index, batch.messages, batch.participants, batch.rejects)
        if staged
    ]
    return _staged(place, stem, objects, sum(batch.converted for batch in batches))


def _mapping(decision: Decision | None) -> Flow:
    if decision is None:
        return _staged("mappings", MAPPING_STEM, None)
    return _staged("mappings", MAPPING_STEM, [decision.mapping], decision.rows)


def _shards(place: str, decision: Decision | None) -> Flow:
    if decision is None:
        return Flow(place=place)
    stem = f"{_folder(decision.details)}shards/"
    objects = [shard.deliveries for shard in decision.shards]
    return _staged(place, stem, objects, sum(shard.count for shard in decision.shards))
