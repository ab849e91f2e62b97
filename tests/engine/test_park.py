"""Items wait in the park until they are delivered: nothing is lost there, whatever dies or changes in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.core.report import Detail
from o2_connector.core.window import Window
from tests.engine.small import ALEX, DAY, KIM, LEE, MAX, Item, Killed, Small, opened

HALF = timedelta(hours=12)
ACROSS = Window(start=DAY.start + HALF, end=DAY.end + HALF)  # made by hand: it shares half a day
A, K, L = "alex@example.com", "kim@example.com", "lee@example.com"
OUT = Item(name="out", people=[(ALEX, "", True), (LEE, "", False)], sent=DAY.start + timedelta(hours=18))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    for archive in opened(tmp_path, monkeypatch):
        archive.users = {A: "A", K: "K", L: "L"}
        yield archive


def told(small: Small, items: list[Item], **options: object) -> list[tuple[str | None, str, str]]:
    decision = small.map(items, **options)  # type: ignore[arg-type]
    details = small.staging.read_lines(decision.details, Detail)
    return [(each.item_id, each.outcome, each.cause) for each in details]


def test_what_a_day_says_to_wait_waits_even_if_it_was_delivered_once(small: Small) -> None:
    small.run([OUT])
    small.rows = [f"{ALEX},{A}"]
    small.replay()
    small.rows = []

    book = small.run([OUT])

    assert book.items == 0
    assert small.whom() == {"out": {ALEX, LEE}}
    small.rows = [f"{ALEX},{K}"]
    small.replay()
    assert small.named() == {"out": {"A", "K"}}
    assert small.waiting() == []


def test_a_row_that_is_gone_and_comes_back_loses_nobody(small: Small) -> None:
    small.rows = [f"{ALEX},{A}", f"{LEE},nobody@example.com"]
    small.run([OUT])
    assert small.whom() == {"out": {LEE}}
    small.rows = [f"{ALEX},{A}"]
    small.run([OUT])
    small.replay()

    small.users["nobody@example.com"] = "L"
    small.rows = [f"{ALEX},{A}", f"{LEE},nobody@example.com"]
    small.replay()

    assert small.named() == {"out": {"A", "L"}}


def test_a_day_that_delivers_nothing_of_an_item_lets_nothing_of_it_leave(small: Small) -> None:
    small.rows = [f"{ALEX},{A}", f"{LEE},nobody@example.com"]
    small.run([OUT])
    small.rows = []

    small.run([OUT])

    assert [each.nobody for each in sorted(small.waiting(), key=lambda each: each.nobody)] == [False, True]


def test_who_has_their_copy_does_not_wait_on_because_somebody_else_was_forgotten(small: Small) -> None:
    item = Item(name="three", people=[(ALEX, "", True), (LEE, "", False), (MAX, K, False)])
    del small.users[K]
    small.rows = [f"{ALEX},{A}", f"{LEE},nobody@example.com"]
    small.run([item])
    small.rows, small.users[K] = [f"{ALEX},{A}"], "K"

    small.run([item])

    assert small.whom() == {"three": {LEE}}
    small.rows = [f"{ALEX},{A}", f"{MAX},{L}"]
    small.replay()
    assert small.named() == {"three": {"A", "K"}}


def test_what_waits_leaves_only_when_each_of_its_deliveries_is_made(small: Small) -> None:
    small.run([OUT])
    small.rows = [f"{ALEX},{A}", f"{LEE},{L}"]
    small.full = {"L"}

    small.run([OUT])

    assert small.whom() == {"out": {ALEX, LEE}}
    small.full = set()
    book = small.replay()
    assert book is not None
    assert +book.outcomes == {Outcome.SKIPPED: 1, Outcome.IMPORTED: 1}
    assert small.waiting() == []


def test_what_is_left_of_an_item_waits_before_the_rest_of_it_is_delivered(small: Small) -> None:
    item = Item(name="both", people=[(ALEX, "", True), (LEE, L, False)])
    del small.users[L]
    small.run([item])
    small.rows = [f"{ALEX},{A}"]

    decision = small.find()

    assert decision is not None
    assert (False, [LEE]) in [(each.nobody, [person.phone for person in each.people]) for each in small.waiting()]
    small.deliver(decision)
    small.reconcile(decision)
    assert [(each.nobody, [person.email for person in each.people]) for each in small.waiting()] == [(False, [L])]


def test_while_the_delivery_to_somebody_is_not_made_it_counts_as_nobodys(small: Small) -> None:
    item = Item(name="both", people=[(ALEX, "", True), (LEE, L, False)])
    del small.users[L]
    small.run([item])
    small.rows = [f"{ALEX},{A}"]
    small.full = {"A"}
    small.replay()
    small.rows = []
    small.users["caught@example.com"] = "C"
    small.catch_all = "caught@example.com"

    small.replay()

    assert small.named() == {"both": {"C"}}


def test_what_the_catch_all_mailbox_did_not_take_is_tried_again(small: Small) -> None:
    small.run([OUT])
    small.users["caught@example.com"] = "C"
    small.catch_all = "caught@example.com"
    small.full = {"C"}
    small.replay()
    small.full = set()

    small.replay()
    again = small.replay()

    assert small.named() == {"out": {"C"}}
    assert again is not None
    assert again.available == 0


def test_what_the_catch_all_mailbox_has_does_not_go_to_the_next_one(small: Small) -> None:
    small.users |= {"caught@example.com": "C", "other@example.com": "D"}
    small.catch_all = "caught@example.com"
    small.run([OUT])
    small.catch_all = "other@example.com"

    small.replay()

    assert small.named() == {"out": {"C"}}
    assert [each.is_parked for each in small.waiting()] == [False]


def test_a_mapping_that_is_tried_again_parks_nothing_twice_and_its_last_decision_counts(small: Small) -> None:
    small.run([OUT])
    small.rows = [f"{ALEX},{A}"]
    small.map([OUT], run="scheduled")

    decision = small.map([OUT], run="scheduled")
    small.deliver(decision)
    small.reconcile(decision)

    assert small.named() == {"out": {"A"}}
    assert small.waiting() == []


def test_a_dry_run_neither_parks_anything_nor_lets_it_leave(small: Small) -> None:
    item = Item(name="both", people=[(ALEX, "", True), (LEE, "none@example.com", False)])
    dry = small.map([item], dry_run=True)
    assert (dry.items_parked, dry.leaving, small.waiting()) == (1, None, [])
    small.run([item])
    before = small.waiting()
    small.rows = [f"{ALEX},{A}"]

    day, replay = small.map([item], dry_run=True), small.find(dry_run=True)

    assert replay is not None
    assert (day.leaving, replay.leaving) == (None, None)
    assert [shard.dry_run for shard in (*day.shards, *replay.shards)] == [True, True]
    assert small.waiting() == before


def test_who_still_waits_does_not_keep_the_others_waiting(small: Small) -> None:
    people = [(ALEX, "", True), (LEE, "", False), (MAX, K, False)]
    del small.users[K]
    small.rows = [f"{ALEX},{A}", f"{LEE},nobody@example.com"]
    small.run([Item(name="three", people=people)])
    assert small.whom() == {"three": {LEE, MAX}}
    small.rows = [f"{ALEX},{A}"]
    small.users[K] = "K"

    first, second = small.replay(), small.replay()

    assert first is not None
    assert second is not None
    assert (first.available, second.available) == (1, 0)
    assert small.whom() == {"three": {LEE}}


def test_a_replay_lets_nothing_leave_of_what_it_does_not_deliver(small: Small) -> None:
    small.rows = [f"{LEE},nobody@example.com"]
    other = Item(name="other", people=[(KIM, K, True), (MAX, L, False)])
    small.users = {K: "K"}
    small.run([OUT, other])
    small.rows = [f"{LEE},none@example.com"]
    small.replay()
    waits = {each.id for each in small.waiting() if each.item_id == "out"}
    assert len(waits) == 2
    small.users[L] = "L"

    small.replay()

    assert {each.id for each in small.waiting()} == waits
    assert small.named() == {"other": {"K", "L"}}


def test_an_import_that_is_killed_leaves_everything_waiting(small: Small) -> None:
    small.run([OUT])
    small.rows = [f"{ALEX},{A}", f"{LEE},{L}"]
    decision = small.find()
    assert decision is not None
    with pytest.raises(Killed):
        small.deliver(decision, most=1)
    small.reconcile(decision)
    assert small.whom() == {"out": {ALEX, LEE}}

    small.replay()

    assert small.copies == {("out", "A"): 1, ("out", "L"): 1}
    assert small.waiting() == []


def test_a_replay_beside_a_days_run_brings_nothing_twice(small: Small) -> None:
    small.run([OUT])
    small.rows = [f"{ALEX},{A}"]
    replay, day = small.find(), small.map([OUT])
    assert replay is not None

    for decision in (replay, day):
        small.deliver(decision)
    for decision in (day, replay):
        small.reconcile(decision)

    assert small.copies == {("out", "A"): 1}
    assert small.waiting() == []


def test_windows_that_overlap_and_batches_that_are_cut_otherwise_park_an_item_once(small: Small) -> None:
    other = Item(name="other", people=OUT.people, sent=OUT.sent)

    small.run([OUT, other])
    small.run([OUT, other], batch=1)
    small.run([other, OUT], ACROSS)

    assert sorted(each.item_id for each in small.waiting()) == ["other", "out"]
    small.rows = [f"{ALEX},{A}"]
    small.run([OUT, other], ACROSS)
    assert small.waiting() == []


def test_a_window_lets_leave_what_waits_of_one_that_overlaps_it(small: Small) -> None:
    small.run([OUT])
    small.rows = [f"{ALEX},{A}"]

    small.run([OUT], ACROSS)

    assert small.waiting() == []


def test_an_item_that_waits_in_two_windows_at_once_leaves_both(small: Small) -> None:
    first, second = small.map([OUT]), small.map([OUT], ACROSS, dry_run=True)
    assert first.items_parked == second.items_parked == 1
    here = small.waiting()[0]
    small.staging.write_lines(f"parked/{ACROSS.name}/waiting.", [type(here)(**{**fields(here), "window": ACROSS.name})])
    small.rows = [f"{ALEX},{A}"]

    small.replay()

    assert small.waiting() == []


def fields(each: object) -> dict[str, object]:
    return {name: getattr(each, name) for name in each.__struct_fields__}  # type: ignore[attr-defined]


# Repeated and changed records


def test_an_item_that_the_source_sent_twice_waits_once_and_is_told_as_that(small: Small) -> None:
    said = told(small, [OUT, OUT])

    assert said == [("out", "parked", Cause.NO_ADDRESS), ("out", "parked", Cause.SAME_ITEM_AGAIN)]
    assert len(small.waiting()) == 1


def test_another_record_of_the_same_item_never_waits_and_is_told_as_that(small: Small) -> None:
    changed = Item(name="out", people=[(MAX, "", True), (KIM, "", False)], sent=OUT.sent, record="changed")

    said = told(small, [OUT, changed])

    assert said == [("out", "parked", Cause.NO_ADDRESS), ("out", "parked", Cause.CONFLICTING_ITEM)]
    assert small.whom() == {"out": {ALEX, LEE}}


def test_a_record_that_changed_between_windows_waits_for_its_own_people(small: Small) -> None:
    changed = Item(name="out", people=[(MAX, "", True), (KIM, "", False)], sent=OUT.sent, record="changed")
    small.run([OUT])
    small.rows = [f"{KIM},{K}"]

    small.run([changed], ACROSS)

    assert small.named() == {"out": {"K"}}
    assert {ALEX, LEE} <= small.whom()["out"]
    small.rows = [f"{ALEX},{A}"]
    small.replay()
    assert small.named() == {"out": {"A", "K"}}


def test_a_mailbox_gets_one_of_two_records_of_an_item(small: Small) -> None:
    changed = Item(name="out", people=[(MAX, "", True), (ALEX, "", False)], sent=OUT.sent, record="changed")
    small.run([OUT])
    small.run([changed], ACROSS)
    small.rows = [f"{ALEX},{A}", f"{MAX},{L}"]

    book = small.replay()

    assert book is not None
    assert small.copies == {("out", "A"): 1, ("out", "L"): 1}
    assert (book.available, book.outcomes[Outcome.IMPORTED], book.outcomes[Outcome.SKIPPED]) == (3, 2, 1)
    assert small.waiting() == []
