"""Extract: freeze a window at TeleMessage and list its batches. No content is moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from o2_connector.core.layout import export_stem
from o2_connector.core.manifest import ExportGroup, Frozen, to_xcom
from o2_connector.core.source import Batch
from o2_connector.core.trail import Trail, extract_trail
from o2_connector.core.window import Window
from o2_connector.engine.metrics import tell_age
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.telemessage import TeleMessageHook
from o2_connector.operators.run import ArchiveOperator, window_of

if TYPE_CHECKING:
    from airflow.sdk import Context

MOST_GROUPS = 32  # a mapped task costs half a second: a day of a million items is dozens of tasks, not thousands


class ExtractOperator(ArchiveOperator):
    """Freeze the run's window at TeleMessage.

    Returns a list of :class:`ExportGroup`, empty for an empty window, and pushes :class:`Frozen` as ``frozen``.

    :param timezone: IANA name of the zone whose days are archived.
    :param first_day: the first day that is to be archived, where one is set.
    """

    def __init__(self, *, timezone: str, first_day: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.timezone = timezone
        self.first_day = first_day
        self.window: Window | None = None
        self.done: Frozen | None = None

    def trail(self) -> Trail:
        """Say that the source's answer is kept."""
        return extract_trail(self.window, self.done)

    def execute(self, context: Context) -> Any:
        """Freeze, keep the source's answer, share the batches out."""
        window = self.window = window_of(context, self.timezone)
        staging = StagingHook()
        # At every try, so that it goes on rising while TeleMessage does not answer. A dry run archives nothing.
        begun = None if context["params"].get("dry_run") else window
        tell_age(staging, zone=ZoneInfo(self.timezone), first_day=self.first_day, now=datetime.now(UTC), window=begun)
        export = TeleMessageHook().freeze_export(window.start, window.end)
        with staging.writer(export_stem(window), ".json") as answer:
            answer.write(msgspec.json.format(msgspec.json.encode(export), indent=1))
        self.log.info("Window %s: %d items in %d batches", window, export.item_count, len(export.batches))
        self.done = Frozen(window=window, export=answer.staged, items=export.item_count)
        context["ti"].xcom_push(key="frozen", value=to_xcom(self.done))
        return to_xcom(
            [
                ExportGroup(window=window, export_id=export.export_id, batches=tuple(batches))
                for batches in groups(export.batches, MOST_GROUPS)
            ]
        )


def groups(batches: Sequence[Batch], most: int) -> Iterator[Sequence[Batch]]:
    """Share batches out over at most so many groups, in order, as evenly as whole batches allow."""
    count = min(most, len(batches))
    for number in range(count):
        yield batches[number * len(batches) // count : (number + 1) * len(batches) // count]
