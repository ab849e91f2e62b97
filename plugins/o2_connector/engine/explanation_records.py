"""Explanation, of what was captured: an item's records as they came, and what they were converted to."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser

import msgspec
from msgspec.structs import replace

from o2_connector.core.conversion import IndexRow, Missing
from o2_connector.core.errors import ItemError
from o2_connector.core.explanation import AttachmentTold, ConversionTold, RecordTold, who
from o2_connector.core.items import Attachment, File, Item, captured, record_digest
from o2_connector.core.layout import BatchObject, attachment_object
from o2_connector.core.ledger import Packed
from o2_connector.core.manifest import ConvertedBatch
from o2_connector.core.outcomes import Cause
from o2_connector.core.window import Window
from o2_connector.engine.finding import ANY, Finder, captured_as

Made = Mapping[str, ConvertedBatch]
"""What batches were converted to, by the name of the index, as far as runs have decided on it."""

_LEFT_OUT = (Cause.ATTACHMENT_TOO_LARGE, Cause.TOO_MANY_ATTACHMENTS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Hold what of a batch has the item.

    :param objects: all that the batch has in staging.
    :param rows: of its indexes, each with the index's name.
    :param rejects: faults by line.
    """

    window: Window
    objects: tuple[BatchObject, ...]
    rows: list[tuple[str, IndexRow]] = field(default_factory=list)
    rejects: dict[int, str] = field(default_factory=dict)

    def names(self, kind: str) -> list[str]:
        """Return the names of its objects of a kind: several, where it was converted in several ways."""
        return [each.name for each in self.objects if each.kind == kind]


def records_of(finder: Finder, batch: Batch, made: Made, item_id: str, personal: bool) -> Iterator[RecordTold]:
    """Yield the item's records in a batch, as they came."""
    missing = {each.file: each.cause for name in batch.names("missing") for each in finder.rows(name, ANY, Missing)}
    for name in batch.names("raw"):
        for number, line in finder.lines(name, captured_as("itemId", item_id)):
            digest = record_digest(line)
            told = RecordTold(window=batch.window.name, batch=name, line=number, digest=digest)
            try:
                item = captured(line).item
            except ItemError as error:
                if error.item_id == item_id:
                    yield replace(told, fault=batch.rejects.get(number, error.fault))
                continue
            if item.item_id == item_id:  # else it edits or deletes the item
                rows = [(index, row) for index, row in batch.rows if row.record == digest]
                files = _attachments(finder, item, missing, rows, _attached(finder, batch, made, rows))
                yield _of_item(told, item, tuple(files), personal)


def conversions_of(finder: Finder, batch: Batch, made: Made) -> Iterator[ConversionTold]:
    """Yield the e-mails that the item's records in a batch were converted to."""
    for index, row in batch.rows:
        offset, length = row.eml
        emls, converter = _converted(finder, batch, made, index, row)
        yield ConversionTold(
            window=batch.window.name,
            record=row.record,
            batch=made[index].raw.name if index in made else None,
            converter=converter,
            emls=emls,
            offset=offset,
            length=length,
            sha256=row.eml_sha256,
            causes=row.causes,
        )


def _of_item(told: RecordTold, item: Item, attachments: tuple[AttachmentTold, ...], personal: bool) -> RecordTold:
    sender, *recipients = (who(each.phone, each.email, each.name, personal=personal) for each in item.participants)
    return replace(
        told,
        item_type=item.item_type,
        direction=item.direction,
        status=item.status,
        sent_at=item.sent_at,
        archived_at=item.archived_at,
        sender=sender,
        recipients=tuple(recipients),
        action=item.relates_to.action if item.relates_to else None,
        relates_to=item.relates_to.item_id if item.relates_to else None,
        attachments=attachments,
    )


def _attachments(
    finder: Finder,
    item: Item,
    missing: Mapping[File, Cause],
    rows: Collection[tuple[str, IndexRow]],
    attached: Collection[str],
) -> Iterator[AttachmentTold]:
    left_out = "; ".join(cause for cause in _LEFT_OUT if any(cause in row.causes for _, row in rows))
    for each in item.attachments:
        cause = missing.get(each.file) or (left_out if rows and each.sha256 not in attached else None)
        yield AttachmentTold(
            attachment_id=each.attachment_id,
            size=each.byte_count,
            sha256=each.sha256,
            staged=_where(finder, each),
            cause=cause,
        )


def _where(finder: Finder, attachment: Attachment) -> str | None:
    name = attachment_object(attachment.sha256, attachment.byte_count).name
    return None if finder.staging.size(name) is None else name


def _attached(finder: Finder, batch: Batch, made: Made, rows: Collection[tuple[str, IndexRow]]) -> set[str]:
    """Return the digests of the attachments that are in the item's messages."""
    attached: set[str] = set()
    for index, row in rows:
        offset, length = row.message
        for name in [made[index].messages.name] if index in made else batch.names("messages"):
            message = finder.content(name)[offset : offset + length]
            if row.key.encode() in message:
                attached.update(part.sha256 for part in msgspec.json.decode(message, type=Packed).parts)
    return attached


def _converted(finder: Finder, batch: Batch, made: Made, index: str, row: IndexRow) -> tuple[str | None, str | None]:
    """Return which object has an e-mail, and the converter's version.

    Where no run has decided on it yet, the e-mail is found by its digest, and says the version itself.
    """
    if index in made:
        return made[index].emls.name, made[index].converter
    offset, length = row.eml
    for name in batch.names("emls"):
        content = finder.content(name)[offset : offset + length]
        if hashlib.sha256(content).hexdigest() == row.eml_sha256:
            return name, BytesHeaderParser().parsebytes(content)["X-O2-Converter"]
    return None, None
