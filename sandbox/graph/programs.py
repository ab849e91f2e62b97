"""Doors for tests and tools: what the mailboxes hold, who broke a limit, faults, and a clean slate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from sandbox.faults import FAULTS_PATH
from sandbox.graph.refusals import Refused, not_served
from sandbox.graph.shapes import iso
from sandbox.graph.store import Mailbox, StoredMessage
from sandbox.graph.tenant import Answer, Tenant
from sandbox.graph.views import message_view

MESSAGES_PATH = "/_sandbox/messages"
_encode = msgspec.json.Encoder().encode


def serve(tenant: Tenant, method: str, path: str, body: bytes) -> Answer:
    """Answer a request under `/_sandbox`, which asks for no token: the sandbox is for one machine."""
    match method, path:
        case "GET", "/_sandbox/breaches":
            return Answer(200, _encode(tenant.breaches))
        case "POST", "/_sandbox/reset":
            tenant.reset()
            return Answer(204)
        case "DELETE", _ if path == FAULTS_PATH:
            tenant.faults.clear()
            return Answer(204)
        case "POST", _ if path == FAULTS_PATH:
            try:
                tenant.faults.add(**msgspec.json.decode(body, type=dict[str, Any]))
            except (TypeError, ValueError, re.error) as error:
                raise Refused(400, "BadRequest", f"No fault: {error}") from None
            return Answer(204)
    raise not_served(path)


def messages(tenant: Tenant) -> Iterator[bytes]:
    """Yield every message that lies in no folder of deleted ones, a line of JSON each."""
    for mailbox in tenant.mailboxes.values():
        for message in list(mailbox.messages.values()):
            if message.folder not in (mailbox.deleted, mailbox.recoverable):
                yield _encode(_line(mailbox, message)) + b"\n"


def _line(mailbox: Mailbox, message: StoredMessage) -> dict[str, Any]:
    content = message.content
    view = message_view(mailbox, message, content, immutable=True)
    return {
        "userId": mailbox.user.id,
        "userPrincipalName": mailbox.user.user_principal_name,
        "folder": message.folder.name,
        **{key: value for key, value in view.items() if not key.startswith("@")},
        "internetMessageHeaders": content.internetMessageHeaders or [],
        "singleValueExtendedProperties": content.singleValueExtendedProperties or [],
        "multiValueExtendedProperties": content.multiValueExtendedProperties or [],
        "attachments": [
            {
                "name": attachment.name,
                "contentType": attachment.content_type,
                "size": attachment.size,
                "sha256": attachment.digest.hex(),
                "isInline": attachment.inline,
                "contentId": attachment.content_id,
                "lastModifiedDateTime": iso(attachment.modified),
            }
            for attachment in message.attachments
        ],
    }
