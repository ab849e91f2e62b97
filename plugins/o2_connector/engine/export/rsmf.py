"""RSMF: a file for each conversation and day; see :mod:`o2_connector.core.rsmf`.

What belongs together lies in many batches. It is gathered in a SQLite database without a name of its own: a file of
this process alone, gone with it however it ends. So memory holds one file's items at a time.
"""

from __future__ import annotations

import sqlite3
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby, islice

import msgspec

from o2_connector.core.errors import IntegrityError
from o2_connector.core.items import Captured, captured
from o2_connector.core.layout import attachment_object
from o2_connector.core.rsmf import (
    MANIFEST,
    MOST_EVENTS,
    Entry,
    conversation_id,
    conversation_in,
    day_of,
    file_name,
    in_order,
    rsmf_chunks,
    slice_of,
)
from o2_connector.engine.export.places import NOT_IN_STAGING, PIECE, Place, Placed, Places, place_of
from o2_connector.engine.export.source import Item, OpenBatch, Rejected


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Keep an item until its conversation's day is written.

    :param region: see :class:`o2_connector.core.conversion_profile.Profile`.
    :param missing: why, for each of its attachments that could not be had, by SHA-256.
    """

    item: Item
    region: str
    missing: dict[str, str]


_KEPT = msgspec.msgpack.Decoder(_Kept)
_TABLE = "CREATE TABLE kept (talk, day, sent, item_id, kept)"
_ASK = "SELECT talk, day, kept FROM kept ORDER BY talk, day, sent, item_id, rowid"


class RsmfFormat:
    """Write conversations."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._kept = sqlite3.connect("", isolation_level=None)
        self._kept.execute("PRAGMA journal_mode = OFF")
        self._kept.execute(_TABLE)
        self._kept.execute("BEGIN")

    def write(self, batch: OpenBatch) -> Places:
        """Keep a batch's items; write what was rejected."""
        region = batch.batch.profile.region
        for each in batch.items():
            if isinstance(each, Rejected):
                yield each, self._place.reject(each)
                continue
            item = captured(each.record).item
            missing: dict[str, str] = {
                file.sha256: batch.missing[file.file] for file in item.attachments if file.file in batch.missing
            }
            kept = msgspec.msgpack.encode(_Kept(item=each, region=region, missing=missing))
            talk = conversation_id(conversation_in(item, region))
            sent, item_id = in_order(item)
            row = (talk, day_of(item).isoformat(), sent.isoformat(timespec="microseconds"), item_id, kept)
            self._kept.execute("INSERT INTO kept VALUES (?, ?, ?, ?, ?)", row)

    def finish(self) -> Places:
        """Write the conversations, day by day."""
        with closing(self._kept):
            for _, day in groupby(self._kept.execute(_ASK), key=lambda row: row[:2]):
                kept = (_KEPT.decode(row[2]) for row in day)
                number = 0
                while some := list(islice(kept, MOST_EVENTS)):
                    number += 1
                    yield from self._write(some, number)

    def _write(self, some: Sequence[_Kept], number: int) -> Places:
        """Write a file; what the source sent again is in it once."""
        read = [(each, captured(each.item.record)) for each in some]
        once: dict[tuple[str, str], tuple[_Kept, Captured]] = {}
        for each, found in read:
            once.setdefault((found.item.item_id, found.digest), (each, found))
        with tempfile.SpooledTemporaryFile(PIECE) as file:
            with zipfile.ZipFile(file, "w") as archive:
                broken = self._add_attachments(archive, read)
                entries = (Entry(captured=found, absent={**each.missing, **broken}) for each, found in once.values())
                made = slice_of(sorted(entries, key=lambda entry: in_order(entry.item)), some[0].region, number)
                manifest = msgspec.json.encode(made.manifest)
                _add(archive, MANIFEST, len(manifest), [manifest])
            file.seek(0)
            path = f"{made.name[:2]}/{made.name}"
            with self._place.folder.file(path) as out:
                for chunk in rsmf_chunks(made, iter(lambda: file.read(PIECE), b"")):
                    out.write(chunk)
        for each, found in read:
            absent = {**each.missing, **broken}
            places = ((file, absent.get(file.sha256)) for file in found.item.attachments)
            attachments = tuple(place_of(file, None if cause else path, cause) for file, cause in places)
            yield each.item, Placed(path=path, attachments=attachments)

    def _add_attachments(self, archive: zipfile.ZipFile, read: Iterable[tuple[_Kept, Captured]]) -> dict[str, str]:
        """Put the attachments into the zip; return why, by SHA-256, for each that is not in staging as it was."""
        broken: dict[str, str] = {}
        names: set[str] = set()
        for each, found in read:
            for file in found.item.attachments:
                if file.sha256 in each.missing or file_name(file) in names or file.sha256 in broken:
                    continue
                try:
                    staged = attachment_object(file.sha256, file.byte_count)
                    with self._place.staging.local(staged) as path, path.open("rb") as content:
                        _add(archive, file_name(file), staged.size, iter(partial(content.read, PIECE), b""))
                    names.add(file_name(file))
                except IntegrityError as error:
                    self._place.faults.append(str(error))
                    broken[file.sha256] = NOT_IN_STAGING
        return broken


def _add(archive: zipfile.ZipFile, name: str, size: int, pieces: Iterable[bytes]) -> None:
    """Put a file into a zip, as it is everywhere and always: not compressed, for each zlib does it its own way."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr, info.file_size = 3, 0o600 << 16, size  # Unix's
    with archive.open(info, "w") as entry:
        for piece in pieces:
            entry.write(piece)
