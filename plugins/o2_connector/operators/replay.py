"""Replay: deliver what waited for a mailbox and has one now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from o2_connector.core.errors import StopError
from o2_connector.core.manifest import Decision, from_xcom, to_xcom
from o2_connector.core.trail import Trail, replay_trail
from o2_connector.engine.book import add_up, settled
from o2_connector.engine.metrics import tell_park
from o2_connector.engine.park import leave
from o2_connector.engine.report import replay_report
from o2_connector.hooks.staging import StagingHook
from o2_connector.operators.map import MappingOperator
from o2_connector.operators.reconcile import BookOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class FindParkedOperator(MappingOperator):
    """Decide again on all that waits for a mailbox, by mapping files and directory as they are now.

    Returns a list of :class:`Shard`, empty when nothing can be delivered, and pushes a :class:`Decision` as
    ``decision`` when anything waits.
    """

    def trail(self) -> Trail:
        """Say that deliveries of parked items are decided on."""
        return replay_trail(self.done)

    def execute(self, context: Context) -> Any:
        """Read what waits, decide, share out."""
        from o2_connector.engine.mapping_step import Asked
        from o2_connector.engine.replay import replay_parked

        asked = Asked(
            run_id=context["run_id"],
            at=datetime.now(UTC),
            tasks=self.tasks,
            dry_run=bool(context["params"].get("dry_run")),
        )
        self.done = decision = replay_parked(StagingHook(), self.rules(), asked)
        if decision is None:
            self.log.info("Nothing waits for a mailbox")
            return []
        self.log.info(
            "%d items wait: %d deliveries to %d mailboxes can be made now; %d items stay parked, %d wait for somebody",
            decision.items,
            sum(shard.count for shard in decision.shards),
            sum(shard.mailboxes for shard in decision.shards),
            decision.items_parked,
            decision.items_waiting,
        )
        context["ti"].xcom_push(key="decision", value=to_xcom(decision))
        return to_xcom(decision.shards)


class ReconcileReplayOperator(BookOperator):
    """Write the report of a replay; let what was delivered leave the park; fail when the book does not balance.

    Returns a :class:`ReportManifest`, or nothing when nothing waited.

    :param find_parked: id of the task that left a :class:`Decision`.
    """

    def __init__(self, *, find_parked: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.find_parked = find_parked

    def execute(self, context: Context) -> None:
        """Count, write, judge."""
        ti: Any = context["ti"]
        staging = StagingHook()
        self.tell_age(staging)  # also while nothing is archived, so that it goes on rising
        if ti.xcom_pull(task_ids=self.find_parked, map_indexes=None) is None:
            raise StopError(f"There is no book: {self.find_parked} did not finish. Its log says why; mend that.")
        left = ti.xcom_pull(task_ids=self.find_parked, key="decision", map_indexes=None)
        if left is None:
            self.log.info("Nothing waited for a mailbox: there is no book")
            tell_park(0, 0, timedelta())
            return
        decision = from_xcom(left, Decision)
        dry_run = bool(context["params"].get("dry_run"))
        book = add_up(staging, decision)
        report = replay_report(staging, decision, book, run_id=context["run_id"], dry_run=dry_run, at=datetime.now(UTC))
        if not dry_run:
            self.log.info("%d items wait no longer", leave(staging, settled(staging, decision, book)))
        self.close_book(staging, report, [decision.mapping.name], context)
