"""Random histories of days, replays, mappings and deaths: whoever ever gets a mailbox gets what they missed, once."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from o2_connector.core.manifest import Decision
from o2_connector.core.outcomes import Outcome
from o2_connector.core.parked import Person
from o2_connector.core.report import Detail
from o2_connector.core.window import Window
from tests.core.people import ZONE
from tests.engine.small import ALEX, DAY, KIM, LEE, MAX, Item, Killed, Small, opened

NEXT = Window(start=DAY.end, end=DAY.end + timedelta(days=1))
HALF = timedelta(hours=12)
ACROSS = Window(start=DAY.start + HALF, end=NEXT.start + HALF)  # made by hand: it shares half a day with both
WINDOWS = (DAY, NEXT, ACROSS)
PHONES = (ALEX, KIM, LEE, MAX, "60777", "+447700900111")
ADDRESSES = tuple(f"{each}@example.com" for each in "abcde")
CAUGHT = "caught@example.com"
Copy = tuple[str, str]
Share = tuple[str, Person]
"""An item and somebody who took part."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Hold a run that has decided.

    :param gives: whom it gives what.
    :param had: of a replay, who had their copy by then.
    """

    number: int
    decision: Decision
    gives: dict[str, dict[Person, str | None]]
    had: set[Share] | None


class History:
    """Do this and that at random, and know by the slow and obvious way what must have come of it."""

    def __init__(self, archive: Small, seed: int) -> None:
        self.archive = archive
        self.draw = random.Random(seed)
        self.items = [self._item(f"i-{number}") for number in range(12)]
        self.allowed: set[Copy] = set()
        self.given: dict[Share, set[str]] = {}
        self.settled: set[Share] = set()
        self.mapped: dict[Window, int] = {}  # by which run last
        self.done: set[int] = set()
        self.last: dict[str, int] = {}  # which run decided on an item last
        self.under_way: list[Run] = []
        self.change()

    def steps(self, count: int) -> None:
        """Take so many steps, then let everything come to its end, and check it."""
        for _ in range(count):
            self.draw.choices((self.change, self.day, self.again, self.go_on), (3, 3, 2, 2))[0]()
        self.archive.full = set()
        for run in self.under_way:
            self._carry_out(run, whole=self.draw.random() < 0.5)
        for window, run in sorted(self.mapped.items()):
            if run not in self.done:
                self.day(window, whole=True)
        self.change()
        self.archive.full = set()
        self.again(whole=True)
        self.check()

    def go_on(self) -> None:
        """Let a run go on that began a while ago."""
        if self.under_way:
            self._carry_out(self.under_way.pop(self.draw.randrange(len(self.under_way))), whole=False)

    def change(self) -> None:
        """Change the mapping, the directory, who takes nothing and who gets what nobody gets."""
        rows = []
        for phone in PHONES[:4]:
            kind = self.draw.choice(("none", "none", "row", "row", "before", "after", "both"))
            first, second = self.draw.choices(ADDRESSES, k=2)
            rows += [f"{phone},{first},,2026-11-21"] if kind in ("before", "both") else []
            rows += [f"{phone},{second},2026-11-21,"] if kind in ("after", "both") else []
            rows += [f"{phone},{first}"] if kind == "row" else []
        self.archive.rows = rows
        self.archive.users = {each: each[0].upper() for each in ADDRESSES if self.draw.random() < 0.7}
        self.archive.users[CAUGHT] = "Z"
        self.archive.catch_all = CAUGHT if self.draw.random() < 0.3 else None
        self.archive.full = {each for each in "ABCDEZ" if self.draw.random() < 0.15}

    def day(self, window: Window | None = None, *, whole: bool = False) -> None:
        """Archive a window, or die in the middle."""
        window = window or self.draw.choice(WINDOWS)
        items = [item for item in self.items if window.start <= item.sent < window.end]
        self.draw.shuffle(items)
        dry = not whole and self.draw.random() < 0.1
        decision = self.archive.map(items, window, batch=self.draw.choice((3, 100)), dry_run=dry)
        if not dry:
            told = self.archive.staging.read_lines(decision.details, Detail)
            named = {each.item_id for each in told if each.outcome in ("parked", "waiting")}
            assert named <= self.archive.whom().keys(), "told to wait, but it does not"
            self.mapped[window] = self.archive.runs
            self._begin(decision, items, replay=False, whole=whole)

    def again(self, *, whole: bool = False) -> None:
        """Replay what waits, or die in the middle."""
        waiting = self.archive.whom()
        dry = not whole and self.draw.random() < 0.1
        decision = self.archive.find(dry_run=dry)
        if decision and not dry:
            waiting |= self.archive.whom()
            self._begin(decision, [item for item in self.items if item.name in waiting], replay=True, whole=whole)

    def check(self) -> None:
        """Compare the mailboxes with what must and what may be in them."""
        copies = self.archive.copies
        assert set(copies.values()) <= {1}
        assert set(copies) <= self.allowed
        for item in self.items:
            if not self._archived(item):
                continue
            for person, mailbox in self.gives(item).items():
                had = {each for each in self.given.get((item.name, person), set()) if (item.name, each) in copies}
                assert mailbox is None or (item.name, mailbox) in copies or had - {mailbox}, (item.name, person)
            if self.archive.catch_all:
                assert any(name == item.name for name, _ in copies), "nobody has it, nor the mailbox for such"

    def gives(self, item: Item) -> dict[Person, str | None]:
        """Say which mailbox each participant has now, one row after the other."""
        found = {}
        for phone, email, side in item.people:
            mailbox = None
            for row in self.archive.rows:
                number, address, begin, end, *_ = f"{row},,".split(",")
                day = f"{item.sent.astimezone(ZONE):%Y-%m-%d}"
                if number == phone and (not begin or begin <= day) and (not end or day < end):
                    mailbox = self.archive.users.get(address)
            found[Person(phone, email, side)] = mailbox or self.archive.users.get(email)
        return found

    def _begin(self, decision: Decision, items: list[Item], *, replay: bool, whole: bool) -> None:
        gives = {item.name: self.gives(item) for item in items}
        run = Run(number=self.archive.runs, decision=decision, gives=gives, had=set(self.settled) if replay else None)
        for name, given in gives.items():
            self.last[name] = run.number
            for person, mailbox in given.items():
                if mailbox:
                    self.allowed.add((name, mailbox))
                    self.given.setdefault((name, person), set()).add(mailbox)
                elif not replay:
                    self.settled.discard((name, person))
            if self.archive.catch_all and (replay or not any(given.values())):
                self.allowed.add((name, "Z"))
        if not whole and self.draw.random() < 0.2:
            self.under_way.append(run)
        elif whole or self.draw.random() < 0.85:
            self._carry_out(run, whole=whole)

    def _carry_out(self, run: Run, *, whole: bool) -> None:
        """Import and reconcile, or die in the middle."""
        before = set(self.archive.copies)
        killed = True
        with contextlib.suppress(Killed):
            self.archive.deliver(run.decision, most=self.draw.choice((0, 2, 5)) if self._dies(whole) else 1 << 30)
            killed = False
        if run.had is not None:
            self._check_new(run, set(self.archive.copies) - before)
        if self._dies(whole):
            return
        book = self.archive.reconcile(run.decision)
        if killed or book.outcomes[Outcome.FAILED]:
            return
        assert book.available == sum(book.outcomes.values())
        self.done.add(run.number)
        for name, given in run.gives.items():
            if self.last[name] == run.number:
                self.settled |= {(name, person) for person, box in given.items() if (name, box) in self.archive.copies}

    def _check_new(self, run: Run, copies: set[Copy]) -> None:
        """Make sure that a replay brought nothing to who had their copy already, wherever the mapping has them now."""
        sent = {item.name: item.sent for item in self.items}
        for name, mailbox in copies:
            if sum(window.start <= sent[name] < window.end for window in self.mapped) == 1 and mailbox != "Z":
                theirs = {(name, person) for person, found in run.gives[name].items() if found == mailbox}
                assert theirs - (run.had or set()), "replayed to who had their copy"

    def _dies(self, whole: bool) -> bool:
        return not whole and self.draw.random() < 0.2

    def _archived(self, item: Item) -> list[Window]:
        return [window for window in self.mapped if window.start <= item.sent < window.end]

    def _item(self, name: str) -> Item:
        outbound = self.draw.random() < 0.5
        emails = ("", "", "", *ADDRESSES)
        people = [
            (phone, self.draw.choice(emails) if self.draw.random() < 0.5 else "", outbound == (place == 0))
            for place, phone in enumerate(self.draw.sample(PHONES, self.draw.choice((2, 2, 3))))
        ]
        sent = DAY.start + timedelta(minutes=self.draw.randrange(2 * 24 * 60))
        return Item(name=name, people=people, sent=datetime.fromtimestamp(sent.timestamp(), UTC))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    yield from opened(tmp_path, monkeypatch)


FINDERS = ((0, 14), (2, 14), (9, 14), (10, 14), (24, 14), (25, 14), (27, 14), (59, 14), (2161, 20))
"""Histories, and their lengths, of which each found a fault; most of those were made by hand."""


@pytest.mark.parametrize(("seed", "steps"), FINDERS)
def test_whatever_happens_in_between_everybody_has_what_is_theirs_once_in_the_end(
    archive: Small, seed: int, steps: int
) -> None:
    History(archive, seed).steps(steps)
