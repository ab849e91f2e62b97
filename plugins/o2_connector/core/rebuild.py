"""Rebuild: make the captured record again from its e-mail alone.

It needs the facts (X-O2-…) and the body's text, whichever form of the e-mail they come from.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from typing import Any

import msgspec

from o2_connector.core.errors import IntegrityError
from o2_connector.core.escapes import captured_text
from o2_connector.core.items import Action, Captured, Item, Sha256
from o2_connector.core.naming import FACTS_PROPERTY

_FACT = re.compile(r"X-O2-", re.IGNORECASE)
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_HTML_TEXT = re.compile(r'<div id="text"[^>]*>(.*?)</div>', re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Archived:
    """Hold what of an e-mail the item is rebuilt from.

    :param facts: our own headers, decoded: name and text.
    :param text: the body as plain text, its lines ended by line feeds; at least as far as the captured text goes.
    :param files: the attachments' bytes by their SHA-256; None where they were not read.
    """

    facts: tuple[tuple[str, str], ...]
    text: str
    files: Mapping[str, bytes] | None


def read_eml(content: bytes) -> Archived:
    """Read an EML of this archive's, also where another program has folded or encoded it anew.

    :raises IntegrityError: when text or headers are in no character set.
    """
    try:
        return _read(content)
    except (LookupError, UnicodeError, MessageError):
        raise IntegrityError("this e-mail of the archive was altered: it is in no character set") from None


def _read(content: bytes) -> Archived:
    message: Message[str, str] = message_from_bytes(content, policy=policy.compat32)
    texts, files = [], {}
    for part in message.walk():
        if part.is_multipart():
            continue
        payload = part.get_payload(decode=True)
        octets = payload if isinstance(payload, bytes) else b""
        if part.get_content_disposition() is not None:
            files[hashlib.sha256(octets).hexdigest()] = octets
        elif part.get_content_type() == "text/plain":
            texts.append(octets.decode().replace("\r\n", "\n"))
    return Archived(
        facts=tuple((name, _decoded(str(value))) for name, value in message.items() if _FACT.match(name)),
        text=texts[0] if texts else "",
        files=files,
    )


def read_graph_message(message: Mapping[str, Any]) -> Archived:
    """Read a message as Graph gives it back, with its extended properties; attachments are not among its fields."""
    # Graph gives a property's GUID back in its own case
    properties = {each["id"].casefold(): each["value"] for each in message.get("singleValueExtendedProperties", ())}
    lines = properties.get(FACTS_PROPERTY.casefold(), "").split("\n")
    facts = [line.partition(": ") for line in lines if line]
    text = message["body"]["content"]
    if message["body"]["contentType"] == "html":
        found = _HTML_TEXT.search(text)
        text = html.unescape(found[1].replace("<br>", "\n")) if found else ""
    return Archived(facts=tuple((name, value) for name, _, value in facts), text=text.replace("\r\n", "\n"), files=None)


def rebuild(archived: Archived) -> Captured:
    """Return the captured record.

    Whether somebody changed the text, or a fact into another that could be, cannot be told from the e-mail alone: that
    is what the digest is for, which the staged record has.

    :raises IntegrityError: when the e-mail is none of this archive's, lacks an attachment or a fact that it should
        have, or has only the beginning of a text that was too long for a message.
    """
    facts = dict(archived.facts)
    if "X-O2-Text-Cut-From" in facts:
        raise IntegrityError("the text was too long for a message: the item cannot be rebuilt from this e-mail alone")
    try:
        record = {
            "itemId": facts["X-O2-Item-Id"],
            "itemType": facts["X-O2-Item-Type"],
            "network": facts["X-O2-Network"],
            "direction": facts["X-O2-Direction"],
            "status": facts["X-O2-Status"],
            "sentAt": facts["X-O2-Sent-At"],
            "archivedAt": facts["X-O2-Archived-At"],
            "from": json.loads(facts["X-O2-From"]),
            "to": json.loads(facts["X-O2-To"]),
            "thread": json.loads(facts.get("X-O2-Thread", "null")),
            "text": _text(archived.text, facts),
            "call": _call(facts),
            "relatesTo": _relation(facts),
            "attachments": json.loads(facts.get("X-O2-Attachments", "[]")),
        }
        captured = Captured(
            item=msgspec.convert(record, Item),
            digest=msgspec.convert(facts["X-O2-SHA256"], Sha256),
            other=msgspec.convert(json.loads(facts.get("X-O2-Other-Fields", "{}")), dict[str, Any]),
        )
    except KeyError as error:
        raise IntegrityError(f"this is no e-mail of the archive, or was altered: {error.args[0]} is missing") from None
    except (ValueError, RecursionError, msgspec.ValidationError):
        raise IntegrityError("this e-mail of the archive was altered: its X-O2 headers make no item") from None
    if archived.files is not None:
        there = {*archived.files, *facts.get("X-O2-Not-Attached", "").split(", ")}
        if any(each.sha256 not in there for each in captured.item.attachments):
            raise IntegrityError("this e-mail of the archive was altered: an attachment is missing, or is another")
    return captured


def _text(text: str, facts: Mapping[str, str]) -> str | None:
    if "X-O2-Text-Length" not in facts:
        return None
    length = int(facts["X-O2-Text-Length"])
    if not 0 <= length <= len(text):
        raise ValueError("the body is shorter than its text")
    shown = text[:length]
    if facts.get("X-O2-Text-Line-Ends") == "CRLF":
        shown = shown.replace("\n", "\r\n")
    return captured_text(shown)


def _call(facts: Mapping[str, str]) -> dict[str, Any] | None:
    if not facts.keys() & {"X-O2-Started-At", "X-O2-Ended-At", "X-O2-Duration-Seconds"}:
        return None
    return {
        "startedAt": facts["X-O2-Started-At"],
        "endedAt": facts.get("X-O2-Ended-At"),
        "durationSeconds": int(facts["X-O2-Duration-Seconds"]),
    }


def _relation(facts: Mapping[str, str]) -> dict[str, str] | None:
    for action in Action:
        if related := facts.get(f"X-O2-{action.capitalize()}s-Item"):
            return {"itemId": related, "action": action.value}
    return None


def _decoded(value: str) -> str:
    unfolded = _FOLD.sub("", value).strip()  # a fact never begins or ends with a space, unless it is encoded
    if "=?" not in unfolded:
        return unfolded
    pieces = [
        piece.decode(charset or "ascii") if isinstance(piece, bytes) else piece
        for piece, charset in decode_header(unfolded)
    ]
    return "".join(pieces)
