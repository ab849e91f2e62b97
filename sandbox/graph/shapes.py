"""The types that Graph reads, with its own words for what does not fit them.

Names and types come from Graph's metadata (the CSDL of v1.0). A property that is not declared here does not exist for
Graph: it answers 400 RequestBodyRead, as clients have met it (msgraph-sdk-python#440, msgraph-sdk-dotnet#270).
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from sandbox.graph.refusals import Refused

T = TypeVar("T")

SMTP_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+")
IMPORTANCES = frozenset({"low", "normal", "high"})
MAX_HEADERS = 5
MAX_HEADER_VALUE = 998
MAX_SUBJECT = 255
FIRST_YEAR = 1601


class Shape(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Refuse what is not declared; allow the type annotation that SDKs write on every object."""

    odata_type: str | UnsetType = field(default=UNSET, name="@odata.type")


class EmailAddress(Shape, kw_only=True):
    """microsoft.graph.emailAddress"""

    name: str | None = None
    address: str | None = None


class Recipient(Shape, kw_only=True):
    """microsoft.graph.recipient"""

    emailAddress: EmailAddress | None = None


class ItemBody(Shape, kw_only=True):
    """microsoft.graph.itemBody"""

    contentType: str | None = None
    content: str | None = None


class InternetMessageHeader(Shape, kw_only=True):
    """microsoft.graph.internetMessageHeader"""

    name: str | None = None
    value: str | None = None


class SingleValue(Shape, kw_only=True):
    """microsoft.graph.singleValueLegacyExtendedProperty"""

    id: str | None = None
    value: str | None = None


class MultiValue(Shape, kw_only=True):
    """microsoft.graph.multiValueLegacyExtendedProperty"""

    id: str | None = None
    value: list[str] | None = None


class DateTimeTimeZone(Shape, kw_only=True):
    """microsoft.graph.dateTimeTimeZone"""

    dateTime: str | None = None
    timeZone: str | None = None


class FollowupFlag(Shape, kw_only=True):
    """microsoft.graph.followupFlag"""

    flagStatus: str | None = None
    startDateTime: DateTimeTimeZone | None = None
    dueDateTime: DateTimeTimeZone | None = None
    completedDateTime: DateTimeTimeZone | None = None


class FileAttachment(Shape, kw_only=True):
    """microsoft.graph.fileAttachment"""

    id: Any = None
    name: str | None = None
    contentType: str | None = None
    isInline: bool | None = None
    contentBytes: bytes | None = None
    contentId: str | None = None
    contentLocation: str | None = None
    size: int | None = None
    lastModifiedDateTime: Any = None


class Message(Shape, kw_only=True):
    """microsoft.graph.message, of microsoft.graph.outlookItem: what a client may write, and what it may try to."""

    subject: str | UnsetType | None = UNSET
    body: ItemBody | UnsetType | None = UNSET
    from_: Recipient | UnsetType | None = field(default=UNSET, name="from")
    sender: Recipient | UnsetType | None = UNSET
    toRecipients: list[Recipient] | UnsetType | None = UNSET
    ccRecipients: list[Recipient] | UnsetType | None = UNSET
    bccRecipients: list[Recipient] | UnsetType | None = UNSET
    replyTo: list[Recipient] | UnsetType | None = UNSET
    internetMessageId: str | UnsetType | None = UNSET
    internetMessageHeaders: list[InternetMessageHeader] | UnsetType | None = UNSET
    importance: str | UnsetType | None = UNSET
    inferenceClassification: str | UnsetType | None = UNSET
    categories: list[str] | UnsetType | None = UNSET
    flag: FollowupFlag | UnsetType | None = UNSET
    isRead: bool | UnsetType | None = UNSET
    isDeliveryReceiptRequested: bool | UnsetType | None = UNSET
    isReadReceiptRequested: bool | UnsetType | None = UNSET
    singleValueExtendedProperties: list[SingleValue] | UnsetType = UNSET
    multiValueExtendedProperties: list[MultiValue] | UnsetType = UNSET
    attachments: list[msgspec.Raw] | UnsetType = UNSET
    # Accepted and without effect: the flag and the dates come from extended properties alone.
    isDraft: bool | UnsetType | None = UNSET
    sentDateTime: str | UnsetType | None = UNSET
    receivedDateTime: str | UnsetType | None = UNSET
    conversationId: str | UnsetType | None = UNSET
    conversationIndex: str | UnsetType | None = UNSET
    # Declared by the type and read-only.
    id: Any = UNSET
    changeKey: Any = UNSET
    createdDateTime: Any = UNSET
    lastModifiedDateTime: Any = UNSET
    parentFolderId: Any = UNSET
    hasAttachments: Any = UNSET
    bodyPreview: Any = UNSET
    uniqueBody: Any = UNSET
    webLink: Any = UNSET
    extensions: Any = UNSET


class MailFolder(Shape, kw_only=True):
    """microsoft.graph.mailFolder"""

    displayName: str | UnsetType | None = UNSET
    isHidden: bool | UnsetType | None = UNSET
    id: Any = UNSET
    parentFolderId: Any = UNSET
    childFolderCount: Any = UNSET
    totalItemCount: Any = UNSET
    unreadItemCount: Any = UNSET
    singleValueExtendedProperties: list[SingleValue] | UnsetType = UNSET


class AttachmentItem(Shape, kw_only=True):
    """microsoft.graph.attachmentItem"""

    attachmentType: str | None = None
    name: str | None = None
    size: int | None = None
    contentType: str | None = None
    isInline: bool | None = None
    contentId: str | None = None


class UploadRequest(Shape, kw_only=True):
    """The parameter of createUploadSession, which the documentation writes with a capital letter."""

    AttachmentItem: AttachmentItem


class Destination(Shape, kw_only=True):
    """The parameter of move and copy."""

    destinationId: str


READ_ONLY = (
    "id",
    "changeKey",
    "createdDateTime",
    "lastModifiedDateTime",
    "parentFolderId",
    "hasAttachments",
    "bodyPreview",
    "uniqueBody",
    "webLink",
)
NO_EFFECT = ("isDraft", "sentDateTime", "receivedDateTime", "conversationId", "conversationIndex")
RECIPIENTS = ("toRecipients", "ccRecipients", "bccRecipients", "replyTo")
_read_only_of = attrgetter(*READ_ONLY)
_NONE_OF_THEM = (UNSET,) * len(READ_ONLY)

_TYPE_OF_FIELD = {
    "emailAddress": "emailAddress",
    "body": "itemBody",
    "from": "recipient",
    "sender": "recipient",
    "toRecipients": "recipient",
    "ccRecipients": "recipient",
    "bccRecipients": "recipient",
    "replyTo": "recipient",
    "internetMessageHeaders": "internetMessageHeader",
    "singleValueExtendedProperties": "singleValueLegacyExtendedProperty",
    "multiValueExtendedProperties": "multiValueLegacyExtendedProperty",
    "flag": "followupFlag",
    "startDateTime": "dateTimeTimeZone",
    "dueDateTime": "dateTimeTimeZone",
    "completedDateTime": "dateTimeTimeZone",
    "AttachmentItem": "attachmentItem",
}
_EDM = {"str": "Edm.String", "bool": "Edm.Boolean", "int": "Edm.Int32", "bytes": "Edm.Binary"}
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}


def decode(body: bytes | memoryview | msgspec.Raw, shape: type[T], type_name: str) -> T:
    """Decode a body as a type of Graph's, or refuse it in Graph's words."""
    decoder = _DECODERS.get(shape)
    if decoder is None:
        decoder = _DECODERS[shape] = msgspec.json.Decoder(shape)
    try:
        decoded: T = decoder.decode(body)
    except msgspec.ValidationError:
        # OData lets a client annotate any property ("x@odata.type"); SDKs do. Take the annotations off and try again.
        try:
            return msgspec.convert(_without_annotations(msgspec.json.decode(body)), shape)
        except msgspec.ValidationError as error:
            _explain(str(error), type_name)
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = (
            "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid "
            "JSON format."
        )
        raise Refused(400, "BadRequest", message) from None
    else:
        return decoded


def _without_annotations(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_annotations(item)
            for key, item in value.items()
            if key == "@odata.type" or "@odata." not in key
        }
    if isinstance(value, list):
        return [_without_annotations(item) for item in value]
    return value


def _explain(error: str, type_name: str) -> NoReturn:
    what, _, path = error.partition(" - at `")
    names = re.findall(r"\.([A-Za-z]+)", path)
    if unknown := re.search(r"unknown field `(.*)`", what):
        owner = next((_TYPE_OF_FIELD[name] for name in reversed(names) if name in _TYPE_OF_FIELD), type_name)
        raise Refused(
            400,
            "RequestBodyRead",
            f"The property '{unknown[1]}' does not exist on type 'microsoft.graph.{owner}'. Make sure to only use "
            "property names that are defined by the type or mark the type as open type.",
        ) from None
    if missing := re.search(r"missing required field `(.*)`", what):
        raise Refused(400, "ErrorInvalidRequest", f"The required parameter '{missing[1]}' is missing.") from None
    expected = re.search(r"Expected `(\w+)", what)
    edm = _EDM.get(expected[1] if expected else "", f"microsoft.graph.{type_name}")
    where = f" of the property '{names[-1]}'" if names else ""
    message = f"Cannot convert the value{where} to the expected type '{edm}'."
    raise Refused(400, "RequestBodyRead", message) from None


def base64_of(value: bytes) -> str:
    """Return bytes as JSON carries Edm.Binary."""
    return base64.b64encode(value).decode("ascii")


def iso(value: int) -> str:
    """Return an instant, in seconds of Unix time, as Graph writes one."""
    return datetime.fromtimestamp(value, UTC).isoformat()[:19] + "Z"


# Extended properties ------------------------------------------------------------------------------------------------

# docs-contrib `api-reference/v1.0/resources/extended-properties-overview.md`; the third form from docs#2637.
_PROPERTY_ID = re.compile(
    r"(ApplicationTime|Binary|Boolean|CLSID|Currency|Double|Float|Integer|Long|Null|Object|Short|String|SystemTime"
    r"|(?:ApplicationTime|Binary|Boolean|CLSID|Currency|Double|Float|Integer|Long|Object|Short|String|SystemTime)Array)"
    r" (?:(0[xX][0-9A-Fa-f]{1,4})|\{?([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\}?"
    r" (?:(Name) (\S.*)|(Id) (0[xX][0-9A-Fa-f]{1,8}|[0-9]{1,10})))",
    re.IGNORECASE,
)
_TYPES = {
    name.lower(): name
    for name in [
        "ApplicationTime",
        "Binary",
        "Boolean",
        "CLSID",
        "Currency",
        "Double",
        "Float",
        "Integer",
        "Long",
        "Null",
        "Object",
        "Short",
        "String",
        "SystemTime",
        "ApplicationTimeArray",
        "BinaryArray",
        "BooleanArray",
        "CLSIDArray",
        "CurrencyArray",
        "DoubleArray",
        "FloatArray",
        "IntegerArray",
        "LongArray",
        "ObjectArray",
        "ShortArray",
        "StringArray",
        "SystemTimeArray",
    ]
}
_INTEGERS = {"Integer": 31, "Short": 15, "Long": 63, "Currency": 63}
_WHOLE = re.compile(r"[+-]?[0-9]+")
MESSAGE_CLASS = "String 0x1a"
# MS-OXCMSG 2.2.1.3: ASCII 0x20 to 0x7F, 1 to 255 characters, no period at the end
_MESSAGE_CLASS = re.compile(r"[\x20-\x7f]{0,254}[\x20-\x2d\x2f-\x7f]")


@lru_cache(maxsize=4096)
def canonical(property_id: str) -> str:
    """Return the one spelling of an extended property id, as Graph echoes it; a name keeps its case.

    "Name" is compared case-sensitively, the rest is not (singlevaluelegacyextendedproperty-get.md).
    """
    match = _PROPERTY_ID.fullmatch(property_id)
    if match is None:
        raise Refused(
            400,
            "ErrorInvalidProperty",
            "PropertyId values may only be in one of the following formats: 'MapiPropertyType namespaceGuid Name "
            "propertyName', 'MapiPropertyType namespaceGuid Id propertyId' or 'MapiPropertyType propertyTag'.",
        )
    kind, tag, guid, _, name, _, number = match.groups()
    kind = _TYPES[kind.lower()]
    if tag:
        return f"{kind} 0x{int(tag, 16):x}"
    if name:
        return f"{kind} {{{guid.lower()}}} Name {name}"
    return f"{kind} {{{guid.lower()}}} Id 0x{int(number, 0):x}"


def check_value(property_id: str, value: str | None) -> None:
    """Refuse a value that its extended property's type cannot hold (response code from Exchange's list)."""
    if value is None:
        raise Refused(400, "ErrorInvalidExtendedPropertyValue", "The extended property value is missing.")
    if property_id.startswith("String "):
        if property_id == MESSAGE_CLASS and not _MESSAGE_CLASS.fullmatch(value):
            raise Refused(400, "ErrorInvalidExtendedPropertyValue", "The message class is not valid.")
        return
    kind = property_id.partition(" ")[0]
    try:
        fits = _fits(kind, value)
    except (ValueError, binascii.Error):
        fits = False
    if not fits:
        message = f"The extended property value is not valid for the type '{kind}'."
        raise Refused(400, "ErrorInvalidExtendedPropertyValue", message)


@lru_cache(maxsize=4096)
def _fits(kind: str, value: str) -> bool:
    if kind in _INTEGERS:
        return bool(_WHOLE.fullmatch(value)) and -(1 << _INTEGERS[kind]) <= int(value) < 1 << _INTEGERS[kind]
    if kind == "Boolean":
        return value.lower() in {"true", "false"}
    if kind == "SystemTime":
        instant(value)
    elif kind == "Binary":
        base64.b64decode(value, validate=True)
    elif kind in {"Double", "Float", "ApplicationTime"}:
        float(value)
    return True


@lru_cache(maxsize=4096)
def instant(value: str) -> int:
    """Return an RFC 3339 instant in whole seconds of Unix time.

    ValueError when it is none, names no offset, or lies before 1601, where a FILETIME begins (MS-DTYP 2.3.3).
    """
    parsed = datetime.fromisoformat(value)
    if parsed.tzinfo is None or parsed.year < FIRST_YEAR:
        raise ValueError(value)
    return int(parsed.timestamp())


# Rules of a message -------------------------------------------------------------------------------------------------


def check_message(message: Message, *, creating: bool) -> None:
    """Refuse what Graph refuses in a message to create or to update; put the defaults of names and enums in place."""
    if (read_only := _read_only_of(message)) != _NONE_OF_THEM:
        name = next(name for name, value in zip(READ_ONLY, read_only, strict=True) if value is not UNSET)
        raise Refused(400, "ErrorInvalidPropertySet", f"Set action is invalid for property '{name}'.")
    subject = message.subject
    if subject and len(subject) * 2 > MAX_SUBJECT and len(subject.encode("utf-16-le")) > MAX_SUBJECT * 2:
        # Exchange Online limits: subject length 255 characters; a MAPI string counts UTF-16 units.
        raise Refused(400, "ErrorPropertyValidationFailure", "At least one property failed validation.")
    if message.body:
        message.body.contentType = kind = (message.body.contentType or "text").lower()
        if kind not in {"text", "html"}:
            raise Refused(400, "RequestBodyRead", "Requested value for 'contentType' was not found.")
    if message.from_:
        _check_recipient(message.from_)
    if message.sender:
        _check_recipient(message.sender)
    for recipients in (message.toRecipients, message.ccRecipients, message.bccRecipients, message.replyTo):
        if recipients:
            for recipient in recipients:
                _check_recipient(recipient)
    if message.importance:
        message.importance = message.importance.lower()
        if message.importance not in IMPORTANCES:
            raise Refused(400, "RequestBodyRead", "Requested value for 'importance' was not found.")
    if message.internetMessageHeaders is not UNSET:
        if not creating:
            raise Refused(
                400, "ErrorInvalidPropertySet", "Set action is invalid for property 'internetMessageHeaders'."
            )
        _check_headers(message.internetMessageHeaders)
    if message.singleValueExtendedProperties is not UNSET:
        for single in message.singleValueExtendedProperties:
            single.id = canonical(single.id or "")
            check_value(single.id, single.value)
    if message.multiValueExtendedProperties is not UNSET:
        for multi in message.multiValueExtendedProperties:
            multi.id = canonical(multi.id or "")
            for value in multi.value or []:
                check_value(multi.id.replace("Array ", " ", 1), value)


def _check_recipient(recipient: Recipient) -> None:
    """Refuse an address that is neither like an SMTP address nor an X.500 name.

    corso strips exactly those before it restores (`mail_restore.go`: isValidEmail, isValidDN).
    """
    email = recipient.emailAddress
    address = email.address if email is not None else None
    if email is None or not address or not _is_address(address):
        raise Refused(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
    if email.name is None:
        email.name = address


@lru_cache(maxsize=16_384)
def _is_address(text: str) -> bool:
    return SMTP_ADDRESS.fullmatch(text) is not None or text[:3].lower() == "/o="


def _check_headers(headers: list[InternetMessageHeader] | None) -> None:
    # learn Q&A 762243 (five), msgraph-sdk-dotnet#2208 (an empty array), redaxo/core#6590 (the prefix).
    if not headers:
        message = "The collection of internet message headers can't be empty."
        raise Refused(400, "InvalidInternetMessageHeaderCollection", message)
    if len(headers) > MAX_HEADERS:
        message = f"Maximum number of headers in one message should be less than or equal to {MAX_HEADERS}."
        raise Refused(400, "InvalidInternetMessageHeaderCollection", message)
    for header in headers:
        _check_header_name(header.name)
        value = header.value or ""
        if "\r" in value or "\n" in value or len(value) > MAX_HEADER_VALUE:
            raise Refused(400, "InvalidInternetMessageHeader", "The internet message header value is not valid.")


@lru_cache(maxsize=4096)
def _check_header_name(name: str | None) -> None:
    if not name or name[:2] not in {"x-", "X-"}:
        message = f"The internet message header name '{name}' should start with 'x-' or 'X-'."
        raise Refused(400, "InvalidInternetMessageHeader", message)
    if re.search(r"[^!-9;-~]", name):  # RFC 5322 3.6.8: printable US-ASCII except the colon
        raise Refused(400, "InvalidInternetMessageHeader", "The internet message header name is not valid.")


def file_attachment(raw: msgspec.Raw | bytes) -> FileAttachment:
    """Decode one attachment; without @odata.type Graph answers 422 (android-java-connect-sample#15)."""
    try:
        attachment = decode(raw, FileAttachment, "fileAttachment")
    except Refused:
        if b"fileAttachment" in bytes(raw):
            raise
        attachment = FileAttachment()
        _refuse_other_kinds(bytes(raw))
    if attachment.odata_type is UNSET:
        message = "The property '@odata.type' of the attachment is missing; its type cannot be told."
        raise Refused(422, "UnprocessableType", message)
    if attachment.odata_type.lstrip("#").lower() != "microsoft.graph.fileattachment":
        _refuse_other_kinds(bytes(raw))
    if not attachment.name:
        raise Refused(400, "ErrorInvalidRequest", "The required property 'name' of the attachment is missing.")
    if attachment.contentBytes is None:
        raise Refused(400, "ErrorInvalidRequest", "The required property 'contentBytes' of the attachment is missing.")
    return attachment


def _refuse_other_kinds(raw: bytes) -> None:
    """Name the attachment's type as unknown, or as one that the sandbox does not keep."""
    if b"itemAttachment" in raw or b"referenceAttachment" in raw:
        raise Refused(501, "notImplemented", "The sandbox keeps file attachments only.")
    raise Refused(422, "UnprocessableType", "The type of the attachment cannot be told.")
