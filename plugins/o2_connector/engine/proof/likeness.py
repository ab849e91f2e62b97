"""Likeness: whether a message in a mailbox says what the staged one says.

Exchange may write HTML anew, ends lines with CR LF, need not keep milliseconds, and counts of an attachment what lies
around its bytes as well: none of that is a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any

from o2_connector.core.ledger import PackedPart
from o2_connector.core.naming import FACTS_PROPERTY

SENT, RECEIVED = "SystemTime 0x0039", "SystemTime 0x0E06"

_AROUND = 64 * 1024
"""Bytes at most that Exchange counts beside an attachment's own (MS-OXCMSG 2.2.2.5: "consumed on the server")."""


def differences(message: Mapping[str, Any], staged: Mapping[str, Any], parts: Sequence[PackedPart]) -> Iterator[str]:
    """Yield in what a message differs from the staged one, in words that hold nothing of either.

    :param message: as Graph gives it, with the facts' property and the attachments.
    :param staged: Graph's JSON that was sent.
    :param parts: the attachments that went with it.
    """
    properties = {each["id"].casefold(): each["value"] for each in staged["singleValueExtendedProperties"]}
    if message.get("isDraft") is not False:
        yield "it is a draft"
    for name, field in (("subject", "subject"), ("Message-ID", "internetMessageId")):
        if message.get(field) != staged[field]:
            yield f"its {name} is another"
    if _text(message.get("body") or {}) != _text(staged["body"]):
        yield "its body is another"
    for name, field, held in (("sent", "sentDateTime", SENT), ("received", "receivedDateTime", RECEIVED)):
        if not _same_time(message.get(field), properties[held.casefold()]):
            yield f"the time at which it was {name} is another"
    facts = {each["id"].casefold(): each["value"] for each in message.get("singleValueExtendedProperties") or ()}
    if _lines(facts.get(FACTS_PROPERTY.casefold(), "")) != _lines(properties[FACTS_PROPERTY.casefold()]):
        yield "its facts are others"
    yield from _attachments(message.get("attachments") or (), parts)


def _attachments(there: Sequence[Mapping[str, Any]], parts: Sequence[PackedPart]) -> Iterator[str]:
    """Yield in what the attachments differ; Graph need not keep their order."""
    if len(there) != len(parts):
        yield f"it has {len(there)} attachments in place of {len(parts)}"
        return
    order = sorted(there, key=lambda each: (str(each.get("name")), int(each.get("size") or 0)))
    for is_, should in zip(order, sorted(parts, key=lambda part: (part.name, part.size)), strict=True):
        if is_.get("name") != should.name:
            yield "an attachment has another name"
        elif not should.size <= int(is_.get("size") or 0) <= should.size + _AROUND:
            yield "an attachment has another size"


def _same_time(there: Any, sent: str) -> bool:
    try:
        moments = datetime.fromisoformat(str(there)), datetime.fromisoformat(sent)
        return abs(moments[0] - moments[1]) < timedelta(seconds=1)
    except (TypeError, ValueError):
        return False


def _text(body: Mapping[str, Any]) -> str:
    """Return what a body shows."""
    content = str(body.get("content"))
    if str(body.get("contentType")).casefold() != "html":
        return _lines(content)
    shown = _Shown()
    shown.feed(content)
    shown.close()
    return " ".join("".join(shown.pieces).split())


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").rstrip()


class _Shown(HTMLParser):
    """Gather a page's text, without what is never shown."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("head", "script", "style")
        self.pieces.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("head", "script", "style") and self._hidden > 0
        self.pieces.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)
