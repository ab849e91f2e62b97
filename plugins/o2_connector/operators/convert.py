"""Convert: make an e-mail of every captured record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from o2_connector.core.conversion import (
    PARTICIPANTS_HEAD,
    Missing,
    Reject,
    convert_batch,
    index_row,
    packed_message,
    participant_rows,
)
from o2_connector.core.conversion_profile import MESSAGE_CLASS, MESSAGE_MEGABYTES, Profile
from o2_connector.core.eml import eml_chunks
from o2_connector.core.errors import IntegrityError
from o2_connector.core.facts import CONVERTER_VERSION
from o2_connector.core.items import File
from o2_connector.core.layout import attachment_object, converted_stem
from o2_connector.core.manifest import (
    ConvertedBatch,
    ConvertedGroup,
    StagedBatch,
    StagedGroup,
    from_xcom,
    to_xcom,
)
from o2_connector.core.outcomes import Cause
from o2_connector.core.parts import Part
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook

if TYPE_CHECKING:
    from airflow.sdk import Context

PIECE = 1 << 16  # bytes of an attachment that are read at a time


class ConvertOperator(BaseOperator):
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
        return to_xcom(ConvertedGroup(window=group.window, batches=batches))


def convert(staging: StagingHook, window: Window, batch: StagedBatch, profile: Profile) -> ConvertedBatch:
    """Convert one batch: EMLs, index, Graph messages and participants, all streamed."""
    stem = converted_stem(window, batch.batch_id)
    rejects: list[Reject] = []
    count = 0

    def open_part(part: Part) -> Iterator[bytes]:
        with staging.reader(attachment_object(part.sha256, part.size)) as octets:
            while chunk := octets.read(PIECE):
                yield chunk

    with (
        staging.reader(batch.raw) as lines,
        staging.writer(stem, ".eml") as emls,
        staging.writer(f"{stem}index.", ".jsonl") as index,
        staging.writer(f"{stem}messages.", ".jsonl") as messages,
        staging.writer(f"{stem}participants.", ".csv") as participants,
    ):
        participants.write(PARTICIPANTS_HEAD)
        missing = _missing(staging, batch)
        for each in convert_batch(lines, batch_id=batch.batch_id, profile=profile, missing=missing):
            if isinstance(each, Reject):
                rejects.append(each)
                continue
            eml_at, message_at = emls.tell(), messages.tell()
            digest = hashlib.sha256()
            try:
                for chunk in eml_chunks(each.rendering, open_part):
                    emls.write(chunk)
                    digest.update(chunk)
            except IntegrityError as error:  # an attachment in staging is not what it was
                raise IntegrityError(f"batch {batch.batch_id}, item {each.captured.item.item_id}: {error}") from error
            messages.write(packed_message(each.rendering))
            row = index_row(
                each,
                eml=(eml_at, emls.tell() - eml_at),
                eml_sha256=digest.hexdigest(),
                message=(message_at, messages.tell() - message_at),
            )
            index.write(row)
            participants.write(participant_rows(count, each.captured.item))
            count += 1
    return ConvertedBatch(
        batch_id=batch.batch_id,
        raw=batch.raw,
        missing=batch.missing,
        converter=CONVERTER_VERSION,
        profile=profile,
        items=batch.items,
        converted=count,
        rejected=len(rejects),
        emls=emls.staged,
        index=index.staged,
        messages=messages.staged,
        participants=participants.staged,
        rejects=staging.write_lines(f"{stem}rejects.", rejects) if rejects else None,
    )


def _missing(staging: StagingHook, batch: StagedBatch) -> dict[File, Cause]:
    return {each.file: each.cause for each in staging.read_lines(batch.missing, Missing)} if batch.missing else {}
