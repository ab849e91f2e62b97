"""Overview: how every window and every day stands, from the books and from what Airflow knows of its runs.

A book outlives Airflow's database, and is what counts; runs tell of what has no book: work that goes on, and runs that
failed before there was one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from o2_connector.core.chain import Link, latest
from o2_connector.core.report import Counts
from o2_connector.core.window import Window, day_window

BACKFILL = "backfill__"
"""What the ids of a backfill's runs begin with, and no others."""


class State(StrEnum):
    """Say how a window or a day stands, what needs a person most first."""

    UNBALANCED = "does not balance"
    FAILED = "failed"
    MISSING = "not archived"
    WITH_FAILURES = "with failures"
    RUNNING = "running"
    ARCHIVED = "archived"
    EMPTY = "nothing captured"

    @property
    def is_over(self) -> bool:
        """Tell whether everything is in the mailboxes that can be, and nothing has to be done."""
        return self in (State.ARCHIVED, State.EMPTY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Hold what Airflow knows of one run over a window.

    :param state: Airflow's: queued, running, success or failed.
    :param failed: ids of the tasks that failed.
    :param dry_run: whether it writes nothing to a mailbox; a window stands as if there were no such run.
    """

    run_id: str
    window: Window
    state: str
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    failed: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def is_at_work(self) -> bool:
        """Tell whether it is not over."""
        return self.state in ("queued", "running")


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowRow:
    """Say how one window stands.

    :param book: the last book that is no dry run's, where there is one.
    :param books: how many there are.
    :param run: Airflow's last run over it, where it knows of one.
    :param late: whether its first run took longer than it may, or takes longer so far.
    """

    window: Window
    state: State
    book: Link | None
    books: int
    run: Run | None
    late: bool

    @property
    def counts(self) -> Counts:
        """Return the book's counts; noughts without one."""
        return self.book.counts if self.book else Counts()


@dataclass(frozen=True, kw_only=True, slots=True)
class DayCell:
    """Say how one day stands.

    :param day: in the archive's time zone.
    :param state: that of the window that needs a person most, of all that share time with it.
    :param windows: these, by time.
    """

    day: date
    state: State
    windows: tuple[Window, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """Hold how everything stands.

    :param rows: a row for each window, and for each day that no window touches; the newest first.
    :param days: a cell for each day that is over, from the first one on.
    :param replays: the books of replays of parked items, the newest first.
    """

    rows: tuple[WindowRow, ...]
    days: tuple[DayCell, ...]
    replays: tuple[Link, ...]

    def oldest_missing(self, zone: ZoneInfo) -> Window | None:
        """Return the oldest day that should be archived and is not, or not wholly; None where there is none."""
        return next((day_window(cell.day, zone) for cell in self.days if not cell.state.is_over), None)


def overview(
    links: Iterable[Link],
    runs: Iterable[Run],
    *,
    zone: ZoneInfo,
    first_day: date | None,
    now: datetime,
    deadline: timedelta,
) -> Overview:
    """Say how every window and every day stands.

    :param links: of the chain.
    :param runs: those of the DAG that archives windows.
    :param zone: whose midnights begin days.
    :param first_day: the first day that is to be archived; without one, the first that anything was done for.
    :param now: days that end after it are not due.
    :param deadline: how long a run may take.
    """
    books: defaultdict[Window, list[Link]] = defaultdict(list)
    replays: list[Link] = []
    for link in links:
        if link.replay:
            replays.append(link)
        elif not link.dry_run:
            books[link.window].append(link)
    runs_of: defaultdict[Window, list[Run]] = defaultdict(list)
    for run in runs:
        if not run.dry_run:
            runs_of[run.window].append(run)
    rows = [
        _row(window, books.get(window, []), runs_of.get(window, []), now, deadline)
        for window in sorted(books.keys() | runs_of.keys())
    ]
    days = tuple(_days(rows, zone, first_day, now))
    gaps = [_gap(day_window(cell.day, zone)) for cell in days if not cell.windows]
    return Overview(
        rows=tuple(sorted([*rows, *gaps], key=lambda row: row.window, reverse=True)),
        days=days,
        replays=tuple(sorted(replays, key=lambda link: link.completed_at, reverse=True)),
    )


def _row(window: Window, books: Sequence[Link], runs: Sequence[Run], now: datetime, deadline: timedelta) -> WindowRow:
    book = latest(books)
    ordered = sorted(runs, key=lambda run: run.queued_at or run.started_at or now)
    return WindowRow(
        window=window,
        state=_state(book, ordered),
        book=book,
        books=len(books),
        run=ordered[-1] if ordered else None,
        late=_late(books, ordered, now, deadline),
    )


def _gap(window: Window) -> WindowRow:
    return WindowRow(window=window, state=State.MISSING, book=None, books=0, run=None, late=False)


def _state(book: Link | None, runs: Sequence[Run]) -> State:
    if any(run.is_at_work for run in runs):
        return State.RUNNING
    if book is None:
        return State.FAILED if any(run.state == "failed" for run in runs) else State.MISSING
    if not book.balanced:
        return State.UNBALANCED
    if book.counts.failed:
        return State.WITH_FAILURES
    return State.ARCHIVED if book.counts.available_from_source else State.EMPTY


def _late(books: Sequence[Link], runs: Sequence[Run], now: datetime, deadline: timedelta) -> bool:
    """Tell whether the first run was late; runs again are nobody's deadline. A book tells where Airflow forgot it.

    A backfill's days are all queued, and begun as Airflow says, when it is made: they wait for their turn, and are not
    late.
    """
    if runs:
        began = runs[0].queued_at or runs[0].started_at or now
        first, took = runs[0].run_id, (runs[0].ended_at or now) - began
    else:
        book = min(books, key=lambda link: link.number)
        first, took = book.run_id, book.completed_at - book.started_at
    return took > deadline and not first.startswith(BACKFILL)


def _days(rows: Sequence[WindowRow], zone: ZoneInfo, first_day: date | None, now: datetime) -> Iterator[DayCell]:
    """Yield a cell for each day that is over.

    :param rows: by time.
    """
    first = first_day or (rows[0].window.start.astimezone(zone).date() if rows else None)
    today = now.astimezone(zone).date()
    sharing: defaultdict[date, list[WindowRow]] = defaultdict(list)
    for row in rows:
        last = (row.window.end - timedelta(seconds=1)).astimezone(zone).date()
        day = row.window.start.astimezone(zone).date()
        while day <= last:
            sharing[day].append(row)
            day += timedelta(days=1)
    while first and first < today:
        yield _cell(first, sharing[first], zone)
        first += timedelta(days=1)


def _cell(day: date, rows: Sequence[WindowRow], zone: ZoneInfo) -> DayCell:
    whole = day_window(day, zone)
    states = [row.state for row in rows]
    if not _covers((row.window for row in rows if row.book), whole) and State.RUNNING not in states:
        states.append(State.MISSING)
    worst = list(State)
    return DayCell(
        day=day,
        # A day in part of which nothing was captured is archived.
        state=min(states, key=worst.index) if set(states) != {State.ARCHIVED, State.EMPTY} else State.ARCHIVED,
        windows=tuple(row.window for row in rows),
    )


def _covers(windows: Iterable[Window], whole: Window) -> bool:
    """Tell whether windows, by time, cover all of another together."""
    covered = whole.start
    for window in windows:
        if window.start <= covered:
            covered = max(covered, window.end)
    return covered >= whole.end
