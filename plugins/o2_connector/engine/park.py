"""Park: what waits for a mailbox, in staging; see :mod:`o2_connector.core.parked`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import TypeVar

import msgspec

from o2_connector.core.layout import PARKED, gone_stem, waiting_stem
from o2_connector.core.parked import Gone, Leaving, Park, Person, Waiting, leaving, left_over, park_after
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook

Row = TypeVar("Row", bound=msgspec.Struct)

PARALLEL = 8
"""Windows that are read at the same time."""


def park_of(staging: StagingHook, window: Window | None = None) -> Park:
    """Return what waits: of a window and of those that overlap it, or of all."""
    if window is None:
        return _read(staging, staging.names(PARKED))
    folders = [name for name in staging.folders(PARKED) if _overlaps(name, window)]
    return _read(staging, (name for folder in folders for name in staging.names(f"{PARKED}{folder}/")))


def park(staging: StagingHook, entries: Iterable[Waiting], known: Collection[str]) -> int:
    """Let items wait, each under its window; return how many are new.

    :param known: ids of what waits already.
    """
    windows: defaultdict[str, list[Waiting]] = defaultdict(list)
    for each in entries:
        if each.id not in known:
            windows[each.window].append(each)
    for window, new in windows.items():
        staging.write_lines(waiting_stem(window), new)
    return sum(map(len, windows.values()))


def part(
    staging: StagingHook,
    before: Park,
    entries: Mapping[int, Sequence[Waiting]],
    served: Mapping[int, Set[Person]],
    rest: Mapping[int, Waiting],
) -> list[Leaving]:
    """Return what is gone when the deliveries of some items are made; what must go on waiting is parked by itself.

    :param entries: what waits of each item, by its number.
    :param served: who of its participants gets it.
    :param rest: what it waits for by this decision, parked already.
    """
    gone: list[Leaving] = []
    over: list[Waiting] = []
    for number, found in sorted(entries.items()):
        now = rest.get(number)
        for each in found:
            left = left_over(each, served[number], now)
            waits = {before.named(entry).id for entry in (left, now) if entry}
            gone += leaving(number, each, served[number], waits)
            if left:
                over.append(before.named(left))
    park(staging, over, before.waiting.keys())
    return gone


def leave(staging: StagingHook, leaving: Iterable[Leaving]) -> int:
    """Say what is gone; return of how many items."""
    items: set[int] = set()
    windows: defaultdict[str, set[str]] = defaultdict(set)
    for each in leaving:
        items.add(each.item)
        windows[each.window].add(each.id)
    for window, gone in windows.items():
        staging.write_lines(gone_stem(window), (Gone(id=name) for name in sorted(gone)))
    return len(items)


def _overlaps(name: str, window: Window) -> bool:
    other = Window.named(name)
    return other is not None and other.overlaps(window)


def _read(staging: StagingHook, names: Iterable[str]) -> Park:
    """Read window by window, so that what is gone is not held; a few windows at the same time."""
    windows = [list(each) for _, each in groupby(sorted(names), key=lambda name: name.split("/")[1])]
    parks: list[Park] = []
    with ThreadPoolExecutor(PARALLEL) as pool:
        for start in range(0, len(windows), PARALLEL):
            parks.extend(pool.map(partial(_read_window, staging), windows[start : start + PARALLEL]))
    said = (entry for each in parks for entry in each.waiting.values())
    return park_after(said, (Gone(id=name) for each in parks for name in each.gone))


def _read_window(staging: StagingHook, names: Sequence[str]) -> Park:
    return park_after(
        (entry for name in names if "/waiting." in name for entry in _lines(staging, name, Waiting)),
        (entry for name in names if "/gone." in name for entry in _lines(staging, name, Gone)),
    )


def _lines(staging: StagingHook, name: str, kind: type[Row]) -> Iterator[Row]:
    return staging.read_lines(staging.staged(name), kind)
