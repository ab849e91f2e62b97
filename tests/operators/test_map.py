"""Deliveries are shared out by mailbox, over any number of tasks."""

from __future__ import annotations

from itertools import pairwise

import pytest

from o2_connector.core.layout import bucket_of, bucket_range
from o2_connector.core.ledger import Delivery
from o2_connector.core.outcomes import Rule
from o2_connector.operators.map import share_out


def delivery(mailbox: str, sent: int) -> Delivery:
    return Delivery(
        item=0, item_id="i", key="k", mailbox=mailbox, sent=sent, pack=0, offset=0, length=0, rule=Rule.MAPPING
    )


@pytest.mark.parametrize("tasks", [1, 3, 16, 64])
def test_each_delivery_is_in_the_share_of_its_mailboxs_bucket_oldest_first(tasks: int) -> None:
    rows = [delivery(f"m-{number * 7 % 40}", 1000 - number) for number in range(400)]

    shares = share_out(rows, tasks)

    assert set(shares) <= {bucket_range(number, tasks) for number in range(tasks)}
    assert sum(map(len, shares.values())) == len(rows)
    for (first, last), share in shares.items():
        assert {first <= bucket_of(row.mailbox) <= last for row in share} == {True}
        assert all((a.mailbox, a.sent) <= (b.mailbox, b.sent) for a, b in pairwise(share))


def test_a_task_with_nothing_to_deliver_is_none() -> None:
    assert list(share_out([delivery("ann", 1), delivery("ann", 0)], 64)) == [(bucket_of("ann"), bucket_of("ann"))]
