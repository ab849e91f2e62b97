"""History: what earlier runs decided, as they left it in staging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from datetime import datetime

import msgspec
import numpy as np

from o2_connector.core.coverage import NumberSeen
from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.layout import REPLAYS, WINDOWS, export_stem, runs_stem
from o2_connector.core.ledger import Delivery, read_delivery
from o2_connector.core.manifest import ConvertedBatch, DecisionRecord, Shard
from o2_connector.core.mapping import NOBODY, Decisions, decide, find_candidates
from o2_connector.core.outcomes import Cause
from o2_connector.core.phone_book import thawed
from o2_connector.core.source import Export
from o2_connector.core.tables import Items, Participants
from o2_connector.core.window import Window
from o2_connector.engine.rules import Said
from o2_connector.engine.windows import windows_in
from o2_connector.hooks.staging import StagingHook


def records_of(staging: StagingHook, window: Window) -> list[DecisionRecord]:
    """Return the decisions on a window by which deliveries were made, the last one first; of the same batches one."""
    records = (record for record in _records(staging, window) if not record.dry_run)
    last: dict[tuple[ConvertedBatch, ...], DecisionRecord] = {}
    for record in sorted(records, key=lambda record: record.decided_at, reverse=True):
        last.setdefault(record.batches, record)
    return list(last.values())


def last_record(staging: StagingHook, window: Window) -> DecisionRecord | None:
    """Return the last decision on a window by which deliveries were made, or None where there is none."""
    return next(iter(records_of(staging, window)), None)


def heard_in(staging: StagingHook, start: datetime, end: datetime, among: Set[str]) -> set[str] | None:
    """Return which numbers had items in a span of time; None where not all of it is archived."""
    heard: set[str] = set()
    if start >= end:
        return heard
    covered = start
    for window in windows_in(staging, Window(start=start, end=end)):
        records = list(_records(staging, window))
        if window.start <= covered and (records or _was_empty(staging, window)):
            covered = max(covered, window.end)
        for record in records:
            if record.decision.numbers:
                seen = (each.number for each in staging.read_lines(record.decision.numbers, NumberSeen))
                heard.update(number for number in seen if number in among)
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
    return decide(len(sent), candidates, directory, by_number, record.catch_all)


def delivered_since(
    staging: StagingHook, window: Window, record: DecisionRecord, items: Items, participants: Participants
) -> Decisions:
    """Decide on a window's participants as its last run and the replays after it have.

    What those replays did is in `participants` and `parked` alone.

    :param record: that run's.
    """
    sent = np.frombuffer(items.sent, dtype=np.int64)
    made = decided_by(staging, record, participants, sent)
    numbers: dict[str, int] = {}
    for replay in _replays(staging, window, record.decided_at):
        numbers = numbers or {items.key(number): number for number in range(len(items))}
        rows = [
            (numbers[each.key], each.mailbox)
            for shard in replay.decision.shards
            for each in read_deliveries(staging, shard)
            if each.key in numbers
        ]
        if rows:
            made = _with_more(made, decided_by(staging, replay, participants, sent), rows)
    return made


def read_deliveries(staging: StagingHook, shard: Shard) -> Iterator[Delivery]:
    """Read what a shard is to deliver."""
    with staging.reader(shard.deliveries) as lines:
        next(lines, None)  # the packs
        for line in lines:
            yield read_delivery(line)


def _replays(staging: StagingHook, window: Window, after: datetime) -> list[DecisionRecord]:
    """Return the replays after a time that may have delivered items of a window, by time."""
    spans = windows_in(staging, window, REPLAYS)
    records = [record for span in spans for record in _records(staging, span, REPLAYS)]
    wanted = (each for each in records if not each.dry_run and each.decided_at > after and each.decision.shards)
    return sorted(wanted, key=lambda record: record.decided_at)


def _with_more(made: Decisions, by_then: Decisions, rows: Sequence[tuple[int, str]]) -> Decisions:
    """Add a replay's deliveries: to whom it found a mailbox that they had not before.

    :param by_then: its decision.
    :param rows: item and mailbox of each of its deliveries.
    """
    mailboxes = sorted({*made.mailboxes, *by_then.mailboxes, *(mailbox for _, mailbox in rows)})
    place = {mailbox: number for number, mailbox in enumerate(mailboxes)}
    had, found = (
        np.array([*(place[mailbox] for mailbox in each.mailboxes), NOBODY])[each.participants["mailbox"].to_numpy()]
        for each in (made, by_then)
    )
    delivered = [row * len(mailboxes) + place[mailbox] for row, mailbox in rows]
    whom = made.participants["row"].to_numpy().astype(np.int64) * len(mailboxes) + found
    new = (had == NOBODY) & (found != NOBODY) & np.isin(whom, delivered)
    return replace(
        made,
        mailboxes=mailboxes,
        participants=made.participants.assign(mailbox=np.where(new, found, had)),
        parked=made.parked[~made.parked["row"].isin([row for row, _ in rows])],
    )


def _was_empty(staging: StagingHook, window: Window) -> bool:
    """Tell whether the source said that a window has nothing, so that nothing was decided."""
    for name in staging.names(export_stem(window)):
        with staging.reader(staging.staged(name)) as content:
            if not msgspec.json.decode(content.read(), type=Export).item_count:
                return True
    return False


def _records(staging: StagingHook, window: Window, root: str = WINDOWS) -> Iterator[DecisionRecord]:
    for name in staging.names(runs_stem(window, root)):
        if "/decision." in name:
            yield from staging.read_lines(staging.staged(name), DecisionRecord)
