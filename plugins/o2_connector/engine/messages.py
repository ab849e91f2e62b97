"""Messages: lend what deliveries refer to, from the packs in staging."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec

from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import attachment_object
from o2_connector.core.ledger import Delivery, Packed
from o2_connector.core.manifest import StagedObject
from o2_connector.hooks.graph_upload import Attachment, file_attachment
from o2_connector.hooks.staging import StagingHook


class Messages:
    """Lend messages; threads may share one.

    A pack is verified, and fetched to this worker where staging is remote, when the first message of it is wanted.
    """

    def __init__(self, staging: StagingHook, packs: Sequence[StagedObject], stack: ExitStack) -> None:
        self._staging = staging
        self._packs = packs
        self._stack = stack
        self._paths: dict[int, Path] = {}
        self._lock = threading.Lock()
        self._decoder = msgspec.json.Decoder(Packed)

    def of(self, row: Delivery) -> Packed:
        """Return the message of a delivery.

        :raises IntegrityError: when what lies there is another item's.
        """
        with self._path(row.pack).open("rb") as pack:
            pack.seek(row.offset)
            packed = self._decoder.decode(pack.read(row.length))
        if row.key.encode() not in bytes(packed.message):
            raise IntegrityError(f"item {row.item_id}: its delivery refers to another item's message; run map again")
        return packed

    def body_of(self, row: Delivery) -> msgspec.Raw:
        """Return the JSON that creates a delivery's message with all of its attachments in one request."""
        packed = self.of(row)
        if not packed.parts:
            return packed.message
        files = msgspec.json.encode([file_attachment(each) for each in self.attachments(packed)])
        return msgspec.Raw(b'%b,"attachments":%b}' % (bytes(packed.message).rstrip()[:-1], files))

    def attachments(self, packed: Packed) -> list[Attachment]:
        """Return a message's attachments, to be read when they are sent."""
        return [
            Attachment(
                name=part.name,
                content_type=part.content_type,
                size=part.size,
                content_id=None,
                is_inline=False,
                open=partial(self._staging.reader, attachment_object(part.sha256, part.size)),
            )
            for part in packed.parts
        ]

    def _path(self, number: int) -> Path:
        path = self._paths.get(number)
        if path is None:
            with self._lock:
                if (path := self._paths.get(number)) is None:
                    path = self._stack.enter_context(self._staging.local(self._packs[number]))
                    self._paths[number] = path
        return path
