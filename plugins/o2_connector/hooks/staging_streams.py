"""Know an object's bytes by digest and size while they pass: into staging as they are written, out as they are read."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO

from o2_connector.core.errors import IntegrityError
from o2_connector.core.manifest import StagedObject
from o2_connector.hooks.staging_errors import raise_for_disk, translated

BLOCK = 4 * 1024 * 1024
"""Bytes that are asked of Azure at a time: memory for one object stays within a few of these."""

_HELD = 64 * 1024


class StagedWriter:
    """Take the bytes of one object in order and know their digest and size as they pass."""

    def __init__(self, spool: BinaryIO) -> None:
        self._spool = spool
        self._digest = hashlib.sha256()
        self._held = bytearray()  # of small pieces, so that each need not be digested and spooled by itself
        self._staged: StagedObject | None = None
        self.size = 0

    def write(self, data: bytes) -> int:
        """Append bytes."""
        if self._staged is not None:
            raise RuntimeError("an object that is staged takes no more bytes")
        self._held += data
        self.size += len(data)
        if len(self._held) >= _HELD:
            self._pass_on()
        return len(data)

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self.size

    def finish(self) -> str:
        """Have the spool take all bytes so far, and return their digest."""
        self._pass_on()
        return self._digest.hexdigest()

    def seal(self, staged: StagedObject) -> None:
        """Keep what the object became."""
        self._staged = staged

    @property
    def staged(self) -> StagedObject:
        """Return what the object became; there is nothing to return before the ``with`` block is left."""
        if self._staged is None:
            raise RuntimeError("an object is staged when its writer's with block has been left without an error")
        return self._staged

    def _pass_on(self) -> None:
        held, self._held = self._held, bytearray()
        try:
            self._spool.write(held)
        except OSError as error:
            raise_for_disk(error, "spooling an object")
        self._digest.update(held)


class VerifiedSource(io.RawIOBase):
    """Pass an object's bytes on and hold them against its digest and size, before the last of them are handed out."""

    def __init__(self, source: BinaryIO, staged: StagedObject) -> None:
        self._source = source
        self._staged = staged
        self._digest = hashlib.sha256()
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with translated(f"reading {self._staged.name}"):
            data = self._source.read(len(buffer))
        self._digest.update(data)
        self._size += len(data)
        if (not data and len(buffer)) or self._size >= self._staged.size:
            self._verify()
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        # The inherited one asks for 8 KiB at a time.
        return b"".join(iter(lambda: self.read(BLOCK) or b"", b""))

    def _verify(self) -> None:
        found = self._digest.hexdigest()
        if (self._size, found) != (self._staged.size, self._staged.sha256):
            raise IntegrityError(
                f"staging: {self._staged.name} was written as {self._staged.size} bytes with sha256"
                f" {self._staged.sha256}, but {self._size} bytes with sha256 {found} were read"
            )

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()
