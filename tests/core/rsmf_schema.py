"""What RSMF 2.0 asks of a manifest, as a JSON Schema of our own, from Relativity's published description.

Stricter in one thing: a field that the format does not know is an error here.
"""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_NAME: dict[str, Any] = {"type": "string", "minLength": 1}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_NUMBER: dict[str, Any] = {"type": "integer", "minimum": 0}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


_CUSTOM = _list(_object({"name": _NAME, "value": _NAME}))
_PARTICIPANT = _object(
    {"id": _NAME},
    display=_TEXT,
    email={"type": "string", "format": "idn-email"},
    avatar=_TEXT,
    account_id=_TEXT,
    custom=_CUSTOM,
)
_CONVERSATION = _object(
    {"id": _NAME, "platform": _NAME, "participants": _list(_NAME)},
    display=_TEXT,
    type={"enum": ["direct", "channel"]},
    custodian=_TEXT,
    custom=_CUSTOM,
    icon=_TEXT,
)
_EVENT = _object(
    {"type": {"enum": ["message", "disclaimer", "join", "leave", "history", "unknown"]}},
    id=_TEXT,
    parent=_TEXT,
    body=_TEXT,
    participant=_TEXT,
    conversation=_TEXT,
    timestamp=_TIME,
    deleted={"type": "boolean"},
    importance={"enum": ["normal", "high"]},
    reactions=_list(_object({"value": _NAME}, count=_NUMBER, participants=_list(_NAME))),
    attachments=_list(_object({"id": _NAME}, display=_TEXT, size=_NUMBER)),
    edits=_list(_object({"participant": _NAME}, timestamp=_TIME, previous=_TEXT, new=_TEXT)),
    custom=_CUSTOM,
    direction={"enum": ["incoming", "outgoing"]},
    read_receipts=_list(_object({"participant": _NAME}, timestamp=_TIME, action={"enum": ["read", "delivered"]})),
)
MANIFEST = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **_object(
        {
            "version": {"const": "2.0.0"},
            "participants": _list(_PARTICIPANT),
            "conversations": _list(_CONVERSATION),
            "events": _list(_EVENT),
        },
        eventcollectionid=_TEXT,
    ),
}
