"""Items: what the O2 network captured, as TeleMessage hands it over, a record a line.

The shapes are those of ``Item`` in TeleMessage's archive export (docs/telemessage-archive.openapi.yaml), decoded and
checked by msgspec in one pass. A record that breaks the contract raises :class:`ItemError`, whose words name the field
and never its value.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec.structs import fields

from o2_connector.core.errors import ItemError

Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
# \A and \Z: "$" also matches before a line feed at the end, which would break a header in two.
Sha256: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Natural: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]  # what every JSON reader keeps (RFC 8259, 6)
# An id reaches headers, logs and reports: one line, of a length that fits all of them.
Identifier: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=400, pattern=r"\A[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*\Z")
]


File: TypeAlias = tuple[str, str, int]
"""A file at the source: attachment id, SHA-256, bytes."""


class Word(StrEnum):
    """Be the base of the contract's listed values."""

    __hash__ = str.__hash__  # an enum's own is no C code, and is asked for with every item


class ItemType(Word):
    """Tell what was captured."""

    SMS = "SMS"
    MMS = "MMS"
    CALL = "CALL"
    VOICEMAIL = "VOICEMAIL"


class Network(Word):
    """Tell which network captured it."""

    O2 = "O2"


class Direction(Word):
    """Tell which way it went, seen from the organisation's phone."""

    INBOUND = "INBOUND"
    OUTBOUND = "OUTBOUND"


class Status(Word):
    """Tell what became of it."""

    SENT = "SENT"
    DELIVERED = "DELIVERED"
    READ = "READ"
    FAILED = "FAILED"
    ANSWERED = "ANSWERED"
    MISSED = "MISSED"
    REJECTED = "REJECTED"


class Action(Word):
    """Tell what an item does to the one that it relates to."""

    EDIT = "EDIT"
    DELETE = "DELETE"


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Be the base of the record's parts: immutable, by keyword, camelCase in JSON.

    A field that the contract does not know is noticed, and kept in :class:`Captured`.
    """


class Participant(Record, frozen=True, kw_only=True, rename="camel"):
    """Hold one phone that took part.

    :param phone: as the network wrote it: a number in any form, a short code, or an alphanumeric sender.
    :param email: the *User's Email address* property.
    """

    phone: Annotated[str, msgspec.Meta(min_length=1)]
    email: str | None = None
    name: str | None = None


class Thread(Record, frozen=True, kw_only=True, rename="camel"):
    """Hold the conversation that a message belongs to; a group has a name."""

    id: str | None = None
    name: str | None = None


class Call(Record, frozen=True, kw_only=True, rename="camel"):
    """Hold a call's times."""

    started_at: Instant
    duration_seconds: Natural
    ended_at: Instant | None = None

    def __post_init__(self) -> None:
        """Refuse times that cannot be told in UTC."""
        _check_years(self.started_at, self.ended_at)


class Relation(Record, frozen=True, kw_only=True, rename="camel"):
    """Name the item that this one edits or deletes; that one stays as it was."""

    item_id: Identifier
    action: Action


class Attachment(Record, frozen=True, kw_only=True, rename="camel"):
    """Describe one attachment; its bytes are staged by their digest."""

    attachment_id: Identifier
    file_name: str
    content_type: str
    byte_count: Natural
    sha256: Sha256

    @property
    def file(self) -> File:
        """Return which file it is: two records may give one id to different files."""
        return (self.attachment_id, self.sha256, self.byte_count)


class Item(Record, frozen=True, kw_only=True, rename="camel"):
    """Hold one captured communication."""

    item_id: Identifier
    item_type: ItemType
    network: Network
    direction: Direction
    status: Status
    sent_at: Instant
    archived_at: Instant
    from_: Participant = msgspec.field(name="from")
    to: Annotated[tuple[Participant, ...], msgspec.Meta(min_length=1)]
    thread: Thread | None = None
    text: str | None = None
    call: Call | None = None
    relates_to: Relation | None = None
    attachments: tuple[Attachment, ...] = ()

    def __post_init__(self) -> None:
        """Refuse times that no mailbox can hold."""
        _check_years(self.sent_at, self.archived_at)

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Return the sender, then the recipients in the record's order."""
        return (self.from_, *self.to)

    @property
    def is_call(self) -> bool:
        """Tell whether it is a call or a voicemail."""
        return self.item_type is ItemType.CALL or self.item_type is ItemType.VOICEMAIL

    @property
    def is_group(self) -> bool:
        """Tell whether more than two phones took part."""
        return len(self.to) > 1


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a captured record.

    :param digest: SHA-256 of its bytes.
    :param other: the values of fields that the contract does not know, by JSON Pointer (RFC 6901): ``/to/0/carrier``;
        and, as captured, times that are finer than the item's microseconds. Numbers are what a double holds; what none
        holds is its digits as a text.
    """

    item: Item
    digest: str
    other: Mapping[str, Any]


_DECODER = msgspec.json.Decoder(Item)
# msgspec quotes the value, which may be anything, " - at `$" included: up to the last place that it names.
_ENUM = re.compile(r"Invalid enum value .*(?= - at `\$)", re.DOTALL)
_REGEX = re.compile(r"matching regex '.*'(?= - at `\$)")  # means nothing to whoever reads a report
_TOO_DEEP = "the line is nested too deeply"
_DEEPEST = 64  # levels of a field that the contract does not know
_MOST_DIGITS = 300  # of a whole number; a double has 309
_TIMES = {"sentAt", "archivedAt", "startedAt", "endedAt"}
_FINE_TIME = re.compile(rb"\.[0-9]{7}")  # or what may be one
_ESCAPED_TIME = re.compile(rb'At"\s*:\s*"[^"]*\\')  # JSON may have any sign escaped
_FINE_FRACTION = re.compile(r"(?<=\.[0-9]{6})[0-9]+")
_NOTHING: Mapping[str, Any] = MappingProxyType({})
# The contract's fields, part by part, and which part lies below each, if any does.
_PARTS: dict[str, type[Record]] = {
    "from": Participant,
    "to": Participant,
    "thread": Thread,
    "call": Call,
    "relatesTo": Relation,
    "attachments": Attachment,
}
_FIELDS: dict[type[Record], dict[str, type[Record] | None]] = {
    part: {each.encode_name: None for each in fields(part)} for part in _PARTS.values()
}
_FIELDS[Item] = {each.encode_name: _PARTS.get(each.encode_name) for each in fields(Item)}
_YEARS = range(1602, 9999)  # Exchange's times begin in 1601, Python's end in 9999, and UTC may be a day from here


def captured(line: bytes) -> Captured:
    """Return the record in one line of a batch.

    :raises ItemError: naming the field at fault, and the item where its id is readable.
    """
    item, other = _parse(line)
    return Captured(item=item, digest=record_digest(line), other=other)


def parse_item(line: bytes) -> Item:
    """Return the item in one line of a batch, as :func:`captured` does."""
    return _parse(line)[0]


def record_digest(line: bytes) -> str:
    """Return the SHA-256 of a captured record: its line without the line's end."""
    return hashlib.sha256(line.rstrip(b"\r\n")).hexdigest()


def _parse(line: bytes) -> tuple[Item, Mapping[str, Any]]:
    try:
        if not (_FINE_TIME.search(line) or (b"\\" in line and _ESCAPED_TIME.search(line))):
            return _DECODER.decode(line), _NOTHING
    except RecursionError:
        raise ItemError(_TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    # The careful way. msgspec refuses lone surrogates, which RFC 8259 (8.2) lets a sender write, and phones do write
    # them; it refuses fields that the contract does not know, which are to be kept; it rounds times to microseconds,
    # up to the next day at worst; and of a fault it says no id.
    try:
        text = line.decode("utf-8-sig")  # json.loads would take other encodings, and halves of surrogate pairs
        record = json.loads(text, parse_constant=_refuse, parse_float=_number, parse_int=_number)
        other: dict[str, Any] = {}
        return msgspec.convert(_known(record, Item, "", other), Item), other
    except msgspec.ValidationError as error:
        raise ItemError(_fault(error), item_id=_readable_id(record)) from None
    except UnicodeEncodeError:  # msgspec looks such a name or listed value up by its UTF-8
        fault = "half a surrogate pair where the contract has no free text"
        raise ItemError(fault, item_id=_readable_id(record)) from None
    except ValueError:
        raise ItemError("the line is not JSON in UTF-8") from None
    except RecursionError:
        raise ItemError(_TOO_DEEP) from None


def _known(value: Any, kind: type[Record], pointer: str, other: dict[str, Any]) -> Any:
    """Return a part of a record with the contract's fields alone, and put all others into `other`."""
    if not isinstance(value, dict):
        return value
    known = {}
    for name, held in value.items():
        place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in _FIELDS[kind]:
            _measure(held)
            other[place] = held
            continue
        if name in _TIMES and isinstance(held, str) and (found := _FINE_FRACTION.search(held)):
            other[place] = held
            held = held[: found.start()] + held[found.end() :]
        below = _FIELDS[kind][name]
        if below and isinstance(held, list):
            held = [_known(each, below, f"{place}/{number}", other) for number, each in enumerate(held)]
        elif below:
            held = _known(held, below, place, other)
        known[name] = held
    return known


def _measure(value: Any, depth: int = 1) -> None:
    """Refuse a value nested so deeply that one Python reads it and another does not."""
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _measure(each, depth + 1)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _number(digits: str) -> float | str:
    """Return a number; one that JSON's readers would not keep (RFC 8259, 6) as the text that was captured."""
    if digits.lstrip("-").isdecimal() and len(digits) <= _MOST_DIGITS:
        return int(digits)
    number = float(digits)
    return digits if math.isinf(number) else number


def _check_years(*moments: datetime | None) -> None:
    if any(moment and moment.year not in _YEARS for moment in moments):
        raise ValueError(f"Expected a year from {_YEARS[0]} to {_YEARS[-1]}")


def _fault(error: Exception) -> str:
    told = _ENUM.sub("a value that the contract does not list", str(error))
    return _REGEX.sub("of the contract's form", told).replace(" - at ", " at ")


def _readable_id(record: Any) -> str | None:
    if not isinstance(record, dict):
        return None
    try:
        return msgspec.convert(record.get("itemId"), Identifier)
    except msgspec.ValidationError:
        return None
