"""What Airflow's metrics are told of books, and of the oldest day that is not archived."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from o2_connector.core.report import Counts, Detail, Report
from o2_connector.core.window import Window, day_window
from o2_connector.engine.metrics import tell_age, tell_book
from tests.engine.closed import FRIDAY, LONDON, Books, books_in
from tests.statsd import Sink, statsd

AGE = "o2_archive.oldest_window_age"
NOW = day_window(FRIDAY, LONDON).end + timedelta(hours=7)


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    return books_in(tmp_path, monkeypatch)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    with statsd(monkeypatch) as listening:
        yield listening


def told(sink: Sink) -> dict[str, tuple[float, str]]:
    return {each.name: (each.value, each.kind) for each in sink.told()}


def report(*, replay: bool = False, dry_run: bool = False) -> Report:
    day, begun = day_window(FRIDAY, LONDON), datetime(2026, 11, 3, tzinfo=UTC)
    return Report(
        window=day,
        run_id="run",
        completed_at=begun + timedelta(days=18),
        dry_run=dry_run,
        counts=Counts(imported=117, partially_imported=3, skipped=20, failed=2, rejected=1, parked=4),
        details=(Detail(item_id="a", outcome="parked", cause="c", since=int(begun.timestamp() * 1000)),),
        mapping_sha256=None,
        waiting=5,
        replay=replay,
    )


BY_OUTCOME = {
    "o2_archive.items,outcome=imported": (117, "c"),
    "o2_archive.items,outcome=partially_imported": (3, "c"),
    "o2_archive.items,outcome=skipped": (20, "c"),
    "o2_archive.items,outcome=failed": (2, "c"),
    "o2_archive.items,outcome=rejected": (1, "c"),
    "o2_archive.items,outcome=parked": (4, "c"),
}


def test_a_book_tells_its_items_by_outcome(sink: Sink) -> None:
    tell_book(report())

    assert told(sink) == BY_OUTCOME


def test_a_replay_tells_how_much_waits_and_counts_no_parked_item_again(sink: Sink) -> None:
    tell_book(report(replay=True))

    assert told(sink) == {
        **{name: value for name, value in BY_OUTCOME.items() if "parked" not in name},
        "o2_archive.parked": (4, "g"),
        "o2_archive.waiting": (5, "g"),
        "o2_archive.oldest_waiting_age": (18 * 86400, "g"),
    }


def test_a_dry_run_tells_nothing(sink: Sink) -> None:
    tell_book(report(dry_run=True))

    assert told(sink) == {}


def age(books: Books, sink: Sink, *, first_day: str | None = None, window: Window | None = None) -> float:
    tell_age(books.staging, zone=LONDON, first_day=first_day, now=NOW, window=window)
    ((value, kind),) = told(sink).values()
    assert kind == "g"
    return value


HOUR = 3600.0


def test_when_every_day_is_archived_the_age_is_nought(books: Books, sink: Sink) -> None:
    books.close(FRIDAY - timedelta(days=1))
    books.close(FRIDAY, items=0)

    assert age(books, sink) == 0


def test_the_age_is_counted_from_the_end_of_the_oldest_day_that_is_missing_or_has_failures(
    books: Books, sink: Sink
) -> None:
    books.close(FRIDAY - timedelta(days=2))
    books.close(FRIDAY)
    assert age(books, sink) == 31 * HOUR

    books.close(FRIDAY - timedelta(days=1), failed=1)
    assert age(books, sink) == 31 * HOUR

    books.close(FRIDAY - timedelta(days=1))
    assert age(books, sink) == 0


def test_days_since_the_first_one_count_though_nothing_was_ever_archived(books: Books, sink: Sink) -> None:
    assert age(books, sink) == 0
    assert age(books, sink, first_day="2026-11-18") == (7 + 48) * HOUR


def test_what_is_being_archived_counts_until_it_has_a_book(books: Books, sink: Sink) -> None:
    assert age(books, sink, window=day_window(FRIDAY, LONDON)) == 7 * HOUR

    books.close(FRIDAY)
    assert age(books, sink, window=day_window(FRIDAY, LONDON)) == 0


def test_where_staging_does_not_answer_the_age_is_not_told_and_nothing_fails(
    books: Books, sink: Sink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", '{"conn_type": "http"}')

    tell_age(type(books.staging)(), zone=LONDON, first_day=None, now=NOW)

    assert told(sink) == {}
    assert "cannot be told: staging: connection o2_staging" in caplog.text
