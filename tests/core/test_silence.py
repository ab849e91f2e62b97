"""Whether a day with nothing is unusual."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from o2_connector.core.silence import begins_silence, compared_with, is_unusual

MONDAY = date(2026, 11, 23)


def week(*counts: int) -> dict[date, int]:
    """Return how many items the days before Monday had, Sunday first."""
    return {MONDAY - timedelta(days=number): count for number, count in enumerate(counts, start=1)}


def mondays(*counts: int) -> dict[date, int]:
    return {MONDAY - timedelta(weeks=number): count for number, count in enumerate(counts, start=1)}


def test_a_day_is_compared_with_the_same_day_of_the_four_weeks_before() -> None:
    items = {**mondays(1, 2, 3, 4, 5), **week(9, 9)}

    assert compared_with(MONDAY, items) == [
        date(2026, 11, 16),
        date(2026, 11, 9),
        date(2026, 11, 2),
        date(2026, 10, 26),
    ]


def test_in_the_first_week_it_is_compared_with_the_days_before() -> None:
    assert compared_with(MONDAY, week(0, 0, 9)) == [date(2026, 11, 22), date(2026, 11, 21), date(2026, 11, 20)]


@pytest.mark.parametrize(
    ("items", "unusual"),
    [
        (mondays(5, 5, 5, 5), True),
        (mondays(0, 5, 5, 5), True),  # a holiday
        (mondays(0, 0, 5, 5), False),
        (mondays(5), True),
        (mondays(0), False),
        (week(0, 0, 5, 5, 5, 5), True),
        (week(0, 5), False),
        ({}, False),
    ],
)
def test_nothing_is_unusual_when_most_of_these_days_had_something(items: dict[date, int], unusual: bool) -> None:
    assert is_unusual(MONDAY, items) is unusual


def test_only_the_first_of_the_unusual_days_begins_the_silence() -> None:
    items = {MONDAY - timedelta(days=number): 5 for number in range(1, 30)}
    silent = {MONDAY + timedelta(days=number): 0 for number in range(4)}

    begun = [day for day in silent if begins_silence(day, {**items, **silent})]

    assert begun == [MONDAY]
