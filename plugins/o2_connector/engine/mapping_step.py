"""Mapping step: decide on a window's items, stage the deliveries, and let wait what has nobody yet."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain

import msgspec
import numpy as np

from o2_connector.core.changes import compare
from o2_connector.core.conversion import IndexRow
from o2_connector.core.coverage import NumberSeen, cover, numbers_seen
from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import run_stem
from o2_connector.core.manifest import ConvertedBatch, Decision, DecisionRecord, StagedObject
from o2_connector.core.mapping import CAUSES, NOBODY
from o2_connector.core.outcomes import Cause
from o2_connector.core.parked import Park, Person, Waiting
from o2_connector.core.phone_book import PhoneBook
from o2_connector.core.report import Changes, Coverage, Detail
from o2_connector.core.tables import Items, Participants, read_participants
from o2_connector.core.window import Window
from o2_connector.engine.history import delivered_since, heard_in, last_record
from o2_connector.engine.looks import note_decided
from o2_connector.engine.park import park, park_of, part
from o2_connector.engine.rules import MappingRules, Ruling, keep_said, read_book, row_details, rule, ruled_deliveries
from o2_connector.engine.shards import write_shards
from o2_connector.hooks.staging import StagingHook


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Say which run asks.

    :param at: when it decides.
    :param tasks: over how many import tasks the mailboxes are shared out.
    :param dry_run: nothing is to be written to a mailbox, and nothing waits on its account.
    """

    run_id: str
    at: datetime
    tasks: int
    dry_run: bool


def map_window(
    staging: StagingHook,
    rules: MappingRules,
    window: Window,
    batches: Sequence[ConvertedBatch],
    asked: Asked,
    *,
    silent_days: int,
) -> Decision:
    """Decide on the items of a window.

    :param silent_days: how many days without an item make an enrolled number silent.
    """
    gc.freeze()  # Airflow's hundreds of thousands of objects need not be looked through again and again
    run = run_stem(window, asked.run_id)
    items, participants = read_items(staging, batches)
    book, mapping = read_book(staging, rules)
    ruling = rule(staging, rules, book, items, participants, at=asked.at)
    seen = staging.write_lines(f"{run}numbers.", numbers_seen(ruling.candidates, ruling.decisions, items))
    packs = tuple(batch.messages for batch in batches)
    repeats = items.repeats()
    rows = ruled_deliveries(items, ruling, repeats=repeats, tasks=asked.tasks)
    before = park_of(staging, window)
    waiting = [
        (number, before.named(each)) for number, each in _waiting(items, participants, ruling, packs, window, asked.at)
    ]
    decision = Decision(
        window=window,
        mapping=mapping,
        rows=len(book.rows),
        rows_used=len(ruling.candidates.used_rows()),
        directory=keep_said(staging, run, ruling),
        items=len(items),
        items_parked=len(ruling.decisions.parked),
        items_waiting=sum(not each.is_parked for _, each in waiting),
        shards=tuple(write_shards(staging, run, window, packs, rows, tasks=asked.tasks, dry_run=asked.dry_run)),
        details=staging.write_lines(
            f"{run}details.",
            chain(
                row_details(ruling),
                (waiting_detail(each, repeats.get(number)) for number, each in waiting),
            ),
        ),
        numbers=seen,
        coverage=staging.write_lines(f"{run}coverage.", [_coverage(staging, window, book, seen, silent_days)]),
        leaving=None if asked.dry_run else _park(staging, run, items, participants, ruling, waiting, before, repeats),
        changes=staging.write_lines(f"{run}changes.", [_changes(staging, window, items, participants, ruling, repeats)])
        if asked.dry_run
        else None,
    )
    keep_record(staging, run, rules, asked, decision, batches, ruling)
    if not asked.dry_run:
        note_decided(staging, window, mapping.sha256)
    return decision


def read_items(staging: StagingHook, batches: Sequence[ConvertedBatch]) -> tuple[Items, Participants]:
    """Read every batch's index and participants."""

    def tables() -> Iterator[tuple[int, bytes]]:
        first = 0
        for batch in batches:
            with staging.reader(batch.participants) as content:
                yield first, content.read()
            first += batch.converted

    participants = read_participants(tables())  # first, for it takes much memory for a moment
    items = Items()
    decoder = msgspec.json.Decoder(IndexRow)
    for number, batch in enumerate(batches):
        with staging.reader(batch.index) as lines:
            rows = decoder.decode_lines(lines.read())
        if len(rows) != batch.converted:
            raise IntegrityError(f"{batch.index.name} has {len(rows)} items, its manifest says {batch.converted}")
        items.extend(rows, [number] * len(rows))
    return items, participants


def keep_record(
    staging: StagingHook,
    run: str,
    rules: MappingRules,
    asked: Asked,
    decision: Decision,
    batches: Sequence[ConvertedBatch],
    ruling: Ruling,
) -> None:
    """Keep the decision for whoever asks years later."""
    record = DecisionRecord(
        run_id=asked.run_id,
        decided_at=asked.at,
        dry_run=asked.dry_run,
        decision=decision,
        batches=tuple(batches),
        region=rules.region,
        zone=str(rules.zone),
        by_number=rules.by_number,
        catch_all=ruling.catch_all,
    )
    staging.write_lines(f"{run}decision.", [record])


def people_waited_for(ruling: Ruling, participants: Participants) -> Iterator[tuple[int, tuple[Person, ...], str]]:
    """Yield each item that waits: its number, whom it waits for, and why."""
    decisions, table = ruling.decisions, participants.table
    person = decisions.waiting["person"].to_numpy()
    columns = (
        decisions.waiting["row"],
        table["phone"].iloc[person],
        table["email"].iloc[person],
        table["side"].iloc[person],
        decisions.participants["cause"].iloc[person],
    )
    phones, emails = participants.phones, participants.emails
    people: list[Person] = []
    at, why = -1, len(CAUSES)
    for row, phone, email, side, cause in zip(*(column.tolist() for column in columns), strict=True):
        if row != at and people:
            yield at, tuple(people), CAUSES[why]
            people, why = [], len(CAUSES)
        at, why = row, min(why, cause)
        people.append(Person(phones[phone], emails[email], side))
    if people:
        yield at, tuple(people), CAUSES[why]


def _coverage(
    staging: StagingHook, window: Window, book: PhoneBook, numbers: StagedObject, silent_days: int
) -> Coverage:
    enrolled = set(book.rows["number"].tolist())
    heard = heard_in(staging, window.end - timedelta(days=silent_days), window.start, enrolled)
    if heard is not None:
        heard |= enrolled.intersection(each.number for each in staging.read_lines(numbers, NumberSeen))
    seen = staging.read_lines(numbers, NumberSeen)
    return cover(window, book, seen, silent_days=silent_days, heard=heard)


def _waiting(
    items: Items,
    participants: Participants,
    ruling: Ruling,
    packs: Sequence[StagedObject],
    window: Window,
    at: datetime,
) -> Iterator[tuple[int, Waiting]]:
    """Yield what waits, with the item's number."""
    parked, served = np.zeros(len(items), dtype=bool), ruling.decisions.served(len(items))
    parked[ruling.decisions.parked["row"]] = True
    for number, whom, why in people_waited_for(ruling, participants):
        yield (
            number,
            waiting_item(
                items,
                number,
                packs,
                window,
                at,
                why=why,
                nobody=not served[number],
                caught=bool(not served[number] and not parked[number]),
                people=whom,
            ),
        )


def waiting_item(
    items: Items,
    number: int,
    packs: Sequence[StagedObject],
    window: Window,
    at: datetime,
    *,
    why: str,
    nobody: bool,
    people: tuple[Person, ...],
    caught: bool = False,
) -> Waiting:
    """Return what is kept of an item that waits; see :class:`Waiting`.

    :param packs: those that the items refer to.
    :param at: since when it waits.
    """
    pack, offset, length = items.place(number)
    return Waiting(
        item_id=items.item_id(number),
        key=items.key(number),
        record=items.record(number),
        sent=items.sent[number],
        attached=items.attached(number),
        causes=items.causes(number),
        pack=packs[pack],
        offset=offset,
        length=length,
        window=window.name,
        parked=int(at.timestamp() * 1000),
        why=why,
        nobody=nobody,
        caught=caught,
        people=people,
    )


def waiting_detail(each: Waiting, repeats: bool | None = None) -> Detail:
    """Return what the report says of an item that waits.

    :param repeats: of one that came before, and waits for nobody on its own account: whether it is another record.
    """
    why = each.why if repeats is None else Cause.CONFLICTING_ITEM if repeats else Cause.SAME_ITEM_AGAIN
    return Detail(item_id=each.item_id, outcome="parked" if each.is_parked else "waiting", cause=why, since=each.parked)


def people_served(ruling: Ruling, participants: Participants, numbers: Collection[int]) -> dict[int, set[Person]]:
    """Return who of each of some items' participants gets it."""
    table, people = participants.table, ruling.decisions.participants
    row = table["row"].to_numpy()
    some = np.flatnonzero((people["mailbox"].to_numpy() >= 0) & np.isin(row, np.fromiter(numbers, dtype=np.int64)))
    columns = (table[name].to_numpy()[some].tolist() for name in ("row", "phone", "email", "side"))
    served: dict[int, set[Person]] = {number: set() for number in numbers}
    for number, phone, email, side in zip(*columns, strict=True):
        served[number].add(Person(participants.phones[phone], participants.emails[email], side))
    return served


def _park(
    staging: StagingHook,
    run: str,
    items: Items,
    participants: Participants,
    ruling: Ruling,
    waiting: Sequence[tuple[int, Waiting]],
    before: Park,
    repeats: Collection[int],
) -> StagedObject | None:
    """Let wait what has nobody yet; return what is gone when this run's deliveries are made.

    :param before: what waited already.
    :param repeats: numbers of the items that came before: they wait for nobody on their own account.
    """
    now = {number: each for number, each in waiting if number not in repeats}
    park(staging, now.values(), before.waiting.keys())
    if not before.waiting:
        return None
    records = before.by_record()
    entries = {
        number: found
        for number in range(len(items))
        if number not in repeats and (found := records.get((items.key(number), items.record(number))))
    }
    gone = part(staging, before, entries, people_served(ruling, participants, entries), now)
    return staging.write_lines(f"{run}leaving.", gone) if gone else None


def _changes(
    staging: StagingHook,
    window: Window,
    items: Items,
    participants: Participants,
    ruling: Ruling,
    repeats: Collection[int],
) -> Changes:
    """Compare a ruling with what the window's last run that was no dry run decided.

    :param repeats: numbers of the items that came before.
    """
    record = last_record(staging, window)
    after = ruling.decisions
    before = (
        delivered_since(staging, window, record, items, participants)
        if record
        else replace(after, mailboxes=[], participants=after.participants.assign(mailbox=NOBODY))
    )
    return compare(before, after, ruling.candidates, repeats).changes(record.run_id if record else None)
