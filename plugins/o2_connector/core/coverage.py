"""Coverage: which of the organisation's numbers had items, which were silent, and which numbers nobody has enrolled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

import msgspec
import numpy as np

from o2_connector.core.mapping import Candidates, Decisions
from o2_connector.core.phone_book import PhoneBook
from o2_connector.core.phones import masked
from o2_connector.core.report import Coverage, Silent, Unknown
from o2_connector.core.tables import Items
from o2_connector.core.window import Window

MOST_UNKNOWN = 20


class NumberSeen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Count the items of one number.

    :param number: E.164.
    :param served: whether it led to a mailbox in at least one of them.
    :param side: whether the network captured at least one of them at this end.
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
    table = table[table["number"].to_numpy() >= 0]
    row, number = table["row"].to_numpy().astype(np.int64), table["number"].to_numpy()
    count = len(candidates.numbers)
    each = np.unique(row * max(count, 1) + number) % max(count, 1)  # whoever is in an item twice had one item
    totals = np.bincount(each, minlength=count)
    served = np.bincount(number[table["mailbox"].to_numpy() >= 0], minlength=count) > 0
    side = np.bincount(number[table["side"].to_numpy()], minlength=count) > 0
    places, first = np.unique(number, return_index=True)
    columns = (totals[places], served[places], side[places], row[first])
    for place, total, has, ours, item in zip(places.tolist(), *(column.tolist() for column in columns), strict=True):
        yield NumberSeen(
            number=candidates.numbers[place], items=total, served=has, side=ours, item_id=items.item_ids[item]
        )


def cover(
    window: Window, book: PhoneBook, seen: Iterable[NumberSeen], *, silent_days: int, heard: Set[str] | None
) -> Coverage:
    """Say how much of the organisation a window covers.

    :param seen: the window's numbers.
    :param heard: every number that had an item in the days that make silence, those of the window among them; None
        where not so many days are archived yet.
    """
    start, end = (int(moment.timestamp() * 1000) for moment in (window.start, window.end))
    since = end - silent_days * 24 * 3600 * 1000
    rows = book.rows
    at_some_time = rows[(rows["valid_from"] < end) & (rows["valid_to"] > start)]
    enrolled = set(at_some_time["number"].tolist())
    found = list(seen)
    known = enrolled | {each.number for each in found if each.served}
    silent = None
    if heard is not None:
        throughout = rows[(rows["valid_from"] <= since) & (rows["valid_to"] >= end)]
        columns = (throughout[name].tolist() for name in ("number", "file", "line"))
        silent = tuple(
            Silent(place=f"{file}:{line}", number=masked(number))
            for number, file, line in zip(*columns, strict=True)
            if number not in heard
        )
    strangers = sorted(
        (each for each in found if each.number not in known),
        key=lambda each: (not each.side, -each.items, each.number),
    )
    return Coverage(
        known=len(known),
        with_items=sum(each.number in known for each in found),
        silent_days=silent_days,
        silent=silent,
        unknown=tuple(
            Unknown(number=masked(each.number), items=each.items, side=each.side, item_id=each.item_id)
            for each in strangers[:MOST_UNKNOWN]
        ),
    )
