"""The tenant over HTTP: one ASGI application for sign-in, Graph, `$batch`, uploads, the page and the test's own doors.

It is written to ASGI itself: a sub-request of a `$batch` takes the same way as a request, and a day's import asks
for thousands of creates a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from datetime import datetime
from functools import lru_cache
from itertools import count, islice
from typing import Any, Final
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from sandbox.graph import attachments, entra, login, outlook, pages, programs
from sandbox.graph.refusals import Refused, not_served
from sandbox.graph.store import Mailbox
from sandbox.graph.tenant import Answer, Call, Tenant

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_REQUEST: Final = 4 * 1024 * 1024
MAX_STEPS: Final = 20
# "Graph dispatches 4 at a time" of one mailbox's sub-requests (throttling page, Outlook and $batch)
DISPATCHED_AT_ONCE: Final = 4
JSON: Final = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
LINES_AT_ONCE: Final = 200
UPLOADING: Final = frozenset({"POST", "PUT", "PATCH"})
_encode = msgspec.json.Encoder().encode


class Cut(Exception):
    """Close the connection without an answer."""


class Step(Struct, kw_only=True, omit_defaults=True):
    """Hold one request of a batch."""

    id: str
    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Raw | UnsetType = UNSET
    dependsOn: list[str] | None = None


class Batch(Struct, kw_only=True):
    """Hold the body of `$batch`."""

    requests: list[Step]


def graph_app(tenant: Tenant) -> App:
    """Make the ASGI application that serves a tenant."""
    return GraphApp(tenant)


class GraphApp:
    """Serve one tenant."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self._request_ids = (f"{prefix}{number:012x}" for prefix in [str(uuid4())[:24]] for number in count(1))
        self._late: set[asyncio.TimerHandle] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope.get("raw_path", scope["path"].encode()).partition(b"?")[0].decode("latin-1")
        if path == programs.MESSAGES_PATH:
            await _stream(send, programs.messages(self.tenant))
            return
        request_id = next(self._request_ids)
        try:
            answer = await self._answer(scope, receive, headers, path)
        except Refused as refused:
            answer = self._refusal(refused, request_id, headers.get("client-request-id"))
        except Cut:
            await _hang_up(receive, send)
            return
        await _send(send, answer, request_id, headers.get("client-request-id"))

    async def _answer(self, scope: Scope, receive: Receive, headers: dict[str, str], path: str) -> Answer:
        parts = path.split("/")[1:]
        head = parts[0].lower()
        if head == "v1.0":
            return await self._graph(scope, receive, headers, path)
        if head == "upload" and len(parts) == 2:
            return await self._upload(scope, receive, headers, path, parts[1])
        query = scope["query_string"].decode("latin-1")
        if head in {"mailboxes", ""} and scope["method"] in {"GET", "HEAD"}:
            return pages.serve(self.tenant, [unquote(part) for part in parts[1:]], query)
        body = await _read(receive, None)
        if head == "_sandbox":
            return programs.serve(self.tenant, scope["method"], path, body)
        await self._strike(scope["method"], path)
        return self._sign_in(parts, headers, body)

    # sign-in

    def _sign_in(self, parts: list[str], headers: dict[str, str], body: bytes) -> Answer:
        tenant, now = self.tenant, self.tenant.clock()
        host = headers.get("host", "localhost")
        action = "/".join(parts[1:]).lower()
        if action not in {"oauth2/v2.0/token", "v2.0/.well-known/openid-configuration"}:
            raise Refused(404, "itemNotFound", "There is nothing at this address.")
        try:
            if parts[0].lower() != tenant.tenant_id.lower():
                raise login.unknown_tenant(parts[0])
            if action.startswith("v2.0"):
                return Answer(200, _encode(login.openid_configuration(host, tenant.tenant_id)))
            form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
            roles = login.check_sign_in(form, tenant.application, tenant.tenant_id, host, now)
        except login.SignInRefused as refused:
            trace = headers.get("client-request-id") or str(uuid4())
            return Answer(refused.status, _encode(refused.body(now, trace)))
        token = tenant.give_token(roles, now)
        seconds = tenant.token_seconds
        granted = {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}
        return Answer(200, _encode(granted))

    # Graph

    async def _graph(self, scope: Scope, receive: Receive, headers: dict[str, str], path: str) -> Answer:
        tenant = self.tenant
        now = tenant.clock()
        roles = tenant.roles_of(headers.get("authorization", ""), now)
        method = scope["method"]
        parts = _segments(path)[1:]
        call = Call(
            method=method,
            parts=parts,
            query=scope["query_string"].decode("latin-1"),
            prefer=headers.get("prefer", ""),
            content_type=headers.get("content-type", "").lower(),
            body=b"",
            roles=roles,
            host=headers.get("host", "localhost"),
            now=now,
        )
        if parts and parts[0].lower() == "$batch":
            await self._strike(method, path)
            call = call._replace(body=await _read(receive, MAX_REQUEST))
            answer = await self._batch(call)
            await self._strike_after(method, path)
            return answer
        mailbox = self._metered(parts)
        meter = mailbox.meter if mailbox else None
        granted = meter.enter(1, now) if meter else 1
        try:
            call = call._replace(body=await _read(receive, MAX_REQUEST))
            if meter:
                meter.count(now, len(call.body) if method in UPLOADING else 0)
                if not granted:
                    raise meter.over_concurrency()
            await self._strike(method, path, lambda: self._execute(call, path))
            begun = await self._turn()
            answer = self._execute(call, path)
            await self._take_time(begun, 1)
            await self._strike_after(method, path)
            return answer
        finally:
            if meter:
                meter.leave(1)

    def _metered(self, parts: tuple[str, ...]) -> Mailbox | None:
        if outlook.is_mail(parts) and parts[0].lower() == "users":
            return self.tenant.mailbox(parts[1])
        return None

    def _execute(self, call: Call, path: str) -> Answer:
        parts = call.parts
        if parts and parts[0].lower() == "directory":
            return entra.serve_deleted(self.tenant, call)
        if not parts or parts[0].lower() != "users":
            raise not_served(parts[0] if parts else "")
        if not outlook.is_mail(parts):
            return entra.serve(self.tenant, call)
        if (
            call.method == "POST"
            and parts[-1].lower() == "attachments"
            and self.tenant.faults.take("attachment_404", path) is not None
        ):
            # corso: "Sometimes graph returns a 404 when we try to post the attachment"
            raise Refused(404, "ErrorItemNotFound", "The specified object was not found in the store.")
        mailbox = self.tenant.open_mailbox(parts[1])
        return outlook.serve(self.tenant, mailbox, call._replace(roles=call.roles | self.tenant.exchange_roles))

    async def _upload(self, scope: Scope, receive: Receive, headers: dict[str, str], path: str, key: str) -> Answer:
        tenant = self.tenant
        now = tenant.clock()
        upload = tenant.uploads.get(key)
        meter = upload.mailbox.meter if upload else None
        granted = meter.enter(1, now) if meter else 1
        try:
            body = await _read(receive, MAX_REQUEST)
            if meter:
                meter.count(now, len(body))
                if not granted:
                    raise meter.over_concurrency()
            call = Call(
                method=scope["method"],
                parts=(),
                query=scope["query_string"].decode("latin-1"),
                prefer="",
                content_type="",
                body=body,
                roles=frozenset(),
                host=headers.get("host", "localhost"),
                now=now,
            )
            await self._strike(call.method, path)
            begun = await self._turn()
            authorization, content_range = headers.get("authorization", ""), headers.get("content-range", "")
            answer = attachments.serve_upload(tenant, call, key, authorization, content_range)
            await self._take_time(begun, 1)
            await self._strike_after(call.method, path)
            return answer
        finally:
            if meter:
                meter.leave(1)

    async def _turn(self) -> float:
        """Let in what has arrived at the same time, to be counted; return the time.

        Three turns of the event loop: one reads what waits at the sockets, one starts its requests, one comes back.
        """
        now = asyncio.get_running_loop().time()
        for _ in range(3):
            await asyncio.sleep(0)
        return now

    async def _take_time(self, begun: float, rounds: int) -> None:
        """Hold an answer back until its request has taken as long as requests take."""
        if self.tenant.latency:
            ends = begun + self.tenant.latency * rounds
            await asyncio.sleep(max(0.0, ends - asyncio.get_running_loop().time()))

    # faults

    async def _strike(self, method: str, path: str, execute: Callable[[], Answer] | None = None) -> None:
        """Let go wrong before the execution what was asked to: slow, status, cut, late."""
        faults = self.tenant.faults
        if method == "POST" and (detail := faults.take("slow", path)) is not None:
            await asyncio.sleep(float(detail.get("seconds", 1)))
        if (detail := faults.take("status", path)) is not None:
            raise _faulty(detail)
        if faults.take("cut", path) is not None:
            raise Cut
        if execute is not None and method == "POST" and (detail := faults.take("late", path)) is not None:
            self._execute_late(execute, float(detail.get("seconds", 1)))
            raise _gateway_timeout()

    async def _strike_after(self, method: str, path: str) -> None:
        """Lose the answer to what has been executed: the connection closes, or `how` is "504"."""
        if method == "POST" and (detail := self.tenant.faults.take("executed_but_lost", path)) is not None:
            if str(detail.get("how")) == "504":
                raise _gateway_timeout()
            raise Cut

    def _execute_late(self, execute: Callable[[], Answer], seconds: float) -> None:
        def run() -> None:
            self._late.discard(handle)
            try:
                execute()
            except Refused:
                return  # nobody is waiting for the answer any more

        handle = asyncio.get_running_loop().call_later(seconds, run)
        self._late.add(handle)

    # $batch

    async def _batch(self, call: Call) -> Answer:
        """Run up to twenty requests; outer 200, each with its own status, in no promised order.

        docs-contrib `concepts/json-batching.md`.
        """
        if call.method != "POST":
            raise Refused(405, "MethodNotAllowed", "A batch is posted.")
        steps = _steps(call.body)
        if not steps:
            return Answer(200, b'{"responses":[]}')
        calls = {step.id: _sub_call(step, call) for step in steps}
        order = _in_dependency_order(steps)
        mailboxes = {name: self._metered(sub_call.parts) for name, sub_call in calls.items()}
        granted, entered = _enter_batch(order, mailboxes, call.now)
        try:
            begun = await self._turn()
            statuses: dict[str, int] = {}
            responses = []
            for step in order:
                if any(statuses[name] >= 400 for name in step.dependsOn or ()):
                    refused = Refused(424, "FailedDependency", "A request that this one depends on has failed.")
                    answer = self._refusal(refused, next(self._request_ids), None)
                else:
                    answer = await self._step(calls[step.id], step, mailboxes[step.id], step.id in granted)
                statuses[step.id] = answer.status
                responses.append(_response(step.id, answer))
            await self._take_time(
                begun, max((-(-len(steps) // _width(steps)) for steps in entered.values()), default=1)
            )
        finally:
            for mailbox, steps_of_mailbox in entered.items():
                mailbox.meter.leave(_width(steps_of_mailbox))
        # The order is not promised; turn it round, so that nobody comes to rely on it.
        responses.reverse()
        return Answer(200, _encode({"responses": responses}))

    async def _step(self, call: Call, step: Step, mailbox: Mailbox | None, granted: bool) -> Answer:
        path = "/v1.0/" + step.url.partition("?")[0].lstrip("/")
        try:
            if mailbox is not None:
                mailbox.meter.count(call.now, len(call.body) if call.method in UPLOADING else 0)
                if not granted:
                    raise mailbox.meter.over_concurrency()
            await self._strike(call.method, path, lambda: self._execute(call, path))
            answer = self._execute(call, path)
            await self._strike_after(call.method, path)
        except Refused as refused:
            return self._refusal(refused, next(self._request_ids), step.headers.get("client-request-id"))
        except Cut:
            # Inside a batch there is no connection of the step's own to lose; the gateway answers for it.
            return self._refusal(_gateway_timeout(), next(self._request_ids), None)
        return answer

    def _refusal(self, refused: Refused, request_id: str, client_request_id: str | None) -> Answer:
        """Wrap a refusal in Graph's envelope (docs-contrib `concepts/errors.md`)."""
        error = {
            "code": refused.code,
            "message": refused.message,
            "innerError": {
                "date": self.tenant.clock().strftime("%Y-%m-%dT%H:%M:%S"),
                "request-id": request_id,
                "client-request-id": client_request_id or request_id,
            },
        }
        return Answer(refused.status, _encode({"error": error}), refused.headers)


@lru_cache(maxsize=4096)
def _segments(path: str) -> tuple[str, ...]:
    """Decode a path's segments; `users('x')` is `users/x` (OData's key in parentheses)."""
    segments: list[str] = []
    for part in path.split("/"):
        text = unquote(part) if "%" in part else part
        if text.endswith("')") and "('" in text:
            name, _, key = text[:-2].partition("('")
            segments += [name, key.replace("''", "'")] if name else [key]
        elif text:
            segments.append(text)
    return tuple(segments)


def _steps(body: bytes) -> list[Step]:
    try:
        steps = _BATCH.decode(body).requests
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(400, "BadRequest", "Invalid batch payload format.") from None
    if len(steps) > MAX_STEPS:
        message = f"Number of batch request steps exceeds the maximum value of {MAX_STEPS}."
        raise Refused(400, "MaximumValueExceeded", message)
    seen: set[str] = set()
    for step in steps:
        if not step.id or step.id in seen:
            raise Refused(400, "BadRequest", f"Request Id '{step.id}' is missing or not unique.")
        seen.add(step.id)
    for step in steps:
        step.headers = {name.lower(): value for name, value in step.headers.items()}
        if "://" in step.url.partition("?")[0] or step.url.lstrip("/").lower().startswith(("v1.0/", "$batch")):
            raise Refused(400, "BadRequest", f"Request Id '{step.id}': the url has to be relative, of no batch.")
        if step.body is not UNSET and "content-type" not in step.headers:
            message = f"Write request id : {step.id} does not contain Content-Type header or body."
            raise Refused(400, "BadRequest", message)
        if any(name not in seen or name == step.id for name in step.dependsOn or ()):
            raise Refused(400, "BadRequest", f"Request Id '{step.id}' depends on a request that is not there.")
    return steps


_BATCH = msgspec.json.Decoder(Batch)


def _sub_call(step: Step, outer: Call) -> Call:
    path, _, query = step.url.partition("?")
    body = b"" if step.body is UNSET else bytes(step.body)
    content_type = step.headers.get("content-type", "").lower()
    if body and "json" not in content_type:
        # json-batching.md: a body of another type travels as a base64 text; what MIME posts is base64 itself
        body = body.strip(b'"')
    return Call(
        method=step.method.upper(),
        parts=_segments(path),
        query=query,
        prefer=step.headers.get("prefer", ""),
        content_type=content_type,
        body=body,
        roles=outer.roles,
        host=outer.host,
        now=outer.now,
    )


def _in_dependency_order(steps: list[Step]) -> list[Step]:
    if not any(step.dependsOn for step in steps):
        return steps
    done: set[str] = set()
    order: list[Step] = []
    waiting = steps
    while waiting:
        ready = [step for step in waiting if done.issuperset(step.dependsOn or ())]
        if not ready:
            raise Refused(400, "BadRequest", "The requests of the batch depend on each other in a circle.")
        order += ready
        done.update(step.id for step in ready)
        waiting = [step for step in waiting if step.id not in done]
    return order


def _enter_batch(
    order: list[Step], mailboxes: dict[str, Mailbox | None], now: datetime
) -> tuple[set[str], dict[Mailbox, list[Step]]]:
    """Take the slots that the batch fills in each mailbox, and return the ids of the steps that find one."""
    entered: dict[Mailbox, list[Step]] = {}
    granted: set[str] = set()
    for step in order:
        mailbox = mailboxes[step.id]
        if mailbox is None:
            granted.add(step.id)
        else:
            entered.setdefault(mailbox, []).append(step)
    for mailbox, steps in entered.items():
        width = _width(steps)
        free = mailbox.meter.enter(width, now)
        granted.update(step.id for number, step in enumerate(steps) if number % width < free)
    return granted, entered


def _width(steps: list[Step]) -> int:
    """Return how many of one mailbox's steps are dispatched at once: four, or one where each waits for another."""
    free = sum(not step.dependsOn for step in steps)
    return min(DISPATCHED_AT_ONCE, max(1, free))


def _response(step_id: str, answer: Answer) -> dict[str, Any]:
    response: dict[str, Any] = {"id": step_id, "status": answer.status}
    if not answer.body:
        response["headers"] = {"Cache-Control": "private", **answer.headers}
        return response
    if answer.content_type == "application/json":
        response["headers"] = {"Cache-Control": "private", "Content-Type": JSON, **answer.headers}
        response["body"] = Raw(answer.body)
    else:
        response["headers"] = {"Cache-Control": "private", "Content-Type": answer.content_type, **answer.headers}
        response["body"] = answer.body.decode() if answer.content_type == "text/plain" else answer.body
    return response


def _faulty(detail: dict[str, Any]) -> Refused:
    status = int(detail.get("status", 503))
    headers = {"Retry-After": str(detail["retry_after"])} if "retry_after" in detail else {}
    code = str(detail.get("code", {429: "TooManyRequests", 503: "ServiceUnavailable"}.get(status, "UnknownError")))
    return Refused(status, code, str(detail.get("message", "The sandbox was asked to answer this.")), headers)


def _gateway_timeout() -> Refused:
    return Refused(504, "UnknownError", "")


# The wire -----------------------------------------------------------------------------------------------------------


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _read(receive: Receive, limit: int | None) -> bytes:
    """Read the body; above 4 MB 413 "Request Entity Too Large", whose text names the 4 MB (docs-contrib#682).

    The rest is read and dropped first: whoever is still sending would meet a closed connection in place of the answer.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        chunks, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Cut
            size += len(message.get("body", b""))
            if limit is None or size <= limit:
                chunks.append(message.get("body", b""))
            else:
                chunks.clear()
        if limit is not None and size > limit:
            raise _request_too_large()
        body = b"".join(chunks)
    elif limit is not None and len(body) > limit:
        raise _request_too_large()
    return body


def _request_too_large() -> Refused:
    return Refused(413, "BadRequest", "The maximum request length supported is 4MB.")


async def _send(send: Send, answer: Answer, request_id: str, client_request_id: str | None) -> None:
    content_type = JSON if answer.content_type == "application/json" else answer.content_type
    headers = [
        (b"content-length", str(len(answer.body)).encode("ascii")),
        (b"cache-control", b"private"),
        (b"request-id", request_id.encode("ascii")),
        (b"client-request-id", (client_request_id or request_id).encode("latin-1")),
    ]
    if answer.body:
        headers.append((b"content-type", content_type.encode("latin-1")))
    headers += [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _stream(send: Send, lines: Iterator[bytes]) -> None:
    headers = [(b"content-type", b"application/x-ndjson")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while chunk := b"".join(islice(lines, LINES_AT_ONCE)):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection without an answer.

    ASGI has no message for that; uvicorn's `send` belongs to the cycle that holds the transport. Under another server
    the client gets half an answer instead.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
    raise ConnectionError("the sandbox was asked to cut this connection")
