"""Import: put each delivery into its mailbox, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from o2_connector.core.manifest import Shard, from_xcom
from o2_connector.core.outcomes import Outcome
from o2_connector.core.trail import Trail, import_trail, shard_label
from o2_connector.engine.delivery import SETTLE_SECONDS, import_shard
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook
from o2_connector.operators.run import ArchiveOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ImportToMailboxesOperator(ArchiveOperator):
    """Write the deliveries of one shard into their mailboxes.

    A failure of one item or one mailbox is a receipt; what may pass by itself is left without one and tried again by
    the task's retries, after everything else was delivered.

    :param shard: a :class:`Shard`. (templated)
    :param settle_seconds: how long to wait, after an answer was lost, before the mailbox is asked what came of it.
    """

    template_fields: Sequence[str] = ("shard",)

    def __init__(self, *, shard: Any, settle_seconds: float = SETTLE_SECONDS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard
        self.settle_seconds = settle_seconds
        self.done: Mapping[Outcome, int] | None = None

    @property
    def label(self) -> str:
        """Return the map index's name."""
        return shard_label(from_xcom(self.shard, Shard))

    def trail(self) -> Trail:
        """Say that deliveries are written into mailboxes, and receipts to staging."""
        return import_trail(from_xcom(self.shard, Shard), self.done)

    def execute(self, context: Context) -> None:
        """Deliver, unless it is a dry run."""
        shard = from_xcom(self.shard, Shard)
        if shard.dry_run:
            self.log.info("Dry run: %d deliveries to %d mailboxes are not made", shard.count, shard.mailboxes)
            return
        graph = GraphHook(settle_seconds=self.settle_seconds).graph
        self.done = import_shard(StagingHook(), graph, shard, settle_seconds=self.settle_seconds)
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.done.items()))
        self.log.info("%s", told or "no change")
