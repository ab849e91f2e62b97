"""What both HTTP hooks share: an https-only session, and how long to wait before asking again."""

from __future__ import annotations

import email.utils
import math
import random
import re
import ssl
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from o2_connector.core.errors import ConnectorError, RetryError, StopError

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and seconds of silence while reading."""

THREADS = 32
"""Threads that may share a session and each keep a connection. urllib3 drops those that its pool has no room for after
their answer, and the next request pays for a new TLS handshake."""

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Seconds between tries inside a hook; who is asked to wait longer leaves it to the task's own retries."""

_RANDOM = random.SystemRandom()  # workers that were started together must not retry together


def https_url(host: str | None, *, port: int | None, conn_id: str) -> str:
    """Return a connection's host as an https URL without a trailing slash.

    :param host: a URL (https only) or a host name, with or without a port.
    :raises StopError: when it is anything else; the value is not repeated, for it may hold a password.
    """
    try:
        parts = urlsplit(host if host and "://" in host else f"https://{host or ''}")
        netloc = parts.netloc if parts.port or not port else f"{parts.netloc}:{port}"
    except ValueError:  # it quotes what it does not understand: nothing is raised from in here
        parts, netloc = urlsplit(""), ""
    # Of "https://user:8443/pw@name" the first part of the password is taken for a port, the rest for a path
    if parts.scheme != "https" or not parts.hostname or "@" in netloc + parts.path or parts.query or parts.fragment:
        raise StopError(f"connection {conn_id}: the host must be https://name[:port][/path] or a name, nothing else")
    return f"https://{netloc}{parts.path.rstrip('/')}"


def new_session(*, ca_file: str | None = None) -> requests.Session:
    """Make a session that speaks https alone, verifies every server and follows no redirect.

    The environment is read for proxies only. Left to itself, requests lets REQUESTS_CA_BUNDLE replace the trusted
    authorities and a .netrc file replace the Authorization header.

    :param ca_file: PEM file of the only authorities to trust; without it the system's store.
    :raises StopError: when the file holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise StopError(f"ca_file {ca_file}: no certificate can be read from it") from error
    session = requests.Session()
    session.trust_env = False
    session.max_redirects = 0  # a redirected login would hand the password to another host
    session.adapters.clear()  # also the one for plain http
    session.mount("https://", _VerifyingAdapter(context))
    return session


def is_untrusted(error: BaseException) -> bool:
    """Tell whether a request failed because the server's certificate did not verify, which no retry heals.

    requests and urllib3 wrap errors in errors, and behind a proxy keep the first in the arguments alone.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    inner = [error.__cause__ or error.__context__, getattr(error, "reason", None), *error.args]
    return any(is_untrusted(cause) for cause in inner if isinstance(cause, BaseException))


def for_the_form(error: ConnectorError, conn_id: str) -> str:
    """Return what the Test button of a connection says of an error, and what to do.

    Airflow gives the connection that it tests a name that nobody has seen.
    """
    text = str(error).replace(f"connection {conn_id}:", "this connection:")
    if isinstance(error, RetryError):
        text += "; try again, and if it stays so, check the host, the network and HTTPS_PROXY where the API server runs"
    return text


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3), or None where it says nothing usable.

    Fractions of a second are no part of the RFC, but Graph sends them.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:  # "-0000": UTC, of no particular place (RFC 5322, 3.3)
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())


def backoff(attempt: int, *, retry_after: float | None = None) -> float:
    """Return the seconds to wait after a failed attempt (0 is the first): doubling, jittered, never under Retry-After.

    The jitter is of the upper half, so that a wait is never next to nothing.
    """
    ceiling = min(LONGEST_WAIT, math.ldexp(FIRST_WAIT, attempt))
    return max(_RANDOM.uniform(ceiling / 2, ceiling), retry_after or 0.0)


class _VerifyingAdapter(HTTPAdapter):
    """Hold the TLS rules and the proxies where no caller's argument and no environment variable reaches them."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_maxsize=THREADS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the connection pools with our context."""
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Make a proxy's connection pools with our context: the server behind the tunnel is verified alike."""
        return super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave verification to the context: requests would add its own bundle of authorities to it here."""
        conn.cert_reqs = "CERT_REQUIRED"

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send by the system's proxy for this host (HTTPS_PROXY, NO_PROXY), and never without a timeout."""
        system = get_environ_proxies(request.url or "")
        return super().send(request, stream=stream, timeout=timeout or TIMEOUT, verify=True, proxies=system)
