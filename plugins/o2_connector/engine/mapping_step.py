"""Mapping step: decide on a window's items, stage the deliveries, and let wait what has nobody yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec
import numpy as np
from msgspec import structs

from o2_connector.core.changes import compare
from o2_connector.core.conversion import IndexRow
from o2_connector.core.coverage import cover, numbers_seen
from o2_connector.core.layout import looked_name, run_stem
from o2_connector.core.manifest import ConvertedBatch, Decision, DecisionRecord, StagedObject
from o2_connector.core.mapping import CAUSES, NOBODY
from o2_connector.core.parked import Leaving, Person, Waiting, by_item
from o2_connector.core.report import Changes, Detail
from o2_connector.core.tables import Items, Participants, read_participants
from o2_connector.core.window import Window
from o2_connector.engine.history import decided_by, heard_in, last_record
from o2_connector.engine.park import park, waiting_in
from o2_connector.engine.rules import MappingRules, Ruling, read_book, row_details, rule, ruled_deliveries
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
    run = run_stem(window, asked.run_id)
    book, mapping = read_book(staging, rules)
    items, participants = read_items(staging, batches)
    ruling = rule(staging, rules, book, items, participants, run=run, at=asked.at)
    seen = list(numbers_seen(ruling.candidates, ruling.decisions, items))
    heard = heard_in(staging, window.end - timedelta(days=silent_days), window.start)
    if heard is not None:
        heard.update(each.number for each in seen)
    coverage = cover(window, book, seen, silent_days=silent_days, heard=heard)
    packs = tuple(batch.messages for batch in batches)
    rows = ruled_deliveries(items, ruling, tasks=asked.tasks)
    before = waiting_in(staging, window)
    waiting = [
        (number, structs.replace(each, parked=before[each.id].parked) if each.id in before else each)
        for number, each in _waiting(items, participants, ruling, packs, window, asked.at)
    ]
    decision = Decision(
        window=window,
        mapping=mapping,
        rows=len(book.rows),
        rows_used=len(ruling.candidates.used_rows()),
        directory=ruling.said,
        items=len(items),
        items_parked=len(ruling.decisions.parked),
        items_waiting=sum(not each.is_parked for _, each in waiting),
        shards=tuple(write_shards(staging, run, window, packs, rows, tasks=asked.tasks, dry_run=asked.dry_run)),
        details=staging.write_lines(
            f"{run}details.", [*row_details(ruling, rules.region), *(waiting_detail(each) for _, each in waiting)]
        ),
        numbers=staging.write_lines(f"{run}numbers.", seen),
        coverage=staging.write_lines(f"{run}coverage.", [coverage]),
        leaving=None if asked.dry_run else _park(staging, run, items, waiting, before),
        changes=_changes(staging, run, window, items, participants, ruling) if asked.dry_run else None,
    )
    keep_record(staging, run, rules, asked, decision, batches, ruling)
    if not asked.dry_run:
        staging.claim(looked_name(window.name, mapping.sha256))
    return decision


def read_items(staging: StagingHook, batches: Sequence[ConvertedBatch]) -> tuple[Items, Participants]:
    """Read every batch's index and participants."""
    items = Items()
    decoder = msgspec.json.Decoder(IndexRow)
    firsts = []
    for number, batch in enumerate(batches):
        firsts.append(len(items))
        with staging.reader(batch.index) as lines:
            for line in lines:
                row = decoder.decode(line)
                items.add(
                    item_id=row.item_id,
                    key=row.key,
                    record=row.record,
                    sent=row.sent,
                    pack=number,
                    offset=row.message[0],
                    length=row.message[1],
                    attached=row.attached,
                    causes=row.causes,
                )

    def tables() -> Iterator[tuple[int, bytes]]:
        for first, batch in zip(firsts, batches, strict=True):
            with staging.reader(batch.participants) as content:
                yield first, content.read()

    return items, read_participants(tables())


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
    catch_all = ruling.directory[rules.catch_all.strip().lower()].mailbox if rules.catch_all else None
    record = DecisionRecord(
        run_id=asked.run_id,
        decided_at=asked.at,
        dry_run=asked.dry_run,
        decision=decision,
        batches=tuple(batches),
        region=rules.region,
        zone=str(rules.zone),
        by_number=rules.by_number,
        catch_all=catch_all,
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


def _waiting(
    items: Items,
    participants: Participants,
    ruling: Ruling,
    packs: Sequence[StagedObject],
    window: Window,
    at: datetime,
) -> Iterator[tuple[int, Waiting]]:
    """Yield what waits, with the item's number."""
    count = len(items)
    parked, served = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    parked[ruling.decisions.parked["row"]] = True
    people = ruling.decisions.participants
    served[people["row"].to_numpy()[people["mailbox"].to_numpy() >= 0]] = True
    for number, whom, why in people_waited_for(ruling, participants):
        pack, offset, length = items.place(number)
        yield (
            number,
            Waiting(
                item_id=items.item_ids[number],
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
                nobody=not served[number],
                caught=bool(not served[number] and not parked[number]),
                people=whom,
            ),
        )


def waiting_detail(each: Waiting) -> Detail:
    """Return what the report says of an item that waits."""
    outcome = "parked" if each.is_parked else "waiting"
    return Detail(item_id=each.item_id, outcome=outcome, cause=each.why, since=each.parked)


def _park(
    staging: StagingHook,
    run: str,
    items: Items,
    waiting: Sequence[tuple[int, Waiting]],
    before: Mapping[str, Waiting],
) -> StagedObject | None:
    """Let wait what has nobody yet; return what waits no longer when this run's deliveries are made.

    :param before: what waited already, by id.
    """
    repeats = items.repeats()
    now = {number: each for number, each in waiting if number not in repeats}
    park(staging, now.values(), before.keys())
    if not before:
        return None
    of_item = by_item(before)
    leaving = [
        Leaving(item=number, id=each.id, window=each.window)
        for number in range(len(items))
        if number not in repeats
        for each in of_item.get(items.key(number), ())
        if number not in now or now[number].id != each.id
    ]
    return staging.write_lines(f"{run}leaving.", leaving) if leaving else None


def _changes(
    staging: StagingHook, run: str, window: Window, items: Items, participants: Participants, ruling: Ruling
) -> StagedObject:
    """Say what the run would do otherwise than the last one that was no dry run."""
    return staging.write_lines(f"{run}changes.", [changes_since_last(staging, window, items, participants, ruling)])


def changes_since_last(
    staging: StagingHook, window: Window, items: Items, participants: Participants, ruling: Ruling
) -> Changes:
    """Compare a ruling with what the window's last run decided."""
    record = last_record(staging, window)
    sent = np.frombuffer(items.sent, dtype=np.int64)
    after = ruling.decisions
    before = (
        decided_by(staging, record, participants, sent)
        if record
        else replace(after, mailboxes=[], participants=after.participants.assign(mailbox=NOBODY))
    )
    return compare(before, after, ruling.candidates.numbers, against=record.run_id if record else None)
