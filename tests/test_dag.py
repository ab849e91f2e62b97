"""The DAG file: what Airflow makes of it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import ROOT

LINE = ["extract", "stage_to_blob", "convert", "map_mailboxes", "import_to_mailboxes", "reconcile"]


@pytest.fixture(scope="module")
def bag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags"))


@pytest.fixture(scope="module")
def dag(bag: Any) -> Any:
    return bag.dags["o2_network_archive"]


def test_every_dag_file_is_imported_without_a_fault(bag: Any) -> None:
    assert bag.import_errors == {}


def test_the_tasks_follow_each_other(dag: Any) -> None:
    for task, following in itertools.pairwise(LINE):
        assert following in dag.get_task(task).downstream_task_ids


def test_the_tasks_that_grow_with_the_day_are_mapped(dag: Any) -> None:
    mapped = {task.task_id for task in dag.tasks if task.is_mapped}

    assert mapped == {"stage_to_blob", "convert", "import_to_mailboxes"}


def test_every_task_retries_with_exponential_backoff_and_gives_up_where_nothing_heals(dag: Any) -> None:
    for task in dag.tasks:
        assert task.retries >= 3
        assert task.retry_exponential_backoff > 1
        assert task.max_retry_delay <= timedelta(hours=1)
        assert task.has_retry_policy


def test_reconcile_runs_whatever_became_of_the_rest(dag: Any) -> None:
    assert dag.get_task("reconcile").trigger_rule == "all_done"


def test_a_day_begins_at_midnight_in_the_set_zone_and_lasts_until_the_next(dag: Any) -> None:
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    stored: SerializedDAG = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    run = stored.timetable.next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(earliest=None, latest=None, catchup=False),
    )

    assert run is not None
    assert (run.data_interval.start.in_timezone("Europe/London").hour, run.data_interval.end.minute) == (0, 0)
    assert run.data_interval.end - run.data_interval.start in (timedelta(hours=each) for each in (23, 24, 25))


def test_the_trigger_form_asks_for_a_window_and_a_dry_run(dag: Any) -> None:
    params = dag.params

    assert params["window_start"] is params["window_end"] is None
    assert params["dry_run"] is False
    for name in ("window_start", "window_end"):
        assert dag.params.get_param(name).schema["format"] == "date-time"


def test_a_late_day_and_a_failed_run_are_told_to_the_people_on_call(dag: Any) -> None:
    (deadline,) = dag.deadline

    assert deadline.interval == timedelta(hours=6)
    assert "SmtpNotifier" in deadline.callback.path
    assert deadline.callback.kwargs["to"] == ["oncall@example.com"]
    assert dag.has_on_failure_callback


def test_the_file_parses_in_under_a_second_beyond_airflow_and_loads_nothing_heavy() -> None:
    script = """
import sys, time
import airflow.sdk, airflow.providers.smtp.notifications.smtp
begun = time.process_time()
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), {"__name__": "dag", "__file__": sys.argv[1]})
print(time.process_time() - begun, [name for name in ("pandas", "msal", "azure", "adlfs") if name in sys.modules])
"""
    answer = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "dags" / "o2_network_archive.py")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "plugins"), "PATH": "/usr/bin:/bin"},
    )

    seconds, heavy = answer.stdout.strip().splitlines()[-1].split(" ", 1)
    assert heavy == "[]"
    assert float(seconds) < 1


def parsed_with(**settings: str) -> dict[str, Any]:
    """Parse the file in a process of its own, with other settings."""
    script = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
dag = DagBag(sys.argv[1]).dags["o2_network_archive"]
told = {"start": str(dag.start_date), "catchup": dag.catchup, "alerts": bool(dag.deadline)}
told["tasks"] = dag.get_task("map_mailboxes").tasks
convert = dag.get_task("convert").partial_kwargs
told["convert"] = {name: convert[name] for name in ("message_class", "message_megabytes")}
print(json.dumps({**told, "zone": str(dag.timetable.timezone)}))
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("O2_")}
    answer = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "dags")],
        capture_output=True,
        text=True,
        check=True,
        env={**environ, "PYTHONPATH": str(ROOT / "plugins"), **settings},
    )
    return dict(json.loads(answer.stdout.strip().splitlines()[-1]))


def test_with_a_first_day_no_day_is_left_out_whatever_did_not_run() -> None:
    told = parsed_with(O2_FIRST_DAY="2026-11-01", O2_TIMEZONE="Europe/Berlin", O2_ALERT_EMAIL="oncall@example.com")

    assert (told["start"], told["zone"]) == ("2026-10-31 23:00:00+00:00", "Europe/Berlin")
    assert (told["catchup"], told["alerts"]) == (True, True)


def test_without_settings_nothing_is_caught_up_and_nobody_told() -> None:
    told = parsed_with(O2_FIRST_DAY="", O2_ALERT_EMAIL="", O2_IMPORT_TASKS="")

    assert (told["catchup"], told["alerts"], told["tasks"]) == (False, False, 16)
    assert told["convert"] == {"message_class": "IPM.Note.O2Network", "message_megabytes": 35}


def test_the_tenants_limit_and_the_messages_class_are_settings() -> None:
    told = parsed_with(O2_MESSAGE_LIMIT_MB="150", O2_MESSAGE_CLASS="IPM.Note.Archive")

    assert told["convert"] == {"message_class": "IPM.Note.Archive", "message_megabytes": 150}


def test_the_number_of_import_tasks_is_a_setting() -> None:
    assert parsed_with(O2_IMPORT_TASKS="48")["tasks"] == 48


def test_a_number_of_import_tasks_that_mailboxes_cannot_be_shared_out_over_is_refused() -> None:
    from o2_connector.operators.map import MapMailboxesOperator

    for tasks in (0, 65):
        with pytest.raises(ValueError, match="1 to 64"):
            MapMailboxesOperator(
                task_id="map", groups=[], mappings="", region="GB", timezone="Europe/London", tasks=tasks
            )
