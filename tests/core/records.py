"""Captured records to test with: a plain one, and any."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from o2_connector.core.conversion_profile import Profile
from o2_connector.core.items import captured
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
PROFILE = Profile(region="GB")
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
    return render(captured(line(**changes)), PROFILE, {})


def fields(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Return the names and texts of header lines."""
    return [(name, text) for name, _, text in (each.partition(": ") for each in lines)]


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
# What a later version of the contract may add, anywhere.
others = st.dictionaries(
    st.text(st.sampled_from("abc/~\ud83d é"), min_size=1, max_size=5).map("x{}".format),
    st.none() | st.booleans() | st.integers() | texts | st.lists(st.integers(), max_size=2),
    max_size=2,
)
moments = st.sampled_from(
    [
        "2026-11-21T09:30:15Z",
        "2026-11-21T09:30:15.123456+05:30",
        "1602-01-01T00:00:00+14:00",
        "9998-12-31T23:59:59-12:00",
    ]
)
CONTENT_TYPES = ["image/png", "image/jpeg", "application/smil", "text/plain; charset=utf-8", "message/rfc822"]


@st.composite
def records(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Draw a record that keeps to the contract, with fields of its own, and its attachments' bytes by digest."""
    found = {hashlib.sha256(each).hexdigest(): each for each in draw(st.lists(contents, max_size=3))}
    attachments = [
        {
            "attachmentId": f"a-{number}",
            "fileName": draw(texts),
            "contentType": draw(st.sampled_from(CONTENT_TYPES) | texts),
            "byteCount": len(content),
            "sha256": digest,
            **draw(others),
        }
        for number, (digest, content) in enumerate(found.items())
    ]
    kind = draw(st.sampled_from(["SMS", "MMS", "CALL", "VOICEMAIL"]))
    times = {"startedAt": moments, "durationSeconds": st.integers(0, 2**53 - 1)}
    call = st.fixed_dictionaries(times, optional={"endedAt": moments})
    relation = st.fixed_dictionaries({"itemId": ids, "action": st.sampled_from(["EDIT", "DELETE"])})
    record = {
        **RECORD,
        "itemId": draw(ids),
        "itemType": kind,
        "direction": draw(st.sampled_from(["INBOUND", "OUTBOUND"])),
        "status": draw(st.sampled_from(["SENT", "DELIVERED", "READ", "FAILED", "ANSWERED", "MISSED", "REJECTED"])),
        "sentAt": draw(moments),
        "archivedAt": draw(moments),
        "from": {**draw(others), **draw(participants)},
        "to": draw(st.lists(participants, min_size=1, max_size=5)),
        "text": draw(st.none() | texts),
        "thread": draw(st.none() | st.fixed_dictionaries({"id": st.none() | texts, "name": st.none() | texts})),
        "call": draw(st.none() | call) if kind in ("CALL", "VOICEMAIL") else None,
        "relatesTo": draw(st.none() | relation),
        "attachments": attachments,
        **draw(others),
    }
    return record, found
