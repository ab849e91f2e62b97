"""Doors for tests and tools: what the mailboxes hold and were asked, faults, limits, the users, and a clean slate."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec

from sandbox.directory import User
from sandbox.faults import FAULTS_PATH
from sandbox.graph.limits import Limits
from sandbox.graph.refusals import Refused, not_served
from sandbox.graph.shapes import iso
from sandbox.graph.store import Mailbox, StoredMessage
from sandbox.graph.tenant import Answer, Tenant
from sandbox.graph.views import message_view

MESSAGES_PATH = "/_sandbox/messages"
_encode = msgspec.json.Encoder().encode
T = TypeVar("T")


class Latency(msgspec.Struct, forbid_unknown_fields=True):
    """Hold the body that sets how long every request takes."""

    seconds: Annotated[float, msgspec.Meta(ge=0)]


def serve(tenant: Tenant, method: str, path: str, body: bytes) -> Answer:
    """Answer a request under `/_sandbox`, which asks for no token: the sandbox is for one machine."""
    match method, path:
        case "GET", "/_sandbox/breaches":
            return Answer(200, _encode(tenant.breaches))
        case "GET", "/_sandbox/tally":
            return Answer(200, _encode(_tally(tenant)))
        case "GET", "/_sandbox/load":
            return Answer(200, _encode(_load(tenant)))
        case "GET", "/_sandbox/arrivals":
            return Answer(200, _encode(_arrivals(tenant)))
        case "GET", "/_sandbox/users":
            return Answer(200, _encode(list(tenant.directory.all.values())))
        case "PUT", "/_sandbox/users":
            put = {user.id: user for user in _users(body)}
            tenant.change_users((tenant.directory.all | put).values())
            return Answer(204)
        case "DELETE", _ if path.startswith("/_sandbox/users/"):
            tenant.change_users(_without(tenant, path.rpartition("/")[2]))
            return Answer(204)
        case "PUT", "/_sandbox/latency":
            tenant.latency = _decode(body, Latency).seconds
            return Answer(204)
        case "PUT", "/_sandbox/limits":
            try:
                changed = replace(tenant.limits, **_decode(body, dict[str, Any]))
                tenant.limit(msgspec.convert(asdict(changed), Limits))
            except (TypeError, msgspec.ValidationError) as error:
                raise Refused(400, "BadRequest", f"No limit: {error}") from None
            return Answer(204)
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


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "BadRequest", str(error)) from None


def _users(body: bytes) -> list[User]:
    """Read users as `GET /_sandbox/users` writes them; what is left out is as in the class."""
    try:
        users = [User(**fields) for fields in _decode(body, list[dict[str, Any]])]
        users = msgspec.convert([asdict(user) for user in users], list[User])
        for user in users:
            UUID(user.id)
    except (TypeError, ValueError, AttributeError, msgspec.ValidationError) as error:
        raise Refused(400, "BadRequest", f"No user: {error}") from None
    return users


def _without(tenant: Tenant, user_id: str) -> list[User]:
    if user_id not in tenant.directory.all:
        raise not_served(user_id)
    return [user for user in tenant.directory.all.values() if user.id != user_id]


def _tally(tenant: Tenant) -> dict[str, Any]:
    """Count, by mailbox, all messages that are not gone for good, and those of each value of a named text property."""
    return {
        user_id: {"messages": len(mailbox.messages) - len(mailbox.recoverable.messages), "values": mailbox.tally()}
        for user_id, mailbox in tenant.mailboxes.items()
        if mailbox.messages
    }


def _load(tenant: Tenant) -> dict[str, Any]:
    """Sum up what was asked of the mailboxes since the last reset, and what this process has cost since it began.

    `requests` counts each one of a batch, `refused` the 429s of the limits alone, `faulted` faults that struck by kind,
    `peak` the most requests that one mailbox had in flight.
    """
    mailboxes = tenant.mailboxes.values()
    return {
        "cpu_seconds": time.process_time(),
        "creates": sum(mailbox.created for mailbox in mailboxes),
        "requests": sum(mailbox.meter.asked for mailbox in mailboxes),
        "refused": sum(mailbox.meter.refused for mailbox in mailboxes),
        "faulted": tenant.faults.struck,
        "breaches": len(tenant.breaches),
        "peak": max((mailbox.meter.peak for mailbox in mailboxes), default=0),
    }


def _arrivals(tenant: Tenant) -> dict[str, Any]:
    """Say when each mailbox was asked for its first and its last create that succeeded, in seconds since 1970."""
    return {
        user_id: {"creates": mailbox.created, "first": mailbox.first_created, "last": mailbox.last_created}
        for user_id, mailbox in tenant.mailboxes.items()
        if mailbox.created
    }


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
