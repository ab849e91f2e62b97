"""Conversion: a batch of captured records becomes e-mails, Graph messages, participants and rejects."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import msgspec

from o2_connector.core.conversion_profile import Profile
from o2_connector.core.errors import ItemError
from o2_connector.core.escapes import one_line
from o2_connector.core.graph_message import graph_message
from o2_connector.core.items import Captured, Direction, File, Item, captured, record_digest
from o2_connector.core.ledger import Packed, PackedPart
from o2_connector.core.outcomes import Cause
from o2_connector.core.rendering import Rendering, render


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one item, converted."""

    captured: Captured
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


class IndexRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
    lines: Iterable[bytes], *, batch_id: str, profile: Profile, missing: Mapping[File, Cause]
) -> Iterator[Converted | Reject]:
    """Convert a batch, line by line; a record that breaks the contract is rejected and the rest goes on."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = captured(line)
        except ItemError as error:
            yield Reject(
                batch_id=batch_id, line=number, item_id=error.item_id, fault=error.fault, record=record_digest(line)
            )
            continue
        yield Converted(captured=found, rendering=render(found, profile, missing))


def packed_message(rendering: Rendering) -> bytes:
    """Return a line for the pack of Graph messages."""
    parts = tuple(
        [
            PackedPart(
                name=part.name,
                content_type=part.content_type,
                size=part.size,
                sha256=part.sha256,
                content_id=part.content_id,
            )
            for part in rendering.parts
        ]
    )
    message = msgspec.Raw(_ENCODER.encode(graph_message(rendering)))
    return _ENCODER.encode(Packed(message=message, parts=parts)) + b"\n"


def index_row(each: Converted, *, eml: tuple[int, int], eml_sha256: str, message: tuple[int, int]) -> bytes:
    """Return an item's line for the index; see :class:`IndexRow`."""
    rendering = each.rendering
    row = IndexRow(
        item_id=each.captured.item.item_id,
        key=rendering.key,
        sent=rendering.sent,
        record=each.captured.digest,
        eml=eml,
        eml_sha256=eml_sha256,
        message=message,
        attached=sum([part.size for part in rendering.parts]),
        causes=rendering.causes,
    )
    return _ENCODER.encode(row) + b"\n"


PARTICIPANTS_HEAD = b"row,phone,email,side\n"
"""The first line of the table of participants."""


def participant_rows(row: int, item: Item) -> bytes:
    """Return a line for each participant: row of the item in its batch's index, phone, e-mail property, side.

    The side is 1 for those at whose end the network captured the item: the sender of what went out, the recipients of
    what came in. The organisation's phones are among them.
    """
    sent = item.direction is Direction.OUTBOUND
    lines = [b"%d,%b,%d\n" % (row, _columns(item.from_.phone, item.from_.email), sent)]
    lines += [b"%d,%b,%d\n" % (row, _columns(each.phone, each.email), not sent) for each in item.to]
    return b"".join(lines)


@lru_cache(1 << 12)
def _columns(phone: str, email: str | None) -> bytes:
    # Any white space is a space to those who read numbers; a bare line end would break a table's row in two.
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow((one_line(" ".join(phone.split())), one_line((email or "").strip())))
    return text.getvalue().encode()
