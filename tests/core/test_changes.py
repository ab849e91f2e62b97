"""What another mapping would change: copies that come, move and go, by item and mailbox, for each number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core.changes import Difference, compare, together
from o2_connector.core.report import NumberChange
from tests.core.people import book, candidates_of, decided

ALEX, KIM, LEE = "+447700900321", "+447700900456", "+447700900789"
NUMBERS = (ALEX, KIM, LEE, "+447700900123")
MAILBOXES = ("A", "B", "C")
Rows = Mapping[str, str]
"""The mailbox of each number that has one."""

Counts = tuple[int, int, int, int]
"""Unchanged, added, moved, lost."""


def difference(
    items: Sequence[Sequence[str]],
    before: Rows,
    after: Rows,
    *,
    repeats: Sequence[int] = (),
    emails: Mapping[str, str] | None = None,
    catch_all: str | None = None,
) -> Difference:
    """Compare the decisions by two mappings.

    :param items: the numbers in each.
    :param emails: e-mail properties, by number.
    """
    directory = {f"{mailbox.lower()}@example.com": mailbox for mailbox in MAILBOXES}
    people = [[(number, (emails or {}).get(number, ""), True) for number in item] for item in items]
    books = [book(*(f"{number},{box.lower()}@example.com" for number, box in rows.items())) for rows in (before, after)]
    old = decided(people, books[0], directory)
    new = decided(people, books[1], directory, catch_all=catch_all)
    return compare(old, new, candidates_of(people, books[1]), repeats)


def counts(found: Difference | NumberChange) -> tuple[int, ...]:
    totals = (found.added, found.moved, found.lost)
    return (found.unchanged, *totals) if isinstance(found, Difference) else totals


@pytest.mark.parametrize(
    ("item", "before", "after", "expected"),
    [
        pytest.param([ALEX], {ALEX: "A"}, {ALEX: "A"}, (1, 0, 0, 0), id="the same"),
        pytest.param([ALEX], {}, {}, (0, 0, 0, 0), id="nobody either time"),
        pytest.param([ALEX], {}, {ALEX: "A"}, (0, 1, 0, 0), id="a new row"),
        pytest.param([ALEX], {ALEX: "A"}, {}, (0, 0, 0, 1), id="a row that is gone"),
        pytest.param([ALEX], {ALEX: "A"}, {ALEX: "B"}, (0, 0, 1, 0), id="another mailbox"),
        pytest.param([ALEX, KIM], {ALEX: "A"}, {ALEX: "A", KIM: "A"}, (1, 0, 0, 0), id="joins who has the copy"),
        pytest.param([ALEX, KIM], {ALEX: "A", KIM: "A"}, {KIM: "A"}, (1, 0, 0, 0), id="leaves who has the copy"),
        pytest.param([ALEX, KIM], {ALEX: "A", KIM: "A"}, {}, (0, 0, 0, 1), id="both lose one copy"),
        pytest.param([ALEX, KIM], {}, {ALEX: "A", KIM: "A"}, (0, 1, 0, 0), id="both get one copy"),
        pytest.param([ALEX, KIM], {ALEX: "A", KIM: "A"}, {ALEX: "B", KIM: "B"}, (0, 0, 1, 0), id="one copy moves"),
        pytest.param(
            [ALEX, KIM], {ALEX: "A", KIM: "A"}, {ALEX: "A", KIM: "B"}, (1, 1, 0, 0), id="one copy becomes two"
        ),
        pytest.param([ALEX, KIM], {ALEX: "A", KIM: "B"}, {ALEX: "C", KIM: "C"}, (0, 0, 1, 1), id="two become one"),
        pytest.param([ALEX, KIM], {ALEX: "A", KIM: "B"}, {ALEX: "B", KIM: "A"}, (2, 0, 0, 0), id="they change places"),
        pytest.param([ALEX, KIM], {ALEX: "A"}, {KIM: "B"}, (0, 1, 0, 1), id="one gets what another loses"),
        pytest.param([ALEX, KIM], {ALEX: "A", KIM: "A"}, {KIM: "B"}, (0, 0, 1, 0), id="the shared copy moves with one"),
        pytest.param([ALEX, KIM], {KIM: "A"}, {ALEX: "B", KIM: "B"}, (0, 0, 1, 0), id="a copy that moves is shared"),
    ],
)
def test_copies_are_counted_by_item_and_mailbox(item: list[str], before: Rows, after: Rows, expected: Counts) -> None:
    assert counts(difference([item], before, after)) == expected


def test_the_item_counts_and_not_the_number_alone() -> None:
    found = difference([[ALEX], [ALEX, KIM], [KIM]], {ALEX: "A", KIM: "A"}, {ALEX: "B", KIM: "A"})

    assert counts(found) == (2, 1, 1, 0)
    assert {number: counts(change) for number, change in found.numbers.items()} == {ALEX: (1, 1, 0)}


def test_what_the_source_sent_again_is_no_delivery_of_its_own() -> None:
    assert counts(difference([[ALEX], [ALEX], [KIM]], {KIM: "B"}, {ALEX: "A", KIM: "B"}, repeats=[1])) == (1, 1, 0, 0)


def test_the_catch_all_mailbox_has_no_part_in_it() -> None:
    assert counts(difference([[ALEX], [KIM]], {ALEX: "A"}, {ALEX: "A"}, catch_all="C")) == (1, 0, 0, 0)


def test_who_has_no_number_is_in_the_totals_alone() -> None:
    directory = {"a@example.com": "A"}
    people = [[("O2 Shop", "a@example.com", True)]]
    before, after = decided(people, book(), {}), decided(people, book(), directory)

    found = compare(before, after, candidates_of(people, book()), ())

    assert (counts(found), found.numbers) == ((0, 1, 0, 0), {})


def test_a_number_has_the_place_of_its_row_now_where_it_has_one() -> None:
    found = difference([[ALEX], [KIM], [LEE]], {ALEX: "A", LEE: "C"}, {KIM: "B", LEE: "A"})

    assert {number: change.place for number, change in found.numbers.items()} == {
        ALEX: None,
        KIM: "a.csv:2",
        LEE: "a.csv:3",
    }


def test_what_is_shown_has_no_number_in_full_and_the_most_changes_first() -> None:
    changes = difference([[ALEX], [KIM], [KIM, LEE]], {LEE: "C"}, {ALEX: "A", KIM: "B"}).changes("manual__1")

    assert changes.against == "manual__1"
    assert [(each.number, *counts(each)) for each in changes.numbers] == [
        ("…456", 2, 0, 0),
        ("…321", 1, 0, 0),
        ("…789", 0, 0, 1),
    ]


def test_no_items_have_no_difference() -> None:
    assert difference([], {ALEX: "A"}, {ALEX: "B"}) == Difference(numbers={})


def test_two_windows_are_added_up_number_by_number() -> None:
    one = difference([[ALEX], [KIM]], {}, {ALEX: "A", KIM: "B"})
    other = difference([[KIM], [LEE], [LEE]], {KIM: "A", LEE: "C"}, {KIM: "B", ALEX: "A"})

    both = together(one, other)

    assert counts(both) == (0, 2, 1, 2)
    assert {number: (*counts(change), change.place) for number, change in both.numbers.items()} == {
        ALEX: (1, 0, 0, "a.csv:2"),
        KIM: (1, 1, 0, "a.csv:2"),  # the later one's
        LEE: (0, 0, 2, None),
    }


rows = st.dictionaries(st.sampled_from(NUMBERS), st.sampled_from(MAILBOXES))
items = st.lists(st.lists(st.sampled_from(NUMBERS), max_size=5), max_size=5)


@given(items=items, before=rows, after=rows)
def test_it_counts_as_somebody_would_by_hand(items: list[list[str]], before: Rows, after: Rows) -> None:
    unchanged = 0
    kinds: Counter[tuple[str, str]] = Counter()
    for item in items:
        had, gets = ({each[number] for number in item if number in each} for each in (before, after))
        unchanged += len(had & gets)
        moving = [
            number for number in item if before.get(number) in had - gets and after.get(number) in gets - had
        ]  # who loses a copy here and gets one there
        whose_gain = {box: first(moving + item, after, box) for box in gets - had}
        whose_loss = {box: first(moving + item, before, box) for box in had - gets}
        gain, lose = set(whose_gain.values()), set(whose_loss.values())
        kinds.update(("moved", number) for number in gain & lose)
        kinds.update(("added", number) for number in gain - lose)
        kinds.update(("lost", number) for number in lose - gain)

    found = difference(items, before, after)

    totals = {kind: sum(count for (each, _), count in kinds.items() if each == kind) for kind in KINDS}
    assert counts(found) == (unchanged, *totals.values())
    assert {number: counts(change) for number, change in found.numbers.items()} == {
        number: tuple(kinds[kind, number] for kind in KINDS) for _, number in kinds
    }


KINDS = ("added", "moved", "lost")


def first(people: Sequence[str], mapping: Rows, mailbox: str) -> str:
    return next(number for number in people if mapping.get(number) == mailbox)


@given(items=items, before=rows, after=rows)
def test_nothing_is_counted_twice_or_not_at_all(items: list[list[str]], before: Rows, after: Rows) -> None:
    copies = [
        {(place, each[number]) for place, item in enumerate(items) for number in item if number in each}
        for each in (before, after)
    ]

    found = difference(items, before, after)

    assert found.unchanged + found.moved + found.lost == len(copies[0])
    assert found.unchanged + found.moved + found.added == len(copies[1])
