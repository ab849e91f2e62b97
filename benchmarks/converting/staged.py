"""Measure the conversion of batches that are staged on this machine's disk: the task's own function and hook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.converting.ours import WIDEST
from benchmarks.importing.client import serve
from o2_connector.core.manifest import StagedBatch, StagedGroup, from_xcom
from o2_connector.engine.conversion import convert
from o2_connector.hooks.staging import StagingHook


def prepare(task: dict[str, Any]) -> Callable[[], int]:
    """Make ready to convert a group; one batch is converted before, so that everything is loaded."""
    first, group = (from_xcom(task[name], StagedGroup) for name in ("first", "group"))
    staging = StagingHook()

    def converted(batch: StagedBatch) -> int:
        return convert(staging, group.window, batch, WIDEST).converted

    sum(map(converted, first.batches))
    return lambda: sum(map(converted, group.batches))


if __name__ == "__main__":
    serve(prepare)
