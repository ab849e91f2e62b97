"""Measure this project's import: one task, all mailboxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.importing.client import serve
from o2_connector.core.manifest import Shard, from_xcom
from o2_connector.core.outcomes import Outcome
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook
from o2_connector.operators.deliver import import_shard


def prepare(task: dict[str, Any]) -> Callable[[], int]:
    """Make ready to import a staged shard."""
    shard = from_xcom(task["shard"], Shard)
    staging, graph = StagingHook(), GraphHook().graph
    with staging.reader(shard.deliveries) as deliveries:  # the first read loads Airflow's plugins, once in a process
        deliveries.readline()
    graph.login.token()  # peers are given theirs

    def job() -> int:
        counts = import_shard(staging, graph, shard, settle_seconds=1)
        return counts[Outcome.IMPORTED]

    return job


if __name__ == "__main__":
    serve(prepare)
