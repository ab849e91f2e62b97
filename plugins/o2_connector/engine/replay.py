"""Replay: decide again on all that waits for a mailbox, and stage the deliveries that can be made now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

import numpy as np
from msgspec import structs

from o2_connector.core.layout import REPLAYS, looked_name, run_stem
from o2_connector.core.ledger import Delivery
from o2_connector.core.manifest import Decision, StagedObject
from o2_connector.core.parked import Leaving, Waiting, by_item, merged
from o2_connector.core.tables import Items, Participants, gathered
from o2_connector.core.window import Window
from o2_connector.engine.mapping_step import Asked, keep_record, people_waited_for, waiting_detail
from o2_connector.engine.newcomers import newcomers
from o2_connector.engine.park import all_waiting, park
from o2_connector.engine.rules import MappingRules, Ruling, read_book, row_details, rule, ruled_deliveries
from o2_connector.engine.shards import write_shards
from o2_connector.hooks.staging import StagingHook


def replay_parked(staging: StagingHook, rules: MappingRules, asked: Asked) -> Decision | None:
    """Decide again on all that waits; None where nothing does.

    The messages are those that were converted when the items were captured, with their dates. What an item still waits
    for is parked anew before it leaves.
    """
    book, mapping = read_book(staging, rules)
    missed, windows = newcomers(staging, book, mapping.sha256)
    before = all_waiting(staging, missed)
    if not asked.dry_run:
        park(staging, missed, ())
        for window in windows:  # no sooner than what was found there waits
            staging.claim(looked_name(window, mapping.sha256))
    if not before:
        return None
    of_item = list(by_item(before).values())
    entries = [merged(each) for each in of_item]
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
        run=run,
        at=asked.at,
        uncaught=np.array([each.is_parked for each in entries], dtype=bool),
    )
    delivered = set(ruling.decisions.deliveries["row"].tolist())
    rest = dict(_rest(ruling, entries, delivered, participants))
    if not asked.dry_run:
        park(staging, (each for number, each in rest.items() if number in delivered), before.keys())
    leaving = [
        Leaving(item=number, id=each.id, window=each.window)
        for number in sorted(delivered)
        for each in of_item[number]
        if number not in rest or rest[number].id != each.id
    ]
    used = sorted({items.place(number)[0] for number in delivered})
    decision = Decision(
        window=span,
        mapping=mapping,
        rows=len(book.rows),
        rows_used=len(ruling.candidates.used_rows()),
        directory=ruling.said,
        items=len(items),
        items_parked=len(items) - len(delivered),
        items_waiting=sum(number in delivered for number in rest),
        shards=tuple(
            write_shards(
                staging,
                run,
                span,
                tuple(packs[pack] for pack in used),
                _repacked(ruled_deliveries(items, ruling, tasks=asked.tasks), used),
                tasks=asked.tasks,
                dry_run=asked.dry_run,
            )
        ),
        details=staging.write_lines(
            f"{run}details.",
            [*row_details(ruling, rules.region), *(waiting_detail(rest[number]) for number in sorted(rest))],
        ),
        leaving=None if asked.dry_run or not leaving else staging.write_lines(f"{run}leaving.", leaving),
    )
    keep_record(staging, run, rules, asked, decision, (), ruling)
    return decision


def _span(entries: Sequence[Waiting]) -> Window:
    windows = [window for window in (Window.named(each.window) for each in entries) if window]
    return Window(start=min(each.start for each in windows), end=max(each.end for each in windows))


def _items(entries: Sequence[Waiting], packs: Sequence[StagedObject]) -> Items:
    place = {pack: number for number, pack in enumerate(packs)}
    items = Items()
    for each in entries:
        items.add(
            item_id=each.item_id,
            key=each.key,
            record=each.record,
            sent=each.sent,
            pack=place[each.pack],
            offset=each.offset,
            length=each.length,
            attached=each.attached,
            causes=each.causes,
        )
    return items


def _rest(
    ruling: Ruling, entries: Sequence[Waiting], delivered: Set[int], participants: Participants
) -> Iterator[tuple[int, Waiting]]:
    """Yield what still waits, by the item's number."""
    people = ruling.decisions.participants
    served = set(people["row"].to_numpy()[people["mailbox"].to_numpy() >= 0].tolist())
    for number, whom, why in people_waited_for(ruling, participants):
        entry = entries[number]
        nobody = entry.nobody and number not in served
        caught = nobody and (entry.caught or number in delivered)
        yield number, structs.replace(entry, people=whom, why=why, nobody=nobody, caught=caught)


def _repacked(rows: Iterable[Delivery], used: Sequence[int]) -> Iterator[Delivery]:
    """Number the packs anew, so that a shard names no others than those that its rows lie in."""
    place = {pack: number for number, pack in enumerate(used)}
    for row in rows:
        yield structs.replace(row, pack=place[row.pack])
