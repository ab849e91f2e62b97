"""Outcomes: for whom each item of a window was delivered, by all runs and replays, and what it waits for.

A day may have a million deliveries. They are joined in a SQLite database without a name of its own: a file of this
process alone, gone with it however it ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from o2_connector.core.conversion import IndexRow
from o2_connector.core.errors import IntegrityError
from o2_connector.core.identity import item_key
from o2_connector.core.layout import REPLAYS, WINDOWS, runs_stem
from o2_connector.core.ledger import Receipt, read_delivery, read_packs
from o2_connector.core.manifest import ConvertedBatch, DecisionRecord, Shard
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.core.window import Window
from o2_connector.engine.book import receipts_of
from o2_connector.engine.park import park_of
from o2_connector.engine.windows import windows_in
from o2_connector.hooks.staging import StagingHook

_THERE = 2  # the rank of what is in the mailbox already
_TABLES = """
CREATE TABLE items (pack, offset, record, PRIMARY KEY (pack, offset)) WITHOUT ROWID;
CREATE TABLE deliveries (
    run, shard, number, pack, offset, mailbox, rule, place, delivered, at, outcome, cause, message,
    PRIMARY KEY (shard, number)
) WITHOUT ROWID;
CREATE INDEX by_record ON items (record);
CREATE INDEX by_item ON deliveries (pack, offset);
"""
_PUT = (
    "INSERT OR IGNORE INTO deliveries (run, shard, number, pack, offset, mailbox, rule, place)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# As core.ledger.outranks has it: the latest counts, but a failure never outranks a delivery.
_TAKE = (
    "UPDATE deliveries SET delivered = :delivered, at = :at, outcome = :outcome, cause = :cause, message = :message"
    " WHERE shard = :shard AND number = :number AND (at IS NULL OR (:delivered, :at) >= (delivered, at))"
)
_ASK = (
    "SELECT run, at, mailbox, rule, place, outcome, cause, message FROM items JOIN deliveries USING (pack, offset)"
    " WHERE record = ?"
)

Read = TypeVar("Read")


class Delivered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Say what became of one item in one mailbox.

    :param mailbox: the user's object id.
    :param place: file and line of the mapping row, where that is the rule.
    :param outcome: nothing where nobody knows yet.
    :param message: Graph's immutable id of the message.
    :param run_id: the run that says so.
    """

    mailbox: str
    rule: str
    place: str | None = None
    outcome: str | None = None
    cause: str | None = None
    at: datetime | None = None
    message: str | None = None
    run_id: str


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """Say that an item waits.

    :param nobody: whether none of its participants gets it.
    """

    since: datetime
    cause: str
    nobody: bool


class Became(msgspec.Struct, frozen=True, kw_only=True):
    """Say what became of an item.

    :param outcome: the worst of its deliveries', in the report's words; else whether it is parked.
    """

    outcome: str
    deliveries: tuple[Delivered, ...]
    waits: tuple[Waits, ...]


@contextmanager
def outcomes_of(staging: StagingHook, window: Window, faults: list[str]) -> Iterator[Outcomes]:
    """Lend what became of a window's items, as the ledgers say at this moment; to one thread.

    :param faults: takes in words what of the ledgers could not be read: of this nothing is known.
    """
    with closing(sqlite3.connect("", isolation_level=None)) as scratch:
        found = Outcomes(staging, window, scratch, faults)
        found.read()
        yield found


class Outcomes:
    """Know what became of a window's items. Made by :func:`outcomes_of`."""

    def __init__(self, staging: StagingHook, window: Window, scratch: sqlite3.Connection, faults: list[str]) -> None:
        self._staging = staging
        self._window = window
        self._scratch = scratch
        self._faults = faults
        self._packs: dict[str, int] = {}
        self._runs: list[str] = []
        self._waits: dict[tuple[str, str], list[Waits]] = {}
        self._all_read = True

    def read(self) -> None:
        """Take in every decision by which deliveries were made, and what waits."""
        self._scratch.execute("PRAGMA journal_mode = OFF")
        self._scratch.executescript(_TABLES)
        self._scratch.execute("BEGIN")  # never committed: the database is as short-lived as this object
        spans = ((span, REPLAYS) for span in windows_in(self._staging, self._window, REPLAYS))
        for span, root in ((self._window, WINDOWS), *spans):
            for name in self._staging.names(runs_stem(span, root)):
                if "/decision." in name:
                    self._try(self._read_decision, name)
        self._try(self._read_park, self._window)

    def of(self, item_id: str, record: str) -> Became:
        """Return what became of an item.

        :param record: SHA-256 of its record.
        """
        deliveries: dict[str, tuple[tuple[int, int], Delivered]] = {}
        for run, at, *rest in self._scratch.execute(_ASK, (record,)):
            made = Delivered(
                **dict(zip(("mailbox", "rule", "place", "outcome", "cause", "message"), rest, strict=True)),
                at=None if at is None else _moment(at),
                run_id=self._runs[run],
            )
            rank = _rank(made)
            says = rank, (-at if rank >= _THERE else at) if at else 0  # who delivered; else the last that tried
            if made.mailbox not in deliveries or says > deliveries[made.mailbox][0]:
                deliveries[made.mailbox] = says, made
        made_all = tuple(made for _, (_, made) in sorted(deliveries.items()))
        waits = tuple(self._waits.get((item_key(item_id), record), ()))
        outcome = _worst(made_all) or ("parked" if waits else self._without(record))
        return Became(outcome=outcome, deliveries=made_all, waits=waits)

    def _without(self, record: str) -> str:
        """Return what to say of an item without delivery, that waits for nobody on its own account."""
        decided = self._scratch.execute("SELECT 1 FROM items WHERE record = ?", (record,)).fetchone()
        return "no delivery" if decided and self._all_read else "not known"

    def _read_decision(self, name: str) -> None:
        for record in list(self._staging.read_lines(self._staging.staged(name), DecisionRecord)):
            if record.dry_run:
                continue
            self._runs.append(record.run_id)
            for batch in record.batches:
                self._try(self._read_index, batch)
            for shard in record.decision.shards:
                self._try(self._read_shard, shard)

    def _read_park(self, window: Window) -> None:
        for each in park_of(self._staging, window).waiting.values():
            if each.window == window.name:
                waits = Waits(since=_moment(each.parked), cause=each.why, nobody=each.nobody)
                self._waits.setdefault((each.key, each.record), []).append(waits)

    def _try(self, read: Callable[[Read], None], what: Read) -> None:
        try:
            read(what)
        except IntegrityError as error:
            self._faults.append(str(error))
            self._all_read = False

    def _read_index(self, batch: ConvertedBatch) -> None:
        pack = self._pack(batch.messages.name)
        rows = ((pack, row.message[0], row.record) for row in self._staging.read_lines(batch.index, IndexRow))
        self._scratch.executemany("INSERT OR IGNORE INTO items VALUES (?, ?, ?)", rows)

    def _read_shard(self, shard: Shard) -> None:
        run, name = len(self._runs) - 1, shard.deliveries.name
        with self._staging.reader(shard.deliveries) as lines:
            packs = [self._pack(each.name) for each in read_packs(next(lines, b""))]
            rows = (
                (run, name, number, packs[row.pack], row.offset, row.mailbox, row.rule, row.place)
                for number, row in enumerate(map(read_delivery, lines))
            )
            self._scratch.executemany(_PUT, rows)
        self._scratch.executemany(_TAKE, (_said(name, each) for each in receipts_of(self._staging, shard)))

    def _pack(self, name: str) -> int:
        return self._packs.setdefault(name, len(self._packs))


def _said(shard: str, receipt: Receipt) -> dict[str, Any]:
    return {
        "shard": shard,
        "number": receipt.delivery,
        "delivered": receipt.outcome is not Outcome.FAILED,
        "at": receipt.at,
        "outcome": receipt.outcome,
        "cause": receipt.cause,
        "message": receipt.message,
    }


def _rank(made: Delivered) -> int:
    """Return how much a delivery says: that it was made, that the item is there, that it failed, nothing."""
    if made.outcome in (Outcome.IMPORTED, Outcome.PARTIALLY_IMPORTED):
        return 3
    if made.cause == Cause.ALREADY_THERE:
        return _THERE
    return int(made.outcome is not None)


def _worst(deliveries: Sequence[Delivered]) -> str | None:
    outcomes = {each.outcome for each in deliveries}
    for outcome in (Outcome.FAILED, None, Outcome.PARTIALLY_IMPORTED, Outcome.IMPORTED, Outcome.SKIPPED):
        if outcome in outcomes:
            return outcome or "not delivered yet"
    return None


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
