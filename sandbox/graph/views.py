"""What a message and its attachments look like to a client."""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import lru_cache
from hashlib import md5
from typing import Any, Final

from msgspec import UNSET

from sandbox.graph import shapes
from sandbox.graph.odata import EXTENDED, Expand, Query, parse_filter
from sandbox.graph.refusals import Refused
from sandbox.graph.shapes import MESSAGE_CLASS, base64_of
from sandbox.graph.store import DRAFT, READ, Attachment, Mailbox, StoredMessage, preview
from sandbox.graph.tenant import Call, Tenant

FLAGS, SENT, RECEIVED = "Integer 0xe07", "SystemTime 0x39", "SystemTime 0xe06"
MESSAGE_ID = "String 0x1035"
TOPIC, INDEX, BY_INDEX = "String 0x70", "Binary 0x71", "Boolean 0x3016"
# What the header of a conversation index has before its GUID, and with it (MS-OXOMSG 2.2.1.3)
BEFORE_GUID, HEADER, BASE64_OF_HEADER = 6, 22, 32
# Exchange gives a text of a list up to here, and all of it when the item itself is asked for (ews-javascript-api#429)
LISTED_TEXT: Final = 255
ATTACHMENT_FIELDS: Final = frozenset({"contentType", "id", "isInline", "lastModifiedDateTime", "name", "size"})
NOT_FLAGGED: Final = {"flagStatus": "notFlagged"}
_CHANGE = struct.Struct(">QI")
iso = lru_cache(maxsize=65536)(shapes.iso)


# What is quickly told of a message, for listings that ask a hundred thousand of them for little else
QUICK: Final[dict[str, Callable[[StoredMessage, shapes.Message], Any]]] = {
    "categories": lambda _, content: content.categories or [],
    "createdDateTime": lambda message, _: iso(message.created),
    "internetMessageId": lambda _, content: content.internetMessageId,
    "lastModifiedDateTime": lambda message, _: iso(message.modified),
    "parentFolderId": lambda message, _: message.folder.id,
    "receivedDateTime": lambda message, _: iso(message.received),
    "sentDateTime": lambda message, _: iso(message.sent),
}


def _etag_and_id(mailbox: Mailbox, message: StoredMessage, *, immutable: bool) -> dict[str, Any]:
    change = b64encode(_CHANGE.pack(message.number, message.change)).decode("ascii")
    return {"@odata.etag": f'W/"{change}"', "id": mailbox.message_id(message, immutable=immutable)}


def message_view(
    mailbox: Mailbox, message: StoredMessage, content: shapes.Message, *, immutable: bool
) -> dict[str, Any]:
    """Return a message as Graph shows it, in Graph's order."""
    change = b64encode(_CHANGE.pack(message.number, message.change)).decode("ascii")
    message_id = mailbox.message_id(message, immutable=immutable)
    subject = content.subject or ""
    properties = properties_of(content)
    index = properties.get(INDEX)
    by = index[:BASE64_OF_HEADER] if index and properties.get(BY_INDEX, "").lower() == "true" else ""
    view: dict[str, Any] = {
        "@odata.etag": f'W/"{change}"',
        "id": message_id,
        "createdDateTime": iso(message.created),
        "lastModifiedDateTime": iso(message.modified),
        "changeKey": change,
        "categories": content.categories or [],
        "receivedDateTime": iso(message.received),
        "sentDateTime": iso(message.sent),
        "hasAttachments": any(not attachment.inline for attachment in message.attachments),
        "internetMessageId": content.internetMessageId,
        "subject": subject,
        "bodyPreview": preview(content.body or None),
        "importance": content.importance or "normal",
        "parentFolderId": message.folder.id,
        "conversationId": _conversation(mailbox.user.id, properties.get(TOPIC) or subject, by),
        "conversationIndex": index,
        "isDeliveryReceiptRequested": bool(content.isDeliveryReceiptRequested),
        "isReadReceiptRequested": bool(content.isReadReceiptRequested),
        "isRead": bool(message.flags & READ),
        "isDraft": bool(message.flags & DRAFT),
        "webLink": f"https://outlook.office365.com/owa/?ItemID={message_id}&exvsurl=1&viewmodel=ReadMessageItem",
        "inferenceClassification": content.inferenceClassification or "focused",
        "body": content.body or {"contentType": "text", "content": ""},
        "toRecipients": content.toRecipients or [],
        "ccRecipients": content.ccRecipients or [],
        "bccRecipients": content.bccRecipients or [],
        "replyTo": content.replyTo or [],
        "flag": content.flag or NOT_FLAGGED,
    }
    if sender := content.sender or content.from_:
        view["sender"] = sender
        view["from"] = content.from_ or sender
    return view


@lru_cache(maxsize=4096)
def _conversation(owner: str, topic: str, index: str) -> str:
    """Return the id of a conversation, which the index's GUID makes or else the topic (MS-OXOMSG 2.2.1.2)."""
    header = b64decode(index)[:HEADER]
    if len(header) == HEADER and header[0] == 1:
        made = header[BEFORE_GUID:]
    else:
        made = md5(topic[:255].upper().encode("utf-16-le", "surrogatepass"), usedforsecurity=False).digest()
    return "AAQkAG" + b64encode(owner.encode("ascii")[:18] + made, b"-_").decode("ascii")


def properties_of(given: shapes.Message) -> dict[str, str]:
    """Return the single-value extended properties of a message, by canonical id."""
    if given.singleValueExtendedProperties is UNSET:
        return {}
    return {single.id or "": single.value or "" for single in given.singleValueExtendedProperties}


_COMPUTED: dict[str, Callable[[StoredMessage, shapes.Message], str | None]] = {
    FLAGS: lambda message, _: str(message.flags | (0x10 if message.attachments else 0)),
    SENT: lambda message, _: iso(message.sent),
    RECEIVED: lambda message, _: iso(message.received),
    MESSAGE_ID: lambda _, content: content.internetMessageId or None,
    "String 0x37": lambda _, content: content.subject or None,
    "SystemTime 0x3007": lambda message, _: iso(message.created),
    "SystemTime 0x3008": lambda message, _: iso(message.modified),
    "Integer 0xe08": lambda message, _: str(message.size),
}


def extended_value(message: StoredMessage, content: shapes.Message, property_id: str) -> str | None:
    """Return the value of a single-value extended property by its canonical id, computed ones included."""
    if (computed := _COMPUTED.get(property_id)) is not None:
        return computed(message, content)
    if (held := properties_of(content).get(property_id)) is not None:
        return held
    return {MESSAGE_CLASS: "IPM.Note", TOPIC: content.subject or None}.get(property_id)


def whole_view(
    tenant: Tenant, mailbox: Mailbox, message: StoredMessage, call: Call, query: Query | None, *, listed: bool = False
) -> dict[str, Any]:
    """Return what $select and $expand ask for; headers are there only when they are selected (message resource).

    :param listed: the message is one of a list, whose extended texts are cut.
    """
    content = message.content
    if query is not None and query.select and QUICK.keys() >= {*query.select} - {"id"}:
        view = _etag_and_id(mailbox, message, immutable=call.immutable)
        view |= {name: QUICK[name](message, content) for name in query.select if name != "id"}
    else:
        view = message_view(mailbox, message, content, immutable=call.immutable)
    if query is None:
        return view
    if query.select and "body" in view:
        view["internetMessageHeaders"] = content.internetMessageHeaders or []
        view["uniqueBody"] = view["body"]
        view = {key: view[key] for key in ("@odata.etag", "id", *query.select) if key in view}
    for expand in query.expand:
        if expand.name == "attachments":
            files = [attachment_view(tenant, mailbox, message, file, call) for file in message.attachments]
            if names := expand.options.get("select"):
                files = [chosen(file, tuple(name.strip() for name in names.split(","))) for file in files]
            view["attachments"] = files
        elif expand.name == EXTENDED:
            found = [(name, extended_value(message, content, name)) for name in _expanded_ids(expand)]
            end = LISTED_TEXT if listed else None
            held = [
                {"id": name, "value": value[:end] if name.startswith("String ") else value}
                for name, value in found
                if value is not None
            ]
            if held:
                view[EXTENDED] = held
        else:
            wanted = set(_expanded_ids(expand))
            multis = content.multiValueExtendedProperties
            view[expand.name] = [m for m in (multis if multis is not UNSET else []) if m.id in wanted]
    return view


def check_expands(query: Query) -> None:
    """Refuse a query that expands what a message does not have."""
    for expand in query.expand:
        if expand.name in {EXTENDED, "multiValueExtendedProperties"}:
            _expanded_ids(expand)
        elif expand.name != "attachments":
            message = f"Could not find a property named '{expand.name}' on type 'microsoft.graph.message'."
            raise Refused(400, "RequestBroker--ParseUri", message)


def _expanded_ids(expand: Expand) -> tuple[str, ...]:
    """Return the ids that an expansion names; it must name some (singlevaluelegacyextendedproperty-get.md)."""
    if "filter" not in expand.options:
        message = f"The expansion of '{expand.name}' needs a $filter on id."
        raise Refused(400, "ErrorInvalidUrlQuery", message)
    return _ids_of_filter(expand.options["filter"])


@lru_cache(maxsize=1024)
def _ids_of_filter(text: str) -> tuple[str, ...]:
    def ids(node: tuple[Any, ...]) -> list[str]:
        match node:
            case ("or", left, right):
                return ids(left) + ids(right)
            case ("compare", "id" | "Id", "eq", str() as value):
                return [shapes.canonical(value)]
        raise Refused(400, "ErrorInvalidUrlQueryFilter", "The filter of the expansion has to name ids with eq and or.")

    return tuple(ids(parse_filter(text)))


def attachment_view(
    tenant: Tenant, mailbox: Mailbox, message: StoredMessage, attachment: Attachment, call: Call
) -> dict[str, Any]:
    """Return an attachment as Graph shows it, bytes and all."""
    return {
        "@odata.type": "#microsoft.graph.fileAttachment",
        "@odata.mediaContentType": attachment.content_type,
        "id": mailbox.message_id(message, immutable=call.immutable, attachment=attachment.number),
        "lastModifiedDateTime": iso(attachment.modified),
        "name": attachment.name,
        "contentType": attachment.content_type,
        "size": attachment.size,
        "isInline": attachment.inline,
        "contentId": attachment.content_id,
        "contentLocation": attachment.location,
        "contentBytes": base64_of(tenant.contents.get(attachment.digest)),
    }


def chosen(view: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Select from an attachment; only what the base type declares (microsoft-graph-explorer-v4#3916)."""
    chosen = {key: view[key] for key in ("@odata.type", "@odata.mediaContentType", "id")}
    for name in names:
        key = name.removeprefix("microsoft.graph.fileAttachment/")
        if (key not in ATTACHMENT_FIELDS and key == name) or key not in view:
            message = f"Could not find a property named '{name}' on type 'microsoft.graph.attachment'."
            raise Refused(400, "RequestBroker--ParseUri", message)
        chosen[key] = view[key]
    return chosen
