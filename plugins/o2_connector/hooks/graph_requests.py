"""Hold the conversation with one tenant's Graph: requests, one by one or twenty in a batch, and their answers.

What to do about an answer is `core/graph_errors.py`'s to say; here it is done, as far as sending again and waiting go.
No answer and no URL is quoted in an error, so that neither a log nor a traceback shows one.
"""

from __future__ import annotations

import copy
import itertools
import logging
import random
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import quote

import msgspec
import requests
import urllib3

from o2_connector.core.errors import ConnectorError, RetryError, StopError
from o2_connector.core.graph_errors import (
    ANSWER_LOST,
    NO_ANSWER,
    NOT_SENT,
    Verdict,
    effect_unknown,
    error_code,
    failure,
    judge,
)
from o2_connector.hooks.graph_login import Access, Login
from o2_connector.hooks.transport import backoff, is_untrusted, new_session, parse_retry_after

BATCH_LIMIT = 20
"""Requests in one ``$batch`` (Microsoft Graph, "Combine multiple requests")."""

_PREFER = 'IdType="ImmutableId"'  # ids that survive a move (Microsoft Graph, "Obtain immutable identifiers")


Gate: TypeAlias = Callable[[int], AbstractContextManager[None]]
"""Holds a request back until it may be sent; entered with the bytes of its body, left when it is answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Describe one request to Graph.

    :param path: below the service root, starting with a slash, quoted, with its query.
    :param body: fields, or JSON that is encoded already.
    :param repeatable: whether executing it twice does no more than once; others are never sent again when it is
        not known whether they were executed.
    """

    method: str
    path: str
    body: Mapping[str, Any] | msgspec.Raw | None = None
    repeatable: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Hold what Graph answered, or that it did not (`graph_errors.NO_ANSWER`).

    :param code: Graph's error code, where the answer is an error.
    :param retry_after: seconds.
    :param content: JSON, decoded when somebody asks for what is in it.
    """

    status: int
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    content: bytes | msgspec.Raw = b""

    @property
    def ok(self) -> bool:
        """Tell whether the request was done."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def verdict(self) -> Verdict:
        """Return what to do about it."""
        return judge(self.status, self.code)

    @property
    def fields(self) -> Mapping[str, Any]:
        """Return the fields of what came; none where it is no object."""
        body = msgspec.json.decode(self.content) if self.content else None
        return body if isinstance(body, dict) else {}

    @property
    def effect_unknown(self) -> bool:
        """Tell whether the request may have been executed although this says otherwise."""
        return effect_unknown(self.status, self.code, retry_after=self.retry_after)

    def entries(self, what: str) -> list[dict[str, Any]]:
        """Return the entries of a list."""
        entries = self.fields.get("value")
        if not isinstance(entries, list):
            raise RetryError(f"{what}: Graph's answer is no list")
        return entries

    def failure(self, what: str) -> ConnectorError:
        """Return the error that this answer calls for."""
        return failure(
            what, status=self.status, code=self.code, request_id=self.request_id, retry_after=self.retry_after
        )


def get(path: str) -> Call:
    """Describe a request that reads."""
    return Call(method="GET", path=path, repeatable=True)


def post(path: str, body: Mapping[str, Any] | msgspec.Raw | None = None, *, repeatable: bool = False) -> Call:
    """Describe a request that makes something."""
    return Call(method="POST", path=path, body=body, repeatable=repeatable)


@lru_cache(maxsize=4096)  # the same few ids in every request
def quoted(value: str) -> str:
    """Return a value, an id for one, as one part of a path."""
    return quote(value, safe="")


def literal(value: str) -> str:
    """Return a text for use between OData's quotes (OData 4.01 URL conventions, 5.1.1.6.1)."""
    return value.replace("'", "''")


class GraphRequests:
    """Send requests to one tenant's Graph, again while that is safe and may help.

    Threads may share one: the session keeps them their connections, the login guards its token, and nothing else is
    kept from one request to the next. A thread that waits holds up no other.

    After a 429, a 503 and their like a request is sent again, never sooner than Retry-After says, while its deadline
    allows; one that is not repeatable only where Graph cannot have executed it. What is no success even then comes
    back as an :class:`Answer`, for the caller to judge. Raised is what concerns every request and no wait heals
    (:class:`StopError`): a login that is refused, a certificate that does not verify.

    :param patience_seconds: how long one request is tried.
    :param settle_seconds: how long :meth:`settle` waits.
    :param sleep: waits, in seconds.
    :param clock: counts seconds, from any start.
    """

    def __init__(
        self,
        access: Access,
        *,
        patience_seconds: float,
        settle_seconds: float,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        # At DEBUG urllib3 logs each request's URL, and that of an upload session is a key to a mailbox
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
        self.session = new_session(ca_file=access.ca_file)
        self.login = Login(access, new_session(ca_file=access.ca_file))
        self.sleep = sleep
        self._access = access
        self._patience_seconds = patience_seconds
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._gate: Gate = _no_gate
        self._heard: Callable[[Answer], object] = _nothing

    def gated(
        self,
        gate: Gate,
        *,
        heard: Callable[[Answer], object] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> GraphRequests:
        """Return the same conversation with a gate, which every request passes before it is sent, and after.

        :param heard: called with every answer.
        :param sleep: waits, in place of this one's.
        """
        other = copy.copy(self)
        other._gate, other._heard = gate, heard or _nothing
        other.sleep = sleep or self.sleep
        return other

    def batch(self, calls: Sequence[Call]) -> list[Answer]:
        """Send up to 20 requests as one and return their answers in the same order.

        Each is sent again by itself, when it may be, after the longest Retry-After among them. Answers that are still
        no success then are returned as they are: the caller judges.
        """
        answers: dict[int, Answer] = {}
        waiting = dict(enumerate(calls))
        deadline = self.deadline()
        for attempt in itertools.count():
            places = list(waiting)
            answers |= zip(places, self.batch_once(list(waiting.values()))[0], strict=True)
            waiting = {place: call for place, call in waiting.items() if _may_repeat(call, answers[place])}
            longest = max((answers[place].retry_after or 0.0 for place in waiting), default=0.0)
            if not (waiting and self.wait(backoff(attempt, retry_after=longest), deadline)):
                break
        return [answers[place] for place in range(len(calls))]

    def batch_once(self, calls: Sequence[Call]) -> tuple[list[Answer], Answer]:
        """Send up to 20 requests as one, once; return their answers in the same order, and that of the whole.

        Where the whole was no success, its answer is each one's.
        """
        if len(calls) > BATCH_LIMIT:
            raise ValueError(f"a batch takes {BATCH_LIMIT} requests, not {len(calls)}")
        body = {"requests": [_sub_request(place, call) for place, call in enumerate(calls)]}
        whole = self.send_once(post("/$batch", body))
        if not whole.ok:
            return [whole] * len(calls), whole
        answers = [Answer(status=NO_ANSWER, code=ANSWER_LOST)] * len(calls)
        try:
            responses = _RESPONSES.decode(whole.content).responses
        except msgspec.DecodeError:
            responses = ()
        for each in responses:
            place = int(each.id) if each.id.isdecimal() else -1
            if 0 <= place < len(calls):
                answers[place] = _answer(each.status, each.headers or {}, each.body)
        return answers, whole

    def listed(self, path: str, what: str) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list over all of its pages."""
        seen = set()
        following: str | None = path
        while following is not None:
            if following in seen:
                raise RetryError(f"{what}: Graph gave the same page twice")
            seen.add(following)
            answer = self.send(get(following), self.deadline())
            if not answer.ok:
                raise answer.failure(what)
            yield from answer.entries(what)
            link = answer.fields.get("@odata.nextLink")
            following = None if link is None else self.below_root(str(link))

    def below_root(self, link: str) -> str:
        """Return the path of a page that Graph says follows.

        :raises StopError: when it lies elsewhere.
        """
        root = self._access.graph_url
        if not link.startswith(f"{root}/"):  # the token goes to the configured Graph alone
            raise StopError("Graph's next page lies on another host; check graph_url")
        return link.removeprefix(root)

    def send(self, call: Call, deadline: float) -> Answer:
        """Send a request, again while that is safe and may help, and return the last answer."""
        attempt = 0
        answer = self.send_once(call)
        while _may_repeat(call, answer) and self.wait(backoff(attempt, retry_after=answer.retry_after), deadline):
            attempt += 1
            answer = self.send_once(call)
        return answer

    def send_once(self, call: Call) -> Answer:
        """Send a request once; a second time only with a fresh token, when the first had been revoked."""
        url = self._access.graph_url + call.path
        data = None if call.body is None else msgspec.json.encode(call.body)
        answer = self._attempt_with_token(call.method, url, data)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self.login.forget()
            answer = self._attempt_with_token(call.method, url, data)
        return answer

    def _attempt_with_token(self, method: str, url: str, data: bytes | None) -> Answer:
        try:
            token = self.login.token()
        except RetryError as error:
            return Answer(status=NO_ANSWER, code=NOT_SENT, retry_after=error.retry_after)
        headers = {"Authorization": f"Bearer {token}", "Prefer": _PREFER, "client-request-id": _request_id()}
        if data is not None:
            headers["Content-Type"] = "application/json"
        return self.attempt(method, url, data=data, headers=headers)

    def attempt(self, method: str, url: str, *, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send one request once, with these headers alone: no token, for it is not every URL's to know.

        A connection that fails is an answer too (its error would quote the URL).
        """
        untrusted = False
        code = ANSWER_LOST
        try:
            with self._gate(len(data or b"")):
                response = self.session.request(method, url, data=data, headers=headers)
        except requests.TooManyRedirects as error:  # the session follows none
            return Answer(status=HTTPStatus.FOUND if error.response is None else error.response.status_code)
        except requests.RequestException as error:
            untrusted = is_untrusted(error)
            code = NOT_SENT if _never_connected(error) else ANSWER_LOST
        else:
            if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                self.session.close()  # the next try meets another server (Microsoft Graph, "Best practices")
            answer = _read(response)
            self._heard(answer)
            return answer
        if untrusted:
            raise StopError("Graph's certificate does not verify; name the authority's PEM file as ca_file")
        return Answer(status=NO_ANSWER, code=code)

    def deadline(self) -> float:
        """Return when to give up what begins now, by the clock of :meth:`wait`."""
        return self._clock() + self._patience_seconds

    def is_past(self, deadline: float) -> bool:
        """Tell whether it is time to give up."""
        return self._clock() >= deadline

    def settle(self) -> None:
        """Wait, after an answer was lost, until a write that timed out has landed if it ever will."""
        self.sleep(self._settle_seconds)

    def wait(self, seconds: float, deadline: float) -> bool:
        """Wait, and return whether there was time for it."""
        if self._clock() + seconds > deadline:
            return False
        self.sleep(seconds)
        return True


def _no_gate(_: int) -> AbstractContextManager[None]:
    return nullcontext()


def _nothing(_: Answer) -> None:
    """Hear an answer that concerns nobody else."""


def _may_repeat(call: Call, answer: Answer) -> bool:
    return answer.verdict is Verdict.TRANSIENT and (call.repeatable or not answer.effect_unknown)


class _Response(msgspec.Struct):
    id: str
    status: int
    headers: dict[str, Any] | None = None
    body: msgspec.Raw = msgspec.Raw(b"")


class _Responses(msgspec.Struct):
    responses: tuple[_Response, ...] = ()


_RESPONSES = msgspec.json.Decoder(_Responses)
_JSON = msgspec.json.Decoder(msgspec.Raw)


def _sub_request(place: int, call: Call) -> dict[str, Any]:
    headers = {"Prefer": _PREFER, "client-request-id": _request_id()}
    request: dict[str, Any] = {"id": str(place), "method": call.method, "url": call.path, "headers": headers}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
        request["body"] = call.body
    return request


def _request_id() -> str:
    """Return a GUID for Graph's own logs; from a generator that is seeded once, for each asks the kernel else."""
    return str(uuid.UUID(int=_RANDOM.getrandbits(128), version=4))


_RANDOM = random.Random()  # noqa: S311  a number to find a request by, no secret


def _read(response: requests.Response) -> Answer:
    content = response.content
    try:
        if content:
            _JSON.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if response.ok:  # a gateway's page in place of Graph's answer
            return Answer(status=NO_ANSWER, code=ANSWER_LOST)
        content = b""
    return _answer(response.status_code, response.headers, content)


def _answer(status: int, headers: Mapping[str, Any], content: bytes | msgspec.Raw) -> Answer:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer(status=status, content=content)
    named = {name.lower(): str(value) for name, value in headers.items()}
    request_id = named.get("request-id", "")
    return Answer(
        status=status,
        code=error_code(msgspec.json.decode(content)) if content else None,
        request_id=request_id if re.fullmatch(r"[0-9A-Za-z-]{1,64}", request_id) else None,
        retry_after=parse_retry_after(named.get("retry-after"), now=datetime.now(UTC)),
        content=content,
    )


def _never_connected(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    cause = error.args[0] if error.args else None
    if isinstance(cause, urllib3.exceptions.ClosedPoolError):  # another thread met a 503 and dropped the connections
        return True
    return isinstance(getattr(cause, "reason", None), urllib3.exceptions.NewConnectionError)
