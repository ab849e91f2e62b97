from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from o2_connector.core.chain import Link, Sealed, before, gaps_of
from o2_connector.core.layout import PACKED, run_stem
from o2_connector.core.manifest import StagedObject
from o2_connector.core.report import Counts, Detail, Report
from o2_connector.core.window import Window
from o2_connector.engine.chain import PACK_EVERY, Chain, Closed, close, links_of
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


def test_who_asks_while_a_reader_reads_waits_and_reads_nothing_again(books: Books) -> None:
    first = books.close(1)
    read: list[str] = []

    class Slow(StagingHook):
        def whole(self, name: str) -> bytes:
            read.append(name)
            time.sleep(0.2)
            return super().whole(name)

    reader = Chain(staging=Slow())
    with ThreadPoolExecutor(3) as people:
        found = list(people.map(lambda _: reader.refresh(), range(3)))

    assert [list(each) for each in found] == [[first.sha256]] * 3
    assert read == [first.name]


def test_a_long_chain_is_read_from_its_end_alone(books: Books) -> None:
    links = [books.close(number) for number in range(40)]
    for each in links[:5]:
        books.alter(each)

    last = books.close(41)

    assert link_of(books, last).previous == (links[-1].sha256,)


@pytest.fixture
def packed(books: Books) -> Sequence[StagedObject]:
    """Close books until they are packed, and one more; return their links."""
    return [books.close(number) for number in range(PACK_EVERY + 1)]


def test_of_a_long_chain_only_what_was_added_since_the_last_pack_is_read_link_by_link(
    books: Books, packed: Sequence[StagedObject]
) -> None:
    for each in packed:
        books.alter(each)  # who reads it finds no link

    assert list(links_of(books.staging)) == [each.sha256 for each in packed[:-1]]
    assert Chain(staging=books.staging).refresh() == {}


def test_what_else_lies_beside_the_packs_is_none(books: Books, packed: Sequence[StagedObject]) -> None:
    (books.folder / PACKED / "zeros").write_bytes(b"x")
    for each in packed:
        books.alter(each)

    books.close(50)

    assert len(links_of(books.staging)) == PACK_EVERY + 1


def test_a_link_that_is_taken_away_is_missed_though_it_is_packed(books: Books, packed: Sequence[StagedObject]) -> None:
    (books.folder / packed[3].name).unlink()

    links = links_of(books.staging)

    assert gaps_of(links).missing == {packed[3].sha256}
    assert links == Chain(staging=books.staging).refresh()


@pytest.mark.parametrize("content", [b"", b"no link\n"])
def test_a_pack_that_is_altered_or_is_none_is_done_without(
    books: Books, packed: Sequence[StagedObject], content: bytes
) -> None:
    (pack,) = books.staging.names(PACKED)
    (books.folder / pack).unlink()
    if content:
        with books.staging.writer(f"{PACKED}00000032.", ".jsonl") as out:
            out.write(content)
    else:
        (books.folder / pack).write_bytes(b"altered")

    assert list(links_of(books.staging)) == [each.sha256 for each in packed]


def test_each_pack_has_all_links_before_it(books: Books, packed: Sequence[StagedObject]) -> None:
    links = [*packed, *(books.close(number) for number in range(PACK_EVERY - 1))]
    for each in links:
        books.alter(each)

    assert len(list(books.staging.names(PACKED))) == 2
    assert list(links_of(books.staging)) == [each.sha256 for each in links]
