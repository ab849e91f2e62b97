"""A window's items and participants keep, in columns, what their lines said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core import tables
from o2_connector.core.conversion import PARTICIPANTS_HEAD
from o2_connector.core.outcomes import Cause
from o2_connector.core.tables import Items, Participants, Texts, gathered, read_participants
from tests.core.people import item_row, items_of


def told(found: Participants) -> list[tuple[int, str, str, bool]]:
    columns = (found.table[name].tolist() for name in ("row", "phone", "email", "side"))
    return [
        (row, found.phones[phone], found.emails[email], side) for row, phone, email, side in zip(*columns, strict=True)
    ]


BATCHES = [
    (0, PARTICIPANTS_HEAD + b'0,NA,,1\n0,"a,b",alex@example.com,0\n1,07700 900123,null,1\n'),
    (2, PARTICIPANTS_HEAD),
    (2, PARTICIPANTS_HEAD + b"0,07700 900123,,0\n"),
    (3, PARTICIPANTS_HEAD + b"0,07700 900123,,0\n0,NA,ALEX@example.com,1\n4,60777,,1\n"),
]
TOLD = [
    (0, "NA", "", True),
    (0, "a,b", "alex@example.com", False),
    (1, "07700 900123", "null", True),
    (2, "07700 900123", "", False),
    (3, "07700 900123", "", False),
    (3, "NA", "ALEX@example.com", True),
    (7, "60777", "", True),
]


def test_participants_of_several_batches_are_numbered_on() -> None:
    assert told(read_participants(BATCHES)) == TOLD


def test_it_is_of_no_account_how_many_batches_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_AT_ONCE", 1)

    assert told(read_participants(BATCHES)) == TOLD


def test_what_looks_like_a_number_to_others_keeps_each_of_its_signs() -> None:
    rows = b"0,07700900123,0,1\n1,+447700900123,1e5,1\n2,0,True,1\n"

    found = told(read_participants([(0, PARTICIPANTS_HEAD + rows)]))

    assert [each[1:3] for each in found] == [("07700900123", "0"), ("+447700900123", "1e5"), ("0", "True")]


def test_each_spelling_is_held_once() -> None:
    found = read_participants(BATCHES)

    assert sorted(found.phones) == sorted({"", *(phone for _, phone, _, _ in TOLD)})
    assert sorted(found.emails) == sorted({"", *(email for _, _, email, _ in TOLD)})


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=40), st.integers(1, 7))
def test_texts_are_what_was_put_in(texts: list[str], together: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_TEXTS", together)
        held = Texts(texts)

        assert list(held) == texts
        assert [held[place] for place in range(len(held))] == texts
        assert held[1:3] == texts[1:3]


def test_no_batches_are_no_participants() -> None:
    assert told(read_participants([])) == told(gathered([])) == []


def test_people_that_are_at_hand_are_gathered_likewise() -> None:
    people = [[("NA", "", True), ("a,b", "alex@example.com", False)], [], [("NA", "", False)]]

    assert told(gathered(people)) == [
        (0, "NA", "", True),
        (0, "a,b", "alex@example.com", False),
        (2, "NA", "", False),
    ]


def test_items_keep_what_was_added() -> None:
    items = items_of(3)
    last = item_row(
        "last",
        key="ab" * 20,
        record="cd" * 32,
        sent=-5,
        message=(1 << 40, 9),
        attached=1 << 33,
        causes=(Cause.ATTACHMENT_GONE,),
    )
    items.extend([item_row("other"), last], [6, 7])

    assert (len(items), items.item_id(4), items.key(4), items.record(4)) == (5, "last", "ab" * 20, "cd" * 32)
    assert (items.sent[4], items.place(4), items.attached(4)) == (-5, (7, 1 << 40, 9), 1 << 33)
    assert (items.causes(4), items.causes(3)) == ((Cause.ATTACHMENT_GONE,), ())
    assert list(items.places(np.array([4, 3]))) == [(-5, 7, 1 << 40, 9), (0, 6, 0, 1)]


def repeated(*rows: tuple[str, str]) -> Items:
    items = Items()
    found = [item_row("i", key=key.ljust(40, "0"), record=record.ljust(64, "0")) for key, record in rows]
    items.extend(found, [0] * len(found))
    return items


def test_an_item_that_came_before_is_told_and_whether_it_is_another_record() -> None:
    assert repeated(("aa", "1a"), ("bb", "2b"), ("aa", "1a"), ("aa", "3c")).repeats() == {2: False, 3: True}


def test_keys_that_begin_alike_are_not_the_same() -> None:
    same = "ab" * 8

    assert repeated((f"{same}01", "1a"), (f"{same}02", "1a"), (f"{same}01", "1a")).repeats() == {2: False}


def test_no_items_repeat_nothing() -> None:
    assert Items().repeats() == {}
