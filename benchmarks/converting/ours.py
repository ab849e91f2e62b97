"""This project's conversion, step by step and as a whole; the one module here that knows how it is called."""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO, cast

from benchmarks.converting.captures import WINDOW
from o2_connector.core.conversion import packed_message
from o2_connector.core.conversion_profile import LARGEST_MEGABYTES, Profile
from o2_connector.core.eml import OpenPart, eml_chunks
from o2_connector.core.items import Captured, captured
from o2_connector.core.manifest import StagedBatch, StagedObject
from o2_connector.core.parts import Part
from o2_connector.core.rendering import Rendering, render
from o2_connector.engine.conversion import convert
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.staging_streams import BLOCK, StagedWriter, VerifiedSource

PROFILE = Profile(region="GB")
WIDEST = Profile(region="GB", message_megabytes=LARGEST_MEGABYTES)
BATCH = 500
"""Items in a batch; the sandbox's TeleMessage site makes them as long."""
PIECE = 1 << 16
_NOWHERE = StagedObject(name="lines", sha256="0" * 64, size=0)


class Unsound(Exception):
    """Say why a run does not count."""


def decoded(line: bytes) -> Captured:
    """Decode a line and hold it against the contract."""
    return captured(line)


def rendered(item: Captured) -> Rendering:
    """Render an item all of whose attachments are staged."""
    return render(item, PROFILE, {})


def eml(item: Captured, media: Mapping[str, bytes]) -> bytes:
    """Make an item's e-mail."""
    return b"".join(eml_chunks(rendered(item), opener(media)))


def message(rendering: Rendering) -> bytes:
    """Make an item's Graph message, as it goes into a pack."""
    return packed_message(rendering)


def opener(media: Mapping[str, bytes]) -> OpenPart:
    """Return what reads an attachment from memory."""

    def open_part(part: Part) -> Iterator[bytes]:
        octets = media[part.sha256]
        return (octets[at : at + PIECE] for at in range(0, len(octets), PIECE))

    return open_part


def whole(lines: Sequence[bytes], media: Mapping[str, bytes]) -> int:
    """Convert lines as the task does, batch by batch, with nothing but the disk left out; return the EMLs' bytes."""
    batches = (lines[at : at + BATCH] for at in range(0, len(lines), BATCH))
    return sum(convert_lines(batch, len(batch), media) for batch in batches)


def convert_lines(lines: Iterable[bytes], count: int, media: Mapping[str, bytes]) -> int:
    """Convert lines as one batch; return the EMLs' bytes.

    :raises Unsound: an item was lost on the way.
    """
    batch = StagedBatch(batch_id="bench", items=count, promised=count, raw=_NOWHERE)
    made = convert(cast("StagingHook", Memory(lines, media)), WINDOW, batch, PROFILE)
    if made.converted != count:
        raise Unsound(f"of {count:,} items {made.converted:,} were converted")
    return made.emls.size


class Memory:
    """Stand in for staging: read from memory, digest what is written as the hook does, and throw it away."""

    def __init__(self, lines: Iterable[bytes], media: Mapping[str, bytes]) -> None:
        self._lines = lines
        self._media = media

    @contextmanager
    def reader(self, staged: StagedObject) -> Iterator[Iterable[bytes] | BinaryIO]:
        """Read the lines, or an attachment, whose digest is checked."""
        if staged is _NOWHERE:
            yield self._lines
            return
        with io.BufferedReader(VerifiedSource(io.BytesIO(self._media[staged.sha256]), staged), BLOCK // 4) as octets:
            yield cast("BinaryIO", octets)

    @contextmanager
    def writer(self, stem: str, suffix: str = "") -> Iterator[StagedWriter]:
        """Take an object's bytes."""
        with open(os.devnull, "wb") as nowhere:
            writer = StagedWriter(nowhere)
            yield writer
            sha256 = writer.finish()
            writer.seal(StagedObject(name=f"{stem}{sha256}{suffix}", sha256=sha256, size=writer.size))

    def write_lines(self, stem: str, rows: Sequence[object]) -> StagedObject:
        """Refuse rejects: all of these lines keep the contract."""
        raise Unsound(f"{len(rows)} lines were rejected")


def forget() -> None:
    """Empty what core remembers of participants, numbers and conversations, as a new worker begins."""
    for name, module in sys.modules.items():
        if name.startswith("o2_connector.core."):
            for held in vars(module).values():
                if isinstance(held, functools._lru_cache_wrapper):
                    held.cache_clear()
