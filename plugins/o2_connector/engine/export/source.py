"""Source: what the last book of a window goes by, and its items, each held against the digests that the book has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from o2_connector.core.chain import Link, Sealed, latest
from o2_connector.core.conversion import IndexRow, Missing, Reject
from o2_connector.core.errors import IntegrityError, StopError
from o2_connector.core.items import Attachment, File, parse_item, record_digest
from o2_connector.core.layout import run_stem
from o2_connector.core.manifest import ConvertedBatch, DecisionRecord
from o2_connector.core.outcomes import Cause
from o2_connector.core.window import Window
from o2_connector.engine.chain import links_of
from o2_connector.hooks.staging import StagingHook


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Hold what a window's book goes by.

    :param digest: of the book's link in the chain.
    :param batches: what the items were converted to, in the source's order.
    """

    window: Window
    link: Link
    digest: str
    batches: tuple[ConvertedBatch, ...]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one captured item.

    :param line: its line in the batch, from 1.
    :param record: the line without its end.
    """

    line: int
    record: bytes
    row: IndexRow

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Return its attachments; a record is parsed only where it may have any, however their name is spelled."""
        may_have = b"attachments" in self.record or b"\\u" in self.record
        return parse_item(self.record).attachments if may_have else ()


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a record that breaks the contract."""

    reject: Reject
    record: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenBatch:
    """Lend a batch, all of whose objects are what they were.

    :param raw: the batch as it came.
    :param emls: its EMLs, one after the other.
    :param missing: why, for each attachment that could not be had.
    """

    staging: StagingHook
    batch: ConvertedBatch
    raw: Path
    emls: Path
    missing: dict[File, Cause]

    def items(self) -> Iterator[Item | Rejected]:
        """Yield every record.

        :raises IntegrityError: when it is not the one that was converted.
        """
        batch = self.batch
        rejects = {each.line: each for each in self.staging.read_lines(batch.rejects, Reject)} if batch.rejects else {}
        rows = self.staging.read_lines(batch.index, IndexRow)
        with self.raw.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                record = line.rstrip(b"\r\n")
                if not record.strip():
                    continue
                if number in rejects:
                    yield Rejected(reject=rejects[number], record=record)
                    continue
                row = next(rows, None)
                if row is None or row.record != record_digest(record):
                    raise IntegrityError(f"{batch.index.name} is not of line {number} of {batch.raw.name}")
                yield Item(line=number, record=record, row=row)
        if next(rows, None) is not None:
            raise IntegrityError(f"{batch.index.name} has more items than {batch.raw.name}")


def source_of(staging: StagingHook, window: Window) -> Source:
    """Return what the last book of a window goes by: a run's, which was no dry one.

    :raises StopError: when no run has closed a book over the window.
    """
    links = {
        digest: link
        for digest, link in links_of(staging).items()
        if link.window == window and not link.dry_run and not link.replay
    }
    link = latest(links.values())
    if link is None:
        raise StopError(f"No run has closed a book over window {window.name}: archive it first, or name another")
    stem = f"{run_stem(window, link.run_id)}decision."
    decisions = [
        record
        for each in staging.read_lines(link.seal, Sealed)
        if each.name.startswith(stem)
        for record in staging.read_lines(staging.staged(each.name), DecisionRecord)
    ]
    last = max(decisions, key=lambda record: record.decided_at, default=None)
    return Source(
        window=window,
        link=link,
        digest=next(digest for digest, each in links.items() if each is link),
        batches=last.batches if last else (),
    )


@contextmanager
def opened(staging: StagingHook, batch: ConvertedBatch) -> Iterator[OpenBatch]:
    """Lend a batch.

    :raises IntegrityError: when an object of it is missing, or is not what it was.
    """
    with ExitStack() as stack:
        lent = OpenBatch(
            staging=staging,
            batch=batch,
            raw=stack.enter_context(staging.local(batch.raw)),
            emls=stack.enter_context(staging.local(batch.emls)),
            missing={each.file: each.cause for each in staging.read_lines(batch.missing, Missing)}
            if batch.missing
            else {},
        )
        for _ in lent.items():  # so that nothing is written of what does not fit together
            pass
        yield lent
