"""Worklist: what is still to be done of a shard's deliveries, by this run's ledger and those of all others.

What decides is, for each delivery, read from every run and replay over every window that an item can share with those
that its packs lie in:

- A receipt stands: what was delivered is not delivered again, wherever its reader has moved it since. Another book's
  says what is there, whole or in part; of several the first, for it is the one that the others repeat. A failure is no
  such receipt; the delivery is open again.
- An intent that its own journal gave no receipt for is in doubt: the mailbox is asked before anything is sent. Only the
  same journal's receipt answers it, for a journal intends a delivery once and its receipt comes later, while the order
  of two journals is known by no clock; a failure that another task met says nothing about a request of which the answer
  was lost.
- An item that the source sent again within a window is no evidence: its first delivery is.

A book may have a million deliveries. They stay in their file; memory holds nine bytes for each, and what has to be
matched by its name is matched in a SQLite database without a name of its own: a file of this process alone, gone with
it however it ends.
"""

from __future__ import annotations

import re
import sqlite3
import time
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import msgspec

from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import (
    REPLAYS,
    WINDOWS,
    Segment,
    bucket_of,
    receipts_stem,
    runs_stem,
    segment_of,
    window_of,
)
from o2_connector.core.ledger import Delivery, Intent, Receipt, read_delivery, read_packs, said_again
from o2_connector.core.manifest import Shard
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook

OPEN, DOUBTFUL, SETTLED, JUDGED, ELSEWHERE = range(5)
"""What is known of a delivery: judged by the mapping, or there by another book, but without a receipt in its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Todo:
    """Sum up what is to be done in one mailbox.

    :param open: deliveries that Graph was never asked for.
    :param doubtful: deliveries that Graph may have been asked for, and nobody knows with what success.
    :param first_sent: the oldest of both, in milliseconds since 1970, UTC.
    :param last_sent: the latest of both.
    """

    mailbox: str
    open: int
    doubtful: int
    first_sent: int
    last_sent: int


class _Line(msgspec.Struct):
    mailbox: str
    sent: int
    settled: tuple[Outcome, str] | None = None


class _Named(msgspec.Struct):
    mailbox: str
    item_id: str


_LINE, _NAMED = msgspec.json.Decoder(_Line), msgspec.json.Decoder(_Named)


@contextmanager
def worklist(staging: StagingHook, shard: Shard) -> Iterator[Worklist]:
    """Lend what is to be done of a shard, as the ledgers say at this moment; to one thread."""
    with (
        staging.local(shard.deliveries) as path,
        path.open("rb") as book,
        closing(sqlite3.connect("", isolation_level=None)) as scratch,
    ):
        found = Worklist(book, scratch, shard)
        own = f"{receipts_stem(shard.deliveries.name).rpartition('/')[0]}/"
        for segments in _journals(staging, own, shard):
            found.note_own(staging, segments)
        if found.open or found.doubtful:
            windows = {_window(pack.name) for pack in found.packs}
            others = [
                segments
                for runs in _runs(staging, windows)
                for segments in _journals(staging, runs, shard)
                if segments[0].book != own
            ]
            if others:
                found.note_others(staging, others)
        yield found


def _window(pack: str) -> Window:
    window = window_of(pack)
    if window is None:
        raise IntegrityError(f"{pack} lies in no window: who else may have delivered its items cannot be known")
    return window


def _runs(staging: StagingHook, windows: Collection[Window]) -> Iterator[str]:
    """Yield where runs and replays are that can have delivered an item of these windows."""
    for root in (WINDOWS, REPLAYS):
        for name in staging.folders(root):
            other = Window.named(name)
            if other and any(other.overlaps(window) for window in windows):
                yield runs_stem(other, root)


def _journals(staging: StagingHook, prefix: str, shard: Shard) -> list[list[Segment]]:
    """Return the segments that may be about the shard's mailboxes: for each journal a list, receipts first."""
    journals: defaultdict[tuple[str, str], list[Segment]] = defaultdict(list)
    for name in staging.names(prefix):
        segment = segment_of(name)
        if segment and segment.first <= shard.last and shard.first <= segment.last:
            journals[segment.book, segment.journal].append(segment)
    return [sorted(segments, key=lambda segment: segment.intents) for segments in journals.values()]


class Worklist:
    """Know a shard's deliveries, and what is to be done about each. Made by :func:`worklist`.

    :param book: the deliveries object, verified.
    :param scratch: an empty database.
    """

    def __init__(self, book: BinaryIO, scratch: sqlite3.Connection, shard: Shard) -> None:
        self._book = book
        self._scratch = scratch
        self._offsets = array("q")
        self._states = bytearray()
        self._spans: dict[str, range] = {}
        self._keyed: set[str] = set()
        self._said: dict[tuple[Outcome, str | None], int] = {}  # a few, of however many
        self.packs = read_packs(book.readline())
        self._read(shard)
        scratch.execute("PRAGMA journal_mode = OFF")
        scratch.execute("PRAGMA cache_size = -4096")
        scratch.execute("BEGIN")  # never committed: the database is as short-lived as this object
        for table, name in (("items", "item_id"), ("keys", "key")):
            columns = f"mailbox, {name}, number"
            scratch.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({columns})) WITHOUT ROWID")
        scratch.execute("CREATE TABLE elsewhere (number INTEGER PRIMARY KEY, at, said, message)")

    @property
    def total(self) -> int:
        """Return how many deliveries the shard has."""
        return len(self._states)

    @property
    def open(self) -> int:
        """Return for how many Graph was never asked."""
        return self._states.count(OPEN)

    @property
    def doubtful(self) -> int:
        """Return for how many Graph may have been asked, nobody knows with what success."""
        return self._states.count(DOUBTFUL)

    def mailboxes(self) -> Iterator[Todo]:
        """Yield the mailboxes in which anything is to be done, in the book's order."""
        for mailbox, span in self._spans.items():
            within = span.start, span.stop
            counts = {state: self._states.count(state, *within) for state in (OPEN, DOUBTFUL)}
            there = [state for state, count in counts.items() if count]
            if there:
                yield Todo(
                    mailbox=mailbox,
                    open=counts[OPEN],
                    doubtful=counts[DOUBTFUL],
                    first_sent=self._row(min(self._states.find(state, *within) for state in there)).sent,
                    last_sent=self._row(max(self._states.rfind(state, *within) for state in there)).sent,
                )

    def open_rows(self, mailbox: str, after: int, limit: int) -> list[tuple[int, Delivery]]:
        """Return so many deliveries for which Graph was never asked, oldest first, with their numbers.

        :param after: the last number that the caller has already; -1 before the first.
        """
        return self._rows(mailbox, OPEN, after, limit)

    def doubtful_rows(self, mailbox: str, after: int, limit: int) -> list[tuple[int, Delivery]]:
        """Return so many deliveries for which Graph may have been asked, likewise."""
        return self._rows(mailbox, DOUBTFUL, after, limit)

    def settled_now(self) -> Iterator[Receipt]:
        """Yield the receipts that the shard's own book lacks, and for which no mailbox has to be asked."""
        said = list(self._said)
        ask = "SELECT said, message FROM elsewhere WHERE number = ?"
        for number in self._numbers(range(self.total), JUDGED, ELSEWHERE):
            row, message = self._row(number), None
            if row.settled:
                outcome, cause = row.settled
            else:
                place, message = self._scratch.execute(ask, (number,)).fetchone()
                outcome, cause = said[place]
            yield Receipt(
                delivery=number,
                item_id=row.item_id,
                mailbox=row.mailbox,
                outcome=outcome,
                at=time.time_ns() // 1_000_000,
                cause=cause,
                message=message,
            )

    def found(self, mailbox: str, there: Mapping[str, str]) -> list[tuple[int, Delivery, str, bool]]:
        """Return what was to be done in a mailbox and is there; from now on it is settled.

        :param there: Graph's ids of messages in the mailbox, by item key.
        :returns: number, delivery, Graph's id, and whether the delivery was in doubt.
        """
        if mailbox not in self._keyed:
            self._keyed.add(mailbox)
            numbers = self._numbers(self._spans.get(mailbox, range(0)), OPEN, DOUBTFUL)
            rows = ((mailbox, self._row(number).key, number) for number in numbers)
            self._scratch.executemany("INSERT INTO keys VALUES (?, ?, ?)", rows)
        ask = "SELECT number FROM keys WHERE mailbox = ? AND key = ?"
        known = [
            (number, self._row(number), message, self._states[number] == DOUBTFUL)
            for key, message in there.items()
            for (number,) in self._scratch.execute(ask, (mailbox, key))
            if self._states[number] in (OPEN, DOUBTFUL)
        ]
        for number, *_ in known:
            self._states[number] = SETTLED
        return sorted(known, key=lambda each: each[0])

    def note_own(self, staging: StagingHook, segments: Iterable[Segment]) -> None:
        """Take in what one journal says of this book's deliveries, by number."""
        answered = bytearray(self.total)
        for each in (each for segment in segments for each in _told(staging, segment)):
            number = each.delivery
            if not 0 <= number < self.total:
                raise IntegrityError(f"the ledger speaks of delivery {number}, but the shard has {self.total}")
            if isinstance(each, Intent):
                if not answered[number]:
                    self._doubt(number)
            elif each.outcome is not Outcome.FAILED or self._states[number] == JUDGED:
                self._states[number] = SETTLED
            elif each.doubtful:
                self._doubt(number)
            else:
                answered[number] = 1

    def note_others(self, staging: StagingHook, journals: Iterable[Iterable[Segment]]) -> None:
        """Take in what the journals of other books say of the same items and mailboxes."""
        self._index_items()
        note = (
            "INSERT INTO elsewhere SELECT number, ?, ?, ? FROM items WHERE mailbox = ? AND item_id = ?"
            " ON CONFLICT (number) DO UPDATE SET at = excluded.at, said = excluded.said, message = excluded.message"
            " WHERE excluded.at < at"
        )
        for segments in journals:
            answered = bytearray()  # by the numbers of that book, however many it has
            for segment in segments:
                there = []
                for each in _told(staging, segment):
                    if each.mailbox not in self._spans:
                        continue
                    if each.delivery >= len(answered):
                        answered.extend(bytes(each.delivery + 1024))
                    if isinstance(each, Intent):
                        if not answered[each.delivery]:
                            self._doubt_same(each)
                    elif _is_there(each):
                        answered[each.delivery] = 1
                        said = self._said.setdefault(said_again(each), len(self._said))
                        there.append((each.at, said, each.message, each.mailbox, each.item_id))
                    elif each.doubtful:
                        self._doubt_same(each)
                    else:
                        answered[each.delivery] = 1
                self._scratch.executemany(note, there)
        for (number,) in self._scratch.execute("SELECT number FROM elsewhere"):
            self._states[number] = ELSEWHERE

    def _read(self, shard: Shard) -> None:
        """Note where every delivery lies, and which of them the mapping judged."""
        mailbox, sent, first, offset = "", 0, 0, self._book.tell()
        for number, line in enumerate(self._book):
            row = _LINE.decode(line)
            if row.mailbox != mailbox:
                self._close_span(shard, mailbox, range(first, number))
                mailbox, first = row.mailbox, number
            elif row.sent < sent:
                raise IntegrityError(f"{shard.deliveries.name} is not oldest first within a mailbox")
            sent = row.sent
            self._offsets.append(offset)
            self._states.append(JUDGED if row.settled else OPEN)
            offset += len(line)
        self._close_span(shard, mailbox, range(first, self.total))

    def _close_span(self, shard: Shard, mailbox: str, span: range) -> None:
        if not span:
            return
        if mailbox in self._spans:
            raise IntegrityError(f"{shard.deliveries.name} is not mailbox by mailbox")
        if not shard.first <= bucket_of(mailbox) <= shard.last:
            raise IntegrityError(f"{shard.deliveries.name} has a mailbox of another shard's buckets")
        self._spans[mailbox] = span

    def _index_items(self) -> None:
        """Make what is to be done known by item and mailbox."""
        numbers = self._numbers(range(self.total), OPEN, DOUBTFUL)
        names = ((number, _NAMED.decode(self._line(number))) for number in numbers)
        rows = ((name.mailbox, name.item_id, number) for number, name in names)
        self._scratch.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)

    def _doubt_same(self, each: Receipt | Intent) -> None:
        """Doubt the same item for the same mailbox in this book."""
        ask = "SELECT number FROM items WHERE mailbox = ? AND item_id = ?"
        for (number,) in self._scratch.execute(ask, (each.mailbox, each.item_id)):
            self._doubt(number)

    def _doubt(self, number: int) -> None:
        if self._states[number] == OPEN:
            self._states[number] = DOUBTFUL

    def _rows(self, mailbox: str, state: int, after: int, limit: int) -> list[tuple[int, Delivery]]:
        span = self._spans.get(mailbox, range(0))
        rest = range(max(span.start, after + 1), span.stop)
        return [(number, self._row(number)) for number in islice(self._numbers(rest, state), limit)]

    def _numbers(self, span: range, *states: int) -> Iterator[int]:
        """Yield the numbers of the deliveries in these states, as they are when their turn comes."""
        wanted = re.compile(b"[%s]" % bytes(states))
        at = span.start
        while (found := wanted.search(self._states, at, span.stop)) is not None:
            at = found.end()
            yield found.start()

    def _row(self, number: int) -> Delivery:
        return read_delivery(self._line(number))

    def _line(self, number: int) -> bytes:
        self._book.seek(self._offsets[number])
        return self._book.readline()


def _told(staging: StagingHook, segment: Segment) -> Iterator[Receipt | Intent]:
    kind: type[Receipt | Intent] = Intent if segment.intents else Receipt
    yield from staging.read_lines(staging.staged(segment.name), kind)


def _is_there(receipt: Receipt) -> bool:
    # A repeated record is skipped on the strength of the first one's own receipt, and proves nothing itself.
    return receipt.outcome in (Outcome.IMPORTED, Outcome.PARTIALLY_IMPORTED) or receipt.cause == Cause.ALREADY_THERE
