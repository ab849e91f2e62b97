"""Looks: by which mapping each window was decided on, and by which all were looked at for newcomers, in their order.

No clock tells the order, but a number: whoever looks takes the one after all that were there *before* it began to read.
So whatever is decided meanwhile has the same number or a later one, and is looked at the next time: nothing is
overlooked, at worst something is looked at twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass

from o2_connector.core.layout import LOOKS, look_name, look_of
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """Hold by which mappings windows were decided on or looked at last.

    :param number: how many there were.
    :param last: by the name of each window that was ever decided on, the digests of the mappings; several, where it is
        unknown which was the last.
    """

    number: int
    last: Mapping[str, Set[str]]


def looks_so_far(staging: StagingHook) -> Looks:
    """Read what is said at this moment."""
    latest: dict[str | None, int] = {}
    mappings: defaultdict[tuple[int, str | None], set[str]] = defaultdict(set)
    for number, window, mapping in filter(None, map(look_of, staging.names(LOOKS))):
        latest[window] = max(number, latest.get(window, 0))
        mappings[number, window].add(mapping)
    number = max(latest.values(), default=0)
    of_all = latest.pop(None, 0)
    return Looks(
        number=number,
        last={
            window: mappings[max(own, of_all), window] | mappings[max(own, of_all), None]
            for window, own in latest.items()
            if window
        },
    )


def note_look(staging: StagingHook, before: Looks, mapping: str) -> None:
    """Take note that all windows were looked at.

    :param before: what was said before it began.
    """
    staging.claim(look_name(before.number + 1, None, mapping))


def note_decided(staging: StagingHook, window: Window, mapping: str) -> None:
    """Take note that a window was decided on, once the decision is kept."""
    staging.claim(look_name(looks_so_far(staging).number + 1, window.name, mapping))
