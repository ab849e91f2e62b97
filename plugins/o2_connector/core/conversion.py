"""Conversion: a batch of captured records becomes e-mails, Graph messages, participants and rejects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from o2_connector.core.errors import ItemError
from o2_connector.core.graph_message import graph_message
from o2_connector.core.items import File, Item, parse_item, record_digest
from o2_connector.core.ledger import Packed, PackedPart
from o2_connector.core.outcomes import Cause
from o2_connector.core.rendering import Rendering, one_line, render


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """Hold one item, converted."""

    item: Item
    record: str
    rendering: Rendering


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """Name a record that breaks the contract.

    :param line: its number in the batch, from 1.
    :param record: SHA-256 of the line.
    """

    batch_id: str
    line: int
    item_id: str | None
    fault: str
    record: str


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Name an attachment that could not be staged."""

    file: File
    cause: Cause


class IndexRow(msgspec.Struct, frozen=True, kw_only=True):
    """Say where a converted item lies.

    :param sent: milliseconds since 1970, UTC.
    :param eml: offset and length in the batch's EMLs.
    :param eml_sha256: digest of the EML's bytes.
    :param message: offset and length in the batch's Graph messages.
    :param attached: raw bytes of all its attachments that are there.
    :param causes: why parts of the item are not in its e-mail, where any are not.
    """

    item_id: str
    key: str
    sent: int
    record: str
    eml: tuple[int, int]
    eml_sha256: str
    message: tuple[int, int]
    attached: int = 0
    causes: tuple[Cause, ...] = ()


_ENCODER = msgspec.json.Encoder()


def convert_batch(
    lines: Iterable[bytes], *, batch_id: str, region: str, missing: dict[File, Cause]
) -> Iterator[Converted | Reject]:
    """Convert a batch, line by line; a record that breaks the contract is rejected and the rest goes on."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = record_digest(line)
        try:
            item = parse_item(line)
        except ItemError as error:
            yield Reject(batch_id=batch_id, line=number, item_id=error.item_id, fault=error.fault, record=record)
            continue
        yield Converted(item=item, record=record, rendering=render(item, record=record, region=region, missing=missing))


def packed_message(rendering: Rendering) -> bytes:
    """Return a line for the pack of Graph messages."""
    packed = Packed(
        message=msgspec.Raw(_ENCODER.encode(graph_message(rendering))),
        parts=tuple(
            PackedPart(name=part.name, content_type=part.content_type, size=part.size, sha256=part.sha256)
            for part in rendering.parts
        ),
    )
    return _ENCODER.encode(packed) + b"\n"


def participant_rows(row: int, item: Item) -> Iterator[tuple[int, str, str]]:
    """Yield (row of the item in its batch's index, phone, e-mail property or nothing) for each participant."""
    for each in item.participants:
        # Any white space is a space to those who read numbers; a bare line end would break a table's row in two.
        yield row, one_line(" ".join(each.phone.split())), one_line((each.email or "").strip())
