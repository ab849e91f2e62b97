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
from email.header import decode_header
from email.message import Message
from typing import Any

import msgspec

from o2_connector.core.errors import IntegrityError
from o2_connector.core.escapes import captured_text
from o2_connector.core.items import Action, Captured, Item
from o2_connector.core.naming import FACTS_PROPERTY

_FACT = re.compile(r"X-O2-", re.IGNORECASE)
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_HTML_TEXT = re.compile(r'<div id="text"[^>]*>(.*?)</div>', re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Archived:
    """Hold what of an e-mail the item is rebuilt from.

    :param facts: our own headers, decoded: name and text.
    :param text: the body as plain text, its lines ended by line feeds; at least as far as the captured text goes.
    :param files: the attachments' bytes by their SHA-256.
    """

    facts: tuple[tuple[str, str], ...]
    text: str
    files: Mapping[str, bytes]


def read_eml(content: bytes) -> Archived:
    """Read an EML of this archive's, also where another program has folded or encoded it anew."""
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
        facts=tuple((name, _decoded(value)) for name, value in message.items() if _FACT.match(name)),
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
    return Archived(facts=tuple((name, value) for name, _, value in facts), text=text.replace("\r\n", "\n"), files={})


def rebuild(archived: Archived) -> Captured:
    """Return the captured record.

    :raises IntegrityError: when the e-mail is none of this archive's, or was altered.
    """
    facts = dict(archived.facts)
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
        return Captured(
            item=msgspec.convert(record, Item),
            digest=facts["X-O2-SHA256"],
            other=json.loads(facts.get("X-O2-Other-Fields", "{}")),
        )
    except KeyError as error:
        raise IntegrityError(f"this is no e-mail of the archive, or was altered: {error.args[0]} is missing") from None
    except (ValueError, msgspec.ValidationError):
        raise IntegrityError("this e-mail of the archive was altered: its X-O2 headers make no item") from None


def _text(text: str, facts: Mapping[str, str]) -> str | None:
    if "X-O2-Text-Length" not in facts:
        return None
    shown = text[: int(facts["X-O2-Text-Length"])]
    if facts.get("X-O2-Text-Line-Ends") == "CRLF":
        shown = shown.replace("\n", "\r\n")
    return captured_text(shown)


def _call(facts: Mapping[str, str]) -> dict[str, Any] | None:
    if "X-O2-Started-At" not in facts:
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
