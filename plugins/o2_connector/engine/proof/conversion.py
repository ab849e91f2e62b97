"""Proof of the conversion: that each record as it came makes the very e-mails and messages that are staged.

What this version of the converter made is made again, byte for byte. What another version made is held against its
record: the record is rebuilt from the e-mail, and from the message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import BinaryIO

import msgspec

from o2_connector.core.conversion import IndexRow, Reject
from o2_connector.core.errors import IntegrityError, ItemError
from o2_connector.core.facts import CONVERTER_VERSION
from o2_connector.core.items import Captured, captured, record_digest
from o2_connector.core.ledger import Packed
from o2_connector.core.manifest import ConvertedBatch
from o2_connector.core.outcomes import Cause
from o2_connector.core.plurals import many
from o2_connector.core.rebuild import Archived, read_eml, read_graph_message, rebuild
from o2_connector.engine.conversion import MadeAgain, convert_again
from o2_connector.engine.proof.asked import Asked
from o2_connector.engine.proof.result import Fault, Proof, Result
from o2_connector.hooks.staging import StagingHook

_PARTS = ("e-mails", "index", "messages", "participants")
_REMEDY = (
    "The record as it came is the evidence. Restore the batch's objects from a copy of staging; where there is none,"
    " run the window again: it is converted anew"
)


@dataclass(kw_only=True)
class _Counts:
    """Count what was proved."""

    batches: int = 0
    items: int = 0
    rejects: int = 0
    others: int = 0
    cut: int = 0
    faults: list[Fault] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)


def prove_conversion(staging: StagingHook, asked: Asked) -> Result:
    """Convert every batch once more."""
    counts = _Counts()
    for batch in asked.conversions():
        try:
            faults = list((_again if batch.converter == CONVERTER_VERSION else _rebuilt)(staging, batch, counts))
        except IntegrityError as error:
            counts.unproved.append(f"batch {batch.batch_id} cannot be converted again: {error}")
            continue
        except msgspec.DecodeError:  # whose words may hold a value
            counts.unproved.append(f"batch {batch.batch_id} cannot be compared: {batch.index.name} is not what it was")
            continue
        counts.faults += faults
        if not faults:
            counts.batches += 1
            counts.items += batch.converted
            counts.rejects += batch.rejected
    counts.unproved += asked.unknown("what was converted")
    return Result(
        proof=Proof.CONVERSION,
        proved=_proved(counts) if asked.books else "",
        faults=tuple(counts.faults),
        unproved=tuple(counts.unproved),
    )


def _proved(counts: _Counts) -> str:
    if not counts.batches:
        return "" if counts.faults or counts.unproved else "nothing was converted"
    records = many(counts.items + counts.rejects, "record")
    batches = f"{counts.batches:,} batch{'es' * (counts.batches != 1)}"
    said = f"{records} in {batches} converted again: the same {counts.items:,} e-mails and {counts.rejects:,} rejects"
    if counts.others:
        said += f"; {counts.others:,} of them, of another version of the converter, rebuilt from e-mail and message"
    if counts.cut:
        said += f"; {counts.cut:,} of these, too long for a message, by their digest alone"
    return said


def _again(staging: StagingHook, batch: ConvertedBatch, _: _Counts) -> Iterator[Fault]:
    """Yield where the same version makes something else."""
    made = convert_again(staging, batch)
    staged = batch.emls, batch.index, batch.messages, batch.participants
    if made.digests[1] != batch.index.sha256:
        yield from _other_items(staging, batch, made)
    for part, digest, each in zip(_PARTS, made.digests, staged, strict=True):
        if digest != each.sha256:
            yield _other(each.name, f"its record makes other {part}")
    if made.rejects_digest != (batch.rejects.sha256 if batch.rejects else None):
        yield _other(batch.rejects.name if batch.rejects else batch.raw.name, "its record makes other rejects")
    if (made.converted, len(made.rejects)) != (batch.converted, batch.rejected):
        yield _other(batch.raw.name, "it has not as many items as its run has counted")


def _other_items(staging: StagingHook, batch: ConvertedBatch, made: MadeAgain) -> Iterator[Fault]:
    """Yield the items whose line of the index is another."""
    decoder = msgspec.json.Decoder(IndexRow)
    with staging.reader(batch.index) as lines:
        for is_, should in zip_longest(lines, made.index.splitlines(keepends=True)):
            if is_ != should:
                item_id = decoder.decode(should or is_).item_id
                yield _other(batch.index.name, "its record makes another e-mail", item_id)


def _rebuilt(staging: StagingHook, batch: ConvertedBatch, counts: _Counts) -> Iterator[Fault]:
    """Yield the items whose record cannot be rebuilt from what another version of the converter made of them."""
    rejects = {each.line: each.record for each in staging.read_lines(batch.rejects, Reject)} if batch.rejects else {}
    rows = staging.read_lines(batch.index, IndexRow)
    with (
        staging.reader(batch.raw) as lines,
        staging.reader(batch.emls) as emls,
        staging.reader(batch.messages) as messages,
    ):
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if number in rejects:
                if rejects.pop(number) != record_digest(line):
                    yield _other(batch.raw.name, f"line {number} is not the record that was rejected")
                continue
            row = next(rows, None)
            if row is None or row.record != record_digest(line):
                yield _other(batch.raw.name, f"line {number} is neither converted nor rejected")
                return
            counts.others += 1
            yield from _same(batch, row, line, emls, messages, counts)
        for row in rows:
            yield _other(batch.index.name, "there is no record of it", row.item_id)
        if rejects:
            yield _other(batch.raw.name, f"{many(len(rejects), 'record')} that were rejected are not there")
        if emls.read(1) or messages.read(1):
            yield _other(batch.emls.name, "it has more than the index says")


def _same(
    batch: ConvertedBatch, row: IndexRow, line: bytes, emls: BinaryIO, messages: BinaryIO, counts: _Counts
) -> Iterator[Fault]:
    """Yield where an item's e-mail or message is not that of its record; both are read as far as they go."""
    eml, packed = emls.read(row.eml[1]), messages.read(row.message[1])
    if hashlib.sha256(eml).hexdigest() != row.eml_sha256:
        yield _other(batch.emls.name, "its e-mail is not that of its digest", row.item_id)
        return
    try:
        record = captured(line)
        message = msgspec.json.decode(msgspec.json.decode(packed, type=Packed).message)
        if Cause.TEXT_TOO_LONG in row.causes:
            counts.cut += 1
        for name, archived in ((batch.emls.name, read_eml(eml)), (batch.messages.name, read_graph_message(message))):
            if not _is_of(archived, record, cut=Cause.TEXT_TOO_LONG in row.causes):
                yield _other(name, "what is rebuilt from it is not its record", row.item_id)
    except (IntegrityError, ItemError) as error:
        yield _other(batch.emls.name, f"its record cannot be rebuilt: {error}", row.item_id)
    except msgspec.DecodeError:  # whose words may hold a value
        yield _other(batch.messages.name, "its message is none", row.item_id)


def _is_of(archived: Archived, record: Captured, *, cut: bool) -> bool:
    if cut:
        return dict(archived.facts).get("X-O2-SHA256") == record.digest
    return rebuild(archived) == record


def _other(place: str, what: str, item_id: str | None = None) -> Fault:
    return Fault(place=place, item_id=item_id, what=what, remedy=_REMEDY)
