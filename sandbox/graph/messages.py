"""Messages: create, list, read, change."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import msgspec
from msgspec import UNSET

from sandbox.graph import shapes
from sandbox.graph.answers import check_names, json_answer, mail_query, no_method, page_answer, too_large
from sandbox.graph.mime import read_mime
from sandbox.graph.odata import EXTENDED, Node, Query, conjunction, dig, extended_equality, holds, paths
from sandbox.graph.refusals import Refused, access_denied
from sandbox.graph.store import DRAFT, READ, Attachment, Folder, Mailbox, StoredMessage, index_key
from sandbox.graph.tenant import CHANGE_SENT_MAIL, Answer, Call, Tenant
from sandbox.graph.views import (
    FLAGS,
    MESSAGE_ID,
    QUICK,
    RECEIVED,
    SENT,
    check_expands,
    extended_value,
    message_view,
    properties_of,
    whole_view,
)

MAX_ATTACHMENTS: Final = 250
# docs-contrib `api-reference/v1.0/api/message-update.md`: "Updatable only if isDraft = true". From 2026-12-31 changing
# them on a message that is no draft needs Mail-Advanced.ReadWrite.All (Exchange Team blog, techcommunity 4505227).
SENSITIVE: Final = (
    "subject",
    "body",
    "from_",
    "sender",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
    "internetMessageId",
)
UPDATABLE: Final = (
    *SENSITIVE,
    "importance",
    "inferenceClassification",
    "categories",
    "flag",
    "isDeliveryReceiptRequested",
    "isReadReceiptRequested",
)
MESSAGE_FIELDS: Final = frozenset(
    {
        "bccRecipients",
        "body",
        "bodyPreview",
        "categories",
        "ccRecipients",
        "changeKey",
        "conversationId",
        "conversationIndex",
        "createdDateTime",
        "flag",
        "from",
        "hasAttachments",
        "id",
        "importance",
        "inferenceClassification",
        "internetMessageHeaders",
        "internetMessageId",
        "isDeliveryReceiptRequested",
        "isDraft",
        "isRead",
        "isReadReceiptRequested",
        "lastModifiedDateTime",
        "parentFolderId",
        "receivedDateTime",
        "replyTo",
        "sender",
        "sentDateTime",
        "subject",
        "toRecipients",
        "uniqueBody",
        "webLink",
    }
)


def create_message(tenant: Tenant, mailbox: Mailbox, call: Call, folder: Folder, *, in_folder: bool) -> Answer:
    """Create a message: a draft of now, unless PidTagMessageFlags (0x0E07) comes without bit 0x8 (mfUnsent).

    MS-OXCMSG 2.2.1.6: mfRead 0x1 and mfUnsent 0x8 are writable until the first save. PidTagClientSubmitTime 0x0039
    becomes sentDateTime, PidTagMessageDeliveryTime 0x0E06 receivedDateTime (corso `mail_restore.go`); isDraft,
    sentDateTime and receivedDateTime in the JSON have no effect.
    """
    if call.content_type.startswith("text/plain"):
        given, files = read_mime(call.body)
    else:
        given = shapes.decode(call.body, shapes.Message, "message")
        files = []
    shapes.check_message(given, creating=True)
    if given.attachments is not UNSET:
        files = [shapes.file_attachment(raw) for raw in given.attachments]
        given.attachments = UNSET
    _check_room(tenant, mailbox, folder)
    properties = properties_of(given)
    _take_names(tenant, mailbox, given, properties)
    for name in shapes.NO_EFFECT:
        setattr(given, name, UNSET)
    if not given.internetMessageId:
        given.internetMessageId = properties.get(MESSAGE_ID) or f"<{uuid4().hex.upper()}@sandbox.example.com>"
    flags = DRAFT | READ
    if FLAGS in properties:
        flags = int(properties[FLAGS]) & (DRAFT | READ)
    given.isRead = UNSET
    moment = call.now.timestamp()
    now = int(moment)
    size = len(call.body) if not files else sum(len(file.contentBytes or b"") for file in files)
    if len(files) > MAX_ATTACHMENTS:
        raise Refused(400, "ErrorInvalidRequest", f"A message holds {MAX_ATTACHMENTS} attachments at most.")
    if size > tenant.message_bytes:
        raise too_large()
    message = mailbox.add(folder, given, now)
    mailbox.note_create(moment)
    message.flags = flags
    if not flags & DRAFT:
        if SENT in properties:
            message.sent = shapes.instant(properties[SENT])
        if RECEIVED in properties:
            message.received = shapes.instant(properties[RECEIVED])
    if files:
        message.attachments = tuple(
            Attachment(number, file, tenant.contents.put(file.contentBytes or b""), now)
            for number, file in enumerate(files, 1)
        )
    where = "/mailFolders('" + folder.id + "')/messages" if in_folder else "/messages"
    view = {
        "@odata.context": f"https://{call.host}/v1.0/$metadata#{mailbox.base}{where}/$entity",
        **message_view(mailbox, message, given, immutable=call.immutable),
    }
    return json_answer(call, 201, view)


def _check_room(tenant: Tenant, mailbox: Mailbox, folder: Folder) -> None:
    if mailbox.user.mailbox == "full":
        # docs#2927 for the words; 507 as Graph's error page has it for a quota
        raise Refused(507, "ErrorQuotaExceeded", "Mailbox has exceeded maximum mailbox size.")
    if len(folder.messages) >= tenant.folder_items:
        message = "The message count of the folder has exceeded its quota."
        raise Refused(507, "ErrorMessagePerFolderCountReceiveQuotaExceeded", message)


def _take_names(tenant: Tenant, mailbox: Mailbox, given: shapes.Message, properties: Iterable[str]) -> None:
    """Count each distinct name against the mailbox's quota of named properties, which never shrinks.

    403 ErrorQuotaExceeded "Cannot get ID from name." (msgraph-sdk-java#767, docs-contrib#3695).
    """
    names = [name for name in properties if "{" in name]
    if given.internetMessageHeaders is not UNSET and given.internetMessageHeaders:
        names += [(header.name or "").lower() for header in given.internetMessageHeaders]
    if given.multiValueExtendedProperties is not UNSET:
        names += [multi.id or "" for multi in given.multiValueExtendedProperties]
    held = mailbox.named_properties
    fresh = {name for name in names if name not in held}
    if not fresh:
        return
    if len(held) + len(fresh) > tenant.named_properties:
        raise Refused(403, "ErrorQuotaExceeded", "Cannot get ID from name.")
    held |= fresh


def matching(mailbox: Mailbox, query: Query, folder: Folder | None) -> list[StoredMessage]:
    """Return the messages that a listing's $filter admits, by the index where an equality allows it."""
    check_names(query, MESSAGE_FIELDS, "message")
    if query.filter is None:
        return folder.newest_first() if folder else mailbox.newest_first()
    indexed: list[StoredMessage] | None = None
    sole = False
    for node in conjunction(query.filter):
        equality = extended_equality(node)
        if equality and (key := index_key(*equality)):
            indexed = mailbox.found(key)
        elif node[:3] == ("compare", "internetMessageId", "eq") and isinstance(node[3], str):
            indexed = mailbox.found(("", node[3].casefold()))
        if indexed is not None:
            sole = node is query.filter
            break
    if indexed is None:
        candidates, sole = _received_within(query.filter, folder.newest_first() if folder else mailbox.newest_first())
    else:
        candidates = [
            m for m in indexed if m.folder is folder or (folder is None and m.folder is not mailbox.recoverable)
        ]
    if sole:
        return candidates
    return [message for message in candidates if holds(query.filter, _resolver(mailbox, message))]


def _received_within(conditions: Node, newest_first: list[StoredMessage]) -> tuple[list[StoredMessage], bool]:
    """Narrow messages to those within the bounds on receivedDateTime, and say whether a filter asks for no more."""
    start, end, sole = 0, len(newest_first), True
    for node in conjunction(conditions):
        match node:
            case ("compare", "receivedDateTime", "ge" | "gt" as operator, datetime() as bound):
                side = bisect_right if operator == "ge" else bisect_left
                end = min(end, side(newest_first, -bound.timestamp(), key=_age))
            case ("compare", "receivedDateTime", "le" | "lt" as operator, datetime() as bound):
                side = bisect_left if operator == "le" else bisect_right
                start = max(start, side(newest_first, -bound.timestamp(), key=_age))
            case _:
                sole = False
    return newest_first[start:end], sole


def _age(message: StoredMessage) -> int:
    return -message.received


def _resolver(mailbox: Mailbox, message: StoredMessage) -> Callable[[str], Any]:
    content = message.content
    view: dict[str, Any] = {}

    def resolve(path: str) -> Any:
        if path.startswith(f"{EXTENDED}/"):
            return extended_value(message, content, path.removeprefix(f"{EXTENDED}/"))
        if (quick := QUICK.get(path)) is not None:
            return quick(message, content)
        if not view:
            view.update(msgspec.to_builtins(message_view(mailbox, message, content, immutable=True)))
        return dig(view, path)

    return resolve


def list_messages(tenant: Tenant, mailbox: Mailbox, call: Call, folder: Folder | None) -> Answer:
    """List the messages of a folder, or of the mailbox where there is none, newest first."""
    query = mail_query(call.query)
    check_expands(query)
    messages = matching(mailbox, query, folder)
    if query.order:
        names = [name for name, _ in query.order]
        if query.filter is not None and list(dict.fromkeys(paths(query.filter)))[: len(names)] != names:
            # user-list-messages.md: what $orderby names must come in $filter too, in this order and first
            message = "The restriction or sort order is too complex for this operation."
            raise Refused(400, "InefficientFilter", message)
        messages = list(messages)
        for name, descending in reversed(query.order):
            messages.sort(key=_order_key(mailbox, name), reverse=descending)
    where = f"/mailFolders('{folder.id}')/messages" if folder else "/messages"
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}{where}"
    return page_answer(
        call, query, context, messages, lambda message: whole_view(tenant, mailbox, message, call, query, listed=True)
    )


def _order_key(mailbox: Mailbox, name: str) -> Callable[[StoredMessage], Any]:
    quick: dict[str, Callable[[StoredMessage], Any]] = {
        "receivedDateTime": lambda message: message.received,
        "sentDateTime": lambda message: message.sent,
        "createdDateTime": lambda message: message.created,
        "lastModifiedDateTime": lambda message: message.modified,
    }
    return quick.get(name) or (lambda message: str(_resolver(mailbox, message)(name) or "").casefold())


def one_message(tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage) -> Answer:
    """Read, change or delete one message; the first DELETE moves it to Deleted Items."""
    if call.method == "GET":
        query = mail_query(call.query)
        check_names(query, MESSAGE_FIELDS, "message")
        check_expands(query)
        return message_answer(tenant, mailbox, call, message, 200, query)
    if call.method == "PATCH":
        _update(tenant, mailbox, call, message)
        return message_answer(tenant, mailbox, call, message, 200, None)
    if call.method == "DELETE":
        mailbox.move(message, mailbox.recoverable if message.folder is mailbox.deleted else mailbox.deleted)
        return Answer(204)
    raise no_method(call)


def message_answer(
    tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage, status: int, query: Query | None
) -> Answer:
    """Return a message as the answer."""
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/messages/$entity"
    return json_answer(call, status, {"@odata.context": context, **whole_view(tenant, mailbox, message, call, query)})


def _update(tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage) -> None:
    """Change a message; on one that is no draft the sensitive properties need the newer permission.

    PidTagMessageFlags cannot be changed after the first save (MS-OXCMSG 2.2.1.6): isDraft, 0x0E07 and the dates have
    no effect here, as PST importers found.
    """
    given = shapes.decode(call.body, shapes.Message, "message")
    shapes.check_message(given, creating=False)
    if given.attachments is not UNSET:
        raise Refused(400, "ErrorInvalidPropertySet", "Set action is invalid for property 'attachments'.")
    sensitive = [name for name in SENSITIVE if getattr(given, name) is not UNSET]
    if sensitive and not message.is_draft and not call.roles & CHANGE_SENT_MAIL:
        raise access_denied()
    _take_names(tenant, mailbox, given, properties := properties_of(given))
    content = message.content
    for name in UPDATABLE:
        if (value := getattr(given, name)) is not UNSET:
            setattr(content, name, value)
    fixed = {FLAGS, SENT, RECEIVED, MESSAGE_ID, shapes.MESSAGE_CLASS}
    if changed := {name: value for name, value in properties.items() if name not in fixed}:
        held = properties_of(content) | changed
        content.singleValueExtendedProperties = [shapes.SingleValue(id=name, value=held[name]) for name in held]
    if given.multiValueExtendedProperties is not UNSET:
        multis = content.multiValueExtendedProperties
        held_multis = {multi.id: multi for multi in (multis if multis is not UNSET else [])}
        held_multis |= {multi.id: multi for multi in given.multiValueExtendedProperties}
        content.multiValueExtendedProperties = list(held_multis.values())
    if given.isRead is not UNSET:
        message.flags = message.flags | READ if given.isRead else message.flags & ~READ
    mailbox.rewrite(message, content, call.now)
