"""Map: decide which mailboxes get each item."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.sdk.log import mask_secret

from o2_connector.core.layout import BUCKETS, IMPORT_TASKS
from o2_connector.core.manifest import ConvertedGroup, Decision, from_xcom, to_xcom
from o2_connector.core.trail import Trail, map_trail
from o2_connector.hooks.staging import StagingHook
from o2_connector.operators.run import ArchiveOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from o2_connector.engine.rules import MappingRules


class MappingOperator(ArchiveOperator):
    """Be the base of the operators that decide: hold by what rules, and over how many tasks.

    :param mappings: folder whose CSV files are, together, the mapping. (templated)
    :param region: ISO 3166 code of the country that national numbers belong to. (templated)
    :param timezone: IANA name of the zone at whose midnights the periods of mapping rows begin and end.
    :param directory_hours: how long what the directory said of an address is taken for true.
    :param directory_numbers: whether the directory's own numbers are the last rule.
    :param catch_all: address of the mailbox that gets what nobody gets, where there is one.
    :param tasks: over how many import tasks the mailboxes are shared out, 1 to 64; it may change from run to run.
    """

    template_fields: Sequence[str] = ("mappings", "region")  # shown by the UI: no address is among them

    def __init__(
        self,
        *,
        mappings: str,
        region: str,
        timezone: str,
        directory_hours: float = 1.0,
        directory_numbers: bool = False,
        catch_all: str | None = None,
        tasks: int = IMPORT_TASKS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 1 <= tasks <= BUCKETS:
            raise ValueError(f"tasks is {tasks}: the mailboxes can be shared out over 1 to {BUCKETS} import tasks")
        self.mappings = mappings
        self.region = region
        self.timezone = timezone
        self.directory_hours = directory_hours
        self.directory_numbers = directory_numbers
        self.catch_all = catch_all
        if catch_all:
            mask_secret(catch_all)  # OpenLineage can be set to tell every attribute of an operator
        self.tasks = tasks
        self.done: Decision | None = None

    def rules(self) -> MappingRules:
        """Return the rules by which mailboxes are found."""
        from o2_connector.engine.rules import MappingRules

        return MappingRules(
            folder=Path(self.mappings),
            region=self.region,
            zone=ZoneInfo(self.timezone),
            remember=timedelta(hours=self.directory_hours),
            by_number=self.directory_numbers,
            catch_all=self.catch_all or None,
        )


class MapMailboxesOperator(MappingOperator):
    """Join participants against the mapping files and the directory.

    Returns a list of :class:`Shard`, and pushes a :class:`Decision` as ``decision``. The mapping is read once and
    frozen in staging, so that all of the run is decided by the same rows.

    :param groups: a list of :class:`ConvertedGroup`. (templated)
    :param silent_days: how many days without an item make an enrolled number silent.
    """

    template_fields: Sequence[str] = ("groups", *MappingOperator.template_fields)

    def __init__(self, *, groups: Any, silent_days: int = 7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups
        self.silent_days = silent_days

    def trail(self) -> Trail:
        """Say that deliveries are decided on."""
        return map_trail([from_xcom(group, ConvertedGroup) for group in self.groups], self.done)

    def execute(self, context: Context) -> Any:
        """Read, ask the directory, decide, share out."""
        from o2_connector.engine.mapping_step import Asked, map_window

        groups = [from_xcom(group, ConvertedGroup) for group in self.groups]
        batches = [batch for group in groups for batch in group.batches]
        staging = StagingHook()
        asked = Asked(
            run_id=context["run_id"],
            at=datetime.now(UTC),
            tasks=self.tasks,
            dry_run=bool(context["params"].get("dry_run")),
        )
        decision = self.done = map_window(
            staging, self.rules(), groups[0].window, batches, asked, silent_days=self.silent_days
        )
        self.log.info(
            "%d items: %d deliveries to %d mailboxes in %d shards, %d items parked, %d waiting; %d of %d mapping rows",
            decision.items,
            sum(shard.count for shard in decision.shards),
            sum(shard.mailboxes for shard in decision.shards),
            len(decision.shards),
            decision.items_parked,
            decision.items_waiting,
            decision.rows_used,
            decision.rows,
        )
        context["ti"].xcom_push(key="decision", value=to_xcom(decision))
        return to_xcom(decision.shards)
