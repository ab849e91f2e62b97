"""Newcomers: people whom the mapping did not know yet when a window was decided on, and who are in its items.

Whoever is known to be the organisation's waits in the park. Of all others a window keeps their numbers alone, for
nearly every item has a stranger at its far end: when a row is added for such a number, the windows that have it are
looked at again. A window is looked at when the mapping is another than at the last look.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

import numpy as np

from o2_connector.core.coverage import NumberSeen
from o2_connector.core.layout import mapping_object
from o2_connector.core.mapping import NOBODY, find_candidates
from o2_connector.core.outcomes import Cause
from o2_connector.core.parked import Person, Waiting, served_id
from o2_connector.core.phone_book import PhoneBook, thawed
from o2_connector.core.window import Window
from o2_connector.engine.history import decided_by, records_of
from o2_connector.engine.looks import Looks
from o2_connector.engine.mapping_step import read_items, waiting_item
from o2_connector.hooks.staging import StagingHook

_Row = tuple[str, str, int, int]


def newcomers(staging: StagingHook, looks: Looks, book: PhoneBook, mapping: str, gone: Set[str]) -> Iterator[Waiting]:
    """Yield what newcomers have missed, in the windows that were not looked at by this mapping last.

    :param mapping: digest of the book.
    :param gone: see :class:`Park`: who has got their copy from the park has missed nothing.
    """
    rows = _rows(book)
    known: dict[str, Set[_Row]] = {mapping: rows}
    for name, mappings in sorted(looks.last.items()):
        for digest in mappings - known.keys():
            known[digest] = _rows(_book(staging, digest))
        added = {number for digest in mappings for number, *_ in rows - known[digest]}
        window = Window.named(name)
        if added and window:
            for each in _missed(staging, window, book, added):
                if served_id(each, *each.people) not in gone:
                    yield each


def _missed(staging: StagingHook, window: Window, book: PhoneBook, added: Set[str]) -> Iterator[Waiting]:
    """Yield each copy that the last decision on an item did not make.

    Of a window that was archived several times, an earlier run may have had items that the last one had not.
    """
    known: set[str] = set()
    for record in records_of(staging, window):
        seen = staging.read_lines(record.decision.numbers, NumberSeen) if record.decision.numbers else ()
        if added.isdisjoint(each.number for each in seen):
            continue
        items, participants = read_items(staging, record.batches)
        packs = [batch.messages for batch in record.batches]
        sent = np.frombuffer(items.sent, dtype=np.int64)
        now = find_candidates(participants, sent, book, record.region)
        had = decided_by(staging, record, participants, sent).participants["mailbox"].to_numpy()
        numbers = np.array([*(number in added for number in now.numbers), False])
        theirs = numbers[now.table["number"]] & (now.table["book_row"].to_numpy() >= 0)
        repeats = items.repeats()
        people = participants.table[theirs].assign(had=had[theirs])
        keys = set()
        for row, phone, email, side, mailbox in zip(*(people[name].tolist() for name in people), strict=True):
            keys.add(key := items.key(row))
            if row in repeats or key in known or mailbox != NOBODY:
                continue
            yield waiting_item(
                items,
                row,
                packs,
                window,
                record.decided_at,
                why=Cause.NO_ADDRESS,
                nobody=False,
                people=(Person(participants.phones[phone], participants.emails[email], side),),
            )
        known |= keys


def _book(staging: StagingHook, digest: str) -> PhoneBook:
    with staging.reader(staging.staged(mapping_object(digest))) as content:
        return thawed(content.read())


def _rows(book: PhoneBook) -> Set[_Row]:
    columns = (book.rows[name].tolist() for name in ("number", "mailbox", "valid_from", "valid_to"))
    return set(zip(*columns, strict=True))
