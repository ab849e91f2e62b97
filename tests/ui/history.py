"""A past for the page to show: books in staging, and runs in Airflow's database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from o2_connector.core.layout import REPLAYS, WINDOWS, run_stem
from o2_connector.core.manifest import StagedObject
from o2_connector.core.report import Counts, Coverage, Detail, Report, Silent, Unknown, report_csv, report_json
from o2_connector.core.window import Window, day_window
from o2_connector.engine.chain import Closed, close
from o2_connector.hooks.airflow_runs import ARCHIVE
from o2_connector.hooks.staging import StagingHook

ZONE = ZoneInfo("Europe/London")
TODAY = datetime.now(UTC).astimezone(ZONE).date()
COVERAGE = Coverage(
    known=20,
    with_items=18,
    silent_days=7,
    silent=(Silent(place="phones.csv:7", number="…0123"),),
    unknown=(Unknown(number="…0456", items=7, side=True, item_id="item-9"),),
)


def day(back: int) -> Window:
    """Return the day that was so many days ago."""
    return day_window(TODAY - timedelta(days=back), ZONE)


def counted(items: int, *, parked: int = 0, failed: int = 0) -> Counts:
    """Return the numbers of a book that balances, with a delivery for each item that is not parked."""
    served = items - parked
    return Counts(
        available_from_source=items,
        staged=items,
        converted=items,
        decided=items,
        parked=parked,
        items_with_deliveries=served,
        available_for_import=served,
        imported=served - failed,
        failed=failed,
    )


def report_of(window: Window, counts: Counts, run_id: str | None = None, **more: Any) -> Report:
    """Return the book of a run that ended soon after its window."""
    given: dict[str, Any] = {
        "dry_run": False,
        "completed_at": window.end + timedelta(minutes=3),
        "details": (),
        "mapping_sha256": "a" * 64,
        "rules": {"mapping file": counts.available_for_import},
        "coverage": COVERAGE,
    }
    return Report(window=window, run_id=run_id or scheduled(window), counts=counts, **{**given, **more})


def add_book(report: Report) -> str:
    """Close a book as ``reconcile`` does; return its link's digest."""
    staging = StagingHook()
    stem = run_stem(report.window, report.run_id, REPLAYS if report.replay else WINDOWS)
    written: list[StagedObject] = []
    for suffix, content in ((".json", report_json(report)), (".csv", report_csv(report, ZONE))):
        with staging.writer(f"{stem}report.", suffix) as out:
            out.write(content)
        written.append(out.staged)
    started_at = report.completed_at - timedelta(seconds=130)
    return close(staging, Closed(report=report, started_at=started_at, json=written[0], csv=written[1]), []).sha256


def failed_detail(number: int = 1) -> Detail:
    """Return a delivery that failed."""
    return Detail(item_id=f"item-{number}", outcome="failed", cause="ErrorQuotaExceeded", mailbox=f"user-{number}")


def scheduled(window: Window) -> str:
    """Return the id of a window's scheduled run."""
    return f"scheduled__{window.end:%Y-%m-%dT%H:%M:%S+00:00}"


def add_run(window: Window, state: str, run_id: str | None = None, **more: Any) -> str:
    """Write a run into Airflow's database; return its id."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import insert

    name = run_id or scheduled(window)
    over = state in ("success", "failed")
    given: dict[str, Any] = {
        "dag_id": ARCHIVE,
        "run_id": name,
        "run_type": "scheduled",
        "logical_date": window.start,
        "data_interval_start": window.start,
        "data_interval_end": window.end,
        "run_after": window.end,
        "queued_at": window.end,
        "start_date": window.end + timedelta(seconds=5),
        "end_date": window.end + timedelta(minutes=3) if over else None,
        "conf": {},
    }
    with create_session() as session:
        session.execute(insert(DagRun).values(_state=state, **{**given, **more}))
    return name


def add_tasks(run_id: str, tasks: Sequence[tuple[str, int, str | None]]) -> None:
    """Write task instances of a run: task id, map index and state, in the order in which they began."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import insert

    began = datetime.now(UTC) - timedelta(hours=1)
    rows = [
        {
            "id": uuid4(),
            "dag_id": ARCHIVE,
            "run_id": run_id,
            "task_id": task_id,
            "map_index": map_index,
            "state": state,
            "try_number": 2 if state == "failed" else 1,
            "duration": 12.5,
            "start_date": began + timedelta(seconds=number) if state else None,
            "pool": "default_pool",
        }
        for number, (task_id, map_index, state) in enumerate(tasks)
    ]
    with create_session() as session:
        session.execute(insert(TaskInstance), rows)


def forget_runs() -> None:
    """Empty Airflow's database of runs."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(TaskInstance))
        session.execute(delete(DagRun))


def date_of(window: Window) -> date:
    """Return the day that a window is."""
    return window.start.astimezone(ZONE).date()
