"""Convert: make an e-mail of every captured record."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.sdk import BaseOperator

from o2_connector.core.conversion import (
    Converted,
    IndexRow,
    Missing,
    Reject,
    convert_batch,
    packed_message,
    participant_rows,
)
from o2_connector.core.eml import eml_chunks
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
from o2_connector.core.rendering import Part
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class ConvertOperator(BaseOperator):
    """Convert the batches of one group.

    Returns a :class:`ConvertedGroup`. A record that breaks the contract becomes a reject with its item id or line and
    the fault, and everything else goes on.

    :param group: a :class:`StagedGroup`. (templated)
    :param region: ISO 3166 code of the country that national numbers belong to. (templated)
    """

    template_fields: Sequence[str] = ("group", "region")

    def __init__(self, *, group: Any, region: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group = group
        self.region = region

    def execute(self, context: Context) -> Any:
        """Convert batch by batch."""
        group = from_xcom(self.group, StagedGroup)
        staging = StagingHook()
        batches = tuple(convert(staging, group.window, batch, self.region) for batch in group.batches)
        self.log.info(
            "Converted %d items, rejected %d",
            sum(batch.converted for batch in batches),
            sum(batch.rejected for batch in batches),
        )
        return to_xcom(ConvertedGroup(window=group.window, batches=batches))


def convert(staging: StagingHook, window: Window, batch: StagedBatch, region: str) -> ConvertedBatch:
    """Convert one batch: EMLs, index, Graph messages and participants, all streamed."""
    stem = converted_stem(window, batch.batch_id)
    rejects: list[Reject] = []
    count = 0

    def open_part(part: Part) -> Iterator[bytes]:
        with staging.reader(attachment_object(part.sha256, part.size)) as octets:
            while chunk := octets.read(1 << 16):
                yield chunk

    with (
        staging.reader(batch.raw) as lines,
        staging.writer(stem, ".eml") as emls,
        staging.writer(f"{stem}index.", ".jsonl") as index,
        staging.writer(f"{stem}messages.", ".jsonl") as messages,
        staging.writer(f"{stem}participants.", ".csv") as participants,
    ):
        participants.write(b"row,phone,email\n")
        missing = _missing(staging, batch)
        for each in convert_batch(lines, batch_id=batch.batch_id, region=region, missing=missing):
            if isinstance(each, Reject):
                rejects.append(each)
                continue
            eml_at, message_at = emls.tell(), messages.tell()
            digest = hashlib.sha256()
            for chunk in eml_chunks(each.rendering, open_part):
                emls.write(chunk)
                digest.update(chunk)
            messages.write(packed_message(each.rendering))
            index.write(
                msgspec.json.encode(
                    IndexRow(
                        item_id=each.item.item_id,
                        key=each.rendering.key,
                        sent=round(each.rendering.sent_at.timestamp() * 1000),
                        record=each.record,
                        eml=(eml_at, emls.tell() - eml_at),
                        eml_sha256=digest.hexdigest(),
                        message=(message_at, messages.tell() - message_at),
                        attached=sum(part.size for part in each.rendering.parts),
                        causes=each.rendering.causes,
                    )
                )
                + b"\n"
            )
            participants.write(_participants(count, each))
            count += 1
    return ConvertedBatch(
        batch_id=batch.batch_id,
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


def _participants(row: int, each: Converted) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(participant_rows(row, each.item))
    return text.getvalue().encode()
