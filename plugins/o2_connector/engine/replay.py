"""Replay: decide again on all that waits for a mailbox, and stage the deliveries that can be made now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

import numpy as np
from msgspec import structs

from o2_connector.core.layout import REPLAYS, run_stem
from o2_connector.core.ledger import Delivery
from o2_connector.core.manifest import Decision, StagedObject
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.core.parked import Leaving, Park, Waiting, merged
from o2_connector.core.tables import Items, Participants, gathered
from o2_connector.core.window import Window
from o2_connector.engine.looks import looks_so_far, note_look
from o2_connector.engine.mapping_step import Asked, keep_record, people_served, people_waited_for, waiting_detail
from o2_connector.engine.newcomers import newcomers
from o2_connector.engine.park import park, park_of, part
from o2_connector.engine.rules import MappingRules, Ruling, keep_said, read_book, row_details, rule, ruled_deliveries
from o2_connector.engine.shards import write_shards
from o2_connector.hooks.staging import StagingHook


def replay_parked(staging: StagingHook, rules: MappingRules, asked: Asked) -> Decision | None:
    """Decide again on all that waits; None where nothing does.

    The messages are those that were converted when the items were captured, with their dates. What an item still waits
    for is parked anew before it leaves.
    """
    book, mapping = read_book(staging, rules)
    before = park_of(staging)
    looks = looks_so_far(staging)
    missed = [before.named(each) for each in newcomers(staging, looks, book, mapping.sha256, before.gone)]
    if not asked.dry_run:
        park(staging, missed, before.waiting.keys())
        if any(mappings != {mapping.sha256} for mappings in looks.last.values()):
            note_look(staging, looks, mapping.sha256)  # no sooner than what was found waits
    before = replace(before, waiting={**before.waiting, **{each.id: each for each in missed}})
    if not before.waiting:
        return None
    of_record = list(before.by_record().values())
    entries = [merged(each) for each in of_record]
    span = _span(entries)
    run = run_stem(span, asked.run_id, REPLAYS)
    packs = list(dict.fromkeys(each.pack for each in entries))
    items = _items(entries, packs)
    participants = gathered([(person.phone, person.email, person.side) for person in each.people] for each in entries)
    ruling = rule(
        staging,
        rules,
        book,
        items,
        participants,
        at=asked.at,
        uncaught=np.array([each.is_parked for each in entries], dtype=bool),
    )
    delivered = set(ruling.decisions.deliveries["row"].tolist())
    rest = {number: before.named(each) for number, each in _rest(ruling, entries, delivered, participants)}
    gone = [] if asked.dry_run else _part(staging, before, of_record, ruling, participants, rest, delivered)
    used = sorted({items.place(number)[0] for number in delivered})
    decision = Decision(
        window=span,
        mapping=mapping,
        rows=len(book.rows),
        rows_used=len(ruling.candidates.used_rows()),
        directory=keep_said(staging, run, ruling),
        items=len(items),
        items_parked=sum(each.is_parked for each in rest.values()),
        items_waiting=sum(not each.is_parked for each in rest.values()),
        items_unserved=sum(number not in delivered and not each.is_parked for number, each in rest.items()),
        shards=tuple(
            write_shards(
                staging,
                run,
                span,
                tuple(packs[pack] for pack in used),
                _repacked(ruled_deliveries(items, ruling, repeats={}, tasks=asked.tasks), used),
                tasks=asked.tasks,
                dry_run=asked.dry_run,
            )
        ),
        details=staging.write_lines(
            f"{run}details.",
            [*row_details(ruling), *(waiting_detail(rest[number]) for number in sorted(rest))],
        ),
        leaving=staging.write_lines(f"{run}leaving.", gone) if gone else None,
    )
    keep_record(staging, run, rules, asked, decision, (), ruling)
    return decision


def _span(entries: Sequence[Waiting]) -> Window:
    windows = [window for window in (Window.named(each.window) for each in entries) if window]
    return Window(start=min(each.start for each in windows), end=max(each.end for each in windows))


def _items(entries: Sequence[Waiting], packs: Sequence[StagedObject]) -> Items:
    place = {pack: number for number, pack in enumerate(packs)}
    items = Items()
    items.extend(entries, [place[each.pack] for each in entries])
    return items


def _rest(
    ruling: Ruling, entries: Sequence[Waiting], delivered: Set[int], participants: Participants
) -> Iterator[tuple[int, Waiting]]:
    """Yield what still waits, by the item's number."""
    served = ruling.decisions.served(len(entries))
    for number, whom, why in people_waited_for(ruling, participants):
        entry = entries[number]
        nobody = bool(entry.nobody and not served[number])
        caught = nobody and (entry.caught or number in delivered)
        yield number, structs.replace(entry, people=whom, why=why, nobody=nobody, caught=caught)


def _part(
    staging: StagingHook,
    before: Park,
    of_record: Sequence[Sequence[Waiting]],
    ruling: Ruling,
    participants: Participants,
    rest: Mapping[int, Waiting],
    delivered: Set[int],
) -> list[Leaving]:
    """Let wait what is left of the items that are delivered; return what is gone when they are."""
    park(staging, (each for number, each in rest.items() if number in delivered), before.waiting.keys())
    entries = {number: of_record[number] for number in delivered}
    return part(staging, before, entries, people_served(ruling, participants, entries), rest)


def _repacked(rows: Iterable[Delivery], used: Sequence[int]) -> Iterator[Delivery]:
    """Number the packs anew, so that a shard names no others than those that its rows lie in.

    Two windows may have different records of one item, which is a contradiction: a mailbox gets the first, as from the
    windows' own runs, and the other's receipt says why it did not.
    """
    place = {pack: number for number, pack in enumerate(used)}
    for _, same in groupby(rows, key=attrgetter("mailbox")):
        keys: set[str] = set()
        for row in same:
            again = (Outcome.SKIPPED, Cause.CONFLICTING_ITEM) if row.key in keys else None
            keys.add(row.key)
            yield structs.replace(row, pack=place[row.pack], settled=again)
