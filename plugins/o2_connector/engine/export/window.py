"""Export: everything of a window into a folder, with a manifest that others can check, from staging alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from o2_connector.core.conversion import IndexRow, Reject
from o2_connector.core.errors import IntegrityError, ItemError
from o2_connector.core.identity import message_id
from o2_connector.core.items import parse_item, record_digest
from o2_connector.core.manifest import ConvertedBatch
from o2_connector.core.window import Window
from o2_connector.engine.export.eml import EmlFormat
from o2_connector.engine.export.folder import Folder
from o2_connector.engine.export.jsonl import JsonlFormat
from o2_connector.engine.export.manifest import ItemLine, RejectLine, WindowLine
from o2_connector.engine.export.outcomes import Outcomes, outcomes_of
from o2_connector.engine.export.places import NOT_IN_STAGING, Format, Place, Placed
from o2_connector.engine.export.rsmf import RsmfFormat
from o2_connector.engine.export.source import Item, Rejected, Source, opened, source_of
from o2_connector.hooks.staging import StagingHook

FORMATS: Mapping[str, Callable[[Place], Format]] = {"eml": EmlFormat, "rsmf": RsmfFormat, "jsonl": JsonlFormat}


def export_window(staging: StagingHook, window: Window, target: Path, form: str) -> WindowLine:
    """Write everything of a window; return the manifest's first line.

    :param target: the folder, which is not there yet, or is an empty one. It appears complete or not at all.
    :param form: which of :data:`FORMATS`.
    :raises StopError: when no run has closed a book over the window, or the folder cannot be.
    """
    source = source_of(staging, window)
    faults: list[str] = []
    with Folder(target) as folder, outcomes_of(staging, window, faults) as outcomes:
        place = Place(staging=staging, folder=folder, faults=faults)
        export = _Export(source=source, place=place, outcomes=outcomes, form=FORMATS[form](place))
        export.write()
        first = export.summed(form)
        folder.seal(first)
    return first


@dataclass(kw_only=True)
class _Export:
    """Write a window's items, and count them."""

    source: Source
    place: Place
    outcomes: Outcomes
    form: Format
    exported: int = 0
    rejected: int = 0
    not_exported: int = 0

    def write(self) -> None:
        """Write batch by batch; one that is not what it was is named, with its items, and the others go on."""
        for batch in self.source.batches:
            with ExitStack() as stack:
                try:
                    lent = stack.enter_context(opened(self.place.staging, batch))
                except IntegrityError as error:
                    self.place.faults.append(f"batch {batch.batch_id}: {error}")
                    self._leave_out(batch)
                    continue
                for each, placed in self.form.write(lent):
                    self._note(each, placed)
        for each, placed in self.form.finish():
            self._note(each, placed)

    def summed(self, form: str) -> WindowLine:
        """Return the manifest's first line."""
        link, counts = self.source.link, self.source.link.counts
        faults = list(dict.fromkeys(self.place.faults))
        told = self.exported + self.rejected + self.not_exported
        if told != counts.available_from_source:
            faults.append(f"the source said it has {counts.available_from_source} items, but {told} are told of here")
        if not link.balanced:
            faults.append("the book of the window does not balance: its report says why")
        return WindowLine(
            window=self.source.window.name,
            start=self.source.window.start,
            end=self.source.window.end,
            format=form,
            run_id=link.run_id,
            report=link.report.name,
            report_sha256=link.report.sha256,
            link_sha256=self.source.digest,
            converters=tuple(sorted({batch.converter for batch in self.source.batches})),
            items=counts.available_from_source,
            exported=self.exported,
            rejected=self.rejected,
            not_exported=self.not_exported,
            files=self.place.folder.files,
            bytes=self.place.folder.bytes,
            is_whole=not faults,
            faults=tuple(faults),
        )

    def _note(self, each: Item | Rejected, placed: Placed) -> None:
        if isinstance(each, Rejected):
            self.rejected += 1
            self._note_reject(each.reject, placed)
        else:
            self.exported += 1
            row = each.row
            self._note_item(row.item_id, row.record, causes=row.causes, placed=placed)

    def _note_item(self, item_id: str, record: str, causes: tuple[str, ...] = (), placed: Placed | None = None) -> None:
        became = self.outcomes.of(item_id, record)
        line = ItemLine(
            item_id=item_id,
            record=record,
            message_id=message_id(item_id),
            path=placed.path if placed else None,
            line=placed.line if placed else None,
            outcome=became.outcome,
            deliveries=became.deliveries,
            waits=became.waits,
            causes=causes,
            attachments=placed.attachments if placed else (),
            fault=None if placed else NOT_IN_STAGING,
        )
        self.place.folder.note(line)

    def _note_reject(self, reject: Reject, placed: Placed | None = None) -> None:
        line = RejectLine(
            item_id=reject.item_id,
            record=reject.record,
            batch=reject.batch_id,
            batch_line=reject.line,
            fault=reject.fault,
            path=placed.path if placed else None,
            line=placed.line if placed else None,
        )
        self.place.folder.note(line)

    def _leave_out(self, batch: ConvertedBatch) -> None:
        """Name the items of a batch that cannot be exported, as far as any of its objects says which they are."""
        self.not_exported += batch.items
        for item_id, record in self._named_in(batch):
            self._note_item(item_id, record)
        with suppress(IntegrityError):
            for reject in list(self.place.staging.read_lines(batch.rejects, Reject)) if batch.rejects else ():
                self._note_reject(reject)

    def _named_in(self, batch: ConvertedBatch) -> list[tuple[str, str]]:
        """Return item id and record of each item, by the index or else by the batch as it came."""
        with suppress(IntegrityError):
            return [(row.item_id, row.record) for row in self.place.staging.read_lines(batch.index, IndexRow)]
        with suppress(IntegrityError), self.place.staging.reader(batch.raw) as lines:
            return [named for line in lines if (named := _named(line))]
        return []


def _named(line: bytes) -> tuple[str, str] | None:
    try:
        return parse_item(line).item_id, record_digest(line)
    except ItemError:
        return None
