"""A changed mapping file starts a run, in a real Airflow: PostgreSQL and every component, each its own process."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.airflow_client import Airflow
from demo.airflow_settings import Where, base_environment, free_port
from demo.database import start_postgres
from demo.parts import Part, Parts, Signals
from o2_connector.triggers.mapping_files import look

DAG = "told"
DAG_FILE = """
import pendulum
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, task
from o2_connector.triggers.mapping_files import MappingFilesTrigger

MAPPING_FILES = Asset(
    "o2_mapping_files",
    watchers=[AssetWatcher(name="folder", trigger=MappingFilesTrigger(folder="{folder}", seconds=1))],
)

with DAG(
    "told",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 6 * * *", timezone="Europe/London"), assets=[MAPPING_FILES]
    ),
    start_date=pendulum.datetime(2020, 1, 1, tz="Europe/London"),
    catchup=False,
    max_active_runs=1,
):
    @task
    def tell(triggering_asset_events=None):
        return [event.extra["payload"] for events in triggering_asset_events.values() for event in events]

    tell()
"""


@dataclass(frozen=True, kw_only=True)
class Stage:
    client: Airflow
    folder: Path
    parts: Parts
    start: Callable[[str], Part]

    def write(self, *rows: str) -> None:
        (self.folder / "people.csv").write_text("\n".join(("ExternalUserId,O365UserMailbox", *rows, "")))

    def runs(self, kind: str) -> list[str]:
        """Return the ids of the runs of a kind, oldest first."""
        runs = self.client._ask("GET", f"/api/v2/dags/{DAG}/dagRuns", params={"order_by": "id"})["dag_runs"]
        return [run["dag_run_id"] for run in runs if run["run_type"] == kind]

    def told(self, run_id: str) -> list[dict[str, Any]]:
        """Return the payloads of the events that started a run, once its task has succeeded."""
        path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}"
        eventually(f"{run_id} succeeds", lambda: self.client._ask("GET", path)["state"] == "success")
        payloads: list[dict[str, Any]] = self.client._ask("GET", f"{path}/taskInstances/tell/xcomEntries/return_value")[
            "value"
        ]
        return payloads

    def expected(self) -> list[dict[str, Any]]:
        now = look(self.folder)
        return [{"files": now.files, "digest": now.digest}]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    dags, folder = tmp_path / "dags", tmp_path / "mappings"
    dags.mkdir()
    folder.mkdir()
    (dags / "told.py").write_text(DAG_FILE.format(folder=folder))
    command = str(Path(sys.executable).parent / "airflow")
    parts = Parts(record=tmp_path / "parts.json", logs=tmp_path / "logs", signals=Signals(), kind="up")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("AIRFLOW_HOME", "AIRFLOW__CORE__UNIT_TEST_MODE"):
            monkeypatch.delenv(name, raising=False)
        try:
            where = Where(folder=tmp_path, port=free_port())
            environ = base_environment(where, start_postgres(parts, tmp_path / "postgres"), scheduled=True) | {
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
                # A watcher starts when the file is read for the first time after the DAG was let go
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            }
            parts.finish(parts.start("db-migrate", [command, "db", "migrate"], environ=environ, cwd=tmp_path))

            def start(name: str) -> Part:
                serves = ["--skip-serve-logs"] if name in ("scheduler", "triggerer") else []
                return parts.start(name, [command, name, *serves], environ=environ, cwd=tmp_path)

            for name in ("api-server", "scheduler", "dag-processor"):
                start(name)
            yield Stage(client=Airflow(f"http://127.0.0.1:{where.port}"), folder=folder, parts=parts, start=start)
        finally:
            assert parts.end() == []


def eventually(what: str, found: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, f"{what} within {seconds} s"
        time.sleep(0.2)
    return answer


@pytest.mark.scheduler
def test_a_changed_mapping_file_starts_a_run_also_when_no_triggerer_saw_the_change(stage: Stage) -> None:
    stage.write("+447700900123,alex@example.com")
    triggerer = stage.start("triggerer")
    eventually("Airflow is healthy", lambda: not stage.client.missing())
    eventually("the DAG is read", lambda: DAG in str(stage.client._ask("GET", "/api/v2/dags")["dags"]))
    stage.client._ask("PATCH", f"/api/v2/dags/{DAG}", json={"is_paused": False})

    eventually("the first look starts a run", lambda: len(stage.runs("asset_triggered")) == 1)
    assert stage.told(stage.runs("asset_triggered")[0]) == stage.expected()

    stage.write("+447700900123,alex@example.com", "+447700900124,sam@example.com")
    eventually("a change starts a run", lambda: len(stage.runs("asset_triggered")) == 2)
    assert stage.told(stage.runs("asset_triggered")[1]) == stage.expected()

    time.sleep(2)  # two looks: what was told is kept
    os.kill(triggerer.pid, signal.SIGTERM)
    stage.parts.finish(triggerer)
    stage.write("+447700900124,sam@example.com")
    stage.start("triggerer")
    eventually("a change that nobody watched starts a run", lambda: len(stage.runs("asset_triggered")) == 3)
    assert stage.told(stage.runs("asset_triggered")[2]) == stage.expected()

    # The time table has its say beside the files.
    assert len(stage.runs("scheduled")) == 1
