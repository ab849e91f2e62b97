"""A small archive: days, replays and mailboxes without TeleMessage, Graph or Airflow; dozens of runs a second.

The decisions, the park, the ledger and the book are the product's own. What stands for others is the directory, and an
import that keeps the ledger's rules: an intent first, a receipt after, and nothing that the ledgers say is there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from o2_connector.core.conversion import PARTICIPANTS_HEAD, IndexRow
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.facts import CONVERTER_VERSION
from o2_connector.core.identity import item_key
from o2_connector.core.layout import converted_stem
from o2_connector.core.ledger import Delivery, receipt_of
from o2_connector.core.manifest import ConvertedBatch, Decision
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.core.parked import Waiting
from o2_connector.core.window import Window
from o2_connector.engine.book import Book, add_up, settled
from o2_connector.engine.journal import Journal
from o2_connector.engine.mapping_step import Asked, map_window
from o2_connector.engine.park import leave, park_of
from o2_connector.engine.replay import replay_parked
from o2_connector.engine.rules import MappingRules
from o2_connector.engine.worklist import worklist
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_directory import Found
from o2_connector.hooks.staging import StagingHook
from tests.core.people import HEAD, ZONE, Person, item_row

DAY = Window(start=datetime(2026, 11, 20, tzinfo=UTC), end=datetime(2026, 11, 21, tzinfo=UTC))
ALEX, KIM, LEE, MAX = "+447700900321", "+447700900456", "+447700900789", "+447700900987"
Copies = Counter[tuple[str, str]]
"""How often each item lies in each mailbox."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Hold what the source has.

    :param record: tells records of the same item apart.
    """

    name: str
    people: Sequence[Person]
    sent: datetime = DAY.start + timedelta(hours=12)
    record: str = ""


class Killed(Exception):
    """End a task in the middle."""


@dataclass(kw_only=True)
class Small:
    """Hold an archive.

    :param rows: the mapping file's.
    :param users: which mailbox an address leads to.
    :param full: mailboxes that take nothing.
    :param catch_all: address of the mailbox that gets what nobody gets.
    """

    folder: Path
    rows: list[str] = field(default_factory=list)
    users: dict[str, str] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)
    catch_all: str | None = None
    copies: Copies = field(default_factory=Counter)
    at: datetime = datetime(2026, 11, 22, tzinfo=UTC)
    runs: int = 0

    @property
    def staging(self) -> StagingHook:
        return StagingHook()

    def map(
        self, items: Sequence[Item], window: Window = DAY, *, batch: int = 100, dry_run: bool = False, run: str = ""
    ) -> Decision:
        """Convert and map a window."""
        batches = [
            self.converted(window, f"{batch}-{start}", items[start : start + batch])
            for start in range(0, len(items), batch)
        ] or [self.converted(window, "none", [])]
        return map_window(self.staging, self.rules(), window, batches, self._asked(run, dry_run), silent_days=1)

    def find(self, *, dry_run: bool = False, run: str = "") -> Decision | None:
        """Find what can be replayed."""
        return replay_parked(self.staging, self.rules(), self._asked(run, dry_run))

    def deliver(self, decision: Decision, *, most: int = 1 << 30) -> None:
        """Import what was decided.

        :param most: how many deliveries are made before the import is killed, before the next one's receipt.
        """
        left = most
        for shard in decision.shards:
            intended = Event()
            with (
                worklist(self.staging, shard) as book,
                Journal(
                    self.staging, shard.deliveries.name, on_intended=lambda _, said=intended: said.set()
                ) as journal,
            ):
                for receipt in book.settled_now():
                    journal.receive(receipt)
                rows = [
                    (number, row, doubtful)
                    for todo in list(book.mailboxes())
                    for doubtful, found in enumerate((book.open_rows, book.doubtful_rows))
                    for number, row in found(todo.mailbox, -1, book.total)
                ]
                if rows:
                    journal.intend((number, row) for number, row, _ in rows)
                    intended.wait()
                for number, row, doubtful in rows:
                    outcome, cause = self._put(row, doubtful=bool(doubtful))
                    if not left:
                        raise Killed
                    left -= 1
                    journal.receive(receipt_of(number, row, outcome, at=self._now(), cause=cause))

    def reconcile(self, decision: Decision) -> Book:
        """Add the book up, and let what is delivered leave the park."""
        book = add_up(self.staging, decision)
        leave(self.staging, settled(self.staging, decision, book))
        return book

    def run(self, items: Sequence[Item], window: Window = DAY, **options: Any) -> Book:
        """Archive a window."""
        decision = self.map(items, window, **options)
        self.deliver(decision)
        return self.reconcile(decision)

    def replay(self) -> Book | None:
        """Replay what waits; nothing when nothing does."""
        decision = self.find()
        if decision is None:
            return None
        self.deliver(decision)
        return self.reconcile(decision)

    def waiting(self) -> list[Waiting]:
        """Return what waits."""
        return list(park_of(self.staging).waiting.values())

    def whom(self) -> dict[str, set[str]]:
        """Return for whom each item waits, by its id."""
        found: dict[str, set[str]] = {}
        for each in self.waiting():
            found.setdefault(each.item_id, set()).update(person.phone for person in each.people)
        return found

    def named(self) -> dict[str, set[str]]:
        """Return which mailboxes have each item."""
        names: dict[str, set[str]] = {}
        for item, mailbox in self.copies:
            names.setdefault(item, set()).add(mailbox)
        return names

    def entry(self, address: str) -> DirectoryEntry:
        """Say what the directory says of an address."""
        mailbox = self.users.get(address)
        return DirectoryEntry(address=address, mailbox=mailbox, cause=None if mailbox else Cause.NO_USER, asked=0)

    def _put(self, row: Delivery, *, doubtful: bool) -> tuple[Outcome, str | None]:
        if row.mailbox in self.full:
            return Outcome.FAILED, "ErrorQuotaExceeded"
        if doubtful and (row.item_id, row.mailbox) in self.copies:
            return Outcome.SKIPPED, Cause.ALREADY_THERE
        self.copies[row.item_id, row.mailbox] += 1
        return Outcome.IMPORTED, None

    def converted(self, window: Window, name: str, items: Sequence[Item]) -> ConvertedBatch:
        """Stage a batch as conversion leaves it."""
        stem = converted_stem(window, name)
        index = [self._index_row(number, item) for number, item in enumerate(items)]
        rows = [
            f"{number},{phone},{email},{side:d}\n"
            for number, item in enumerate(items)
            for phone, email, side in item.people
        ]
        staged = []
        for part, suffix, content in (
            ("raw.", ".jsonl", b""),
            ("", ".eml", b""),
            ("index.", ".jsonl", b"".join(msgspec.json.encode(row) + b"\n" for row in index)),
            ("messages.", ".jsonl", b"".join(item.name.encode() + b"\n" for item in items)),
            ("participants.", ".csv", PARTICIPANTS_HEAD + "".join(rows).encode()),
        ):
            with self.staging.writer(f"{stem}{part}", suffix) as out:
                out.write(content)
            staged.append(out.staged)
        raw, emls, index_object, messages, participants = staged
        return ConvertedBatch(
            batch_id=name,
            raw=raw,
            missing=None,
            converter=CONVERTER_VERSION,
            profile=Profile(region="GB"),
            items=len(items),
            converted=len(items),
            rejected=0,
            emls=emls,
            index=index_object,
            messages=messages,
            participants=participants,
        )

    def _index_row(self, number: int, item: Item) -> IndexRow:
        row = item_row(item.name, sent=int(item.sent.timestamp() * 1000), message=(number, 1))
        return msgspec.structs.replace(row, record=item_key(item.record) + "0" * 24) if item.record else row

    def rules(self) -> MappingRules:
        """Return the rules by which mailboxes are found."""
        mappings = self.folder / "mappings"
        mappings.mkdir(exist_ok=True)
        lines = [f"{row}{',' * (3 - row.count(','))}\n" for row in self.rows]
        (mappings / "a.csv").write_text(HEAD + "".join(lines))
        return MappingRules(
            folder=mappings, region="GB", zone=ZoneInfo(str(ZONE)), remember=timedelta(0), catch_all=self.catch_all
        )

    def _asked(self, run: str, dry_run: bool) -> Asked:
        self.runs += 1
        self.at += timedelta(minutes=10)
        return Asked(run_id=run or f"manual__{self.runs}", at=self.at, tasks=2, dry_run=dry_run)

    def _now(self) -> int:
        return int(self.at.timestamp() * 1000)


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, archive: Small | None = None) -> Iterator[Small]:
    """Open an archive in a folder."""
    connection = {"conn_type": "fs", "extra": {"path": str(folder / "staging")}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(connection))
    archive = archive or Small(folder=folder)

    def find(_: GraphHook, addresses: Collection[str], **more: Any) -> Found:
        return Found(entries={each: archive.entry(each) for each in addresses}, refused=(), requests=0)

    monkeypatch.setattr(GraphHook, "find_mailboxes", find)
    yield archive
