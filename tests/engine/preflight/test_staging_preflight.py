"""Staging is tried as the archive uses it; here a container, and what may stand between it and us."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from o2_connector.core.preflight import Area, Finding, State, ok
from o2_connector.engine.preflight.checks import Check, Runner
from o2_connector.engine.preflight.staging import staging_checks
from o2_connector.hooks.staging import StagingHook
from tests.azurite.server import connection_string, running

pytestmark = pytest.mark.azurite
NOW = datetime(2026, 11, 29, 10, 15, tzinfo=UTC)


@dataclass
class Answered:
    """Hold a request, and what Azurite answered, which a test may change."""

    method: str
    path: str
    sent: bytes
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_container(self) -> bool:
        return "restype=container" in self.path and "comp=" not in self.path

    def refuse(self, code: str) -> None:
        """Answer as Azure does when it refuses."""
        self.status, self.body = 409, b""
        self.headers["x-ms-error-code"] = code


Tamper = Callable[[Answered], None]


@dataclass
class Gateway:
    """Stand between a client and Azurite."""

    endpoint: str
    tamper: Tamper = lambda _: None
    asked: list[str] = field(default_factory=list)


def handler_of(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    where = urlsplit(gateway.endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = HTTPConnection(where)
            connection.request(self.command, self.path, sent, dict(self.headers.items()))
            response = connection.getresponse()
            answered = Answered(
                method=self.command,
                path=self.path,
                sent=sent,
                status=response.status,
                headers={name.lower(): value for name, value in response.getheaders()},
                body=response.read(),
            )
            connection.close()
            gateway.tamper(answered)
            gateway.asked.append(f"{self.command} {self.path}")
            self.send_response(answered.status)
            for name, value in answered.headers.items():
                if name not in {"content-length", "transfer-encoding", "connection", "date", "server", "keep-alive"}:
                    self.send_header(name, value)
            if self.command == "HEAD":
                self.send_header("Content-Length", answered.headers.get("content-length", "0"))
            else:
                self.send_header("Content-Length", str(len(answered.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answered.body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward

        def log_message(self, *_: object) -> None:
            return

    return Handler


@pytest.fixture(scope="module")
def azurite() -> Iterator[str]:
    with running() as endpoint:
        yield endpoint


@pytest.fixture
def gateway(azurite: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    gateway = Gateway(azurite)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(gateway)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        connection = connection_string(f"http://127.0.0.1:{server.server_port}")
        extra = {"connection_string": connection, "container": f"preflight-{uuid4().hex[:8]}", "prefix": "below/this"}
        monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "wasb", "extra": extra}))
        yield gateway
        server.shutdown()


def tried() -> dict[str, Finding]:
    """Return what is found of staging, by check."""
    runner = Runner(known=[], heard=lambda _: None)
    there = Check(
        name="staging.connection", area=Area.STAGING, title="the connection", run=lambda: [ok("there is one")]
    )
    runner.check([there, *staging_checks(StagingHook(), NOW)])
    return {finding.check: finding for finding in runner.findings}


def protected(**headers: str) -> Tamper:
    """Return what lets a container say that it is protected, and refuse to remove anything."""

    def tamper(answered: Answered) -> None:
        if answered.is_container:
            answered.headers |= {f"x-ms-{name.replace('_', '-')}": value for name, value in headers.items()}
        if answered.method == "DELETE":
            answered.refuse("BlobImmutableDueToPolicy")

    return tamper


def test_a_container_is_written_once_read_and_listed(gateway: Gateway) -> None:
    found = tried()

    assert {name: finding.state for name, finding in found.items() if finding.state is not State.OK} == {
        "staging.keep": State.WARNING
    }
    (name,) = StagingHook().names("preflight/")
    assert re.fullmatch(r"preflight/20261129T101500Z\.[0-9a-f]{64}\.txt", name)


def test_a_container_without_a_policy_is_a_warning_and_nothing_is_removed(gateway: Gateway) -> None:
    found = tried()["staging.keep"]

    assert "the container has no immutability policy" in found.what
    assert "set a time-based retention policy on the container" in (found.remedy or "")
    assert [each for each in gateway.asked if each.startswith("DELETE")] == []


@pytest.mark.parametrize("said", ["has_immutability_policy", "has_legal_hold"])
def test_a_container_that_is_protected_and_refuses_to_remove_is_well(gateway: Gateway, said: str) -> None:
    gateway.tamper = protected(**{said: "true"})

    found = tried()["staging.keep"]

    assert (found.state, "refuses to remove an object" in found.what) == (State.OK, True)


def test_a_container_that_says_it_is_protected_and_is_not_is_an_error(gateway: Gateway) -> None:
    def tamper(answered: Answered) -> None:
        if answered.is_container:
            answered.headers["x-ms-has-immutability-policy"] = "true"

    gateway.tamper = tamper

    found = tried()["staging.keep"]

    assert (found.state, "still lets an object be removed" in found.what) == (State.ERROR, True)


@pytest.mark.parametrize(("mode", "state"), [("unlocked", State.OK), ("", State.WARNING)])
def test_a_container_that_keeps_versions_is_well_where_each_has_a_policy(
    gateway: Gateway, mode: str, state: State
) -> None:
    def tamper(answered: Answered) -> None:
        if answered.is_container:
            answered.headers["x-ms-immutable-storage-with-versioning-enabled"] = "true"
        elif answered.method == "HEAD" and mode:
            answered.headers["x-ms-immutability-policy-mode"] = mode

    gateway.tamper = tamper

    found = tried()["staging.keep"]

    assert (found.state, "versions" in found.what or "version of" in found.what) == (state, True)


def garbled(answered: Answered) -> None:
    if answered.method == "GET" and "comp=" not in answered.path and answered.body:
        answered.body = answered.body[:-2] + b"x\n"


def unlisted(answered: Answered) -> None:
    if "comp=list" in answered.path:
        answered.body = re.sub(rb"<Blob>.*</Blob>", b"", answered.body, flags=re.DOTALL)


def taken_again(answered: Answered) -> None:
    if answered.method == "PUT" and answered.status == 409:
        answered.status, answered.body = 201, b""


def overwritten(answered: Answered) -> None:
    if answered.method == "PUT" and answered.status == 409 and answered.sent == b"other":
        answered.status, answered.body = 201, b""


def forbidden(answered: Answered) -> None:
    if answered.method == "PUT" and "restype" not in answered.path:
        answered.status, answered.body = 403, b""
        answered.headers["x-ms-error-code"] = "AuthorizationPermissionMismatch"


@pytest.mark.parametrize(
    ("check", "said", "tamper"),
    [
        ("staging.write", "Storage Blob Data Contributor", forbidden),
        ("staging.read", "reading back", garbled),
        ("staging.list", "is not listed", unlisted),
        ("staging.write_once", "a name that is taken can be taken again", taken_again),
        ("staging.write_once", "an object is overwritten by a conditional put", overwritten),
    ],
)
def test_what_a_container_does_otherwise_is_an_error(gateway: Gateway, check: str, said: str, tamper: Tamper) -> None:
    gateway.tamper = tamper

    found = tried()

    assert (found[check].state, said in str(found[check])) == (State.ERROR, True)
    assert {name for name, finding in found.items() if finding.state is State.ERROR} == {check}


def test_a_directory_that_may_not_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    extra = {"path": str(tmp_path / "file" / "staging")}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "fs", "extra": extra}))

    found = tried()

    assert "ENOTDIR" in found["staging.write"].what
    assert str(tmp_path) not in str(found)
    assert {finding.state for name, finding in found.items() if name != "staging.connection"} == {
        State.ERROR,
        State.NOT_CHECKED,
    }
