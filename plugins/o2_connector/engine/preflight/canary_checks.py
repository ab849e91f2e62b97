"""Canary checks: a mailbox takes what an import would put into it, as it is meant, and gives it all up again.

What is made lies in a folder of its own, and for a moment in the inbox and among the sent items. It is found by keys
that are for ever the same, wherever in the mailbox a preflight that was killed left it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from http import HTTPStatus
from typing import Any, BinaryIO

from o2_connector.core.conversation import as_text
from o2_connector.core.errors import IntegrityError, MailboxError, StopError
from o2_connector.core.facts import FIRST
from o2_connector.core.graph_message import graph_message
from o2_connector.core.naming import FACTS_PROPERTY, UNFINISHED_CATEGORY
from o2_connector.core.parts import Part
from o2_connector.core.preflight import Area, Found, error, not_checked, ok, warning
from o2_connector.core.preflight_samples import Sample, sample_bytes
from o2_connector.engine.preflight.canary import MESSAGE_CLASS, Canary, expanding, instant, normal
from o2_connector.engine.preflight.checks import Check
from o2_connector.engine.preflight.graph_permissions import find_one
from o2_connector.engine.preflight.litter import Left, clear, make_folder, still_there
from o2_connector.hooks.graph_mail import archived, archived_call, create_large, found_messages, item_call
from o2_connector.hooks.graph_requests import Call, quoted
from o2_connector.hooks.graph_upload import Attachment
from o2_connector.hooks.staging import StagingHook

_AS_READ = (
    "subject,from,sender,toRecipients,body,isDraft,isRead,sentDateTime,receivedDateTime,internetMessageId,"
    "internetMessageHeaders,conversationId,conversationIndex,categories"
)
_ADVANCED = (
    "assign Application Mail-Advanced.ReadWrite.All in Exchange with the same scope (Microsoft protects messages that"
    " are no drafts from 31 December 2026)"
)
_REPORT = "send this output to the makers of the connector before anything is archived here"


NO_CANARY = Check(
    name="canary.user",
    area=Area.CANARY,
    title="the address",
    run=lambda: [
        not_checked(
            "whether a mailbox takes what an import puts into it",
            "set O2_CANARY_MAILBOX to a mailbox that no mapping leads to (or --canary, or the run's parameter)",
        )
    ],
)
"""What is said where no mailbox is to be tried."""


class CanaryChecks:
    """Try a mailbox.

    :param address: the mailbox's.
    :param staging: by which imports are kept away meanwhile; None where it cannot be used.
    :param at: now, in milliseconds since 1970, UTC.
    """

    def __init__(self, canary: Canary, address: str, staging: StagingHook | None, *, at: int) -> None:
        self._canary = canary
        self._address = address
        self._staging = staging
        self._at = at
        self._opens = False

    def first(self) -> list[Check]:
        """Return the checks, in their order."""
        made = "canary.create"
        return [
            self._check("user", "the address", self._user, "graph.users"),
            self._check("open", "opening the mailbox", self._open, "canary.user"),
            self._check("alone", "keeping imports away meanwhile", self._alone, "canary.open"),
            self._check("leftovers", "what an earlier preflight left", self._leftovers, "canary.alone"),
            self._check("folder", "making a folder", self._folder, "canary.leftovers"),
            self._check("create", "creating a message", self._create, "canary.folder"),
            self._check("draft", "the draft flag", self._draft, made),
            self._check("dates", "the dates", self._dates, made),
            self._check("identity", "the Message-ID", self._identity, made),
            self._check("people", "sender and recipients", self._people, made),
            self._check("headers", "the headers", self._headers, made),
            self._check("facts", "the facts' named property", self._facts, made),
            self._check("class", "the message class", self._class_kept, made),
            self._check("conversation", "the conversation", self._conversation, made),
            self._check("found", "finding a message again", self._found, made),
            self._check("again", "finding a message that is there twice", self._again, "canary.found"),
            self._check("attachments", "attachments", self._attachments, "canary.folder"),
            self._check("change", "changing a message", self._change, made),
        ]

    def last(self) -> list[Check]:
        """Return what has to be done whatever came of the others, also when they were interrupted."""
        return [self._check("removed", "removing everything again", self._removed, "canary.alone")]

    # The mailbox

    def _user(self) -> Iterator[Found]:
        entry, self._opens = find_one(self._canary.hook, self._address, self._at)
        if entry.mailbox is None:
            yield error(
                f"the canary's address leads to no mailbox: {entry.cause}",
                "name a user of this tenant who has one, or a shared mailbox",
            )
            return
        self._canary.mailbox = entry.mailbox
        yield ok("its address leads to one user")

    def _open(self) -> Iterator[Found]:
        if self._opens:
            yield ok("it opens")
        else:
            yield error(
                "Graph refuses to open it",
                "assign Application Mail.ReadWrite in Exchange with a scope that the canary mailbox is in; a new"
                " assignment takes up to two hours to reach every server",
            )

    def _alone(self) -> Iterator[Found]:
        if self._staging is None:
            yield warning(
                "staging cannot be used to keep imports away from the mailbox meanwhile",
                "take a mailbox that no mapping leads to",
            )
            return
        self._canary.own(self._staging)
        yield ok("no import writes to it meanwhile")

    def _leftovers(self) -> Iterator[Found]:
        left = clear(self._canary.graph, self._canary.mailbox)
        if left.strangers:
            yield _strangers(left)
        if left.messages or left.folders:
            yield ok(f"what an earlier preflight left is removed ({_counted(left)})")
        else:
            yield ok("there is nothing of an earlier preflight")

    def _folder(self) -> Iterator[Found]:
        self._canary.folder = make_folder(self._canary.graph, self._canary.mailbox)
        yield ok("it takes a folder")

    # A message

    def _create(self) -> Iterator[Found]:
        message_id = self._canary.create(Sample.TEXT, self._canary.folder)
        what = "a message was read back"
        self._canary.read = self._canary.ask(what, f"{self._canary.path(message_id)}?$select={_AS_READ}")
        names = f"id eq '{MESSAGE_CLASS}' or id eq '{FACTS_PROPERTY}'"
        expanded = self._canary.ask(what, f"{self._canary.path(message_id)}?$select=id&{expanding(names)}")
        self._canary.properties = {
            normal(str(each.get("id"))): str(each.get("value"))
            for each in expanded.get("singleValueExtendedProperties") or ()
        }
        yield ok("it takes a message")

    def _draft(self) -> Iterator[Found]:
        if self._canary.read.get("isDraft") is False:
            yield ok("the message is no draft")
        else:
            yield error("the message is a draft", _REPORT)

    def _dates(self) -> Iterator[Found]:
        wanted = self._canary.rendering(Sample.TEXT).sent_at.replace(microsecond=0)
        for name, field in (("sent", "sentDateTime"), ("received", "receivedDateTime")):
            moment = instant(self._canary.read.get(field))
            if moment is not None and moment.replace(microsecond=0) == wanted:
                yield ok(f"it is {name} when the item was")
            else:
                yield error(f"it is not {name} when the item was", _REPORT)

    def _identity(self) -> Iterator[Found]:
        yield _same(
            "Message-ID", self._canary.read.get("internetMessageId"), self._canary.rendering(Sample.TEXT).message_id
        )

    def _people(self) -> Iterator[Found]:
        rendering = self._canary.rendering(Sample.TEXT)
        for name, field in (("sender", "sender"), ("author", "from")):
            yield _same(name, _address(self._canary.read.get(field)), rendering.sender.address)
        yield _same(
            "recipient", [*map(_address, self._canary.read.get("toRecipients") or ())], [rendering.to[0].address]
        )

    def _headers(self) -> Iterator[Found]:
        wanted = [line.partition(": ") for line in self._canary.rendering(Sample.TEXT).facts[:FIRST]]
        kept = {
            str(each["name"]).lower(): each["value"] for each in self._canary.read.get("internetMessageHeaders") or ()
        }
        missing = sum(kept.get(name.lower()) != value for name, _, value in wanted)
        if missing:
            yield error(f"{missing} of its {len(wanted)} headers are not kept", _REPORT)
        else:
            yield ok(f"its {len(wanted)} headers are kept")

    def _facts(self) -> Iterator[Found]:
        wanted = "\n".join(self._canary.rendering(Sample.TEXT).facts)
        yield _same("named property of facts", self._canary.properties.get(normal(FACTS_PROPERTY)), wanted)

    def _class_kept(self) -> Iterator[Found]:
        yield _same(
            "class",
            self._canary.properties.get(normal(MESSAGE_CLASS)),
            self._canary.rendering(Sample.TEXT).message_class,
        )

    def _conversation(self) -> Iterator[Found]:
        wanted = as_text(self._canary.rendering(Sample.TEXT).conversation_index)
        yield _same("conversation index", self._canary.read.get("conversationIndex"), wanted)

    # Exactly once

    def _found(self) -> Iterator[Found]:
        rendering = self._canary.rendering(Sample.TEXT)
        message_id = self._canary.made[Sample.TEXT]
        answers = self._canary.graph.batch(
            [
                item_call(self._canary.mailbox, rendering.key),
                archived_call(self._canary.mailbox, self._canary.folder, rendering.sent, rendering.sent),
            ]
        )
        for answer in answers:
            if not answer.ok:
                raise answer.failure("a message was looked for")
        everywhere = found_messages(answers[0], rendering.key)
        in_folder = [each for each in archived(answers[1]) if each.key == rendering.key]
        for where, found in (("in the whole mailbox", everywhere), ("in the folder, by its date", in_folder)):
            if [each.message_id for each in found] == [message_id]:
                yield ok(f"it is found {where}")
            else:
                yield error(f"it is not found {where}", f"nothing would keep it from being imported twice: {_REPORT}")

    def _again(self) -> Iterator[Found]:
        first = self._canary.made[Sample.TEXT]
        self._canary.create(Sample.TEXT, self._canary.folder)
        self._canary.made[Sample.TEXT] = first
        key = self._canary.rendering(Sample.TEXT).key
        answer = self._canary.graph.batch([item_call(self._canary.mailbox, key)])[0]
        if not answer.ok:
            raise answer.failure("a message was looked for")
        if (count := len(found_messages(answer, key))) == 2:
            yield ok("one that is there twice is found twice")
        else:
            yield error(f"one that is there twice is found {count} times", _REPORT)

    # Attachments

    def _attachments(self) -> Iterator[Found]:
        rendering = self._canary.rendering(Sample.LARGE)
        attachments = [_attachment(part) for part in rendering.parts]
        try:
            message_id = create_large(
                self._canary.graph, self._canary.mailbox, self._canary.folder, graph_message(rendering), attachments
            )
        except (MailboxError, StopError) as failure:
            if isinstance(failure, StopError) or failure.cause == "ErrorAccessDenied":
                yield error("attachments cannot follow a message's creation: it is no draft any more", _ADVANCED)
            raise
        self._canary.made[Sample.LARGE] = message_id
        listed = self._canary.graph.listed(
            f"{self._canary.path(message_id)}/attachments?$select=id,size", "attachments were listed"
        )
        wanted = {part.sha256 for part in rendering.parts}
        ways = ("with the message", "by a request", "by an upload session")
        back = {self._digest(message_id, str(each["id"])) for each in listed}
        for part, way in zip(rendering.parts, ways, strict=True):
            if part.sha256 in back:
                yield ok(f"an attachment added {way} comes back byte for byte")
            else:
                yield error(f"an attachment added {way} does not come back byte for byte", _REPORT)
        if back - wanted:
            yield error("a message has attachments that nobody added", _REPORT)
        path = f"{self._canary.path(message_id)}?$select=categories"
        if UNFINISHED_CATEGORY in self._canary.ask("a message was read back", path).get("categories", ()):
            yield error("a message that is complete cannot be marked so", _REPORT)

    def _change(self) -> Iterator[Found]:
        call = Call(method="PATCH", path=self._canary.path(self._canary.made[Sample.TEXT]), body={"subject": "changed"})
        self._canary.changed = self._canary.graph.send_once(call)
        if self._canary.changed.ok:
            yield ok("a message that is no draft may be changed, and may get attachments therefore")
        elif self._canary.changed.status == HTTPStatus.FORBIDDEN:
            yield warning(
                "a message that is no draft may not be changed; whether attachments may follow stands above, and"
                " may change",
                _ADVANCED,
            )
        else:
            raise self._canary.changed.failure("a message was changed")

    def _digest(self, message_id: str, attachment_id: str) -> str:
        path = f"{self._canary.path(message_id)}/attachments/{quoted(attachment_id)}"
        content = self._canary.ask("an attachment was read back", path).get("contentBytes")
        if not isinstance(content, str):
            raise IntegrityError("an attachment was read back: Graph gave no bytes")
        return sha256(base64.b64decode(content)).hexdigest()

    # Removing

    def _removed(self) -> Iterator[Found]:
        left = clear(self._canary.graph, self._canary.mailbox)
        if left.strangers:
            yield _strangers(left)
        there = still_there(self._canary.graph, self._canary.mailbox)
        if there.messages or there.folders:
            yield error(
                f"not everything of the preflight could be removed (there still: {_counted(there)})",
                "run the preflight again: it removes what an earlier one left; or remove the folder by hand",
            )
            return
        yield ok(f"everything is gone, from Deleted Items too ({_counted(left)})")
        yield _recoverable(there)

    def _check(self, name: str, title: str, run: Callable[[], Iterable[Found]], *needs: str) -> Check:
        return Check(name=f"canary.{name}", area=Area.CANARY, title=title, run=run, needs=needs)


def _same(name: str, read: Any, wanted: Any) -> Found:
    return ok(f"its {name} is kept") if read == wanted else error(f"its {name} is not kept", _REPORT)


def _address(recipient: Any) -> str | None:
    try:
        return str(recipient["emailAddress"]["address"]).lower()
    except (KeyError, TypeError):
        return None


def _attachment(part: Part) -> Attachment:
    def opened() -> BinaryIO:
        return io.BytesIO(sample_bytes(part.size))

    return Attachment(
        name=part.name, content_type=part.content_type, size=part.size, content_id=part.content_id, open=opened
    )


def _counted(left: Left) -> str:
    return f"messages: {left.messages}, folders: {left.folders}"


def _strangers(left: Left) -> Found:
    return warning(
        f"what is none of the preflight's lies in its folder, which stays therefore (messages: {left.strangers})",
        "move them elsewhere",
    )


def _recoverable(there: Left) -> Found:
    if there.recoverable:
        return warning(
            f"some lie among the recoverable items, where Graph can remove nothing (messages: {there.recoverable})",
            "nothing has to be done: Exchange removes them when the mailbox's retention of deleted items is over",
        )
    return ok(
        "what is removed for good is kept in Purges, which Graph neither shows nor empties, until the mailbox's"
        " retention of deleted items, or a hold, is over"
    )
