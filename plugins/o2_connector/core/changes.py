"""Changes: what one mapping does otherwise than another, to the same items."""

from __future__ import annotations

import numpy as np

from o2_connector.core.mapping import NOBODY, Decisions
from o2_connector.core.phones import masked
from o2_connector.core.report import Changes, NumberChange


def compare(before: Decisions, after: Decisions, numbers: list[str], *, against: str | None) -> Changes:
    """Compare two decisions on the same participants.

    :param numbers: E.164, as the participants' tables refer to them.
    """
    mailboxes = sorted({*before.mailboxes, *after.mailboxes})
    row = after.participants["row"].to_numpy().astype(np.int64)
    number = after.participants["number"].to_numpy()
    old, new = _mailbox_of(before, mailboxes), _mailbox_of(after, mailboxes)
    scale = max(len(mailboxes), 1)
    had, gets = row * scale + old, row * scale + new
    had_set, gets_set = np.unique(had[old >= 0]), np.unique(gets[new >= 0])
    gains = (new >= 0) & ~np.isin(gets, had_set)
    loses = (old >= 0) & ~np.isin(had, gets_set)
    # Two participants may be one mailbox, which has one copy: it is the first one's.
    gains &= _first(gets, gains)
    loses &= _first(had, loses)
    kinds = {"added": gains & ~loses, "moved": gains & loses, "lost": loses & ~gains}
    by_number = {
        kind: np.bincount(number[mask & (number >= 0)], minlength=len(numbers)) for kind, mask in kinds.items()
    }
    total = sum(by_number.values(), start=np.zeros(len(numbers), dtype=np.int64))
    changed = sorted(np.flatnonzero(total).tolist(), key=lambda place: (-total[place], numbers[place]))
    return Changes(
        against=against,
        unchanged=len(np.intersect1d(had_set, gets_set, assume_unique=True)),
        added=int(kinds["added"].sum()),
        moved=int(kinds["moved"].sum()),
        lost=int(kinds["lost"].sum()),
        numbers=tuple(
            NumberChange(
                number=masked(numbers[place]), **{kind: int(counts[place]) for kind, counts in by_number.items()}
            )
            for place in changed
        ),
    )


def _mailbox_of(decisions: Decisions, mailboxes: list[str]) -> np.ndarray:
    place = {mailbox: number for number, mailbox in enumerate(mailboxes)}
    there = np.array([*(place[mailbox] for mailbox in decisions.mailboxes), NOBODY], dtype=np.int64)
    places: np.ndarray = there[decisions.participants["mailbox"].to_numpy()]
    return places


def _first(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Tell which of the values, among some, are there for the first time."""
    where = np.flatnonzero(among)
    first = np.zeros(len(values), dtype=bool)
    first[where[np.unique(values[where], return_index=True)[1]]] = True
    return first
