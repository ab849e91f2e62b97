"""What the demo asks of its Airflow, through the public REST API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from demo.options import Options

DAG = "o2_network_archive"
REPLAY = "o2_replay_parked"
COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRun:
    """Know one task instance of a run. ``map_index`` is -1 for a task that is not mapped."""

    task: str
    map_index: int
    state: str | None
    try_number: int
    started: datetime | None
    ended: datetime | None


def _instant(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


class Airflow:
    """Speak with one Airflow whose administrator needs no password."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # it is on this machine, whatever proxy the environment names

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._session.request(method, f"{self.url}{path}", timeout=60, **arguments)
        if answer.status_code == 401 and "Authorization" not in self._session.headers:
            self._session.headers["Authorization"] = f"Bearer {self._ask('GET', '/auth/token')['access_token']}"
            return self._ask(method, path, **arguments)
        answer.raise_for_status()
        return answer.json()

    def missing(self) -> list[str]:
        """Name the components that are not healthy yet."""
        try:
            health = self._ask("GET", "/api/v2/monitor/health")
        except (requests.ConnectionError, requests.Timeout):
            return ["api_server"]
        return [name for name in COMPONENTS if (health.get(name) or {}).get("status") != "healthy"]

    def dags(self) -> set[str]:
        """Name the DAGs that have been read."""
        return {dag["dag_id"] for dag in self._ask("GET", "/api/v2/dags", params={"exclude_stale": "true"})["dags"]}

    def import_errors(self) -> list[str]:
        """Give the stack of every DAG file that cannot be read."""
        return [
            f"{each['filename']}\n{each['stack_trace']}"
            for each in self._ask("GET", "/api/v2/importErrors")["import_errors"]
        ]

    def trigger(self, options: Options) -> str:
        """Make the archive's run of the day, then let the DAG go; give the run's id.

        In this order: a run of that logical date is there when the scheduler first looks, so it makes no second one.
        """
        start, end = (instant.isoformat() for instant in options.window)
        body = {
            "dag_run_id": f"demo__{options.day}",
            "logical_date": start,
            "data_interval_start": start,
            "data_interval_end": end,
            # The DAG goes by its params: in a manual run the data interval may be anything that the UI or CLI infers.
            "conf": {"window_start": start, "window_end": end},
        }
        run = self._ask("POST", f"/api/v2/dags/{DAG}/dagRuns", json=body)
        self.let_go(DAG)
        return str(run["dag_run_id"])

    def replay(self) -> str:
        """Deliver what was parked and can be delivered now; give the run's id."""
        run = self._ask("POST", f"/api/v2/dags/{REPLAY}/dagRuns", json={"logical_date": None})
        self.let_go(REPLAY)
        return str(run["dag_run_id"])

    def let_go(self, dag: str) -> None:
        """Let a DAG run by its schedule from now on."""
        self._ask("PATCH", f"/api/v2/dags/{dag}", json={"is_paused": False})

    def run_ids(self, dag: str = DAG) -> list[str]:
        """Name every run of a DAG, oldest first."""
        runs = self._ask("GET", f"/api/v2/dags/{dag}/dagRuns", params={"order_by": "id"})
        return [run["dag_run_id"] for run in runs["dag_runs"]]

    def run_state(self, run_id: str, dag: str = DAG) -> str:
        """Give the state of a run: queued, running, success or failed."""
        return str(self._ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run_id}")["state"])

    def task_runs(self, run_id: str, dag: str = DAG) -> Sequence[TaskRun]:
        """List a run's task instances, page by page."""
        found: list[TaskRun] = []
        while True:
            page = self._ask(
                "GET",
                f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances",
                params={"limit": 100, "offset": len(found), "order_by": "id"},
            )
            found += [
                TaskRun(
                    task=each["task_id"],
                    map_index=each["map_index"],
                    state=each["state"],
                    try_number=each["try_number"],
                    started=_instant(each["start_date"]),
                    ended=_instant(each["end_date"]),
                )
                for each in page["task_instances"]
            ]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def returned(self, run_id: str, task: str, dag: str = DAG) -> Any:
        """Give what a task returned, or None when it returned nothing."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances/{task}/xcomEntries/return_value"
        try:
            return self._ask("GET", path)["value"]
        except requests.HTTPError as error:
            if error.response.status_code == 404:
                return None
            raise
