"""Talk with the TeleMessage site: freeze a window, read its batches and attachments.

Everything that knows the site's paths is in this file; a customer's gateway with other paths is one such file to write.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import requests
import urllib3
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from o2_connector.core.errors import ConnectorError, ItemError, RetryError, StopError
from o2_connector.core.source import AlteredError, AttachmentGone, Batch, Export, parse_export
from o2_connector.hooks.transport import (
    LONGEST_WAIT,
    backoff,
    for_the_form,
    https_url,
    is_untrusted,
    new_session,
    parse_retry_after,
)

TRIES = 4
"""Requests that one question may cost before the task's own retries take over."""

CHUNK = 64 * 1024
"""Most bytes held of a file, and what a reading must gain to count as progress."""

STALLS = 5
"""Breaks in a row without progress that end a reading."""


class TeleMessageHook(BaseHook):
    """Read what the O2 network captured, from the TeleMessage archive.

    :param telemessage_conn_id: connection with the site's host (https only), login and password, and in its extra
        optionally ``ca_file``, a PEM file of the only authorities to trust.
    :param sleep: waits between tries, in seconds.
    :param clock: counts seconds, for the age of the login.
    """

    conn_name_attr = "telemessage_conn_id"
    default_conn_name = "o2_telemessage"
    conn_type = "o2_telemessage"
    hook_name = "TeleMessage archive (O2)"

    def __init__(
        self,
        *,
        telemessage_conn_id: str = default_conn_name,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.telemessage_conn_id = telemessage_conn_id
        self._sleep = sleep
        self._clock = clock
        self._login_lock = threading.Lock()
        self._token: str | None = None
        self._renew_at = 0.0

    def get_conn(self) -> requests.Session:
        """Return the session that every request of this hook goes through."""
        return self._session

    def freeze_export(self, start: datetime, end: datetime) -> Export:
        """Freeze the window of capture time [start, end) and list its batches; asked twice, the list is the same.

        :raises RetryError: while the window is not closed at TeleMessage.
        :raises StopError: when TeleMessage does not take the window.
        """
        if start.utcoffset() is None or end.utcoffset() is None:
            raise StopError("a window's bounds need a time zone")
        bounds = {"from": _timestamp(start), "to": _timestamp(end)}
        what = f"window {bounds['from']} to {bounds['to']}"
        response = self._ask("POST", "exports", what, json={"network": "O2", **bounds})
        if response.status_code == 409:
            raise RetryError(f"{what} is not closed at TeleMessage yet", retry_after=_retry_after(response))
        if response.status_code == 422:
            raise StopError(f"TeleMessage takes no {what}: it must end after it begins and last 31 days at most")
        if response.status_code != 200:
            raise _refusal(response, what)
        return parse_export(response.content)

    def read_batch(self, export_id: str, batch: Batch) -> Iterator[bytes]:
        """Yield a batch's bytes in order, exactly those its size and digest promise.

        A broken connection is resumed where it broke. The last chunk may already be out when the digest turns out
        wrong, so chunks are good only once the iterator has ended.

        :raises AlteredError: when the bytes are others; a change on the way is gone when they are asked for again.
        :raises RetryError: when the connection keeps breaking. In either case discard the chunks.
        """
        what = f"batch {batch.batch_id}"
        unknown = StopError(f"TeleMessage no longer knows {what}: clear the extract task, so that it freezes anew")
        return self._read(
            f"exports/{_segment(export_id)}/batches/{_segment(batch.batch_id)}",
            what,
            size=batch.size,
            sha256=batch.sha256,
            refusals={404: unknown, 410: unknown},
        )

    def read_attachment(self, attachment_id: str, *, size: int, sha256: str) -> Iterator[bytes]:
        """Yield an attachment's bytes as :meth:`read_batch` does a batch's.

        :raises AttachmentGone: when TeleMessage keeps it no longer.
        :raises ItemError: when TeleMessage has none of that id.
        """
        what = f"attachment {attachment_id}"
        try:
            segment = _segment(attachment_id)
        except StopError as error:
            raise ItemError("an attachment's id is one that no URL can carry") from error
        return self._read(
            f"attachments/{segment}",
            what,
            size=size,
            sha256=sha256,
            refusals={
                404: ItemError(f"{what} is unknown to TeleMessage"),
                410: AttachmentGone(f"{what} is no longer kept by TeleMessage"),
            },
        )

    def test_connection(self) -> tuple[bool, str]:
        """Log in once, for a person is waiting, and say in words what that proved."""
        try:
            self._login(tries=1)
        except ConnectorError as error:
            return False, for_the_form(error, self.telemessage_conn_id)
        trusted = "the ca_file" if self._ca_file else "this machine's own store"
        return True, (
            f"TeleMessage accepts the login; its certificate verifies by {trusted}. Nothing was read: whether the"
            " account may export the archive shows with the first window."
        )

    @cached_property
    def _connection(self) -> Connection:
        try:
            connection = self.get_connection(self.telemessage_conn_id)
        except AirflowNotFoundException as error:
            raise StopError(f"there is no connection {self.telemessage_conn_id}; add it, see README") from error
        if not connection.login or not connection.password:
            raise StopError(f"connection {self.telemessage_conn_id}: login and password are needed")
        if connection.schema not in (None, "", "https"):
            raise StopError(f"connection {self.telemessage_conn_id}: the schema must be https, or empty")
        return connection

    @cached_property
    def base_url(self) -> str:
        """Return where the archive's API is."""
        site = https_url(self._connection.host, port=self._connection.port, conn_id=self.telemessage_conn_id)
        return f"{site}/rest/archive"

    @property
    def _ca_file(self) -> str | None:
        return self._connection.extra_dejson.get("ca_file") or None

    @cached_property
    def _session(self) -> requests.Session:
        session = new_session(ca_file=self._ca_file)
        # A resume asks for bytes by their place in what travels. Compressed bytes have other places than the batch's
        # own, which its size and digest count (RFC 9110, 14.1.2: a range is of the selected representation).
        session.headers["Accept-Encoding"] = "identity"
        return session

    def _read(
        self, path: str, what: str, *, size: int, sha256: str, refusals: Mapping[int, ConnectorError]
    ) -> Iterator[bytes]:
        """Yield a file's bytes over as many connections as it takes, while each few of them bring it on."""
        digest = hashlib.sha256()
        received = progress = stalls = 0
        etag: str | None = None
        while True:
            with self._ask("GET", path, what, headers=_range_headers(received, etag), stream=True) as response:
                if error := refusals.get(response.status_code):
                    raise error
                skip = received - _first_byte(response, what)
                if skip < 0:
                    raise RetryError(f"{what}: TeleMessage left out bytes before its answer")
                etag = response.headers.get("ETag")
                for chunk in _until_it_ends(response):
                    new = chunk[skip:]
                    skip = max(0, skip - len(chunk))
                    if not new:
                        continue
                    received += len(new)
                    if received > size:
                        raise AlteredError(f"{what} is longer than the {size} bytes that TeleMessage named")
                    digest.update(new)
                    yield new
            if received == size:
                break
            if received - progress >= CHUNK:
                progress, stalls = received, 0
            stalls += 1
            if stalls > STALLS:
                raise RetryError(f"{what} keeps breaking at byte {received} of {size}")
            self.log.info("%s broke at byte %d of %d, resuming", what, received, size)
            self._sleep(backoff(stalls - 1))
        if digest.hexdigest() != sha256.lower():
            raise AlteredError(f"{what}: its bytes are not those of the digest that TeleMessage named")

    def _ask(self, method: str, path: str, what: str, **request: Any) -> requests.Response:
        """Send a request as who is logged in; a token that has run out is renewed, one that is new must do."""
        headers = request.pop("headers", {})
        rejected: str | None = None
        while True:
            token, is_new = self._current_token(rejected)
            bearer = {**headers, "Authorization": f"Bearer {token}"}
            response = self._send(method, path, what, headers=bearer, **request)
            if response.status_code != 401:
                return response
            response.close()
            if is_new:
                raise StopError(f"{what}: TeleMessage refuses the token it has just issued; check the account's rights")
            rejected = token

    def _current_token(self, rejected: str | None) -> tuple[str, bool]:
        """Return a token that is good by the clock and is not the rejected one, and whether it is new."""
        with self._login_lock:  # readers in several threads share one login
            if self._token and self._token != rejected and self._clock() < self._renew_at:
                return self._token, False
            return self._login(), True

    def _login(self, *, tries: int = TRIES) -> str:
        """Ask for a token, and keep it until shortly before it runs out."""
        asked_at = self._clock()
        credentials = {"username": self._connection.login, "password": self._connection.password}
        response = self._send("POST", "login", "login", tries=tries, json=credentials)
        if response.status_code == 401:
            raise StopError(
                f"TeleMessage refuses the login of connection {self.telemessage_conn_id}: "
                "wrong user name or password, or a suspended account"
            )
        if response.status_code != 200:
            raise _refusal(response, "login")
        try:
            grant = _GRANT.decode(response.content)
        except msgspec.ValidationError as error:  # names the place; these types put no value into the message
            raise StopError(f"TeleMessage's answer to the login breaks the contract: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RetryError("TeleMessage's answer to the login is not JSON") from error
        mask_secret(grant.access_token)
        self._token = grant.access_token
        self._renew_at = asked_at + grant.expires_in - min(60.0, grant.expires_in / 10)
        return self._token

    def _send(self, method: str, path: str, what: str, *, tries: int = TRIES, **request: Any) -> requests.Response:
        """Send a request until it has an answer that waiting does not change, a few times."""
        attempt = 0
        while True:
            try:
                return self._send_once(method, path, what, **request)
            except RetryError as error:
                wait = backoff(attempt, retry_after=error.retry_after)
                if attempt + 1 == tries or wait > LONGEST_WAIT:
                    raise
            self._sleep(wait)
            attempt += 1

    def _send_once(self, method: str, path: str, what: str, **request: Any) -> requests.Response:
        """Send a request; what passes by itself is a RetryError, whatever else was answered is returned."""
        try:
            response = self.get_conn().request(method, f"{self.base_url}/{path}", **request)
        except requests.TooManyRedirects as error:
            raise StopError(f"{what}: TeleMessage redirects; set the connection's host to the site itself") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
            # It quotes the URL, and a proxy's may hold a password.
            raise StopError(f"connection {self.telemessage_conn_id}: the host or the proxy is not valid") from None
        except requests.RequestException as error:
            if is_untrusted(error):
                raise StopError(
                    f"connection {self.telemessage_conn_id}: TeleMessage's certificate does not verify; "
                    "name the authority's PEM file as ca_file in the connection's extra"
                ) from error
            raise RetryError(f"{what}: TeleMessage cannot be reached ({type(error).__name__})") from error
        if response.status_code in (408, 425, 429) or response.status_code >= 500:
            response.close()
            raise RetryError(
                f"{what}: TeleMessage answers HTTP {response.status_code}", retry_after=_retry_after(response)
            )
        return response


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _segment(value: str) -> str:
    """Quote an id of the source's as one segment of a URL's path."""
    if value in ("", ".", ".."):  # folded away on the way, quoted or not (RFC 3986, 6.2.2.3)
        raise StopError(f"TeleMessage named an id that no URL can carry: {value!r}")
    return quote(value, safe="")


def _retry_after(response: requests.Response) -> float | None:
    return parse_retry_after(response.headers.get("Retry-After"), now=datetime.now(UTC))


def _refusal(response: requests.Response, what: str) -> StopError:
    """Put an answer that the contract does not know for this question into words, without its body."""
    if response.status_code == 403:
        return StopError(f"{what}: TeleMessage forbids it (HTTP 403); give the account the right to read the archive")
    return StopError(f"{what}: TeleMessage answers HTTP {response.status_code}; check the connection's host")


def _range_headers(received: int, etag: str | None) -> dict[str, str]:
    """Ask for what is still missing, if the file is still the same.

    A weak ETag must not stand in If-Range (RFC 9110, 13.1.5); the digest at the end judges in any case.
    """
    if not received:
        return {}
    condition = {"If-Range": etag} if etag and not etag.startswith("W/") else {}
    return {"Range": f"bytes={received}-", **condition}


def _first_byte(response: requests.Response, what: str) -> int:
    """Return the place in the file of an answer's first byte: 0 for the whole of it, whatever was asked."""
    if response.status_code == 416:
        raise AlteredError(f"{what} is shorter than TeleMessage named")
    if response.status_code not in (200, 206):
        raise _refusal(response, what)
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise StopError(f"{what} comes compressed, though asked for plain; a gateway on the way must not compress")
    if response.status_code == 200:
        return 0
    match = re.match(r"bytes ([0-9]+)-", response.headers.get("Content-Range", ""))
    if not match:
        raise RetryError(f"{what}: TeleMessage answers with a part, and does not say which")
    return int(match[1])


def _until_it_ends(response: requests.Response) -> Iterator[bytes]:
    """Yield what arrives, to the last byte before a break; who knows the size knows whether it was one.

    ``read1`` and not ``iter_content``: that waits for whole chunks, and a break takes the started one with it.
    """
    while True:
        try:
            chunk = response.raw.read1(CHUNK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError):
            return
        if not chunk:
            return
        yield chunk


class _Grant(msgspec.Struct, frozen=True, rename="camel"):
    """Spell the answer to a login as the contract does; a token is what a header can carry (RFC 6750, 2.1)."""

    access_token: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._~+/-]+=*\Z")]
    expires_in: Annotated[int, msgspec.Meta(gt=0)]


_GRANT = msgspec.json.Decoder(_Grant)
