"""Mapping: which mailbox, if any, gets a copy of an item, for every participant, beyond doubt.

The order is Microsoft's (docs of the O2 Network connector): the mapping file first; where it names no valid Microsoft
365 user, the *User's Email address* property of the item; where that is none either, the item is not imported. Here it
is parked, by name. Two more rules come last, where they are switched on: the directory's own numbers, and a mailbox
that takes what nobody gets.

A row of a mapping file counts for items that were sent within its period. All is done once for each spelling of a
number, each address and each row; what a million participants cost is a few operations on columns of whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd

from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.outcomes import Cause, Rule
from o2_connector.core.parties import is_smtp_address
from o2_connector.core.phone_book import PhoneBook
from o2_connector.core.phones import normalise_each
from o2_connector.core.tables import Participants, Texts

RULES = tuple(Rule)
"""The rules by the numbers that tables have for them: the strongest first."""

CAUSES = (
    Cause.SOFT_DELETED,
    Cause.DISABLED,
    Cause.UNLICENSED,
    Cause.ON_PREMISES,
    Cause.GUEST,
    Cause.SEVERAL_USERS,
    Cause.SEVERAL_HOLDERS,
    Cause.NO_USER,
    Cause.NO_ROW_THEN,
    Cause.NO_ADDRESS,
)
"""Why a participant has no mailbox: what says most first. An item that nobody gets has the first of its causes."""

NOBODY = -1

_CAUSE = {cause: place for place, cause in enumerate(CAUSES)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """Hold what may lead each participant to a mailbox, before the directory was asked.

    :param table: the participants' rows in their order: ``row`` (the item's number), ``number`` and ``email`` (places
        in the lists below), ``book_row`` (the row of the phone book that counts at the item's time), ``side``. Where
        there is none it is -1.
    :param numbers: E.164, each once.
    :param emails: lower-case addresses, each once.
    :param known: for each number whether the phone book knows it, at whatever time.
    """

    table: pd.DataFrame
    book: PhoneBook
    numbers: Sequence[str]
    emails: list[str]
    known: np.ndarray

    def addresses(self) -> set[str]:
        """Return every address that the directory must be asked for."""
        return {*self._mapped().tolist(), *self.emails}

    def used_rows(self) -> np.ndarray:
        """Return the rows of the phone book that participants met, ascending."""
        met = self.table["book_row"].to_numpy()
        return np.flatnonzero(np.bincount(met[met >= 0], minlength=len(self.book.rows)))

    def _mapped(self) -> pd.Series:
        return self.book.rows["mailbox"].iloc[self.used_rows()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """Hold who gets what.

    :param mailboxes: object ids, sorted, each once.
    :param participants: as in :class:`Candidates`, with ``mailbox`` (a place in that list) and ``rule`` (a place in
        :data:`RULES`), both -1 for who gets nothing, and ``cause`` (a place in :data:`CAUSES`) for those.
    :param deliveries: ``row``, ``mailbox``, ``rule``, ``book_row``: one for each item and mailbox, in the items' order,
        by the strongest rule.
    :param parked: ``row``, ``cause`` of the items that nobody gets.
    :param waiting: ``row``, ``person`` (a row of `participants`) for whom an item waits: everybody of an item that
        none of its participants gets; else those of the organisation who should have a copy and have no mailbox.
    """

    mailboxes: list[str]
    participants: pd.DataFrame
    deliveries: pd.DataFrame
    parked: pd.DataFrame
    waiting: pd.DataFrame

    def served(self, count: int) -> np.ndarray:
        """Tell of each of so many items whether one of its participants gets it."""
        served = np.zeros(count, dtype=bool)
        served[self.participants["row"].to_numpy()[self.participants["mailbox"].to_numpy() >= 0]] = True
        return served


def find_candidates(participants: Participants, sent: np.ndarray, book: PhoneBook, region: str) -> Candidates:
    """Find what may lead each participant to a mailbox.

    :param sent: when each item was sent, in milliseconds since 1970, UTC.
    :param region: ISO 3166 code of the country that national numbers belong to.
    """
    table = participants.table
    found = pd.Series(normalise_each(participants.phones, region), dtype="object")
    number_of, numbers = pd.factorize(found)  # None is -1
    number = _at(number_of, table["phone"])
    addresses = pd.Series([_address(each) for each in participants.emails], dtype="object")
    email_of, emails = pd.factorize(addresses)
    row = table["row"].to_numpy()
    known, book_row = _valid_rows(book, numbers, number, sent[row])
    return Candidates(
        table=pd.DataFrame(
            {
                "row": row,
                "number": number,
                "email": _at(email_of, table["email"]),
                "book_row": book_row,
                "side": table["side"].to_numpy(),
            }
        ),
        book=book,
        numbers=Texts(numbers),
        emails=emails.tolist(),
        known=known,
    )


def decide(
    count: int,
    candidates: Candidates,
    directory: Mapping[str, DirectoryEntry],
    by_number: Mapping[str, DirectoryEntry],
    catch_all: str | None = None,
    uncaught: np.ndarray | None = None,
) -> Decisions:
    """Decide for every item who gets it.

    :param count: how many items there are; they are numbered from 0.
    :param directory: by address, for each of :meth:`Candidates.addresses`.
    :param by_number: by number, where the directory's own numbers count.
    :param catch_all: object id of the mailbox that gets what nobody gets.
    :param uncaught: for each item whether that mailbox may get it; without it all.
    """
    table, book = candidates.table, candidates.book
    used = candidates.used_rows()
    mapped = [directory[address] for address in book.rows["mailbox"].iloc[used].tolist()]
    captured = [directory[address] for address in candidates.emails]
    numbered = [each for each in enumerate(candidates.numbers) if each[1] in by_number] if by_number else []
    holding = np.array([at for at, _ in numbered], dtype=np.int64)
    held = [by_number[number] for _, number in numbered]
    found = {entry.mailbox for entry in chain(mapped, captured, held) if entry.mailbox}
    mailboxes = sorted(found | ({catch_all} if catch_all else set()))
    place = {mailbox: number for number, mailbox in enumerate(mailboxes)}

    of_row, why_row = _led(len(book.rows), used, mapped, place)
    of_email, why_email = _led(len(captured), np.arange(len(captured)), captured, place)
    of_number, why_number = _led(len(candidates.numbers), holding, held, place)
    number, book_row, email = (table[name].to_numpy() for name in ("number", "book_row", "email"))
    # A number of the phone book without a row for the time, then one without any row.
    why_number = np.minimum(
        why_number,
        np.where(np.append(candidates.known, False), CAUSES.index(Cause.NO_ROW_THEN), CAUSES.index(Cause.NO_ADDRESS)),
    )

    mailbox, rule = of_row[book_row], np.zeros(len(table), dtype=np.int8)
    for ordinal, others in ((1, of_email[email]), (2, of_number[number])):
        open_still = mailbox == NOBODY
        mailbox = np.where(open_still, others, mailbox)
        rule[open_still] = ordinal
    rule[mailbox == NOBODY] = NOBODY
    cause = np.minimum(np.minimum(why_row[book_row], why_email[email]), why_number[number])
    decided = table.assign(mailbox=mailbox, rule=rule, cause=np.where(mailbox == NOBODY, cause, NOBODY).astype(np.int8))
    row = table["row"].to_numpy()
    served = np.zeros(count, dtype=bool)
    served[row[mailbox >= 0]] = True
    deliveries = _deliveries(decided, len(mailboxes))
    caught = np.zeros(count, dtype=bool)
    if catch_all is not None:
        caught = ~served if uncaught is None else ~served & uncaught
        whom = {"row": np.flatnonzero(caught), "mailbox": place[catch_all], "book_row": NOBODY}
        more = pd.DataFrame({**whom, "rule": RULES.index(Rule.CATCH_ALL)}).astype(deliveries.dtypes.to_dict())
        deliveries = pd.concat([deliveries, more]).sort_values("row", kind="stable", ignore_index=True)
    return Decisions(
        mailboxes=mailboxes,
        participants=decided,
        deliveries=deliveries,
        parked=_parked(decided, served | caught),
        waiting=_waiting(decided, served),
    )


def rows_without_mailbox(
    candidates: Candidates, directory: Mapping[str, DirectoryEntry]
) -> Iterator[tuple[str, int, Cause]]:
    """Yield file, line and cause of every row that these participants met and that leads to no mailbox.

    Such a participant falls through to their e-mail property, as Microsoft's connector has it; whoever keeps the file
    must be told, or somebody's copies are missed in silence.
    """
    for file, line, mailbox, _ in _met(candidates):
        entry = directory[mailbox]
        if entry.mailbox is None:
            yield file, line, entry.cause or Cause.NO_USER


def rows_of_another(candidates: Candidates, directory: Mapping[str, DirectoryEntry]) -> Iterator[tuple[str, int]]:
    """Yield file and line of every row that these participants met and whose number the directory has at another user.

    As far as the users who have these addresses tell: the file wins all the same.
    """
    holders: dict[str, set[str]] = {}
    for entry in directory.values():
        for phone in entry.phones if entry.mailbox else ():
            holders.setdefault(phone, set()).add(entry.mailbox or "")
    for file, line, mailbox, number in _met(candidates):
        mine, theirs = directory[mailbox].mailbox, holders.get(number, set())
        if mine and theirs and mine not in theirs:
            yield file, line


def _met(candidates: Candidates) -> Iterator[tuple[str, int, str, str]]:
    rows = candidates.book.rows.iloc[candidates.used_rows()].sort_values(["file", "line"])
    columns = (rows[name].tolist() for name in ("file", "line", "mailbox", "number"))
    yield from zip(*columns, strict=True)


def _address(email: str) -> str | None:
    # Checked before it is put in lower case: the Kelvin sign's is a plain "k", and would be another's address.
    return email.lower() if is_smtp_address(email) else None


def _at(places: np.ndarray, spelling: pd.Series) -> np.ndarray:
    """Return for each participant what the place of its spelling says."""
    return np.asarray(places, dtype=np.int32)[spelling.to_numpy()] if len(places) else np.empty(0, dtype=np.int32)


def _valid_rows(
    book: PhoneBook, numbers: pd.Index, number: np.ndarray, sent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether the book knows each number, and for each participant the row that counts at the item's time.

    The book's rows are sorted by number and begin, and a number's are disjoint: it is the last one that has begun,
    unless it is over.
    """
    rows = book.rows
    nobody = np.full(len(number), NOBODY, dtype=np.int32)
    if rows.empty or not len(number):
        return np.zeros(len(numbers), dtype=bool), nobody
    begin, end = rows["valid_from"].to_numpy(), rows["valid_to"].to_numpy()
    group, distinct = pd.factorize(rows["number"])
    of_number = pd.Index(distinct, dtype="object").get_indexer(numbers)
    wanted = np.append(of_number, NOBODY)[number]
    counts = wanted != NOBODY
    first = np.searchsorted(group, np.arange(len(distinct)))
    at = np.append(first, NOBODY)[wanted]
    several = np.flatnonzero(np.append(np.bincount(group) > 1, False)[wanted])
    # Group and rank of the time in one number each: what is sorted by it is sorted by number, then by time.
    begins = np.sort(pd.unique(begin))
    scale = len(begins) + 1
    keys = group * scale + np.searchsorted(begins, begin) + 1
    times = np.searchsorted(begins, sent[several], "right")
    at[several] = np.searchsorted(keys, wanted[several] * scale + times, "right") - 1
    counts &= at >= 0
    found = at[counts]
    counts[counts] = (group[found] == wanted[counts]) & (begin[found] <= sent[counts]) & (sent[counts] < end[found])
    return of_number != NOBODY, np.where(counts, at, NOBODY).astype(np.int32)


def _led(
    count: int, at: np.ndarray, entries: list[DirectoryEntry], place: Mapping[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mailbox that each of so many leads to, or why to none; one more leads to nobody, for -1 leads there.

    :param at: whose entries these are. Of all others nobody asked: they say less than every cause.
    """
    mailbox = np.full(count + 1, NOBODY, dtype=np.int32)
    cause = np.full(count + 1, len(CAUSES), dtype=np.int8)
    mailbox[at] = [place[entry.mailbox] if entry.mailbox else NOBODY for entry in entries]
    cause[at] = [len(CAUSES) if entry.mailbox else _CAUSE[entry.cause or Cause.NO_USER] for entry in entries]
    return mailbox, cause


def _deliveries(decided: pd.DataFrame, mailboxes: int) -> pd.DataFrame:
    """Return one delivery for each item and mailbox: two participants may be one mailbox."""
    served = decided.loc[decided["mailbox"] >= 0, ["row", "mailbox", "rule", "book_row"]]
    whom = served["row"].to_numpy().astype(np.int64) * max(mailboxes, 1) + served["mailbox"].to_numpy()
    order = np.argsort(whom * len(RULES) + served["rule"].to_numpy(), kind="stable")
    whom = whom[order]
    first = np.ones(len(whom), dtype=bool)
    first[1:] = whom[1:] != whom[:-1]
    return served.iloc[order[first]].reset_index(drop=True)


def _parked(decided: pd.DataFrame, served: np.ndarray) -> pd.DataFrame:
    """Return every item that nobody gets, with the cause that says most; also one that names nobody at all."""
    left = decided.loc[~served[decided["row"].to_numpy()], ["row", "cause"]]
    why = left.groupby("row")["cause"].min()
    rows = np.flatnonzero(~served)
    causes = why.reindex(rows, fill_value=CAUSES.index(Cause.NO_ADDRESS)).to_numpy()
    return pd.DataFrame({"row": rows, "cause": causes})


def _waiting(decided: pd.DataFrame, served: np.ndarray) -> pd.DataFrame:
    """Return for whom an item waits.

    The organisation's own are known by an address that a mapping row or the item has for them, or by the side at which
    the network captured the item: who sent what went out; who received what came in, unless one of those is served, for
    a group's other members may be anybody.
    """
    row, side = decided["row"].to_numpy(), decided["side"].to_numpy()
    missed = decided["mailbox"].to_numpy() == NOBODY
    side_served = np.zeros(len(served), dtype=bool)
    side_served[row[side & ~missed]] = True
    named = (decided["book_row"].to_numpy() >= 0) | (decided["email"].to_numpy() >= 0)
    waits = missed & (~served[row] | named | (side & ~side_served[row]))
    return pd.DataFrame({"row": row[waits], "person": np.flatnonzero(waits)})
