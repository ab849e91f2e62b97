"""The mapping step, in a process of its own: as the task does it, from staging and back into it; or its join alone."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from benchmarks.importing.client import serve
from benchmarks.mapping.window import WINDOW
from o2_connector.core.manifest import ConvertedGroup, from_xcom
from o2_connector.core.mapping import decide, find_candidates
from o2_connector.core.phone_book import read_phone_book
from o2_connector.core.tables import read_participants
from o2_connector.engine.directory import find_mailboxes
from o2_connector.engine.mapping_folder import read_folder
from o2_connector.engine.mapping_step import Asked, map_window
from o2_connector.engine.rules import MappingRules
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook

ZONE = ZoneInfo("Europe/London")
REMEMBER = timedelta(hours=6)


def prepare(task: dict[str, Any]) -> Callable[[], int]:
    """Make ready; the job returns how many deliveries it decided on."""
    batches = from_xcom(task["group"], ConvertedGroup).batches
    folder, at = Path(task["mappings"]), datetime.fromisoformat(task["at"])
    sent = np.load(task["sent"])
    staging = StagingHook()
    with staging.reader(batches[0].participants) as content:
        content.read()  # Airflow loads what opens files with the first of them
    gc.freeze()  # as the task does

    def task_itself() -> int:
        rules = MappingRules(folder=folder, region="GB", zone=ZONE, remember=REMEMBER)
        asked = Asked(run_id="manual__bench-map", at=at, tasks=16, dry_run=False)
        decision = map_window(staging, rules, WINDOW, batches, asked, silent_days=7)
        return sum(shard.count for shard in decision.shards)

    def mapping() -> int:
        firsts = np.cumsum([0, *(batch.converted for batch in batches)]).tolist()

        def tables() -> Any:
            for first, batch in zip(firsts, batches, strict=False):
                with staging.reader(batch.participants) as content:
                    yield first, content.read()

        participants = read_participants(tables())
        book = read_phone_book(read_folder(folder), "GB", ZONE)
        candidates = find_candidates(participants, sent, book, "GB")
        directory = find_mailboxes(staging, GraphHook(), candidates.addresses(), remember=REMEMBER, at=at)
        return len(decide(len(sent), candidates, directory, {}).deliveries)

    return {"task": task_itself, "mapping": mapping}[task["job"]]


if __name__ == "__main__":
    serve(prepare)
