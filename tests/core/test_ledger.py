"""The ledger reads what it wrote, and the latest receipt counts."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core.errors import IntegrityError
from o2_connector.core.ledger import (
    Delivery,
    Receipt,
    delivery_lines,
    read_delivery,
    read_packs,
    receipt_of,
    said_again,
    sum_up,
)
from o2_connector.core.manifest import StagedObject
from o2_connector.core.outcomes import Cause, Outcome, Rule

PACKS = (StagedObject(name="windows/w/converted/b1.messages.x.jsonl", sha256="0" * 64, size=7),)


def delivery(number: int, **changes: object) -> Delivery:
    row = Delivery(
        item=number,
        item_id=f"o2-{number}",
        key="k",
        mailbox="m",
        sent=-1,
        pack=0,
        offset=0,
        length=7,
        rule=Rule.MAPPING,
    )
    return msgspec.structs.replace(row, **changes)


def receipt(number: int, outcome: Outcome, at: int) -> Receipt:
    return Receipt(delivery=number, item_id=f"o2-{number}", mailbox="m", outcome=outcome, at=at)


def outcomes(receipts: Iterable[Receipt]) -> Counter[Outcome]:
    return +sum_up(receipts, 2)[0]


def test_deliveries_are_read_as_they_were_written() -> None:
    rows = (delivery(0), delivery(1, settled=(Outcome.SKIPPED, Cause.SAME_ITEM_AGAIN)))

    first, *rest = b"".join(delivery_lines(PACKS, rows)).splitlines(keepends=True)

    assert (read_packs(first), tuple(map(read_delivery, rest))) == (PACKS, rows)


def test_a_book_of_many_deliveries_has_a_line_for_each() -> None:
    rows = [delivery(number) for number in range(1000)]

    _, *rest = b"".join(delivery_lines(PACKS, rows)).splitlines()

    assert list(map(read_delivery, rest)) == rows


def test_a_book_without_its_first_line_is_refused() -> None:
    with pytest.raises(IntegrityError):
        read_packs(b"")


@pytest.mark.parametrize("cut", [1, 20])
def test_a_torn_line_is_refused(cut: int) -> None:
    *_, last = delivery_lines(PACKS, [delivery(0)])

    with pytest.raises(msgspec.DecodeError):
        read_delivery(last[: -cut - 1])


def test_the_latest_receipt_counts_in_whatever_order_they_are_found() -> None:
    first, second, third = receipt(0, Outcome.FAILED, 1), receipt(0, Outcome.FAILED, 2), receipt(0, Outcome.IMPORTED, 3)
    other = receipt(1, Outcome.SKIPPED, 2)

    for order in itertools.permutations([first, second, third, other]):
        assert outcomes(order) == {Outcome.IMPORTED: 1, Outcome.SKIPPED: 1}


def test_of_two_receipts_at_once_the_later_written_counts() -> None:
    first, second = receipt(0, Outcome.SKIPPED, 1), receipt(0, Outcome.IMPORTED, 1)

    assert outcomes([first, second]) == {Outcome.IMPORTED: 1}


def test_a_failure_by_a_fast_clock_does_not_outrank_the_delivery_that_came_after_it() -> None:
    failed, imported = receipt(0, Outcome.FAILED, 9), receipt(0, Outcome.IMPORTED, 5)

    for order in itertools.permutations([failed, imported]):
        assert outcomes(order) == {Outcome.IMPORTED: 1}


def test_no_receipts_settle_nothing() -> None:
    assert outcomes([]) == {}


@pytest.mark.parametrize(
    ("asked", "received"),
    [
        (Outcome.IMPORTED, Outcome.PARTIALLY_IMPORTED),
        (Outcome.SKIPPED, Outcome.PARTIALLY_IMPORTED),
        (Outcome.FAILED, Outcome.FAILED),
    ],
)
def test_an_item_that_is_there_without_all_of_its_parts_stays_partial(asked: Outcome, received: Outcome) -> None:
    row = delivery(0, causes=(Cause.ATTACHMENT_GONE,))

    made = receipt_of(0, row, asked, at=1, cause="said")

    assert (made.outcome, made.cause) == (received, Cause.ATTACHMENT_GONE if received != asked else "said")


@pytest.mark.parametrize(
    ("outcome", "cause", "said"),
    [
        (Outcome.IMPORTED, None, (Outcome.SKIPPED, Cause.ALREADY_THERE)),
        (Outcome.SKIPPED, Cause.ALREADY_THERE, (Outcome.SKIPPED, Cause.ALREADY_THERE)),
        (Outcome.PARTIALLY_IMPORTED, "lacks this", (Outcome.PARTIALLY_IMPORTED, "lacks this")),
    ],
)
def test_another_book_says_again_what_is_there(outcome: Outcome, cause: str | None, said: tuple[Outcome, str]) -> None:
    earlier = msgspec.structs.replace(receipt(0, outcome, 1), cause=cause)

    assert said_again(earlier) == said


def test_the_sums_count_what_counts_for_each_delivery_in_whatever_order_it_is_found() -> None:
    receipts = [
        receipt(0, Outcome.FAILED, 9),
        receipt(0, Outcome.IMPORTED, 5),
        receipt(2, Outcome.FAILED, 1),
        receipt(1, Outcome.PARTIALLY_IMPORTED, 2),
    ]

    for order in itertools.permutations(receipts):
        counts, troubled, known = sum_up(order, 4)
        assert {outcome: count for outcome, count in counts.items() if count} == {
            Outcome.IMPORTED: 1,
            Outcome.PARTIALLY_IMPORTED: 1,
            Outcome.FAILED: 1,
        }
        assert troubled == [receipts[3], receipts[2]]
        assert [bool(each) for each in known] == [True, True, True, False]


@given(st.lists(st.builds(receipt, st.integers(0, 3), st.sampled_from(Outcome), st.integers(0, 3))))
def test_the_sums_are_those_of_the_latest_receipts(receipts: list[Receipt]) -> None:
    latest = {}
    for each in sorted(receipts, key=lambda each: (each.outcome is not Outcome.FAILED, each.at)):  # a stable order
        latest[each.delivery] = each

    counts, troubled, known = sum_up(receipts, 4)

    assert +counts == Counter(each.outcome for each in latest.values())
    assert {number for number, state in enumerate(known) if state} == latest.keys()
    assert troubled == [
        each for _, each in sorted(latest.items()) if each.outcome in (Outcome.FAILED, Outcome.PARTIALLY_IMPORTED)
    ]


def test_a_receipt_for_a_delivery_that_is_not_in_the_book_is_refused() -> None:
    with pytest.raises(IntegrityError, match="delivery 4"):
        sum_up([receipt(4, Outcome.IMPORTED, 1)], 4)
