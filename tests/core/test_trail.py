"""What a task reads and writes, before it ran and when it is done; a day's are in tests/operators/test_lineage.py."""

from __future__ import annotations

from datetime import UTC, datetime

from o2_connector.core.manifest import Decision, Frozen, Shard, StagedObject
from o2_connector.core.outcomes import Outcome
from o2_connector.core.trail import MAILBOXES, Flow, Trail, extract_trail, import_trail, reconcile_trail, replay_trail
from o2_connector.core.window import Window

WINDOW = Window(start=datetime(2026, 11, 20, tzinfo=UTC), end=datetime(2026, 11, 21, tzinfo=UTC))
RUN = f"replays/{WINDOW.name}/runs/r.0/"


def staged(name: str) -> StagedObject:
    return StagedObject(name=name, sha256="0" * 64, size=7)


SHARD = Shard(
    window=WINDOW,
    first=0,
    last=3,
    mailboxes=2,
    count=5,
    deliveries=staged(f"{RUN}shards/00-03.{'0' * 64}.jsonl"),
    dry_run=False,
)
DECISION = Decision(
    window=WINDOW,
    mapping=staged("mappings/m.csv"),
    rows=9,
    rows_used=1,
    directory=staged(f"{RUN}directory.d.jsonl"),
    items=4,
    items_parked=1,
    items_waiting=0,
    details=staged(f"{RUN}details.d.jsonl"),
    shards=(SHARD,),
)


def test_a_replay_reads_what_is_parked_and_writes_shards_of_its_own() -> None:
    trail = replay_trail(DECISION)

    assert trail.window == WINDOW
    assert [(flow.place, flow.items) for flow in trail.reads] == [("parked", 4), ("mappings", 9)]
    assert trail.writes == (Flow(place="replays/shards", stem=f"{RUN}shards/", items=5, size=7, objects=1),)


def test_a_replay_of_nothing_has_no_window_and_no_stem() -> None:
    trail = replay_trail(None)

    assert (trail.window, trail.stem) == (None, None)


def test_an_import_tells_its_receipts_apart_from_what_it_wrote_into_mailboxes() -> None:
    done = {Outcome.IMPORTED: 2, Outcome.PARTIALLY_IMPORTED: 1, Outcome.SKIPPED: 1, Outcome.FAILED: 1}

    trail = import_trail(SHARD, done)

    assert [(flow.place, flow.items) for flow in trail.writes] == [(MAILBOXES, 3), ("replays/receipts", 5)]
    assert trail.stem == SHARD.deliveries.name.removesuffix(".jsonl") + "/"


def test_an_import_that_found_nothing_to_do_wrote_nothing() -> None:
    assert [flow.items for flow in import_trail(SHARD, {}).writes] == [0, 0]
    assert [flow.items for flow in import_trail(SHARD, None).writes] == [None, None]


def test_a_task_of_a_known_window_leads_to_the_window_where_nothing_else_is_known() -> None:
    assert extract_trail(WINDOW, None).stem == f"windows/{WINDOW.name}/export/"
    assert extract_trail(None, None).stem is None
    assert Trail(window=WINDOW).stem == f"windows/{WINDOW.name}/"
    assert reconcile_trail(None) == Trail()


def test_a_frozen_window_is_told_with_its_items() -> None:
    trail = extract_trail(WINDOW, Frozen(window=WINDOW, export=staged("windows/x/export/e.json"), items=60))

    assert trail.reads[0].items == 60
    assert (trail.writes[0].size, trail.writes[0].objects) == (7, 1)
