"""The DAG files: what Airflow makes of them."""

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

LINES = {
    "o2_network_archive": ["extract", "stage_to_blob", "convert", "map_mailboxes", "import_to_mailboxes", "reconcile"],
    "o2_replay_parked": ["find_parked", "import_to_mailboxes", "reconcile"],
}
HEAVY = {"pandas", "numpy", "msal", "azure", "adlfs", "lxml", "PIL", "openlineage"}

every_dag = pytest.mark.parametrize("name", LINES)


@pytest.fixture(scope="module")
def bag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags"))


@pytest.fixture(scope="module")
def dag(bag: Any) -> Any:
    return bag.dags["o2_network_archive"]


@pytest.fixture(scope="module")
def replay(bag: Any) -> Any:
    return bag.dags["o2_replay_parked"]


def stored(dag: Any) -> Any:
    """Return a DAG as the scheduler has it."""
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


def next_run(dag: Any) -> Any:
    from airflow.timetables.base import TimeRestriction

    return stored(dag).timetable.next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(earliest=None, latest=None, catchup=False),
    )


def test_every_dag_file_is_imported_without_a_fault(bag: Any) -> None:
    assert bag.import_errors == {}
    assert bag.dags.keys() == LINES.keys() | {"o2_preflight"}


@every_dag
def test_the_tasks_follow_each_other(bag: Any, name: str) -> None:
    dag = bag.dags[name]

    assert set(dag.task_ids) == set(LINES[name])
    for task, following in itertools.pairwise(LINES[name]):
        assert following in dag.get_task(task).downstream_task_ids


@pytest.mark.parametrize(
    ("name", "grow"),
    [
        ("o2_network_archive", {"stage_to_blob", "convert", "import_to_mailboxes"}),
        ("o2_replay_parked", {"import_to_mailboxes"}),
    ],
)
def test_the_tasks_that_grow_with_the_day_are_mapped(bag: Any, name: str, grow: set[str]) -> None:
    assert {task.task_id for task in bag.dags[name].tasks if task.is_mapped} == grow


@every_dag
def test_every_task_retries_with_exponential_backoff_and_gives_up_where_nothing_heals(bag: Any, name: str) -> None:
    for task in bag.dags[name].tasks:
        assert task.retries >= 3
        assert task.retry_exponential_backoff > 1
        assert task.max_retry_delay <= timedelta(hours=1)
        assert task.has_retry_policy


@every_dag
def test_reconcile_runs_whatever_became_of_the_rest_and_after_all_of_it(bag: Any, name: str) -> None:
    reconcile = bag.dags[name].get_task("reconcile")

    assert reconcile.trigger_rule == "all_done"
    assert reconcile.upstream_task_ids == set(LINES[name]) - {"reconcile"}


def test_a_day_begins_at_midnight_in_the_set_zone_and_lasts_until_the_next(dag: Any) -> None:
    run = next_run(dag)

    assert (run.data_interval.start.in_timezone("Europe/London").hour, run.data_interval.end.minute) == (0, 0)
    assert run.data_interval.end - run.data_interval.start in (timedelta(hours=each) for each in (23, 24, 25))


def test_parked_items_are_looked_at_every_morning_one_run_after_the_other(replay: Any) -> None:
    run = next_run(replay)

    morning = run.run_after.in_timezone("Europe/London")
    assert (morning.hour, morning.minute) == (7, 0)
    assert (replay.max_active_runs, replay.catchup) == (1, False)


def test_parked_items_are_looked_at_whenever_the_mapping_files_change(replay: Any) -> None:
    ((_, files),) = stored(replay).timetable.asset_condition.iter_assets()

    (watcher,) = files.watchers
    assert watcher.trigger["classpath"] == "o2_connector.triggers.mapping_files.MappingFilesTrigger"
    assert watcher.trigger["kwargs"]["folder"] == str(ROOT / "include" / "mappings")


def test_the_form_of_a_replay_asks_for_a_dry_run_only(replay: Any) -> None:
    assert dict(replay.params) == {"dry_run": False}


def test_the_trigger_form_asks_for_a_day_and_a_dry_run_and_in_a_section_of_its_own_for_a_span(dag: Any) -> None:
    assert dict(dag.params) == {"day": None, "dry_run": False, "window_start": None, "window_end": None}
    sections = {name: dag.params.get_param(name).schema.get("section") for name in dag.params}
    assert sections["day"] is sections["dry_run"] is None
    assert sections["window_start"] == sections["window_end"] == "A span other than one day"


def triggered(dag: Any, **conf: Any) -> dict[str, Any]:
    """Return a run's params as the API server makes them of what the form sends."""
    params = stored(dag).params.deep_merge(conf)
    return dict(params.validate())


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"day": "2026-11-21"},
        {"day": None, "window_start": None, "window_end": None, "dry_run": True},
        {"window_start": "2026-11-21T00:00:00+00:00", "window_end": "2026-11-21T12:00:00Z"},
        {"window_start": "2026-11-21T00:00:00.000+00:00", "window_end": "2026-11-22"},
        {"window_start": "2026-11-21T00:00", "window_end": "2026-11-21 12:00"},
    ],
)
def test_what_asks_for_a_window_may_be_triggered(dag: Any, conf: dict[str, Any]) -> None:
    assert triggered(dag, **conf).items() >= conf.items()


@pytest.mark.parametrize(
    "conf",
    [
        {"day": "yesterday"},
        {"day": "2026-02-30"},
        {"day": "2026-11-21T00:00:00Z"},
        {"dry_run": "yes"},
        {"window_start": "21.11.2026"},
        {"window_end": "2026-11-21T23:59:59.999Z"},
    ],
)
def test_what_can_be_no_window_is_refused_when_it_is_triggered(dag: Any, conf: dict[str, Any]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    (name,) = conf
    with pytest.raises(ParamValidationError, match=f"Invalid input for param {name}"):
        triggered(dag, **conf)


@every_dag
def test_every_task_says_what_it_does_and_what_to_do_when_it_fails_and_the_dag_says_it_of_all(
    bag: Any, name: str
) -> None:
    dag = bag.dags[name]

    for task in dag.tasks:
        does, _, fails = task.doc_md.strip().partition("\n\n- *")
        assert does.endswith(".")
        assert fails
        assert f"#### {task.task_id}\n{task.doc_md}" in dag.doc_md


@every_dag
def test_every_task_links_to_its_window_and_to_what_it_staged_and_map_indexes_have_names(bag: Any, name: str) -> None:
    for task in stored(bag.dags[name]).tasks:
        assert set(task.extra_links) == {"O2 archive: the window", "O2 archive: what it staged"}
        assert not task.is_mapped or task.map_index_template == "{{ task.label }}"


@every_dag
def test_a_late_run_a_failed_run_and_what_a_book_says_are_told_to_the_people_on_call(bag: Any, name: str) -> None:
    dag = bag.dags[name]
    (deadline,) = dag.deadline

    assert deadline.interval == timedelta(hours=6)
    assert deadline.callback.path == "o2_connector.operators.notices.LateNotifier"
    assert deadline.callback.kwargs == {"replay": name == "o2_replay_parked"}
    assert dag.has_on_failure_callback
    assert dag.get_task("reconcile").has_on_success_callback
    for task in dag.tasks:
        assert task.has_on_failure_callback


def in_a_process_of_its_own(script: str, *arguments: str, **settings: str) -> Any:
    """Run a script that prints JSON, with no other settings."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("O2_")}
    answer = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**environ, "PYTHONPATH": str(ROOT / "plugins"), **settings},
    )
    return json.loads(answer.stdout.strip().splitlines()[-1])


def test_the_files_parse_in_under_a_second_beyond_airflow_and_load_nothing_heavy() -> None:
    script = """
import json, sys, time
import airflow.sdk, airflow.providers.smtp.notifications.smtp
begun = time.process_time()
for file in sys.argv[1:]:
    exec(compile(open(file).read(), file, "exec"), {"__name__": "dag", "__file__": file})
print(json.dumps([time.process_time() - begun, sorted({name.split(".")[0] for name in sys.modules})]))
"""
    files = [str(ROOT / "dags" / f"{name}.py") for name in LINES]

    seconds, loaded = in_a_process_of_its_own(script, *files)

    assert "o2_connector" in loaded
    assert not HEAVY & set(loaded)
    assert seconds < 1


def parsed_with(**settings: str) -> dict[str, Any]:
    """Parse the files in a process of their own, with other settings; say what became of each DAG."""
    script = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from o2_connector.operators.map import MappingOperator
told = {}
for name, dag in DagBag(sys.argv[1]).dags.items():
    if name == "o2_preflight":
        continue  # it decides nothing
    (decides,) = [task for task in dag.tasks if isinstance(task, MappingOperator)]
    rules = decides.rules()
    told[name] = {
        "start": str(dag.start_date),
        "catchup": dag.catchup,
        "zone": str(getattr(dag.timetable, "timetable", dag.timetable).timezone),
        "alerts": (bool(dag.deadline), dag.has_on_failure_callback),
        "tasks": decides.tasks,
        "silent_days": getattr(decides, "silent_days", None),
        "rules": [
            str(rules.folder),
            rules.region,
            rules.zone.key,
            rules.remember.total_seconds() / 3600,
            rules.by_number,
            rules.catch_all,
        ],
        "convert": {
            key: value
            for task in dag.tasks
            if task.task_id == "convert"
            for key, value in task.partial_kwargs.items()
            if key in ("message_class", "message_megabytes")
        },
        "stored": json.dumps(DagSerialization.to_dict(dag), default=str),
    }
print(json.dumps(told))
"""
    return dict(in_a_process_of_its_own(script, str(ROOT / "dags"), **settings))


def test_with_a_first_day_no_day_is_left_out_whatever_did_not_run() -> None:
    told = parsed_with(O2_FIRST_DAY="2026-11-01", O2_TIMEZONE="Europe/Berlin", O2_ALERT_EMAIL="oncall@example.com")

    archive, replay = told["o2_network_archive"], told["o2_replay_parked"]
    assert (archive["start"], archive["zone"]) == ("2026-10-31 23:00:00+00:00", "Europe/Berlin")
    assert (archive["catchup"], archive["alerts"]) == (True, [True, True])
    assert (replay["catchup"], replay["zone"], replay["alerts"]) == (False, "Europe/Berlin", [True, True])
    assert "oncall" not in archive["stored"] + replay["stored"]


def test_without_settings_nothing_is_caught_up_and_nobody_told() -> None:
    told = parsed_with(O2_FIRST_DAY="", O2_ALERT_EMAIL="", O2_IMPORT_TASKS="", O2_CATCH_ALL="", O2_SILENT_DAYS="")

    for dag in told.values():
        assert (dag["catchup"], dag["alerts"], dag["tasks"]) == (False, [False, False], 16)
        assert dag["rules"] == [str(ROOT / "include" / "mappings"), "GB", "Europe/London", 1, False, None]
    archive = told["o2_network_archive"]
    assert archive["convert"] == {"message_class": "IPM.Note.O2Network", "message_megabytes": 35}
    assert archive["silent_days"] == 7


def test_what_is_set_says_how_both_dags_decide_and_the_catch_all_address_is_not_stored() -> None:
    told = parsed_with(
        O2_TIMEZONE="Europe/Berlin",
        O2_REGION="DE",
        O2_MAPPINGS="/srv/mappings",
        O2_DIRECTORY_HOURS="1.5",
        O2_DIRECTORY_NUMBERS="true",
        O2_CATCH_ALL="unclaimed@example.com",
        O2_SILENT_DAYS="30",
        O2_IMPORT_TASKS="48",
        O2_MESSAGE_LIMIT_MB="150",
        O2_MESSAGE_CLASS="IPM.Note.Archive",
    )

    archive, replay = told["o2_network_archive"], told["o2_replay_parked"]
    assert archive["rules"] == ["/srv/mappings", "DE", "Europe/Berlin", 1.5, True, "unclaimed@example.com"]
    assert archive["tasks"] == 48
    assert (replay["rules"], replay["tasks"]) == (archive["rules"], archive["tasks"])
    assert archive["silent_days"] == 30
    assert archive["convert"] == {"message_class": "IPM.Note.Archive", "message_megabytes": 150}
    for dag in told.values():
        assert "/srv/mappings" in dag["stored"]
        assert "@example" not in dag["stored"]


def test_a_setting_that_cannot_be_is_an_import_error_of_every_file_that_names_it() -> None:
    script = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
print(json.dumps(DagBag(sys.argv[1]).import_errors))
"""

    errors = in_a_process_of_its_own(script, str(ROOT / "dags"), O2_DIRECTORY_NUMBERS="yes")

    assert len(errors) == len(LINES) + 1
    for error in errors.values():
        assert "O2_DIRECTORY_NUMBERS is 'yes': write true or false" in error


def test_a_number_of_import_tasks_that_mailboxes_cannot_be_shared_out_over_is_refused() -> None:
    from o2_connector.operators.map import MapMailboxesOperator

    for tasks in (0, 65):
        with pytest.raises(ValueError, match="1 to 64"):
            MapMailboxesOperator(
                task_id="map", groups=[], mappings="", region="GB", timezone="Europe/London", tasks=tasks
            )
