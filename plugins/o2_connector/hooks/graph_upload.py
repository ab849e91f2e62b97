"""Add a message's attachments: with its create, by a request each, or in parts through an upload session.

The address of an upload session is a key to its mailbox: it is neither logged nor quoted, and needs no token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO

import msgspec

from o2_connector.core.errors import IntegrityError, ItemError, RetryError
from o2_connector.core.graph_errors import Verdict
from o2_connector.core.naming import UNFINISHED_CATEGORY
from o2_connector.hooks.graph_requests import Answer, Call, GraphRequests, post
from o2_connector.hooks.transport import backoff

INLINE_LIMIT = 2_621_440
"""Bytes of attachments and body that go with the create: as base64 they stay below the 4 MB of a whole request."""

REQUEST_LIMIT = 4 * 1024 * 1024
"""Bytes of a whole request. An attachment that does not fit in one needs an upload session; the documented border of
3 MB is this one seen through base64 (Microsoft Graph, "Attach large files to messages"; measured to be 3,145,611 bytes
in microsoftgraph/msgraph-sdk-java#52). A session below it is refused."""

SESSION_LIMIT = 150 * 1024 * 1024
"""Bytes of the largest attachment that an upload session takes (same page)."""

CHUNK = 3_932_160
"""Bytes of a chunk: below the 4 MB of a request, and a multiple of 320 KiB, which some storage behind Graph wants."""

_SESSIONS = 3
_YOUNG_WAITS = (0.75, 1.5, 3.0, 5.0, 5.0)
"""Seconds between tries while Graph answers 404 about a message that was created a moment ago."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """Describe a file that goes with a message; its bytes are read when they are sent.

    :param size: bytes.
    :param content_id: of one that belongs to the body: a client shows it there, or not at all.
    :param open: gives a stream of exactly `size` bytes, as often as asked.
    """

    name: str
    content_type: str
    size: int
    content_id: str | None
    open: Callable[[], AbstractContextManager[BinaryIO]]


def compose(
    message: Mapping[str, Any], attachments: Sequence[Attachment]
) -> tuple[dict[str, Any], tuple[Attachment, ...]]:
    """Return the body to create a message with, and the attachments that have to follow.

    Attachments go with the create, in their order, while they fit. Where any follows, the message bears
    `UNFINISHED_CATEGORY`.
    """
    body = dict(message)
    room = INLINE_LIMIT - len(msgspec.json.encode(message))
    inline: list[dict[str, Any]] = []
    following: list[Attachment] = []
    for attachment in attachments:
        size = _around(attachment) + attachment.size
        if size <= room:
            room -= size
            inline.append(file_attachment(attachment))
        else:
            following.append(attachment)
    if inline:
        body["attachments"] = inline
    if following:
        body["categories"] = [*message.get("categories", ()), UNFINISHED_CATEGORY]
    return body, tuple(following)


def file_attachment(attachment: Attachment) -> dict[str, Any]:
    """Return an attachment with its bytes, which become base64 where JSON is made of it."""
    with attachment.open() as source:
        data = _exactly(source, attachment.size)
        if source.read(1):
            raise IntegrityError("an attachment is longer than its record says")
    return {**_without_bytes(attachment), "contentBytes": data}


def fits_one_request(attachment: Attachment) -> bool:
    """Tell whether an attachment can be added without an upload session."""
    return _around(attachment) + (attachment.size + 2) // 3 * 4 <= REQUEST_LIMIT


def fits_session(attachment: Attachment) -> bool:
    """Tell whether an upload session can be asked for: what is said of the attachment fits the request."""
    return len(msgspec.json.encode(_session(attachment))) <= REQUEST_LIMIT


def attach(graph: GraphRequests, message_path: str, attachment: Attachment, already: int) -> None:
    """Add an attachment to a message that was created a moment ago and has `already` so many."""
    add = _add if fits_one_request(attachment) else _add_by_session
    add(graph, message_path, attachment, already)


def _around(attachment: Attachment) -> int:
    """Return the bytes of JSON around an attachment's own."""
    return len(msgspec.json.encode({**_without_bytes(attachment), "contentBytes": ""}))


def _without_bytes(attachment: Attachment) -> dict[str, Any]:
    return {"@odata.type": "#microsoft.graph.fileAttachment", **_described(attachment)}


def _session(attachment: Attachment) -> dict[str, Any]:
    return {"AttachmentItem": {"attachmentType": "file", "size": attachment.size, **_described(attachment)}}


def _described(attachment: Attachment) -> dict[str, Any]:
    """Return what is said of a file, whichever way its bytes go."""
    return {
        "name": attachment.name,
        "contentType": attachment.content_type,
        "isInline": attachment.content_id is not None,
        **({} if attachment.content_id is None else {"contentId": attachment.content_id}),
    }


def _add(graph: GraphRequests, message_path: str, attachment: Attachment, already: int) -> None:
    """Add an attachment that fits one request to a message that has `already` so many."""
    what = "an attachment was added"
    call = post(f"{message_path}/attachments", file_attachment(attachment))
    deadline = graph.deadline()
    while True:
        answer = _send_about_new(graph, call, deadline)
        if answer.ok:
            return
        if not answer.effect_unknown:
            raise answer.failure(what)
        graph.settle()
        if _attached(graph, message_path) > already:
            return
        if graph.is_past(deadline):
            raise answer.failure(what)


def _add_by_session(graph: GraphRequests, message_path: str, attachment: Attachment, already: int) -> None:
    """Add an attachment of any size through an upload session."""
    # A session that nobody uses adds nothing and expires
    call = post(f"{message_path}/attachments/createUploadSession", _session(attachment), repeatable=True)
    for _ in range(_SESSIONS):
        answer = _send_about_new(graph, call, graph.deadline())
        if not answer.ok:
            raise answer.failure("an upload session was opened")
        if _upload(graph, _upload_url(answer), attachment):
            return
        # The session is over and did not say how: the answer to its last chunk may be what was lost
        graph.settle()
        if _attached(graph, message_path) > already:
            return
    raise RetryError(f"an attachment was uploaded: {_SESSIONS} sessions ended before it was complete")


def _upload(graph: GraphRequests, url: str, attachment: Attachment) -> bool:
    """Send an attachment's bytes in order; return whether Graph said that it has them all."""
    with attachment.open() as source:
        first = 0
        while first < attachment.size:
            chunk = _exactly(source, min(CHUNK, attachment.size - first))
            end = first + len(chunk)
            while first < end:
                reached = _put(graph, url, chunk[first - end :], first, attachment.size)
                if reached is None or not first < reached <= end:
                    return False
                first = reached
        if source.read(1):
            raise IntegrityError("an attachment is longer than its record says")
    return True


def _put(graph: GraphRequests, url: str, data: bytes, first: int, size: int) -> int | None:
    """Send a part of an attachment; return the offset that Graph waits for next, None when the session is over."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Range": f"bytes {first}-{first + len(data) - 1}/{size}",
    }
    attempt = 0
    answer = graph.attempt("PUT", url, data=data, headers=headers)
    deadline = graph.deadline()  # of what goes wrong: before it was sent it may have waited for its mailbox's limits
    while answer.verdict is Verdict.TRANSIENT:
        if not graph.wait(backoff(attempt, retry_after=answer.retry_after), deadline):
            raise answer.failure("a part of an attachment was uploaded")
        attempt += 1
        state = graph.attempt("GET", url, data=None, headers={})
        if state.ok and _next_offset(state) != first:  # the part, or some of it, had arrived
            return _next_offset(state)
        answer = graph.attempt("PUT", url, data=data, headers=headers)
    if answer.status == HTTPStatus.CREATED:
        return size
    if answer.ok:
        return _next_offset(answer)
    # A session that ended, or after a lost answer a refusal, which says that the part is there already
    if attempt or answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return None
    raise answer.failure("a part of an attachment was uploaded")


def _send_about_new(graph: GraphRequests, call: Call, deadline: float) -> Answer:
    """Send a request about a message that was created a moment ago, which not every server knows yet."""
    for pause in _YOUNG_WAITS:
        answer = graph.send(call, deadline)
        if answer.status != HTTPStatus.NOT_FOUND:
            return answer
        graph.sleep(pause)
    answer = graph.send(call, deadline)
    if answer.status == HTTPStatus.NOT_FOUND:
        raise RetryError("a message that was just created is not there")
    return answer


def _attached(graph: GraphRequests, message_path: str) -> int:
    try:
        return sum(1 for _ in graph.listed(f"{message_path}/attachments?$select=id", "attachments were counted"))
    except ItemError as error:  # the message is gone, or not every server knows it yet
        raise RetryError(f"attachments were counted: {error}") from error


def _upload_url(answer: Answer) -> str:
    url = str(answer.fields.get("uploadUrl"))
    if not url.startswith("https://"):
        raise RetryError("an upload session was opened: Graph gave no https address for it")
    return url


def _next_offset(answer: Answer) -> int | None:
    """Return where an upload goes on; Outlook gives ``["2097152"]``, other services ``["2097152-"]``."""
    body = {name.lower(): value for name, value in answer.fields.items()}
    ranges = body.get("nextexpectedranges") or [""]
    found = re.match(r"[0-9]{1,12}", str(ranges[0]))
    return int(found[0]) if found else None


def _exactly(source: BinaryIO, size: int) -> bytes:
    parts = []
    missing = size
    while missing and (part := source.read(missing)):
        parts.append(part)
        missing -= len(part)
    if missing:
        raise IntegrityError("an attachment is shorter than its record says")
    return b"".join(parts)
