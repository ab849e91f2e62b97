"""Listing: every window and every day in short, as the page takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec

from o2_connector.core.chain import Link
from o2_connector.core.overview import DayCell, Overview, State, WindowRow
from o2_connector.core.window import Window, day_window


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Hold one window, as an array: five years of them are sent at once.

    :param start: seconds since 1970, UTC; as ``end``.
    :param counts: by the last book, where there is one: items from source, deliveries available for import, imported,
        partially imported, skipped and failed; items parked, rejected and waiting.
    :param seconds: how long the last book's run took, or the run that goes on takes so far.
    """

    start: int
    end: int
    state: State
    counts: tuple[int, ...] | None
    seconds: int | None
    late: bool


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what the last replay of parked items left.

    :param parked: items that nobody gets still.
    :param waiting: items that somebody has, and that wait for somebody else.
    :param oldest: since when the oldest waits, in milliseconds since 1970, UTC.
    """

    at: datetime
    parked: int
    waiting: int
    oldest: int | None


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what the page shows at first.

    :param zone: whose days are archived.
    :param rows: the newest first.
    :param first: the first day.
    :param days: for each day from the first on its state, and the ends of the window that it leads to.
    :param altered: how many books are not what their digests say.
    """

    zone: str
    rows: list[Row]
    first: date | None
    days: list[tuple[State, int, int]]
    replay: Replay | None
    altered: int


def listing(overview: Overview, zone: ZoneInfo, now: datetime, altered: int) -> Listing:
    """Put an overview into few bytes."""
    states = {row.window: row.state for row in overview.rows}
    return Listing(
        zone=zone.key,
        rows=[_row(row, now) for row in overview.rows],
        first=overview.days[0].day if overview.days else None,
        days=[(cell.state, *_ends(_leads_to(cell, states, zone))) for cell in overview.days],
        replay=_replay(overview),
        altered=altered,
    )


def _row(row: WindowRow, now: datetime) -> Row:
    start, end = _ends(row.window)
    counts = _counts(row.book) if row.book else None
    return Row(start=start, end=end, state=row.state, counts=counts, seconds=_seconds(row, now), late=row.late)


def _counts(book: Link) -> tuple[int, ...]:
    counts = book.counts
    return (
        *(counts.available_from_source, counts.available_for_import, counts.imported, counts.partially_imported),
        *(counts.skipped, counts.failed, counts.parked, counts.rejected, book.waiting),
    )


def _seconds(row: WindowRow, now: datetime) -> int | None:
    if row.state is State.RUNNING and row.run:
        began = row.run.started_at or row.run.queued_at
        return round((now - began).total_seconds()) if began else None
    return round(row.book.seconds) if row.book else None


def _leads_to(cell: DayCell, states: Mapping[Window, State], zone: ZoneInfo) -> Window:
    """Return the window that a day stands for: of those that share time with it the one that made its state."""
    made = next((each for each in cell.windows if states[each] is cell.state), None)
    return made or day_window(cell.day, zone)


def _replay(overview: Overview) -> Replay | None:
    last = next((link for link in overview.replays if not link.dry_run), None)
    if last is None:
        return None
    return Replay(at=last.completed_at, parked=last.counts.parked, waiting=last.waiting, oldest=last.oldest_waiting)


def _ends(window: Window) -> tuple[int, int]:
    return int(window.start.timestamp()), int(window.end.timestamp())
