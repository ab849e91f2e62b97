"""Mapping diff: say what changed mapping files would do to windows that are archived already, before they do it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from o2_connector.commands.mappings import MAPPINGS, add_folder_to
from o2_connector.commands.screen import summed, wrapped
from o2_connector.commands.windows import WHAT, named, span_of
from o2_connector.core.changes import Difference, together
from o2_connector.core.errors import StopError
from o2_connector.core.phone_book import check
from o2_connector.core.plurals import many
from o2_connector.core.report import NumberChange
from o2_connector.core.settings import Settings, read_settings
from o2_connector.core.window import Window
from o2_connector.engine.mapping_folder import read_folder

if TYPE_CHECKING:
    from o2_connector.commands.comparison import Compared
    from o2_connector.engine.rules import MappingRules

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

MOST_NUMBERS = 20
"""Numbers that are shown; the last line counts the others."""

_MOST_WINDOWS = 5  # that are named in an error


def add_to(subparsers: Subparsers) -> None:
    """Add the command to the parser of commands."""
    parser = subparsers.add_parser("mapping-diff")
    parser.description = (
        "Say which deliveries of archived windows would be added, moved and lost by the mapping files and the directory"
        " as they are now. Nothing is written to a mailbox. Exit 1 where a run could not use the files."
    )
    parser.add_argument("window", metavar="WINDOW", help=WHAT)
    add_folder_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each window, the numbers that change most, and what it means; return 1 where files have errors.

    :raises StopError: where nothing that was asked for is archived, or the folder or the settings are none.
    """
    settings = read_settings(os.environ, MAPPINGS)
    folder = Path(arguments.folder or settings.mappings)
    zone = ZoneInfo(settings.timezone)
    span = span_of(arguments.window, zone)
    book, findings = check(read_folder(folder), settings.region, zone)
    if book is None:
        for finding in findings:
            print(wrapped(str(finding)))
        print(f"Nothing was compared, for a run could not use these files: {summed(findings)}")
        return 1
    # Not before: Airflow takes two seconds to start.
    from o2_connector.commands.comparison import archived, compare_each
    from o2_connector.hooks.staging import StagingHook

    staging = StagingHook()
    within, beyond = archived(staging, span)
    compared = compare_each(staging, _rules(folder, settings, zone), book, within, at=datetime.now(UTC))
    total = _print_windows(compared, [named(window, zone) for window in within], zone)
    if total is None:
        raise StopError(_nothing(arguments.window, beyond))
    _print_numbers(total)
    print()
    for line in _meaning(total):
        print(wrapped(line, "  "))
    if beyond:
        print(wrapped(f"Not compared, for they reach beyond {arguments.window}: {_names(beyond)}", "  "))
    return 0


def _rules(folder: Path, settings: Settings, zone: ZoneInfo) -> MappingRules:
    from o2_connector.engine.rules import MappingRules

    return MappingRules(
        folder=folder,
        region=settings.region,
        zone=zone,
        remember=timedelta(hours=settings.directory_hours),
        by_number=settings.directory_numbers,
        catch_all=settings.catch_all,
    )


def _print_windows(windows: Iterable[Compared], names: list[str], zone: ZoneInfo) -> Difference | None:
    """Print each window as soon as it is compared, and their sums; return these, None where there is no window."""
    width = max(map(len, ("window", *names)))
    total, count = Difference(numbers={}), 0
    parked, caught = [0, 0], [0, 0]
    for each in windows:
        if not count:
            print(_line("window", width, ("unchanged", "added", "moved", "lost"), "parked", "last run"))
        count += 1
        at = f"{each.decided_at.astimezone(zone):%Y-%m-%d %H:%M}"
        print(_line(named(each.window, zone), width, _counts(each.difference), _arrow(each.parked), at), flush=True)
        total = together(total, each.difference)
        parked = [sum(pair) for pair in zip(parked, each.parked, strict=True)]
        caught = [sum(pair) for pair in zip(caught, each.caught, strict=True)]
    if not count:
        return None
    if count > 1:
        print(_line("total", width, _counts(total), _arrow(parked), ""))
    if any(caught):
        print(f"To the catch-all mailbox: {_arrow(caught)} items that nobody else gets")
    if count < len(names):
        print(f"Left out, for no run has delivered from them: {many(len(names) - count, 'window')}")
    return total


def _line(name: str, width: int, counts: tuple[str, ...], parked: str, at: str) -> str:
    return f"{name:<{width}}  {''.join(f'{count:>10}' for count in counts)}{parked:>16}  {at}".rstrip()


def _counts(each: Difference | NumberChange) -> tuple[str, ...]:
    numbers = (each.added, each.moved, each.lost)
    return tuple(f"{number:,}" for number in ((each.unchanged, *numbers) if isinstance(each, Difference) else numbers))


def _arrow(pair: Iterable[int]) -> str:
    return " → ".join(f"{number:,}" for number in pair)


def _print_numbers(total: Difference) -> None:
    numbers = total.changes(None).numbers
    if not numbers:
        return
    print("\nThe numbers that change most")
    print(_number_line("number", ("added", "moved", "lost"), "mapping row"))
    for each in numbers[:MOST_NUMBERS]:
        print(_number_line(each.number, _counts(each), each.place or "none"))
    if len(numbers) > MOST_NUMBERS:
        print(f"… and {many(len(numbers) - MOST_NUMBERS, 'number')} more")


def _number_line(number: str, counts: tuple[str, ...], place: str) -> str:
    return f"{number:<8}{''.join(f'{count:>10}' for count in counts)}  {place}"


def _meaning(total: Difference) -> Iterator[str]:
    """Yield what would come of it, and what not."""
    yield "Nothing was written to a mailbox. Once these are the mapping files:"
    if total.added:
        yield (
            "- added: somebody gets a copy who has none. o2_replay_parked delivers it by itself, where the item waits"
            " for them or the number's row is new; any other comes when the window is run again"
        )
    if total.moved:
        yield (
            "- moved: another mailbox gets the copy, but only when the window is run again; the one that has it keeps"
            " its own"
        )
    if total.lost:
        yield "- lost: somebody gets no copy any more; what they have they keep, for nothing is taken out of a mailbox"
    if not (total.added or total.moved or total.lost):
        yield "- every delivery stays as it is"


def _nothing(asked: str, beyond: list[Window]) -> str:
    shares = f"; these share time with it: {_names(beyond)}" if beyond else ""
    return f"No run has archived a window that lies in {asked}{shares}. Name one that is archived, or archive it first."


def _names(windows: list[Window]) -> str:
    more = f" and {len(windows) - _MOST_WINDOWS} more" if len(windows) > _MOST_WINDOWS else ""
    return ", ".join(window.name for window in windows[:_MOST_WINDOWS]) + more
