"""Coverage: which of the organisation's numbers had items, which were silent, and which numbers nobody has enrolled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from heapq import nsmallest

import msgspec
import numpy as np

from o2_connector.core.mapping import Candidates, Decisions
from o2_connector.core.phone_book import PhoneBook
from o2_connector.core.phones import masked
from o2_connector.core.report import Coverage, Silent, Unknown
from o2_connector.core.tables import Items
from o2_connector.core.window import Window

MOST_UNKNOWN = 20


class NumberSeen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Count the items of one number.

    :param number: E.164.
    :param served: whether it led to a mailbox in at least one of them.
    :param side: whether the network captured at least one of them at this end, where nobody else led to a mailbox: then
        it is the organisation's.
    :param item_id: of the first.
    """

    number: str
    items: int
    served: bool = False
    side: bool = False
    item_id: str


def numbers_seen(candidates: Candidates, decisions: Decisions, items: Items) -> Iterator[NumberSeen]:
    """Yield what is counted of each number, by number."""
    table = decisions.participants
    counts = table["number"].to_numpy() >= 0
    row, number, mailbox, ends = (table[name].to_numpy()[counts] for name in ("row", "number", "mailbox", "side"))
    count = len(candidates.numbers)
    each = row.astype(np.int64)
    each *= max(count, 1)
    each += number
    each.sort()
    again = np.flatnonzero(each[1:] == each[:-1])  # whoever is in an item twice had one item
    totals = np.bincount(number, minlength=count)
    np.subtract.at(totals, each[again] % max(count, 1), 1)
    served = np.bincount(number[mailbox >= 0], minlength=count) > 0
    end_served = np.zeros(len(items), dtype=bool)
    end_served[row[ends & (mailbox >= 0)]] = True  # a group's other members at that end may be anybody
    side = np.bincount(number[ends & ~end_served[row]], minlength=count) > 0
    places = np.flatnonzero(totals)
    first = np.empty(count, dtype=np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]  # of those that are written to one place the last one stays
    first = first[places]
    columns = (totals[places], served[places], side[places], row[first])
    for place, total, has, ours, item in zip(places.tolist(), *(column.tolist() for column in columns), strict=True):
        yield NumberSeen(
            number=candidates.numbers[place], items=total, served=has, side=ours, item_id=items.item_id(item)
        )


def cover(
    window: Window, book: PhoneBook, seen: Iterable[NumberSeen], *, silent_days: int, heard: Set[str] | None
) -> Coverage:
    """Say how much of the organisation a window covers.

    :param seen: the window's numbers, each once.
    :param heard: which of the book's numbers had an item in the days that make silence, those of the window among them;
        None where not so many days are archived yet.
    """
    start, end = (int(moment.timestamp() * 1000) for moment in (window.start, window.end))
    since = end - silent_days * 24 * 3600 * 1000
    rows = book.rows
    enrolled = set(rows["number"][(rows["valid_from"] < end) & (rows["valid_to"] > start)].tolist())
    unenrolled = with_items = 0

    def strangers() -> Iterator[NumberSeen]:
        nonlocal unenrolled, with_items
        for each in seen:
            if each.served or each.number in enrolled:
                with_items += 1
                unenrolled += each.number not in enrolled
            else:
                yield each

    unknown = nsmallest(MOST_UNKNOWN, strangers(), key=lambda each: (not each.side, -each.items, each.number))
    silent = None
    if heard is not None:
        throughout = rows[(rows["valid_from"] <= since) & (rows["valid_to"] >= end)]
        columns = (throughout[name].tolist() for name in ("number", "file", "line"))
        silent = tuple(
            Silent(place=f"{file}:{line}", number=masked(number))
            for number, file, line in zip(*columns, strict=True)
            if number not in heard
        )
    return Coverage(
        known=len(enrolled) + unenrolled,
        with_items=with_items,
        silent_days=silent_days,
        silent=silent,
        unknown=tuple(
            Unknown(number=masked(each.number), items=each.items, side=each.side, item_id=each.item_id)
            for each in unknown
        ),
    )
