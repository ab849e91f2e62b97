"""Whoever is added to the mapping gets what was archived while nobody knew them; who is moved gets nothing again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from o2_connector.core.layout import LOOKS, WINDOWS, look_of
from o2_connector.core.manifest import StagedObject
from o2_connector.core.window import Window
from o2_connector.engine.history import records_of
from o2_connector.engine.looks import Looks, looks_so_far, note_decided, note_look
from o2_connector.engine.rules import read_book
from o2_connector.hooks.staging import StagingHook
from tests.engine.small import ALEX, DAY, KIM, LEE, Item, Small, opened

A, K, L = "alex@example.com", "kim@example.com", "lee@example.com"
NEXT = Window(start=DAY.end, end=DAY.end + timedelta(days=1))
ITEM = Item(name="item", people=[(ALEX, "", True), (LEE, "", False)])  # Alex's, to somebody whom nobody knows
KNOWN, ADDED, MOVED = [f"{ALEX},{A}"], [f"{ALEX},{A}", f"{LEE},{L}"], [f"{ALEX},{A}", f"{LEE},{K}"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    for archive in opened(tmp_path, monkeypatch):
        archive.users = {A: "A", K: "K", L: "L"}
        archive.rows = KNOWN
        yield archive


def looks() -> list[tuple[int, str | None, str]]:
    return sorted(filter(None, map(look_of, StagingHook().names(LOOKS))))


def test_who_is_added_gets_what_the_others_have_already(small: Small) -> None:
    small.run([ITEM])
    assert small.waiting() == []
    small.rows = ADDED

    small.replay()

    assert small.copies == {("item", "A"): 1, ("item", "L"): 1}
    assert small.waiting() == []


def test_who_is_added_without_a_mailbox_waits_for_it(small: Small) -> None:
    small.run([ITEM])
    small.rows = [*KNOWN, f"{LEE},late@example.com"]
    small.replay()
    assert small.whom() == {"item": {LEE}}
    small.users["late@example.com"] = "late"

    small.replay()

    assert small.named() == {"item": {"A", "late"}}


def test_a_row_that_is_not_valid_at_an_items_time_adds_nobody(small: Small) -> None:
    small.run([ITEM])
    small.rows = [*KNOWN, f"{LEE},{L},2026-11-21,"]
    small.replay()
    assert (small.named(), small.waiting()) == ({"item": {"A"}}, [])
    small.rows = [*KNOWN, f"{LEE},{L},2026-11-20,"]

    small.replay()

    assert small.named() == {"item": {"A", "L"}}


@pytest.mark.parametrize("parked", [True, False], ids=["what was parked", "what the others had"])
def test_who_is_moved_after_a_replay_gets_nothing_again(small: Small, parked: bool) -> None:
    small.rows = [] if parked else KNOWN
    small.run([ITEM])
    small.rows = ADDED
    small.replay()
    small.rows = MOVED

    small.replay()

    assert small.named() == {"item": {"A", "L"}}


def test_who_was_served_by_a_day_that_was_archived_again_gets_nothing_again(small: Small) -> None:
    small.run([ITEM])
    small.rows = ADDED
    small.run([ITEM], batch=1)
    small.rows = MOVED

    small.replay()

    assert small.named() == {"item": {"A", "L"}}


def test_who_is_added_and_taken_away_and_added_again_is_not_forgotten(small: Small) -> None:
    small.run([ITEM])
    small.full = {"L"}
    small.rows = ADDED
    small.replay()
    small.rows = KNOWN
    small.run([ITEM])
    small.replay()
    small.full = set()
    small.rows = ADDED

    small.replay()

    assert small.named() == {"item": {"A", "L"}}


def test_who_was_waited_for_by_chance_and_is_added_later_is_not_forgotten(small: Small) -> None:
    small.rows = [f"{LEE},nobody@example.com"]
    small.run([ITEM])
    small.rows = KNOWN
    small.replay()
    assert small.waiting() == []
    small.users["nobody@example.com"] = "L"
    small.rows = [*KNOWN, f"{LEE},nobody@example.com"]

    small.replay()

    assert small.named() == {"item": {"A", "L"}}


@pytest.mark.parametrize("first", [True, False])  # by its digest, whatever the order is that they are compared in
def test_a_day_that_is_archived_while_the_mapping_changes_is_looked_at_again(small: Small, first: bool) -> None:
    rows = next(
        rows
        for number in range(100)
        if (digest(small, rows := [*ADDED, f"+4477009001{number:02d},{A}"]) < digest(small, KNOWN)) is first
    )
    other = Item(name="other", people=ITEM.people)
    small.run([ITEM])
    small.map([], NEXT)
    before = looks_so_far(small.staging)
    small.run([ITEM, other])  # by the old mapping, beside a replay by the new one, which did not see this decision
    note_look(small.staging, before, digest(small, rows))
    small.rows = rows

    small.replay()

    assert small.named() == {"item": {"A", "L"}, "other": {"A", "L"}}


def digest(small: Small, rows: list[str]) -> str:
    small.rows, rows = rows, small.rows
    _, mapping = read_book(small.staging, small.rules())
    small.rows = rows
    return mapping.sha256


def test_a_window_that_no_run_has_decided_on_is_not_said_to_be_looked_at(small: Small) -> None:
    small.map([ITEM], dry_run=True)
    small.rows = ADDED
    small.find()
    assert looks() == []
    small.rows = KNOWN
    small.run([ITEM])
    small.rows = ADDED

    small.replay()

    assert small.named() == {"item": {"A", "L"}}


def test_a_window_is_read_again_for_another_mapping_only(small: Small, reads: list[str]) -> None:
    small.run([ITEM])
    small.rows = ADDED
    small.replay()
    reads.clear()

    small.replay()

    assert [name for name in reads if name.startswith(WINDOWS)] == []
    assert [(number, window) for number, window, _ in looks()] == [(1, DAY.name), (2, None)]


def test_the_items_of_a_window_are_read_when_somebody_in_them_is_added_only(small: Small, reads: list[str]) -> None:
    small.run([ITEM])
    small.run([Item(name="next", people=[(KIM, K, True), ("60777", "", False)], sent=NEXT.start)], NEXT)
    small.rows = ADDED
    reads.clear()

    small.replay()

    windows = {name.split("/")[1] for name in reads if "participants." in name}
    assert windows == {DAY.name}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of all objects that are read from now on."""
    names: list[str] = []
    read = StagingHook.reader

    def reader(self: StagingHook, staged: StagedObject) -> object:
        names.append(staged.name)
        return read(self, staged)

    monkeypatch.setattr(StagingHook, "reader", reader)
    return names


def test_items_that_the_source_has_no_more_are_still_those_of_who_is_added(small: Small) -> None:
    gone = Item(name="gone", people=ITEM.people)
    small.run([ITEM, gone])
    small.run([ITEM])
    small.rows = ADDED

    small.replay()

    assert small.named() == {"item": {"A", "L"}, "gone": {"A", "L"}}


def test_a_later_run_of_a_window_says_who_had_what(small: Small) -> None:
    more = Item(name="more", people=ITEM.people)
    small.run([ITEM])
    small.rows = ADDED
    small.run([ITEM, more])
    small.rows = MOVED

    small.replay()

    assert small.named() == {"item": {"A", "L"}, "more": {"A", "L"}}


def test_what_the_source_sent_twice_is_missed_once(small: Small) -> None:
    small.run([ITEM, ITEM])
    small.rows = ADDED

    book = small.replay()

    assert book is not None
    assert book.available == 1


def test_of_a_record_that_contradicts_another_nobody_has_missed_anything(small: Small) -> None:
    small.run([ITEM, Item(name="item", people=[(KIM, "", True), (LEE, "", False)], record="changed")])
    small.rows = [*KNOWN, f"{KIM},{K}"]

    small.replay()

    assert small.named() == {"item": {"A"}}


def test_a_dry_replay_tells_of_newcomers_and_takes_no_note_of_them(small: Small) -> None:
    small.run([ITEM])
    small.rows = ADDED

    decision = small.find(dry_run=True)

    assert decision is not None
    assert (decision.items, sum(shard.count for shard in decision.shards)) == (1, 1)
    assert (small.waiting(), len(looks())) == ([], 1)


def test_of_a_windows_decisions_the_last_on_each_cut_of_it_is_kept_and_no_dry_one(small: Small) -> None:
    for run, options in (("a", {}), ("b", {"batch": 1}), ("c", {}), ("d", {"dry_run": True})):
        small.map([ITEM, Item(name="more", people=ITEM.people)], run=run, **options)  # type: ignore[arg-type]

    assert [record.run_id for record in records_of(small.staging, DAY)] == ["c", "b"]


# Looks

ONE, OTHER = "1" * 64, "2" * 64


def test_the_last_look_at_a_window_is_its_own_or_that_at_all(small: Small) -> None:
    note_decided(small.staging, DAY, ONE)
    note_decided(small.staging, DAY, ONE)
    note_look(small.staging, looks_so_far(small.staging), OTHER)
    note_decided(small.staging, NEXT, ONE)

    assert looks() == [(1, DAY.name, ONE), (2, DAY.name, ONE), (3, None, OTHER), (4, NEXT.name, ONE)]
    assert looks_so_far(small.staging) == Looks(number=4, last={DAY.name: {OTHER}, NEXT.name: {ONE}})


def test_of_a_decision_and_a_look_at_once_neither_is_the_last(small: Small) -> None:
    note_decided(small.staging, DAY, ONE)
    before = looks_so_far(small.staging)
    note_decided(small.staging, DAY, ONE)
    note_look(small.staging, before, OTHER)

    assert looks_so_far(small.staging) == Looks(number=2, last={DAY.name: {ONE, OTHER}})


def test_a_window_that_is_decided_on_after_a_look_began_is_never_taken_for_looked_at(small: Small) -> None:
    for window in (DAY, DAY, DAY):
        note_decided(small.staging, window, ONE)
    before = looks_so_far(small.staging)
    note_decided(small.staging, NEXT, ONE)
    note_look(small.staging, before, OTHER)

    assert ONE in looks_so_far(small.staging).last[NEXT.name]


def test_nothing_personal_is_logged(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    small.run([ITEM])
    small.rows = ADDED
    small.replay()

    assert not [number for number in ("900789", "900321", "example.com") if number in caplog.text]
