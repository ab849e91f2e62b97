"""Delivery: put what a shard's book lists into its mailboxes, once, whatever happens and whoever else tries."""

from __future__ import annotations

import gc
import logging
import time
from collections import Counter
from contextlib import ExitStack

from o2_connector.core.errors import RetryError
from o2_connector.core.manifest import Shard
from o2_connector.core.outcomes import Outcome
from o2_connector.engine.conductor import Conductor
from o2_connector.engine.journal import Journal
from o2_connector.engine.messages import Messages
from o2_connector.engine.ownership import Rhythm, owned
from o2_connector.engine.paces import Paces
from o2_connector.engine.progress import Progress
from o2_connector.engine.worklist import Worklist, worklist
from o2_connector.hooks.graph_requests import GraphRequests
from o2_connector.hooks.staging import StagingHook

SETTLE_SECONDS = 90.0
"""Seconds to wait, after an answer was lost, before the mailbox is asked: a write that timed out may still land."""

PATIENCE_SECONDS = 600.0
"""Seconds that a delivery or a mailbox is tried; after that it is left to the task's next try."""

_log = logging.getLogger("airflow.task")


def import_shard(
    staging: StagingHook,
    graph: GraphRequests,
    shard: Shard,
    *,
    settle_seconds: float = SETTLE_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
    rhythm: Rhythm = Rhythm(),  # noqa: B008  frozen
) -> Counter[Outcome]:
    """Deliver what is open of a shard, and return how many receipts of each outcome it wrote.

    What has a receipt, of whichever run, is left alone, and when nothing is open no mailbox is asked anything. While
    anything is open the caller owns the shard's mailboxes: no other run writes to them.

    :raises RetryError: when some mailboxes or deliveries must wait, everything else being delivered; or when the import
        could not go on: Graph or staging did not answer for long, or the mailboxes were lost to another owner.
    :raises StopError: when a person must change something first.
    """
    with worklist(staging, shard) as book:
        _log.info("%d deliveries: %d open, %d in doubt", book.total, book.open, book.doubtful)
        if not book.open + book.doubtful:
            return _receive_settled(staging, shard, book)
    gc.freeze()  # Airflow's hundreds of thousands of objects need not be looked through again and again
    with ExitStack() as stack:
        paces = Paces()
        ownership = stack.enter_context(owned(staging, range(shard.first, shard.last + 1), paces, rhythm=rhythm))
        # Read again: whoever owned a mailbox until now may have delivered some of these.
        book = stack.enter_context(worklist(staging, shard))
        progress = Progress(book.open + book.doubtful, time.monotonic, shard=f"{shard.first:02d}-{shard.last:02d}")
        stack.callback(progress.tell, 0, last=True)  # also when it is stopped
        counts = _receive_settled(staging, shard, book)
        conductor = Conductor(
            graph=graph,
            worklist=book,
            messages=stack.enter_context(Messages(staging, book.packs)),
            paces=paces,
            ownership=ownership,
            progress=progress,
            settle_seconds=settle_seconds,
            patience_seconds=patience_seconds,
        )
        with Journal(staging, shard.deliveries.name, on_intended=conductor.intended) as journal:
            conductor.run(journal)
            journal.flush()
    if conductor.pending:
        raise RetryError(
            f"{len(conductor.pending)} mailboxes or deliveries must wait; the first: {conductor.pending[0]}",
            retry_after=max((error.retry_after or 0.0 for error in conductor.pending), default=0.0) or None,
        ) from conductor.pending[0]
    return counts + progress.counts


def _receive_settled(staging: StagingHook, shard: Shard, book: Worklist) -> Counter[Outcome]:
    """Write the receipts for which no mailbox has to be asked."""
    counts: Counter[Outcome] = Counter()
    with Journal(staging, shard.deliveries.name, on_intended=lambda _: None) as journal:
        for receipt in book.settled_now():
            counts[receipt.outcome] += 1
            journal.receive(receipt)
        journal.flush()
    return counts
