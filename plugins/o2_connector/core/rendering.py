"""Rendering: what an item says as an e-mail, before it takes the form of an EML or of a Graph message.

Both forms are made from the same :class:`Rendering`, so they cannot say different things.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from o2_connector.core.identity import DOMAIN, item_key, message_id, thread_reference
from o2_connector.core.items import Action, Attachment, Call, File, Item, ItemType, Participant, Status
from o2_connector.core.outcomes import Cause
from o2_connector.core.phones import normalise

CONVERTER_VERSION = "1"

_NAMED_IN_SUBJECT = 8  # numbers; Exchange keeps 255 characters of a subject
_SUBJECT_UNITS = 255  # of UTF-16
_SMTP_ADDRESS = re.compile(
    r"(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
# RFC 6838 (4.2); and neither of the kinds that RFC 2045 (6.4) forbids to be base64.
_CONTENT_TYPE = re.compile(
    r"(?!multipart/|message/)[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(?=\s*(;|\Z))",
    re.IGNORECASE | re.ASCII,
)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Hold a display name, with the number in it, and an SMTP address."""

    name: str
    address: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Describe an attachment of the e-mail; its bytes lie in staging under their digest."""

    name: str
    content_type: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendering:
    """Hold everything that the e-mail says.

    :param headers: our own, in order; plain text, one line each.
    :param causes: why parts of the item are not in it.
    """

    key: str
    message_id: str
    reference: str
    sent_at: datetime
    sender: Address
    recipients: tuple[Address, ...]
    subject: str
    text: str
    headers: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    causes: tuple[Cause, ...]


def render(item: Item, *, record: str, region: str, missing: dict[File, Cause]) -> Rendering:
    """Render an item.

    :param record: SHA-256 of the captured record, for the custody header.
    :param region: the country that national numbers belong to.
    :param missing: why, for each of the files that could not be staged.
    """
    here = tuple(part for part in item.attachments if part.file not in missing)
    gone = tuple(part for part in item.attachments if part.file in missing)
    numbers = sorted({normalise(each.phone, region) or one_line(each.phone) for each in item.participants})
    return Rendering(
        key=item_key(item.item_id),
        message_id=message_id(item.item_id),
        reference=thread_reference(_conversation(item, numbers)),
        sent_at=item.sent_at.astimezone(UTC),
        sender=_address(item.from_, region),
        recipients=tuple(_address(each, region) for each in item.to),
        subject=_subject(item, numbers),
        text=_text(item, gone, missing),
        headers=_headers(item, record),
        parts=tuple(_part(each) for each in here),
        causes=tuple(dict.fromkeys(missing[part.file] for part in gone)),
    )


def visible(text: str) -> str:
    """Return text that UTF-8 can carry: a lone surrogate, which stands for nothing, as the escape that JSON had."""
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """Return text fit for a header: as :func:`visible`, and a control character as its picture (U+2400 and on)."""
    return _CONTROL.sub(lambda found: chr(0x2400 + ord(found[0])) if ord(found[0]) < 0x20 else "\u2421", visible(text))


def is_smtp_address(text: str) -> bool:
    """Tell whether text is an address that both RFC 5321 and Exchange take: a dot-atom and a host name, no quotes."""
    return len(text) <= 254 and _SMTP_ADDRESS.fullmatch(text) is not None


def _address(participant: Participant, region: str) -> Address:
    number = normalise(participant.phone, region) or one_line(participant.phone)
    name = one_line(participant.name or "").strip()
    email = (participant.email or "").strip()
    return Address(
        name=f"{name} ({number})" if name else number,
        address=email if is_smtp_address(email) else f"{_local_part(number)}@{DOMAIN}",
    )


def _local_part(number: str) -> str:
    # Alphanumeric senders hold any sign ("O2 UK", "M&S"): what is no letter or digit becomes its code point.
    name = (number.removeprefix("+") or number).lower()
    return re.sub(r"[^a-z0-9]", lambda found: f"_{ord(found[0]):x}_", name)[:64]


def _conversation(item: Item, numbers: list[str]) -> tuple[str, ...]:
    group = item.thread.id if item.is_group and item.thread and item.thread.id else ""
    return (_kind(item), group, *numbers)


def _kind(item: Item) -> str:
    return "calls" if item.item_type in (ItemType.CALL, ItemType.VOICEMAIL) else "messages"


def _subject(item: Item, numbers: list[str]) -> str:
    # Numbers, never names, and never the text: the same on every message of a conversation, whatever becomes of names.
    named = numbers if len(numbers) <= _NAMED_IN_SUBJECT else numbers[:_NAMED_IN_SUBJECT]
    rest = len(numbers) - len(named)
    people = ", ".join(each[:24] for each in named) + (f" and {rest} more" if rest else "")
    subject = f"{'Calls' if _kind(item) == 'calls' else 'SMS and MMS'} between {people}"
    return subject.encode("utf-16-le")[: 2 * _SUBJECT_UNITS].decode("utf-16-le", "ignore")


def _text(item: Item, gone: tuple[Attachment, ...], missing: dict[File, Cause]) -> str:
    # The text first and whole; what else there is to say follows, each fact in brackets on a line of its own.
    notes = []
    if item.item_type in (ItemType.CALL, ItemType.VOICEMAIL):
        notes.append(_call_in_words(item))
    if item.relates_to:
        verb = "Edits" if item.relates_to.action is Action.EDIT else "Deletes"
        notes.append(f"[{verb} item {item.relates_to.item_id}, which is archived as it was]")
    if item.status is Status.FAILED:
        notes.append("[Sending failed]")
    if item.is_group:
        name = f" “{one_line(item.thread.name)}”" if item.thread and item.thread.name else ""
        notes.append(f"[Group{name}: {', '.join(_in_words(each) for each in item.participants)}]")
    notes.extend(
        f"[Attachment “{one_line(each.file_name)}” ({each.byte_count} bytes, SHA-256 {each.sha256}) is not here:"
        f" {missing[each.file]}]"
        for each in gone
    )
    text = visible(item.text or "")
    return "\n".join([*([text, ""] if text and notes else [text] if text else []), *notes])


def _call_in_words(item: Item) -> str:
    what = "Voicemail" if item.item_type is ItemType.VOICEMAIL else "Call"
    people = f"{what} from {_in_words(item.from_)} to {', '.join(_in_words(each) for each in item.to)}"
    lines = [f"{people}: {item.status.lower()}."]
    if item.call:
        lines.append(f"Started {item.call.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, {_lasted(item.call)}.")
    return "\n".join(lines)


def _lasted(call: Call) -> str:
    minutes, seconds = divmod(call.duration_seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"lasted {call.duration_seconds} s ({hours:02d}:{minutes:02d}:{seconds:02d})"


def _in_words(participant: Participant) -> str:
    name = one_line(participant.name or "").strip()
    phone = one_line(participant.phone)
    return f"{name} ({phone})" if name else phone


def _headers(item: Item, record: str) -> tuple[tuple[str, str], ...]:
    # The first five also go into the Graph message, which takes no more (Graph: "less than or equal to 5").
    headers = [
        ("X-O2-Item-Id", item.item_id),
        ("X-O2-Item-Type", item.item_type),
        ("X-O2-Direction", item.direction),
        ("X-O2-Status", item.status),
        ("X-O2-Record-SHA256", record),
        ("X-O2-Converter", CONVERTER_VERSION),
        ("X-O2-Network", item.network),
        ("X-O2-Sent-At", item.sent_at.astimezone(UTC).isoformat()),
        ("X-O2-Archived-At", item.archived_at.astimezone(UTC).isoformat()),
    ]
    if item.thread and item.thread.id:
        headers.append(("X-O2-Thread-Id", one_line(item.thread.id)))
    if item.call:
        headers.append(("X-O2-Duration-Seconds", str(item.call.duration_seconds)))
    if item.relates_to:
        headers.append((f"X-O2-{item.relates_to.action.capitalize()}s-Item", item.relates_to.item_id))
    return tuple(headers)


def _part(attachment: Attachment) -> Part:
    kind = _CONTENT_TYPE.match(attachment.content_type.strip())
    return Part(
        name=one_line(attachment.file_name) if attachment.file_name.strip() else "attachment",
        content_type=kind[0].lower() if kind else "application/octet-stream",
        size=attachment.byte_count,
        sha256=attachment.sha256,
    )
