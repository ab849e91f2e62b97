"""Explanation, of what was decided: an item's deliveries and what came of them, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from o2_connector.core.explanation import Answer, DecisionTold, DeliveryTold, Standing, WaitTold, who
from o2_connector.core.layout import (
    REPLAYS,
    WINDOWS,
    gone_stem,
    intents_stem,
    receipts_stem,
    runs_stem,
    segment_of,
    waiting_stem,
)
from o2_connector.core.ledger import Delivery, Intent, Receipt, outranks, read_delivery, read_packs
from o2_connector.core.manifest import DecisionRecord
from o2_connector.core.outcomes import Outcome
from o2_connector.core.parked import Gone, Leaving, Waiting
from o2_connector.core.report import Detail
from o2_connector.core.window import Window
from o2_connector.engine.explanation_records import Batch, Made
from o2_connector.engine.finding import ANY, Finder, lines_in, written
from o2_connector.engine.windows import windows_in


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """Hold a decision.

    :param names: the objects of its run.
    """

    record: DecisionRecord
    replay: bool
    names: tuple[str, ...]


def decided_on(finder: Finder, windows: Sequence[Window]) -> list[Decided]:
    """Return the decisions that may be about items of some windows, by time: of their runs, and of replays."""
    spans = {span for window in windows for span in windows_in(finder.staging, window, REPLAYS)}
    folders = [(window, WINDOWS) for window in windows] + [(span, REPLAYS) for span in sorted(spans)]
    decided = [each for window, root in folders for each in _decisions(finder, window, root)]
    return sorted(decided, key=lambda each: each.record.decided_at)


def told_of_decisions(
    finder: Finder, item_id: str, decided: Sequence[Decided], batches: Sequence[Batch], made: Made, personal: bool
) -> Iterator[DecisionTold]:
    """Yield the decisions that are about the item."""
    indexes = {index for batch in batches for index, _ in batch.rows}
    messages = {
        (made[index].messages.name, row.message[0]): row.record
        for batch in batches
        for index, row in batch.rows
        if index in made
    }
    for each in decided:
        if not each.replay and indexes.isdisjoint(batch.index.name for batch in each.record.batches):
            continue
        deliveries = tuple(_deliveries(finder, item_id, each, messages, personal))
        standings = tuple(_standings(finder, item_id, each))
        if deliveries or standings or not each.replay:
            yield DecisionTold(
                run_id=each.record.run_id,
                span=each.record.decision.window.name,
                replay=each.replay,
                dry_run=each.record.dry_run,
                decided_at=each.record.decided_at,
                mapping=each.record.decision.mapping.name,
                deliveries=deliveries,
                standings=standings,
                reports=tuple(name for name in each.names if "/report." in name and name.endswith(".csv")),
            )


def told_of_waits(
    finder: Finder, item_id: str, decided: Sequence[Decided], windows: Sequence[Window], personal: bool
) -> Iterator[WaitTold]:
    """Yield what was ever said to wait of the item, by time."""
    waits: dict[str, Waiting] = {}
    gone: set[str] = set()
    for window in windows:
        for name in finder.staging.names(waiting_stem(window.name)):
            for each in finder.rows(name, written("item_id", item_id), Waiting):
                if each.id not in waits or each.parked < waits[each.id].parked:
                    waits[each.id] = each
        if waits:
            for name in finder.staging.names(gone_stem(window.name)):
                gone.update(each.id for each in finder.rows(name, ANY, Gone))
    for waiting in sorted(waits.values(), key=lambda each: each.parked):
        yield WaitTold(
            window=waiting.window,
            record=waiting.record,
            since=waiting.parked,
            cause=waiting.why,
            nobody=waiting.nobody,
            caught=waiting.caught,
            people=tuple(who(each.phone, each.email, personal=personal) for each in waiting.people),
            gone=waiting.id in gone,
            by=_ended_by(finder, decided, waiting.id) if waiting.id in gone else None,
        )


def _decisions(finder: Finder, window: Window, root: str) -> Iterator[Decided]:
    names = list(finder.staging.names(runs_stem(window, root)))
    for name in names:
        if "/decision." in name:
            run = name[: name.rindex("/") + 1]
            for record in finder.rows(name, ANY, DecisionRecord):
                own = tuple(each for each in names if each.startswith(run))
                yield Decided(record=record, replay=root == REPLAYS, names=own)


def _deliveries(
    finder: Finder, item_id: str, decided: Decided, messages: Mapping[tuple[str, int], str], personal: bool
) -> Iterator[DeliveryTold]:
    shards = [shard.deliveries.name for shard in decided.record.decision.shards]
    for name, rows in finder.each(shards, partial(_rows, finder, item_id)):
        if not rows:
            continue
        receipts, intents = _ledger(finder, item_id, decided, name)
        for number, row, pack in rows:
            answers = sorted((each for _, each in receipts if each.delivery == number), key=lambda each: each.at)
            journals = {journal for journal, each in receipts if each.delivery == number}
            counts = _counting(answers)
            delivered = counts is not None and counts.outcome is not Outcome.FAILED
            yield DeliveryTold(
                record=messages.get((pack, row.offset)),
                mailbox=row.mailbox,
                address=_address(finder, decided, row.mailbox) if personal else None,
                rule=row.rule,
                place=row.place,
                settled=row.settled[1] if row.settled else None,
                answers=tuple(map(_answer, answers)),
                counts=_answer(counts) if counts else None,
                asked=not delivered
                and any(each.delivery == number and journal not in journals for journal, each in intents),
            )


def _rows(finder: Finder, item_id: str, name: str) -> list[tuple[int, Delivery, str]]:
    """Return the item's deliveries of a shard: number, delivery, and the pack that holds the message."""
    content = finder.content(name)
    found = lines_in(content, written("item_id", item_id))
    if not found:
        return []
    packs = read_packs(content[: content.index(b"\n")])
    rows = [(line - 2, read_delivery(row)) for line, row in found]  # the packs are line 1, delivery 0 is line 2
    return [(number, row, packs[row.pack].name) for number, row in rows]


def _ledger(
    finder: Finder, item_id: str, decided: Decided, deliveries: str
) -> tuple[list[tuple[str, Receipt]], list[tuple[str, Intent]]]:
    """Return what the ledger says of the item's deliveries of a shard, with the journal that says it."""
    receipts: list[tuple[str, Receipt]] = []
    intents: list[tuple[str, Intent]] = []
    stems = (receipts_stem(deliveries), intents_stem(deliveries))
    segments = [name for name in decided.names if name.startswith(stems)]
    for name, lines in finder.each(segments, partial(finder.lines, wanted=written("item_id", item_id))):
        segment = segment_of(name)
        if segment is None:
            continue
        if segment.intents:
            intents.extend((segment.journal, each) for each in finder.read(name, lines, Intent))
        else:
            receipts.extend((segment.journal, each) for each in finder.read(name, lines, Receipt))
    return receipts, intents


def _counting(answers: Sequence[Receipt]) -> Receipt | None:
    best: Receipt | None = None
    for each in answers:
        if best is None or outranks(each, best.outcome, best.at):
            best = each
    return best


def _answer(receipt: Receipt) -> Answer:
    return Answer(
        outcome=receipt.outcome,
        at=receipt.at,
        cause=receipt.cause,
        message=receipt.message,
        doubtful=receipt.doubtful,
    )


def _standings(finder: Finder, item_id: str, decided: Decided) -> Iterator[Standing]:
    details = decided.record.decision.details.name
    for each in finder.rows(details, written("item_id", item_id), Detail):
        yield Standing(outcome=each.outcome, cause=each.cause, since=each.since)


class _Entry(msgspec.Struct):
    address: str


class _Said(msgspec.Struct):
    entry: _Entry


def _address(finder: Finder, decided: Decided, mailbox: str) -> str | None:
    """Return by which address the directory led to a mailbox; the first of several."""
    said = finder.rows(decided.record.decision.directory.name, written("mailbox", mailbox), _Said)
    return said[0].entry.address if said else None


def _ended_by(finder: Finder, decided: Sequence[Decided], waiting: str) -> str | None:
    """Return the run whose deliveries ended what waits by a name."""
    for each in decided:
        leaving = each.record.decision.leaving
        if leaving and finder.rows(leaving.name, written("id", waiting), Leaving):
            return each.record.run_id
    return None
