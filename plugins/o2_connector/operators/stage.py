"""Stage: copy batches and their attachments from TeleMessage into write-once objects, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from o2_connector.core.conversion import Missing
from o2_connector.core.errors import ItemError
from o2_connector.core.items import Attachment, File, parse_item
from o2_connector.core.layout import attachment_object, attachment_stem, raw_stem
from o2_connector.core.manifest import ExportGroup, StagedBatch, StagedGroup, StagedObject, from_xcom, to_xcom
from o2_connector.core.outcomes import Cause
from o2_connector.core.source import AlteredError, Batch
from o2_connector.core.trail import Trail, batches_label, stage_trail
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.telemessage import TeleMessageHook
from o2_connector.hooks.transport import backoff
from o2_connector.operators.run import ArchiveOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

DOWNLOADS = 4  # attachments at a time
TRIES = 3  # for bytes that are not those of their digest


class StageToBlobOperator(ArchiveOperator):
    """Stage the batches of one group.

    Returns a :class:`StagedGroup`. What is staged already is not copied again. An attachment that cannot be had is
    named in the batch's ``missing`` object, and everything else goes on.

    :param group: an :class:`ExportGroup`. (templated)
    """

    template_fields: Sequence[str] = ("group",)

    def __init__(self, *, group: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group = group
        self.done: StagedGroup | None = None
        self.attachments: int | None = None

    @property
    def label(self) -> str:
        """Return the map index's name."""
        return batches_label(from_xcom(self.group, ExportGroup).batches)

    def trail(self) -> Trail:
        """Say that batches and their attachments are copied."""
        return stage_trail(from_xcom(self.group, ExportGroup), self.done, self.attachments)

    def execute(self, context: Context) -> Any:
        """Copy batch by batch."""
        group = from_xcom(self.group, ExportGroup)
        source, staging = TeleMessageHook(), StagingHook()
        batches, named, absent = [], 0, 0
        for batch in group.batches:
            stem = raw_stem(group.window, batch.batch_id)
            raw = self._stage_batch(source, staging, group, batch)
            with staging.reader(raw) as lines:
                items, attachments = survey(lines)
            missing = list(self._stage_attachments(source, staging, attachments))
            named, absent = named + len(attachments), absent + len(missing)
            batches.append(
                StagedBatch(
                    batch_id=batch.batch_id,
                    items=items,
                    promised=batch.item_count,
                    raw=raw,
                    missing=staging.write_lines(f"{stem}missing.", missing) if missing else None,
                )
            )
        self.log.info("Staged %d batches; %d attachments, %d of them missing", len(batches), named, absent)
        self.done, self.attachments = StagedGroup(window=group.window, batches=tuple(batches)), named - absent
        return to_xcom(self.done)

    def _stage_batch(
        self, source: TeleMessageHook, staging: StagingHook, group: ExportGroup, batch: Batch
    ) -> StagedObject:
        stem = raw_stem(group.window, batch.batch_id)
        staged = StagedObject(name=f"{stem}{batch.sha256}.jsonl", sha256=batch.sha256, size=batch.size)
        if staging.size(staged.name) == batch.size:
            return staged
        return _copy(staging, stem, ".jsonl", batch.sha256, lambda: source.read_batch(group.export_id, batch))

    def _stage_attachments(
        self, source: TeleMessageHook, staging: StagingHook, attachments: Sequence[Attachment]
    ) -> Iterator[Missing]:
        def stage(attachment: Attachment) -> Missing | None:
            if staging.size(attachment_object(attachment.sha256, attachment.byte_count).name) == attachment.byte_count:
                return None
            try:
                _copy(
                    staging,
                    attachment_stem(attachment.sha256),
                    "",
                    attachment.sha256,
                    lambda: source.read_attachment(
                        attachment.attachment_id, size=attachment.byte_count, sha256=attachment.sha256
                    ),
                )
            except ItemError:
                return Missing(file=attachment.file, cause=Cause.ATTACHMENT_GONE)
            except AlteredError:
                return Missing(file=attachment.file, cause=Cause.ATTACHMENT_ALTERED)
            return None

        with ThreadPoolExecutor(DOWNLOADS) as pool:
            yield from (missing for missing in pool.map(stage, attachments) if missing)


def survey(lines: Iterable[bytes]) -> tuple[int, list[Attachment]]:
    """Count a batch's records, and return the attachments that they name, each file once, in order."""
    count, found = 0, dict[File, Attachment]()
    for line in lines:
        count += bool(line.strip())
        try:
            item = parse_item(line)
        except ItemError:
            continue  # convert rejects it, by name
        for attachment in item.attachments:
            found.setdefault(attachment.file, attachment)
    return count, list(found.values())


def _copy(
    staging: StagingHook, stem: str, suffix: str, sha256: str, read: Callable[[], Iterator[bytes]], tries: int = TRIES
) -> StagedObject:
    try:
        with staging.writer(stem, suffix, expect_sha256=sha256) as out:
            for chunk in read():
                out.write(chunk)
    except AlteredError:
        if tries == 1:
            raise
        time.sleep(backoff(TRIES - tries))
        return _copy(staging, stem, suffix, sha256, read, tries - 1)
    return out.staged
