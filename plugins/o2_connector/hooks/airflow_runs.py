"""Airflow's runs: what its metadata database knows of them, read only.

For the API server and for commands, which may ask the database; a task may not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from o2_connector.core.errors import StopError
from o2_connector.core.overview import Run
from o2_connector.core.window import Asked, Window, settle_window

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


_ASKED = {"day": "day", "start": "window_start", "end": "window_end"}

ARCHIVE = "o2_network_archive"
"""Id of the DAG that archives windows."""

REPLAY = "o2_replay_parked"
"""Id of the DAG that delivers what was parked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRun:
    """Hold what Airflow knows of one task of a run, or of one map index of it.

    :param map_index: -1 for a task that is not mapped.
    :param name: what the map index is called; nothing for a task that is not mapped.
    :param state: Airflow's; None while it is not scheduled.
    :param tries: how often it was begun.
    :param seconds: how long its last try took, or takes.
    """

    task_id: str
    map_index: int
    name: str | None
    state: str | None
    tries: int
    seconds: float | None


def runs(session: Session, dag_id: str, zone: ZoneInfo) -> list[Run]:
    """Return every run of a DAG that archives windows, the oldest first; one that asks for no window is left out.

    :param zone: by which a run that asks for nothing takes the last complete day.
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    failed = _failed(session, dag_id)
    columns: Sequence[Any] = (
        *(DagRun.run_id, DagRun.state, DagRun.run_type, DagRun.conf, DagRun.run_after),
        *(DagRun.data_interval_start, DagRun.data_interval_end),
        *(DagRun.queued_at, DagRun.start_date, DagRun.end_date),
    )
    rows = session.execute(select(*columns).where(DagRun.dag_id == dag_id).order_by(DagRun.id))
    return list(_runs(rows, failed, zone))


def last_change(session: Session, dag_id: str) -> tuple[int, datetime | None]:
    """Return how many runs a DAG has, and when the last of them changed: the same again while nothing has."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func, select

    count, at = session.execute(select(func.count(), func.max(DagRun.updated_at)).where(DagRun.dag_id == dag_id)).one()
    return count, at


def tasks(session: Session, dag_id: str, run_id: str) -> list[TaskRun]:
    """Return the tasks of a run, those that were begun first before the others."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    columns: Sequence[Any] = (
        *(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.rendered_map_index),
        *(TaskInstance.state, TaskInstance.try_number, TaskInstance.duration, TaskInstance.start_date),
    )
    found = session.execute(select(*columns).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)).all()
    began: dict[str, float] = {}
    for each in found:
        start = each.start_date.timestamp() if each.start_date else float("inf")
        began[each.task_id] = min(began.get(each.task_id, start), start)
    return [
        TaskRun(
            task_id=each.task_id,
            map_index=each.map_index,
            name=each.rendered_map_index,
            state=each.state,
            tries=each.try_number,
            seconds=each.duration,
        )
        for each in sorted(found, key=lambda each: (began[each.task_id], each.task_id, each.map_index))
    ]


def _failed(session: Session, dag_id: str) -> Mapping[str, Sequence[str]]:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    where = (TaskInstance.dag_id == dag_id, TaskInstance.state == "failed")
    by_run: defaultdict[str, list[str]] = defaultdict(list)
    for run_id, task_id in session.execute(select(TaskInstance.run_id, TaskInstance.task_id).where(*where).distinct()):
        by_run[run_id].append(task_id)
    return by_run


def _runs(rows: Any, failed: Mapping[str, Sequence[str]], zone: ZoneInfo) -> Iterator[Run]:
    for run_id, state, run_type, conf, run_after, start, end, queued_at, started_at, ended_at in rows:
        asked = conf if isinstance(conf, dict) else {}
        if window := _window(run_type, asked, run_after, start, end, zone):
            yield Run(
                run_id=run_id,
                window=window,
                state=state,
                queued_at=queued_at,
                started_at=started_at,
                ended_at=ended_at,
                failed=tuple(sorted(failed.get(run_id, ()))),
                dry_run=bool(asked.get("dry_run")),
            )


def _window(
    run_type: str,
    asked: Mapping[str, Any],
    run_after: datetime,
    start: datetime | None,
    end: datetime | None,
    zone: ZoneInfo,
) -> Window | None:
    try:
        return settle_window(
            asked=Asked(**{each: _text(asked.get(name)) for each, name in _ASKED.items()}),
            interval_start=start,
            interval_end=end,
            run_type=run_type,
            run_after=run_after,
            zone=zone,
        )
    except StopError:  # its extract task fails with this, and says it
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
