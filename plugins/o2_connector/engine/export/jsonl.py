"""JSON Lines: the batches byte for byte as they came, and their attachments by digest."""

from __future__ import annotations

from pathlib import PurePosixPath

from o2_connector.engine.export.places import PIECE, Place, Placed, Places
from o2_connector.engine.export.source import OpenBatch, Rejected


class JsonlFormat:
    """Write records as they were captured."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def write(self, batch: OpenBatch) -> Places:
        """Write a batch, whole, and its attachments."""
        path = f"records/{PurePosixPath(batch.batch.raw.name).name}"
        with batch.raw.open("rb") as content, self._place.folder.file(path) as out:
            while piece := content.read(PIECE):
                out.write(piece)
        for each in batch.items():
            if isinstance(each, Rejected):
                yield each, Placed(path=path, line=each.reject.line)
                continue
            places = tuple(self._place.attachment(batch, file) for file in each.attachments)
            yield each, Placed(path=path, line=each.line, attachments=places)

    def finish(self) -> Places:
        """Have nothing left."""
        yield from ()
