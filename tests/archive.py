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
from o2_connector.operators.convert import ConvertOperator
from o2_connector.operators.deliver import ImportToMailboxesOperator
from o2_connector.operators.extract import ExtractOperator
from o2_connector.operators.map import MapMailboxesOperator
from o2_connector.operators.reconcile import ReconcileOperator
from o2_connector.operators.stage import StageToBlobOperator
from sandbox.server import Sandbox, running

ZONE = "Europe/London"
YESTERDAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


@dataclass(kw_only=True)
class Archive:
    """Hold a running sandbox, and run days against it.

    :param log: what the tasks of the last run left in XCom, by task id and key.
    """

    sandbox: Sandbox
    staging: Path
    mappings: Path
    xcom: dict[tuple[str, str], Any] = field(default_factory=dict)

    def run(self, run_id: str = "manual__1", *, start: datetime = YESTERDAY, days: float = 1, **params: Any) -> Any:
        """Run the whole line over a window; return reconcile's counts."""
        window = {
            "window_start": start.isoformat(),
            "window_end": (start + timedelta(days=days)).isoformat(),
            "dry_run": False,
        }
        context = self._context("extract", run_id, {**window, **params})
        groups = ExtractOperator(task_id="extract", timezone=ZONE).execute(context)
        staged = [StageToBlobOperator(task_id="stage", group=each).execute(context) for each in groups]
        converted = [ConvertOperator(task_id="convert", group=each, region="GB").execute(context) for each in staged]
        if converted:
            context = self._context("map", run_id, {**window, **params})
            shards = MapMailboxesOperator(
                task_id="map", groups=converted, mappings=str(self.mappings), region="GB"
            ).execute(context)
            for number, shard in enumerate(shards):
                context = self._context(f"import {number}", run_id, {**window, **params})
                ImportToMailboxesOperator(task_id="import", shard=shard, settle_seconds=0.1).execute(context)
        return self.reconcile(run_id, staged, converted, **{**window, **params})

    def reconcile(self, run_id: str, staged: Any, converted: Any, **params: Any) -> Any:
        """Add the book up; return its counts."""
        manifest = ReconcileOperator(
            task_id="reconcile",
            frozen=self.xcom.get(("extract", "frozen")),
            staged=staged,
            converted=converted,
            decision=self.xcom.get(("map", "decision")),
            timezone=ZONE,
        ).execute(self._context("reconcile", run_id, params))
        return manifest["counts"]

    def report(self) -> Any:
        """Return the last report."""
        manifest = self.xcom["reconcile", "return_value"]
        return json.loads((self.staging / manifest["report"]["name"]).read_bytes())

    def messages(self) -> list[dict[str, Any]]:
        """Return every message of every mailbox, as the sandbox has them."""
        root = self.sandbox.graph_url.removesuffix("/v1.0")
        answer = requests.get(f"{root}/_sandbox/messages", verify=str(self.sandbox.ca_file), timeout=30)
        return [json.loads(line) for line in answer.content.splitlines()]

    def items(self, *, start: datetime = YESTERDAY, days: float = 1) -> list[dict[str, Any]]:
        """Return what the source has for a window."""
        return list(self.sandbox.world.items_of(start, start + timedelta(days=days)))

    def _context(self, task_id: str, run_id: str, params: dict[str, Any]) -> Any:
        def push(key: str, value: Any) -> None:
            self.xcom[task_id, key] = json.loads(json.dumps(value))  # as Airflow keeps it

        run = SimpleNamespace(run_type="manual", run_after=datetime.now(UTC), data_interval_start=None)
        run.data_interval_end = None
        return {"run_id": run_id, "params": params, "dag_run": run, "ti": SimpleNamespace(xcom_push=push)}


@contextmanager
def archive(folder: Path, monkeypatch: pytest.MonkeyPatch, **world: Any) -> Iterator[Archive]:
    """Start a sandbox and point Airflow's connections at it."""
    with running(folder / "sandbox", **world) as sandbox:
        for name, value in sandbox_connections(sandbox.details()).items():
            monkeypatch.setenv(name, value)
        staging = {"conn_type": "fs", "extra": {"path": str(folder / "staging")}}
        monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(staging))
        yield Archive(sandbox=sandbox, staging=folder / "staging", mappings=sandbox.mappings)
