"""Folder: where an export grows, and appears under its name complete or not at all.

Every file is written here, so that what the sums say is what was written. What lies in the folder is personal: only its
owner may read it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from o2_connector.core.errors import StopError
from o2_connector.engine.export.manifest import FileLine

MANIFEST = "manifest.jsonl"
SUMS = "SHA256SUMS"
"""The file that ``sha256sum -c`` reads: every file but itself."""

_LINES = ".lines"  # of the manifest, but the first
_PIECE = 1 << 20


class Out:
    """Take a file's bytes, and know their digest and size as they pass."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """Return the digest of the bytes so far."""
        return self._digest.hexdigest()


class Folder:
    """Grow an export beside its place; a context manager. It is there once :meth:`seal` was called.

    :param target: the place, which is not there yet, or is an empty directory.
    :raises StopError: when something is there, or nothing can be written beside it.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        try:
            if target.exists() and (not target.is_dir() or any(target.iterdir())):
                raise StopError(f"{target} is there, and is no empty directory: name another for the export")
            self._root = Path(tempfile.mkdtemp(prefix=f".{target.name}.unfinished-", dir=target.absolute().parent))
        except FileNotFoundError as error:
            raise StopError(f"{target.absolute().parent} is not there: make it, or name another place") from error
        except OSError as error:
            raise StopError(f"{target} cannot be written ({error.strerror}): name another place") from error
        self._sums = _private(self._root / SUMS)
        self._lines = _private(self._root / _LINES)
        self.files = 0
        self.bytes = 0

    def __enter__(self) -> Folder:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave nothing behind of what was not sealed.

        :raises StopError: when the disk took no more.
        """
        for file in (self._sums, self._lines):
            with suppress(OSError):  # of what is not written yet on a full disk
                file.close()
        shutil.rmtree(self._root, ignore_errors=True)
        if isinstance(error, OSError):
            raise StopError(
                f"{self._target} cannot be written ({error.strerror}): make room, or name another place"
            ) from error

    @contextmanager
    def file(self, path: str) -> Iterator[Out]:
        """Write a file; its sum is noted when the block is left without an error.

        :param path: below the folder; each part is one of our own names.
        """
        place = self._root / path
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with _private(place) as file:
                out = Out(file)
                yield out
        except BaseException:
            place.unlink(missing_ok=True)
            raise
        self.files += 1
        self.bytes += out.size
        self._sums.write(f"{out.sha256}  {path}\n".encode("ascii"))
        self.note(FileLine(path=path, size=out.size, sha256=out.sha256))

    def note(self, line: msgspec.Struct) -> None:
        """Have a line in the manifest."""
        self._lines.write(msgspec.json.encode(line) + b"\n")

    def sum_of(self, path: str) -> str | None:
        """Return the digest of a file that was written, or None where it was not."""
        try:
            with (self._root / path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def has(self, path: str) -> bool:
        """Tell whether a file was written."""
        return (self._root / path).exists()

    def seal(self, first: msgspec.Struct) -> None:
        """Let the folder appear under its name.

        :param first: the manifest's first line.
        """
        self._lines.close()
        with (self._root / _LINES).open("rb") as lines, _private(self._root / MANIFEST) as file:
            out = Out(file)
            out.write(msgspec.json.encode(first) + b"\n")
            while piece := lines.read(_PIECE):
                out.write(piece)
        (self._root / _LINES).unlink()
        self._sums.write(f"{out.sha256}  {MANIFEST}\n".encode("ascii"))
        self._sums.close()
        try:
            self._root.rename(self._target)
        except OSError as error:
            raise StopError(f"{self._target} cannot be written ({error.strerror}): name another place") from error


def _private(path: Path) -> BinaryIO:
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))
