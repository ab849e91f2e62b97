"""Report: make the book of a run from what its tasks left, or from what they staged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from o2_connector.core.conversion import Reject
from o2_connector.core.manifest import Decision, Frozen, StagedBatch, StagedObject
from o2_connector.core.report import Changes, Counts, Coverage, Detail, Report
from o2_connector.engine.book import Book
from o2_connector.hooks.staging import StagingHook

Row = TypeVar("Row", bound=msgspec.Struct)


class Counted(Protocol):
    """Tell what the book takes of a converted batch: a task's manifest of it, or what was counted again."""

    @property
    def batch_id(self) -> str: ...
    @property
    def items(self) -> int: ...
    @property
    def converted(self) -> int: ...
    @property
    def rejected(self) -> int: ...
    @property
    def rejects(self) -> StagedObject | None: ...


def window_report(
    staging: StagingHook,
    frozen: Frozen,
    *,
    staged: Sequence[StagedBatch],
    converted: Sequence[Counted],
    decision: Decision | None,
    book: Book,
    run_id: str,
    dry_run: bool,
    at: datetime,
) -> Report:
    """Return the book of a run over a window.

    :param decision: None where the run did not come so far.
    :param at: when it is closed.
    """
    counts = Counts(
        available_from_source=frozen.items,
        staged=sum(batch.items for batch in staged),
        converted=sum(batch.converted for batch in converted),
        rejected=sum(batch.rejected for batch in converted),
        decided=decision.items if decision else 0,
        parked=decision.items_parked if decision else 0,
        items_with_deliveries=book.items,
        available_for_import=book.available,
        **book.counts,
    )
    return Report(
        window=frozen.window,
        run_id=run_id,
        completed_at=at,
        dry_run=dry_run,
        counts=counts,
        details=(
            *_rejects(staging, [batch.rejects for batch in converted]),
            *(staging.read_lines(decision.details, Detail) if decision else ()),
            *book.details,
        ),
        batch_faults=tuple(_batch_faults(staged, converted)),
        mapping_sha256=decision.mapping.sha256 if decision else None,
        waiting=decision.items_waiting if decision else 0,
        rules=book.rules,
        coverage=_only(staging, decision.coverage if decision else None, Coverage),
        changes=_only(staging, decision.changes if decision else None, Changes),
    )


def replay_report(
    staging: StagingHook, decision: Decision, book: Book, *, run_id: str, dry_run: bool, at: datetime
) -> Report:
    """Return the book of a replay of parked items.

    :param at: when it is closed.
    """
    return Report(
        window=decision.window,
        run_id=run_id,
        completed_at=at,
        dry_run=dry_run,
        counts=Counts(
            available_from_source=decision.items,
            staged=decision.items,
            converted=decision.items,
            decided=decision.items,
            parked=decision.items_parked,
            unserved=decision.items_unserved,
            items_with_deliveries=book.items,
            available_for_import=book.available,
            **book.counts,
        ),
        details=(*book.details, *staging.read_lines(decision.details, Detail)),
        mapping_sha256=decision.mapping.sha256,
        waiting=decision.items_waiting,
        rules=book.rules,
        replay=True,
    )


def _only(staging: StagingHook, staged: StagedObject | None, kind: type[Row]) -> Row | None:
    return next(staging.read_lines(staged, kind), None) if staged else None


def _rejects(staging: StagingHook, objects: Sequence[StagedObject | None]) -> Iterator[Detail]:
    for each in filter(None, objects):
        for reject in staging.read_lines(each, Reject):
            yield Detail(
                item_id=reject.item_id,
                outcome="rejected",
                cause=reject.fault,
                place=f"{reject.batch_id}:{reject.line}",
            )


def _batch_faults(staged: Sequence[StagedBatch], converted: Sequence[Counted]) -> Iterator[str]:
    for batch in staged:
        if batch.items != batch.promised:
            yield f"batch {batch.batch_id}: {batch.promised} items promised, {batch.items} there"
    for each in converted:
        if each.items != each.converted + each.rejected:
            yield f"batch {each.batch_id}: {each.items} items, {each.converted + each.rejected} converted and rejected"
