from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from o2_connector.core.chain import Link, Sealed, before, gaps_of
from o2_connector.core.layout import run_stem
from o2_connector.core.manifest import StagedObject
from o2_connector.core.report import Counts, Detail, Report
from o2_connector.core.window import Window
from o2_connector.engine.chain import Chain, Closed, close, links_of
from o2_connector.hooks.staging import StagingHook

BEGAN = datetime(2026, 11, 21, 1, tzinfo=UTC)


@dataclass(kw_only=True)
class Books:
    """Close books of days, one after the other."""

    staging: StagingHook
    folder: Path

    def close(self, day: int, run_id: str = "run", *, waits_since: int | None = None) -> StagedObject:
        window = Window(start=BEGAN + timedelta(days=day), end=BEGAN + timedelta(days=day + 1))
        details = (Detail(item_id="a", outcome="parked", cause="c", since=waits_since),) if waits_since else ()
        report = Report(
            window=window,
            run_id=run_id,
            completed_at=BEGAN + timedelta(minutes=5),
            dry_run=False,
            counts=Counts(available_from_source=day, staged=day, converted=day, decided=day, parked=day),
            details=details,
            mapping_sha256=None,
        )
        stem = run_stem(window, run_id)
        staged = []
        for suffix, content in ((".json", b"{}"), (".csv", b"x")):
            with self.staging.writer(f"{stem}report.", suffix) as out:
                out.write(content)
            staged.append(out.staged)
        closed = Closed(report=report, started_at=BEGAN, json=staged[0], csv=staged[1])
        return close(self.staging, closed, [f"windows/raw.{'0' * 64}.jsonl"])

    def alter(self, link: StagedObject) -> None:
        path = self.folder / link.name
        path.chmod(0o600)
        path.write_bytes(path.read_bytes().replace(b"number", b"Number", 1))


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    return staged_in(tmp_path, monkeypatch)


def staged_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    connection = {"conn_type": "fs", "extra": {"path": str(folder)}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(connection))
    books = Books(staging=StagingHook(), folder=folder)
    books.staging.get_conn()  # the connection is read now
    return books


def link_of(books: Books, staged: StagedObject) -> Link:
    return links_of(books.staging)[staged.sha256]


def test_each_book_names_the_one_before_it(books: Books) -> None:
    first, second, third = books.close(1), books.close(2), books.close(3)

    assert link_of(books, first).previous == ()
    assert link_of(books, second).previous == (first.sha256,)
    assert link_of(books, third).previous == (second.sha256,)
    assert [link.number for link in links_of(books.staging).values()] == [1, 2, 3]


def test_a_link_says_what_its_book_says(books: Books) -> None:
    link = link_of(books, books.close(4, waits_since=17))

    assert link.counts.available_from_source == 4
    assert (link.oldest_waiting, link.seconds, link.balanced) == (17, 300, True)


def test_books_closed_side_by_side_are_both_named_by_the_next(
    books: Books, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = books.close(1)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(books.folder, elsewhere, dirs_exist_ok=True)
    left = books.close(2)
    right = staged_in(elsewhere, monkeypatch).close(3)  # whoever looked before the other was there
    shutil.copy(elsewhere / right.name, books.folder / right.name)

    after = books.close(4)

    assert link_of(books, after).previous == tuple(sorted([left.sha256, right.sha256]))
    assert before(links_of(books.staging), after.sha256) == {each.sha256 for each in (first, left, right, after)}


def test_the_seal_names_all_that_lies_in_the_runs_folder_and_what_it_went_by(books: Books) -> None:
    link = link_of(books, books.close(1))

    sealed = [each.name for each in books.staging.read_lines(link.seal, Sealed)]

    assert sealed == sorted([link.report.name, link.log.name, f"windows/raw.{'0' * 64}.jsonl"])


def test_a_link_that_is_taken_away_is_missed(books: Books) -> None:
    first, second = books.close(1), books.close(2)
    books.close(3)

    (books.folder / second.name).unlink()

    assert gaps_of(links_of(books.staging)).missing == {second.sha256}
    assert first.sha256 in links_of(books.staging)


def test_a_link_that_is_altered_counts_for_none_and_the_chain_goes_on(books: Books) -> None:
    books.close(1)
    second = books.close(2)
    books.alter(second)

    third = books.close(3)

    reader = Chain(staging=books.staging)
    assert second.sha256 not in reader.refresh()
    assert reader.altered == (second.name,)
    assert second.sha256 in reader.links[third.sha256].previous


def test_a_reader_reads_each_link_once_and_sees_what_is_added_and_taken_away(books: Books) -> None:
    first = books.close(1)
    reader = Chain(staging=books.staging)
    read = reader.refresh()[first.sha256]

    second = books.close(2)

    assert reader.refresh()[first.sha256] is read
    assert list(reader.links) == [first.sha256, second.sha256]
    (books.folder / first.name).unlink()
    assert list(reader.refresh()) == [second.sha256]


def test_a_long_chain_is_read_from_its_end_alone(books: Books) -> None:
    links = [books.close(number) for number in range(40)]
    for each in links[:5]:
        books.alter(each)

    last = books.close(41)

    assert link_of(books, last).previous == (links[-1].sha256,)
