"""What is to be done is known from the ledgers of all runs, windows and numbers of tasks."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import (
    BUCKETS,
    REPLAYS,
    bucket_of,
    converted_stem,
    intents_stem,
    receipts_stem,
    run_stem,
    segment_stem,
    shard_stem,
)
from o2_connector.core.ledger import Delivery, Intent, Receipt, delivery_lines
from o2_connector.core.manifest import Shard, StagedObject
from o2_connector.core.outcomes import Cause, Outcome, Rule
from o2_connector.core.window import Window
from o2_connector.engine.worklist import Worklist, worklist
from o2_connector.hooks.staging import StagingHook

DAY = Window(start=datetime(2026, 11, 21, tzinfo=UTC), end=datetime(2026, 11, 22, tzinfo=UTC))
HALF = timedelta(hours=12)
ACROSS = Window(start=DAY.start + HALF, end=DAY.end + HALF)  # made by hand: it shares half a day
NEXT = Window(start=DAY.end, end=DAY.end + timedelta(days=1))


class Watched(StagingHook):
    """Remember what was listed and read."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []
        self.opened: list[str] = []

    def names(self, prefix: str) -> Iterator[str]:
        self.listed.append(prefix)
        return super().names(prefix)

    def reader(self, staged: StagedObject) -> Any:
        self.opened.append(staged.name)
        return super().reader(staged)


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    connection = {"conn_type": "fs", "extra": {"path": str(tmp_path / "staging")}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(connection))
    return Watched()


def packs_of(window: Window) -> tuple[StagedObject, ...]:
    name = f"{converted_stem(window, 'b1')}messages.{'0' * 64}.jsonl"
    return (StagedObject(name=name, sha256="0" * 64, size=1),)


def row(item: int, mailbox: str = "ann", **changes: Any) -> Delivery:
    """Return a delivery; its item is sent as many seconds after the others as its number says."""
    fields = {
        "item": item,
        "item_id": f"i-{item}",
        "key": f"k-{item}",
        "mailbox": mailbox,
        "sent": item * 1000,
        "pack": 0,
        "offset": item * 10,
        "length": 10,
        "rule": Rule.MAPPING,
    }
    return Delivery(**{**fields, **changes})


def book(
    staging: StagingHook,
    rows: Iterable[Delivery],
    *,
    run_id: str = "scheduled",
    window: Window = DAY,
    buckets: tuple[int, int] = (0, BUCKETS - 1),
) -> Shard:
    """Stage deliveries, in this order."""
    with staging.writer(shard_stem(run_stem(window, run_id), *buckets), ".jsonl") as out:
        for line in delivery_lines(packs_of(window), rows):
            out.write(line)
    return Shard(
        window=window, first=buckets[0], last=buckets[1], mailboxes=1, count=1, deliveries=out.staged, dry_run=False
    )


def intend(
    staging: StagingHook, shard: Shard, number: int, item: int, journal: str = "a", mailbox: str = "ann"
) -> None:
    stem = segment_stem(intents_stem(shard.deliveries.name), journal, number)
    staging.write_lines(stem, [Intent(delivery=number, item_id=f"i-{item}", mailbox=mailbox)])


def receive(
    staging: StagingHook, shard: Shard, number: int, item: int, outcome: Outcome, journal: str = "a", **more: Any
) -> None:
    fields = {"delivery": number, "item_id": f"i-{item}", "mailbox": "ann", "outcome": outcome, "at": 1, **more}
    stem = segment_stem(receipts_stem(shard.deliveries.name), journal, number)
    staging.write_lines(stem, [Receipt(**fields)])


def numbers(rows: Sequence[tuple[int, Delivery]]) -> list[int]:
    return [number for number, _ in rows]


def known(found: Worklist, mailbox: str = "ann") -> tuple[list[int], list[int]]:
    """Return the numbers of what is open, and of what is in doubt."""
    return numbers(found.open_rows(mailbox, -1, 100)), numbers(found.doubtful_rows(mailbox, -1, 100))


# A book alone


def test_what_nobody_ever_tried_is_open_mailbox_by_mailbox_oldest_first(staging: Watched) -> None:
    rows = [row(3), row(5), row(5, "bob"), row(1, "cyd"), row(9, "cyd")]

    with worklist(staging, book(staging, rows)) as found:
        todos = list(found.mailboxes())
        cyds = found.open_rows("cyd", -1, 10)

    assert found.packs == packs_of(DAY)
    assert (found.total, found.open, found.doubtful) == (5, 5, 0)
    assert [(each.mailbox, each.open, each.doubtful) for each in todos] == [("ann", 2, 0), ("bob", 1, 0), ("cyd", 2, 0)]
    assert [(each.first_sent, each.last_sent) for each in todos] == [(3000, 5000), (5000, 5000), (1000, 9000)]
    assert cyds == [(3, rows[3]), (4, rows[4])]


def test_rows_come_page_by_page(staging: Watched) -> None:
    with worklist(staging, book(staging, [row(item, box) for box in ("ann", "bob") for item in range(5)])) as found:
        pages = [numbers(found.open_rows("bob", after, 2)) for after in (-1, 6, 8, 9)]

    assert pages == [[5, 6], [7, 8], [9], []]


def test_a_mailbox_that_the_book_does_not_have_has_nothing(staging: Watched) -> None:
    with worklist(staging, book(staging, [row(0)])) as found:
        assert found.open_rows("bob", -1, 10) == []
        assert found.found("bob", {"k-0": "AAMk"}) == []


def test_an_empty_book_has_nothing_to_do(staging: Watched) -> None:
    with worklist(staging, book(staging, [])) as found:
        assert (found.total, list(found.mailboxes()), list(found.settled_now())) == (0, [], [])


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([row(0), row(1, "bob"), row(2)], "not mailbox by mailbox"),
        ([row(1), row(0)], "not oldest first"),
    ],
)
def test_a_book_in_disorder_is_refused(staging: Watched, rows: list[Delivery], fault: str) -> None:
    with pytest.raises(IntegrityError, match=fault), worklist(staging, book(staging, rows)):
        pass


def test_a_mailbox_of_buckets_that_the_task_does_not_own_is_refused(staging: Watched) -> None:
    other = (bucket_of("ann") + 1) % BUCKETS
    shard = book(staging, [row(0)], buckets=(other, other))

    with pytest.raises(IntegrityError, match="another shard's buckets"), worklist(staging, shard):
        pass


def test_memory_holds_a_few_bytes_of_a_delivery(staging: Watched) -> None:
    count = 20_000
    shard = book(staging, (row(item, f"m-{item // 1000:02d}") for item in range(count)))
    other = book(staging, (row(item, f"m-{item // 1000:02d}") for item in range(count)), run_id="manual")
    staging.write_lines(
        receipts_stem(other.deliveries.name),
        (
            Receipt(delivery=item, item_id=f"i-{item}", mailbox=f"m-{item // 1000:02d}", outcome=Outcome.FAILED, at=1)
            for item in range(count)
        ),
    )

    tracemalloc.start()
    with worklist(staging, shard) as found:
        held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found.open == count
    assert held / count < 100  # a delivery as an object takes several hundred


# Receipts


@pytest.mark.parametrize("outcome", [Outcome.IMPORTED, Outcome.PARTIALLY_IMPORTED, Outcome.SKIPPED])
def test_a_receipt_stands(staging: Watched, outcome: Outcome) -> None:
    shard = book(staging, [row(0), row(1)])
    intend(staging, shard, 0, 0)
    receive(staging, shard, 0, 0, outcome)

    with worklist(staging, shard) as found:
        assert known(found) == ([1], [])
        assert list(found.settled_now()) == []


def test_a_failure_is_open_again(staging: Watched) -> None:
    shard = book(staging, [row(0)])
    receive(staging, shard, 0, 0, Outcome.FAILED)

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [])


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_failure_does_not_undo_another_journals_delivery(staging: Watched, order: str) -> None:
    shard = book(staging, [row(0)])
    receive(staging, shard, 0, 0, Outcome.FAILED, order[0])
    receive(staging, shard, 0, 0, Outcome.IMPORTED, order[1])

    with worklist(staging, shard) as found:
        assert known(found) == ([], [])


def test_a_receipt_for_a_delivery_that_the_book_does_not_have_is_refused(staging: Watched) -> None:
    shard = book(staging, [row(0)])
    receive(staging, shard, 1, 1, Outcome.IMPORTED)

    with pytest.raises(IntegrityError, match="delivery 1"), worklist(staging, shard):
        pass


# Other books. The own book has items 5 and 6, as numbers 0 and 1; every other has item 6 as its first.


def another(staging: StagingHook, which: str) -> Shard:
    """Stage another book that has item 6 for the same mailbox."""
    bucket = bucket_of("ann")
    books: dict[str, dict[str, Any]] = {
        "run": {"run_id": "manual"},
        "decision": {},  # of the same run: map was cleared, and decided otherwise
        "window": {"window": ACROSS},
        "tasks": {"run_id": "manual", "buckets": (bucket, bucket)},
        "all": {"window": ACROSS, "run_id": "manual", "buckets": (bucket // 2 * 2, bucket // 2 * 2 + 1)},
    }
    return book(staging, [row(6)], **books[which])


OTHERS = ["run", "decision", "window", "tasks", "all"]


def own(staging: StagingHook, **changes: Any) -> Shard:
    return book(staging, [row(5), row(6, **changes)])


@pytest.mark.parametrize("which", OTHERS)
@pytest.mark.parametrize("lacking", [(), (Cause.ATTACHMENT_TOO_LARGE,)])
def test_what_another_book_delivered_whole_is_skipped_whatever_this_one_would_lack(
    staging: Watched, which: str, lacking: tuple[str, ...]
) -> None:
    shard, other = own(staging, causes=lacking), another(staging, which)
    intend(staging, other, 0, 6)
    receive(staging, other, 0, 6, Outcome.IMPORTED, message="AAMk")

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [])
        (receipt,) = found.settled_now()

    assert (receipt.delivery, receipt.item_id, receipt.mailbox) == (1, "i-6", "ann")
    assert (receipt.outcome, receipt.cause, receipt.message) == (Outcome.SKIPPED, Cause.ALREADY_THERE, "AAMk")


@pytest.mark.parametrize("which", OTHERS)
def test_what_another_book_found_there_is_skipped(staging: Watched, which: str) -> None:
    shard, other = own(staging), another(staging, which)
    receive(staging, other, 0, 6, Outcome.SKIPPED, cause=Cause.ALREADY_THERE)

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [])


@pytest.mark.parametrize("which", OTHERS)
@pytest.mark.parametrize("lacking", [(), (Cause.ATTACHMENT_GONE,)])
def test_what_another_book_delivered_in_part_is_there_in_part_for_its_cause_whatever_this_one_would_lack(
    staging: Watched, which: str, lacking: tuple[str, ...]
) -> None:
    shard, other = own(staging, causes=lacking), another(staging, which)
    intend(staging, other, 0, 6)
    receive(staging, other, 0, 6, Outcome.PARTIALLY_IMPORTED, cause=Cause.ATTACHMENT_TOO_LARGE, message="AAMk")

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [])
        (receipt,) = found.settled_now()

    assert (receipt.delivery, receipt.item_id, receipt.mailbox) == (1, "i-6", "ann")
    assert (receipt.outcome, receipt.message) == (Outcome.PARTIALLY_IMPORTED, "AAMk")
    assert receipt.cause == Cause.ATTACHMENT_TOO_LARGE


def test_of_several_books_the_first_says_what_is_there_in_whatever_order_they_are_found(staging: Watched) -> None:
    boxes = ["ann", "bob"]
    shard = book(staging, [row(6, box) for box in boxes])
    books = [book(staging, [row(6, box) for box in boxes], run_id=run_id) for run_id in ("manual_1", "manual_2")]
    for other, (anns, bobs) in zip(books, [(1, 2), (2, 1)], strict=True):
        for number, (box, at) in enumerate(zip(boxes, (anns, bobs), strict=True)):
            said = {"mailbox": box, "at": at, "cause": f"c{at}", "message": f"M{at}"}
            receive(staging, other, number, 6, Outcome.PARTIALLY_IMPORTED, **said)

    with worklist(staging, shard) as found:
        receipts = list(found.settled_now())

    assert [(each.mailbox, each.cause, each.message) for each in receipts] == [("ann", "c1", "M1"), ("bob", "c1", "M1")]


@pytest.mark.parametrize(
    ("delivered", "said"),
    [
        ((Outcome.IMPORTED, None), (Outcome.SKIPPED, Cause.ALREADY_THERE)),
        (
            (Outcome.PARTIALLY_IMPORTED, Cause.ATTACHMENT_TOO_LARGE),
            (Outcome.PARTIALLY_IMPORTED, Cause.ATTACHMENT_TOO_LARGE),
        ),
    ],
)
def test_a_book_says_on_what_another_said_again(
    staging: Watched, delivered: tuple[Outcome, str | None], said: tuple[Outcome, str]
) -> None:
    first = book(staging, [row(6)])
    second = book(staging, [row(6, causes=(Cause.ATTACHMENT_GONE,))], window=ACROSS)
    third = book(staging, [row(6, causes=(Cause.ATTACHMENT_GONE,))], window=NEXT)  # shares nothing with the first
    receive(staging, first, 0, 6, delivered[0], cause=delivered[1], message="AAMk")
    with worklist(staging, second) as found:
        staging.write_lines(segment_stem(receipts_stem(second.deliveries.name), "b", 1), found.settled_now())

    with worklist(staging, third) as found:
        (receipt,) = found.settled_now()

    assert (receipt.outcome, receipt.cause, receipt.message) == (*said, "AAMk")


@pytest.mark.parametrize("which", OTHERS)
def test_what_another_book_failed_to_deliver_is_open(staging: Watched, which: str) -> None:
    shard, other = own(staging), another(staging, which)
    intend(staging, other, 0, 6)
    receive(staging, other, 0, 6, Outcome.FAILED)

    with worklist(staging, shard) as found:
        assert known(found) == ([0, 1], [])


def test_a_delivery_elsewhere_settles_a_doubt_here(staging: Watched) -> None:
    shard, other = own(staging), another(staging, "run")
    intend(staging, shard, 1, 6)
    receive(staging, other, 0, 6, Outcome.IMPORTED)

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [])


def test_a_window_that_only_adjoins_is_not_even_listed(staging: Watched) -> None:
    shard = own(staging)
    receive(staging, book(staging, [row(6)], window=NEXT), 0, 6, Outcome.IMPORTED)
    staging.listed.clear()

    with worklist(staging, shard) as found:
        assert known(found) == ([0, 1], [])

    assert staging.listed
    assert all(DAY.name in prefix for prefix in staging.listed)


def test_another_mailbox_is_another_delivery(staging: Watched) -> None:
    shard = book(staging, [row(5), row(6), row(7, "bob")])
    other = book(staging, [row(5, "bob"), row(6, "bob")], run_id="manual")
    receive(staging, other, 1, 6, Outcome.IMPORTED, mailbox="bob")
    intend(staging, other, 0, 5, mailbox="bob")

    with worklist(staging, shard) as found:
        assert known(found) == ([0, 1], [])
        assert known(found, "bob") == ([2], [])


def test_ledgers_of_other_buckets_are_not_read(staging: Watched) -> None:
    bucket = bucket_of("ann")
    shard = book(staging, [row(6)], buckets=(bucket, bucket))
    apart = (bucket + 1) % BUCKETS
    receive(staging, book(staging, [], run_id="manual", buckets=(apart, apart)), 0, 6, Outcome.IMPORTED)
    staging.opened.clear()

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [])

    assert not [name for name in staging.opened if "/receipts." in name]


def test_a_finished_book_asks_no_other(staging: Watched) -> None:
    shard, other = book(staging, [row(6)]), another(staging, "run")
    receive(staging, shard, 0, 6, Outcome.IMPORTED)
    receive(staging, other, 0, 6, Outcome.IMPORTED, message="AAMk")
    staging.listed.clear()

    with worklist(staging, shard):
        pass

    assert len(staging.listed) == 1


# Intents


@pytest.mark.parametrize("which", ["own", *OTHERS])
def test_an_intent_without_a_receipt_is_in_doubt(staging: Watched, which: str) -> None:
    shard = own(staging)
    if which == "own":
        intend(staging, shard, 1, 6)
    else:
        intend(staging, another(staging, which), 0, 6)

    with worklist(staging, shard) as found:
        (todo,) = found.mailboxes()
        assert known(found) == ([0], [1])
        assert list(found.settled_now()) == []

    assert (todo.open, todo.doubtful, todo.first_sent, todo.last_sent) == (1, 1, 5000, 6000)


@pytest.mark.parametrize("which", ["own", *OTHERS])
def test_another_journals_failure_answers_no_intent(staging: Watched, which: str) -> None:
    shard = own(staging)
    other, number = (shard, 1) if which == "own" else (another(staging, which), 0)
    intend(staging, other, number, 6, "a")
    receive(staging, other, number, 6, Outcome.FAILED, "b")

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [1])


@pytest.mark.parametrize("which", ["own", *OTHERS])
def test_a_failure_that_says_that_it_does_not_know_answers_no_intent(staging: Watched, which: str) -> None:
    shard = own(staging)
    other, number = (shard, 1) if which == "own" else (another(staging, which), 0)
    intend(staging, other, number, 6)
    receive(staging, other, number, 6, Outcome.FAILED, doubtful=True)

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [1])


@pytest.mark.parametrize("which", ["own", *OTHERS])
def test_an_intent_after_a_failure_is_in_doubt(staging: Watched, which: str) -> None:
    shard = own(staging)
    other, number = (shard, 1) if which == "own" else (another(staging, which), 0)
    for journal in ("a", "b"):
        intend(staging, other, number, 6, journal)
    receive(staging, other, number, 6, Outcome.FAILED, "a")

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [1])


def test_an_intent_that_its_own_journal_answered_is_no_doubt(staging: Watched) -> None:
    shard = own(staging)
    intend(staging, shard, 1, 6)
    receive(staging, shard, 1, 6, Outcome.FAILED)

    with worklist(staging, shard) as found:
        assert known(found) == ([0, 1], [])


def test_an_answer_in_one_book_is_none_in_another(staging: Watched) -> None:
    shard = own(staging)
    intend(staging, shard, 1, 6)
    receive(staging, another(staging, "run"), 0, 6, Outcome.FAILED)

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [1])


# What the mapping judged


@pytest.mark.parametrize(
    "judgement", [(Outcome.SKIPPED, Cause.SAME_ITEM_AGAIN), (Outcome.FAILED, Cause.CONFLICTING_ITEM)]
)
def test_what_the_mapping_judged_needs_no_mailbox_and_one_receipt(
    staging: Watched, judgement: tuple[Outcome, str]
) -> None:
    shard = book(staging, [row(6), row(6, settled=judgement, causes=(Cause.ATTACHMENT_GONE,))])

    with worklist(staging, shard) as found:
        assert known(found) == ([0], [])
        (receipt,) = found.settled_now()
    receive(staging, shard, 1, 6, judgement[0], cause=judgement[1])
    with worklist(staging, shard) as again:
        assert list(again.settled_now()) == []

    assert (receipt.delivery, receipt.outcome, receipt.cause) == (1, *judgement)


@pytest.mark.parametrize(
    "judgement", [(Outcome.SKIPPED, Cause.SAME_ITEM_AGAIN), (Outcome.FAILED, Cause.CONFLICTING_ITEM)]
)
def test_what_the_mapping_judged_is_no_evidence_for_anybody(staging: Watched, judgement: tuple[Outcome, str]) -> None:
    shard, other = own(staging), another(staging, "run")
    receive(staging, other, 0, 6, judgement[0], cause=judgement[1])

    with worklist(staging, shard) as found:
        assert known(found) == ([0, 1], [])


def test_a_repeat_is_not_taken_for_its_first_delivery(staging: Watched) -> None:
    repeat = (Outcome.SKIPPED, Cause.SAME_ITEM_AGAIN)
    shard, other = book(staging, [row(6), row(6, settled=repeat)]), another(staging, "run")
    receive(staging, other, 0, 6, Outcome.IMPORTED)

    with worklist(staging, shard) as found:
        receipts = list(found.settled_now())

    assert [(each.delivery, each.cause) for each in receipts] == [(0, Cause.ALREADY_THERE), (1, Cause.SAME_ITEM_AGAIN)]


# What the mailbox has


def test_what_is_found_in_the_mailbox_is_settled_from_then_on(staging: Watched) -> None:
    shard = book(staging, [row(0), row(1), row(2), row(0, "bob")])
    intend(staging, shard, 1, 1)

    with worklist(staging, shard) as found:
        there = {"k-1": "B", "k-0": "A", "k-9": "X"}
        first, again = found.found("ann", there), found.found("ann", there)
        anns, bobs = known(found), known(found, "bob")

    assert [(number, each.key, message, doubtful) for number, each, message, doubtful in first] == [
        (0, "k-0", "A", False),
        (1, "k-1", "B", True),
    ]
    assert again == []
    assert (anns, bobs, found.open, found.doubtful) == (([2], []), ([3], []), 2, 0)


def test_what_is_settled_is_not_found_again(staging: Watched) -> None:
    shard = book(staging, [row(0), row(0, settled=(Outcome.SKIPPED, Cause.SAME_ITEM_AGAIN)), row(1)])
    receive(staging, shard, 0, 0, Outcome.IMPORTED)

    with worklist(staging, shard) as found:
        assert found.found("ann", {"k-0": "A"}) == []


def test_packs_that_lie_in_no_window_are_refused(staging: Watched) -> None:
    with staging.writer(shard_stem(run_stem(DAY, "scheduled"), 0, BUCKETS - 1), ".jsonl") as out:
        for line in delivery_lines((StagedObject(name="p", sha256="0" * 64, size=1),), [row(1)]):
            out.write(line)
    shard = Shard(window=DAY, first=0, last=63, mailboxes=1, count=1, deliveries=out.staged, dry_run=False)

    with pytest.raises(IntegrityError, match="lies in no window"), worklist(staging, shard):
        pass


def test_a_replays_book_counts_for_every_window_that_its_span_covers(staging: Watched) -> None:
    week = Window(start=DAY.start - timedelta(days=5), end=DAY.end + timedelta(days=1))
    with staging.writer(shard_stem(run_stem(week, "replay", REPLAYS), 0, BUCKETS - 1), ".jsonl") as out:
        for line in delivery_lines(packs_of(DAY), [row(6)]):
            out.write(line)
    replay = Shard(window=week, first=0, last=63, mailboxes=1, count=1, deliveries=out.staged, dry_run=False)
    receive(staging, replay, 0, 6, Outcome.IMPORTED)

    with worklist(staging, own(staging)) as found:
        assert known(found) == ([0], [])


def test_a_replay_knows_what_the_runs_of_its_packs_windows_delivered_and_reads_no_others(staging: Watched) -> None:
    day = DAY.start - timedelta(days=9)
    far = Window(start=day, end=day + timedelta(days=1))
    receive(staging, book(staging, [row(5)], window=far), 0, 5, Outcome.IMPORTED)
    receive(staging, book(staging, [row(6)]), 0, 6, Outcome.IMPORTED)
    span = Window(start=far.start, end=DAY.end)
    with staging.writer(shard_stem(run_stem(span, "replay", REPLAYS), 0, BUCKETS - 1), ".jsonl") as out:
        for line in delivery_lines(packs_of(DAY), [row(6), row(7)]):
            out.write(line)
    replay = Shard(window=span, first=0, last=63, mailboxes=1, count=2, deliveries=out.staged, dry_run=False)
    staging.listed.clear()

    with worklist(staging, replay) as found:
        assert known(found) == ([1], [])

    assert not [name for name in (*staging.listed, *staging.opened) if far.name in name]
