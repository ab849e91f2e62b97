"""Metrics: what is told of books and of what is not archived, through Airflow's own interface.

What an import tells while it works is in :mod:`o2_connector.engine.progress`. No metric and no tag names anybody.
"""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from airflow.sdk.observability import stats

from o2_connector.core.errors import ConnectorError
from o2_connector.core.outcomes import Outcome
from o2_connector.core.overview import Run, overview
from o2_connector.core.report import Report
from o2_connector.core.window import Window
from o2_connector.engine.chain import links_of
from o2_connector.hooks.staging import StagingHook

_log = logging.getLogger("airflow.task")


def tell_book(report: Report) -> None:
    """Tell what became of a book's items, when it is closed; a dry run's became nothing.

    The counter ``o2_archive.items`` has the report's lines: the outcomes ``imported``, ``partially_imported``,
    ``skipped`` and ``failed`` count each item once for each mailbox that gets it, ``parked`` and ``rejected`` once. A
    replay looks at everything that waits: it tells how much that is, in the gauges ``o2_archive.parked``,
    ``o2_archive.waiting`` and ``o2_archive.oldest_waiting_age`` (seconds), and counts no parked item again.
    """
    if report.dry_run:
        return
    counts = report.counts
    for outcome, count in (
        (Outcome.IMPORTED, counts.imported),
        (Outcome.PARTIALLY_IMPORTED, counts.partially_imported),
        (Outcome.SKIPPED, counts.skipped),
        (Outcome.FAILED, counts.failed),
        ("rejected", counts.rejected),
        ("parked", 0 if report.replay else counts.parked),
    ):
        if count:
            stats.incr("o2_archive.items", count, tags={"outcome": outcome.replace(" ", "_")})
    if report.replay:
        since = [*report.since("parked"), *report.since("waiting")]
        age = report.completed_at - min(since, default=report.completed_at)
        tell_park(counts.parked, report.waiting, age)


def tell_park(parked: int, waiting: int, age: timedelta) -> None:
    """Tell how much waits for a mailbox, of any window.

    :param age: how long the oldest waits.
    """
    stats.gauge("o2_archive.parked", parked)
    stats.gauge("o2_archive.waiting", waiting)
    stats.gauge("o2_archive.oldest_waiting_age", age.total_seconds())


def tell_age(
    staging: StagingHook, *, zone: ZoneInfo, first_day: str | None, now: datetime, window: Window | None = None
) -> None:
    """Tell for how many seconds the oldest day is over that should be archived and is not.

    The gauge ``o2_archive.oldest_window_age``; 0 where there is no such day. Whoever asks works for something else:
    where staging does not answer, it is not told.

    :param window: what is being archived: until it has a book, it is not.
    """
    try:
        links = links_of(staging).values()
    except ConnectorError as error:
        _log.warning("The age of the oldest day that is not archived cannot be told: %s", error)
        return
    begun = []
    if window and window not in {link.window for link in links}:
        begun = [Run(run_id="", window=window, state="running", queued_at=None, started_at=None, ended_at=None)]
    oldest = overview(
        links,
        begun,
        zone=zone,
        first_day=date.fromisoformat(first_day) if first_day else None,
        now=now,
        deadline=timedelta.max,
    ).oldest_missing(zone)
    stats.gauge("o2_archive.oldest_window_age", max(0.0, (now - oldest.end).total_seconds()) if oldest else 0.0)
