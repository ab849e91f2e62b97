"""Opened: all that is known of one window, for the page that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from o2_connector.core.chain import Link
from o2_connector.core.errors import IntegrityError
from o2_connector.core.overview import Run, State, WindowRow
from o2_connector.core.parked import Waiting
from o2_connector.core.report import Changes, Counts, Coverage, Detail, remedy_of
from o2_connector.core.window import Window, day_window
from o2_connector.engine.park import park_of
from o2_connector.hooks.airflow_runs import ARCHIVE, TaskRun, tasks
from o2_connector.hooks.staging import StagingHook
from o2_connector.ui.archive import Archive, Now

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

SHOWN = 20
"""Items that are named under each cause; the report has all."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what is read of a staged report."""

    contradictions: tuple[str, ...]
    rules: dict[str, int]
    mapping_sha256: str | None
    coverage: Coverage | None
    changes: Changes | None
    details: tuple[Detail, ...]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the items that share an outcome and a cause.

    :param items: the first of them.
    """

    outcome: str
    cause: str
    remedy: str
    count: int
    items: list[Detail]


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a book in short, and by which name its report is to be had."""

    digest: str
    run_id: str
    window: str
    dry_run: bool
    balanced: bool
    started_at: datetime
    completed_at: datetime
    counts: Counts
    waiting: int


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one run over the window: what Airflow knows of it, and its book, where there are these.

    :param state: Airflow's; None where Airflow knows nothing of it any more.
    """

    run_id: str
    state: str | None
    dry_run: bool
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    failed: tuple[str, ...]
    book: Book | None


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """Count the items of a window that wait.

    :param oldest: since when the oldest does, in milliseconds since 1970, UTC.
    """

    parked: int
    waiting: int
    oldest: int | None


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what the page shows of a window.

    :param day: the day that it is, where it is a whole one.
    :param parts: names of other windows that share time with it.
    :param passages: the runs over it, the newest first.
    :param shown: id of the run whose tasks and book are shown; None where there is none.
    :param told: what that run's report says besides its counts; None where it cannot be believed.
    :param fault: why it cannot be.
    :param then: what waited by that report; None without one.
    :param now: what waits.
    :param replays: those since that report whose items may have been this window's, the newest first.
    :param people: whether who asks may see numbers and addresses.
    """

    name: str
    start: datetime
    end: datetime
    zone: str
    day: date | None
    state: State
    late: bool
    newer: str | None
    older: str | None
    parts: list[str]
    passages: list[Passage]
    shown: str | None
    tasks: list[TaskRun]
    told: Told | None
    fault: str | None
    troubles: list[Trouble]
    then: Waits | None
    now: Waits
    replays: list[Book]
    people: bool


def opened(archive: Archive, now: Now, session: Session, window: Window, run_id: str | None, *, people: bool) -> Opened:
    """Say all that is known of a window.

    :param run_id: the run to show; without one, that of the last book, or the last one.
    """
    links = archive.chain.links
    rows = now.overview.rows
    row = next((each for each in rows if each.window == window), None)
    passages = list(_passages(links, now.runs, window))
    shown = _shown(passages, row, run_id)
    book = shown.book if shown else None
    told, fault = _told(archive.staging, links[book.digest]) if book else (None, None)
    newer, older = _neighbours(rows, window)
    return Opened(
        name=window.name,
        start=window.start,
        end=window.end,
        zone=archive.zone.key,
        day=_day(window, archive.zone),
        state=row.state if row else State.MISSING,
        late=row.late if row else False,
        newer=newer,
        older=older,
        parts=[each.window.name for each in rows if each.window != window and each.window.overlaps(window)],
        passages=passages,
        shown=shown.run_id if shown else None,
        tasks=tasks(session, ARCHIVE, shown.run_id) if shown else [],
        told=msgspec.structs.replace(told, details=()) if told else None,
        fault=fault,
        troubles=_troubles(told.details) if told else [],
        then=_then(told.details) if told else None,
        now=_waits(waiting_of(archive.staging, window)),
        replays=list(_replays(links, window, book)),
        people=people,
    )


def waiting_of(staging: StagingHook, window: Window) -> list[Waiting]:
    """Return what waits of a window, the oldest first."""
    found = (each for each in park_of(staging, window).waiting.values() if each.window == window.name)
    return sorted(found, key=lambda each: (each.parked, each.item_id))


def _passages(links: Mapping[str, Link], runs: Iterable[Run], window: Window) -> Iterator[Passage]:
    """Yield runs with their books, the newest first; a run that was cleared has several books, and the last counts."""
    books: dict[str, Book] = {}
    for digest, link in links.items():
        if link.window == window and not link.replay:
            books[link.run_id] = _book(digest, link)
    known = {run.run_id: run for run in runs if run.window == window}
    forgotten = (_forgotten(book) for book in books.values() if book.run_id not in known)
    remembered = (_remembered(run, books.get(run.run_id)) for run in known.values())
    yield from sorted((*forgotten, *remembered), key=_began, reverse=True)


def _remembered(run: Run, book: Book | None) -> Passage:
    return Passage(
        run_id=run.run_id,
        state=run.state,
        dry_run=run.dry_run,
        queued_at=run.queued_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        failed=run.failed,
        book=book,
    )


def _forgotten(book: Book) -> Passage:
    return Passage(
        run_id=book.run_id,
        state=None,
        dry_run=book.dry_run,
        queued_at=None,
        started_at=book.started_at,
        ended_at=book.completed_at,
        failed=(),
        book=book,
    )


def _began(passage: Passage) -> float:
    began = passage.queued_at or passage.started_at
    return began.timestamp() if began else float("inf")


def _shown(passages: Sequence[Passage], row: WindowRow | None, run_id: str | None) -> Passage | None:
    wanted = run_id or (row.book.run_id if row and row.book and row.state is not State.RUNNING else None)
    return next((each for each in passages if each.run_id == wanted), next(iter(passages), None))


def _book(digest: str, link: Link) -> Book:
    return Book(
        digest=digest,
        run_id=link.run_id,
        window=link.window.name,
        dry_run=link.dry_run,
        balanced=link.balanced,
        started_at=link.started_at,
        completed_at=link.completed_at,
        counts=link.counts,
        waiting=link.waiting,
    )


def _told(staging: StagingHook, link: Link) -> tuple[Told | None, str | None]:
    try:
        with staging.reader(link.report) as content:
            return msgspec.json.decode(content.read(), type=Told), None
    except IntegrityError as error:  # everything else of the window is worth showing
        return None, str(error)


def _troubles(details: Iterable[Detail]) -> list[Trouble]:
    """Gather the details by outcome and cause, in the report's order: what needs a person most comes first."""
    gathered: dict[tuple[str, str], Trouble] = {}
    counts: dict[tuple[str, str], int] = {}
    for each in details:
        kind = (each.outcome, each.cause)
        counts[kind] = counts.get(kind, 0) + 1
        if kind not in gathered:
            gathered[kind] = Trouble(outcome=each.outcome, cause=each.cause, remedy=remedy_of(each), count=0, items=[])
        if len(gathered[kind].items) < SHOWN:
            gathered[kind].items.append(each)
    return [msgspec.structs.replace(trouble, count=counts[kind]) for kind, trouble in gathered.items()]


def _then(details: Iterable[Detail]) -> Waits:
    waits = [each for each in details if each.outcome in ("parked", "waiting")]
    return Waits(
        parked=sum(each.outcome == "parked" for each in waits),
        waiting=sum(each.outcome == "waiting" for each in waits),
        oldest=min((each.since for each in waits if each.since is not None), default=None),
    )


def _waits(entries: Sequence[Waiting]) -> Waits:
    return Waits(
        parked=len({each.key for each in entries if each.is_parked}),
        waiting=len({each.key for each in entries if not each.is_parked}),
        oldest=min((each.parked for each in entries), default=None),
    )


def _replays(links: Mapping[str, Link], window: Window, book: Book | None) -> Iterator[Book]:
    for digest, link in reversed(list(links.items())):
        after = book is None or link.completed_at > book.completed_at
        if link.replay and after and link.window.overlaps(window):
            yield _book(digest, link)


def _neighbours(rows: Sequence[WindowRow], window: Window) -> tuple[str | None, str | None]:
    """Return the names of the windows after and before.

    :param rows: the newest first.
    """
    newer = next((row.window.name for row in reversed(rows) if row.window > window), None)
    older = next((row.window.name for row in rows if row.window < window), None)
    return newer, older


def _day(window: Window, zone: ZoneInfo) -> date | None:
    try:
        day = window.start.astimezone(zone).date()
        return day if day_window(day, zone) == window else None
    except OverflowError:  # of the last day that there is in Python
        return None
