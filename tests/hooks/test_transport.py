"""An https URL and nothing else, and how long to wait."""

from __future__ import annotations

import io
import traceback
from datetime import UTC, datetime

import pytest
import requests
from requests.adapters import HTTPAdapter

from o2_connector.core.errors import StopError
from o2_connector.hooks.transport import LONGEST_WAIT, TIMEOUT, backoff, https_url, new_session, parse_retry_after

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("archive.example.com", None, "https://archive.example.com"),
        ("archive.example.com", 8443, "https://archive.example.com:8443"),
        ("archive.example.com:9443", 8443, "https://archive.example.com:9443"),
        ("https://archive.example.com/", None, "https://archive.example.com"),
        ("https://archive.example.com/gateway/", 8443, "https://archive.example.com:8443/gateway"),
        ("HTTPS://[::1]:8443", None, "https://[::1]:8443"),
    ],
)
def test_a_host_becomes_an_https_url(host: str, port: int | None, url: str) -> None:
    assert https_url(host, port=port, conn_id="o2_telemessage") == url


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "http://archive.example.com",
        "ftp://archive.example.com",
        "https://",
        "https://user:opensesame@archive.example.com",
        "user:opensesame@archive.example.com",
        "https://archive.example.com?key=opensesame",
        "https://archive.example.com#opensesame",
        "https://archive.example.com:opensesame",
        "https://[opensesame",
        "https://user:opensesame/pw@archive.example.com",
        "https://user:8443/opensesame@archive.example.com",
        "https://user:pw@[opensesame]",
        "https://opensesame\u2100.example.com",
    ],
)
def test_any_other_host_stops_and_is_not_repeated(host: str | None) -> None:
    with pytest.raises(StopError, match="connection o2_telemessage: the host") as caught:
        https_url(host, port=None, conn_id="o2_telemessage")

    assert "opensesame" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_a_session_cannot_speak_plain_http() -> None:
    with pytest.raises(requests.exceptions.InvalidSchema):
        new_session().get("http://localhost:9/")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_without_a_certificate_stops(content: str | None, tmp_path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(StopError, match=r"ca\.pem"):
        new_session(ca_file=str(file))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Sun, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


def test_a_wait_doubles_with_each_attempt_up_to_the_longest() -> None:
    for attempt, (least, most) in enumerate([(0.5, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32), (30, 60), (30, 60)]):
        assert least <= backoff(attempt) <= most <= LONGEST_WAIT


def test_a_wait_is_not_the_same_twice() -> None:
    assert len({backoff(5) for _ in range(20)}) > 1


def test_a_wait_is_never_under_retry_after() -> None:
    assert backoff(0, retry_after=90.5) == 90.5
    assert backoff(3, retry_after=0) >= 4


def test_no_request_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = []
    monkeypatch.setattr(HTTPAdapter, "send", lambda *args, timeout, **kwargs: timeouts.append(timeout) or answered())
    session = new_session()

    session.get("https://archive.example.com/")
    session.get("https://archive.example.com/", timeout=5)

    assert timeouts == [TIMEOUT, 5]


@pytest.mark.parametrize("proxy", [None, "http://proxy.example.com:3128"])
def test_as_many_threads_as_may_share_a_session_keep_their_connections(proxy: str | None) -> None:
    url = "https://archive.example.com/"
    adapter = new_session().get_adapter(url)
    manager = adapter.proxy_manager_for(proxy) if proxy else adapter.poolmanager

    pool = manager.connection_from_url(url).pool

    assert pool.maxsize >= 32


def answered() -> requests.Response:
    response = requests.Response()
    response.status_code = 200
    response.raw = io.BytesIO()
    return response
