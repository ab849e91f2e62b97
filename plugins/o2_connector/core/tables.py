"""Tables: items and those who took part in them, in columns: a million rows are tens of megabytes."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import Protocol, overload

import numpy as np
import pandas as pd

from o2_connector.core.conversion import PARTICIPANTS_HEAD

_KEY, _DIGEST = 20, 32  # bytes of an item's key, of a record's SHA-256
_COLUMNS = {"row": "int32", "phone": "int32", "email": "int32", "side": "bool"}
_TEXTS = 1 << 12  # that are encoded together
_AT_ONCE = 1 << 20  # bytes of participants that are read together; batches by themselves cost a millisecond each


class ItemRow(Protocol):
    """Say what is held of an item; see :class:`o2_connector.core.conversion.IndexRow`."""

    @property
    def item_id(self) -> str:
        """Return TeleMessage's id."""

    @property
    def key(self) -> str:
        """Return its key in the mailbox, 40 hex digits."""

    @property
    def record(self) -> str:
        """Return the SHA-256 of its record, 64 hex digits."""

    @property
    def sent(self) -> int:
        """Return when it was sent, in milliseconds since 1970, UTC."""

    @property
    def message(self) -> tuple[int, int]:
        """Return offset and length of its message in its pack."""

    @property
    def attached(self) -> int:
        """Return the raw bytes of all its attachments."""

    @property
    def causes(self) -> tuple[str, ...]:
        """Return why parts of it are not in its message, where any are not."""


class Texts(Sequence[str]):
    """Hold many short texts, in a fifth of the memory that a list of them takes."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._octets = bytearray()
        self._ends = array("q", [0])
        self.extend(texts)

    def extend(self, texts: Iterable[str]) -> None:
        """Add texts."""
        rest = iter(texts)
        while encoded := [text.encode() for text in islice(rest, _TEXTS)]:
            end = len(self._octets)
            self._octets += b"".join(encoded)
            self._ends.extend([end := end + len(each) for each in encoded])

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        return self._octets[self._ends[place] : self._ends[place + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _TEXTS):
            ends = self._ends[start : start + _TEXTS + 1]
            octets = bytes(self._octets[ends[0] : ends[-1]])
            if octets.isascii():
                first, text = ends[0], octets.decode()
                yield from [text[begin - first : end - first] for begin, end in pairwise(ends)]
            else:
                yield from self[start : start + _TEXTS]


class Items:
    """Hold items in columns, numbered from 0 in the order in which they are added."""

    def __init__(self) -> None:
        self.sent = array("q")
        self._packs = array("i")
        self._offsets = array("q")
        self._lengths = array("q")
        self._item_ids = Texts()
        self._keys = bytearray()
        self._records = bytearray()
        self._attached: dict[int, int] = {}
        self._causes: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.sent)

    def extend(self, rows: Sequence[ItemRow], packs: Sequence[int]) -> None:
        """Add items.

        :param packs: which pack of messages holds each, by number.
        """
        first = len(self)
        self._causes.update({first + place: row.causes for place, row in enumerate(rows) if row.causes})
        self._attached.update({first + place: row.attached for place, row in enumerate(rows) if row.attached})
        self._item_ids.extend([row.item_id for row in rows])
        self.sent.extend([row.sent for row in rows])
        self._packs.extend(packs)
        self._offsets.extend([row.message[0] for row in rows])
        self._lengths.extend([row.message[1] for row in rows])
        self._keys += bytes.fromhex("".join([row.key for row in rows]))
        self._records += bytes.fromhex("".join([row.record for row in rows]))

    def item_id(self, number: int) -> str:
        """Return TeleMessage's id of an item."""
        return self._item_ids[number]

    def key(self, number: int) -> str:
        """Return an item's key in the mailbox."""
        return self._keys[_KEY * number : _KEY * (number + 1)].hex()

    def record(self, number: int) -> str:
        """Return the SHA-256 of an item's record."""
        return self._records[_DIGEST * number : _DIGEST * (number + 1)].hex()

    def place(self, number: int) -> tuple[int, int, int]:
        """Return where an item's message lies: pack, offset, length."""
        return self._packs[number], self._offsets[number], self._lengths[number]

    def places(self, numbers: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
        """Yield of each of some items when it was sent, pack, offset, length."""
        columns = (self.sent, self._packs, self._offsets, self._lengths)
        yield from zip(
            *(np.frombuffer(column, dtype=column.typecode)[numbers].tolist() for column in columns), strict=True
        )

    def attached(self, number: int) -> int:
        """Return the raw bytes of all of an item's attachments."""
        return self._attached.get(number, 0)

    def causes(self, number: int) -> tuple[str, ...]:
        """Return why parts of an item are not in its message, where any are not."""
        return self._causes.get(number, ())

    def repeats(self) -> dict[int, bool]:
        """Return the items that came before: whether it is another record with the same id, by the item's number."""
        heads = np.frombuffer(self._keys, dtype=f"V{_KEY}").view(np.uint8).reshape(-1, _KEY)[:, :8]
        numbers = pd.Series(np.ascontiguousarray(heads).view(np.int64).ravel())
        first: dict[str, int] = {}
        again: dict[int, bool] = {}
        for number in numbers.index[numbers.duplicated(keep=False)].tolist():
            before = first.setdefault(self.key(number), number)
            if before != number:
                again[number] = self.record(before) != self.record(number)
        return again


@dataclass(frozen=True, kw_only=True, slots=True)
class Participants:
    """Hold who took part, each spelling of a number and each address once.

    :param table: a row for each participant of each item, in the items' order: ``row`` (the item's number), ``phone``
        and ``email`` (places in the lists), ``side`` (whether the network captured the item at this end).
    :param emails: as captured; empty where there is none.
    """

    table: pd.DataFrame
    phones: Texts
    emails: Texts


def read_participants(parts: Iterable[tuple[int, bytes]]) -> Participants:
    """Read participants as :func:`o2_connector.core.conversion.participant_rows` writes them.

    :param parts: for each batch the number of its first item, and its table with the head.
    """
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _COLUMNS}
    for firsts, counts, lines in _together(parts):
        table = pd.read_csv(
            io.BytesIO(lines),
            header=None,
            names=list(_COLUMNS),
            # Not "category", whose values pandas takes for numbers where they look like some: 07700 would be 7700.
            dtype={"row": "int32", "phone": "object", "email": "object", "side": "bool"},
            true_values=["1"],
            false_values=["0"],
            na_filter=False,
            low_memory=False,
        )
        for name, parted in columns.items():
            parted.append(table[name].to_numpy())
        columns["row"][-1] = columns["row"][-1] + np.repeat(np.array(firsts, dtype=np.int32), counts)
    email, emails = _distinct(columns.pop("email"))
    phone, phones = _distinct(columns.pop("phone"))
    row, side = (np.concatenate([np.empty(0, dtype=_COLUMNS[name]), *columns.pop(name)]) for name in ("row", "side"))
    table = pd.DataFrame({"row": row, "phone": phone, "email": email, "side": side}, copy=False)
    return Participants(table=table, phones=phones, emails=emails)


def _distinct(parts: list[np.ndarray]) -> tuple[np.ndarray, Texts]:
    """Return the place of each text, and the texts, each once; the first is that of no signs."""
    whole = np.concatenate([np.empty(0, dtype="object"), *parts])
    held = np.flatnonzero(whole != "")
    found, texts = pd.factorize(whole[held])
    places = np.zeros(len(whole), dtype=np.int32)
    places[held] = found + 1
    return places, Texts(chain([""], texts))


def gathered(people: Iterable[Iterable[tuple[str, str, bool]]]) -> Participants:
    """Gather the phone, e-mail property and side of each participant of each item."""
    phones: dict[str, int] = {}
    emails: dict[str, int] = {}
    rows = [
        (row, phones.setdefault(phone, len(phones)), emails.setdefault(email, len(emails)), side)
        for row, item in enumerate(people)
        for phone, email, side in item
    ]
    table = {
        name: np.array([row[place] for row in rows], dtype=kind) for place, (name, kind) in enumerate(_COLUMNS.items())
    }
    return Participants(table=pd.DataFrame(table), phones=Texts(phones), emails=Texts(emails))


def _together(parts: Iterable[tuple[int, bytes]]) -> Iterator[tuple[list[int], list[int], bytes]]:
    """Put batches together until they are worth a reader's start: first items, counts of rows, rows."""
    firsts: list[int] = []
    counts: list[int] = []
    lines = bytearray()
    for first, content in parts:
        rows = memoryview(content)[len(PARTICIPANTS_HEAD) :]
        count = content.count(b"\n") - 1
        if not count:
            continue
        firsts.append(first)
        counts.append(count)
        lines += rows
        if len(lines) >= _AT_ONCE:
            yield firsts, counts, bytes(lines)
            firsts, counts, lines = [], [], bytearray()
    if firsts:
        yield firsts, counts, bytes(lines)
