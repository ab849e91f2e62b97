"""What a book gives cause to tell, and what was told before."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.engine.closed import FRIDAY, Books, books_in


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    return books_in(tmp_path, monkeypatch)


def days(count: int) -> date:
    return FRIDAY + timedelta(days=count)


TWO_PARKED = "O2 archive: 2 items of Friday 20 November 2026 have no mailbox yet"


def test_parked_items_are_told_once_for_a_window(books: Books) -> None:
    assert books.close(parked=["a", "b"]) == [TWO_PARKED]

    assert books.close(parked=["a", "b"]) == books.close(parked=["b"]) == books.close() == []


def test_an_item_that_is_parked_later_is_told_then(books: Books) -> None:
    books.close(parked=["a"])

    assert books.close(parked=["a", "b"]) == ["O2 archive: 1 item of Friday 20 November 2026 has no mailbox yet"]


def test_the_same_ids_in_another_window_are_other_items(books: Books) -> None:
    books.close(parked=["a", "b"])

    assert books.close(days(1), parked=["a"]) == ["O2 archive: 1 item of Saturday 21 November 2026 has no mailbox yet"]


def test_a_window_that_shares_time_with_one_that_was_told_of_is_not_told_of_again(books: Books) -> None:
    books.close(parked=["a", "b"])

    assert books.close(parked=["a"], hours=12) == []


def test_a_dry_run_tells_nothing_and_what_it_found_is_told_by_the_run(books: Books) -> None:
    assert books.close(parked=["a", "b"], dry_run=True) == []

    assert books.close(parked=["a", "b"]) == [TWO_PARKED]


def test_a_replay_tells_only_what_no_book_since_the_last_replay_named(books: Books) -> None:
    books.close(parked=["a"])
    assert books.close(parked=["a"], replay=True) == []
    books.close(days(1), parked=["b"])

    assert books.close(days(1), parked=["a", "b"], replay=True) == []
    told = books.close(days(1), parked=["a", "b", "c"], replay=True)

    name = "the replay of parked items on Sunday 22 November 2026"
    assert told == [f"O2 archive: 1 item has no mailbox yet ({name})"]
    assert books.close(days(2), parked=["a", "b", "c"], replay=True) == []


def test_parked_items_of_days_that_ended_long_ago_are_told_by_the_next_replay_and_once(books: Books) -> None:
    books.close(parked=["a"])
    assert books.close(days(-30), parked=["b"], after=timedelta(days=31)) == []
    assert books.close(days(-29), parked=["c"], after=timedelta(days=30)) == []

    told = books.close(days(1), parked=["a", "b", "c"], replay=True)

    assert told == ["O2 archive: 2 items have no mailbox yet (the replay of parked items on Sunday 22 November 2026)"]
    assert books.close(days(2), parked=["a", "b", "c"], replay=True) == []


def test_where_the_book_that_told_is_gone_it_is_told_again(books: Books) -> None:
    books.close(parked=["a", "b"])
    (books.folder / books.reports[0].name).unlink()

    assert books.close(parked=["a", "b"]) == [TWO_PARKED]


def test_a_day_with_nothing_is_told_when_the_same_day_of_earlier_weeks_had_something(books: Books) -> None:
    for week in (4, 3, 2, 1):
        books.close(days(-7 * week))

    assert books.close(items=0) == ["O2 archive: nothing was captured on Friday 20 November 2026"]
    assert books.close(items=0) == []


def test_a_quiet_weekend_is_told_neither_then_nor_does_it_hide_a_quiet_monday(books: Books) -> None:
    for back in range(14, -1, -1):
        books.close(days(-back), items=0 if days(-back).weekday() > 4 else 10)

    assert books.close(days(1), items=0) == books.close(days(2), items=0) == []
    assert books.close(days(3), items=0) == ["O2 archive: nothing was captured on Monday 23 November 2026"]
    assert books.close(days(4), items=0) == []


def test_a_day_with_nothing_that_ended_long_ago_or_is_no_whole_day_is_not_told(books: Books) -> None:
    for week in (2, 1):
        books.close(days(-7 * week))

    assert books.close(items=0, after=timedelta(days=8)) == []
    assert books.close(items=0, hours=12) == []
    assert books.close(items=0, dry_run=True) == []


ONE_SILENT = "O2 archive: 1 number silent for 7 days, up to Saturday 21 November 2026"


def test_a_number_is_told_when_its_silence_begins_and_again_when_it_begins_again(books: Books) -> None:
    one = [("north.csv:2", "+447700900111")]
    books.close(silent=[])

    assert books.close(days(1), silent=one) == [ONE_SILENT]
    assert books.close(days(1), silent=one) == []
    assert books.close(days(2), silent=one) == []
    assert books.close(days(3), silent=[]) == []
    assert len(books.close(days(4), silent=one)) == 1


def test_the_first_day_that_can_tell_tells_all_that_are_silent(books: Books) -> None:
    books.close(silent=None)

    silent = [("north.csv:2", "+447700900111"), ("north.csv:3", "+447700900222")]
    assert books.close(days(1), silent=silent) == [ONE_SILENT.replace("1 number", "2 numbers")]


def test_a_day_with_nothing_says_of_no_number_that_it_spoke(books: Books) -> None:
    one = [("north.csv:2", "+447700900111")]
    books.close(silent=one)
    books.close(days(1), items=0)

    assert books.close(days(2), silent=one) == []


def test_a_row_that_moves_in_its_file_is_the_same_number_and_one_that_takes_its_line_is_not(books: Books) -> None:
    books.close(silent=[("north.csv:2", "+447700900111")])

    moved = [("north.csv:3", "+447700900111")]
    assert books.close(days(1), silent=moved, rows=[("north.csv:2", "+447700901111")]) == []
    both = [*moved, ("north.csv:2", "+447700901111")]
    assert len(books.close(days(2), silent=both)) == 1
