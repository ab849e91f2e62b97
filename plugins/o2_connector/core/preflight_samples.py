"""Samples: captured records that nobody ever sent, from which the canary mailbox's messages are made.

Their ids, and so the keys by which a mailbox is asked for them, are for ever the same: whatever an earlier preflight
left anywhere in the mailbox is found by them. The numbers are those that Ofcom keeps free for drama.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256

from o2_connector.core.conversion_profile import Profile
from o2_connector.core.identity import item_key
from o2_connector.core.items import captured
from o2_connector.core.rendering import Rendering, render


class Sample(StrEnum):
    """Name what is made."""

    TEXT = "text"
    REPLY = "reply"
    LARGE = "large"
    INBOX = "inbox"
    SENT_ITEMS = "sent items"
    LONG_PROPERTY = "long property"


SIZES = (1_000, 2_700_000, 3_300_000)
"""Bytes of the large sample's attachments: one goes with the create, one by a request, one by an upload session."""

_SENT_AT = "2021-03-04T05:06:07.890Z"


def sample(which: Sample, message_class: str) -> Rendering:
    """Render a sample as an item is rendered."""
    one, other = {"phone": "+447700900001", "name": "Preflight"}, {"phone": "+447700900002"}
    is_reply = which is Sample.REPLY
    record = {
        "itemId": _item_id(which),
        "itemType": "MMS" if which is Sample.LARGE else "SMS",
        "network": "O2",
        "direction": "OUTBOUND" if is_reply else "INBOUND",
        "status": "DELIVERED",
        "sentAt": _SENT_AT,
        "archivedAt": _SENT_AT,
        "from": other if is_reply else one,
        "to": [one if is_reply else other],
        "text": "This is a test of the O2 archive. It removes itself.",
        **({"relatesTo": {"itemId": _item_id(Sample.TEXT), "action": "EDIT"}} if is_reply else {}),
        "attachments": [_attachment(size) for size in (SIZES if which is Sample.LARGE else ())],
    }
    return render(captured(json.dumps(record).encode()), Profile(region="GB", message_class=message_class), {})


def sample_keys() -> Sequence[str]:
    """Return the keys by which all of them are found."""
    return [item_key(_item_id(which)) for which in Sample]


def sample_bytes(size: int) -> bytes:
    """Return the bytes of the attachment of this size."""
    pattern = bytes(range(251))  # a prime, so that no two chunks are alike
    return (pattern * (size // len(pattern) + 1))[:size]


def _item_id(which: Sample) -> str:
    return f"o2-archive-preflight: {which}"


def _attachment(size: int) -> dict[str, object]:
    return {
        "attachmentId": f"o2-archive-preflight: {size}",
        "fileName": f"preflight-{size}.wav",
        "contentType": "audio/wav",
        "byteCount": size,
        "sha256": sha256(sample_bytes(size)).hexdigest(),
    }
