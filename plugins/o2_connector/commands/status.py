"""Status: how every day stands, as the archive page's table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from o2_connector.commands.connections import has_database
from o2_connector.commands.screen import wrapped
from o2_connector.commands.windows import named, span_of
from o2_connector.core.overview import DayCell, Overview, Run, State, WindowRow
from o2_connector.core.plurals import many
from o2_connector.core.settings import read_settings
from o2_connector.core.window import Window, day_window, last_complete_day

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DAYS = 31
"""How many days are shown where nobody says which."""

_COLUMNS = ("source", "for import", "imported", "partially", "skipped", "failed", "parked", "rejected")
_NOTES = {
    State.UNBALANCED: "A book does not balance: something is lost or counted twice. Its report says what.",
    State.FAILED: "A run failed before it had a book: open it in Airflow; the first red task's log says what to do.",
    State.MISSING: "Nobody has archived the day: trigger o2_network_archive for it, or create a backfill.",
    State.WITH_FAILURES: "Some deliveries failed: the report has their causes and what to do.",
}


def add_to(subparsers: Subparsers) -> None:
    """Add the command to the parser of commands."""
    parser = subparsers.add_parser("status")
    parser.description = (
        "Say how every day stands, the newest first, by the books in staging and, where Airflow's database can be"
        " asked, by its runs. Exit 1 where a day that is shown is not archived, or not wholly."
    )
    parser.add_argument(
        "span",
        metavar="DAYS",
        nargs="?",
        help=f"a day like 2026-11-21, or days like 2026-11-01..2026-11-21; else the last {DAYS} days",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a window, for a script")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, what waits, and what a person has to do; return 1 where there is anything.

    :raises StopError: where the days are none, or staging is not to be had.
    """
    from o2_connector.engine.chain import Chain  # seconds, for Airflow
    from o2_connector.engine.standing import as_it_stands
    from o2_connector.hooks.staging import StagingHook

    settings = read_settings(os.environ, mappings="")
    zone, now = ZoneInfo(settings.timezone), datetime.now(UTC)
    span = _lately(now, zone) if arguments.span is None else span_of(arguments.span, zone)
    chain = Chain(staging=StagingHook())
    runs, not_asked = _runs(zone)
    standing = as_it_stands(chain, runs, settings, now)
    rows = [row for row in standing.rows if row.window.overlaps(span)]
    cells = [cell for cell in standing.days if day_window(cell.day, zone).overlaps(span)]
    if arguments.json:
        for row in rows:
            print(json.dumps(_as_json(row)))
    elif rows:
        _print(rows, cells, standing, zone, now)
    elif arguments.span is not None:
        print(wrapped(f"Nothing of {arguments.span} is archived."))
    else:
        print(wrapped("Nothing is archived yet. Unpause o2_network_archive in Airflow, or trigger it for a day."))
    remarks = sys.stderr if arguments.json else sys.stdout
    if not_asked:
        more = "A run that failed before its book, or that is at work, is not known."
        print(wrapped(f"{not_asked} {more}"), file=remarks)
    for name in chain.altered:
        print(wrapped(f"{name} is not what it was: `o2-archive verify` says what else is not."), file=remarks)
    is_over = all(state.is_over for state in (*(row.state for row in rows), *(cell.state for cell in cells)))
    is_nothing = arguments.span is not None and not rows
    return int(not is_over or is_nothing or bool(chain.altered))


def _lately(now: datetime, zone: ZoneInfo) -> Window:
    """Return the last days, and whatever of today there is."""
    return Window(start=last_complete_day(now, zone).start - timedelta(days=DAYS - 1), end=now)


def _runs(zone: ZoneInfo) -> tuple[list[Run], str]:
    """Return Airflow's runs, or why they are not known."""
    if not has_database(os.environ):
        return [], "Airflow was not asked: it is not set up here."
    from airflow.utils.session import create_session
    from sqlalchemy.exc import SQLAlchemyError

    from o2_connector.hooks.airflow_runs import ARCHIVE, runs

    try:
        with create_session() as session:
            return runs(session, ARCHIVE, zone), ""
    except SQLAlchemyError as error:  # the books are worth showing all the same
        return [], f"Airflow was not asked: its database does not answer ({type(error).__name__})."


def _print(
    rows: Sequence[WindowRow], cells: Sequence[DayCell], standing: Overview, zone: ZoneInfo, now: datetime
) -> None:
    table: list[tuple[str, ...]] = [("window", "state", *_COLUMNS, "took")]
    table += [(named(row.window, zone), _state(row), *_counts(row), _took(row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for window, state, *numbers in table:
        shown = "".join(f"{number:>{width + 2}}" for number, width in zip(numbers, widths[2:], strict=True))
        print(f"{window:<{widths[0]}}  {state:<{widths[1]}}{shown}".rstrip())
    print()
    for line in _sums(rows, cells, standing, zone, now):
        print(wrapped(line, "  "))


def _sums(
    rows: Sequence[WindowRow], cells: Sequence[DayCell], standing: Overview, zone: ZoneInfo, now: datetime
) -> Iterable[str]:
    states = Counter(row.state for row in rows)
    yield f"{many(len(rows), 'window')}: {', '.join(f'{states[each]:,} {each}' for each in State if states[each])}."
    if late := sum(row.late for row in rows):
        yield f"{many(late, 'window')} took longer than allowed."
    yield from (_NOTES[each] for each in State if states[each] and each in _NOTES)
    if partly := [str(cell.day) for cell in cells if cell.state is State.MISSING and cell.windows]:
        yield f"Archived in part only: {', '.join(partly)}."
    if oldest := standing.oldest_missing(zone):
        days = (now - oldest.end) // timedelta(days=1)
        since = f"for {many(days, 'day')}" if days else "since today"
        yield f"The oldest day that is not, or not wholly, archived is {named(oldest, zone)}, {since}."
    elif standing.days:
        yield "Every day is archived."
    else:
        yield "No day is due yet."
    if standing.replays:
        last = standing.replays[0]
        made = last.counts.imported + last.counts.partially_imported
        yield (
            f"The last replay of parked items, {last.completed_at.astimezone(zone):%Y-%m-%d %H:%M}: {made:,} delivered,"
            f" {last.counts.parked:,} still parked, {last.waiting:,} waiting for somebody."
        )


def _state(row: WindowRow) -> str:
    late = ", late" if row.late else ""
    failed = f": {row.run.failed[0]}" if row.state is State.FAILED and row.run and row.run.failed else ""
    return f"{row.state}{failed}{late}"


def _counts(row: WindowRow) -> list[str]:
    return ["" if number is None else f"{number:,}" for number in _numbers(row).values()]


def _numbers(row: WindowRow) -> dict[str, int | None]:
    """Return the book's numbers by their columns; without a book none is known."""
    count = row.counts
    numbers = (
        *(count.available_from_source, count.available_for_import, count.imported, count.partially_imported),
        *(count.skipped, count.failed, count.parked, count.rejected),
    )
    return {name: number if row.book else None for name, number in zip(_COLUMNS, numbers, strict=True)}


def _took(row: WindowRow) -> str:
    if row.book is None:
        return ""
    minutes, seconds = divmod(round(row.book.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m" if hours else f"{minutes} m {seconds:02} s" if minutes else f"{seconds} s"


def _as_json(row: WindowRow) -> dict[str, Any]:
    return {
        "window": {"start": row.window.start.isoformat(), "end": row.window.end.isoformat()},
        "state": row.state,
        "late": row.late,
        **{name.replace(" ", "_"): number for name, number in _numbers(row).items()},
        "waiting": row.book.waiting if row.book else None,
        "seconds": row.book.seconds if row.book else None,
        "books": row.books,
        "run_id": row.book.run_id if row.book else row.run.run_id if row.run else None,
        "failed_tasks": list(row.run.failed) if row.run else [],
        "report": row.book.report.name if row.book else None,
    }
