"""Convert: make an e-mail of every captured record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from o2_connector.core.conversion_profile import MESSAGE_CLASS, MESSAGE_MEGABYTES, Profile
from o2_connector.core.manifest import ConvertedGroup, StagedGroup, from_xcom, to_xcom
from o2_connector.core.trail import Trail, batches_label, convert_trail
from o2_connector.engine.conversion import convert
from o2_connector.hooks.staging import StagingHook
from o2_connector.operators.run import ArchiveOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ConvertOperator(ArchiveOperator):
    """Convert the batches of one group.

    Returns a :class:`ConvertedGroup`. A record that breaks the contract becomes a reject with its item id or line and
    the fault, and everything else goes on.

    :param group: a :class:`StagedGroup`. (templated)
    :param region: ISO 3166 code of the country that national numbers belong to. (templated)
    :param message_class: what the messages' class begins with; the item's type follows. (templated)
    :param message_megabytes: the tenant's limit of a message, 1 to 150. What does not fit is named in the e-mail, and
        stays in staging.
    """

    template_fields: Sequence[str] = ("group", "region", "message_class")

    def __init__(
        self,
        *,
        group: Any,
        region: str,
        message_class: str = MESSAGE_CLASS,
        message_megabytes: int = MESSAGE_MEGABYTES,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.group = group
        self.region = region
        self.message_class = message_class
        self.message_megabytes = message_megabytes
        self.done: ConvertedGroup | None = None

    @property
    def label(self) -> str:
        """Return the map index's name."""
        return batches_label(from_xcom(self.group, StagedGroup).batches)

    def trail(self) -> Trail:
        """Say that batches are converted."""
        return convert_trail(from_xcom(self.group, StagedGroup), self.done)

    def execute(self, context: Context) -> Any:
        """Convert batch by batch."""
        group = from_xcom(self.group, StagedGroup)
        profile = Profile(
            region=self.region, message_class=self.message_class, message_megabytes=self.message_megabytes
        )
        staging = StagingHook()
        batches = tuple(convert(staging, group.window, batch, profile) for batch in group.batches)
        self.log.info(
            "Converted %d items, rejected %d",
            sum(batch.converted for batch in batches),
            sum(batch.rejected for batch in batches),
        )
        self.done = ConvertedGroup(window=group.window, batches=batches)
        return to_xcom(self.done)
