"""Notices: what a book gives cause to tell, and nobody was told before.

What was told is nowhere noted: whatever an earlier book of the chain says was told when that book was closed, unless
its day had ended long before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import msgspec

from o2_connector.core.chain import Link
from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import mapping_object
from o2_connector.core.manifest import StagedObject
from o2_connector.core.notices import Notice, Subject, fell_silent, nothing_captured, parked
from o2_connector.core.report import Counts, Coverage, Detail, Silent
from o2_connector.core.silence import begins_silence, compared_with
from o2_connector.core.window import day_window
from o2_connector.engine.chain import links_of
from o2_connector.hooks.staging import StagingHook

RECENT = timedelta(days=7)
"""What a day gives cause to is told where it ended no longer ago: a backfill of a year is no reason for 365 notices. Of
its parked items the next replay tells, once; silence in the past nobody can mend."""

_LOOK_BACK = 31  # windows, for the last one that says who was silent


class BookRead(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what is told of a book; see :class:`o2_connector.core.report.Report`."""

    counts: Counts
    details: tuple[Detail, ...]
    contradictions: tuple[str, ...]
    waiting: int
    coverage: Coverage | None
    mapping_sha256: str | None


def read_book(staging: StagingHook, report: StagedObject) -> BookRead:
    """Read a book as it lies in staging."""
    with staging.reader(report) as content:
        return msgspec.json.decode(content.read(), type=BookRead)


def news_of(staging: StagingHook, about: Subject, book: BookRead, digest: str) -> Iterator[Notice]:
    """Yield what a closed book gives cause to tell beside its failure.

    :param digest: of its link.
    """
    links = links_of(staging)
    this = links[digest]
    if this.dry_run or not _tells(this):
        return
    # A link that was added beside this one may or may not have been read by its run: it counts as later.
    earlier = [link for link in links.values() if link.number < this.number and not link.dry_run]
    yield from _parked(staging, about, book, this, earlier)
    if not this.replay:
        yield from _nothing(about, this, earlier)
        yield from _silent(staging, about, book, this, earlier)


def _parked(
    staging: StagingHook, about: Subject, book: BookRead, this: Link, earlier: Sequence[Link]
) -> Iterator[Notice]:
    details = [each for each in book.details if each.outcome == "parked"]
    if not details:
        return
    told = {
        each.item_id
        for link in (_since_last_replay(earlier) if this.replay else _of_window(this, earlier))
        if link.counts.parked and _tells(link)
        if (other := _read(staging, link))
        for each in other.details
        if each.outcome == "parked"
    }
    new = sum(each.item_id not in told for each in details)
    if new:
        oldest = min((each.since for each in details if each.since is not None), default=None)
        waited = 0.0 if oldest is None else this.completed_at.timestamp() - oldest / 1000
        yield parked(about, details=details, new=new, waiting=book.waiting, days=int(waited // 86400))


def _tells(link: Link) -> bool:
    """Tell whether of this book is told what it gives cause to."""
    return link.replay or link.completed_at - link.window.end <= RECENT


def _since_last_replay(earlier: Sequence[Link]) -> Iterator[Link]:
    """Yield the last replay's link and those after it: together they name all that is parked."""
    for link in reversed(earlier):
        yield link
        if link.replay:
            return


def _of_window(this: Link, earlier: Sequence[Link]) -> Iterator[Link]:
    return (link for link in earlier if not link.replay and link.window.overlaps(this.window))


def _read(staging: StagingHook, link: Link) -> BookRead | None:
    """Read an earlier book, or nothing where it was altered or taken away: better told twice than never."""
    try:
        return read_book(staging, link.report)
    except IntegrityError:
        return None


def _nothing(about: Subject, this: Link, earlier: Sequence[Link]) -> Iterator[Notice]:
    day = this.window.start.astimezone(about.zone).date()
    if this.counts.available_from_source or not this.balanced or this.window != day_window(day, about.zone):
        return
    items = _items_by_day([*earlier, this], about.zone)
    again = any(link.window == this.window and not link.counts.available_from_source for link in earlier)
    if begins_silence(day, items) and not again:
        before = [(day_window(each, about.zone), items[each]) for each in compared_with(day, items)]
        yield nothing_captured(about, before=before)


def _items_by_day(links: Iterable[Link], zone: ZoneInfo) -> dict[date, int]:
    """Return how many items each day had by its last book; a window that is no day says nothing of one."""
    items = {}
    for link in links:
        day = link.window.start.astimezone(zone).date()
        if not link.replay and link.window == day_window(day, zone):
            items[day] = link.counts.available_from_source
    return items


def _silent(
    staging: StagingHook, about: Subject, book: BookRead, this: Link, earlier: Sequence[Link]
) -> Iterator[Notice]:
    if book.coverage is None or not book.coverage.silent or book.mapping_sha256 is None:
        return
    known = _Numbers(staging)
    told: set[str] = set()
    for other in _told_before(staging, this, earlier):
        told |= known.silent(other)
    new = [each for each in book.coverage.silent if known.of(book.mapping_sha256, each) not in told]
    if new:
        silent_days, in_all = book.coverage.silent_days, len(book.coverage.silent)
        yield fell_silent(about, numbers=new, days=silent_days, in_all=in_all)


def _told_before(staging: StagingHook, this: Link, earlier: Sequence[Link]) -> Iterator[BookRead]:
    """Yield the books of the same window, and that of the last window before it which says who was silent."""
    windows = [link for link in earlier if not link.replay]
    before = [link for link in windows if link.window.end <= this.window.start]
    before.sort(key=lambda link: link.window.end)
    yield from filter(None, (_read(staging, link) for link in windows if link.window == this.window))
    for link in before[: -_LOOK_BACK - 1 : -1]:
        book = _read(staging, link)
        if book and book.coverage and book.coverage.silent is not None:
            yield book
            return


class _Numbers:
    """Tell which number a report means by a mapping row: its line moves when rows are added above it."""

    def __init__(self, staging: StagingHook) -> None:
        self._staging = staging
        self._rows: dict[str, dict[str, str]] = {}

    def silent(self, book: BookRead) -> set[str]:
        """Return the numbers that a book calls silent."""
        if book.coverage is None or book.mapping_sha256 is None:
            return set()
        return {self.of(book.mapping_sha256, each) for each in book.coverage.silent or ()}

    def of(self, mapping: str, silent: Silent) -> str:
        """Return the number."""
        if mapping not in self._rows:
            self._rows[mapping] = self._read(mapping)
        return self._rows[mapping][silent.place]

    def _read(self, mapping: str) -> dict[str, str]:
        from o2_connector.core.phone_book import thawed

        with self._staging.reader(self._staging.staged(mapping_object(mapping))) as content:
            rows = thawed(content.read()).rows
        columns = (rows[name].tolist() for name in ("file", "line", "number"))
        return {f"{file}:{line}": number for file, line, number in zip(*columns, strict=True)}
