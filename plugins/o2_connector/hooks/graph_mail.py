"""What the archive asks of one mailbox: its folder, the items in it, a message with all of its attachments.

The requests are described here, for whoever sends them, twenty in a batch or one by one; a message whose attachments
do not fit its create is made request by request.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec

from o2_connector.core.errors import ConnectorError, ItemError, RetryError
from o2_connector.core.graph_errors import Verdict, failure
from o2_connector.core.naming import FACTS_PROPERTY, ITEM_PROPERTY, UNFINISHED_CATEGORY
from o2_connector.hooks.graph_requests import Answer, Call, GraphRequests, get, literal, post, quoted
from o2_connector.hooks.graph_upload import REQUEST_LIMIT, SESSION_LIMIT, Attachment, attach, compose, fits_session

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Hold a message of the archive as a mailbox lists it.

    :param key: of its item.
    :param unfinished: whether attachments of it are missing still: an import was killed half-way.
    """

    key: str
    message_id: str
    unfinished: bool


class _Made(msgspec.Struct):
    id: str


_MADE = msgspec.json.Decoder(_Made)  # of all that Graph tells of a new message


# The folder


def folders_call(mailbox: str) -> Call:
    """Ask for the folders below the mailbox's root."""
    return get(f"{_folders(mailbox)}?includeHiddenFolders=true&$select=id,displayName&$top=100")


def folder_call(mailbox: str, name: str) -> Call:
    """Make a folder below the mailbox's root."""
    return post(_folders(mailbox), {"displayName": name})


def folder_named(answer: Answer, name: str) -> str | None:
    """Return the id of the folder of this name among those listed; Exchange compares names without regard to case."""
    for folder in answer.entries("the archive folder was looked for"):
        if str(folder.get("displayName")).casefold() == name.casefold():
            return str(folder["id"])
    return None


# The items


def archived_call(mailbox: str, folder_id: str, first: int, last: int) -> Call:
    """Ask for the messages of a folder that were received in a span of time, ends included.

    :param first: milliseconds since 1970, UTC.
    :param last: the same.
    """
    since, until = _second(first, -1), _second(last, +2)  # Exchange need not keep the milliseconds
    condition = f"receivedDateTime ge {since} and receivedDateTime le {until}"
    return get(
        f"/users/{quoted(mailbox)}/mailFolders/{quoted(folder_id)}/messages?$filter={quoted(condition)}"
        f"&$select=id,categories&$expand=singleValueExtendedProperties($filter={quoted(_property_is())})&$top=1000"
    )


def item_call(mailbox: str, key: str) -> Call:
    """Ask for the messages of one item, wherever in the mailbox they lie."""
    has_value = f"{_property_is('ep/id')} and ep/value eq '{literal(key)}'"
    return get(
        f"/users/{quoted(mailbox)}/messages?$select=id,categories"
        f"&$filter={quoted(f'singleValueExtendedProperties/any(ep: {has_value})')}"
    )


def archived(answer: Answer) -> list[Found]:
    """Return the archive's messages among those listed; what the user put there bears no key and is left out."""
    return [
        Found(key=key, message_id=str(message["id"]), unfinished=_is_unfinished(message))
        for message in answer.entries("the archive folder was listed")
        if (key := _item_key(message)) is not None
    ]


def found_messages(answer: Answer, key: str) -> list[Found]:
    """Return the messages that :func:`item_call` asked for: such an answer does not show the property itself."""
    return [
        Found(key=key, message_id=str(message["id"]), unfinished=_is_unfinished(message))
        for message in answer.entries("an item was looked for")
    ]


# The message


def message_call(mailbox: str, message_id: str) -> Call:
    """Ask for what the archive has put into a message, and for its attachments' names and sizes."""
    fields = "id,subject,body,internetMessageId,sentDateTime,receivedDateTime,isDraft,categories"
    is_facts = quoted(f"id eq '{FACTS_PROPERTY}'")
    properties = f"singleValueExtendedProperties($filter={is_facts})"
    return get(
        f"{_message(mailbox, message_id)}?$select={fields}&$expand={properties},attachments($select=name,size,isInline)"
    )


def create_call(mailbox: str, folder_id: str, message: Mapping[str, Any] | msgspec.Raw) -> Call:
    """Make a message in a folder."""
    return post(f"/users/{quoted(mailbox)}/mailFolders/{quoted(folder_id)}/messages", message)


def id_of(answer: Answer) -> str | None:
    """Return the id of what was made."""
    try:
        return _MADE.decode(answer.content).id or None
    except msgspec.DecodeError:
        return None


def folder_failure(answer: Answer, what: str) -> ConnectorError:
    """Return the error that a refused create calls for, or a refused look into the folder."""
    if answer.status == HTTPStatus.NOT_FOUND and answer.verdict is Verdict.ITEM:
        # The item is new, so what was not found is the folder: somebody removed it
        return failure(what, status=answer.status, code="ErrorFolderNotFound")
    return answer.failure(what)


def create_large(
    graph: GraphRequests, mailbox: str, folder_id: str, message: Mapping[str, Any], attachments: Sequence[Attachment]
) -> str:
    """Create a message request by request, with all of its attachments, and return its id.

    When this raises, nothing of the message is left, with two exceptions: after :class:`RetryError` the mailbox must be
    asked what is there; and what could not be removed bears `UNFINISHED_CATEGORY`.

    :param message: Graph's JSON without attachments.
    """
    if any(attachment.size > SESSION_LIMIT for attachment in attachments):
        raise ItemError("an attachment is larger than the 150 MB that Graph takes")
    if not all(map(fits_session, attachments)):
        raise ItemError("an attachment's name or type is larger than the 4 MB of a request")
    body, following = _create_body(message, attachments)
    answer = graph.send(create_call(mailbox, folder_id, body), graph.deadline())
    message_id = id_of(answer)
    if not answer.ok or message_id is None:
        if answer.ok or answer.effect_unknown:
            raise RetryError("a message was created: the answer was lost")
        raise folder_failure(answer, "a message was created")
    if not following:
        return message_id
    try:
        for already, attachment in enumerate(following, start=len(attachments) - len(following)):
            attach(graph, _message(mailbox, message_id), attachment, already)
        _finish(graph, mailbox, message_id, message)
    except Exception:  # also when the attachment's bytes cannot be had
        _remove_after_failure(graph, mailbox, message_id)
        raise
    return message_id


def remove(graph: GraphRequests, mailbox: str, message_id: str) -> None:
    """Remove a message that is not finished; one that is gone already is no matter."""
    path = _message(mailbox, message_id)
    answer = graph.send(post(f"{path}/permanentDelete", repeatable=True), graph.deadline())
    if not answer.ok and answer.status != HTTPStatus.NOT_FOUND and answer.verdict is not Verdict.TRANSIENT:
        answer = graph.send(Call(method="DELETE", path=path, repeatable=True), graph.deadline())
    if not answer.ok and answer.status != HTTPStatus.NOT_FOUND:
        raise answer.failure("an unfinished message was removed")


def _create_body(
    message: Mapping[str, Any], attachments: Sequence[Attachment]
) -> tuple[msgspec.Raw, tuple[Attachment, ...]]:
    """Return the JSON that creates a message, and the attachments that have to follow."""
    fields, following = compose(message, attachments)
    body = msgspec.json.encode(fields)
    if len(body) > REQUEST_LIMIT:  # no attachment is in it then
        raise ItemError("the message is larger than the 4 MB of a request, even without its attachments")
    return msgspec.Raw(body), following


def _finish(graph: GraphRequests, mailbox: str, message_id: str, message: Mapping[str, Any]) -> None:
    categories = {"categories": list(message.get("categories", ()))}
    call = Call(method="PATCH", path=_message(mailbox, message_id), body=categories, repeatable=True)
    answer = graph.send(call, graph.deadline())
    if answer.status == HTTPStatus.NOT_FOUND:  # not the item's fault: a server that lags, or a user who tidied up
        raise RetryError("a message that was just created is not there")
    if not answer.ok:
        raise answer.failure("a message was marked as complete")


def _remove_after_failure(graph: GraphRequests, mailbox: str, message_id: str) -> None:
    try:
        remove(graph, mailbox, message_id)
    except ConnectorError as error:  # the cause of the failure counts for more; the category says the rest
        _log.warning("An unfinished message could not be removed: %s", error)


def _item_key(message: Mapping[str, Any]) -> str | None:
    for entry in message.get("singleValueExtendedProperties") or ():
        if str(entry.get("id")).casefold() == ITEM_PROPERTY.casefold():  # Graph gives the GUID back in its own case
            return str(entry.get("value"))
    return None


def _is_unfinished(message: Mapping[str, Any]) -> bool:
    return UNFINISHED_CATEGORY in (message.get("categories") or ())


def _property_is(name: str = "id") -> str:
    return f"{name} eq '{ITEM_PROPERTY}'"


def _folders(mailbox: str) -> str:
    return f"/users/{quoted(mailbox)}/mailFolders/msgfolderroot/childFolders"


def _message(mailbox: str, message_id: str) -> str:
    return f"/users/{quoted(mailbox)}/messages/{quoted(message_id)}"


def _second(milliseconds: int, more: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000 + more, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
