"""Changes: what one mapping does otherwise than another, to the same items."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from o2_connector.core.mapping import NOBODY, Candidates, Decisions
from o2_connector.core.phones import masked
from o2_connector.core.report import Changes, NumberChange


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Count deliveries that are made by one decision and not by the other.

    Before there were *unchanged*, *moved* and *lost* ones, after there are *unchanged*, *moved* and *added* ones.

    :param numbers: by number in full, which nobody is to be shown. Who has no number is in the totals alone.
    """

    unchanged: int = 0
    added: int = 0
    moved: int = 0
    lost: int = 0
    numbers: Mapping[str, NumberChange]

    def changes(self, against: str | None) -> Changes:
        """Return what can be shown: the numbers masked, those with most changes first.

        :param against: see :class:`Changes`.
        """
        ranked = sorted(self.numbers.items(), key=lambda each: (-_total(each[1]), each[0]))
        return Changes(
            against=against,
            unchanged=self.unchanged,
            added=self.added,
            moved=self.moved,
            lost=self.lost,
            numbers=tuple(change for _, change in ranked),
        )


def together(one: Difference, other: Difference) -> Difference:
    """Return two differences, of two windows, as one; a number's row is the later one's."""
    numbers = dict(one.numbers)
    for number, change in other.numbers.items():
        before = numbers.get(number)
        numbers[number] = change if before is None else _sum(before, change)
    return Difference(
        unchanged=one.unchanged + other.unchanged,
        added=one.added + other.added,
        moved=one.moved + other.moved,
        lost=one.lost + other.lost,
        numbers=numbers,
    )


def compare(before: Decisions, after: Decisions, candidates: Candidates, repeats: Collection[int]) -> Difference:
    """Compare two decisions on the same participants.

    What the catch-all mailbox gets is nobody's in particular, and has no part in this.

    :param candidates: of the decision after.
    :param repeats: numbers of the items that came before: whatever is decided on them, they are delivered once.
    """
    mailboxes = sorted({*before.mailboxes, *after.mailboxes})
    table = after.participants
    row = table["row"].to_numpy().astype(np.int64)
    once = ~np.isin(row, np.fromiter(repeats, dtype=np.int64))
    old, new = (np.where(once, _mailbox_of(each, mailboxes), NOBODY) for each in (before, after))
    scale = max(len(mailboxes), 1)
    had, gets = row * scale + old, row * scale + new
    had_set, gets_set = np.unique(had[old >= 0]), np.unique(gets[new >= 0])
    gains = (new >= 0) & ~np.isin(gets, had_set)
    loses = (old >= 0) & ~np.isin(had, gets_set)
    # Two participants may be one mailbox, which has one copy. It counts as the first one's whose copy moves, if any's.
    moves = gains & loses
    gains, loses = _first(gets, gains, moves), _first(had, loses, moves)
    kinds = {"added": gains & ~loses, "moved": gains & loses, "lost": loses & ~gains}
    return Difference(
        unchanged=len(np.intersect1d(had_set, gets_set, assume_unique=True)),
        **{kind: int(mask.sum()) for kind, mask in kinds.items()},
        numbers=_by_number(kinds, table["number"].to_numpy(), table["book_row"].to_numpy(), candidates),
    )


def _by_number(
    kinds: Mapping[str, np.ndarray], number: np.ndarray, book_row: np.ndarray, candidates: Candidates
) -> dict[str, NumberChange]:
    numbers, rows = candidates.numbers, candidates.book.rows
    counts = {kind: np.bincount(number[mask & (number >= 0)], minlength=len(numbers)) for kind, mask in kinds.items()}
    changed = np.logical_or.reduce(list(kinds.values())) & (number >= 0)
    row_of = np.full(len(numbers), NOBODY, dtype=np.int64)
    np.maximum.at(row_of, number[changed], book_row[changed])  # a number's rows are in the order of their periods
    return {
        numbers[place]: NumberChange(
            number=masked(numbers[place]),
            **{kind: int(each[place]) for kind, each in counts.items()},
            place=f"{rows['file'].iloc[row_of[place]]}:{rows['line'].iloc[row_of[place]]}"
            if row_of[place] >= 0
            else None,
        )
        for place in np.unique(number[changed]).tolist()
    }


def _mailbox_of(decisions: Decisions, mailboxes: list[str]) -> np.ndarray:
    place = {mailbox: number for number, mailbox in enumerate(mailboxes)}
    there = np.array([*(place[mailbox] for mailbox in decisions.mailboxes), NOBODY], dtype=np.int64)
    places: np.ndarray = there[decisions.participants["mailbox"].to_numpy()]
    return places


def _first(values: np.ndarray, among: np.ndarray, rather: np.ndarray) -> np.ndarray:
    """Tell which of the values, among some, are there for the first time; some are rather taken for the first."""
    where = np.flatnonzero(among)
    where = where[np.argsort(~rather[where], kind="stable")]
    first = np.zeros(len(values), dtype=bool)
    first[where[np.unique(values[where], return_index=True)[1]]] = True
    return first


def _total(change: NumberChange) -> int:
    return change.added + change.moved + change.lost


def _sum(one: NumberChange, other: NumberChange) -> NumberChange:
    return msgspec.structs.replace(
        one,
        added=one.added + other.added,
        moved=one.moved + other.moved,
        lost=one.lost + other.lost,
        place=other.place or one.place,
    )
