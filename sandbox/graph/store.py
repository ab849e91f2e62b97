"""Mailboxes in memory: folders, messages, attachments and their ids, kept small enough for hundreds of thousands.

A message keeps its content as one encoded record, decoded when somebody reads it; attachments' bytes are kept once by
digest for the whole tenant.
"""

from __future__ import annotations

import hashlib
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import datetime
from html import unescape
from typing import Final
from uuid import UUID

import msgspec
from msgspec import UNSET

from sandbox.directory import User
from sandbox.graph import shapes
from sandbox.graph.limits import Breach, Limits, Meter
from sandbox.graph.refusals import Refused, item_not_found, malformed_id

READ: Final = 0x1
DRAFT: Final = 0x8
LONGEST_KEY: Final = 255

# docs-contrib `api-reference/v1.0/resources/mailfolder.md`, well-known folder names; (name, shown, parent, hidden)
WELL_KNOWN: Final = (
    ("msgfolderroot", "Top of Information Store", None, False),
    ("archive", "Archive", "msgfolderroot", False),
    ("clutter", "Clutter", "msgfolderroot", True),
    ("conversationhistory", "Conversation History", "msgfolderroot", False),
    ("deleteditems", "Deleted Items", "msgfolderroot", False),
    ("drafts", "Drafts", "msgfolderroot", False),
    ("inbox", "Inbox", "msgfolderroot", False),
    ("junkemail", "Junk Email", "msgfolderroot", False),
    ("outbox", "Outbox", "msgfolderroot", False),
    ("sentitems", "Sent Items", "msgfolderroot", False),
    ("syncissues", "Sync Issues", "msgfolderroot", True),
    ("conflicts", "Conflicts", "syncissues", True),
    ("localfailures", "Local Failures", "syncissues", True),
    ("serverfailures", "Server Failures", "syncissues", True),
    ("scheduled", "Scheduled", "msgfolderroot", True),
    ("searchfolders", "Finder", None, True),
    ("recoverableitemsdeletions", "Deletions", None, True),
)

# Shapes of ids as Graph shows them: "AAMk…" changes when the item moves, "AAkA…" is immutable, "AQMk…" is a folder's.
_REGULAR, _IMMUTABLE, _FOLDER = "AAMkAG", "AAkALg", "AQMkAD"
_TAIL = struct.Struct(">IQH")
_TAG = re.compile(r"<[^>]*>")
_RECORDS = msgspec.json.Encoder()
_RECORD = msgspec.json.Decoder(shapes.Message)


class Contents:
    """Keep attachments' bytes once, by SHA-256."""

    def __init__(self) -> None:
        self._bytes: dict[bytes, bytes] = {}

    def put(self, content: bytes) -> bytes:
        """Keep the bytes and return their digest."""
        digest = hashlib.sha256(content).digest()
        self._bytes.setdefault(digest, content)
        return digest

    def get(self, digest: bytes) -> bytes:
        """Return the bytes of a digest."""
        return self._bytes[digest]

    def clear(self) -> None:
        """Forget all."""
        self._bytes.clear()


class Attachment:
    """Describe one attachment of a message; its bytes are in `Contents`."""

    __slots__ = ("content_id", "content_type", "digest", "inline", "location", "modified", "name", "number", "size")

    def __init__(self, number: int, given: shapes.FileAttachment, digest: bytes, modified: int) -> None:
        self.number = number
        self.name = given.name or ""
        self.content_type = given.contentType
        self.inline = bool(given.isInline)
        self.content_id = given.contentId
        self.location = given.contentLocation
        self.digest = digest
        self.size = len(given.contentBytes or b"")
        self.modified = modified


class StoredMessage:
    """Keep one message: what changes as fields, the rest as an encoded record."""

    __slots__ = (
        "attachments",
        "change",
        "created",
        "flags",
        "folder",
        "modified",
        "number",
        "received",
        "record",
        "sent",
    )

    def __init__(self, number: int, folder: Folder, content: shapes.Message, now: int) -> None:
        self.number = number
        self.folder = folder
        self.record = _RECORDS.encode(content)
        self.flags = DRAFT | READ
        self.created = self.modified = self.sent = self.received = now
        self.attachments: tuple[Attachment, ...] = ()
        self.change = 1

    @property
    def content(self) -> shapes.Message:
        """Decode the record."""
        return _RECORD.decode(self.record)

    @property
    def is_draft(self) -> bool:
        """Say whether bit 0x8 (mfUnsent) is set."""
        return bool(self.flags & DRAFT)

    @property
    def size(self) -> int:
        """Return the bytes that count against the limit of a message's size."""
        return len(self.record) + sum(attachment.size for attachment in self.attachments)


class Folder:
    """Keep one folder and the numbers of its messages in the order of their arrival."""

    __slots__ = ("children", "hidden", "id", "messages", "name", "number", "parent", "sorted", "well_known")

    def __init__(
        self,
        number: int,
        folder_id: str,
        name: str,
        parent: Folder | None,
        *,
        well_known: str | None = None,
        hidden: bool = False,
    ) -> None:
        self.number = number
        self.id = folder_id
        self.name = name
        self.parent = parent
        self.well_known = well_known
        self.hidden = hidden
        self.children: list[Folder] = []
        self.messages: dict[int, StoredMessage] = {}
        self.sorted: list[StoredMessage] | None = None
        if parent is not None:
            parent.children.append(self)

    def newest_first(self) -> list[StoredMessage]:
        """Return the messages as Outlook lists them; kept until something changes, for paging."""
        if self.sorted is None:
            self.sorted = sorted(self.messages.values(), key=lambda message: -message.received)
        return self.sorted


class Mailbox:
    """Keep one user's mailbox."""

    def __init__(self, user: User, limits: Limits, breaches: list[Breach]) -> None:
        self.user = user
        self.meter = Meter(user.id, limits, breaches)
        self.folders: dict[int, Folder] = {}
        self.well_known: dict[str, Folder] = {}
        self.messages: dict[int, StoredMessage] = {}
        self.named_properties: set[str] = set()
        self.created = 0
        self.first_created = self.last_created = 0.0
        self._index: dict[tuple[str, str], int | list[int]] = {}
        self._next = 0
        self._newest: list[StoredMessage] | None = None
        owner = UUID(user.id).bytes
        self._owner = urlsafe_b64encode(owner + owner[:2]).decode("ascii")
        self._prefix = {kind: kind + self._owner for kind in (_REGULAR, _IMMUTABLE, _FOLDER)}
        self.base = f"users('{user.id}')"
        for well_known, name, parent, hidden in WELL_KNOWN:
            inside = self.well_known[parent] if parent else None
            self.well_known[well_known] = self.add_folder(name, inside, well_known=well_known, hidden=hidden)
        self.root = self.well_known["msgfolderroot"]
        self.deleted = self.well_known["deleteditems"]
        self.recoverable = self.well_known["recoverableitemsdeletions"]

    # ids

    def message_id(self, message: StoredMessage, *, immutable: bool, attachment: int = 0) -> str:
        """Return the id of a message, or of one of its attachments; the regular one tells the folder and so changes.

        docs-contrib `concepts/outlook-immutable-id.md`: immutable ids stay while the item stays in the mailbox.
        """
        kind, place = (_IMMUTABLE, 0) if immutable else (_REGULAR, message.folder.number)
        tail = urlsafe_b64encode(_TAIL.pack(place, message.number, attachment)).decode("ascii")
        return self._prefix[kind] + tail

    def _numbers(self, text: str, kinds: tuple[str, ...]) -> tuple[str, int, int, int]:
        kind = text[:6]
        if kind not in kinds:
            raise malformed_id()
        try:
            place, number, attachment = _TAIL.unpack(urlsafe_b64decode(text[30:]))
        except (ValueError, struct.error):
            raise malformed_id() from None
        if text[6:30] != self._owner:
            raise item_not_found()
        return kind, place, number, attachment

    def message(self, text: str) -> StoredMessage:
        """Find a message by either kind of id."""
        kind, place, number, _ = self._numbers(text, (_REGULAR, _IMMUTABLE))
        message = self.messages.get(number)
        if message is None or (kind == _REGULAR and message.folder.number != place):
            raise item_not_found()
        return message

    def attachment(self, message: StoredMessage, text: str) -> Attachment:
        """Find an attachment of a message by either kind of id."""
        _, _, number, wanted = self._numbers(text, (_REGULAR, _IMMUTABLE))
        for attachment in message.attachments:
            if number == message.number and attachment.number == wanted:
                return attachment
        raise item_not_found()

    def folder(self, text: str) -> Folder:
        """Find a folder by id or by well-known name."""
        if (folder := self.well_known.get(text.lower())) is not None:
            return folder
        _, number, _, _ = self._numbers(text, (_FOLDER,))
        if (folder := self.folders.get(number)) is None:
            raise item_not_found()
        return folder

    # folders

    def add_folder(
        self, name: str, parent: Folder | None, *, well_known: str | None = None, hidden: bool = False
    ) -> Folder:
        """Make a folder; EWS response code ErrorFolderExists: "Duplicate folder names are not allowed"."""
        if parent is not None and any(child.name.casefold() == name.casefold() for child in parent.children):
            raise Refused(409, "ErrorFolderExists", "A folder with the specified name already exists.")
        self._next += 1
        # A folder's id is the same with and without the ImmutableId preference (outlook-immutable-id.md).
        folder_id = self._prefix[_FOLDER] + urlsafe_b64encode(_TAIL.pack(self._next, 0, 0)).decode("ascii")
        folder = Folder(self._next, folder_id, name, parent, well_known=well_known, hidden=hidden)
        self.folders[folder.number] = folder
        return folder

    def remove_folder(self, folder: Folder) -> None:
        """Remove a folder with all that is in it."""
        for child in list(folder.children):
            self.remove_folder(child)
        for message in list(folder.messages.values()):
            self.remove(message)
        if folder.parent is not None:
            folder.parent.children.remove(folder)
        del self.folders[folder.number]

    # messages

    def add(self, folder: Folder, content: shapes.Message, now: int) -> StoredMessage:
        """Put a message into a folder."""
        self._next += 1
        message = StoredMessage(self._next, folder, content, now)
        self.messages[message.number] = folder.messages[message.number] = message
        folder.sorted = self._newest = None
        for key in _keys(content):
            held = self._index.get(key)
            if held is None:
                self._index[key] = message.number
            elif isinstance(held, list):
                held.append(message.number)
            else:
                self._index[key] = [held, message.number]
        return message

    def rewrite(self, message: StoredMessage, content: shapes.Message, now: datetime) -> None:
        """Put a changed content in the place of a message's."""
        self._unindex(message)
        message.record = _RECORDS.encode(content)
        for key in _keys(content):
            held = self._index.get(key)
            numbers = [] if held is None else held if isinstance(held, list) else [held]
            self._index[key] = [*numbers, message.number]
        self.touch(message, now)

    def touch(self, message: StoredMessage, now: datetime) -> None:
        """Note that a message changed."""
        message.modified = int(now.timestamp())
        message.change += 1

    def move(self, message: StoredMessage, folder: Folder) -> None:
        """Move a message to another folder of the mailbox."""
        del message.folder.messages[message.number]
        message.folder.sorted = folder.sorted = self._newest = None
        folder.messages[message.number] = message
        message.folder = folder
        message.change += 1

    def remove(self, message: StoredMessage) -> None:
        """Remove a message for good."""
        self._unindex(message)
        del self.messages[message.number]
        del message.folder.messages[message.number]
        message.folder.sorted = self._newest = None

    def found(self, key: tuple[str, str]) -> list[StoredMessage]:
        """Return the messages of a key of the index; those of internetMessageId begin with ""."""
        held = self._index.get(key)
        numbers = [] if held is None else held if isinstance(held, list) else [held]
        return [self.messages[number] for number in numbers]

    def note_create(self, now: float) -> None:
        """Count a create that was asked for at this time."""
        self.created += 1
        self.first_created = self.first_created or now
        self.last_created = now

    def tally(self) -> dict[str, dict[str, int]]:
        """Count the messages by the values of each indexed text, wherever they lie but in the recoverable items.

        Values stand there as they are compared, without regard to case.
        """
        tallies: dict[str, dict[str, int]] = {}
        hidden = self.recoverable.messages
        for (property_id, value), held in self._index.items():
            if not property_id:
                continue
            numbers = held if isinstance(held, list) else [held]
            count = sum(number not in hidden for number in numbers) if hidden else len(numbers)
            if count:
                tallies.setdefault(property_id, {})[value] = count
        return tallies

    def _unindex(self, message: StoredMessage) -> None:
        for key in _keys(message.content):
            held = self._index.get(key)
            left = [number for number in held if number != message.number] if isinstance(held, list) else []
            if left:
                self._index[key] = left
            else:
                self._index.pop(key, None)

    def newest_first(self) -> list[StoredMessage]:
        """Return what `/messages` lists: all folders, Deleted Items too, but not the recoverable items.

        docs-contrib `api-reference/v1.0/api/user-list-messages.md`: "including the Deleted Items and Clutter folders".
        """
        if self._newest is None:
            shown = (message for message in self.messages.values() if message.folder is not self.recoverable)
            self._newest = sorted(shown, key=lambda message: -message.received)
        return self._newest


def index_key(property_id: str, value: str) -> tuple[str, str] | None:
    """Return the key under which a mailbox finds an extended property's value: that of a named text of one line."""
    if not property_id.startswith("String {") or "\n" in value:
        return None
    folded = value.casefold()
    return (property_id, folded) if len(folded) <= LONGEST_KEY else None


def _keys(content: shapes.Message) -> Iterator[tuple[str, str]]:
    if content.internetMessageId:
        yield "", content.internetMessageId.casefold()
    if content.singleValueExtendedProperties is not UNSET:
        for single in content.singleValueExtendedProperties:
            if single.id and single.value is not None and (key := index_key(single.id, single.value)):
                yield key


def preview(body: shapes.ItemBody | None) -> str:
    """Return the first 255 characters of a body in text format (message resource: bodyPreview)."""
    content = body.content if body else None
    if body is None or not content:
        return ""
    if body.contentType != "html":
        return content[:255]
    return unescape(_TAG.sub("", content[:4096])).strip()[:255]
