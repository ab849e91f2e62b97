"""Coverage tells who was silent and who is unknown, and shows no number in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from o2_connector.core.coverage import MOST_UNKNOWN, NumberSeen, cover, numbers_seen
from o2_connector.core.mapping import decide
from o2_connector.core.outcomes import Cause
from o2_connector.core.window import Window
from tests.core.people import Person, book, candidates_of, items_of, known

ALEX, KIM, LEE, MAX = "+447700900321", "+447700900456", "+447700900789", "+447700900987"
DAY = Window(start=datetime(2026, 11, 20, tzinfo=UTC), end=datetime(2026, 11, 21, tzinfo=UTC))
DIRECTORY: Mapping[str, str | Cause] = {"alex@example.com": "A", "kim@example.com": "K"}


def seen_of(items: Sequence[Sequence[Person]], *rows: str) -> dict[str, NumberSeen]:
    candidates = candidates_of(items, book(*rows))
    whole = {**dict.fromkeys(candidates.addresses(), Cause.NO_USER), **DIRECTORY}
    decisions = decide(len(items), candidates, known(whole), {})
    found = list(numbers_seen(candidates, decisions, items_of(len(items))))
    assert len(found) == len({each.number for each in found})
    return {each.number: each for each in found}


def seen(number: str, items: int = 1, *, served: bool = False, side: bool = False) -> NumberSeen:
    return NumberSeen(number=number, items=items, served=served, side=side, item_id=f"i-{number[-3:]}")


def test_a_number_counts_its_items_once_whatever_it_is_written_like() -> None:
    items = [
        [("60777", "", False), (KIM, "", True)],
        [("07700 900321", "", True), ("+44 7700 900321", "", False), (KIM, "", False)],
        [(ALEX, "", False), ("O2UK", "", True)],
    ]

    found = seen_of(items, f"{ALEX},alex@example.com")

    assert found == {
        ALEX: NumberSeen(number=ALEX, items=2, served=True, side=False, item_id="i-1"),
        KIM: NumberSeen(number=KIM, items=2, served=False, side=True, item_id="i-0"),
    }


def test_who_leads_to_a_mailbox_in_one_item_only_is_served() -> None:
    found = seen_of([[(KIM, "", False), (LEE, "", True)], [(KIM, "kim@example.com", False), (LEE, "", False)]])

    assert (found[KIM].served, found[KIM].side, found[LEE].served) == (True, False, False)


def test_at_an_end_where_somebody_is_served_the_others_may_be_anybody() -> None:
    group = [(LEE, "", False), (ALEX, "", True), (KIM, "", True)]

    found = seen_of([group, [(KIM, "", False), (MAX, "", True)]], f"{ALEX},alex@example.com")

    assert {number: each.side for number, each in found.items()} == {LEE: False, ALEX: False, KIM: False, MAX: True}


def test_no_items_are_no_numbers() -> None:
    assert seen_of([]) == {}
    assert seen_of([[("60777", "", True), ("O2UK", "", False)]]) == {}


def test_known_are_those_who_are_enrolled_in_the_window_and_those_who_were_served() -> None:
    phones = book(
        f"{ALEX},alex@example.com",
        f"{KIM},kim@example.com,2026-11-21,",  # from the next day
        f"{LEE},lee@example.com,,2026-11-20",  # until the day before
    )

    told = cover(DAY, phones, [seen(ALEX), seen(MAX, served=True), seen(LEE)], silent_days=1, heard=None)

    assert (told.known, told.with_items) == (2, 2)
    assert [each.item_id for each in told.unknown] == ["i-789"]


@pytest.mark.parametrize(
    ("row", "is_silent"),
    [
        pytest.param(f"{ALEX},alex@example.com", True, id="always enrolled"),
        pytest.param(f"{ALEX},alex@example.com,2026-11-19,", True, id="enrolled for all of the time"),
        pytest.param(f"{ALEX},alex@example.com,2026-11-20,", False, id="enrolled for half of it"),
        pytest.param(f"{ALEX},alex@example.com,,2026-11-21", True, id="enrolled to its end"),
        pytest.param(f"{ALEX},alex@example.com,,2026-11-20", False, id="not enrolled any more"),
    ],
)
def test_silent_is_who_was_enrolled_all_the_time_and_had_nothing(row: str, is_silent: bool) -> None:
    told = cover(DAY, book(row), [], silent_days=2, heard=set())

    assert told.silent is not None
    assert [each.place for each in told.silent] == (["a.csv:2"] if is_silent else [])


def test_who_was_heard_is_not_silent_and_of_days_that_are_not_archived_nothing_is_told() -> None:
    phones = book(f"{ALEX},alex@example.com", f"{KIM},kim@example.com")

    heard = cover(DAY, phones, [seen(ALEX)], silent_days=2, heard={ALEX})
    untold = cover(DAY, phones, [seen(ALEX)], silent_days=2, heard=None)

    assert heard.silent is not None
    assert [each.place for each in heard.silent] == ["a.csv:3"]
    assert untold.silent is None


def test_the_unknown_are_the_organisations_own_first_then_those_with_most_items() -> None:
    far = [seen(f"+4477009001{number:02d}", items=100 + number) for number in range(MOST_UNKNOWN)]
    near = [seen(KIM, items=2, side=True), seen(LEE, items=3, side=True)]

    told = cover(DAY, book(), [*far, *near], silent_days=1, heard=None)

    assert [each.item_id for each in told.unknown][:3] == ["i-789", "i-456", f"i-1{MOST_UNKNOWN - 1:02d}"]
    assert len(told.unknown) == MOST_UNKNOWN


def test_no_number_is_shown_in_full() -> None:
    told = cover(DAY, book(f"{ALEX},alex@example.com"), [seen(KIM)], silent_days=1, heard=set())

    assert told.silent
    assert told.unknown
    shown = msgspec.json.encode(told).decode()
    assert not [each for each in (ALEX, KIM) if each[-4:] in shown]
    assert told.unknown[0].number.endswith(KIM[-3:])


def test_a_window_of_another_length_has_the_same_days_of_silence() -> None:
    hour = Window(start=DAY.end - timedelta(hours=1), end=DAY.end)

    told = cover(hour, book(f"{ALEX},alex@example.com,2026-11-20,"), [], silent_days=1, heard=set())

    assert told.silent is not None
    assert len(told.silent) == 1
