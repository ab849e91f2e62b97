"""Conversation: what makes the items of one thread hang together in Outlook, in Thunderbird and in every copy.

It is keyed on the kind and the numbers, for a group also on its id: never on names, for names change.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from o2_connector.core.identity import thread_key, thread_reference
from o2_connector.core.items import Item

_NAMED_IN_SUBJECT = 8  # numbers; Exchange keeps 255 characters of a subject
_SUBJECT_UNITS = 255  # of UTF-16
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)  # of FILETIME, which counts tenths of microseconds
# The time in every conversation's index, the 40 upper bits of 64: 1 January 2000. When a thread began is not captured.
_BEGIN = ((datetime(2000, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) * 10) >> 24
_TICKS = 10_000  # in a millisecond
_SINCE = (datetime(1970, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) * 10 - (_BEGIN << 24)
_CACHED = 1 << 12  # conversations


class Conversation(NamedTuple):
    """Hold what all items of a conversation share.

    :param reference: Message-ID of its root, which no message has.
    :param header: the first 22 bytes of its messages' PidTagConversationIndex.
    :param number: the same as a number, for software that wants one: 31 bits.
    """

    reference: str
    subject: str
    header: bytes
    number: int


def conversation_of(item: Item, numbers: tuple[str, ...]) -> Conversation:
    """Return the conversation of an item.

    :param numbers: of all who took part, sorted, each once.
    """
    group = item.thread.id if item.is_group and item.thread and item.thread.id else ""
    return _conversation(item.is_call, group, numbers)


def conversation_index(conversation: Conversation, sent: int, key: str) -> bytes:
    """Return a message's PidTagConversationIndex (MS-OXOMSG 2.2.1.3): the conversation's header and a child of 5 bytes.

    :param sent: milliseconds since 1970, UTC.
    :param key: of the item; stands in for the random bits, so that the same item always has the same index.
    """
    since = min(max(sent * _TICKS + _SINCE, 0), (1 << 54) - 1)
    near = since < 1 << 49  # 1.7 years: of finer grain then
    delta = since >> 18 if near else 1 << 31 | since >> 23
    child = delta << 8 | int(key[:2], 16)
    return conversation.header + child.to_bytes(5, "big")


def as_text(index: bytes) -> str:
    """Return an index as mail headers and Graph have it."""
    return base64.b64encode(index).decode("ascii")


@lru_cache(_CACHED)
def _conversation(is_calls: bool, group: str, numbers: tuple[str, ...]) -> Conversation:
    parts = ("calls" if is_calls else "messages", group, *numbers)
    key = thread_key(parts)
    return Conversation(
        reference=thread_reference(parts),
        subject=_subject("Calls" if is_calls else "SMS and MMS", numbers),
        header=b"\x01" + _BEGIN.to_bytes(5, "big") + bytes.fromhex(key[:32]),  # a reserved byte, the time, a GUID
        number=int(key[:8], 16) & 0x7FFF_FFFF,
    )


def _subject(kind: str, numbers: tuple[str, ...]) -> str:
    # Numbers, never names, and never the text: the same on every message of a conversation, whatever becomes of names.
    named = numbers[:_NAMED_IN_SUBJECT]
    rest = len(numbers) - len(named)
    people = ", ".join(each[:24] for each in named) + (f" and {rest} more" if rest else "")
    subject = f"{kind} between {people}"
    if 2 * len(subject) <= _SUBJECT_UNITS:
        return subject
    return subject.encode("utf-16-le")[: 2 * _SUBJECT_UNITS].decode("utf-16-le", "ignore")
