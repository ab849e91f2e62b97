"""Wording: what the body of an e-mail says, for a person who reviews it.

The captured text comes first and whole; what else there is to say follows, calls in sentences, all else in brackets.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from o2_connector.core.escapes import one_line, visible
from o2_connector.core.items import Action, Call, Captured, Item, ItemType, Status
from o2_connector.core.layout import attachment_object
from o2_connector.core.outcomes import Cause
from o2_connector.core.parties import Party
from o2_connector.core.parts import LeftOut, Part

_WHAT_BECAME = {
    Status.ANSWERED: "The call was answered.",
    Status.MISSED: "The call was missed.",
    Status.REJECTED: "The call was rejected.",
    Status.FAILED: "The call failed.",
}
_WHY = {
    Cause.ATTACHMENT_GONE: "TeleMessage keeps it no longer.",
    Cause.ATTACHMENT_ALTERED: "Its bytes did not match the digest in its record.",
    Cause.TOO_MANY_ATTACHMENTS: "A message takes no more attachments than there are here.",
    Cause.ATTACHMENT_TOO_LARGE: "It does not fit this organisation's limit for a message.",
}
LONGEST_TEXT = 250_000
"""Characters of a text that a message takes: as JSON they stay well below the 4 MB that Graph takes in a request."""

# A bracket that is the first visible sign of a line, whatever its reader takes for the end of one
_LIKE_A_NOTE = re.compile(r"(?:^|[\u2028\u2029])[^\w\n]*\[", re.MULTILINE)
_AS_WRITTEN = "white-space: pre-wrap; overflow-wrap: anywhere"


class Said(NamedTuple):
    """Hold the captured text as the body shows it.

    :param text: its lines ended by line feeds; None where the item has no text.
    :param crlf: whether the captured text's lines end in CR LF.
    :param cut_from: how many characters it had before it was cut to what a message takes; 0 where it is whole.
    """

    text: str | None
    crlf: bool
    cut_from: int


def said_in(text: str | None) -> Said:
    """Return a captured text as the body shows it."""
    if text is None:
        return Said(None, crlf=False, cut_from=0)
    crlf = False
    if "\r" in text:
        pairs = text.count("\r\n")
        crlf = pairs == text.count("\n") == text.count("\r")
    shown = visible(text.replace("\r\n", "\n") if crlf else text)
    if len(shown) > LONGEST_TEXT:
        return Said(shown[:LONGEST_TEXT], crlf, len(shown))
    return Said(shown, crlf, 0)


def plain_body(text: str | None, notes: Sequence[str], parts: Sequence[Part]) -> str:
    """Return the body as plain text, its paragraphs parted by empty lines.

    :param text: the captured text as shown, where there is one.
    """
    attached = [_attached(part) for part in parts if not part.is_hidden]
    return "\n\n".join([*([text] if text else []), *notes, *attached])


def html_body(text: str | None, notes: Sequence[str], parts: Sequence[Part]) -> str:
    """Return the body as HTML: the text, the pictures, each with its name, then the notes."""
    said = [f'<div id="text" dir="auto" style="{_AS_WRITTEN}">{_lines(text)}</div>'] if text is not None else []
    pictures = [
        f'<p><img src="cid:{part.content_id}" alt="" style="max-width: 100%"><br>'
        f"<small>{_lines(_named(part))}</small></p>"
        for part in parts
        if part.is_shown
    ]
    noted = [*notes, *(_attached(part) for part in parts if part.content_id is None)]
    paragraphs = [f'<p dir="auto">{_lines(note)}</p>' for note in noted]
    # Mail clients list a part that the body never names, even one that belongs to it; seen in Thunderbird 153.
    named = [f'<a href="cid:{part.content_id}"></a>' for part in parts if part.is_hidden]
    head = '<html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"></head><body>'
    return "\n".join([head, *said, *pictures, *paragraphs, *named, "</body></html>"])


def notes_on(captured: Captured, said: Said, parties: Sequence[Party], left_out: Sequence[LeftOut]) -> list[str]:
    """Return what there is to say beside the text, a paragraph each."""
    item = captured.item
    notes = []
    if said.cut_from:
        notes.append(
            f"[The captured text goes on: of its {said.cut_from:,} characters {LONGEST_TEXT:,} are here."
            f"\nIt is whole in the staged record of SHA-256 {captured.digest}]"
        )
    elif said.text and (item.is_call or ("[" in said.text and _LIKE_A_NOTE.search(said.text))):
        # What its sender wrote shall not pass for what the archive adds
        notes.append(f"[The captured text ends here; it has {len(said.text):,} characters.]")
    if item.is_call:
        notes.append(_call_in_words(item, parties))
    if item.relates_to:
        verb = "edits" if item.relates_to.action is Action.EDIT else "deletes"
        notes.append(f"[This {verb} item {item.relates_to.item_id}, which is archived as it was.]")
    if item.status is Status.FAILED and not item.is_call:
        notes.append("[Sending failed.]")
    if item.is_group:
        name = f" “{one_line(item.thread.name)}”" if item.thread and item.thread.name else ""
        notes.append(f"[Group{name}: {', '.join([party.address.name for party in parties])}]")
    notes += [_left_out_in_words(each) for each in left_out]
    return notes


def _call_in_words(item: Item, parties: Sequence[Party]) -> str:
    caller, *called = parties
    whom = ", ".join([party.address.name for party in called])
    if item.item_type is ItemType.VOICEMAIL:
        sentences = [f"{caller.address.name} left a voicemail for {whom}."]
    else:
        sentences = [f"{caller.address.name} called {whom}."]
        sentences.append(_WHAT_BECAME.get(item.status, f"Its status is {item.status.value}."))
    if item.call:
        sentences.append(_when(item.call))
    return "\n".join(sentences)


def _when(call: Call) -> str:
    if not call.duration_seconds and not call.ended_at:
        return f"It came on {_moment(call.started_at)} UTC."
    began = f"It began on {_moment(call.started_at)} UTC"
    ended = ""
    if call.ended_at:
        same_day = call.ended_at.astimezone(UTC).date() == call.started_at.astimezone(UTC).date()
        ended = f", until {_moment(call.ended_at)[-8 if same_day else 0 :]}"
    return f"{began} and lasted {_duration(call.duration_seconds)}{ended}."


def _moment(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat()
    return f"{text[:10]} at {text[11:19]}"


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "hour"), (minutes, "minute"), (rest, "second")]
    said = [f"{count:,} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count]
    return " ".join(said) or "0 seconds"


def _attached(part: Part) -> str:
    return f"[Attached: {_named(part)}]"


def _named(part: Part) -> str:
    return f"“{part.name}”, {part.size:,} bytes"


def _left_out_in_words(left_out: LeftOut) -> str:
    attachment, cause = left_out
    lines = [
        f"[Not in this e-mail: “{one_line(attachment.file_name)}”, {attachment.byte_count:,} bytes.",
        _WHY[cause],
        f"SHA-256: {attachment.sha256}",
    ]
    if cause in (Cause.ATTACHMENT_TOO_LARGE, Cause.TOO_MANY_ATTACHMENTS):
        lines.append(f"In staging: {attachment_object(attachment.sha256, attachment.byte_count).name}")
    return "\n".join(lines) + "]"


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
