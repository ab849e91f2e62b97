"""Comparison: what the mapping files, as they are now, would do to windows that are archived already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from o2_connector.core.changes import Difference, compare
from o2_connector.core.mapping import Decisions
from o2_connector.core.phone_book import PhoneBook
from o2_connector.core.window import Window
from o2_connector.engine.history import delivered_since, last_record
from o2_connector.engine.mapping_step import read_items
from o2_connector.engine.rules import MappingRules, rule
from o2_connector.engine.windows import windows_in
from o2_connector.hooks.staging import StagingHook


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """Hold what would change in one window.

    :param decided_at: when its last run decided.
    :param parked: items that nobody gets, before and after.
    :param caught: items that the catch-all mailbox gets, before and after.
    """

    window: Window
    decided_at: datetime
    difference: Difference
    parked: tuple[int, int]
    caught: tuple[int, int]


def archived(staging: StagingHook, span: Window) -> tuple[list[Window], list[Window]]:
    """Return the windows in staging that lie within a span, and those that reach beyond it."""
    within: list[Window] = []
    beyond: list[Window] = []
    for window in windows_in(staging, span):
        (within if span.start <= window.start and window.end <= span.end else beyond).append(window)
    return within, beyond


def compare_each(
    staging: StagingHook, rules: MappingRules, book: PhoneBook, windows: list[Window], *, at: datetime
) -> Iterator[Compared]:
    """Compare one window after the other; one that no run has delivered from is left out.

    What the directory says is remembered in staging, as by a run; nothing else is kept, and no mailbox is written to.

    :raises StopError: when the catch-all mailbox is none.
    """
    for window in windows:
        if compared := _compare(staging, rules, book, window, at):
            yield compared


def _compare(
    staging: StagingHook, rules: MappingRules, book: PhoneBook, window: Window, at: datetime
) -> Compared | None:
    record = last_record(staging, window)
    if record is None:
        return None
    items, participants = read_items(staging, record.batches)
    before = delivered_since(staging, window, record, items, participants)
    ruling = rule(staging, rules, book, items, participants, at=at)
    both = before, ruling.decisions
    parked, caught = zip(*(_nobodys(each, len(items)) for each in both), strict=True)
    return Compared(
        window=window,
        decided_at=record.decided_at,
        difference=compare(*both, ruling.candidates, items.repeats()),
        parked=parked,
        caught=caught,
    )


def _nobodys(decisions: Decisions, items: int) -> tuple[int, int]:
    """Return how many items nobody gets, and how many the catch-all mailbox gets."""
    served = int(decisions.served(items).sum())
    return len(decisions.parked), items - served - len(decisions.parked)
