"""The book counts what came of each delivery, and says of which items all deliveries are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from o2_connector.core.errors import IntegrityError
from o2_connector.core.outcomes import Outcome, Rule
from o2_connector.engine.book import add_up, settled
from tests.engine.small import ALEX, KIM, LEE, Item, Killed, Small, opened

A, K = "alex@example.com", "kim@example.com"
BOTH = Item(name="both", people=[(ALEX, "", True), (KIM, K, False)])
ONE = Item(name="one", people=[(KIM, K, True), (LEE, "", False)])
NONE = Item(name="none", people=[(LEE, "", True), ("60777", "", False)])


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    for archive in opened(tmp_path, monkeypatch):
        archive.users = {A: "A", K: "K"}
        archive.rows = [f"{ALEX},{A}"]
        yield archive


def test_each_delivery_counts_once_by_what_came_of_it_and_by_its_rule(small: Small) -> None:
    book = small.run([NONE, BOTH, ONE, ONE])

    assert (book.available, book.items) == (4, 3)
    assert +book.outcomes == {Outcome.IMPORTED: 3, Outcome.SKIPPED: 1}
    assert book.rules == {Rule.MAPPING: 1, Rule.EMAIL: 3}
    assert book.counts == {"imported": 3, "partially_imported": 0, "skipped": 1, "failed": 0}
    assert book.unsettled == bytes([0, 0, 0, 0])
    assert book.details == ()


def test_a_failure_is_told_with_rule_and_row_and_its_item_is_not_settled(small: Small) -> None:
    small.full = {"A"}

    book = small.run([NONE, BOTH, ONE])

    (detail,) = book.details
    assert (detail.item_id, detail.outcome, detail.cause) == ("both", Outcome.FAILED, "ErrorQuotaExceeded")
    assert (detail.mailbox, detail.rule, detail.place) == ("A", Rule.MAPPING, "a.csv:2")
    assert book.unsettled == bytes([0, 1, 0])


def test_a_delivery_without_a_receipt_leaves_its_item_unsettled(small: Small) -> None:
    decision = small.map([ONE, BOTH])
    with pytest.raises(Killed):
        small.deliver(decision, most=2)

    book = add_up(small.staging, decision)

    assert sum(book.outcomes.values()) == 2
    assert book.unsettled.count(1) == 1


def test_what_leaves_are_settled_items_alone(small: Small) -> None:
    late = Item(name="late", people=[(LEE, "", True), ("60777", "", False)])
    small.run([NONE, late])
    small.users |= {"lee@example.com": "L"}
    small.rows = [f"{LEE},lee@example.com"]
    decision = small.map([NONE, late])
    with pytest.raises(Killed):
        small.deliver(decision, most=1)

    book = add_up(small.staging, decision)

    gone = {each.item for each in settled(small.staging, decision, book)}
    assert gone == {book.unsettled.index(0)}


def test_without_a_decision_the_book_is_empty(small: Small) -> None:
    book = add_up(small.staging, None)

    assert (book.available, book.items, sum(book.outcomes.values()), book.unsettled) == (0, 0, 0, b"")


def test_a_shard_that_has_not_what_its_manifest_says_is_refused(small: Small) -> None:
    decision = small.map([BOTH])
    shards = tuple(replace(shard, count=shard.count + 1) for shard in decision.shards)

    with pytest.raises(IntegrityError, match="its manifest says"):
        add_up(small.staging, replace(decision, shards=shards))
