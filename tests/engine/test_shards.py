"""Deliveries are shared out by mailbox, over any number of tasks."""

from __future__ import annotations

import json
from itertools import islice, pairwise
from pathlib import Path

import pytest

from o2_connector.core.layout import bucket_of, bucket_ranges, run_stem
from o2_connector.core.ledger import Delivery, read_delivery
from o2_connector.core.outcomes import Rule
from o2_connector.engine.shards import share_of, write_shards
from o2_connector.hooks.staging import StagingHook
from tests.engine.books import WINDOW

RUN = run_stem(WINDOW, "manual__1")


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StagingHook:
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "fs", "extra": {"path": str(tmp_path)}}))
    return StagingHook()


def delivery(mailbox: str, sent: int) -> Delivery:
    return Delivery(
        item=0, item_id="i", key="k", mailbox=mailbox, sent=sent, pack=0, offset=0, length=0, rule=Rule.MAPPING
    )


@pytest.mark.parametrize("tasks", [1, 3, 16, 64])
def test_each_delivery_is_in_the_share_of_its_mailboxs_bucket(staging: StagingHook, tasks: int) -> None:
    rows = [delivery(f"m-{number * 7 % 40}", 1000 - number) for number in range(400)]
    rows.sort(key=lambda row: (share_of(row.mailbox, tasks), row.mailbox, row.sent))

    shards = write_shards(staging, RUN, WINDOW, (), rows, tasks=tasks)

    assert {(shard.first, shard.last) for shard in shards} <= set(bucket_ranges(tasks))
    assert len({shard.first for shard in shards}) == len(shards)
    assert sum(shard.count for shard in shards) == len(rows)
    for shard in shards:
        with staging.reader(shard.deliveries) as lines:
            share = [read_delivery(line) for line in islice(lines, 1, None)]
        assert (shard.count, shard.mailboxes) == (len(share), len({row.mailbox for row in share}))
        assert {shard.first <= bucket_of(row.mailbox) <= shard.last for row in share} == {True}
        assert all((a.mailbox, a.sent) <= (b.mailbox, b.sent) for a, b in pairwise(share))


def test_a_task_with_nothing_to_deliver_is_none(staging: StagingHook) -> None:
    rows = [delivery("ann", 0), delivery("ann", 1)]

    (shard,) = write_shards(staging, RUN, WINDOW, (), rows, tasks=64)

    assert (shard.first, shard.last, shard.count) == (bucket_of("ann"), bucket_of("ann"), 2)
    assert write_shards(staging, RUN, WINDOW, (), [], tasks=64) == []
