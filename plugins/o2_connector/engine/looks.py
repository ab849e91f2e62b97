"""Looks: by which mappings each window was decided on, or looked at for newcomers, in their order.

No clock tells the order, but a number: whoever looks takes the one after all that were there *before* it began to read.
So whatever comes about meanwhile has the same number or a later one, and the window is looked at again: nothing is
overlooked, at worst something is looked at twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from o2_connector.core.layout import PARKED, look_of, looked_name, looked_stem
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Hold the last look at a window.

    :param mappings: digests of the mappings by which it was looked at; several, where it is unknown which was the last.
    """

    window: str
    number: int
    mappings: Set[str]


def last_looks(staging: StagingHook) -> list[Look]:
    """Return the last look at each window that was ever decided on."""
    return _last(staging.names(PARKED))


def note_look(staging: StagingHook, window: str, after: Look | None, mapping: str) -> None:
    """Take note that a window was looked at.

    :param after: the last look before this one began.
    """
    staging.claim(looked_name(window, after.number + 1 if after else 1, mapping))


def note_decided(staging: StagingHook, window: Window, mapping: str) -> None:
    """Take note that a window was decided on, once the decision is kept."""
    last = next(iter(_last(staging.names(looked_stem(window.name)))), None)
    note_look(staging, window.name, last, mapping)


def _last(names: Iterable[str]) -> list[Look]:
    looks: dict[str, Look] = {}
    for window, number, mapping in filter(None, map(look_of, names)):
        last = looks.get(window)
        if last is None or number > last.number:
            looks[window] = Look(window=window, number=number, mappings={mapping})
        elif number == last.number:
            looks[window] = Look(window=window, number=number, mappings={*last.mappings, mapping})
    return list(looks.values())
