"""RSMF: the Relativity Short Message Format 2.0, which review platforms read conversations from.

A file is an RFC 5322 message whose one attachment, ``rsmf.zip``, has ``rsmf_manifest.json`` and the files that it names
(Relativity, "Creating an RSMF file", and the published schema of the manifest, 2.0.0). Each file here is one
conversation's day in UTC, for Relativity advises slices of 24 hours, and of 10,000 events at the most.

Every item is one event. A text, also one that edits another, and a call or voicemail, in the words of its e-mail, is a
``message``; what only deletes another is ``unknown``, for the format has no type for it. What edits or deletes an item
of the same file names it as its parent, and is noted there: as one of its edits, or as that it was deleted. The item's
own words stay as they were captured. The same items make the same bytes, on any machine and day.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import format_datetime

import msgspec
from msgspec.structs import replace

from o2_connector.core.conversation import Conversation, conversation_of
from o2_connector.core.eml import address_header, base64_stream, header_block
from o2_connector.core.escapes import one_line, visible
from o2_connector.core.identity import DOMAIN
from o2_connector.core.items import Action, Attachment, Captured, Direction, Item
from o2_connector.core.parties import Party, party_of
from o2_connector.core.wording import notes_on, plain_body, said_in

VERSION = "2.0.0"
GENERATOR = "O2 network archiver, RSMF 1"
"""Who made a file; the number is raised whenever the same items would make other bytes."""
MANIFEST = "rsmf_manifest.json"
MOST_EVENTS = 10_000

_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}\Z", re.ASCII)
_DIRECTIONS = {Direction.INBOUND: "incoming", Direction.OUTBOUND: "outgoing"}


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be the base of the manifest's parts: what is not known is not there."""


class Custom(_Part, frozen=True, kw_only=True):
    """Name something that the format has no field for."""

    name: str
    value: str


class Member(_Part, frozen=True, kw_only=True):
    """Name somebody who took part, by their number."""

    id: str
    display: str
    email: str | None = None
    account_id: str


class Talk(_Part, frozen=True, kw_only=True):
    """Hold the conversation of a file."""

    id: str
    display: str
    platform: str
    type: str
    participants: tuple[str, ...]
    custom: tuple[Custom, ...] = ()


class Attached(_Part, frozen=True, kw_only=True):
    """Name an attachment.

    :param id: the file's name in the zip.
    """

    id: str
    display: str
    size: int


class Edit(_Part, frozen=True, kw_only=True):
    """Say that a text was changed."""

    participant: str
    timestamp: str
    previous: str
    new: str


class Event(_Part, frozen=True, kw_only=True):
    """Hold an item."""

    id: str
    type: str
    parent: str | None = None
    body: str
    participant: str
    conversation: str
    timestamp: str
    deleted: bool = False
    attachments: tuple[Attached, ...] = ()
    edits: tuple[Edit, ...] = ()
    custom: tuple[Custom, ...]
    direction: str


class Manifest(_Part, frozen=True, kw_only=True):
    """Hold what ``rsmf_manifest.json`` says; its fields have the format's names."""

    version: str
    participants: tuple[Member, ...]
    conversations: tuple[Talk, ...]
    events: tuple[Event, ...]
    eventcollectionid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Hold an item that a file tells of.

    :param absent: why attachments are not there, by their SHA-256.
    """

    captured: Captured
    absent: Mapping[str, str]

    @property
    def item(self) -> Item:
        """Return the item."""
        return self.captured.item


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Hold a file: a conversation's day, or one part of it.

    :param number: which part of the day it is, from 1.
    :param parties: of all items, by number.
    """

    conversation: Conversation
    day: date
    number: int
    manifest: Manifest
    parties: Mapping[str, Party]

    @property
    def name(self) -> str:
        """Return the file's name."""
        part = f".{self.number}" if self.number > 1 else ""
        return f"{conversation_id(self.conversation)}.{self.day}{part}.rsmf"


def conversation_in(item: Item, region: str) -> Conversation:
    """Return the conversation of an item.

    :param region: ISO 3166 code of the country that national numbers belong to.
    """
    return conversation_of(item, tuple(sorted({party_of(each, region).number for each in item.participants})))


def conversation_id(conversation: Conversation) -> str:
    """Return a conversation's name: 40 hex digits."""
    return conversation.reference.partition("@")[0].removeprefix("<")


def day_of(item: Item) -> date:
    """Return the day of an item's slice."""
    return item.sent_at.astimezone(UTC).date()


def in_order(item: Item) -> tuple[datetime, str]:
    """Return by what the events of a file are sorted."""
    return item.sent_at.astimezone(UTC), item.item_id


def slice_of(entries: Sequence[Entry], region: str, number: int) -> Slice:
    """Make a file of items of one conversation and day, sorted.

    :param number: which part of the day it is, from 1.
    """
    first = entries[0].item
    conversation = conversation_in(first, region)
    talk = conversation_id(conversation)
    parties = {party.number: party for each in entries for party in _parties(each.item, region)}
    ids = _unique([each.item.item_id for each in entries])
    events = [_event(each, name, talk, region) for each, name in zip(entries, ids, strict=True)]
    manifest = Manifest(
        version=VERSION,
        participants=tuple(_member(parties[each]) for each in sorted(parties)),
        conversations=(
            Talk(
                id=talk,
                display=conversation.subject,
                platform="phone" if first.is_call else "sms",
                type="direct",
                participants=tuple(sorted(parties)),
                custom=tuple(_thread(first)),
            ),
        ),
        events=tuple(_related(entries, events)),
        eventcollectionid=talk,
    )
    return Slice(conversation=conversation, day=day_of(first), number=number, manifest=manifest, parties=parties)


def rsmf_chunks(made: Slice, archive: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a file, piece by piece.

    :param archive: the bytes of ``rsmf.zip``.
    """
    boundary = f"=_o2_rsmf_{conversation_id(made.conversation)}"
    yield (
        f"{_head(made)}"
        f'MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary="{boundary}"\r\n\r\n'
        f"--{boundary}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    ).encode("ascii")
    yield from base64_stream([_text(made).encode()])
    yield (
        f"--{boundary}\r\n"
        'Content-Type: application/zip; name="rsmf.zip"\r\n'
        'Content-Disposition: attachment; filename="rsmf.zip"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    ).encode("ascii")
    yield from base64_stream(archive)
    yield f"--{boundary}--\r\n".encode("ascii")


def file_name(attachment: Attachment) -> str:
    """Return an attachment's name in the zip: its digest, and what its own name ends in."""
    found = _EXTENSION.search(attachment.file_name)
    return f"{attachment.sha256}{found[0] if found else ''}"


def _head(made: Slice) -> str:
    events = made.manifest.events
    sender = made.parties[events[0].participant]
    others = tuple(made.parties[number].address for number in sorted(made.parties) if number != sender.number)
    last = datetime.fromisoformat(events[-1].timestamp)
    lines = [
        f"X-RSMF-Version: {VERSION}",  # the first line, as Relativity asks
        f"X-RSMF-Generator: {GENERATOR}",
        f"X-RSMF-BeginDate: {events[0].timestamp}",
        f"X-RSMF-EndDate: {events[-1].timestamp}",
        f"X-RSMF-EventCount: {len(events)}",
        f"X-RSMF-AttachmentCount: {sum(len(each.attachments) for each in events)}",
        "X-RSMF-Application: O2 network",
        f"X-RSMF-Participants: {', '.join(each.display for each in made.manifest.participants)}",
        f"X-RSMF-EventCollectionID: {made.manifest.eventcollectionid}",
        f"Date: {format_datetime(last)}",
        f"Subject: {made.conversation.subject}, {made.day}",
        f"Message-ID: <{made.name.removesuffix('.rsmf')}@{DOMAIN}>",
    ]
    to = address_header("To", others or (sender.address,))
    return f"{header_block(lines)}{address_header('From', (sender.address,))}{to}"


def _text(made: Slice) -> str:
    """Return what a person reads who has no review platform."""
    people = (each.display for each in made.manifest.participants)
    events = (
        f"{each.timestamp} {made.parties[each.participant].address.name}\n{visible(each.body)}"
        + "".join(f"\n[{one_line(file.display)}, {file.size:,} bytes]" for file in each.attachments)
        for each in made.manifest.events
    )
    return "\n\n".join(("\n".join(people), *events)).replace("\n", "\r\n") + "\r\n"


def _parties(item: Item, region: str) -> list[Party]:
    return [party_of(each, region) for each in item.participants]


def _member(party: Party) -> Member:
    return Member(
        id=party.number,
        display=party.address.name,
        email=party.address.address if party.is_known else None,
        account_id=party.number,
    )


def _unique(ids: Sequence[str]) -> Iterator[str]:
    """Yield each id; what comes again, a contradiction that the report names, has its number behind it."""
    seen = Counter[str]()
    for each in ids:
        seen[each] += 1
        yield each if seen[each] == 1 else f"{each} ({seen[each]})"


def _event(entry: Entry, name: str, talk: str, region: str) -> Event:
    item = entry.item
    parties = _parties(item, region)
    deletes = item.relates_to is not None and item.relates_to.action is Action.DELETE
    return Event(
        id=name,
        type="unknown" if deletes else "message",
        body=_body(entry.captured, parties, in_words=deletes or item.is_call),
        participant=parties[0].number,
        conversation=talk,
        timestamp=_time(item.sent_at),
        attachments=tuple(
            Attached(id=file_name(each), display=one_line(each.file_name), size=each.byte_count)
            for each in item.attachments
            if each.sha256 not in entry.absent
        ),
        custom=tuple(Custom(name=name, value=value) for name, value in _facts(entry) if value),
        direction=_DIRECTIONS[item.direction],
    )


def _body(captured: Captured, parties: Sequence[Party], *, in_words: bool) -> str:
    """Return what an event says: the captured text; of what has to be told, the words of its e-mail."""
    text = captured.item.text or ""
    if in_words:
        said = said_in(captured.item.text)
        return plain_body(said.text, notes_on(captured, said, parties, ()), ())
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON in UTF-8 cannot carry
        return visible(text)
    return text


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    item = entry.item
    yield "Type", item.item_type.value
    yield "Status", item.status.value
    yield "Sent at", item.sent_at.isoformat()
    yield "Archived at", item.archived_at.isoformat()
    yield "Record SHA-256", entry.captured.digest
    if item.relates_to:
        yield f"{item.relates_to.action.capitalize()}s item", item.relates_to.item_id
    if item.call:
        yield "Call began at", item.call.started_at.isoformat()
        yield "Call lasted seconds", str(item.call.duration_seconds)
    for each in item.attachments:
        if each.sha256 in entry.absent:
            yield "Not attached", f"{one_line(each.file_name)}, SHA-256 {each.sha256}: {entry.absent[each.sha256]}"


def _related(entries: Sequence[Entry], events: Sequence[Event]) -> Iterator[Event]:
    """Yield the events with what they say of each other."""
    related = {event.id: event for event in events}
    for entry, event in zip(entries, events, strict=True):
        relation = entry.item.relates_to
        before = related.get(relation.item_id) if relation else None
        if relation is None or before is None or before.id == event.id:
            continue
        related[event.id] = replace(related[event.id], parent=before.id)
        if relation.action is Action.DELETE:
            related[before.id] = replace(related[before.id], deleted=True)
        else:
            previous = before.edits[-1].new if before.edits else before.body
            edit = Edit(participant=event.participant, timestamp=event.timestamp, previous=previous, new=event.body)
            related[before.id] = replace(before, edits=(*before.edits, edit))
    for event in events:
        yield related[event.id]


def _thread(item: Item) -> Iterator[Custom]:
    if item.thread and item.thread.id:
        yield Custom(name="Thread", value=one_line(item.thread.id))
    if item.thread and item.thread.name:
        yield Custom(name="Group", value=one_line(item.thread.name))


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
