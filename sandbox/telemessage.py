"""A TeleMessage site that keeps to the export contract (telemessage-archive.openapi.yaml) to the letter."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import math
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.faults import FAULTS_PATH, Faults, faults_route
from sandbox.media import Content, size_and_digest
from sandbox.world import World

LONGEST_WINDOW = timedelta(days=31)
EPOCH = datetime(1, 1, 1, tzinfo=UTC)

_EXPORT_ID = re.compile(r"x(?P<begin>[0-9a-f]+)-(?P<end>[0-9a-f]+)")
# RFC 3339 section 5.6: an offset is not optional, T and Z may be small.
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ONE_RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)", re.ASCII)

_encode = msgspec.json.Encoder().encode


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True, slots=True)
class Site:
    """Hold what the site knows: a world, an account, the tokens it gave out and the exports it has frozen."""

    world: World
    username: str
    password: str
    faults: Faults = field(default_factory=Faults)
    token_lifetime: timedelta = timedelta(hours=1)
    clock: Callable[[], datetime] = _now
    _tokens: dict[str, datetime] = field(default_factory=dict)
    _exports: dict[str, dict[str, Any]] = field(default_factory=dict)
    _freezing: threading.Lock = field(default_factory=threading.Lock)

    def token(self) -> str:
        """Give out a new bearer token."""
        token = secrets.token_urlsafe(24)
        self._tokens[token] = self.clock() + self.token_lifetime
        return token

    def knows(self, token: str) -> bool:
        """Say whether a token was given out here and has not expired."""
        return self._tokens.get(token, EPOCH) > self.clock()

    def forget(self, token: str) -> None:
        """Let a token expire now."""
        self._tokens.pop(token, None)

    def export(self, begin: datetime, end: datetime) -> dict[str, Any]:
        """List the window's batches. The list is kept, their content is not: it is made again when it is asked for."""
        export_id = f"x{_microseconds(begin):x}-{_microseconds(end):x}"
        with self._freezing:
            if export_id not in self._exports:
                count = self.world.count(begin, end)
                size = self.world.batch_size
                self._exports[export_id] = {
                    "exportId": export_id,
                    "itemCount": count,
                    "batches": [
                        self._listed(begin, end, number, min(size, count - number * size))
                        for number in range(-(-count // size))
                    ],
                }
            return self._exports[export_id]

    def _listed(self, begin: datetime, end: datetime, number: int, count: int) -> dict[str, Any]:
        content = self._content(begin, end, number)
        return {
            "batchId": f"b{number:05d}",
            "itemCount": count,
            "byteCount": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }

    def batch(self, export_id: str, batch_id: str) -> tuple[bytes, int] | None:
        """Return a batch's bytes and its number of items, or None when there is no such batch."""
        window = _EXPORT_ID.fullmatch(export_id)
        if window is None or not re.fullmatch(r"b[0-9]{5,}", batch_id):
            return None
        begin, end = (EPOCH + timedelta(microseconds=int(moment, 16)) for moment in window.groups())
        number = int(batch_id[1:])
        if not begin < end <= self.clock() or end - begin > LONGEST_WINDOW:
            return None
        content = self._content(begin, end, number)
        return (content, content.count(b"\n")) if content else None

    def _content(self, begin: datetime, end: datetime, number: int) -> bytes:
        """Make a batch as JSON Lines (https://jsonlines.org); JSON writes a line feed inside a text as \\n."""
        first = number * self.world.batch_size
        items = self.world.items_of(begin, end, first, first + self.world.batch_size)
        return b"".join(_encode(item) + b"\n" for item in items)


def telemessage_app(site: Site) -> Starlette:
    """Serve the site."""
    app = Starlette(
        routes=[
            Route("/rest/archive/login", _login, methods=["POST"]),
            Route("/rest/archive/exports", _exports, methods=["POST"]),
            Route("/rest/archive/exports/{export_id}/batches/{batch_id}", _batch, methods=["GET"]),
            Route("/rest/archive/attachments/{attachment_id}", _attachment, methods=["GET"]),
            faults_route(site.faults),
        ],
        middleware=[Middleware(Struck, faults=site.faults)],
        exception_handlers={HTTPException: _refusal},
    )
    app.state.site = site
    return app


class Struck:
    """Let faults strike: `slow`, `status` and `cut` here; `expired_token`, `wrong_digest` and `gone` further in."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it go wrong."""
        if scope["type"] != "http" or scope["path"] == FAULTS_PATH:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if slow := self._faults.take("slow", path):
            await asyncio.sleep(float(slow.get("seconds", 1)))
        status = self._faults.take("status", path)
        if status is not None:
            headers = {"Retry-After": str(status["retry_after"])} if "retry_after" in status else None
            error = {"error": str(status.get("message", "as ordered"))}
            await JSONResponse(error, int(status.get("status", 503)), headers)(scope, receive, send)
            return
        cut = self._faults.take("cut", path)
        await self._app(scope, receive, send if cut is None else _cutting(send, float(cut.get("share", 0.5))))


def _cutting(send: Send, share: float) -> Send:
    """Send a share of the body and never its end: the server closes the connection of an answer left unfinished."""

    left = 0

    async def sending(message: Message) -> None:
        nonlocal left
        if message["type"] == "http.response.start":
            left = int(int(Headers(raw=message["headers"]).get("content-length", "0")) * share)
        else:
            body = message.get("body", b"")[:left]
            left -= len(body)
            message = {"type": message["type"], "body": body, "more_body": True}
        await send(message)

    return sending


async def _login(request: Request) -> Response:
    site: Site = request.app.state.site
    body = await _json(request, {"username", "password"})
    if (body["username"], body["password"]) != (site.username, site.password):
        raise HTTPException(401, "wrong user name or password")
    return JSONResponse({"accessToken": site.token(), "expiresIn": int(site.token_lifetime.total_seconds())})


async def _exports(request: Request) -> Response:
    site = _entered(request)
    body = await _json(request, {"network", "from", "to"})
    if body["network"] != "O2":
        raise HTTPException(400, "network must be O2")
    begin, end = _moment(body["from"]), _moment(body["to"])
    if begin >= end:
        raise HTTPException(422, "from must be before to")
    if end - begin > LONGEST_WINDOW:
        raise HTTPException(422, "a window may be 31 days long, not longer")
    missing = (end - site.clock()).total_seconds()
    if missing > 0:
        raise HTTPException(409, "the window is not closed yet", {"Retry-After": str(math.ceil(missing))})
    return JSONResponse(await run_in_threadpool(site.export, begin, end))


async def _batch(request: Request) -> Response:
    site = _entered(request)
    found = await run_in_threadpool(site.batch, request.path_params["export_id"], request.path_params["batch_id"])
    if found is None:
        raise HTTPException(404, "no such batch")
    content, count = found
    headers = {"X-Item-Count": str(count), "Content-Type": "application/x-ndjson", "Vary": "Accept-Encoding"}
    digest = hashlib.sha256(content).hexdigest()
    return _served(request, Content(head=content), digest, headers, may_be_gzip=True)


async def _attachment(request: Request) -> Response:
    site = _entered(request)
    media = await run_in_threadpool(site.world.attachment, request.path_params["attachment_id"])
    if media is None:
        raise HTTPException(404, "no such attachment")
    if site.faults.take("gone", request.url.path) is not None:
        raise HTTPException(410, "no longer kept")
    content = await run_in_threadpool(media.made)
    _, digest = await run_in_threadpool(size_and_digest, media)
    return _served(request, content, digest, {"Content-Type": "application/octet-stream"}, may_be_gzip=False)


def _served(request: Request, content: Content, digest: str, headers: dict[str, str], *, may_be_gzip: bool) -> Response:
    """Answer with the whole or the range that was asked for (RFC 9110 sections 13 and 14), a piece after the other."""
    site: Site = request.app.state.site
    size = content.size
    wrong = size // 2 if size and site.faults.take("wrong_digest", request.url.path) is not None else None
    asked = request.headers.get("range")
    # A range is always one of the bytes that the digest is of; gzip would have an entity tag and ranges of its own.
    zipped = may_be_gzip and asked is None and _accepts_gzip(request.headers.get("accept-encoding", ""))
    etag = f'"{digest}-gzip"' if zipped else f'"{digest}"'
    headers = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if zipped:
        headers["Content-Encoding"] = "gzip"
        whole = b"".join(_altered(content, range(size), wrong))
        return Response(gzip.compress(whole, compresslevel=1, mtime=0), headers=headers)
    status, span = 200, range(size)
    if asked is not None and request.headers.get("if-range", etag) == etag:
        part = _span(asked, size)
        if part is not None and not part:
            return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
        if part is not None:
            status, span = 206, part
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    headers["Content-Length"] = str(len(span))
    return StreamingResponse(_altered(content, span, wrong), status, headers)


def _altered(content: Content, span: range, wrong: int | None) -> Iterator[bytes]:
    """Yield the bytes of a span in pieces; the one at `wrong` is another."""
    start = span.start
    for piece in content.pieces(span.start, span.stop):
        if wrong is not None and start <= wrong < start + len(piece):
            at = wrong - start
            yield piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
        else:
            yield piece
        start += len(piece)


def _span(asked: str, length: int) -> range | None:
    """Return the bytes that a Range header asks for: none at all if they lie outside, None if it is to be ignored."""
    parts = _ONE_RANGE.fullmatch(asked)
    if parts is None or parts["first"] == parts["last"] == "":
        return None
    if not parts["first"]:
        return range(max(0, length - int(parts["last"])), length)
    first = int(parts["first"])
    last = int(parts["last"]) if parts["last"] else length - 1
    if parts["last"] and last < first:
        return None
    return range(first, min(last + 1, length))


def _accepts_gzip(header: str) -> bool:
    for coding in header.lower().replace(" ", "").split(","):
        name, _, weight = coding.partition(";q=")
        if name == "gzip":
            return not re.fullmatch(r"0(\.0*)?", weight)
    return False


def _entered(request: Request) -> Site:
    """Return the site to a request that bears a token which is still good."""
    site: Site = request.app.state.site
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if site.faults.take("expired_token", request.url.path) is not None:
        site.forget(token)
    if scheme.lower() != "bearer" or not site.knows(token):
        raise HTTPException(401, "no token, or one that has expired")
    return site


async def _json(request: Request, names: set[str]) -> dict[str, str]:
    """Return the body's members of these names, which must all be there and be strings."""
    try:
        body = await request.json()
    except ValueError as error:
        raise HTTPException(400, "the body must be JSON") from error
    if not isinstance(body, dict) or not all(isinstance(body.get(name), str) for name in names):
        raise HTTPException(400, f"the body must have the strings {', '.join(sorted(names))}")
    return {name: body[name] for name in names}


def _moment(text: str) -> datetime:
    try:
        if _DATE_TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise HTTPException(400, "from and to must be RFC 3339 date-times with an offset")


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


async def _refusal(_: Request, error: Exception) -> Response:
    """Answer with a sentence; a 401 says how to log in (RFC 9110 section 15.5.2)."""
    if not isinstance(error, HTTPException):
        raise error
    headers = {**(error.headers or {}), **({"WWW-Authenticate": "Bearer"} if error.status_code == 401 else {})}
    return JSONResponse({"error": error.detail}, error.status_code, headers)
