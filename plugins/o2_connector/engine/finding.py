"""Finding: look for one item in objects of staging, without decoding what is about others.

An object's bytes are searched for the item's id as it is written there, and only the lines that have it are decoded.
Each object is read to its end, and so held against its digest; one that is not what it was is remembered by name, and
the search goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias, TypeVar

import msgspec

from o2_connector.core.errors import IntegrityError
from o2_connector.core.manifest import StagedObject
from o2_connector.hooks.staging import StagingHook

PARALLEL = 4
"""Objects that are searched at the same time."""

ANY = re.compile(rb".")
"""What every line has."""

Row = TypeVar("Row", bound=msgspec.Struct)
Found = TypeVar("Found")
Wanted: TypeAlias = bytes | re.Pattern[bytes]
"""What a line has: these bytes, which are found fastest, or what matches."""
Line: TypeAlias = tuple[int, bytes]
"""Number of a line, from 1, and its bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finder:
    """Search objects.

    :param unread: what could not be read, in words.
    """

    staging: StagingHook
    unread: list[str] = field(default_factory=list)

    def rows(self, name: str, wanted: Wanted, kind: type[Row]) -> list[Row]:
        """Return the rows of an object whose lines have what is wanted."""
        return self.read(name, self.lines(name, wanted), kind)

    def read(self, name: str, lines: Iterable[Line], kind: type[Row]) -> list[Row]:
        """Return the rows that lines of an object are; one that is none is unread."""
        rows: list[Row] = []
        for number, line in lines:
            try:
                rows.append(msgspec.json.decode(line, type=kind))
            except msgspec.DecodeError:  # whose words may hold a value
                self.unread.append(f"staging: line {number} of {name} is no {kind.__name__}")
        return rows

    def lines(self, name: str, wanted: Wanted) -> list[Line]:
        """Return the lines of an object that have what is wanted."""
        return lines_in(self.content(name), wanted)

    def each(self, names: Iterable[str], read: Callable[[str], Found]) -> Iterator[tuple[str, Found]]:
        """Yield what is read of each object; a few are read at the same time."""
        rest = iter(names)
        with ThreadPoolExecutor(PARALLEL) as pool:
            while some := list(islice(rest, 16 * PARALLEL)):
                yield from zip(some, pool.map(read, some), strict=True)

    def content(self, staged: str | StagedObject) -> bytes:
        """Return an object's bytes; of one that cannot be read, none."""
        try:
            with self.staging.reader(self.staging.staged(staged) if isinstance(staged, str) else staged) as content:
                return content.read()
        except IntegrityError as error:
            self.unread.append(str(error))
            return b""


def lines_in(content: bytes, wanted: Wanted) -> list[Line]:
    """Return the lines that have what is wanted."""
    found: list[Line] = []
    at, number = 0, 1
    while (hit := _next(content, wanted, at)) >= 0:
        start = content.rfind(b"\n", 0, hit) + 1
        end = content.find(b"\n", hit) + 1 or len(content)
        number += content.count(b"\n", at, start)
        found.append((number, content[start:end]))
        at, number = end, number + 1
    return found


def _next(content: bytes, wanted: Wanted, at: int) -> int:
    if isinstance(wanted, bytes):
        return content.find(wanted, at)
    hit = wanted.search(content, at)
    return hit.start() if hit else -1


def written(field: str, value: str) -> bytes:
    """Return what a line of ours has that holds a text under a name."""
    return b'"%b":%b' % (field.encode(), msgspec.json.encode(value))


def captured_as(field: str, value: str) -> re.Pattern[bytes]:
    """Return what a record has that holds a text under a name, whichever characters its sender has escaped."""
    spelled = (b"".join(map(_spellings, each)) for each in (field, value))
    return re.compile(b'"%b"[ \t\r]*:[ \t\r]*"%b"' % tuple(spelled))


_ESCAPED = {'"': r'\\"', "\\": r"\\\\", "/": r"\\?/"}  # what must, or may, have a backslash before it


def _spellings(character: str) -> bytes:
    """Return every way in which JSON (RFC 8259, 7) may spell a character."""
    units = character.encode("utf-16-be").hex(" ", 2).split()
    coded = "".join(rf"\\u{''.join(map(_digit, unit))}" for unit in units)
    return f"(?:{_ESCAPED.get(character) or re.escape(character)}|{coded})".encode()


def _digit(digit: str) -> str:
    return f"[{digit}{digit.upper()}]" if digit.isalpha() else digit
