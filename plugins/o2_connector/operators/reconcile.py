"""Reconcile: add the book of a window up again from what is staged, and fail the run when it does not balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from o2_connector.core.errors import IntegrityError, StopError
from o2_connector.core.layout import REPLAYS, WINDOWS, run_stem
from o2_connector.core.manifest import (
    ConvertedGroup,
    Decision,
    Frozen,
    ReportManifest,
    StagedGroup,
    StagedObject,
    from_xcom,
    to_xcom,
)
from o2_connector.core.outcomes import Outcome
from o2_connector.core.report import Report, lines_of, report_csv, report_json
from o2_connector.core.trail import Trail, reconcile_trail
from o2_connector.engine.book import add_up, settled
from o2_connector.engine.chain import Closed, close, staged_names
from o2_connector.engine.metrics import tell_age, tell_book
from o2_connector.engine.park import leave
from o2_connector.engine.report import window_report
from o2_connector.hooks.staging import StagingHook
from o2_connector.operators.run import ArchiveOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

T = TypeVar("T")


class BookOperator(ArchiveOperator):
    """Be the base of the operators that close a run's book.

    :param timezone: IANA name of the zone whose days are archived.
    :param first_day: the first day that is to be archived, where one is set.
    """

    def __init__(self, *, timezone: str, first_day: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.timezone = timezone
        self.first_day = first_day
        self.done: ReportManifest | None = None

    def trail(self) -> Trail:
        """Say that the book is written."""
        return reconcile_trail(self.done)

    def close_book(self, staging: StagingHook, report: Report, sealed: Iterable[str], context: Context) -> None:
        """Write the report, add it to the chain, say it; fail the run when it is not as it should be.

        :param sealed: the names of what it goes by, besides what lies in its run's folder.
        """
        zone = ZoneInfo(self.timezone)
        stem = run_stem(report.window, report.run_id, REPLAYS if report.replay else WINDOWS)
        closed = Closed(
            report=report,
            started_at=context["dag_run"].start_date or report.completed_at,
            json=_write(staging, f"{stem}report.", ".json", report_json(report)),
            csv=_write(staging, f"{stem}report.", ".csv", report_csv(report, zone)),
        )
        self.done = ReportManifest(
            window=report.window,
            report=closed.json,
            log=closed.csv,
            link=close(staging, closed, sealed),
            counts={**asdict(report.counts), "waiting": report.waiting, "balanced": report.balanced},
        )
        # Before the verdict: a run that fails here has a report like any other.
        context["ti"].xcom_push(key="return_value", value=to_xcom(self.done))
        for line in lines_of(report, zone):
            self.log.info("%s", line)
        self.log.info("Report: %s", staging.url(self.done.log.name))
        self.log.info("Chain: %s", self.done.link.name)
        tell_book(report)
        if not report.replay:
            self.tell_age(staging)
        _judge(report)

    def tell_age(self, staging: StagingHook) -> None:
        """Tell how old the oldest day is that is not archived."""
        tell_age(staging, zone=ZoneInfo(self.timezone), first_day=self.first_day, now=datetime.now(UTC))


class ReconcileOperator(BookOperator):
    """Write the report of the window; fail when the book does not balance or anything failed.

    Returns a :class:`ReportManifest`. Runs whatever became of the tasks before it, so it takes what they left in XCom
    by itself: a template that refers to an XCom that is not there would fail the task before it begins.

    :param extract: id of the task that left a :class:`Frozen`.
    :param stage: id of the task that left a :class:`StagedGroup` for each map index.
    :param convert: id of the task that left a :class:`ConvertedGroup` for each map index.
    :param map_mailboxes: id of the task that left a :class:`Decision`.
    """

    def __init__(self, *, extract: str, stage: str, convert: str, map_mailboxes: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.extract = extract
        self.stage = stage
        self.convert = convert
        self.map_mailboxes = map_mailboxes

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
        report = window_report(
            staging,
            frozen,
            staged=staged,
            converted=converted,
            decision=decision,
            book=book,
            run_id=context["run_id"],
            dry_run=bool(context["params"].get("dry_run")),
            at=datetime.now(UTC),
        )
        if decision and not report.dry_run:
            leave(staging, settled(staging, decision, book))
        sealed = staged_names(frozen.export, staged, converted, decision)
        self.close_book(staging, report, sealed, context)


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


def _write(staging: StagingHook, stem: str, suffix: str, content: bytes) -> StagedObject:
    with staging.writer(stem, suffix) as out:
        out.write(content)
    return out.staged
