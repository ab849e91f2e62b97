"""Open points of a mailbox: what only a real tenant can say, put to the one at hand with a few requests each.

Where a test would press upon the tenant it is left out, and said so. What is observed is told in counts, statuses,
codes and our own words, so that it may be sent to anybody.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from o2_connector.core.errors import ItemError
from o2_connector.core.graph_message import graph_message
from o2_connector.core.naming import FACTS_PROPERTY
from o2_connector.core.preflight import FOLDER_NAME
from o2_connector.core.preflight_samples import Sample, sample_bytes
from o2_connector.engine.preflight.canary import MESSAGE_CLASS, REFERENCES, REPLIES, Canary, expanding, instant, normal
from o2_connector.engine.preflight.checks import Observation, Observed, said
from o2_connector.engine.preflight.graph_permissions import MAIL_ROLES
from o2_connector.hooks.graph_mail import archived_call, item_call
from o2_connector.hooks.graph_permissions import granted_in_entra
from o2_connector.hooks.graph_requests import BATCH_LIMIT, Answer, Call, get, post, quoted

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LONG = (32_768, 1_048_576)  # characters; with its create the longer fits a request
_SESSION_BYTES = 3_300_000


def mailbox_points(canary: Canary) -> list[Observation]:
    """Return the points about a mailbox; they use what the canary's checks have made."""
    points = _Points(canary)
    made, attached = "canary.create", "canary.attachments"
    folder = "canary.folder"

    def point(name: str, assumed: str, observe: Callable[[], Observed], *needs: str) -> Observation:
        return Observation(point=name, assumed=assumed, observe=observe, needs=needs)

    return [
        point("plans.exchange", "Enabled or Warning, none of them Exchange Foundation", points.plans, "canary.user"),
        point("create.inbox", "no draft, with its own dates, stays there", points.inbox, folder),
        point("create.sent_items", "no draft, with its own dates, stays there", points.sent_items, folder),
        point("create.sender", "any sender is kept", points.sender, made),
        point("create.milliseconds", "Exchange need not keep milliseconds of a date", points.milliseconds, made),
        point("create.message_id_twice", "a Message-ID that is there is taken again", points.twice, "canary.again"),
        point("create.references", "In-Reply-To and References are kept", points.references, made),
        point("create.body", "a body of plain text may be written otherwise", points.body, made),
        point("create.class", "a class below IPM.Note is kept", points.message_class, made),
        point("conversation.together", "messages of one index have one conversation", points.together, made),
        point("property.longest", "a named property of 1 MB is kept whole", points.longest, folder),
        point("property.in_lists", "a list shows 255 characters of a named property", points.in_lists, made),
        point("find.seconds", "a message is found by its property at once", points.seconds, made),
        point("find.pages", "pages of a list by date show the named property", points.pages, "canary.again"),
        point("find.large_folder", "in a folder of 100,000 it takes no longer", _left_out("100,000 messages")),
        point("folder.case", "409 ErrorFolderExists for a name in other letters", points.case, folder),
        point("batch.twenty", "twenty requests for one mailbox are all answered", points.twenty, made),
        point("attach.not_draft", "attachments are added to what is no draft", points.attached, attached),
        point("upload.session", "a session tells where it stands, and can be ended", points.session, made),
        point("upload.limit", "base64 counts towards 150 MB in 5 minutes", _left_out("150 MB in five minutes")),
        point(
            "change.subject",
            "403 ErrorAccessDenied without Mail-Advanced.ReadWrite.All",
            points.change,
            "canary.change",
        ),
        point("ids.after_move", "an immutable id outlives a move, and finds the message", points.moved, made),
    ]


class _Points:
    """Observe a mailbox."""

    def __init__(self, canary: Canary) -> None:
        self._canary = canary

    @property
    def _message(self) -> str:
        return self._canary.path(self._canary.made[Sample.TEXT])

    def _send(self, call: Call) -> Answer:
        return self._canary.graph.send_once(call)

    # The directory

    def plans(self) -> Observed:
        answer = self._canary.hook.graph.batch([get(f"/users/{quoted(self._canary.mailbox)}?$select=assignedPlans")])[0]
        if not answer.ok:
            return said(answer), False
        plans = [plan for plan in answer.fields.get("assignedPlans") or () if plan.get("service") == "exchange"]
        told = sorted({f"{_plan(plan.get('servicePlanId'))} {_word(plan.get('capabilityStatus'))}" for plan in plans})
        return ", ".join(told) or "none", None

    # A create

    def inbox(self) -> Observed:
        return self._elsewhere(Sample.INBOX, "inbox")

    def sent_items(self) -> Observed:
        return self._elsewhere(Sample.SENT_ITEMS, "sentitems")

    def _elsewhere(self, which: Sample, folder: str) -> Observed:
        message_id = self._canary.create(which, folder)
        fields = "isDraft,sentDateTime,receivedDateTime,parentFolderId"
        what = "a message was read back"
        read = self._canary.ask(what, f"{self._canary.path(message_id)}?$select={fields}")
        mailbox = quoted(self._canary.mailbox)
        home = self._canary.ask("a folder was looked up", f"/users/{mailbox}/mailFolders/{folder}?$select=id")["id"]
        wanted = self._canary.rendering(which).sent_at.replace(microsecond=0)
        dates = [_second(read.get(name)) == wanted for name in ("sentDateTime", "receivedDateTime")]
        draft, stays = read.get("isDraft"), read.get("parentFolderId") == home
        told = f"draft {_yes(draft)}, sent true {_yes(dates[0])}, received true {_yes(dates[1])}, stays {_yes(stays)}"
        return told, draft is False and all(dates) and stays

    def sender(self) -> Observed:
        wanted = self._canary.rendering(Sample.TEXT).sender
        for field in ("from", "sender"):
            person = (self._canary.read.get(field) or {}).get("emailAddress") or {}
            if (str(person.get("address")).lower(), person.get("name")) != (wanted.address.lower(), wanted.name):
                return f"{field} is not as it was sent", False
        return "from and sender, address and name, are kept", True

    def milliseconds(self) -> Observed:
        moments = [instant(self._canary.read.get(name)) for name in ("sentDateTime", "receivedDateTime")]
        kept = [bool(moment and moment.microsecond) for moment in moments]
        return f"sent {'kept' if kept[0] else 'cut'}, received {'kept' if kept[1] else 'cut'}", None

    def twice(self) -> Observed:
        return "taken again", True  # the check before made sure

    def references(self) -> Observed:
        properties = graph_message(self._canary.rendering(Sample.REPLY))["singleValueExtendedProperties"]
        wanted = {normal(each["id"]): each["value"] for each in properties}
        message_id = self._reply()
        names = " or ".join(f"id eq '{name}'" for name in (REPLIES, REFERENCES))
        path = f"{self._canary.path(message_id)}?$select=id&{expanding(names)}"
        read = self._canary.ask("a message was read back", path).get("singleValueExtendedProperties") or ()
        held = {normal(str(each["id"])): each["value"] for each in read}
        kept = [held.get(normal(name)) == wanted[normal(name)] for name in (REPLIES, REFERENCES)]
        return f"In-Reply-To kept {_yes(kept[0])}, References kept {_yes(kept[1])}", all(kept)

    def body(self) -> Observed:
        body = self._canary.read.get("body") or {}
        wanted = self._canary.rendering(Sample.TEXT).text
        content = str(body.get("content"))
        if content == wanted:
            return "kept as it was", None
        same = content.split() == wanted.split()
        return (
            f"{_word(body.get('contentType'))}, {len(content) - len(wanted):+d} characters, words kept {_yes(same)}",
            None,
        )

    def message_class(self) -> Observed:
        kept = self._canary.properties.get(normal(MESSAGE_CLASS)) == self._canary.rendering(Sample.TEXT).message_class
        return ("kept" if kept else "not kept"), kept

    def together(self) -> Observed:
        path = f"{self._canary.path(self._reply())}?$select=conversationId"
        other = self._canary.ask("a message was read back", path).get("conversationId")
        same = other is not None and other == self._canary.read.get("conversationId")
        return ("one conversation" if same else "two conversations"), same

    def _reply(self) -> str:
        made = self._canary.made
        return made.get(Sample.REPLY) or self._canary.create(Sample.REPLY, self._canary.folder)

    # Named properties, and finding

    def longest(self) -> Observed:
        told, kept = [], True
        for length in _LONG:
            message = graph_message(self._canary.rendering(Sample.LONG_PROPERTY))
            properties = [each for each in message["singleValueExtendedProperties"] if each["id"] != FACTS_PROPERTY]
            properties.append({"id": FACTS_PROPERTY, "value": "x" * length})
            body = {**message, "singleValueExtendedProperties": properties}
            try:
                message_id = self._canary.create(Sample.LONG_PROPERTY, self._canary.folder, body)
            except ItemError as error:
                told.append(f"{length:,} characters: {_word(error.fault)}")
                kept = False
                continue
            read = len(self._facts(self._canary.path(message_id)))
            told.append(f"{length:,} characters: {read:,} read back")
            kept = kept and read == length
        return ", ".join(told), kept

    def in_lists(self) -> Observed:
        rendering = self._canary.rendering(Sample.TEXT)
        whole = len("\n".join(rendering.facts))
        condition = f"internetMessageId eq '{rendering.message_id}'"
        mailbox, folder = quoted(self._canary.mailbox), quoted(self._canary.folder)
        path = f"/users/{mailbox}/mailFolders/{folder}/messages?$filter={quoted(condition)}&$select=id&{_EXPAND_FACTS}"
        answer = self._send(get(path))
        if not answer.ok:
            return said(answer), False
        lengths = {len(_value_of(entry)) for entry in answer.entries("messages were listed")}
        return f"{', '.join(map(str, sorted(lengths)))} of {whole} characters", lengths == {min(255, whole)}

    def _facts(self, path: str) -> str:
        return _value_of(self._canary.ask("a message was read back", f"{path}?$select=id&{_EXPAND_FACTS}"))

    def seconds(self) -> Observed:
        began = time.monotonic()
        message_id = self._canary.create(Sample.REPLY, self._canary.folder)
        made = time.monotonic()
        key = self._canary.rendering(Sample.REPLY).key
        for attempt in range(1, 11):
            answer = self._send(get(item_call(self._canary.mailbox, key).path))
            if answer.ok and message_id in {each["id"] for each in answer.entries("a message was looked for")}:
                took = time.monotonic() - made
                return f"at look {attempt}, after {took:.1f} s; the create took {made - began:.1f} s", attempt == 1
            self._canary.graph.sleep(1.0)
        return "not within 10 looks", False

    def pages(self) -> Observed:
        sent = self._canary.rendering(Sample.TEXT).sent
        path = archived_call(self._canary.mailbox, self._canary.folder, sent, sent).path.replace("$top=1000", "$top=1")
        pages, shown = 0, 0
        following: str | None = path
        while following is not None and pages < 10:
            answer = self._send(get(following))
            if not answer.ok:
                return f"page {pages + 1}: {said(answer)}", False
            pages += 1
            shown += sum(
                bool(each.get("singleValueExtendedProperties")) for each in answer.entries("a folder was listed")
            )
            link = answer.fields.get("@odata.nextLink")
            following = None if link is None else self._canary.graph.below_root(str(link))
        return f"{pages} pages of one message, {shown} with the property", pages > 1 and shown >= 2

    # Moves, folders, batches

    def moved(self) -> Observed:
        mailbox = quoted(self._canary.mailbox)
        child = self._send(
            post(f"/users/{mailbox}/mailFolders/{quoted(self._canary.folder)}/childFolders", {"displayName": "moved"})
        )
        answer = self._send(post(f"{self._message}/move", {"destinationId": child.fields.get("id")}))
        if not (child.ok and answer.ok):
            return f"folder {said(child)}, move {said(answer)}", None
        same = answer.fields.get("id") == self._canary.made[Sample.TEXT]
        again = self._send(get(f"{self._message}?$select=id"))
        return f"the same id {_yes(same)}, by the first id {said(again)}", same and again.ok

    def case(self) -> Observed:
        mailbox = quoted(self._canary.mailbox)
        body = {"displayName": FOLDER_NAME.swapcase()}
        answer = self._send(post(f"/users/{mailbox}/mailFolders/msgfolderroot/childFolders", body))
        if answer.ok:  # of another name than ours, to whoever looks for it
            self._send(Call(method="DELETE", path=f"/users/{mailbox}/mailFolders/{quoted(str(answer.fields['id']))}"))
        return said(answer), answer.code == "ErrorFolderExists"

    def twenty(self) -> Observed:
        began = time.monotonic()
        answers, whole = self._canary.graph.batch_once([get(f"{self._message}?$select=id")] * BATCH_LIMIT)
        took = time.monotonic() - began
        statuses = Counter(answer.status for answer in answers)
        told = ", ".join(f"{count} of {status}" for status, count in sorted(statuses.items()))
        return f"{said(whole)}: {told} in {took:.1f} s", statuses == {HTTPStatus.OK: BATCH_LIMIT}

    # Attachments, and changes

    def attached(self) -> Observed:
        roles = granted_in_entra(self._canary.hook.graph.login.token())
        held = "cannot be read" if roles is None else " and ".join(sorted(roles & MAIL_ROLES)) or "none"
        return f"by request and by session, on {datetime.now(UTC):%Y-%m-%d}, Mail roles in the token: {held}", True

    def session(self) -> Observed:
        item = {"attachmentType": "file", "name": "preflight.wav", "size": _SESSION_BYTES, "contentType": "audio/wav"}
        opened = self._send(post(f"{self._message}/attachments/createUploadSession", {"AttachmentItem": item}))
        url = opened.fields.get("uploadUrl") if opened.ok else None
        if not isinstance(url, str) or not url.startswith("https://"):
            return f"opened: {said(opened)}", False
        graph, part = self._canary.graph, sample_bytes(327_680)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"bytes 0-{len(part) - 1}/{_SESSION_BYTES}",
        }
        put = graph.attempt("PUT", url, data=part, headers=headers)
        state = graph.attempt("GET", url, data=None, headers={})
        ended = graph.attempt("DELETE", url, data=None, headers={})
        after = graph.attempt("GET", url, data=None, headers={})
        told = f"opened: {said(opened)}, a part: {said(put)} {_next(put)}, GET: {said(state)} {_next(state)}"
        return f"{told}, DELETE: {said(ended)}, GET again: {said(after)}", state.ok and ended.ok and not after.ok

    def change(self) -> Observed:
        return f"{said(self._canary.changed)} on {datetime.now(UTC):%Y-%m-%d}", None


_EXPAND_FACTS = expanding(f"id eq '{FACTS_PROPERTY}'")


def _value_of(entry: Mapping[str, Any]) -> str:
    properties = entry.get("singleValueExtendedProperties") or ()
    return next((str(each.get("value")) for each in properties), "")


def _left_out(what: str) -> Callable[[], Observed]:
    def observe() -> Observed:
        raise ItemError(f"left out: {what} would press upon the tenant")

    return observe


def _second(value: Any) -> datetime | None:
    moment = instant(value)
    return moment.replace(microsecond=0) if moment else None


def _next(answer: Answer) -> str:
    """Return how a session says where it goes on: digits and hyphens."""
    ranges: Collection[Any] = ()
    for name, value in (answer.fields if answer.ok else {}).items():
        if name.lower() == "nextexpectedranges" and isinstance(value, list):
            ranges = value
    return "[" + ", ".join(re.sub(r"[^0-9-]", "", str(each)) for each in ranges) + "]"


def _plan(value: Any) -> str:
    return str(value) if _GUID.fullmatch(str(value)) else "a plan without id"


def _word(value: Any) -> str:
    return str(value) if re.fullmatch(r"[A-Za-z0-9]{1,60}", str(value)) else "something else"


def _yes(value: Any) -> str:
    return "yes" if value is True else "no"
