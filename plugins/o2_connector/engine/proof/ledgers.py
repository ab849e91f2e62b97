"""Ledgers: what the mailboxes should have by the books that are asked, ready to be looked up.

A span may have a million deliveries: they are kept in a SQLite database without a name of its own, a file of this
process alone.
"""

from __future__ import annotations

import hashlib
import heapq
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, TypeVar

import msgspec

from o2_connector.core.conversion import IndexRow
from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import window_of
from o2_connector.core.ledger import Delivery, Receipt, read_delivery, read_packs
from o2_connector.core.manifest import Shard, StagedObject
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.core.window import Window
from o2_connector.engine.book import receipts_of
from o2_connector.engine.proof.asked import Asked, shards_of, span_has
from o2_connector.hooks.staging import StagingHook

_ROWS = 1024  # that are written together
_OWN = (Outcome.IMPORTED, Outcome.PARTIALLY_IMPORTED)
Row = TypeVar("Row")


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one item that a mailbox should have, once.

    :param at: when it was delivered, in milliseconds since 1970, UTC.
    :param message: Graph's id of it, where it is known.
    :param versions: where the messages lie that it may be: one but for a window that was converted anew.
    """

    mailbox: str
    key: str
    item_id: str
    at: int
    message: str | None
    versions: tuple[Version, ...]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """Say where a message lies that was to be delivered.

    :param pack: which pack of messages holds it, by number.
    :param offset: bytes into that pack.
    :param length: bytes.
    """

    key: str
    item_id: str
    pack: int
    offset: int
    length: int


@dataclass(kw_only=True)
class Ledgers:
    """Know what the mailboxes should have. Made by :func:`ledgers`.

    :param packs: the packs that :class:`Version` counts.
    :param unread: what of the ledgers cannot be read, in words.
    """

    _scratch: sqlite3.Connection
    packs: list[StagedObject] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    _numbers: dict[StagedObject, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Return how many deliveries of the span's items are made."""
        return self._one("SELECT count(*) FROM delivered")

    @property
    def chosen(self) -> int:
        """Return how many of them are chosen."""
        return self._one("SELECT count(*) FROM chosen")

    def chosen_in(self, mailbox: str) -> int:
        """Return how many of those of a mailbox are."""
        return self._one("SELECT count(*) FROM chosen WHERE mailbox = ?", mailbox)

    def delivered(self, item_id: str) -> bool:
        """Tell whether any mailbox has got an item."""
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM due WHERE item_id = ? AND there)", item_id))

    def choose_all(self) -> None:
        """Choose every delivery."""
        self._scratch.execute("INSERT INTO chosen SELECT mailbox, key FROM delivered")

    def choose_some(self, most: int, seed: str) -> None:
        """Choose so many deliveries of each window, those with the smallest digests: the same ones again next time.

        :param seed: another one chooses others.
        """
        best: defaultdict[str, list[tuple[int, str, str]]] = defaultdict(list)
        for mailbox, key, window in self._scratch.execute("SELECT mailbox, key, window FROM delivered"):
            digest = hashlib.sha256(f"{seed} {window} {mailbox} {key}".encode()).digest()
            entry = (-int.from_bytes(digest), mailbox, key)
            (heapq.heappush if len(best[window]) < most else heapq.heappushpop)(best[window], entry)
        found = ((mailbox, key) for heap in best.values() for _, mailbox, key in heap)
        self._scratch.executemany("INSERT OR IGNORE INTO chosen VALUES (?, ?)", found)

    def mailboxes(self) -> list[str]:
        """Return the mailboxes of the deliveries that are chosen."""
        return [mailbox for (mailbox,) in self._scratch.execute("SELECT DISTINCT mailbox FROM chosen ORDER BY 1")]

    def all_mailboxes(self) -> list[str]:
        """Return every mailbox that the ledgers name."""
        return [mailbox for (mailbox,) in self._scratch.execute("SELECT DISTINCT mailbox FROM due ORDER BY 1")]

    def due(self, mailbox: str, limit: int) -> Iterator[list[Due]]:
        """Yield the deliveries to a mailbox that are chosen, so many at a time, by key."""
        last = ""
        while keys := [
            key
            for (key,) in self._scratch.execute(
                "SELECT key FROM chosen WHERE mailbox = ? AND key > ? ORDER BY key LIMIT ?", (mailbox, last, limit)
            )
        ]:
            yield [self._due(mailbox, key) for key in keys]
            last = keys[-1]

    def is_meant(self, mailbox: str, key: str) -> bool:
        """Tell whether any book that is asked, or one beside it, gives a mailbox an item, whatever became of it."""
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM due WHERE mailbox = ? AND key = ?)", mailbox, key))

    def item_of(self, key: str) -> str | None:
        """Return the id of an item of the span, by its key."""
        found = self._scratch.execute("SELECT item_id FROM items WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def sent(self) -> tuple[int, int] | None:
        """Return when the span's first and last item were sent, in milliseconds since 1970, UTC."""
        first, last = self._scratch.execute("SELECT min(sent), max(sent) FROM items").fetchone()
        return None if first is None else (first, last)

    def note_items(self, staging: StagingHook, asked: Asked) -> None:
        """Take in the span's items."""
        for batch in asked.conversions():
            try:
                rows = staging.read_lines(batch.index, IndexRow)
                for some in _some((row.key, row.item_id, row.sent) for row in rows):
                    self._scratch.executemany("INSERT OR IGNORE INTO items VALUES (?, ?, ?)", some)
            except IntegrityError as error:
                self.unread.append(f"the items of batch {batch.batch_id} are not known: {error}")

    def note_shard(self, staging: StagingHook, shard: Shard, sealed: Sequence[str], span: Window) -> None:
        """Take in a shard's deliveries, and what became of them."""
        self._note_receipts(staging, shard, sealed)
        with staging.local(shard.deliveries) as path, path.open("rb") as lines:
            packs = [self._pack(each, span) for each in read_packs(lines.readline())]
            rows = (
                (*(row.mailbox, row.key, row.item_id), *packs[row.pack], *(row.offset, row.length), *answer)
                for row, answer in self._answered(lines)
            )
            for some in _some(rows):
                self._scratch.executemany("INSERT INTO due VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", some)

    def _note_receipts(self, staging: StagingHook, shard: Shard, sealed: Sequence[str]) -> None:
        """Keep of each delivery the receipt that counts; see :func:`o2_connector.core.ledger.outranks`."""
        self._scratch.execute("DELETE FROM receipts")
        rows = (
            (
                each.delivery,
                each.outcome is not Outcome.FAILED,
                is_there(each),
                each.outcome in _OWN,
                each.at,
                each.message,
            )
            for each in receipts_of(staging, shard, sealed)
        )
        note = (
            "INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET"
            " done = excluded.done, there = excluded.there, own = excluded.own, at = excluded.at,"
            " message = excluded.message WHERE (excluded.done, excluded.at) >= (done, at)"
        )
        for some in _some(rows):
            self._scratch.executemany(note, some)

    def _answered(self, lines: BinaryIO) -> Iterator[tuple[Delivery, tuple[object, ...]]]:
        """Yield each delivery, and of its receipt whether it is there, by this book's own doing, when, and its id."""
        answers = self._scratch.execute("SELECT number, there, own, at, message FROM receipts ORDER BY number")
        answer = answers.fetchone()
        for number, line in enumerate(lines):
            if answer and answer[0] == number:
                yield read_delivery(line), answer[1:]
                answer = answers.fetchone()
            else:
                yield read_delivery(line), (False, False, 0, None)

    def _pack(self, pack: StagedObject, span: Window) -> tuple[bool, str, int]:
        """Return of a pack whether it is the span's, its window, and its number."""
        if pack not in self._numbers:
            self._numbers[pack] = len(self.packs)
            self.packs.append(pack)
        window = window_of(pack.name)
        return span_has(span, pack.name), window.name if window else "", self._numbers[pack]

    def _due(self, mailbox: str, key: str) -> Due:
        rows = self._scratch.execute(
            "SELECT item_id, pack, offset, length, own, at, message FROM due"
            " WHERE mailbox = ? AND key = ? AND there ORDER BY own DESC, at",
            (mailbox, key),
        ).fetchall()
        item_id, *_, at, message = rows[0]
        versions = dict.fromkeys((pack, offset, length) for _, pack, offset, length, *_ in rows)
        return Due(
            mailbox=mailbox,
            key=key,
            item_id=item_id,
            at=at,
            message=message,
            versions=tuple(
                Version(key=key, item_id=item_id, pack=pack, offset=offset, length=length)
                for pack, offset, length in versions
            ),
        )

    def _one(self, ask: str, *values: str) -> int:
        found: int = self._scratch.execute(ask, values).fetchone()[0]
        return found


@contextmanager
def ledgers(staging: StagingHook, asked: Asked) -> Iterator[Ledgers]:
    """Lend what the mailboxes should have, to one thread."""
    with closing(sqlite3.connect("", isolation_level=None)) as scratch:
        scratch.executescript(_TABLES)
        scratch.execute("BEGIN")  # never committed: the database is as short-lived as what is lent
        found = Ledgers(_scratch=scratch)
        found.note_items(staging, asked)
        books = [book for book in (*asked.books, *asked.beside) if not book.link.dry_run]
        sealed: defaultdict[str, set[str]] = defaultdict(set)
        for book in books:
            sealed[book.stem].update(name for name in book.sealed if "/receipts." in name)
            found.unread += (
                f"what {book.name} delivered is not known: {name} is not what it was" for name in book.unread
            )
        for stem, shard in {
            shard.deliveries.name: (book.stem, shard) for book in books for shard in shards_of([book])
        }.values():
            try:
                found.note_shard(staging, shard, sorted(sealed[stem]), asked.span)
            except IntegrityError as error:
                found.unread.append(f"what became of {shard.deliveries.name} is not known: {error}")
        scratch.execute("CREATE INDEX by_mailbox ON due (mailbox, key)")
        scratch.execute("CREATE INDEX by_item ON due (item_id)")
        yield found


_TABLES = """
    PRAGMA journal_mode = OFF;
    PRAGMA cache_size = -16384;
    CREATE TABLE items (key PRIMARY KEY, item_id, sent) WITHOUT ROWID;
    CREATE TABLE receipts (number INTEGER PRIMARY KEY, done, there, own, at, message);
    CREATE TABLE due (mailbox, key, item_id, asked, window, pack, offset, length, there, own, at, message);
    CREATE VIEW delivered AS
        SELECT mailbox, key, max(window) AS window FROM due WHERE there GROUP BY mailbox, key HAVING max(asked);
    CREATE TABLE chosen (mailbox, key, PRIMARY KEY (mailbox, key)) WITHOUT ROWID;
"""


def is_there(receipt: Receipt) -> bool:
    """Tell whether a receipt says that the item is in the mailbox; one that was sent again proves nothing itself."""
    return receipt.outcome in _OWN or receipt.cause == Cause.ALREADY_THERE


def _some(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rest = iter(rows)
    while some := list(islice(rest, _ROWS)):
        yield some
