"""Mail: folders, messages, attachments and upload sessions of one mailbox."""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode
from uuid import uuid4

import msgspec
from msgspec import UNSET

from sandbox.graph import shapes
from sandbox.graph.mime import read_mime
from sandbox.graph.odata import (
    EXTENDED,
    Expand,
    Query,
    dig,
    equalities,
    extended_equality,
    holds,
    parse_filter,
    parse_query,
    paths,
)
from sandbox.graph.refusals import Refused, access_denied, item_not_found, not_served
from sandbox.graph.shapes import base64_of
from sandbox.graph.store import DRAFT, READ, Attachment, Folder, Mailbox, StoredMessage, is_indexed, preview
from sandbox.graph.tenant import CHANGE_SENT_MAIL, READ_MAIL, WRITE_MAIL, Answer, Call, Tenant, Upload

DEFAULT_PAGE: Final = 10
MAX_PAGE: Final = 1000
MEGABYTE: Final = 1024 * 1024
MIN_UPLOAD: Final = 3 * MEGABYTE
MAX_UPLOAD: Final = 150 * MEGABYTE
MAX_ATTACHMENTS: Final = 250

FLAGS, SENT, RECEIVED = "Integer 0xe07", "SystemTime 0x39", "SystemTime 0xe06"
MESSAGE_ID, MESSAGE_CLASS = "String 0x1035", "String 0x1a"

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
FOLDER_FIELDS: Final = frozenset(
    {"childFolderCount", "displayName", "id", "isHidden", "parentFolderId", "totalItemCount", "unreadItemCount"}
)
ATTACHMENT_FIELDS: Final = frozenset({"contentType", "id", "isInline", "lastModifiedDateTime", "name", "size"})
NAVIGATION: Final = frozenset({EXTENDED, "multiValueExtendedProperties", "attachments", "extensions"})
NOT_FLAGGED: Final = {"flagStatus": "notFlagged"}
PREFERENCE_APPLIED: Final = {"Preference-Applied": 'IdType="ImmutableId"'}
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_MAX_PAGE_SIZE = re.compile(r"odata\.maxpagesize=(\d+)", re.IGNORECASE)

_encode = msgspec.json.Encoder().encode
_CHANGE = struct.Struct(">QI")
iso = lru_cache(maxsize=65536)(shapes.iso)


def serve(tenant: Tenant, mailbox: Mailbox, call: Call) -> Answer:
    """Answer a request for something in a mailbox; the rights come before everything else."""
    if not call.roles & (READ_MAIL if call.method == "GET" else WRITE_MAIL):
        raise access_denied()
    parts = call.parts
    kind = parts[2].lower()
    if kind == "messages":
        return _messages(tenant, mailbox, call, None, parts[3:])
    if kind == "mailfolders":
        return _folders(tenant, mailbox, call, mailbox.root, parts[3:])
    raise not_served(parts[2])


def is_mail(parts: list[str]) -> bool:
    """Say whether a path under `/users/{id}` leads into the mailbox."""
    return len(parts) > 2 and parts[2].lower() in {"messages", "mailfolders"}


# Folders ------------------------------------------------------------------------------------------------------------


def _folders(tenant: Tenant, mailbox: Mailbox, call: Call, parent: Folder, parts: list[str]) -> Answer:
    if not parts:
        if call.method == "POST":
            return _create_folder(mailbox, call, parent)
        return _list_folders(mailbox, call, parent)
    if parts[0] == "$count":
        return _count(len(_shown_folders(parent, call.query)))
    folder = mailbox.folder(parts[0])
    if len(parts) == 1:
        return _one_folder(mailbox, call, folder)
    if parts[1].lower() == "messages":
        return _messages(tenant, mailbox, call, folder, parts[2:])
    if parts[1].lower() == "childfolders":
        return _folders(tenant, mailbox, call, folder, parts[2:])
    raise not_served(parts[1])


def _create_folder(mailbox: Mailbox, call: Call, parent: Folder) -> Answer:
    """Make a folder; "displayName and isHidden are the only writable properties" (mailfolder-post-childfolders.md)."""
    given = shapes.decode(call.body, shapes.MailFolder, "mailFolder")
    for name in ("id", "parentFolderId", "childFolderCount", "totalItemCount", "unreadItemCount"):
        if getattr(given, name) is not UNSET:
            raise Refused(400, "ErrorInvalidPropertySet", f"Set action is invalid for property '{name}'.")
    if not given.displayName or not given.displayName.strip():
        raise Refused(400, "ErrorInvalidRequest", "The required property 'displayName' is missing.")
    hidden = given.isHidden is not UNSET and bool(given.isHidden)
    folder = mailbox.add_folder(given.displayName, parent, hidden=hidden)
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/mailFolders/$entity"
    return _json(call, 201, {"@odata.context": context, **_folder_view(mailbox, folder, None)})


def _shown_folders(parent: Folder, query: str) -> list[Folder]:
    hidden_too = "includehiddenfolders=true" in query.lower()
    return [child for child in parent.children if hidden_too or not child.hidden]


def _list_folders(mailbox: Mailbox, call: Call, parent: Folder) -> Answer:
    if call.method != "GET":
        raise _no_method(call)
    query = parse_query(call.query, max_top=MAX_PAGE, top_error="RequestBroker--ParseUri")
    _check_names(query, FOLDER_FIELDS, "mailFolder")
    folders = _shown_folders(parent, call.query)
    views = [_folder_view(mailbox, folder, None) for folder in folders]
    if query.filter is not None:
        node = query.filter
        views = [view for view in views if holds(node, partial(dig, view))]
    for name, descending in reversed(query.order):
        views.sort(key=lambda view: str(view[name]).casefold(), reverse=descending)
    names = query.select
    return _page(
        call,
        query,
        f"https://{call.host}/v1.0/$metadata#{mailbox.base}/mailFolders",
        views,
        lambda view: view if names is None else {key: view[key] for key in ("id", *names)},
    )


def _one_folder(mailbox: Mailbox, call: Call, folder: Folder) -> Answer:
    if call.method == "GET":
        query = parse_query(call.query, max_top=MAX_PAGE, top_error="RequestBroker--ParseUri")
        _check_names(query, FOLDER_FIELDS, "mailFolder")
    elif call.method == "PATCH":
        given = shapes.decode(call.body, shapes.MailFolder, "mailFolder")
        if folder.well_known or not given.displayName or given.isHidden is not UNSET:
            raise Refused(400, "ErrorInvalidPropertySet", "Set action is invalid for property.")
        same = given.displayName.casefold()
        if folder.parent and any(c.name.casefold() == same for c in folder.parent.children if c is not folder):
            raise Refused(409, "ErrorFolderExists", "A folder with the specified name already exists.")
        folder.name = given.displayName
        query = parse_query("", max_top=MAX_PAGE, top_error="")
    elif call.method == "DELETE":
        if folder.well_known:
            raise Refused(403, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
        mailbox.remove_folder(folder)
        return Answer(204)
    else:
        raise _no_method(call)
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/mailFolders/$entity"
    return _json(call, 200, {"@odata.context": context, **_folder_view(mailbox, folder, query.select)})


def _folder_view(mailbox: Mailbox, folder: Folder, names: tuple[str, ...] | None) -> dict[str, Any]:
    parent = folder.parent or folder
    view = {
        "id": mailbox.folder_id(folder),
        "displayName": folder.name,
        "parentFolderId": mailbox.folder_id(parent),
        "childFolderCount": sum(not child.hidden for child in folder.children),
        "unreadItemCount": sum(not message.flags & READ for message in folder.messages.values()),
        "totalItemCount": len(folder.messages),
        "isHidden": folder.hidden,
    }
    return view if names is None else {name: view[name] for name in ("id", *names)}


# Messages -----------------------------------------------------------------------------------------------------------


def _messages(tenant: Tenant, mailbox: Mailbox, call: Call, folder: Folder | None, parts: list[str]) -> Answer:
    if not parts:
        if call.method == "POST":
            return create_message(tenant, mailbox, call, folder or mailbox.well_known["drafts"], in_folder=bool(folder))
        if call.method != "GET":
            raise _no_method(call)
        return _list_messages(tenant, mailbox, call, folder)
    if parts[0] == "$count":
        query = parse_query(call.query, max_top=MAX_PAGE, top_error="RequestBroker--ParseUri")
        return _count(len(_matching(mailbox, query, folder)))
    message = mailbox.message(parts[0])
    if folder is not None and message.folder is not folder:
        raise item_not_found()
    if len(parts) == 1:
        return _one_message(tenant, mailbox, call, message)
    action = parts[1].lower().removeprefix("microsoft.graph.")
    if action == "attachments":
        return _attachments(tenant, mailbox, call, message, parts[2:])
    if call.method != "POST" or len(parts) > 2:
        raise not_served(parts[1])
    if action == "move":
        given = shapes.decode(call.body, shapes.Destination, "message")
        mailbox.move(message, mailbox.folder(given.destinationId))
        return _message_answer(tenant, mailbox, call, message, 201, None)
    if action == "permanentdelete":
        mailbox.remove(message)
        return Answer(204)
    raise not_served(parts[1])


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
    properties = _properties(given)
    _take_names(tenant, mailbox, given, properties)
    for name in shapes.NO_EFFECT:
        setattr(given, name, UNSET)
    if not given.internetMessageId:
        given.internetMessageId = properties.get(MESSAGE_ID) or f"<{uuid4().hex.upper()}@sandbox.example.com>"
    flags = DRAFT | READ
    if FLAGS in properties:
        flags = int(properties[FLAGS]) & (DRAFT | READ)
    given.isRead = UNSET
    now = int(call.now.timestamp())
    size = len(call.body) if not files else sum(len(file.contentBytes or b"") for file in files)
    if len(files) > MAX_ATTACHMENTS:
        raise Refused(400, "ErrorInvalidRequest", f"A message holds {MAX_ATTACHMENTS} attachments at most.")
    if size > tenant.message_bytes:
        raise _too_large()
    message = mailbox.add(folder, given, now)
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
    where = "/mailFolders('" + mailbox.folder_id(folder) + "')/messages" if in_folder else "/messages"
    view = {
        "@odata.context": f"https://{call.host}/v1.0/$metadata#{mailbox.base}{where}/$entity",
        **message_view(mailbox, message, given, immutable=call.immutable),
    }
    return _json(call, 201, view)


def _properties(given: shapes.Message) -> dict[str, str]:
    if given.singleValueExtendedProperties is UNSET:
        return {}
    return {single.id or "": single.value or "" for single in given.singleValueExtendedProperties}


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


def _too_large() -> Refused:
    return Refused(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")


@lru_cache(maxsize=4096)
def _conversation(owner: str, topic: str) -> str:
    digest = blake2b(f"{owner}\n{topic}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return "AAQkAG" + b64encode(owner.encode("ascii")[:18] + digest, b"-_").decode("ascii")


def message_view(
    mailbox: Mailbox, message: StoredMessage, content: shapes.Message, *, immutable: bool
) -> dict[str, Any]:
    """Return a message as Graph shows it, in Graph's order."""
    change = b64encode(_CHANGE.pack(message.number, message.change)).decode("ascii")
    message_id = mailbox.message_id(message, immutable=immutable)
    subject = content.subject or ""
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
        "parentFolderId": mailbox.folder_id(message.folder),
        "conversationId": _conversation(mailbox.user.id, subject),
        "conversationIndex": None,
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


def extended_value(message: StoredMessage, content: shapes.Message, property_id: str) -> str | None:
    """Return the value of a single-value extended property by its canonical id, computed ones included."""
    computed: dict[str, Callable[[], str | None]] = {
        FLAGS: lambda: str(message.flags | (0x10 if message.attachments else 0)),
        SENT: lambda: iso(message.sent),
        RECEIVED: lambda: iso(message.received),
        MESSAGE_ID: lambda: content.internetMessageId or None,
        "String 0x37": lambda: content.subject or None,
        "SystemTime 0x3007": lambda: iso(message.created),
        "SystemTime 0x3008": lambda: iso(message.modified),
        "Integer 0xe08": lambda: str(message.size),
    }
    if property_id in computed:
        return computed[property_id]()
    return _properties(content).get(property_id) or ("IPM.Note" if property_id == MESSAGE_CLASS else None)


def _whole_view(
    tenant: Tenant, mailbox: Mailbox, message: StoredMessage, call: Call, query: Query | None
) -> dict[str, Any]:
    """Return what $select and $expand ask for; headers are there only when they are selected (message resource)."""
    content = message.content
    view = message_view(mailbox, message, content, immutable=call.immutable)
    if query is None:
        return view
    if query.select:
        view["internetMessageHeaders"] = content.internetMessageHeaders or []
        view["uniqueBody"] = view["body"]
        view = {key: view[key] for key in ("@odata.etag", "id", *query.select) if key in view}
    for expand in query.expand:
        if expand.name == "attachments":
            files = [_attachment_view(tenant, mailbox, message, file, call) for file in message.attachments]
            if names := expand.options.get("select"):
                files = [_chosen(file, tuple(name.strip() for name in names.split(","))) for file in files]
            view["attachments"] = files
        elif expand.name == EXTENDED:
            found = [(name, extended_value(message, content, name)) for name in _expanded_ids(expand)]
            if held := [{"id": name, "value": value} for name, value in found if value is not None]:
                view[EXTENDED] = held
        else:
            wanted = set(_expanded_ids(expand))
            multis = content.multiValueExtendedProperties
            view[expand.name] = [m for m in (multis if multis is not UNSET else []) if m.id in wanted]
    return view


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


def _expanded_ids(expand: Expand) -> tuple[str, ...]:
    """Return the ids that an expansion names; it must name some (singlevaluelegacyextendedproperty-get.md)."""
    if "filter" not in expand.options:
        message = f"The expansion of '{expand.name}' needs a $filter on id."
        raise Refused(400, "ErrorInvalidUrlQuery", message)
    return _ids_of_filter(expand.options["filter"])


def _check_expands(query: Query) -> None:
    for expand in query.expand:
        if expand.name in {EXTENDED, "multiValueExtendedProperties"}:
            _expanded_ids(expand)
        elif expand.name != "attachments":
            message = f"Could not find a property named '{expand.name}' on type 'microsoft.graph.message'."
            raise Refused(400, "RequestBroker--ParseUri", message)


def _check_names(query: Query, fields: frozenset[str], type_name: str) -> None:
    asked = [*(query.select or ()), *(name for name, _ in query.order)]
    if query.filter is not None:
        asked += [path for path in paths(query.filter) if path.partition("/")[0] not in NAVIGATION]
    for path in asked:
        name = path.partition("/")[0]
        if name not in fields:
            message = f"Could not find a property named '{name}' on type 'microsoft.graph.{type_name}'."
            raise Refused(400, "RequestBroker--ParseUri", message)


def _matching(mailbox: Mailbox, query: Query, folder: Folder | None) -> list[StoredMessage]:
    """Return the messages that a listing's $filter admits, by the index where an equality allows it."""
    _check_names(query, MESSAGE_FIELDS, "message")
    if query.filter is None:
        return folder.newest_first() if folder else mailbox.newest_first()
    indexed: list[StoredMessage] | None = None
    sole = False
    for node in equalities(query.filter):
        equality = extended_equality(node)
        if equality and is_indexed(equality[0]):
            indexed = mailbox.found(*equality)
        elif node[:3] == ("compare", "internetMessageId", "eq") and isinstance(node[3], str):
            indexed = mailbox.found("", node[3])
        if indexed is not None:
            sole = node is query.filter
            break
    if indexed is None:
        candidates = folder.newest_first() if folder else mailbox.newest_first()
    else:
        candidates = [
            m for m in indexed if m.folder is folder or (folder is None and m.folder is not mailbox.recoverable)
        ]
    if sole:
        return candidates
    return [message for message in candidates if holds(query.filter, _resolver(mailbox, message))]


def _resolver(mailbox: Mailbox, message: StoredMessage) -> Callable[[str], Any]:
    content = message.content
    view: dict[str, Any] = {}

    def resolve(path: str) -> Any:
        if path.startswith(f"{EXTENDED}/"):
            return extended_value(message, content, path.removeprefix(f"{EXTENDED}/"))
        if not view:
            view.update(msgspec.to_builtins(message_view(mailbox, message, content, immutable=True)))
        return dig(view, path)

    return resolve


def _list_messages(tenant: Tenant, mailbox: Mailbox, call: Call, folder: Folder | None) -> Answer:
    query = parse_query(call.query, max_top=MAX_PAGE, top_error="RequestBroker--ParseUri")
    _check_expands(query)
    messages = _matching(mailbox, query, folder)
    if query.order:
        names = [name for name, _ in query.order]
        if query.filter is not None and list(dict.fromkeys(paths(query.filter)))[: len(names)] != names:
            # user-list-messages.md: what $orderby names must come in $filter too, in this order and first
            message = "The restriction or sort order is too complex for this operation."
            raise Refused(400, "InefficientFilter", message)
        messages = list(messages)
        for name, descending in reversed(query.order):
            messages.sort(key=_order_key(mailbox, name), reverse=descending)
    where = f"/mailFolders('{mailbox.folder_id(folder)}')/messages" if folder else "/messages"
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}{where}"
    return _page(call, query, context, messages, lambda message: _whole_view(tenant, mailbox, message, call, query))


def _order_key(mailbox: Mailbox, name: str) -> Callable[[StoredMessage], Any]:
    quick: dict[str, Callable[[StoredMessage], Any]] = {
        "receivedDateTime": lambda message: message.received,
        "sentDateTime": lambda message: message.sent,
        "createdDateTime": lambda message: message.created,
        "lastModifiedDateTime": lambda message: message.modified,
    }
    return quick.get(name) or (lambda message: str(_resolver(mailbox, message)(name) or "").casefold())


def _one_message(tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage) -> Answer:
    if call.method == "GET":
        query = parse_query(call.query, max_top=MAX_PAGE, top_error="RequestBroker--ParseUri")
        _check_names(query, MESSAGE_FIELDS, "message")
        _check_expands(query)
        return _message_answer(tenant, mailbox, call, message, 200, query)
    if call.method == "PATCH":
        _update(tenant, mailbox, call, message)
        return _message_answer(tenant, mailbox, call, message, 200, None)
    if call.method == "DELETE":
        mailbox.move(message, mailbox.recoverable if message.folder is mailbox.deleted else mailbox.deleted)
        return Answer(204)
    raise _no_method(call)


def _message_answer(
    tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage, status: int, query: Query | None
) -> Answer:
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/messages/$entity"
    return _json(call, status, {"@odata.context": context, **_whole_view(tenant, mailbox, message, call, query)})


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
    _take_names(tenant, mailbox, given, properties := _properties(given))
    content = message.content
    for name in UPDATABLE:
        if (value := getattr(given, name)) is not UNSET:
            setattr(content, name, value)
    fixed = {FLAGS, SENT, RECEIVED, MESSAGE_ID, MESSAGE_CLASS}
    if changed := {name: value for name, value in properties.items() if name not in fixed}:
        held = _properties(content) | changed
        content.singleValueExtendedProperties = [shapes.SingleValue(id=name, value=held[name]) for name in held]
    if given.multiValueExtendedProperties is not UNSET:
        multis = content.multiValueExtendedProperties
        held_multis = {multi.id: multi for multi in (multis if multis is not UNSET else [])}
        held_multis |= {multi.id: multi for multi in given.multiValueExtendedProperties}
        content.multiValueExtendedProperties = list(held_multis.values())
    if given.isRead is not UNSET:
        message.flags = message.flags | READ if given.isRead else message.flags & ~READ
    mailbox.rewrite(message, content, call.now)


# Attachments --------------------------------------------------------------------------------------------------------


def _attachments(tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage, parts: list[str]) -> Answer:
    if not parts:
        if call.method == "POST":
            return _add_attachment(tenant, mailbox, call, message)
        return _list_attachments(tenant, mailbox, call, message)
    if parts[0] == "$count":
        return _count(len(message.attachments))
    if parts[0].lower().removeprefix("microsoft.graph.") == "createuploadsession":
        return _create_upload(tenant, mailbox, call, message)
    attachment = mailbox.attachment(message, parts[0])
    if len(parts) == 2 and parts[1] == "$value" and call.method == "GET":
        kind = attachment.content_type or "application/octet-stream"
        return Answer(200, tenant.contents.get(attachment.digest), {}, kind)
    if len(parts) > 1:
        raise not_served(parts[1])
    if call.method == "DELETE":
        message.attachments = tuple(kept for kept in message.attachments if kept is not attachment)
        mailbox.touch(message, call.now)
        return Answer(204)
    if call.method != "GET":
        raise _no_method(call)
    message_id = mailbox.message_id(message, immutable=call.immutable)
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/messages('{message_id}')/attachments/$entity"
    view = _attachment_view(tenant, mailbox, message, attachment, call)
    return _json(call, 200, {"@odata.context": context, **view})


def _attachment_view(
    tenant: Tenant, mailbox: Mailbox, message: StoredMessage, attachment: Attachment, call: Call
) -> dict[str, Any]:
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


def _chosen(view: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Select from an attachment; only what the base type declares (microsoft-graph-explorer-v4#3916)."""
    chosen = {key: view[key] for key in ("@odata.type", "@odata.mediaContentType", "id")}
    for name in names:
        key = name.removeprefix("microsoft.graph.fileAttachment/")
        if (key not in ATTACHMENT_FIELDS and key == name) or key not in view:
            message = f"Could not find a property named '{name}' on type 'microsoft.graph.attachment'."
            raise Refused(400, "RequestBroker--ParseUri", message)
        chosen[key] = view[key]
    return chosen


def _list_attachments(tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage) -> Answer:
    if call.method != "GET":
        raise _no_method(call)
    query = parse_query(call.query, max_top=MAX_PAGE, top_error="RequestBroker--ParseUri")
    views = [_attachment_view(tenant, mailbox, message, attachment, call) for attachment in message.attachments]
    message_id = mailbox.message_id(message, immutable=call.immutable)
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/messages('{message_id}')/attachments"
    names = query.select
    whole = query if query.top else Query(top=MAX_PAGE, others=query.others, count=query.count)
    return _page(call, whole, context, views, lambda view: view if names is None else _chosen(view, names))


def _room_for(tenant: Tenant, mailbox: Mailbox, message: StoredMessage, size: int) -> None:
    if mailbox.user.mailbox == "full":
        raise Refused(507, "ErrorQuotaExceeded", "Mailbox has exceeded maximum mailbox size.")
    if len(message.attachments) >= MAX_ATTACHMENTS:
        raise Refused(400, "ErrorInvalidRequest", f"A message holds {MAX_ATTACHMENTS} attachments at most.")
    if message.size + size > tenant.message_bytes:
        raise _too_large()


def _attach(
    tenant: Tenant, mailbox: Mailbox, message: StoredMessage, file: shapes.FileAttachment, call: Call
) -> Attachment:
    content = file.contentBytes or b""
    number = max((attachment.number for attachment in message.attachments), default=0) + 1
    attachment = Attachment(number, file, tenant.contents.put(content), int(call.now.timestamp()))
    message.attachments += (attachment,)
    mailbox.touch(message, call.now)
    return attachment


def _add_attachment(tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage) -> Answer:
    """Add a file below 3 MB (the request's 4 MB see to that), to a draft or not: whether the rule of 2026-12-31 covers
    attachments is not documented."""
    file = shapes.file_attachment(call.body)
    _room_for(tenant, mailbox, message, len(file.contentBytes or b""))
    attachment = _attach(tenant, mailbox, message, file, call)
    message_id = mailbox.message_id(message, immutable=call.immutable)
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/messages('{message_id}')/attachments/$entity"
    view = _attachment_view(tenant, mailbox, message, attachment, call)
    return _json(call, 201, {"@odata.context": context, **view})


def _create_upload(tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage) -> Answer:
    """Open an upload session for a file of 3 to 150 MB (outlook-large-attachments.md)."""
    if call.method != "POST":
        raise _no_method(call)
    item = shapes.decode(call.body, shapes.UploadRequest, "attachment").AttachmentItem
    if (item.attachmentType or "").lower() != "file":
        # docs-contrib#710
        message_text = "Attachment upload sessions are supported only for file attachments."
        raise Refused(405, "ErrorAttachmentSessionIsSupportedOnlyForFileAttachments", message_text)
    if not item.name or not item.size:
        raise Refused(400, "ErrorInvalidRequest", "The attachment item needs a name and a size.")
    if item.size < MIN_UPLOAD:
        # docs#7044
        message_text = "The attachment size must not be less than the minimum size of an upload session."
        raise Refused(400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", message_text)
    if item.size > MAX_UPLOAD:
        message_text = "The attachment size exceeds the limit."
        raise Refused(400, "ErrorAttachmentSizeLimitExceeded", message_text)
    _room_for(tenant, mailbox, message, 0)
    upload = tenant.start_upload(mailbox, message, item, call)
    body = {
        "@odata.context": f"https://{call.host}/v1.0/$metadata#microsoft.graph.uploadSession",
        "uploadUrl": f"https://{call.host}/upload/{upload.key}?authtoken={upload.key[::-1]}",
        "expirationDateTime": shapes.iso(int(upload.expires.timestamp())),
        "nextExpectedRanges": ["0-"],
    }
    return _json(call, 201, body)


def serve_upload(tenant: Tenant, call: Call, key: str, authorization: str, content_range: str) -> Answer:
    """Answer a request to an upload URL, which is its own authority."""
    upload = tenant.uploads.get(key)
    if authorization:
        # msgraph-sdk-java#1380
        message = "The audience claim value is invalid."
        raise Refused(401, "InvalidAudienceForResource", message)
    if f"authtoken={key[::-1]}" not in call.query:
        raise Refused(401, "InvalidAuthenticationToken", "Access token is empty.")
    if upload is None or upload.expires <= call.now or upload.message.number not in upload.mailbox.messages:
        tenant.uploads.pop(key, None)
        raise Refused(404, "ErrorItemNotFound", "The upload session was not found.")
    if call.method == "DELETE":
        del tenant.uploads[key]
        return Answer(204)
    if call.method == "PUT":
        return _put_range(tenant, call, upload, content_range)
    if call.method != "GET":
        raise _no_method(call)
    return _json(call, 200, _upload_state(upload))


def _upload_state(upload: Upload) -> dict[str, Any]:
    """Return where an upload stands: a single start value, the way Outlook writes it."""
    return {
        "expirationDateTime": shapes.iso(int(upload.expires.timestamp())),
        "nextExpectedRanges": [str(len(upload.content))],
    }


def _put_range(tenant: Tenant, call: Call, upload: Upload, content_range: str) -> Answer:
    """Take the next bytes: "You must upload bytes in a file in order" (outlook-large-attachments.md)."""
    match = _RANGE.fullmatch(content_range)
    if match is None:
        raise Refused(400, "ErrorInvalidRequest", "The Content-Range header is missing or malformed.")
    first, last, total = (int(number) for number in match.groups())
    if total != upload.item.size or last >= total or last - first + 1 != len(call.body):
        raise Refused(400, "ErrorInvalidRequest", "The Content-Range header does not fit the content or the session.")
    if first != len(upload.content):
        raise Refused(416, "ErrorInvalidRange", "The bytes of a file have to be uploaded in order.")
    if upload.message.size + last + 1 > tenant.message_bytes:
        raise _too_large()
    upload.content += call.body
    if last + 1 < total:
        return _json(call, 200, _upload_state(upload))
    item = upload.item
    file = shapes.FileAttachment(
        name=item.name,
        contentType=item.contentType or "application/octet-stream",
        isInline=item.isInline,
        contentId=item.contentId,
        contentBytes=bytes(upload.content),
    )
    mailbox, message = upload.mailbox, upload.message
    _room_for(tenant, mailbox, message, 0)
    attachment = _attach(tenant, mailbox, message, file, call)
    del tenant.uploads[upload.key]
    message_id = mailbox.message_id(message, immutable=upload.immutable)
    attachment_id = mailbox.message_id(message, immutable=upload.immutable, attachment=attachment.number)
    place = (
        f"https://{call.host}/v1.0/Users('{mailbox.user.id}')/Messages('{message_id}')/Attachments('{attachment_id}')"
    )
    return Answer(201, b"", {"Location": place})


# Answers ------------------------------------------------------------------------------------------------------------


def _json(call: Call, status: int, body: dict[str, Any]) -> Answer:
    return Answer(status, _encode(body), PREFERENCE_APPLIED if call.immutable else {})


def _count(number: int) -> Answer:
    return Answer(200, str(number).encode("ascii"), {}, "text/plain")


def _page(call: Call, query: Query, context: str, items: list[Any], view: Callable[[Any], Any]) -> Answer:
    """Return one page, ten items by default, with the link to the next."""
    size = query.top or _preferred_size(call.prefer) or DEFAULT_PAGE
    body: dict[str, Any] = {"@odata.context": context}
    if query.count:
        body["@odata.count"] = len(items)
    end = query.skip + size
    body["value"] = [view(item) for item in items[query.skip : end]]
    if end < len(items):
        kept = [
            (key, text)
            for key, text in parse_qsl(call.query, keep_blank_values=True)
            if key.removeprefix("$").lower() != "skip"
        ]
        options = urlencode([*kept, ("$skip", str(end))], safe="$", quote_via=quote)
        path = "/".join(quote(part, safe="@$=-_") for part in call.parts)
        body["@odata.nextLink"] = f"https://{call.host}/v1.0/{path}?{options}"
    return _json(call, 200, body)


def _preferred_size(prefer: str) -> int | None:
    match = _MAX_PAGE_SIZE.search(prefer)
    return min(MAX_PAGE, int(match[1])) or None if match else None


def _no_method(call: Call) -> Refused:
    return Refused(405, "MethodNotAllowed", f"The HTTP method '{call.method}' is not supported for this resource.")
