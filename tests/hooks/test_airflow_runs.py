"""What Airflow's database knows, from a real one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from o2_connector.core.overview import Run
from o2_connector.hooks.airflow_runs import ARCHIVE, TaskRun, runs, tasks
from tests.ui.history import ZONE, add_run, add_tasks, date_of, day, forget_runs, scheduled


@pytest.fixture(scope="module")
def database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def session(database: None) -> Iterator[Session]:
    from airflow.utils.session import create_session

    forget_runs()
    with create_session() as session:
        yield session
    forget_runs()


def only(session: Session) -> Run:
    (run,) = runs(session, ARCHIVE, ZONE)
    return run


@pytest.mark.parametrize(
    "asked",
    [
        {"run_type": "scheduled"},
        {"run_type": "backfill"},
        {"run_type": "manual", "conf": {"day": str(date_of(day(4)))}},
        {
            "run_type": "manual",
            "conf": {"window_start": day(4).start.isoformat(), "window_end": day(4).end.isoformat()},
        },
        {"run_type": "manual", "run_after": day(4).end + timedelta(hours=9), "logical_date": None, "conf": None},
    ],
    ids=["scheduled", "backfill", "day", "span", "nothing asked"],
)
def test_a_run_has_the_window_that_its_tasks_settle(session: Session, asked: dict[str, Any]) -> None:
    add_run(day(4), "success", "the-run", **asked)

    assert only(session).window == day(4)


@pytest.mark.parametrize("conf", [{"day": "tomorrow"}, {"window_start": "2026-11-21T00:00:00"}], ids=str)
def test_a_run_that_asks_for_no_window_is_left_out(session: Session, conf: dict[str, Any]) -> None:
    add_run(day(4), "failed", "the-run", run_type="manual", conf=conf)

    assert runs(session, ARCHIVE, ZONE) == []


def test_a_run_tells_how_it_stands_and_what_failed(session: Session) -> None:
    name = add_run(day(2), "failed")
    add_tasks(name, [("extract", -1, "success"), *(("convert", number, "failed") for number in range(3))])

    run = only(session)

    assert (run.run_id, run.state, run.failed, run.dry_run) == (scheduled(day(2)), "failed", ("convert",), False)
    assert run.ended_at is not None
    assert run.started_at is not None
    assert run.ended_at - run.started_at == timedelta(seconds=175)


def test_a_dry_run_is_known_as_one(session: Session) -> None:
    add_run(day(2), "running", conf={"dry_run": True})

    assert only(session).dry_run


def test_runs_of_other_dags_are_none_of_it(session: Session) -> None:
    add_run(day(2), "success", dag_id="another")

    assert runs(session, ARCHIVE, ZONE) == []


def test_runs_come_in_the_order_in_which_they_were_made_by_two_queries(session: Session) -> None:
    made = [add_run(day(back), "success") for back in range(40, 0, -1)]
    asked: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda *given: asked.append(given[2]))

    found = runs(session, ARCHIVE, ZONE)

    assert [run.run_id for run in found] == made
    assert len(asked) == 2


def test_tasks_come_in_the_order_in_which_they_began(session: Session) -> None:
    name = add_run(day(2), "running")
    add_tasks(
        name, [("extract", -1, "success"), ("convert", 1, "running"), ("convert", 0, "failed"), ("map", -1, None)]
    )

    found = tasks(session, ARCHIVE, name)

    assert [(each.task_id, each.map_index, each.name, each.state) for each in found] == [
        ("extract", -1, None, "success"),
        ("convert", 0, "0", "failed"),
        ("convert", 1, "1", "running"),
        ("map", -1, None, None),
    ]
    assert found[1] == TaskRun(task_id="convert", map_index=0, name="0", state="failed", tries=2, seconds=12.5)
