"""The import's crew: several mailboxes at a time, receipts kept, and an end in every case."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from o2_connector.core.errors import RetryError, StopError
from o2_connector.core.ledger import Delivery, Receipt
from o2_connector.core.outcomes import Cause, Outcome, Rule
from o2_connector.operators.deliver import MAILBOXES, SEGMENT, Numbered, settle, work


def delivery(number: int, mailbox: str = "m", **changes: object) -> Delivery:
    fields = {
        "item": number,
        "item_id": f"i-{number}",
        "key": f"k-{number}",
        "mailbox": mailbox,
        "sent": number,
        "pack": 0,
        "offset": 0,
        "length": 0,
        "rule": Rule.EMAIL,
    }
    return Delivery(**{**fields, **changes})  # type: ignore[arg-type]


def receipt(number: int, outcome: Outcome = Outcome.IMPORTED, **changes: object) -> Receipt:
    fields = {"delivery": number, "item_id": f"i-{number}", "mailbox": "m", "outcome": outcome, "at": 1}
    return Receipt(**{**fields, **changes})  # type: ignore[arg-type]


def mailboxes(count: int, each: int = 1) -> list[Numbered]:
    return [
        (number * each + place, delivery(number * each + place, f"m-{number:03d}"))
        for number in range(count)
        for place in range(each)
    ]


def within(seconds: float, job: object) -> BaseException | None:
    """Run a job that must come to an end; return what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            job()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it does not end"
    return raised[0] if raised else None


def test_every_mailbox_is_worked_on_and_every_receipt_kept() -> None:
    kept: list[Receipt] = []
    rows = mailboxes(3 * MAILBOXES, each=50)

    counts, pending = work(rows, lambda open_rows: (receipt(number) for number, _ in open_rows), kept.extend)

    assert sorted(each.delivery for each in kept) == [number for number, _ in rows]
    assert counts == {Outcome.IMPORTED: len(rows)}
    assert pending == []


def test_receipts_are_kept_while_the_work_goes_on() -> None:
    sizes: list[int] = []

    work(
        mailboxes(2, each=SEGMENT),
        lambda rows: (receipt(number) for number, _ in rows),
        lambda rows: sizes.append(len(rows)),
    )

    assert sizes == [SEGMENT, SEGMENT]


def test_a_failure_of_all_mailboxes_at_once_ends_the_work() -> None:
    def deliver(rows: Sequence[Numbered]) -> Iterator[Receipt]:
        raise StopError("the secret has expired; make a new one")

    raised = within(20, lambda: work(mailboxes(4 * MAILBOXES), deliver, lambda rows: None))

    assert isinstance(raised, StopError)


def test_what_was_delivered_before_a_fatal_failure_has_its_receipt() -> None:
    kept: list[Receipt] = []

    def deliver(rows: Sequence[Numbered]) -> Iterator[Receipt]:
        yield receipt(rows[0][0])
        if rows[0][1].mailbox == "m-001":
            raise StopError("no longer allowed")

    raised = within(20, lambda: work(mailboxes(2), deliver, kept.extend))

    assert isinstance(raised, StopError)
    assert 1 in {each.delivery for each in kept}


def test_no_mailbox_is_begun_after_receipts_could_not_be_kept() -> None:
    begun: list[str] = []

    def deliver(rows: Sequence[Numbered]) -> Iterator[Receipt]:
        begun.append(rows[0][1].mailbox)
        for number, _ in rows:
            yield receipt(number)

    def keep(rows: Sequence[Receipt]) -> None:
        raise RetryError("staging is down")

    raised = within(20, lambda: work(mailboxes(40 * MAILBOXES, each=SEGMENT), deliver, keep))

    assert isinstance(raised, RetryError)
    assert len(begun) < 20 * MAILBOXES


def test_a_mailbox_that_must_wait_does_not_keep_the_others() -> None:
    def deliver(rows: Sequence[Numbered]) -> Iterator[Receipt]:
        if rows[0][1].mailbox == "m-000":
            raise RetryError("busy", retry_after=7)
        yield receipt(rows[0][0])

    counts, pending = work(mailboxes(5), deliver, lambda rows: None)

    assert counts == {Outcome.IMPORTED: 4}
    assert [each.retry_after for each in pending] == [7]


def test_what_has_a_receipt_is_settled_and_a_failure_is_tried_again() -> None:
    rows = [delivery(number) for number in range(3)]

    settled, rest = settle(rows, {0: receipt(0), 1: receipt(1, Outcome.FAILED)}, {})

    assert settled == []
    assert [number for number, _ in rest] == [1, 2]


def test_what_another_decision_delivered_is_skipped() -> None:
    settled, rest = settle([delivery(0), delivery(1)], {}, {("i-1", "m"): receipt(9, message="AAMk")})

    assert [(each.delivery, each.outcome, each.cause, each.message) for each in settled] == [
        (1, Outcome.SKIPPED, Cause.ALREADY_THERE, "AAMk")
    ]
    assert [number for number, _ in rest] == [0]


def test_what_is_there_without_all_of_its_parts_is_said_to_be_so_again() -> None:
    (settled,), _ = settle([delivery(0, causes=(Cause.ATTACHMENT_GONE,))], {}, {("i-0", "m"): receipt(0)})

    assert (settled.outcome, settled.cause) == (Outcome.PARTIALLY_IMPORTED, Cause.ATTACHMENT_GONE)


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.FAILED])
def test_what_the_mapping_settled_needs_no_mailbox(outcome: Outcome) -> None:
    (settled,), rest = settle([delivery(0, settled=(outcome, "said"))], {}, {})

    assert (settled.outcome, settled.cause, rest) == (outcome, "said", [])
