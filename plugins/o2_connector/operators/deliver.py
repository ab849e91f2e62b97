"""Import: put each delivery into its mailbox, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from o2_connector.core.manifest import Shard, from_xcom
from o2_connector.engine.delivery import SETTLE_SECONDS, import_shard
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class ImportToMailboxesOperator(BaseOperator):
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

    def execute(self, context: Context) -> None:
        """Deliver, unless it is a dry run."""
        shard = from_xcom(self.shard, Shard)
        if shard.dry_run:
            self.log.info("Dry run: %d deliveries to %d mailboxes are not made", shard.count, shard.mailboxes)
            return
        graph = GraphHook(settle_seconds=self.settle_seconds).graph
        counts = import_shard(StagingHook(), graph, shard, settle_seconds=self.settle_seconds)
        self.log.info("%s", ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no change")
