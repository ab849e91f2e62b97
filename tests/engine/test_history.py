"""What earlier runs decided is known from what they left in staging."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from o2_connector.core.window import Window
from o2_connector.engine.history import decided_by, heard_in, last_record, records_of
from o2_connector.engine.mapping_step import read_items
from o2_connector.engine.windows import windows_in
from tests.engine.small import ALEX, DAY, KIM, LEE, Item, Small, opened

A, K = "alex@example.com", "kim@example.com"
ONE = timedelta(days=1)
NEXT = Window(start=DAY.end, end=DAY.end + ONE)
LAST = Window(start=NEXT.end, end=NEXT.end + ONE)
HERE = {ALEX, KIM, LEE}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    for archive in opened(tmp_path, monkeypatch):
        archive.users = {A: "A", K: "K"}
        archive.rows = [f"{ALEX},{A}"]
        yield archive


def of(*phones: str, name: str = "i") -> Item:
    return Item(name=name, people=[(phone, "", place == 0) for place, phone in enumerate(phones)])


def test_windows_are_those_that_share_time_in_their_order(small: Small) -> None:
    for window in (LAST, DAY, NEXT):
        small.map([], window)

    assert list(windows_in(small.staging, Window(start=DAY.start, end=NEXT.end))) == [DAY, NEXT]


def test_the_last_record_is_the_last_decision_that_was_no_dry_run(small: Small) -> None:
    assert last_record(small.staging, DAY) is None
    small.map([of(ALEX, LEE)], run="first")
    small.map([of(ALEX, LEE)], run="second")
    small.map([of(ALEX, LEE)], run="dry", dry_run=True)

    record = last_record(small.staging, DAY)

    assert record is not None
    assert (record.run_id, record.decision.items) == ("second", 1)
    assert [each.run_id for each in records_of(small.staging, DAY)] == ["second"]


def test_a_decision_of_the_past_is_made_again_by_its_own_mapping_and_directory(small: Small) -> None:
    small.map([Item(name="i", people=[(ALEX, "", True), (KIM, K, False)])])
    small.rows, small.users = [], {}
    record = last_record(small.staging, DAY)
    assert record is not None
    items, participants = read_items(small.staging, record.batches)

    made = decided_by(small.staging, record, participants, np.frombuffer(items.sent, dtype=np.int64))

    assert [made.mailboxes[place] for place in made.participants["mailbox"]] == ["A", "K"]


def test_who_was_heard_is_known_for_a_span_that_is_archived_without_a_gap(small: Small) -> None:
    small.map([of(ALEX, "60777")], DAY)
    small.map([of(KIM, "+447700900111")], NEXT)

    assert heard_in(small.staging, DAY.start, NEXT.end, HERE) == {ALEX, KIM}
    assert heard_in(small.staging, NEXT.start, NEXT.end, HERE) == {KIM}
    assert heard_in(small.staging, NEXT.end, NEXT.end, HERE) == set()


@pytest.mark.parametrize(
    ("archived", "start", "end"),
    [
        pytest.param((DAY, LAST), DAY.start, LAST.end, id="a day is missing between"),
        pytest.param((NEXT,), DAY.start, NEXT.end, id="the first day is missing"),
        pytest.param((DAY,), DAY.start, NEXT.end, id="the last day is missing"),
        pytest.param((), DAY.start, DAY.end, id="everything is missing"),
        pytest.param((DAY,), DAY.start - timedelta(seconds=1), DAY.end, id="a second is missing"),
    ],
)
def test_silence_is_not_told_of_days_that_are_not_archived(
    small: Small, archived: tuple[Window, ...], start: datetime, end: datetime
) -> None:
    for window in archived:
        small.map([of(ALEX, LEE)], window)

    assert heard_in(small.staging, start, end, HERE) is None


def test_a_window_that_is_staged_and_not_decided_on_is_not_archived(small: Small) -> None:
    small.converted(DAY, "b", [of(ALEX, LEE)])

    assert list(windows_in(small.staging, DAY)) == [DAY]
    assert heard_in(small.staging, DAY.start, DAY.end, HERE) is None
