"""History: what earlier runs decided, as they left it in staging."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np

from o2_connector.core.coverage import NumberSeen
from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.layout import WINDOWS, runs_stem
from o2_connector.core.manifest import DecisionRecord
from o2_connector.core.mapping import Decisions, decide, find_candidates
from o2_connector.core.outcomes import Cause
from o2_connector.core.phone_book import thawed
from o2_connector.core.tables import Participants
from o2_connector.core.window import Window
from o2_connector.engine.rules import Said
from o2_connector.hooks.staging import StagingHook


def windows_in(staging: StagingHook, span: Window) -> Iterator[Window]:
    """Yield every window that was ever archived and shares time with a span, in order."""
    for name in staging.folders(WINDOWS):
        window = Window.named(name)
        if window and window.overlaps(span):
            yield window


def last_record(staging: StagingHook, window: Window) -> DecisionRecord | None:
    """Return the last decision on a window by which deliveries were made, or None where there is none."""
    records = (record for record in _records(staging, window) if not record.dry_run)
    return max(records, key=lambda record: record.decided_at, default=None)


def heard_in(staging: StagingHook, start: datetime, end: datetime) -> set[str] | None:
    """Return every number that had items in a span of time; None where not all of it is archived."""
    heard: set[str] = set()
    if start >= end:
        return heard
    covered = start
    for window in windows_in(staging, Window(start=start, end=end)):
        records = list(_records(staging, window))
        if records and window.start <= covered:
            covered = max(covered, window.end)
        for record in records:
            if record.decision.numbers:
                heard.update(each.number for each in staging.read_lines(record.decision.numbers, NumberSeen))
    return heard if covered >= end else None


def decided_by(staging: StagingHook, record: DecisionRecord, participants: Participants, sent: np.ndarray) -> Decisions:
    """Decide on participants as a run of the past would have: by its mapping and what the directory told it.

    What it never asked the directory leads nowhere.
    """
    with staging.reader(record.decision.mapping) as content:
        book = thawed(content.read())
    candidates = find_candidates(participants, sent, book, record.region)
    said = list(staging.read_lines(record.decision.directory, Said))
    directory = {each.entry.address: each.entry for each in said if each.number is None}
    for address in candidates.addresses() - directory.keys():
        directory[address] = DirectoryEntry(address=address, cause=Cause.NO_USER, asked=0)
    by_number = {each.number: each.entry for each in said if each.number is not None}
    return decide(len(sent), candidates, directory, by_number)


def _records(staging: StagingHook, window: Window) -> Iterator[DecisionRecord]:
    for name in staging.names(runs_stem(window)):
        if "/decision." in name:
            yield from staging.read_lines(staging.staged(name), DecisionRecord)
