"""Silence: whether a day with nothing is unusual, by the days before it.

Weekends are quiet in most organisations, so a day is compared with the same weekday of the weeks before; in the first
week, when there is none, with the days before. A holiday now and then must not make the next one look usual, so most of
them count, not all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

WEEKS = 4
_WEEK = 7


def compared_with(day: date, items: Mapping[date, int]) -> list[date]:
    """Return the archived days that a day is compared with, the last one first.

    :param items: how many items each archived day has.
    """
    same = [day - timedelta(weeks=week) for week in range(1, WEEKS + 1)]
    last = [day - timedelta(days=number) for number in range(1, _WEEK)]
    return [each for each in same if each in items] or [each for each in last if each in items]


def is_unusual(day: date, items: Mapping[date, int]) -> bool:
    """Tell whether a day should have had items: most of those that it is compared with had."""
    days = compared_with(day, items)
    return sum(bool(items[each]) for each in days) * 2 > len(days)


def begins_silence(day: date, items: Mapping[date, int]) -> bool:
    """Tell whether a day with nothing is unusual, and the first such one since something was captured."""
    if not is_unusual(day, items):
        return False
    for number in range(1, _WEEK + 1):
        before = day - timedelta(days=number)
        if items.get(before):
            return True
        if before in items and is_unusual(before, items):
            return False
    return True
