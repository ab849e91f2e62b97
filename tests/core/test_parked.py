"""What waits is all that was said to wait, less what is gone; whoever says it, however often, in whatever order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core.manifest import StagedObject
from o2_connector.core.parked import (
    Gone,
    Leaving,
    Park,
    Person,
    Waiting,
    leaving,
    left_over,
    merged,
    park_after,
    served_id,
)

OURS, SIDE, OTHER = (
    Person("+447700900321", "", False),
    Person("07700 900456", "kim@example.com", True),
    Person("+447700900789", "", True),
)
PACK = StagedObject(name="messages", sha256="0" * 64, size=1)


def entry(*people: Person, **changes: Any) -> Waiting:
    fields = {
        "item_id": "i-1",
        "key": "k-1",
        "record": "r-1",
        "sent": 0,
        "pack": PACK,
        "offset": 0,
        "length": 1,
        "window": "w-1",
        "parked": 1000,
        "why": "because",
        "nobody": True,
        "people": people or (OURS, SIDE),
    }
    return Waiting(**{**fields, **changes})


def gone(park: Park, *entries: Waiting) -> Park:
    return park_after(
        park.waiting.values(), [*(Gone(id=name) for name in park.gone), *(Gone(id=e.id) for e in entries)]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"pack": StagedObject(name="another", sha256="1" * 64, size=2), "offset": 7, "length": 9},
        {"window": "w-2"},
        {"parked": 2000},
        {"why": "for another reason"},
    ],
)
def test_the_same_record_that_waits_for_the_same_people_is_the_same_whoever_says_so(changes: dict[str, Any]) -> None:
    assert entry(**changes).id == entry().id


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "k-2"},
        {"record": "r-2"},
        {"people": (OURS,)},
        {"people": (SIDE, OURS)},
        {"nobody": False},
        {"caught": True},
        {"again": 1},
    ],
)
def test_what_is_otherwise_is_another(changes: dict[str, Any]) -> None:
    assert entry(**changes).id != entry().id


entries = st.builds(
    lambda key, people, parked, again: entry(*people, key=key, parked=parked, again=again),
    st.sampled_from(["k-1", "k-2"]),
    st.sampled_from([(OURS,), (SIDE,), (OURS, SIDE)]),
    st.integers(0, 3),
    st.integers(0, 1),
)


@given(st.lists(entries), st.lists(entries), st.randoms())
def test_neither_order_nor_repetition_is_of_any_account(said: list[Waiting], left: list[Waiting], shuffle: Any) -> None:
    once = park_after(said, [Gone(id=each.id) for each in left])
    again, left_again = [*said, *said], [*left, *left]
    shuffle.shuffle(again)
    shuffle.shuffle(left_again)

    park = park_after(again, [Gone(id=each.id) for each in left_again])

    assert park.waiting.keys() == once.waiting.keys() == {each.id for each in said} - {each.id for each in left}
    assert {each.id: each.parked for each in park.waiting.values()} == {
        name: min(each.parked for each in said if each.id == name) for name in once.waiting
    }


def test_what_waits_already_waits_on_by_its_name_and_since_it_began_to() -> None:
    park = park_after([entry(parked=1000)], [])

    named = park.named(entry(parked=9000, why="for another reason"))

    assert (named.id, named.parked, named.why) == (entry().id, 1000, "for another reason")


def test_what_was_gone_and_is_to_wait_again_waits_by_another_name_each_time() -> None:
    park, names = park_after([], []), set()
    for _ in range(3):
        named = park.named(entry(parked=5000))
        assert (named.parked, named.id in names) == (5000, False)
        names.add(named.id)
        park = park_after([*park.waiting.values(), named], [Gone(id=name) for name in park.gone])
        assert park.named(entry()).id == named.id
        park = gone(park, named)
        assert not park.waiting


def test_of_another_record_nothing_is_put_together() -> None:
    park = park_after([entry(), entry(people=(OTHER,)), entry(record="r-2"), entry(key="k-2")], [])

    assert {name: len(found) for name, found in park.by_record().items()} == {
        ("k-1", "r-1"): 2,
        ("k-1", "r-2"): 1,
        ("k-2", "r-1"): 1,
    }


# Several that are the same record


def test_several_are_one_for_all_of_their_people_since_the_first() -> None:
    late = entry(OTHER, SIDE, parked=3000, window="w-2", offset=9, again=2)

    one = merged([late, entry(OURS, SIDE, parked=1000)])

    assert one.people == (OURS, SIDE, OTHER)
    assert (one.parked, one.window, one.offset, one.again) == (1000, "w-1", 0, 0)


@pytest.mark.parametrize(
    ("parts", "nobody", "caught"),
    [
        pytest.param([(True, False)], True, False, id="nobody gets it"),
        pytest.param([(False, False)], False, False, id="somebody gets it"),
        pytest.param([(True, False), (False, False)], True, False, id="somebody is to, but nobody has it yet"),
        pytest.param([(True, True)], True, True, id="the catch-all mailbox has it"),
        pytest.param([(True, True), (True, False)], True, False, id="that mailbox is to, but has it not yet"),
        pytest.param([(True, True), (False, False)], True, True, id="it has, and somebody was found who missed it"),
    ],
)
def test_several_say_what_is_proved(parts: list[tuple[bool, bool]], nobody: bool, caught: bool) -> None:
    one = merged([entry(OURS, nobody=each, caught=had, again=place) for place, (each, had) in enumerate(parts)])

    assert (one.nobody, one.caught) == (nobody, caught)


# What is left, and what is gone, when deliveries are made


@pytest.mark.parametrize(
    ("waits", "served", "rest", "left"),
    [
        pytest.param(entry(OURS), {OURS}, None, (), id="who waited has it"),
        pytest.param(entry(OURS, SIDE), {SIDE}, None, (), id="somebody has it: others were waited for by chance"),
        pytest.param(
            entry(OURS, SIDE), set(), entry(OURS, SIDE, caught=True), (), id="the catch-all mailbox has it, all wait"
        ),
        pytest.param(entry(OURS, SIDE), set(), None, (OURS, SIDE), id="nobody has it"),
        pytest.param(entry(OURS, nobody=False), {SIDE}, None, (OURS,), id="who is ours has it not, and waits nowhere"),
        pytest.param(
            entry(OURS, nobody=False), set(), entry(OURS, SIDE), (OURS,), id="who is ours waits among others by chance"
        ),
        pytest.param(
            entry(OURS, nobody=False), {SIDE}, entry(OURS, OTHER, nobody=False), (), id="who is ours waits with more"
        ),
        pytest.param(entry(OURS, SIDE, nobody=False), {OURS, SIDE}, None, (), id="both have it"),
        pytest.param(entry(OURS, SIDE, nobody=False), {SIDE}, None, (OURS,), id="one of two has it"),
        pytest.param(entry(OTHER, SIDE, nobody=False), {SIDE}, None, (), id="one of those at this end has it"),
        pytest.param(entry(OTHER, nobody=False), {OURS}, None, (OTHER,), id="one at the other end has it"),
    ],
)
def test_nobody_is_forgotten_who_is_waited_for_by_name(
    waits: Waiting, served: set[Person], rest: Waiting | None, left: tuple[Person, ...]
) -> None:
    over = left_over(msgspec.structs.replace(waits, again=2), served, rest)

    assert over == (msgspec.structs.replace(waits, people=left) if left else None)


def test_an_entry_is_gone_unless_it_is_what_waits_from_then_on() -> None:
    waits = entry(OURS, SIDE, nobody=False)

    assert list(leaving(7, waits, set(), {waits.id, "another"})) == []
    assert list(leaving(7, waits, set(), {"another"})) == [Leaving(item=7, id=waits.id, window="w-1")]


def test_who_has_their_copy_from_the_park_is_told_by_a_name_that_no_entry_has() -> None:
    waits = entry(OURS, SIDE, nobody=False)

    told = list(leaving(7, waits, {SIDE, OTHER}, {waits.id}))

    assert told == [Leaving(item=7, id=served_id(waits, SIDE), window="w-1")]
    assert served_id(waits, SIDE) not in {entry(SIDE, nobody=False).id, served_id(waits, OURS)}
    assert served_id(entry(record="r-2"), SIDE) != served_id(entry(), SIDE)
