"""Mapping files: notice that the admins have changed them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from o2_connector.core.errors import StopError
from o2_connector.core.mapping_files import is_mapping_file

SECONDS = 10.0  # between two looks; two in a row have to agree, so a run starts 10 to 21 s after the last change

#: Under which the asset keeps the digest that was last told of.
TOLD = "mapping_files_digest"


@dataclass(frozen=True, kw_only=True, slots=True)
class MappingFiles:
    """Know one state of the mapping files again.

    :param digest: SHA-256, in hex, over names and bytes; when a file was written has no part in it.
    """

    files: int
    digest: str


class MappingFilesTrigger(BaseEventTrigger):
    """Send an event whenever the mapping files are others than those of the last event.

    Which those were is kept with the watched asset, so that what changes while nothing watches (no triggerer, a paused
    DAG) is noticed by the next that does. The first ever look sends an event as well. A change is told of once two
    looks in a row agree, so not while it is being written; of many changes in between, only the last is seen.

    An event can come twice when a triggerer is killed; none is lost. Its payload is :class:`MappingFiles` as a dict.

    :param folder: folder whose CSV files are, together, the mapping; as the triggerer sees it.
    :param seconds: between two looks.
    """

    def __init__(self, *, folder: str, seconds: float = SECONDS) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folder = folder
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Say how to make this trigger again."""
        return f"{__name__}.{type(self).__name__}", {"folder": self.folder, "seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for ever.

        :raises StopError: where no asset is watched: there would be nowhere to keep what was told.
        """
        store = self.asset_state_store
        if store is None:
            raise StopError("MappingFilesTrigger keeps its state with an asset: use it in an AssetWatcher only.")
        told = kept = await store.aget(TOLD)
        last: MappingFiles | None = None
        readable = True
        while True:
            try:
                now = await asyncio.to_thread(look, Path(self.folder))
            except OSError as error:
                if readable:
                    self.log.warning(
                        "The mapping files in %s cannot be read here (%s), so a change goes unnoticed. Where this does"
                        " not pass by itself, mount the folder into every triggerer.",
                        self.folder,
                        error.strerror,
                    )
                now = None
            if told != kept:
                # Only now: an event is on its way for about a second before Airflow has it for good.
                await store.aset(TOLD, told)
                kept = told
            if now and now == last and now.digest != told:
                self.log.info("The mapping files have changed: %d files, digest %s", now.files, now.digest)
                yield TriggerEvent(asdict(now))  # type: ignore[no-untyped-call]
                told = now.digest
            last, readable = now, now is not None
            await asyncio.sleep(self.seconds)


def look(folder: Path) -> MappingFiles:
    """Take the digest of the files that ``map_mailboxes`` reads.

    :raises OSError: while the folder is not there or a file in it cannot be read.
    """
    whole = hashlib.sha256()
    files = 0
    for path in sorted(folder.iterdir()):
        if is_mapping_file(path.name) and not path.is_dir():
            with path.open("rb") as content:
                # Neither part can run into the other: a name holds no NUL, and a digest has one length.
                whole.update(os.fsencode(path.name) + b"\0")
                whole.update(hashlib.file_digest(content, "sha256").digest())
            files += 1
    return MappingFiles(files=files, digest=whole.hexdigest())
