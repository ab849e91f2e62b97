"""Messages: lend what deliveries refer to, from the packs in staging."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol

import msgspec

from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import attachment_object
from o2_connector.core.ledger import Delivery, Packed
from o2_connector.core.manifest import StagedObject
from o2_connector.hooks.graph_upload import Attachment, file_attachment
from o2_connector.hooks.staging import StagingHook

PACKS_OPEN = 200
"""Packs that are kept open at a time; the system's usual limit is 1,024 files."""

PACKS_AHEAD = 4
"""Packs that are made ready before they are wanted."""


class Located(Protocol):
    """Say where an item's message lies: a delivery does."""

    @property
    def key(self) -> str: ...
    @property
    def item_id(self) -> str: ...
    @property
    def pack(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...


class Messages:
    """Lend messages while a ``with`` block lasts; threads may share one.

    A pack is verified, and fetched to this worker where staging is remote, when the first message of it is wanted.
    """

    def __init__(self, staging: StagingHook, packs: Sequence[StagedObject]) -> None:
        self._staging = staging
        self._packs = packs
        self._stack = ExitStack()
        self._paths: dict[int, Path] = {}
        self._opened: dict[int, _Pack] = {}
        self._fetched: set[int] = set()
        self._lock = threading.Lock()
        self._lending = defaultdict[int, threading.Lock](threading.Lock)
        self._ahead = ThreadPoolExecutor(1, "pack")
        self._decoder = msgspec.json.Decoder(Packed)

    def __enter__(self) -> Messages:
        """Begin to lend."""
        self._fetch(range(PACKS_AHEAD))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give back what was fetched."""
        self._ahead.shutdown(cancel_futures=True)
        self._stack.close()

    def of(self, row: Located) -> Packed:
        """Return the message of a delivery.

        :raises IntegrityError: when what lies there is another item's.
        """
        pack = self._pack(row.pack)  # held until it is read: another thread may need its place
        packed = self._decoder.decode(os.pread(pack.descriptor, row.length, row.offset))
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
                content_id=part.content_id,
                open=partial(self._staging.reader, attachment_object(part.sha256, part.size)),
            )
            for part in packed.parts
        ]

    def _pack(self, number: int) -> _Pack:
        pack = self._opened.get(number)
        if pack is None:
            path = self._path(number)
            with self._lock:
                self._fetch(range(number + 1, number + 1 + PACKS_AHEAD))
                while len(self._opened) >= PACKS_OPEN:
                    del self._opened[next(iter(self._opened))]
                pack = self._opened[number] = _Pack(path)
        return pack

    def _fetch(self, numbers: Iterable[int]) -> None:
        """Have packs made ready: deliveries go oldest first, as packs do, and nobody has to wait for the next one."""
        for number in numbers:
            if number < len(self._packs) and number not in self._fetched:
                self._fetched.add(number)
                self._ahead.submit(self._path, number)

    def _path(self, number: int) -> Path:
        with self._lending[number]:
            if number not in self._paths:
                self._paths[number] = self._stack.enter_context(self._staging.local(self._packs[number]))
            return self._paths[number]


class _Pack:
    """Keep a pack open, as long as anybody reads it."""

    __slots__ = ("descriptor",)

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.descriptor)
