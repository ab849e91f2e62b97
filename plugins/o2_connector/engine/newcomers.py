"""Newcomers: people whom the mapping did not know yet when a window was decided on, and who are in its items.

Whoever is known to be the organisation's waits in the park. Of all others a window keeps their numbers alone, for
nearly every item has a stranger at its far end: when a row is added for such a number, the windows that have it are
looked at again. A window is looked at once for each mapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

import numpy as np

from o2_connector.core.coverage import NumberSeen
from o2_connector.core.layout import PARKED, WINDOWS, mapping_object
from o2_connector.core.mapping import NOBODY, find_candidates
from o2_connector.core.outcomes import Cause
from o2_connector.core.parked import Person, Waiting
from o2_connector.core.phone_book import PhoneBook, thawed
from o2_connector.core.window import Window
from o2_connector.engine.history import decided_by, last_record
from o2_connector.engine.mapping_step import read_items
from o2_connector.hooks.staging import StagingHook

_Row = tuple[str, str, int, int]


def newcomers(staging: StagingHook, book: PhoneBook, mapping: str) -> tuple[list[Waiting], list[str]]:
    """Return what newcomers have missed, and the names of the windows that were looked at.

    :param mapping: digest of the book.
    """
    looked: dict[str, set[str]] = {}
    for name in staging.names(PARKED):
        _, folder, rest = name.split("/", 2)
        if rest.startswith("looked."):
            looked.setdefault(folder, set()).add(rest.removeprefix("looked."))
    rows = _rows(book)
    known: dict[str, Set[_Row]] = {mapping: rows}
    missed: list[Waiting] = []
    new = [folder for folder in staging.folders(WINDOWS) if mapping not in looked.get(folder, set())]
    for name in new:
        for digest in looked.get(name, set()) - known.keys():
            known[digest] = _rows(_book(staging, digest))
        before: set[_Row] = set().union(*(known[digest] for digest in looked.get(name, set())))
        added = {number for number, *_ in rows - before}
        window = Window.named(name)
        if added and window:
            missed.extend(_missed(staging, window, book, added))
    return missed, new


def _missed(staging: StagingHook, window: Window, book: PhoneBook, added: Set[str]) -> Iterator[Waiting]:
    record = last_record(staging, window)
    if record is None or record.decision.numbers is None:
        return
    seen = (each.number for each in staging.read_lines(record.decision.numbers, NumberSeen))
    if added.isdisjoint(seen):
        return
    items, participants = read_items(staging, record.batches)
    sent = np.frombuffer(items.sent, dtype=np.int64)
    now = find_candidates(participants, sent, book, record.region)
    had = decided_by(staging, record, participants, sent).participants["mailbox"].to_numpy()
    numbers = np.array([*(number in added for number in now.numbers), False])
    table = now.table
    chosen = numbers[table["number"]] & (table["book_row"].to_numpy() >= 0) & (had == NOBODY)
    repeats = items.repeats()
    people = participants.table[chosen]
    for row, phone, email, side in zip(*(people[name].tolist() for name in people), strict=True):
        if row in repeats:
            continue
        pack, offset, length = items.place(row)
        yield Waiting(
            item_id=items.item_ids[row],
            key=items.key(row),
            record=items.record(row),
            sent=items.sent[row],
            attached=items.attached(row),
            causes=items.causes(row),
            pack=record.batches[pack].messages,
            offset=offset,
            length=length,
            window=window.name,
            parked=int(record.decided_at.timestamp() * 1000),
            why=Cause.NO_ADDRESS,
            nobody=False,
            people=(Person(participants.phones[phone], participants.emails[email], side),),
        )


def _book(staging: StagingHook, digest: str) -> PhoneBook:
    with staging.reader(staging.staged(mapping_object(digest))) as content:
        return thawed(content.read())


def _rows(book: PhoneBook) -> Set[_Row]:
    columns = (book.rows[name].tolist() for name in ("number", "mailbox", "valid_from", "valid_to"))
    return set(zip(*columns, strict=True))
