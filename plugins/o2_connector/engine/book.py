"""Book: add up what became of a decision's deliveries, from what is staged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import receipts_stem
from o2_connector.core.ledger import Receipt, read_delivery, sum_up
from o2_connector.core.manifest import Decision, Shard
from o2_connector.core.outcomes import Outcome
from o2_connector.core.parked import Leaving
from o2_connector.core.report import Detail
from o2_connector.hooks.staging import StagingHook


@dataclass(frozen=True, kw_only=True, slots=True)
class Book:
    """Hold what became of deliveries.

    :param available: deliveries.
    :param items: items that have any.
    :param rules: deliveries by the rule that decided.
    :param details: a line for each that failed or is partial, in the deliveries' order.
    :param delivered: a byte for each item, nought where it has no delivery.
    :param unsettled: a byte for each item, nought where all of its deliveries are made.
    """

    available: int
    items: int
    outcomes: Counter[Outcome]
    rules: Counter[str]
    details: tuple[Detail, ...]
    delivered: bytes
    unsettled: bytes

    @property
    def counts(self) -> dict[str, int]:
        """Return the deliveries by outcome, as the report names them."""
        return {
            "imported": self.outcomes[Outcome.IMPORTED],
            "partially_imported": self.outcomes[Outcome.PARTIALLY_IMPORTED],
            "skipped": self.outcomes[Outcome.SKIPPED],
            "failed": self.outcomes[Outcome.FAILED],
        }


def add_up(staging: StagingHook, decision: Decision | None, sealed: Collection[str] | None = None) -> Book:
    """Read every delivery and every receipt; memory holds a few bytes for each.

    :param decision: what was decided; without it the book is empty.
    :param sealed: names of objects; without it every receipt counts that is there, else those in these alone.
    :raises IntegrityError: when a shard does not have the deliveries that its manifest says.
    """
    outcomes: Counter[Outcome] = Counter()
    rules: Counter[str] = Counter()
    delivered = bytearray(decision.items if decision else 0)  # an item a byte
    details: list[Detail] = []
    unsettled = bytearray(decision.items if decision else 0)
    for shard in decision.shards if decision else ():
        counted, troubled, known = sum_up(receipts_of(staging, shard, sealed), shard.count)
        outcomes.update(counted)
        of_number = {each.delivery: each for each in troubled}
        count = 0
        with staging.reader(shard.deliveries) as lines:
            for number, line in enumerate(islice(lines, 1, None)):
                row = read_delivery(line)
                count += 1
                delivered[row.item] = 1
                rules[row.rule] += 1
                receipt = of_number.get(number)
                if receipt is not None:
                    details.append(
                        Detail(
                            item_id=row.item_id,
                            outcome=receipt.outcome,
                            cause=receipt.cause or "",
                            mailbox=row.mailbox,
                            place=row.place,
                            rule=row.rule,
                        )
                    )
                if not known[number] or (receipt is not None and receipt.outcome is Outcome.FAILED):
                    unsettled[row.item] = 1
        if count != shard.count:
            raise IntegrityError(f"{shard.deliveries.name} has {count} deliveries, its manifest says {shard.count}")
    return Book(
        available=sum(shard.count for shard in decision.shards) if decision else 0,
        items=delivered.count(1),
        outcomes=outcomes,
        rules=rules,
        details=tuple(details),
        delivered=bytes(delivered),
        unsettled=bytes(unsettled),
    )


def settled(staging: StagingHook, decision: Decision, book: Book) -> Iterator[Leaving]:
    """Yield what waits no longer, now that the deliveries are made."""
    if decision.leaving is not None:
        for each in staging.read_lines(decision.leaving, Leaving):
            if not book.unsettled[each.item]:
                yield each


def receipts_of(staging: StagingHook, shard: Shard, sealed: Collection[str] | None = None) -> Iterator[Receipt]:
    """Yield every receipt that a shard's deliveries have, in no particular order.

    :param sealed: as for :func:`add_up`.
    """
    stem = receipts_stem(shard.deliveries.name)
    for name in staging.names(stem) if sealed is None else sealed:
        if name.startswith(stem):
            yield from staging.read_lines(staging.staged(name), Receipt)
