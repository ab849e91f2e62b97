"""The ledger is written while the import goes on: intents before they count, receipts before they are forgotten."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest

from o2_connector.core.errors import RetryError, StopError
from o2_connector.core.layout import segment_of
from o2_connector.core.ledger import Delivery, Intent, Receipt
from o2_connector.core.manifest import StagedObject
from o2_connector.core.outcomes import Outcome, Rule
from o2_connector.engine import journal as module
from o2_connector.engine.journal import Journal
from o2_connector.hooks.staging import StagingHook

DELIVERIES = f"windows/w/runs/r/shards/00-03.{'0' * 64}.jsonl"


class Troubled(StagingHook):
    """Fail to write, before or after the write took effect, as `troubles` says write by write."""

    def __init__(self, troubles: Iterable[str] = ()) -> None:
        super().__init__()
        self.troubles = iter(troubles)
        self.begun: list[tuple[float, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.gated = ""

    def write_lines(self, stem: str, rows: Iterable[msgspec.Struct]) -> StagedObject:
        self.begun.append((time.monotonic(), stem))
        if self.gated in stem:
            self.gate.wait(10)
        trouble = next(self.troubles, "")
        if trouble == "stop":
            raise StopError("staging: writing failed (EACCES)")
        if trouble == "before":
            raise RetryError("staging: writing failed (EIO)", retry_after=0.0)
        staged = super().write_lines(stem, rows)
        if trouble == "after":
            raise RetryError("staging: writing failed: no answer", retry_after=0.0)
        return staged


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Troubled]:
    connection = {"conn_type": "fs", "extra": {"path": str(tmp_path / "staging")}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(connection))
    monkeypatch.setattr(module, "backoff", lambda attempt, retry_after: 0.02)
    return Troubled


@pytest.fixture
def staging(make: Callable[..., Troubled]) -> Troubled:
    return make()


def row(number: int) -> tuple[int, Delivery]:
    return number, Delivery(
        item=number,
        item_id=f"i-{number}",
        key=f"k-{number}",
        mailbox="m",
        sent=0,
        pack=0,
        offset=0,
        length=0,
        rule=Rule.EMAIL,
    )


def receipt(number: int) -> Receipt:
    return Receipt(delivery=number, item_id=f"i-{number}", mailbox="m", outcome=Outcome.IMPORTED, at=1)


def segments(staging: StagingHook, kind: type[Any]) -> list[list[int]]:
    """Return the numbers that each segment of intents or receipts has, in the order of their names."""
    found = []
    for name in staging.names("windows/"):
        segment = segment_of(name)
        if segment and segment.intents is (kind is Intent):
            found.append([each.delivery for each in staging.read_lines(staging.staged(name), kind)])
    return found


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Wait until something has happened; return whether it has."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    return bool(condition())


def open_journal(
    staging: StagingHook, on_intended: Callable[[Sequence[int]], object] = lambda _: None, **options: Any
) -> Journal:
    return Journal(staging, DELIVERIES, on_intended=on_intended, **options)


# Intents


def test_an_intent_is_durable_when_it_is_called_back(staging: Troubled) -> None:
    seen: list[tuple[list[int], list[list[int]]]] = []

    with open_journal(staging, lambda numbers: seen.append((list(numbers), segments(staging, Intent)))) as journal:
        journal.intend([row(3), row(4)])
        assert within(5, lambda: seen)

    assert seen == [([3, 4], [[3, 4]])]


def test_the_first_intents_go_at_once_and_those_that_come_meanwhile_together(staging: Troubled) -> None:
    called: list[list[int]] = []

    with open_journal(staging, lambda numbers: called.append(list(numbers))) as journal:
        asked = time.monotonic()
        journal.intend([row(0)])
        assert within(5, lambda: called)
        journal.intend([row(1)])
        journal.intend([row(2)])
        assert within(5, lambda: len(called) > 1)

    assert called == [[0], [1, 2]]
    first, second = (when for when, _ in staging.begun)
    assert first - asked < module.INTENTS_SECONDS / 2
    assert second - first >= module.INTENTS_SECONDS


@pytest.mark.parametrize("trouble", ["before", "after"])
def test_nothing_is_called_back_until_a_failed_write_succeeded(make: Callable[..., Troubled], trouble: str) -> None:
    staging, writes = make([trouble, trouble]), list[int]()

    with open_journal(staging, lambda _: writes.append(len(staging.begun))) as journal:
        journal.intend([row(0)])
        assert within(5, lambda: writes)

    assert writes == [3]
    assert segments(staging, Intent) == [[0]]


def test_what_is_intended_again_by_another_journal_is_another_object(staging: Troubled) -> None:
    called: list[Sequence[int]] = []

    with open_journal(staging, called.append) as first, open_journal(staging, called.append) as second:
        first.intend([row(0)])
        second.intend([row(0)])
        assert within(5, lambda: len(called) == 2)

    assert segments(staging, Intent) == [[0], [0]]


def test_the_same_intents_again_are_another_object(staging: Troubled) -> None:
    called: list[Sequence[int]] = []

    with open_journal(staging, called.append) as journal:
        journal.intend([row(0)])
        assert within(5, lambda: called)
        journal.intend([row(0)])
        assert within(5, lambda: len(called) == 2)

    assert segments(staging, Intent) == [[0], [0]]


# Receipts


def test_receipts_are_written_together_after_a_while(staging: Troubled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECEIPTS_SECONDS", 0.3)

    with open_journal(staging) as journal:
        for number in range(3):
            journal.receive(receipt(number))
        waiting = journal.backlog
        assert within(5, lambda: not journal.backlog)
        assert segments(staging, Receipt) == [[0, 1, 2]]

    assert waiting == 3


def test_many_receipts_do_not_wait(staging: Troubled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECEIPTS", 3)
    monkeypatch.setattr(module, "RECEIPTS_SECONDS", 600.0)

    with open_journal(staging) as journal:
        for number in range(3):
            journal.receive(receipt(number))
        assert within(5, lambda: not journal.backlog)


def test_after_a_flush_every_receipt_is_durable(staging: Troubled) -> None:
    with open_journal(staging) as journal:
        for number in range(100):
            journal.receive(receipt(number))
        journal.flush()

        assert journal.backlog == 0
        assert sorted(chain.from_iterable(segments(staging, Receipt))) == list(range(100))


def test_a_flush_of_nothing_writes_nothing(staging: Troubled) -> None:
    with open_journal(staging) as journal:
        journal.flush()

    assert staging.begun == []


@pytest.mark.parametrize("trouble", ["before", "after"])
def test_a_receipt_is_written_once_however_often_staging_fails(make: Callable[..., Troubled], trouble: str) -> None:
    staging = make([trouble] * 4)

    with open_journal(staging) as journal:
        journal.receive(receipt(0))
        journal.flush()

    assert segments(staging, Receipt) == [[0]]


def test_receipts_do_not_keep_intents_waiting(staging: Troubled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECEIPTS", 1)
    called: list[Sequence[int]] = []
    staging.gate.clear()

    with open_journal(staging, called.append) as journal:
        journal.receive(receipt(0))
        assert within(5, lambda: staging.begun)  # and hangs
        staging.gated = "/receipts."
        journal.intend([row(1)])
        assert within(5, lambda: called)
        staging.gate.set()


def test_who_brings_more_than_there_is_room_for_waits(staging: Troubled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNWRITTEN", 10)
    monkeypatch.setattr(module, "RECEIPTS", 5)
    staging.gate.clear()

    with open_journal(staging) as journal:
        threading.Timer(0.3, staging.gate.set).start()
        most = 0
        for number in range(40):
            journal.receive(receipt(number))
            most = max(most, journal.backlog)
        journal.flush()

    assert most == 10
    assert sorted(chain.from_iterable(segments(staging, Receipt))) == list(range(40))


# When staging takes nothing any more


def test_what_no_retry_heals_stops_the_journal_at_once(make: Callable[..., Troubled]) -> None:
    called: list[Sequence[int]] = []

    with open_journal(make(["stop"]), called.append) as journal:
        journal.intend([row(0)])
        assert within(5, lambda: journal.failed)

    assert isinstance(journal.failed, StopError)
    assert called == []


@pytest.mark.parametrize("kind", ["intents", "receipts"])
def test_an_outage_stops_the_journal_when_patience_ends(make: Callable[..., Troubled], kind: str) -> None:
    staging = make(["before"] * 1_000)

    with pytest.raises(RetryError), open_journal(staging, patience_seconds=0.2, closing_seconds=0.1) as journal:  # noqa: PT012
        if kind == "intents":
            journal.intend([row(0)])
            assert within(5, lambda: journal.failed)
            raise journal.failed or AssertionError
        journal.receive(receipt(0))
        journal.flush()

    assert isinstance(journal.failed, RetryError)
    assert len(staging.begun) > 2


def test_a_fault_in_who_is_called_back_stops_the_journal(staging: Troubled) -> None:
    def fault(numbers: Sequence[int]) -> None:
        raise ZeroDivisionError

    with open_journal(staging, fault) as journal:
        journal.intend([row(0)])
        assert within(5, lambda: journal.failed)

    assert isinstance(journal.failed, ZeroDivisionError)


def test_nobody_waits_for_room_in_a_journal_that_failed(
    make: Callable[..., Troubled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNWRITTEN", 2)
    monkeypatch.setattr(module, "RECEIPTS", 1)

    with pytest.raises(StopError), open_journal(make(["stop"] * 100)) as journal:  # noqa: PT012
        for number in range(10):
            journal.receive(receipt(number))


# The end


def test_what_was_received_is_written_when_the_block_ends(staging: Troubled) -> None:
    with open_journal(staging) as journal:
        journal.receive(receipt(0))

    assert segments(staging, Receipt) == [[0]]


def test_what_was_received_is_written_when_the_block_fails(make: Callable[..., Troubled]) -> None:
    staging = make(["after", "before"])

    with pytest.raises(ZeroDivisionError), open_journal(staging) as journal:  # noqa: PT012
        journal.receive(receipt(0))
        raise ZeroDivisionError

    assert segments(staging, Receipt) == [[0]]


def test_receipts_that_came_after_the_journal_failed_are_tried_once_more(make: Callable[..., Troubled]) -> None:
    staging = make(["stop"])

    with pytest.raises(StopError), open_journal(staging) as journal:  # noqa: PT012
        journal.receive(receipt(0))
        try:
            journal.flush()
        finally:
            journal.receive(receipt(1))

    assert segments(staging, Receipt) == [[0, 1]]


def test_a_block_that_ends_well_fails_when_its_receipts_cannot_be_written(make: Callable[..., Troubled]) -> None:
    staging = make(["before"] * 1_000)

    begun = time.monotonic()
    with pytest.raises(RetryError, match="1 receipts"), open_journal(staging, closing_seconds=0.2) as journal:
        journal.receive(receipt(0))

    assert time.monotonic() - begun < 5


def test_a_failed_block_tells_its_own_fault_and_not_the_journals(
    make: Callable[..., Troubled], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError), open_journal(make(["stop"] * 9), closing_seconds=0.1) as journal:  # noqa: PT012
        journal.receive(receipt(0))
        raise ZeroDivisionError

    assert "1 receipts could not be written" in caplog.text


def test_no_intent_is_begun_after_the_end(staging: Troubled) -> None:
    called: list[Sequence[int]] = []

    with open_journal(staging, called.append) as journal:
        journal.intend([row(0)])
        assert within(5, lambda: called)
        journal.intend([row(1)])  # would be written half a second later

    assert segments(staging, Intent) == [[0]]


def test_no_thread_outlives_the_journal(staging: Troubled) -> None:
    before = threading.active_count()

    for _ in range(3):
        with open_journal(staging) as journal:
            journal.intend([row(0)])
            journal.receive(receipt(0))

    assert threading.active_count() == before


def test_two_threads_lose_nothing_between_them(make: Callable[..., Troubled], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECEIPTS", 50)
    monkeypatch.setattr(module, "RECEIPTS_SECONDS", 0.01)
    monkeypatch.setattr(module, "INTENTS_SECONDS", 0.01)
    staging = make(["", "before", "", "after", "before", ""] * 30)
    called: list[int] = []

    def bring(journal: Journal, numbers: range) -> None:
        for number in numbers:
            journal.intend([row(number)])
            journal.receive(receipt(number))

    with open_journal(staging, called.extend) as journal:
        threads = [threading.Thread(target=bring, args=(journal, range(k, 1000, 2))) for k in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        journal.flush()
        assert within(10, lambda: len(called) == 1000)

    assert sorted(called) == list(range(1000))
    for kind in (Intent, Receipt):
        assert sorted(chain.from_iterable(segments(staging, kind))) == list(range(1000))
