"""Captured records to test with: a plain one, and any."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
from hypothesis import strategies as st

from o2_connector.core.items import Item
from o2_connector.core.rendering import Rendering, render

RECORD: dict[str, Any] = {
    "itemId": "o2-1",
    "itemType": "SMS",
    "network": "O2",
    "direction": "INBOUND",
    "status": "DELIVERED",
    "sentAt": "2026-11-21T09:30:15.250Z",
    "archivedAt": "2026-11-21T10:00:02Z",
    "from": {"phone": "07700 900456", "name": "Kim Akers"},
    "to": [{"phone": "+447700900123", "email": "alex@example.com", "name": "Alex Wilber"}],
    "text": "See you at ten.",
}
FULL: dict[str, Any] = {
    **RECORD,
    "thread": {"id": "t-1", "name": "Team"},
    "call": {"startedAt": "2026-11-21T09:30:15Z", "endedAt": "2026-11-21T09:31:15Z", "durationSeconds": 60},
    "relatesTo": {"itemId": "o2-0", "action": "EDIT"},
    "attachments": [
        {"attachmentId": "a-1", "fileName": "a.png", "contentType": "image/png", "byteCount": 1, "sha256": "0" * 64}
    ],
}


def line(**changes: Any) -> bytes:
    """Return a record as a line of a batch."""
    return json.dumps({**RECORD, **changes}).encode() + b"\n"


def rendering(**changes: Any) -> Rendering:
    """Return a record, rendered."""
    return render(msgspec.convert({**RECORD, **changes}, Item), record="f" * 64, region="GB", missing={})


# What phones and people write: every character, control signs, halves of surrogates and all; mostly short, seldom not.
texts = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=30),
    st.text(st.sampled_from("a =?<>\"\\,;:@()\r\n\t\0\x7f\x85\u2028\ud83d\U0001f600é%'._-+07"), max_size=40),
    st.builds(
        lambda text, times: text * times, st.text(st.characters(exclude_categories=()), max_size=3), st.just(400)
    ),
)
ids = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=400)
participants = st.fixed_dictionaries(
    {"phone": texts.filter(bool)}, optional={"name": st.none() | texts, "email": st.none() | texts | st.emails()}
)
contents = st.binary(max_size=300)


@st.composite
def records(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Draw a record that keeps to the contract, and its attachments' bytes by digest."""
    found = {hashlib.sha256(each).hexdigest(): each for each in draw(st.lists(contents, max_size=3))}
    attachments = [
        {
            "attachmentId": f"a-{number}",
            "fileName": draw(texts),
            "contentType": draw(st.sampled_from(["image/png", "text/plain; charset=utf-8", "message/rfc822"]) | texts),
            "byteCount": len(content),
            "sha256": digest,
        }
        for number, (digest, content) in enumerate(found.items())
    ]
    record = {
        **RECORD,
        "itemId": draw(ids),
        "itemType": draw(st.sampled_from(["SMS", "MMS", "CALL", "VOICEMAIL"])),
        "status": draw(st.sampled_from(["SENT", "FAILED", "ANSWERED", "MISSED"])),
        "sentAt": draw(
            st.sampled_from(["2026-11-21T09:30:15Z", "1602-01-01T00:00:00+14:00", "9998-12-31T23:59:59-12:00"])
        ),
        "from": draw(participants),
        "to": draw(st.lists(participants, min_size=1, max_size=5)),
        "text": draw(st.none() | texts),
        "thread": draw(st.none() | st.fixed_dictionaries({"id": st.none() | texts, "name": st.none() | texts})),
        "attachments": attachments,
    }
    return record, found
