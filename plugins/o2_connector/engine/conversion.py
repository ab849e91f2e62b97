"""Conversion: make the e-mails of a staged batch, into staging; or once more and nowhere, for their digests alone."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from o2_connector.core.conversion import (
    PARTICIPANTS_HEAD,
    Missing,
    Reject,
    convert_batch,
    index_row,
    packed_message,
    participant_rows,
)
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.eml import eml_chunks
from o2_connector.core.errors import IntegrityError
from o2_connector.core.facts import CONVERTER_VERSION
from o2_connector.core.items import File
from o2_connector.core.layout import attachment_object, converted_stem
from o2_connector.core.manifest import ConvertedBatch, StagedBatch, StagedObject
from o2_connector.core.outcomes import Cause
from o2_connector.core.parts import Part
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.staging_streams import StagedWriter

PIECE = 1 << 16  # bytes of an attachment that are read at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeAgain:
    """Hold what a batch is converted to, without the bytes.

    :param digests: SHA-256 of the EMLs, the index, the messages and the participants, in this order.
    :param index: the lines of the index.
    """

    digests: tuple[str, str, str, str]
    index: bytes
    converted: int
    rejects: tuple[Reject, ...]

    @property
    def rejects_digest(self) -> str | None:
        """Return the digest of the rejects as they are staged, or None where there are none."""
        return hashlib.sha256(msgspec.json.Encoder().encode_lines(self.rejects)).hexdigest() if self.rejects else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Into:
    """Hold where the parts of a converted batch go."""

    emls: StagedWriter
    index: StagedWriter
    messages: StagedWriter
    participants: StagedWriter


def convert(staging: StagingHook, window: Window, batch: StagedBatch, profile: Profile) -> ConvertedBatch:
    """Convert one batch: EMLs, index, Graph messages and participants, all streamed."""
    stem = converted_stem(window, batch.batch_id)
    with (
        staging.writer(stem, ".eml") as emls,
        staging.writer(f"{stem}index.", ".jsonl") as index,
        staging.writer(f"{stem}messages.", ".jsonl") as messages,
        staging.writer(f"{stem}participants.", ".csv") as participants,
    ):
        into = _Into(emls=emls, index=index, messages=messages, participants=participants)
        count, rejects = _convert(staging, batch.batch_id, batch.raw, batch.missing, profile, into)
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


def convert_again(staging: StagingHook, batch: ConvertedBatch) -> MadeAgain:
    """Convert a batch as it was, and write it nowhere; memory holds its index.

    :raises IntegrityError: when what it was converted from is not what it was.
    """
    lines = io.BytesIO()
    with Path(os.devnull).open("wb") as nowhere:
        into = _Into(
            emls=StagedWriter(nowhere),
            index=StagedWriter(lines),
            messages=StagedWriter(nowhere),
            participants=StagedWriter(nowhere),
        )
        count, rejects = _convert(staging, batch.batch_id, batch.raw, batch.missing, batch.profile, into)
        digests = into.emls.finish(), into.index.finish(), into.messages.finish(), into.participants.finish()
    return MadeAgain(digests=digests, index=lines.getvalue(), converted=count, rejects=tuple(rejects))


def _convert(
    staging: StagingHook,
    batch_id: str,
    raw: StagedObject,
    missing: StagedObject | None,
    profile: Profile,
    into: _Into,
) -> tuple[int, list[Reject]]:
    """Convert record by record; return how many became e-mails, and the others."""
    rejects: list[Reject] = []
    count = 0

    def open_part(part: Part) -> Iterator[bytes]:
        with staging.reader(attachment_object(part.sha256, part.size)) as octets:
            while chunk := octets.read(PIECE):
                yield chunk

    into.participants.write(PARTICIPANTS_HEAD)
    absent = missing_of(staging, missing)
    with staging.reader(raw) as lines:
        for each in convert_batch(lines, batch_id=batch_id, profile=profile, missing=absent):
            if isinstance(each, Reject):
                rejects.append(each)
                continue
            eml_at, message_at = into.emls.tell(), into.messages.tell()
            digest = hashlib.sha256()
            try:
                for chunk in eml_chunks(each.rendering, open_part):
                    into.emls.write(chunk)
                    digest.update(chunk)
            except IntegrityError as error:  # an attachment in staging is not what it was
                raise IntegrityError(f"batch {batch_id}, item {each.captured.item.item_id}: {error}") from error
            into.messages.write(packed_message(each.rendering))
            row = index_row(
                each,
                eml=(eml_at, into.emls.tell() - eml_at),
                eml_sha256=digest.hexdigest(),
                message=(message_at, into.messages.tell() - message_at),
            )
            into.index.write(row)
            into.participants.write(participant_rows(count, each.captured.item))
            count += 1
    return count, rejects


def missing_of(staging: StagingHook, missing: StagedObject | None) -> dict[File, Cause]:
    """Return which attachments of a batch could not be staged, and why."""
    return {each.file: each.cause for each in staging.read_lines(missing, Missing)} if missing else {}
