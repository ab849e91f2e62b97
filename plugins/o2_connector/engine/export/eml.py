"""EML: a file for each item, byte for byte as it was converted; what was left out of the e-mail is beside it."""

from __future__ import annotations

from collections.abc import Iterator
from email.parser import BytesHeaderParser
from typing import BinaryIO

from o2_connector.core.errors import IntegrityError
from o2_connector.engine.export.manifest import AttachmentPlace
from o2_connector.engine.export.places import PIECE, Place, Placed, Places, place_of
from o2_connector.engine.export.source import Item, OpenBatch, Rejected

_HEAD = 1 << 20  # bytes in which an e-mail's headers end


class EmlFormat:
    """Write e-mails."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def write(self, batch: OpenBatch) -> Places:
        """Write a batch's e-mails."""
        with batch.emls.open("rb") as emls:
            for each in batch.items():
                if isinstance(each, Rejected):
                    yield each, self._place.reject(each)
                    continue
                path = self._write(emls, each)
                yield each, Placed(path=path, attachments=tuple(self._attachments(batch, emls, each, path)))

    def finish(self) -> Places:
        """Have nothing left."""
        yield from ()

    def _write(self, emls: BinaryIO, item: Item) -> str:
        """Write an e-mail, once; another one of the same item, which the report calls a contradiction, beside it."""
        row = item.row
        path = f"{row.key[:2]}/{row.key}.eml"
        there = self._place.folder.sum_of(path)
        if there == row.eml_sha256:
            return path
        if there:
            path = f"{row.key[:2]}/{row.key}.{row.eml_sha256[:16]}.eml"
            if self._place.folder.has(path):
                return path
        with self._place.folder.file(path) as out:
            for piece in _pieces(emls, *row.eml):
                out.write(piece)
            if out.sha256 != row.eml_sha256:
                raise IntegrityError(f"item {row.item_id}: its e-mail is not what it was")
        return path

    def _attachments(self, batch: OpenBatch, emls: BinaryIO, item: Item, path: str) -> Iterator[AttachmentPlace]:
        left_out = _left_out(emls, item) if item.row.causes else frozenset()
        for each in item.attachments:
            if each.sha256 in left_out:
                yield self._place.attachment(batch, each)
            else:
                yield place_of(each, path, None)


def _left_out(emls: BinaryIO, item: Item) -> frozenset[str]:
    """Return the digests of the attachments that an e-mail says are not in it."""
    offset, length = item.row.eml
    emls.seek(offset)
    head = BytesHeaderParser().parsebytes(emls.read(min(length, _HEAD)).partition(b"\r\n\r\n")[0])
    return frozenset(str(head["X-O2-Not-Attached"] or "").replace(",", " ").split())


def _pieces(emls: BinaryIO, offset: int, length: int) -> Iterator[bytes]:
    emls.seek(offset)
    while length and (piece := emls.read(min(length, PIECE))):
        yield piece
        length -= len(piece)
