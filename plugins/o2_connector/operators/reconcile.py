"""Reconcile: add the book of a window up again from what is staged, and fail the run when it does not balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from airflow.sdk import BaseOperator

from o2_connector.core.conversion import Reject
from o2_connector.core.errors import IntegrityError, StopError
from o2_connector.core.layout import REPLAYS, WINDOWS, run_stem
from o2_connector.core.manifest import (
    ConvertedBatch,
    ConvertedGroup,
    Decision,
    Frozen,
    ReportManifest,
    StagedBatch,
    StagedGroup,
    StagedObject,
    from_xcom,
    to_xcom,
)
from o2_connector.core.outcomes import Outcome
from o2_connector.core.report import Changes, Counts, Coverage, Detail, Report, lines_of, report_csv, report_json
from o2_connector.engine.book import Book, add_up, settled
from o2_connector.engine.chain import Closed, close, staged_names
from o2_connector.engine.park import leave
from o2_connector.hooks.staging import StagingHook

if TYPE_CHECKING:
    from airflow.sdk import Context

T = TypeVar("T")
Row = TypeVar("Row", bound=msgspec.Struct)


class ReconcileOperator(BaseOperator):
    """Write the report of the window; fail when the book does not balance or anything failed.

    Returns a :class:`ReportManifest`. Runs whatever became of the tasks before it, so it takes what they left in XCom
    by itself: a template that refers to an XCom that is not there would fail the task before it begins.

    :param extract: id of the task that left a :class:`Frozen`.
    :param stage: id of the task that left a :class:`StagedGroup` for each map index.
    :param convert: id of the task that left a :class:`ConvertedGroup` for each map index.
    :param map_mailboxes: id of the task that left a :class:`Decision`.
    :param timezone: IANA name of the zone whose days are archived.
    """

    def __init__(
        self, *, extract: str, stage: str, convert: str, map_mailboxes: str, timezone: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.extract = extract
        self.stage = stage
        self.convert = convert
        self.map_mailboxes = map_mailboxes
        self.timezone = timezone

    def execute(self, context: Context) -> None:
        """Count, write, judge."""
        ti = context["ti"]
        frozen = _left_by(ti, self.extract, "frozen", Frozen)
        if frozen is None:
            raise StopError("There is no book: extract did not finish. Its log says why; mend that and clear extract.")
        staging = StagingHook()
        decision = _left_by(ti, self.map_mailboxes, "decision", Decision)
        book = add_up(staging, decision)
        staged = [batch for group in _left_by_each(ti, self.stage, StagedGroup) for batch in group.batches]
        converted = [batch for group in _left_by_each(ti, self.convert, ConvertedGroup) for batch in group.batches]
        report = _report(
            staging,
            frozen,
            staged=staged,
            converted=converted,
            decision=decision,
            book=book,
            run_id=context["run_id"],
            dry_run=bool(context["params"].get("dry_run")),
        )
        if decision and not report.dry_run:
            leave(staging, settled(staging, decision, book))
        sealed = staged_names(frozen.export, staged, converted, decision)
        finish(staging, report, sealed, ZoneInfo(self.timezone), context, self.log)


def finish(
    staging: StagingHook, report: Report, sealed: Iterable[str], zone: ZoneInfo, context: Context, log: Any
) -> None:
    """Close the book: write the report, add it to the chain, say it; fail the run when it is not as it should be.

    :param sealed: the names of what it goes by, besides what lies in its run's folder.
    """
    stem = run_stem(report.window, report.run_id, REPLAYS if report.replay else WINDOWS)
    closed = Closed(
        report=report,
        started_at=context["dag_run"].start_date or report.completed_at,
        json=_write(staging, f"{stem}report.", ".json", report_json(report)),
        csv=_write(staging, f"{stem}report.", ".csv", report_csv(report, zone)),
    )
    manifest = ReportManifest(
        window=report.window,
        report=closed.json,
        log=closed.csv,
        link=close(staging, closed, sealed),
        counts={**asdict(report.counts), "waiting": report.waiting, "balanced": report.balanced},
    )
    # Before the verdict: a run that fails here has a report like any other.
    context["ti"].xcom_push(key="return_value", value=to_xcom(manifest))
    for line in lines_of(report, zone):
        log.info("%s", line)
    log.info("Report: %s", staging.url(manifest.log.name))
    log.info("Chain: %s", manifest.link.name)
    _judge(report)


def _left_by(ti: Any, task_id: str, key: str, kind: type[T]) -> T | None:
    value = ti.xcom_pull(task_ids=task_id, key=key, map_indexes=None)
    return None if value is None else from_xcom(value, kind)


def _left_by_each(ti: Any, task_id: str, kind: type[T]) -> list[T]:
    # Asked for a list of tasks it answers a list, however many map indexes there are.
    return [from_xcom(value, kind) for value in ti.xcom_pull(task_ids=[task_id]) if value is not None]


def _judge(report: Report) -> None:
    """Fail the run when the book does not balance or a delivery failed."""
    if not report.balanced:
        raise IntegrityError(f"The book of {report.window} does not balance: {'; '.join(report.contradictions)}")
    if report.counts.failed:
        causes = Counter(each.cause for each in report.details if each.outcome == Outcome.FAILED)
        summed = ", ".join(f"{count} with {cause}" for cause, count in causes.most_common())
        again = (
            "the items stay parked, and the next run tries them again"
            if report.replay
            else "then clear import_to_mailboxes with what follows it"
        )
        raise StopError(
            f"{report.counts.failed} deliveries failed ({summed}). The report names them: mend the causes, {again};"
            " what is delivered already is left alone."
        )


def _report(
    staging: StagingHook,
    frozen: Frozen,
    *,
    staged: Sequence[StagedBatch],
    converted: Sequence[ConvertedBatch],
    decision: Decision | None,
    book: Book,
    run_id: str,
    dry_run: bool,
) -> Report:
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
        completed_at=datetime.now(UTC),
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


def _batch_faults(staged: Sequence[StagedBatch], converted: Sequence[ConvertedBatch]) -> Iterator[str]:
    for batch in staged:
        if batch.items != batch.promised:
            yield f"batch {batch.batch_id}: {batch.promised} items promised, {batch.items} there"
    for each in converted:
        if each.items != each.converted + each.rejected:
            yield f"batch {each.batch_id}: {each.items} items, {each.converted + each.rejected} converted and rejected"


def _write(staging: StagingHook, stem: str, suffix: str, content: bytes) -> StagedObject:
    with staging.writer(stem, suffix) as out:
        out.write(content)
    return out.staged
