"""Run the archive's tasks one after the other, as Airflow would, without a database; and look into the mailboxes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from demo.airflow_settings import sandbox_connections
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_requests import Call
from o2_connector.operators.convert import ConvertOperator
from o2_connector.operators.deliver import ImportToMailboxesOperator
from o2_connector.operators.extract import ExtractOperator
from o2_connector.operators.map import MapMailboxesOperator
from o2_connector.operators.reconcile import ReconcileOperator
from o2_connector.operators.replay import FindParkedOperator, ReconcileReplayOperator
from o2_connector.operators.stage import StageToBlobOperator
from sandbox.server import Sandbox, running

ZONE = "Europe/London"
YESTERDAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


@dataclass(kw_only=True)
class Archive:
    """Hold a running sandbox, and run days against it.

    :param xcom: what the tasks of the last run left there, by task id, map index and key.
    :param operators: what ran last, by task id and map index.
    :param context: the last task's, as its callbacks get it, but for the DAG and the error.
    :param settings: of the operators that decide, where they are to be others than usual.
    """

    sandbox: Sandbox
    staging: Path
    mappings: Path
    xcom: dict[tuple[str, int, str], Any] = field(default_factory=dict)
    operators: dict[tuple[str, int], Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    silent_days: int = 7

    def run(self, run_id: str = "manual__1", *, start: datetime = YESTERDAY, days: float = 1, **params: Any) -> Any:
        """Run the whole line over a window; return reconcile's counts."""
        window = {
            "window_start": start.isoformat(),
            "window_end": (start + timedelta(days=days)).isoformat(),
            "dry_run": False,
        }
        settings = {**window, **params}
        self.xcom.clear()
        groups = self._task(ExtractOperator(task_id="extract", timezone=ZONE), run_id, settings)
        for number, group in enumerate(groups):
            self._task(StageToBlobOperator(task_id="stage", group=group), run_id, settings, number)
        for number, group in enumerate(self._left("stage")):
            self._task(ConvertOperator(task_id="convert", group=group, region="GB"), run_id, settings, number)
        if converted := self._left("convert"):
            mapping = MapMailboxesOperator(task_id="map", groups=converted, silent_days=self.silent_days, **self.rules)
            for number, shard in enumerate(self._task(mapping, run_id, settings)):
                deliver = ImportToMailboxesOperator(task_id="import", shard=shard, settle_seconds=0.1)
                self._task(deliver, run_id, settings, number)
        return self.reconcile(run_id, **settings)

    def reconcile(self, run_id: str, **params: Any) -> Any:
        """Add the book up; return its counts."""
        reconcile = ReconcileOperator(
            task_id="reconcile", extract="extract", stage="stage", convert="convert", map_mailboxes="map", timezone=ZONE
        )
        self._task(reconcile, run_id, params)
        return self.counts

    def replay(self, run_id: str = "replay__1", **params: Any) -> Any:
        """Replay what is parked; return reconcile's counts, or None when nothing waited."""
        self.xcom.clear()
        for number, shard in enumerate(
            self._task(FindParkedOperator(task_id="find_parked", **self.rules), run_id, params)
        ):
            deliver = ImportToMailboxesOperator(task_id="import", shard=shard, settle_seconds=0.1)
            self._task(deliver, run_id, params, number)
        reconcile = ReconcileReplayOperator(task_id="reconcile", find_parked="find_parked", timezone=ZONE)
        self._task(reconcile, run_id, params)
        return self.counts if ("reconcile", -1, "return_value") in self.xcom else None

    @property
    def rules(self) -> dict[str, Any]:
        """Return by what rules mailboxes are found."""
        return {"mappings": str(self.mappings), "region": "GB", "timezone": ZONE, **self.settings}

    @property
    def counts(self) -> Any:
        """Return the last report's counts, also of a run that failed."""
        return self.xcom["reconcile", -1, "return_value"]["counts"]

    def report(self) -> Any:
        """Return the last report."""
        manifest = self.xcom["reconcile", -1, "return_value"]
        return json.loads((self.staging / manifest["report"]["name"]).read_bytes())

    def messages(self) -> list[dict[str, Any]]:
        """Return every message of every mailbox, as the sandbox has them."""
        root = self.sandbox.graph_url.removesuffix("/v1.0")
        answer = requests.get(f"{root}/_sandbox/messages", verify=str(self.sandbox.ca_file), timeout=30)
        return [json.loads(line) for line in answer.content.splitlines()]

    def graph(self, method: str, path: str, body: Any) -> None:
        """Do something to a mailbox, as its reader would."""
        hook = GraphHook()
        answer = hook.graph.batch([Call(method=method, path=path, body=body)])[0]
        assert answer.ok, answer

    def items(self, *, start: datetime = YESTERDAY, days: float = 1) -> list[dict[str, Any]]:
        """Return what the source has for a window."""
        return list(self.sandbox.world.items_of(start, start + timedelta(days=days)))

    def _task(self, operator: Any, run_id: str, params: dict[str, Any], map_index: int = -1) -> Any:
        run = SimpleNamespace(
            dag_id="o2_network_archive",
            run_type="manual",
            run_after=datetime.now(UTC),
            start_date=datetime.now(UTC),
            clear_number=0,
            data_interval_start=None,
            data_interval_end=None,
        )
        ti = Instance(xcom=self.xcom, task_id=operator.task_id, map_index=map_index)
        self.operators[operator.task_id, map_index] = operator
        self.context = {"run_id": run_id, "params": params, "dag_run": run, "ti": ti}
        returned = operator.execute(self.context)
        if returned is not None:
            ti.xcom_push("return_value", returned)
        return returned

    def _left(self, task_id: str) -> list[Any]:
        return [value for (task, _, key), value in self.xcom.items() if (task, key) == (task_id, "return_value")]


@dataclass(kw_only=True)
class Instance:
    """Keep XCom as a task instance of Airflow does, as JSON."""

    xcom: dict[tuple[str, int, str], Any]
    task_id: str
    map_index: int

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.xcom[self.task_id, self.map_index, key] = json.loads(json.dumps(value))

    def xcom_pull(self, *, task_ids: str | list[str], key: str = "return_value", map_indexes: None = None) -> Any:
        """Return one task's value, or a list of all map indexes' values for a list of tasks."""
        if isinstance(task_ids, str):
            return self.xcom.get((task_ids, -1, key))
        return [value for (task, _, name), value in self.xcom.items() if task in task_ids and name == key]


@contextmanager
def archive(folder: Path, monkeypatch: pytest.MonkeyPatch, **world: Any) -> Iterator[Archive]:
    """Start a sandbox and point Airflow's connections at it."""
    with running(folder / "sandbox", **world) as sandbox:
        yield connected(sandbox, folder, monkeypatch)


def connected(sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """Point Airflow's connections at a sandbox, and at a new staging directory."""
    for name, value in sandbox_connections(sandbox.details()).items():
        monkeypatch.setenv(name, value)
    staging = {"conn_type": "fs", "extra": {"path": str(folder / "staging")}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(staging))
    return Archive(sandbox=sandbox, staging=folder / "staging", mappings=sandbox.mappings)
