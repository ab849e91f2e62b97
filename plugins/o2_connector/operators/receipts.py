"""Receipts: what this and earlier runs left in staging about a shard's deliveries."""

from __future__ import annotations

from itertools import chain

from o2_connector.core.layout import receipts_stem, runs_stem, segment_of
from o2_connector.core.ledger import Receipt, latest
from o2_connector.core.manifest import Shard
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.hooks.staging import StagingHook


def receipts_of(staging: StagingHook, shard: Shard) -> dict[int, Receipt]:
    """Return what became of a shard's deliveries so far, by the delivery's number."""
    names = staging.names(receipts_stem(shard.deliveries.name))
    return latest(chain.from_iterable(staging.read_lines(staging.staged(name), Receipt) for name in names))


def delivered_before(staging: StagingHook, shard: Shard) -> dict[tuple[str, str], Receipt]:
    """Return what other decisions over the same window delivered to the shard's mailboxes, by item id and mailbox.

    A receipt stands: what was delivered is not delivered again, wherever its reader has moved it since.
    """
    own = receipts_stem(shard.deliveries.name)
    found: dict[tuple[str, str], Receipt] = {}
    for name in staging.names(runs_stem(shard.window)):
        segment = segment_of(name)
        meets = segment and not segment.intents and segment.first <= shard.last and shard.first <= segment.last
        if meets and not name.startswith(own):
            for receipt in staging.read_lines(staging.staged(name), Receipt):
                if _is_there(receipt):
                    found.setdefault((receipt.item_id, receipt.mailbox), receipt)
    return found


def _is_there(receipt: Receipt) -> bool:
    # A repeated record is skipped on the strength of the first one's own receipt, and proves nothing itself.
    return receipt.outcome in (Outcome.IMPORTED, Outcome.PARTIALLY_IMPORTED) or receipt.cause == Cause.ALREADY_THERE
