"""Litter: what a preflight, this one or one that was killed, has put into the canary mailbox, and its removal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from o2_connector.core.graph_errors import Verdict
from o2_connector.core.naming import ITEM_PROPERTY
from o2_connector.core.preflight import FOLDER_NAME
from o2_connector.core.preflight_samples import sample_keys
from o2_connector.hooks.graph_mail import (
    folder_call,
    folder_named,
    folders_call,
    found_messages,
    id_of,
    item_call,
    remove,
)
from o2_connector.hooks.graph_requests import Call, GraphRequests, get, post, quoted

PLACES = ("msgfolderroot", "deleteditems")
"""Where the folder may lie: below the root, or below Deleted Items, when somebody has removed it by hand."""

_ROUNDS = 4  # a message that cannot be removed for good at once goes to Deleted Items first, and from there
_LAG_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """Count what was removed, or what is there.

    :param strangers: messages in the folder that are none of ours.
    :param recoverable: messages among the recoverable items; None where nobody can look.
    """

    messages: int
    folders: int
    strangers: int = 0
    recoverable: int | None = None


def make_folder(graph: GraphRequests, mailbox: str) -> str:
    """Make the preflight's folder, or take the one that is there, and return its id."""
    answer = graph.send(folder_call(mailbox, FOLDER_NAME), graph.deadline())
    folder_id = id_of(answer) if answer.ok else None
    if folder_id is None:
        listed = graph.send(folders_call(mailbox), graph.deadline())
        folder_id = folder_named(listed, FOLDER_NAME) if listed.ok else None
    if folder_id is None:
        raise answer.failure("a folder was made")
    return folder_id


def clear(graph: GraphRequests, mailbox: str) -> Left:
    """Remove everything of ours, wherever in the mailbox it lies, and count it."""
    messages: set[str] = set()
    for _ in range(_ROUNDS):
        found = list(_messages(graph, mailbox))
        if not found:
            break
        messages.update(found)
        for message_id in found:
            remove(graph, mailbox, message_id)
    folders, strangers = 0, 0
    for place in PLACES:
        for folder_id in _folders(graph, mailbox, place):
            if others := sum(_inside(graph, mailbox, folder_id)):
                strangers += others
            else:
                _remove_folder(graph, mailbox, folder_id)
                folders += place == PLACES[0]
    return Left(messages=len(messages), folders=folders, strangers=strangers)


def still_there(graph: GraphRequests, mailbox: str) -> Left:
    """Count what is there of ours, but a folder in which others have put something."""
    messages = 0
    for _ in range(_ROUNDS):
        messages = sum(1 for _ in _messages(graph, mailbox))
        if not messages:
            break
        graph.sleep(_LAG_SECONDS)  # not every server knows at once
    folders = [
        folder_id
        for place in PLACES
        for folder_id in _folders(graph, mailbox, place)
        if not sum(_inside(graph, mailbox, folder_id))
    ]
    return Left(messages=messages, folders=len(folders), recoverable=_recoverable(graph, mailbox))


def _messages(graph: GraphRequests, mailbox: str) -> Iterator[str]:
    keys = sample_keys()
    for key, answer in zip(keys, graph.batch([item_call(mailbox, key) for key in keys]), strict=True):
        if not answer.ok:
            raise answer.failure("messages of a preflight were looked for")
        yield from (found.message_id for found in found_messages(answer, key))


def _folders(graph: GraphRequests, mailbox: str, place: str) -> list[str]:
    path = f"{_folder(mailbox, place)}/childFolders?includeHiddenFolders=true&$select=id,displayName&$top=100"
    entries = graph.listed(path, "folders of a preflight were looked for")
    return [str(each["id"]) for each in entries if str(each.get("displayName")).casefold() == FOLDER_NAME.casefold()]


def _inside(graph: GraphRequests, mailbox: str, folder_id: str) -> Iterator[int]:
    """Yield how many messages lie in a folder, and in those below it."""
    path = _folder(mailbox, folder_id)
    yield sum(1 for _ in graph.listed(f"{path}/messages?$select=id&$top=100", "a preflight's folder was listed"))
    children = graph.listed(f"{path}/childFolders?$select=id&$top=100", "a preflight's folder was listed")
    for child in list(children):
        yield from _inside(graph, mailbox, str(child["id"]))


def _remove_folder(graph: GraphRequests, mailbox: str, folder_id: str) -> None:
    path = _folder(mailbox, folder_id)
    answer = graph.send(post(f"{path}/permanentDelete", repeatable=True), graph.deadline())
    if not answer.ok and answer.status != HTTPStatus.NOT_FOUND and answer.verdict is not Verdict.TRANSIENT:
        # National clouds have no permanentDelete
        answer = graph.send(Call(method="DELETE", path=path, repeatable=True), graph.deadline())
    if not answer.ok and answer.status != HTTPStatus.NOT_FOUND:
        raise answer.failure("a preflight's folder was removed")


def _recoverable(graph: GraphRequests, mailbox: str) -> int | None:
    path = f"{_folder(mailbox, 'recoverableitemsdeletions')}/messages?$select=id&$filter="
    has = f"singleValueExtendedProperties/any(ep: ep/id eq '{ITEM_PROPERTY}' and ep/value eq '%s')"
    answers = graph.batch([get(path + quoted(has % key)) for key in sample_keys()])
    if not all(answer.ok for answer in answers):
        return None
    return sum(len(answer.entries("recoverable items were listed")) for answer in answers)


def _folder(mailbox: str, folder_id: str) -> str:
    return f"/users/{quoted(mailbox)}/mailFolders/{quoted(folder_id)}"
