"""Facts: what is known of an item, a header of ours each; with the body's text the item can be rebuilt from them.

Times are ISO 8601 as captured, offset and all. Whatever has parts, or may hold any character, is JSON in ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from functools import lru_cache

import msgspec

from o2_connector.core.conversation import Conversation
from o2_connector.core.items import Captured, Direction, Item, ItemType, Status, Thread
from o2_connector.core.parties import Party
from o2_connector.core.parts import LeftOut
from o2_connector.core.wording import Said

CONVERTER_VERSION = "2"

Lines = tuple[str, ...]
"""Header fields as ``Name: text``; the text is one line of any characters that UTF-8 has."""

FIRST = 5
"""How many of the facts, from the first, a Graph message has in headers of its own; it takes no more."""

_CACHED = 1 << 12  # threads
_STATUSES = {Status.DELIVERED: "0", Status.READ: "0", Status.FAILED: "64"}
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def facts_of(captured: Captured, parties: Sequence[Party], said: Said) -> Lines:
    """Return the facts, in order, but for what is left out; see :func:`facts_on_left_out`.

    :param parties: sender and recipients.
    """
    item = captured.item
    sender, *recipients = parties
    facts = [
        f"X-O2-Item-Id: {item.item_id}",
        f"X-O2-Item-Type: {item.item_type}",
        f"X-O2-Direction: {item.direction}",
        f"X-O2-Status: {item.status}",
        f"X-O2-SHA256: {captured.digest}",
        f"X-O2-Converter: {CONVERTER_VERSION}",
        f"X-O2-Network: {item.network}",
        f"X-O2-Sent-At: {item.sent_at.isoformat()}",
        f"X-O2-Archived-At: {item.archived_at.isoformat()}",
        f"X-O2-From: {sender.fact}",
        f"X-O2-To: [{', '.join([each.fact for each in recipients])}]",
    ]
    if item.thread:
        facts.append(f"X-O2-Thread: {_thread(item.thread)}")
    if item.call:
        facts.append(f"X-O2-Started-At: {item.call.started_at.isoformat()}")
        if item.call.ended_at:
            facts.append(f"X-O2-Ended-At: {item.call.ended_at.isoformat()}")
        facts.append(f"X-O2-Duration-Seconds: {item.call.duration_seconds}")
    if item.relates_to:
        facts.append(f"X-O2-{item.relates_to.action.capitalize()}s-Item: {item.relates_to.item_id}")
    if item.attachments:
        facts.append(f"X-O2-Attachments: {json.dumps(msgspec.to_builtins(item.attachments))}")
    if said.text is not None:
        facts.append(f"X-O2-Text-Length: {len(said.text)}")
    if said.crlf:
        facts.append("X-O2-Text-Line-Ends: CRLF")
    if said.cut_from:
        facts.append(f"X-O2-Text-Cut-From: {said.cut_from}")
    if captured.other:
        facts.append(f"X-O2-Other-Fields: {json.dumps(dict(captured.other))}")
    return tuple(facts)


def facts_on_left_out(left_out: Sequence[LeftOut]) -> Lines:
    """Return the fact that says which attachments are not in the e-mail, by their SHA-256."""
    return (f"X-O2-Not-Attached: {', '.join([each.attachment.sha256 for each in left_out])}",)


def interop_of(item: Item, parties: Sequence[Party], conversation: Conversation, sent: int) -> Lines:
    """Return the headers by which SMS Backup+ and its kin read a message back onto a phone.

    As SMS Backup+ writes them (HeaderGenerator.java) and reads them (MessageConverter.java); the numbers are those of
    Android's ``Telephony.TextBasedSmsColumns``, ``CallLog.Calls`` and, for MMS, OMA-MMS-ENC's message types. What only
    a phone knows, its protocol and service centre, is not there.

    :param sent: milliseconds since 1970, UTC.
    """
    is_inbound = item.direction is Direction.INBOUND
    address = parties[0].number if is_inbound else "~".join([each.number for each in parties[1:]])
    headers = [
        f"X-smssync-datatype: {'CALLLOG' if item.is_call else item.item_type}",
        f"X-smssync-address: {address}",
        f"X-smssync-type: {_type(item, is_inbound)}",
        f"X-smssync-date: {sent}",
    ]
    if item.is_call:
        headers.append(f"X-smssync-duration: {item.call.duration_seconds if item.call else 0}")
    else:
        headers += [f"X-smssync-thread: {conversation.number}", "X-smssync-read: 1"]
    if item.item_type is ItemType.SMS:
        headers.append(f"X-smssync-status: {_STATUSES.get(item.status, '-1')}")
    archived = item.archived_at.astimezone(UTC)
    when = f"{archived.day} {MONTHS[archived.month - 1]} {archived.year} {archived.isoformat()[11:19]} GMT"
    headers.append(f"X-smssync-backup-time: {when}")
    return tuple(headers)


@lru_cache(_CACHED)
def _thread(thread: Thread) -> str:
    captured = {"id": thread.id, "name": thread.name}
    return json.dumps({key: value for key, value in captured.items() if value is not None})


def _type(item: Item, is_inbound: bool) -> str:
    if item.item_type is ItemType.VOICEMAIL:
        return "4"
    if item.item_type is ItemType.MMS:
        return "132" if is_inbound else "128"  # m-retrieve-conf, m-send-req
    if item.item_type is ItemType.CALL and is_inbound:
        return {Status.MISSED: "3", Status.REJECTED: "5"}.get(item.status, "1")
    if item.item_type is ItemType.SMS and item.status is Status.FAILED and not is_inbound:
        return "5"
    return "1" if is_inbound else "2"
