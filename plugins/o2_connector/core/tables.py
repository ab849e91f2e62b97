"""Tables: items and those who took part in them, in columns: a million rows are tens of megabytes."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from o2_connector.core.conversion import PARTICIPANTS_HEAD

_KEY, _DIGEST = 20, 32  # bytes of an item's key, of a record's SHA-256
_AT_ONCE = 8 << 20  # bytes of participants that are read together; batches by themselves cost a millisecond each


class Items:
    """Hold items in columns, numbered from 0 in the order in which they are added."""

    def __init__(self) -> None:
        self.item_ids: list[str] = []
        self.sent = array("q")
        self._packs = array("l")
        self._offsets = array("q")
        self._lengths = array("q")
        self._attached = array("q")
        self._keys = bytearray()
        self._records = bytearray()
        self._causes: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.item_ids)

    def add(
        self,
        *,
        item_id: str,
        key: str,
        record: str,
        sent: int,
        pack: int,
        offset: int,
        length: int,
        attached: int,
        causes: tuple[str, ...],
    ) -> None:
        """Add an item.

        :param key: its key in the mailbox, 40 hex digits.
        :param record: SHA-256 of its record, 64 hex digits.
        :param sent: milliseconds since 1970, UTC.
        :param pack: which pack of messages holds it, by number.
        :param offset: bytes into that pack.
        :param length: bytes.
        :param attached: raw bytes of all its attachments.
        :param causes: why parts of the item are not in its message, where any are not.
        """
        if causes:
            self._causes[len(self)] = causes
        self.item_ids.append(item_id)
        self.sent.append(sent)
        self._packs.append(pack)
        self._offsets.append(offset)
        self._lengths.append(length)
        self._attached.append(attached)
        self._keys += bytes.fromhex(key)
        self._records += bytes.fromhex(record)

    def key(self, number: int) -> str:
        """Return an item's key in the mailbox."""
        return self._keys[_KEY * number : _KEY * (number + 1)].hex()

    def record(self, number: int) -> str:
        """Return the SHA-256 of an item's record."""
        return self._records[_DIGEST * number : _DIGEST * (number + 1)].hex()

    def place(self, number: int) -> tuple[int, int, int]:
        """Return where an item's message lies: pack, offset, length."""
        return self._packs[number], self._offsets[number], self._lengths[number]

    def attached(self, number: int) -> int:
        """Return the raw bytes of all of an item's attachments."""
        return self._attached[number]

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
    phones: list[str]
    emails: list[str]


class _Spellings:
    """Give each spelling a number."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def of(self, values: pd.Series) -> np.ndarray:
        places = self.places
        codes, distinct = pd.factorize(values)
        known = [places.setdefault(each, len(places)) for each in distinct]
        return np.array(known, dtype=np.int32)[codes]


def read_participants(parts: Iterable[tuple[int, bytes]]) -> Participants:
    """Read participants as :func:`o2_connector.core.conversion.participant_rows` writes them.

    :param parts: for each batch the number of its first item, and its table with the head.
    """
    phones, emails = _Spellings(), _Spellings()
    tables = []
    for firsts, counts, lines in _together(parts):
        table = pd.read_csv(
            io.BytesIO(lines),
            header=None,
            names=["row", "phone", "email", "side"],
            # Not "category", whose values pandas takes for numbers where they look like some: 07700 would be 7700.
            dtype={"row": "int32", "phone": "object", "email": "object", "side": "bool"},
            true_values=["1"],
            false_values=["0"],
            na_filter=False,
        )
        tables.append(
            pd.DataFrame(
                {
                    "row": table["row"].to_numpy() + np.repeat(np.array(firsts, dtype=np.int32), counts),
                    "phone": phones.of(table["phone"]),
                    "email": emails.of(table["email"]),
                    "side": table["side"].to_numpy(),
                }
            )
        )
    whole = pd.concat(tables, ignore_index=True) if tables else _table([], [], [], [])
    return Participants(table=whole, phones=list(phones.places), emails=list(emails.places))


def gathered(people: Iterable[Iterable[tuple[str, str, bool]]]) -> Participants:
    """Gather the phone, e-mail property and side of each participant of each item."""
    phones: dict[str, int] = {}
    emails: dict[str, int] = {}
    rows = [
        (row, phones.setdefault(phone, len(phones)), emails.setdefault(email, len(emails)), side)
        for row, item in enumerate(people)
        for phone, email, side in item
    ]
    table = _table(*([list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]))
    return Participants(table=table, phones=list(phones), emails=list(emails))


def _table(row: list[int], phone: list[int], email: list[int], side: list[bool]) -> pd.DataFrame:
    columns = {"row": "int32", "phone": "int32", "email": "int32", "side": "bool"}
    values = (row, phone, email, side)
    return pd.DataFrame(
        {name: np.array(each, dtype=kind) for (name, kind), each in zip(columns.items(), values, strict=True)}
    )


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
