"""The hook keeps its promises against a Graph that answers by script, and against the sandbox's."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import logging
import re
import ssl
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, quote, unquote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from o2_connector.core.errors import IntegrityError, ItemError, MailboxError, RetryError, StopError
from o2_connector.core.naming import FOLDER_NAME, ITEM_PROPERTY, UNFINISHED_CATEGORY
from o2_connector.hooks.graph import GraphHook, create_call
from o2_connector.hooks.graph_requests import Call, get, post
from o2_connector.hooks.graph_upload import CHUNK, INLINE_LIMIT, REQUEST_LIMIT, Attachment
from sandbox.graph.programs import messages as messages_of
from sandbox.server import Sandbox, running
from sandbox.tls import Certificates, certificates

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
SECRET = "correct~horse~battery"
BOX = "aaaaaaaa-0000-0000-0000-000000000001"
FOLDER = "folder/+=1"  # ids hold what must be quoted
MESSAGES = f"/users/{BOX}/mailFolders/folder%2F%2B%3D1/messages"
PATIENCE = 600.0
SETTLE = 90.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """Hold what Graph was asked; the path as it came over the wire, below /v1.0 where it is."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Say what Graph does; `lost` closes the connection without a word."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False


Script = Callable[[Request], Reply]
LOST = Reply(lost=True)


def error(status: int, code: str, **headers: str) -> Reply:
    body = {"error": {"code": code, "message": "about secret@example.com", "innerError": {"request-id": "r"}}}
    return Reply(status=status, body=body, headers={name.replace("_", "-"): text for name, text in headers.items()})


def created(message_id: str = "m1") -> Reply:
    return Reply(status=201, body={"id": message_id})


def listed(*entries: dict[str, Any], following: str | None = None) -> Reply:
    return Reply(body={"value": list(entries), **({"@odata.nextLink": following} if following else {})})


class Tenant:
    """Answer by script: for each endpoint a list of replies or functions, of which the last one stays."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.scripts: dict[tuple[str, str], list[Reply | Script]] = {}
        self.lock = threading.Lock()
        self.url = ""
        self.on("GET", r".*/\.well-known/openid-configuration", self.describe)
        self.on("POST", r".*/oauth2/v2\.0/token", self.grant)

    def on(self, method: str, path: str, *replies: Reply | Script) -> None:
        """Let the replies, in turn, answer what matches; what is said last counts."""
        self.scripts.pop((method, path), None)
        self.scripts = {(method, path): list(replies), **self.scripts}

    def describe(self, _: Request) -> Reply:
        root = f"{self.url}/{TENANT}"
        body = {"token_endpoint": f"{root}/oauth2/v2.0/token", "authorization_endpoint": f"{root}/authorize"}
        return Reply(body=body | {"issuer": root})

    def grant(self, _: Request) -> Reply:
        return Reply(body={"token_type": "Bearer", "expires_in": 3599, "access_token": f"token-{len(self.logins)}"})

    def refuse(self, code: int, name: str = "invalid_client") -> None:
        body = {"error": name, "error_description": f"AADSTS{code}: app of {SECRET}", "error_codes": [code]}
        self.on("POST", r".*/oauth2/v2\.0/token", Reply(status=401, body=body))

    @property
    def logins(self) -> list[Request]:
        return self.asked("POST", r".*/oauth2/v2\.0/token")

    def asked(self, method: str, path: str) -> list[Request]:
        found = re.compile(path)
        return [request for request in self.requests if request.method == method and found.fullmatch(request.path)]

    def answer(self, request: Request) -> Reply:
        with self.lock:
            self.requests.append(request)
            for (method, path), script in self.scripts.items():
                if method == request.method and re.fullmatch(path, request.path):
                    reply = script.pop(0) if len(script) > 1 else script[0]
                    return reply(request) if callable(reply) else reply
        return error(501, "notScripted")


@dataclass
class Time:
    """Stand in for the clock; to sleep is to move it, and to remember for how long."""

    now: float = 1000.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tenant(tls: Certificates) -> Iterator[Tenant]:
    tenant = Tenant()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or every answer waits 40 ms for a delayed acknowledgement

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = tenant.answer(
                Request(
                    method=self.command,
                    path=self.path.removeprefix("/v1.0"),
                    headers=headers,
                    body=body,
                    port=self.client_address[1],
                )
            )
            if reply.lost:
                self.close_connection = True
                return
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            data = b"" if reply.body is None else data
            self.send_response(reply.status)
            for name, value in {"request-id": "r-1", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass  # a client that does not trust us is what a test is about

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    tenant.url = f"https://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield tenant
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def moment() -> Time:
    return Time()


Connect = Callable[..., GraphHook]


@pytest.fixture
def connect(moment: Time, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return a function that makes a hook on a connection."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    def connect(*, login: str | None = CLIENT, password: str | None = SECRET, **extra: Any) -> GraphHook:
        connection = {"conn_type": "o2_graph", "login": login, "password": password, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_O2_GRAPH", json.dumps(connection))
        return GraphHook(patience_seconds=PATIENCE, settle_seconds=SETTLE, sleep=moment.sleep, clock=moment.clock)

    return connect


@pytest.fixture
def here(tenant: Tenant, tls: Certificates) -> dict[str, str]:
    """Return the extra that leads to the scripted tenant."""
    return {
        "graph_url": f"{tenant.url}/v1.0",
        "authority": f"{tenant.url}/{TENANT}",
        "ca_file": str(tls.authority),
    }


@pytest.fixture
def hook(connect: Connect, here: dict[str, str]) -> GraphHook:
    return connect(**here)


def message(item_id: str = "0a1b", **more: Any) -> dict[str, Any]:
    return {"subject": "SMS", "singleValueExtendedProperties": [{"id": ITEM_PROPERTY, "value": item_id}], **more}


def archived(message_id: str, item_id: str, *, categories: tuple[str, ...] = ()) -> dict[str, Any]:
    # Graph gives the GUID of a property back in a case of its own choice
    prop = ITEM_PROPERTY.replace("6c8506a9", "6C8506A9")
    return {
        "id": message_id,
        "categories": list(categories),
        "singleValueExtendedProperties": [{"id": prop, "value": item_id}],
    }


def attachment(content: bytes = b"picture", *, name: str = "a.jpg", size: int | None = None) -> Attachment:
    def opened() -> AbstractContextManager[BinaryIO]:
        return io.BytesIO(content)

    return Attachment(
        name=name,
        content_type="image/jpeg",
        size=len(content) if size is None else size,
        content_id=None,
        is_inline=False,
        open=opened,
    )


# The connection


@pytest.mark.parametrize(
    ("cloud", "authority", "graph_url", "scope"),
    [
        (None, "login.microsoftonline.com", "https://graph.microsoft.com/v1.0", "https://graph.microsoft.com/.default"),
        (
            "gcc_high",
            "login.microsoftonline.us",
            "https://graph.microsoft.us/v1.0",
            "https://graph.microsoft.us/.default",
        ),
        (
            "dod",
            "login.microsoftonline.us",
            "https://dod-graph.microsoft.us/v1.0",
            "https://dod-graph.microsoft.us/.default",
        ),
        (
            "china",
            "login.chinacloudapi.cn",
            "https://microsoftgraph.chinacloudapi.cn/v1.0",
            "https://microsoftgraph.chinacloudapi.cn/.default",
        ),
    ],
)
def test_a_cloud_gives_login_graph_and_scope(
    connect: Connect, cloud: str | None, authority: str, graph_url: str, scope: str
) -> None:
    extra = {"cloud": cloud} if cloud else {}

    access = connect(tenant_id=TENANT, **extra).access

    assert access.authority == f"https://{authority}/{TENANT}"
    assert (access.graph_url, access.scope) == (graph_url, scope)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cloud": "mars"}, "worldwide, gcc_high, dod, china"),
        ({"tenant_id": None}, "tenant_id"),
        ({"tenant_id": 7}, "tenant_id must be text"),
        ({"login": None}, "client id"),
        ({"password": None}, "client secret as password, or certificate_file or federated_token_file"),
        ({"federated_token_file": "/token"}, "remove the password"),
        ({"password": None, "certificate_file": "/c", "federated_token_file": "/token"}, "certificate_file"),
        ({"graph_url": "http://graph.example.com/v1.0"}, "graph_url must be https"),
        ({"authority": "http://login.example.com/x"}, "authority must be https"),
        ({"graph_url": "https://user:pw@graph.example.com"}, "graph_url must be https"),
        ({"graph_url": "https://user:8443/pw@graph.example.com"}, "graph_url must be https"),
        ({"graph_url": "https://graph.example.com:port"}, "graph_url must be https"),
    ],
)
def test_a_connection_that_cannot_be_meant_stops_and_says_which_field(
    connect: Connect, changes: dict[str, Any], words: str
) -> None:
    hook = connect(**{"tenant_id": TENANT, **changes})

    with pytest.raises(StopError, match=words) as caught:
        _ = hook.access

    assert "pw@" not in str(caught.value)


def test_a_missing_connection_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_O2_GRAPH", raising=False)

    with pytest.raises(StopError, match="no connection o2_graph"):
        _ = GraphHook().access


def test_a_secret_does_not_show_when_the_connection_is_printed(hook: GraphHook) -> None:
    assert SECRET not in repr(hook.access)


# The login


def test_one_login_with_the_secret_serves_many_requests(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{MESSAGES}.*", listed())

    hook.archived_items(BOX, FOLDER, mine=())
    hook.archived_items(BOX, FOLDER, mine=())

    (login,) = tenant.logins
    form = parse_qs(login.body.decode())
    assert form["client_secret"] == [SECRET]
    assert form["scope"] == [f"{tenant.url}/.default"]
    used = {request.headers["authorization"] for request in tenant.asked("GET", f"{MESSAGES}.*")}
    assert used == {"Bearer token-1"}


def test_a_token_is_proof_of_the_connection(hook: GraphHook) -> None:
    assert hook.test_connection() == (True, "token ok")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(7000215, "value, not its id"), (7000222, "expired"), (700016, "client id"), (90002, "tenant_id"), (1, "look")],
)
def test_a_login_that_is_refused_stops_with_code_and_remedy_and_no_secret(
    tenant: Tenant, hook: GraphHook, code: int, remedy: str
) -> None:
    tenant.refuse(code)

    with pytest.raises(StopError, match=f"AADSTS{code}.*{remedy}") as caught:
        hook.find_item(BOX, "0a1b")

    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert hook.test_connection() == (False, str(caught.value))


def test_a_login_that_asks_to_come_back_is_left_to_retries(tenant: Tenant, hook: GraphHook) -> None:
    tenant.refuse(90033, "temporarily_unavailable")

    with pytest.raises(RetryError, match="NotSent"):
        hook.find_item(BOX, "0a1b")


def test_a_login_that_fails_once_is_tried_again_within_the_patience(tenant: Tenant, hook: GraphHook) -> None:
    body = {"error": "temporarily_unavailable", "error_description": "AADSTS90033: later"}
    tenant.on("POST", r".*/oauth2/v2\.0/token", Reply(status=401, body=body), tenant.grant)
    tenant.on("GET", f"{MESSAGES}.*", listed())

    assert hook.archived_items(BOX, FOLDER, mine=()) == {}


def test_a_tenant_that_the_login_does_not_know_stops(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", r".*/openid-configuration", error(400, "invalid_tenant"))

    with pytest.raises(StopError, match="tenant_id"):
        hook.find_item(BOX, "0a1b")


def test_a_login_out_of_order_is_left_to_retries(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", r".*/openid-configuration", Reply(status=500, body=b""))

    with pytest.raises(RetryError):
        hook.find_item(BOX, "0a1b")


def test_a_server_with_an_unknown_certificate_stops(connect: Connect, here: dict[str, str]) -> None:
    hook = connect(**{**here, "ca_file": None})

    with pytest.raises(StopError, match=r"certificate does not verify.*ca_file"):
        hook.find_item(BOX, "0a1b")


def test_a_revoked_token_is_renewed_once(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{MESSAGES}.*", error(401, "InvalidAuthenticationToken"), listed())

    hook.archived_items(BOX, FOLDER, mine=())

    used = [request.headers["authorization"] for request in tenant.asked("GET", f"{MESSAGES}.*")]
    assert used == ["Bearer token-1", "Bearer token-2"]


def test_a_fresh_token_that_is_refused_stops(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{MESSAGES}.*", error(401, "InvalidAuthenticationToken"))

    with pytest.raises(StopError, match="InvalidAuthenticationToken"):
        hook.archived_items(BOX, FOLDER, mine=())

    assert len(tenant.logins) == 2


def self_signed() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "o2-network-archiver")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def pem(key: rsa.RSAPrivateKey, certificate: x509.Certificate, passphrase: bytes | None) -> bytes:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return private + certificate.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("form", ["pem", "pem with passphrase", "pfx"])
def test_a_certificate_signs_the_login(
    tenant: Tenant, connect: Connect, here: dict[str, str], tmp_path: Path, form: str
) -> None:
    key, certificate = self_signed()
    passphrase = None if form == "pem" else b"open sesame"
    path = tmp_path / "certificate"
    if form == "pfx":
        encryption = serialization.BestAvailableEncryption(passphrase or b"")
        path.write_bytes(pkcs12.serialize_key_and_certificates(b"x", key, certificate, None, encryption))
    else:
        path.write_bytes(pem(key, certificate, passphrase))
    hook = connect(password=passphrase.decode() if passphrase else None, certificate_file=str(path), **here)

    result = hook.test_connection()

    assert result == (True, "token ok")
    form_sent = parse_qs(tenant.logins[0].body.decode())
    assert "client_secret" not in form_sent
    head, claims, signature = form_sent["client_assertion"][0].split(".")
    assert decoded(head)["x5t#S256"].rstrip("=") == unpadded(certificate.fingerprint(hashes.SHA256()))
    assert (decoded(claims)["iss"], decoded(head)["alg"]) == (CLIENT, "PS256")
    scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
    signed = f"{head}.{claims}".encode()
    key.public_key().verify(base64.urlsafe_b64decode(signature + "=="), signed, scheme, hashes.SHA256())


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=="))


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN nothing", b"0\x82"])
def test_a_certificate_that_cannot_be_read_stops(
    connect: Connect, here: dict[str, str], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "certificate"
    if content is not None:
        path.write_bytes(content)
    hook = connect(password=None, certificate_file=str(path), **here)

    with pytest.raises(StopError, match="certificate_file"):
        hook.find_item(BOX, "0a1b")


def test_a_key_without_its_certificate_stops(connect: Connect, here: dict[str, str], tmp_path: Path) -> None:
    (key, _), (_, certificate) = self_signed(), self_signed()
    path = tmp_path / "certificate.pem"
    path.write_bytes(pem(key, certificate, None))
    hook = connect(password=None, certificate_file=str(path), **here)

    with pytest.raises(StopError, match="no private key with its certificate"):
        hook.find_item(BOX, "0a1b")


def test_a_workloads_token_is_read_anew_for_each_login(
    tenant: Tenant, connect: Connect, here: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    tenant.on("GET", f"{MESSAGES}.*", error(401, "InvalidAuthenticationToken"), listed())

    def replace_and_grant(request: Request) -> Reply:
        path.write_text("second\n")
        return tenant.grant(request)

    tenant.on("POST", r".*/oauth2/v2\.0/token", replace_and_grant)
    hook = connect(password=None, federated_token_file=str(path), **here)

    hook.archived_items(BOX, FOLDER, mine=())

    assert [parse_qs(login.body.decode())["client_assertion"] for login in tenant.logins] == [["first"], ["second"]]


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_workloads_token_that_is_not_there_stops(
    connect: Connect, here: dict[str, str], tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    hook = connect(password=None, federated_token_file=str(path), **here)

    with pytest.raises(StopError, match="federated_token_file"):
        hook.find_item(BOX, "0a1b")


# Every request


def test_every_request_asks_for_ids_that_last_and_bears_its_own_number(
    tenant: Tenant, hook: GraphHook, moment: Time
) -> None:
    tenant.on("GET", f"{MESSAGES}.*", error(429, "TooManyRequests", Retry_After="2.128"), listed())

    hook.archived_items(BOX, FOLDER, mine=())

    first, second = tenant.asked("GET", f"{MESSAGES}.*")
    assert first.headers["prefer"] == second.headers["prefer"] == 'IdType="ImmutableId"'
    assert uuid.UUID(first.headers["client-request-id"]) != uuid.UUID(second.headers["client-request-id"])
    (wait,) = moment.waits
    assert wait >= 2.128


def test_waits_grow_and_end_with_the_patience(tenant: Tenant, hook: GraphHook, moment: Time) -> None:
    tenant.on("GET", f"{MESSAGES}.*", error(503, "ErrorServerBusy"))

    with pytest.raises(RetryError, match="503 ErrorServerBusy"):
        hook.archived_items(BOX, FOLDER, mine=())

    assert moment.waits[0] <= 1 < moment.waits[2] < moment.waits[4]
    assert PATIENCE - 60 < sum(moment.waits) <= PATIENCE


def test_a_wait_longer_than_the_patience_is_left_to_the_task(tenant: Tenant, hook: GraphHook, moment: Time) -> None:
    tenant.on("GET", f"{MESSAGES}.*", error(429, "TooManyRequests", Retry_After="3600"))

    with pytest.raises(RetryError) as caught:
        hook.archived_items(BOX, FOLDER, mine=())

    assert caught.value.retry_after == 3600
    assert moment.waits == []


def test_after_a_503_another_connection_is_used(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{MESSAGES}.*", error(429, "x"), error(503, "x"), listed())

    hook.archived_items(BOX, FOLDER, mine=())

    first, second, third = (request.port for request in tenant.asked("GET", f"{MESSAGES}.*"))
    assert first == second != third


def test_a_lost_answer_to_a_question_is_asked_for_again(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{MESSAGES}.*", LOST, Reply(body=b"<html>gateway</html>"), listed())

    assert hook.archived_items(BOX, FOLDER, mine=()) == {}


def test_a_redirect_is_not_followed(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{MESSAGES}.*", Reply(status=302, headers={"Location": f"{tenant.url}/elsewhere"}))

    with pytest.raises(StopError, match="302"):
        hook.archived_items(BOX, FOLDER, mine=())

    assert not tenant.asked("GET", "/elsewhere")


def test_nothing_personal_and_no_token_is_said(
    tenant: Tenant, hook: GraphHook, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    tenant.on("POST", r"/\$batch", error(400, "BadRequest"))
    tenant.on("POST", MESSAGES, error(400, "BadRequest"))
    tenant.on("GET", f"{MESSAGES}.*", LOST)
    addresses = ["jane@example.com"]
    sms = message(subject="SMS with +44 7700 900123")

    with pytest.raises(StopError) as directory:
        hook.find_mailboxes(addresses)
    with pytest.raises(ItemError) as item:
        hook.create_message(BOX, FOLDER, sms, [])
    with pytest.raises(RetryError) as lost:
        hook.archived_items(BOX, FOLDER, mine=())

    raised = ["".join(traceback.format_exception(one.value)) for one in (directory, item, lost)]
    said = "\n".join([*raised, *caplog.messages, capsys.readouterr().out])
    assert [word for word in ("jane", "900123", "secret@", SECRET, "token-1") if word in said] == []
    assert tenant.url not in "".join(raised)


# The directory


def user(number: int, *proxies: str, name: str = "", mail: str | None = None) -> dict[str, Any]:
    return {
        "id": f"id-{number}",
        "userPrincipalName": name or f"user{number}@example.com",
        "mail": mail,
        "proxyAddresses": list(proxies),
    }


def directory(*users: dict[str, Any], probes: dict[str, Reply] | None = None, seen: list[int] | None = None) -> Script:
    """Answer batches of look-ups and probes, in the reverse order, as Graph may."""

    def respond(request: dict[str, Any]) -> Reply:
        url = unquote(request["url"])
        if probe := re.fullmatch(r"/users/([^/]+)/mailFolders/inbox\?\$select=id", url):
            return (probes or {}).get(probe[1], Reply(body={"id": "inbox"}))
        asked = re.search(r"p eq 'smtp:(.*?)'\)", url)
        assert asked is not None
        address = asked[1].replace("''", "'")
        found = [
            one
            for one in users
            if address in {one["userPrincipalName"].lower(), str(one["mail"]).lower()}
            or f"smtp:{address}" in {proxy.lower() for proxy in one["proxyAddresses"]}
        ]
        return listed(*found)

    def script(request: Request) -> Reply:
        requests = request.json["requests"]
        if seen is not None:
            seen.append(len(requests))
        replies = [(one["id"], respond(one)) for one in reversed(requests)]
        return Reply(
            body={
                "responses": [
                    {"id": number, "status": reply.status, "headers": reply.headers, "body": reply.body}
                    for number, reply in replies
                ]
            }
        )

    return script


def test_a_mailbox_is_found_by_any_of_its_users_addresses(tenant: Tenant, hook: GraphHook) -> None:
    jane = user(
        1, "smtp:j.doe@example.com", "SMTP:Jane.Doe@example.com", name="jane@example.org", mail="jd@example.com"
    )
    tenant.on("POST", r"/\$batch", directory(jane))

    found = hook.find_mailboxes(["J.DOE@example.com", " jane@Example.org", "jd@example.com", "nobody@example.com"])

    assert found == {"j.doe@example.com": "id-1", "jane@example.org": "id-1", "jd@example.com": "id-1"}


def test_addresses_are_looked_up_twenty_a_request_and_users_probed_once(tenant: Tenant, hook: GraphHook) -> None:
    seen: list[int] = []
    users = [user(number, f"smtp:alias{number}@example.com") for number in range(1, 22)]
    tenant.on("POST", r"/\$batch", directory(*users, seen=seen))

    found = hook.find_mailboxes(
        [f"{kind}{number}@example.com" for number in range(1, 22) for kind in ("user", "alias")]
    )

    assert len(found) == 42
    assert seen == [20, 20, 2, 20, 1]


def test_an_apostrophe_in_an_address_is_looked_for_as_it_is(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("POST", r"/\$batch", directory(user(1, "smtp:o'brien@example.com")))

    assert set(hook.find_mailboxes(["O'Brien@example.com"])) == {"o'brien@example.com"}


def test_what_is_no_address_is_not_looked_up(tenant: Tenant, hook: GraphHook) -> None:
    assert hook.find_mailboxes(["", "n/a", "two words@example.com", "a@b@c", "+447700900123"]) == {}
    assert not tenant.requests


@pytest.mark.parametrize(
    "probe",
    [
        error(404, "MailboxNotEnabledForRESTAPI"),
        error(404, "SomethingNew"),
        error(400, "ErrorInvalidUser"),
    ],
)
def test_a_user_whose_mailbox_graph_does_not_know_has_none(tenant: Tenant, hook: GraphHook, probe: Reply) -> None:
    tenant.on("POST", r"/\$batch", directory(user(1), user(2), probes={"id-1": probe}))

    found = hook.find_mailboxes(["user1@example.com", "user2@example.com"])

    assert set(found) == {"user2@example.com"}


def test_mailboxes_out_of_scope_are_counted_in_the_log(
    tenant: Tenant, hook: GraphHook, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant.on("POST", r"/\$batch", directory(user(1), probes={"id-1": error(403, "ErrorAccessDenied")}))

    hook.find_mailboxes(["user1@example.com"])

    assert "Graph refuses 1 mailboxes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        (error(403, "ErrorAccessDenied"), {"jane@example.com": "id-1"}),
        (error(404, "MailboxNotEnabledForRESTAPI"), {}),
    ],
)
def test_an_address_never_leads_to_a_second_choice_because_the_first_cannot_be_opened(
    tenant: Tenant, hook: GraphHook, probe: Reply, found: dict[str, str]
) -> None:
    seen: list[int] = []
    jane, other = user(1, "SMTP:jane@example.com"), user(2, mail="jane@example.com")
    tenant.on("POST", r"/\$batch", directory(jane, other, probes={"id-1": probe}, seen=seen))

    assert hook.find_mailboxes(["jane@example.com"]) == found
    assert seen == [1, 1]


def test_an_address_of_two_users_leads_to_neither_though_only_one_has_a_mailbox(
    tenant: Tenant, hook: GraphHook
) -> None:
    users = user(1, mail="desk@example.com"), user(2, mail="desk@example.com")
    tenant.on("POST", r"/\$batch", directory(*users, probes={"id-1": error(404, "MailboxNotEnabledForRESTAPI")}))

    assert hook.find_mailboxes(["desk@example.com"]) == {}


def test_a_graph_that_refuses_every_mailbox_lacks_a_permission(tenant: Tenant, hook: GraphHook) -> None:
    refusal = error(403, "ErrorAccessDenied")
    tenant.on("POST", r"/\$batch", directory(user(1), user(2), probes={"id-1": refusal, "id-2": refusal}))

    with pytest.raises(StopError, match=r"Mail\.ReadWrite"):
        hook.find_mailboxes(["user1@example.com", "user2@example.com"])


def test_a_probe_that_fails_for_another_reason_is_no_verdict(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("POST", r"/\$batch", directory(user(1), probes={"id-1": error(503, "ErrorServerBusy")}))

    with pytest.raises(RetryError):
        hook.find_mailboxes(["user1@example.com"])


def test_a_proxy_address_counts_for_more_than_another_users_mail(tenant: Tenant, hook: GraphHook) -> None:
    guest = user(1, mail="jane@example.com", name="jane_example.com#ext#@example.org")
    jane = user(2, "SMTP:jane@example.com")
    tenant.on("POST", r"/\$batch", directory(guest, jane))

    assert hook.find_mailboxes(["jane@example.com"]) == {"jane@example.com": "id-2"}


def test_an_address_of_two_users_leads_to_neither(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("POST", r"/\$batch", directory(user(1, mail="desk@example.com"), user(2, mail="desk@example.com")))

    assert hook.find_mailboxes(["desk@example.com"]) == {}


def test_a_directory_that_may_not_be_read_stops_with_the_permissions_name(tenant: Tenant, hook: GraphHook) -> None:
    refusal = {"id": "0", "status": 403, "body": error(403, "Authorization_RequestDenied").body}
    tenant.on("POST", r"/\$batch", Reply(body={"responses": [refusal]}))

    with pytest.raises(StopError, match=r"User\.Read\.All"):
        hook.find_mailboxes(["user1@example.com"])


# Batches


def replies(*statuses: tuple[str, int, dict[str, str]]) -> Reply:
    return Reply(
        body={
            "responses": [
                {"id": number, "status": status, "headers": headers, "body": {"id": f"{number}!"}}
                for number, status, headers in statuses
            ]
        }
    )


def test_only_what_was_throttled_in_a_batch_is_sent_again_after_its_wait(
    tenant: Tenant, hook: GraphHook, moment: Time
) -> None:
    tenant.on(
        "POST",
        r"/\$batch",
        replies(("1", 429, {"retry-after": "30.5"}), ("0", 200, {}), ("2", 503, {"Retry-After": "3"})),
        replies(("2", 200, {}), ("1", 201, {})),
    )

    answers = hook.graph.batch([get("/a"), post("/b", {"x": 1}), get("/c")])

    first, second = (request.json["requests"] for request in tenant.asked("POST", r"/\$batch"))
    assert [one["id"] for one in first] == ["0", "1", "2"]
    assert [one["id"] for one in second] == ["1", "2"]
    assert first[1]["headers"]["Content-Type"] == "application/json"
    assert all(one["headers"]["Prefer"] == 'IdType="ImmutableId"' for one in first + second)
    assert [answer.status for answer in answers] == [200, 201, 200]
    assert [answer.body["id"] for answer in answers] == ["0!", "1!", "2!"]
    assert moment.waits == [30.5]


def test_what_may_have_been_executed_in_a_batch_is_not_sent_again(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("POST", r"/\$batch", replies(("0", 504, {}), ("1", 504, {})), replies(("1", 200, {})))

    answers = hook.graph.batch([post("/a", {}), get("/b")])

    assert [answer.status for answer in answers] == [504, 200]
    assert answers[0].effect_unknown
    assert [one["id"] for one in tenant.asked("POST", r"/\$batch")[1].json["requests"]] == ["1"]


def test_a_lost_batch_is_sent_again_only_for_its_questions(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("POST", r"/\$batch", LOST, replies(("1", 200, {})))

    answers = hook.graph.batch([post("/a", {}), get("/b")])

    assert answers[0].effect_unknown
    assert answers[1].ok


def test_an_answer_missing_from_a_batch_is_a_lost_one(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("POST", r"/\$batch", replies(("1", 200, {}), ("7", 200, {}), ("x", 200, {})))

    answers = hook.graph.batch([post("/a", {}), post("/b", {})])

    assert answers[0].effect_unknown
    assert answers[1].ok


def test_a_batch_of_more_than_twenty_is_a_mistake(hook: GraphHook) -> None:
    with pytest.raises(ValueError, match="20"):
        hook.graph.batch([Call(method="GET", path="/a")] * 21)


# The folder

CHILDREN = f"/users/{BOX}/mailFolders/msgfolderroot/childFolders"


def folder(name: str, folder_id: str = "f1") -> dict[str, Any]:
    return {"id": folder_id, "displayName": name}


def test_a_folder_that_is_there_is_not_made_again_whatever_its_case_or_page(tenant: Tenant, hook: GraphHook) -> None:
    following = f"{tenant.url}/v1.0{CHILDREN}?page=2"
    tenant.on("GET", rf"{CHILDREN}\?page=2", listed(folder(FOLDER_NAME.upper())))
    tenant.on("GET", rf"{CHILDREN}\?include.*", listed(folder("Other", "f0"), following=following))

    assert hook.ensure_folder(BOX, FOLDER_NAME) == "f1"
    assert not tenant.asked("POST", CHILDREN)


def test_a_missing_folder_is_made(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{CHILDREN}.*", listed())
    tenant.on("POST", CHILDREN, created("f2"))

    assert hook.ensure_folder(BOX, FOLDER_NAME) == "f2"
    assert tenant.asked("POST", CHILDREN)[0].json == {"displayName": FOLDER_NAME}


@pytest.mark.parametrize("reply", [error(409, "ErrorFolderExists"), error(500, "UnknownError"), LOST])
def test_a_folder_that_exists_after_all_is_looked_for_again(tenant: Tenant, hook: GraphHook, reply: Reply) -> None:
    tenant.on("GET", f"{CHILDREN}.*", listed(), listed(folder(FOLDER_NAME)))
    tenant.on("POST", CHILDREN, reply)

    assert hook.ensure_folder(BOX, FOLDER_NAME) == "f1"
    assert len(tenant.asked("POST", CHILDREN)) == 1


def test_a_folder_that_neither_shows_nor_can_be_made_is_given_up(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{CHILDREN}.*", listed())
    tenant.on("POST", CHILDREN, error(409, "ErrorFolderExists"))

    with pytest.raises(RetryError, match="neither"):
        hook.ensure_folder(BOX, FOLDER_NAME)


def test_a_mailbox_that_takes_no_folder_is_set_aside_with_its_cause(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{CHILDREN}.*", listed())
    tenant.on("POST", CHILDREN, error(507, "ErrorQuotaExceeded"))

    with pytest.raises(MailboxError) as caught:
        hook.ensure_folder(BOX, FOLDER_NAME)

    assert caught.value.cause == "ErrorQuotaExceeded"


# What is there already


def test_the_folder_is_listed_once_for_all_of_its_items(tenant: Tenant, hook: GraphHook) -> None:
    following = f"{tenant.url}/v1.0{MESSAGES}?page=2"
    tenant.on("GET", rf"{MESSAGES}\?page=2", listed(archived("m3", "i3"), {"id": "user's own"}))
    tenant.on(
        "GET", rf"{MESSAGES}\?\$select.*", listed(archived("m1", "i1"), archived("m2", "i2"), following=following)
    )

    assert hook.archived_items(BOX, FOLDER, mine=()) == {"i1": "m1", "i2": "m2", "i3": "m3"}
    first = unquote(tenant.asked("GET", f"{MESSAGES}.*")[0].path)
    assert "$top=1000" in first
    assert f"$expand=singleValueExtendedProperties($filter=id eq '{ITEM_PROPERTY}')" in first


def test_a_page_that_comes_again_ends_the_listing(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{MESSAGES}.*", listed(archived("m1", "i1"), following=f"{tenant.url}/v1.0{MESSAGES}?page=2"))

    with pytest.raises(RetryError, match="twice"):
        hook.archived_items(BOX, FOLDER, mine=())


def test_a_page_elsewhere_never_sees_the_token(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{MESSAGES}.*", listed(following=f"{tenant.url}.example.com/v1.0/x"))

    with pytest.raises(StopError, match="graph_url"):
        hook.archived_items(BOX, FOLDER, mine=())


def test_a_list_that_is_none_is_not_taken_for_an_empty_folder(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"{MESSAGES}.*", Reply(body={"surprise": True}))

    with pytest.raises(RetryError, match="no list"):
        hook.archived_items(BOX, FOLDER, mine=())


def test_what_a_killed_import_left_unfinished_is_removed_after_the_listing(tenant: Tenant, hook: GraphHook) -> None:
    torn = archived("m/1", "i1", categories=("SMS", UNFINISHED_CATEGORY))
    tenant.on("GET", f"{MESSAGES}.*", listed(torn, archived("m2", "i2", categories=("SMS",))))
    tenant.on("POST", r".*/permanentDelete", Reply(status=204))

    assert hook.archived_items(BOX, FOLDER, mine={"i1", "i2"}) == {"i2": "m2"}
    assert tenant.requests[-1].path == f"/users/{BOX}/messages/m%2F1/permanentDelete"


def test_what_another_run_may_be_about_to_finish_is_neither_removed_nor_returned(
    tenant: Tenant, hook: GraphHook
) -> None:
    others, torn = (archived(f"m{n}", f"i{n}", categories=(UNFINISHED_CATEGORY,)) for n in (1, 2))
    tenant.on("GET", f"{MESSAGES}.*", listed(others, torn, archived("m3", "i3")))
    tenant.on("POST", r".*/permanentDelete", Reply(status=204))

    there = hook.archived_items(BOX, FOLDER, mine={"i2"})

    assert there == {"i3": "m3"}
    (removal,) = tenant.asked("POST", ".*/messages/.*")
    assert removal.path == f"/users/{BOX}/messages/m2/permanentDelete"
    assert not tenant.asked("DELETE", ".*")


def test_an_item_is_looked_for_in_the_whole_mailbox(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("GET", f"/users/{BOX}/messages.*", listed(archived("m1", "o'clock")))

    assert hook.find_item(BOX, "o'clock") == "m1"
    condition = f"singleValueExtendedProperties/any(ep: ep/id eq '{ITEM_PROPERTY}' and ep/value eq 'o''clock')"
    assert f"$filter={condition}" in unquote(tenant.requests[-1].path)


def test_an_unfinished_message_is_no_item(tenant: Tenant, hook: GraphHook) -> None:
    torn = archived("m1", "i1", categories=(UNFINISHED_CATEGORY,))
    tenant.on("GET", f"/users/{BOX}/messages.*", listed(torn))
    tenant.on("POST", r".*/permanentDelete", Reply(status=204))

    assert hook.find_item(BOX, "i1") is None
    assert tenant.asked("POST", r".*/permanentDelete")


# Creating


def test_a_small_message_is_one_request_with_its_attachments(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("POST", MESSAGES, created())
    picture = attachment(b"\x00\xff", name="a.jpg")

    assert hook.create_message(BOX, FOLDER, message(categories=["SMS"]), [picture]) == "m1"

    (request,) = tenant.asked("POST", ".*/messages.*")
    assert request.json == {
        **message(categories=["SMS"]),
        "attachments": [
            {
                "@odata.type": "#microsoft.graph.fileAttachment",
                "name": "a.jpg",
                "contentType": "image/jpeg",
                "contentBytes": "AP8=",
                "isInline": False,
            }
        ],
    }


def test_a_message_without_its_item_is_not_sent(tenant: Tenant, hook: GraphHook) -> None:
    with pytest.raises(ItemError, match="which item"):
        hook.create_message(BOX, FOLDER, {"subject": "SMS"}, [])

    assert not tenant.requests


@pytest.mark.parametrize("reply", [LOST, error(500, "x"), error(502, "x"), error(504, "x"), error(503, "x"), Reply()])
def test_a_create_whose_answer_was_lost_is_settled_by_asking(
    tenant: Tenant, hook: GraphHook, moment: Time, reply: Reply
) -> None:
    tenant.on("POST", MESSAGES, reply)
    tenant.on("GET", f"/users/{BOX}/messages.*", listed(archived("m9", "0a1b")))

    assert hook.create_message(BOX, FOLDER, message(), []) == "m9"
    assert len(tenant.asked("POST", MESSAGES)) == 1
    assert moment.waits == [SETTLE]


def test_a_create_that_did_not_happen_is_sent_again_after_asking(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("POST", MESSAGES, LOST, created("m2"))
    tenant.on("GET", f"/users/{BOX}/messages.*", listed())

    assert hook.create_message(BOX, FOLDER, message(), []) == "m2"
    assert [request.method for request in tenant.requests[-3:]] == ["POST", "GET", "POST"]


def test_a_throttled_create_is_sent_again_without_asking(tenant: Tenant, hook: GraphHook, moment: Time) -> None:
    tenant.on(
        "POST",
        MESSAGES,
        error(429, "ApplicationThrottled", Retry_After="20"),
        error(503, "ErrorServerBusy", Retry_After="30"),
        created(),
    )

    assert hook.create_message(BOX, FOLDER, message(), []) == "m1"
    assert moment.waits == [20, 30]


def test_a_create_that_is_lost_again_and_again_ends(tenant: Tenant, hook: GraphHook, moment: Time) -> None:
    tenant.on("POST", MESSAGES, LOST)
    tenant.on("GET", f"/users/{BOX}/messages.*", listed())

    with pytest.raises(RetryError, match="lost"):
        hook.create_message(BOX, FOLDER, message(), [])

    assert tenant.requests[-1].method == "GET"  # the mailbox had the last word
    assert PATIENCE <= sum(moment.waits) < PATIENCE + 2 * SETTLE


def test_a_graph_that_cannot_be_reached_was_not_asked(connect: Connect, here: dict[str, str], moment: Time) -> None:
    hook = connect(**here | {"graph_url": "https://localhost:1/v1.0"})

    with pytest.raises(RetryError, match="NotSent"):
        hook.create_message(BOX, FOLDER, message(), [])

    assert SETTLE not in moment.waits


def test_connections_that_another_thread_dropped_are_not_taken_for_a_lost_answer(
    tenant: Tenant, hook: GraphHook, moment: Time
) -> None:
    tenant.on("GET", f"{MESSAGES}.*", listed())
    hook.archived_items(BOX, FOLDER, mine=())
    pools = hook.get_conn().get_adapter(tenant.url).poolmanager.pools
    for pool in map(pools.get, pools.keys()):
        pool.close()

    with pytest.raises(RetryError, match="NotSent"):
        hook.create_message(BOX, FOLDER, message(), [])

    assert SETTLE not in moment.waits


def test_a_refused_message_is_its_items_fault(tenant: Tenant, hook: GraphHook) -> None:
    tenant.on("POST", MESSAGES, error(400, "ErrorInvalidRecipients"))

    with pytest.raises(ItemError) as caught:
        hook.create_message(BOX, FOLDER, message(), [])

    assert caught.value.fault == "ErrorInvalidRecipients"


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (error(507, "ErrorQuotaExceeded"), "ErrorQuotaExceeded"),
        (error(404, "ErrorItemNotFound"), "ErrorFolderNotFound"),  # all that a new message needs is its folder
    ],
)
def test_a_mailbox_that_takes_nothing_is_set_aside_with_its_cause(
    tenant: Tenant, hook: GraphHook, reply: Reply, cause: str
) -> None:
    tenant.on("POST", MESSAGES, reply)

    with pytest.raises(MailboxError) as caught:
        hook.create_message(BOX, FOLDER, message(), [])

    assert caught.value.cause == cause


# Attachments that follow

MESSAGE = f"/users/{BOX}/messages/m1"
BIG = bytes(range(256)) * 10_000  # 2.56 MB: two do not fit into one request
POST_MOST = 3_145_632  # bytes that fit one request of 4 MiB, as base64 with name and type around it
HUGE = bytes(range(251)) * 31_400  # 7.9 MB: three chunks


class Upload:
    """Take an attachment's parts as Outlook does; `faults` say what happens at each request instead."""

    def __init__(self, tenant: Tenant, *faults: Reply | Script | None) -> None:
        self.tenant = tenant
        self.data = b""
        self.faults = list(faults)
        self.opened = 0
        tenant.on("POST", f"{MESSAGE}/attachments/createUploadSession", self.open)
        tenant.on("PUT", "/upload/.*", self.put)
        tenant.on("GET", "/upload/.*", lambda _: self.state())
        tenant.on("GET", rf"{MESSAGE}/attachments\?.*", listed())
        tenant.on("POST", MESSAGES, created())
        tenant.on("PATCH", MESSAGE, Reply(body={"id": "m1"}))
        tenant.on("POST", f"{MESSAGE}/permanentDelete", Reply(status=204))

    def open(self, request: Request) -> Reply:
        self.opened += 1
        self.data = b""
        self.size = request.json["AttachmentItem"]["size"]
        return Reply(status=201, body={"uploadUrl": f"{self.tenant.url}/upload/{self.opened}?authtoken=key"})

    def put(self, request: Request) -> Reply:
        assert "authorization" not in request.headers
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            return fault(request) if callable(fault) else fault
        return self.take(request)

    def take(self, request: Request) -> Reply:
        first, last, size = map(int, re.findall(r"\d+", request.headers["content-range"]))
        if (first, size) != (len(self.data), self.size) or len(request.body) != last - first + 1:
            return error(416, "invalidRange")
        self.data += request.body
        return Reply(status=201) if len(self.data) == self.size else self.state()

    def state(self) -> Reply:
        return Reply(body={"nextExpectedRanges": [str(len(self.data))]})

    def take_and_lose(self, request: Request) -> Reply:
        self.take(request)
        return LOST


def test_what_does_not_fit_follows_and_the_message_is_marked_until_it_is_there(tenant: Tenant, hook: GraphHook) -> None:
    Upload(tenant)
    tenant.on("POST", f"{MESSAGE}/attachments", Reply(status=201, body={"id": "a"}))
    files = [attachment(BIG, name="first"), attachment(BIG, name="second"), attachment(b"small", name="third")]

    hook.create_message(BOX, FOLDER, message(categories=["SMS"]), files)

    create, attach, finish = (
        request for request in tenant.requests if MESSAGES in request.path or MESSAGE in request.path
    )
    assert [one["name"] for one in create.json["attachments"]] == ["first", "third"]
    assert create.json["categories"] == ["SMS", UNFINISHED_CATEGORY]
    assert attach.json["name"] == "second"
    assert base64.b64decode(attach.json["contentBytes"]) == BIG
    assert (finish.method, finish.json) == ("PATCH", {"categories": ["SMS"]})


def test_a_create_with_attachments_stays_below_four_megabytes(tenant: Tenant, hook: GraphHook) -> None:
    Upload(tenant)
    text = message(body={"contentType": "text", "content": "x" * 600_000})

    hook.create_message(BOX, FOLDER, text, [attachment(bytes(INLINE_LIMIT - 600_000 - 1000))])

    (create,) = tenant.asked("POST", MESSAGES)
    assert len(create.json["attachments"]) == 1
    assert len(create.body) < 4_000_000


def test_a_large_attachment_goes_up_in_parts_without_the_token(tenant: Tenant, hook: GraphHook) -> None:
    upload = Upload(tenant)

    hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])

    assert upload.data == HUGE
    assert max(len(request.body) for request in tenant.asked("PUT", ".*")) == CHUNK
    (opened,) = tenant.asked("POST", f"{MESSAGE}/attachments/createUploadSession")
    assert opened.json["AttachmentItem"] == {
        "attachmentType": "file",
        "name": "a.jpg",
        "size": len(HUGE),
        "contentType": "image/jpeg",
        "isInline": False,
    }


def test_a_session_serves_what_does_not_fit_one_request(tenant: Tenant, hook: GraphHook) -> None:
    upload = Upload(tenant)
    tenant.on("POST", f"{MESSAGE}/attachments", Reply(status=201, body={"id": "a"}))

    hook.create_message(BOX, FOLDER, message(), [attachment(bytes(POST_MOST)), attachment(bytes(POST_MOST + 1))])

    (posted,) = tenant.asked("POST", f"{MESSAGE}/attachments")
    assert REQUEST_LIMIT - 4 < len(posted.body) <= REQUEST_LIMIT
    assert len(upload.data) == POST_MOST + 1


@pytest.mark.parametrize("fault", [LOST, error(503, "ErrorServerBusy", Retry_After="1"), error(429, "x")])
def test_a_part_that_did_not_arrive_is_sent_again(tenant: Tenant, hook: GraphHook, fault: Reply) -> None:
    upload = Upload(tenant, None, fault)

    hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])

    assert upload.data == HUGE
    assert upload.opened == 1


def test_a_part_that_arrived_although_its_answer_was_lost_is_not_sent_again(tenant: Tenant, hook: GraphHook) -> None:
    upload = Upload(tenant)
    upload.faults = [upload.take_and_lose]

    hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])

    assert upload.data == HUGE
    assert len(tenant.asked("PUT", ".*")) == 3


def test_a_part_that_arrived_in_part_goes_on_where_graph_says(tenant: Tenant, hook: GraphHook) -> None:
    upload = Upload(tenant)

    def take_some(request: Request) -> Reply:
        upload.data += request.body[:1000]
        return upload.state()

    upload.faults = [None, take_some]

    hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])

    assert upload.data == HUGE
    assert upload.opened == 1


def test_a_session_that_ended_starts_over(tenant: Tenant, hook: GraphHook) -> None:
    upload = Upload(tenant, None, error(404, "ErrorItemNotFound"))

    hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])

    assert upload.data == HUGE
    assert upload.opened == 2


def test_a_last_part_whose_answer_was_lost_is_not_attached_twice(tenant: Tenant, hook: GraphHook, moment: Time) -> None:
    upload = Upload(tenant)
    upload.faults = [None, None, upload.take_and_lose]
    tenant.on("GET", "/upload/.*", error(404, "ErrorItemNotFound"))
    tenant.on("GET", rf"{MESSAGE}/attachments\?.*", listed({"id": "a"}))

    hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])

    assert upload.opened == 1
    assert SETTLE in moment.waits


def test_a_session_that_never_moves_ends(tenant: Tenant, hook: GraphHook) -> None:
    Upload(tenant, *[Reply(body={"nextExpectedRanges": ["0"]})] * 9)

    with pytest.raises(RetryError, match="sessions"):
        hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])

    assert tenant.requests[-1].path == f"{MESSAGE}/permanentDelete"


def test_a_session_at_no_https_address_is_not_used(tenant: Tenant, hook: GraphHook) -> None:
    Upload(tenant)
    tenant.on(
        "POST",
        f"{MESSAGE}/attachments/createUploadSession",
        Reply(status=201, body={"uploadUrl": "http://example.com"}),
    )

    with pytest.raises(RetryError, match="https"):
        hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])


def test_a_posted_attachment_whose_answer_was_lost_is_not_posted_twice(
    tenant: Tenant, hook: GraphHook, moment: Time
) -> None:
    Upload(tenant)
    tenant.on("POST", f"{MESSAGE}/attachments", LOST)
    tenant.on("GET", rf"{MESSAGE}/attachments\?.*", listed({"id": "a"}, {"id": "b"}))

    hook.create_message(BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])

    assert len(tenant.asked("POST", f"{MESSAGE}/attachments")) == 1
    assert moment.waits == [SETTLE]


def test_a_posted_attachment_that_is_not_there_is_posted_again(tenant: Tenant, hook: GraphHook) -> None:
    Upload(tenant)
    tenant.on("POST", f"{MESSAGE}/attachments", LOST, Reply(status=201))
    tenant.on("GET", rf"{MESSAGE}/attachments\?.*", listed({"id": "a"}))

    hook.create_message(BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])

    assert len(tenant.asked("POST", f"{MESSAGE}/attachments")) == 2


def test_a_message_that_a_server_does_not_know_yet_is_tried_again(
    tenant: Tenant, hook: GraphHook, moment: Time
) -> None:
    Upload(tenant)
    tenant.on(
        "POST",
        f"{MESSAGE}/attachments",
        error(404, "ErrorItemNotFound"),
        error(404, "ErrorItemNotFound"),
        Reply(status=201),
    )

    hook.create_message(BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])

    assert moment.waits == [0.75, 1.5]


def test_a_message_that_is_gone_for_good_is_left_to_retries(tenant: Tenant, hook: GraphHook) -> None:
    Upload(tenant)
    tenant.on("POST", f"{MESSAGE}/attachments", error(404, "ErrorItemNotFound"))

    with pytest.raises(RetryError, match="not there"):
        hook.create_message(BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])


def test_a_message_whose_attachment_is_refused_is_removed(tenant: Tenant, hook: GraphHook) -> None:
    Upload(tenant)
    tenant.on("POST", f"{MESSAGE}/attachments", error(400, "malwareDetected"))

    with pytest.raises(ItemError) as caught:
        hook.create_message(BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])

    assert caught.value.fault == "malwareDetected"
    assert tenant.requests[-1].path == f"{MESSAGE}/permanentDelete"
    assert not tenant.asked("PATCH", ".*")


def test_where_a_message_cannot_be_deleted_for_good_it_is_deleted(tenant: Tenant, hook: GraphHook) -> None:
    Upload(tenant, error(413, "ErrorMessageSizeExceeded"))
    tenant.on("POST", f"{MESSAGE}/permanentDelete", error(400, "BadRequest"))
    tenant.on("DELETE", MESSAGE, Reply(status=204))

    with pytest.raises(ItemError, match="ErrorMessageSizeExceeded"):
        hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])

    assert tenant.asked("DELETE", MESSAGE)


def test_a_removal_that_fails_does_not_hide_why(
    tenant: Tenant, hook: GraphHook, capsys: pytest.CaptureFixture[str]
) -> None:
    Upload(tenant, error(413, "ErrorMessageSizeExceeded"))
    tenant.on("POST", f"{MESSAGE}/permanentDelete", error(400, "BadRequest"))
    tenant.on("DELETE", MESSAGE, error(403, "ErrorAccessDenied"))

    with pytest.raises(ItemError, match="ErrorMessageSizeExceeded"):
        hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])

    assert "could not be removed" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [-1, +1])
@pytest.mark.parametrize("content", [BIG, HUGE])
def test_an_attachment_of_another_size_than_recorded_leaves_no_message(
    tenant: Tenant, hook: GraphHook, content: bytes, wrong: int
) -> None:
    Upload(tenant)
    files = [attachment(BIG), attachment(content, size=len(content) + wrong)]

    with pytest.raises(IntegrityError, match="attachment is"):
        hook.create_message(BOX, FOLDER, message(), files)

    assert tenant.requests[-1].path == f"{MESSAGE}/permanentDelete"


def test_an_attachment_whose_bytes_cannot_be_had_leaves_no_message(tenant: Tenant, hook: GraphHook) -> None:
    Upload(tenant)

    def broken() -> AbstractContextManager[BinaryIO]:
        raise ConnectionError

    last = dataclasses.replace(attachment(BIG), open=broken)

    with pytest.raises(ConnectionError):
        hook.create_message(BOX, FOLDER, message(), [attachment(BIG), last])

    assert tenant.requests[-1].path == f"{MESSAGE}/permanentDelete"


def test_an_attachment_that_graph_never_takes_is_known_before_anything_is_sent(tenant: Tenant, hook: GraphHook) -> None:
    with pytest.raises(ItemError, match="150 MB"):
        hook.create_message(BOX, FOLDER, message(), [attachment(size=151 * 1024 * 1024)])

    assert not tenant.requests


def test_an_upload_leaves_no_key_in_the_log(tenant: Tenant, hook: GraphHook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Upload(tenant)

    hook.create_message(BOX, FOLDER, message(), [attachment(HUGE)])

    assert "authtoken" not in caplog.text


# The sandbox


@pytest.fixture(scope="module")
def running_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=1, users=40) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Iterator[Sandbox]:
    running_sandbox.graph.reset()
    yield running_sandbox
    assert running_sandbox.graph.breaches == []


def access_to(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "login": sandbox.client_id,
        "password": sandbox.client_secret,
        "tenant_id": sandbox.tenant_id,
        "authority": sandbox.authority,
        "graph_url": sandbox.graph_url,
        "ca_file": str(sandbox.ca_file),
    }


@pytest.fixture
def real(sandbox: Sandbox, connect: Connect) -> GraphHook:
    return connect(**access_to(sandbox))


@pytest.fixture
def box(sandbox: Sandbox) -> str:
    return next(user.id for user in sandbox.world.directory if user.mailbox == "ok")


def kept(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return all messages of all mailboxes, deleted ones left out."""
    return [json.loads(line) for line in messages_of(sandbox.graph)]


def whole(item_id: str = "0a1b") -> dict[str, Any]:
    """Return a message as the archive writes it: no draft, with its own dates."""
    address = {"emailAddress": {"name": "+44 7700 900123", "address": "447700900123@o2.example.com"}}
    return {
        "subject": "SMS with +44 7700 900123",
        "body": {"contentType": "text", "content": "Hello"},
        "from": address,
        "toRecipients": [address],
        "categories": ["O2"],
        "singleValueExtendedProperties": [
            {"id": "Integer 0x0E07", "value": "1"},
            {"id": "SystemTime 0x0039", "value": "2026-11-21T12:00:00Z"},
            {"id": "SystemTime 0x0E06", "value": "2026-11-21T12:00:01Z"},
            {"id": ITEM_PROPERTY, "value": item_id},
        ],
    }


def test_the_sandboxs_directory_is_read_as_it_is(sandbox: Sandbox, real: GraphHook) -> None:
    users = sandbox.world.directory
    proxies = {user.id: [proxy.partition(":")[2] for proxy in user.proxy_addresses] for user in users}
    addresses = [address for one in users for address in [*proxies[one.id], one.mail or "", one.user_principal_name]]

    found = real.find_mailboxes([*addresses, "nobody@example.com"])

    assert set(found.values()) == {one.id for one in users if one.mailbox != "none"}
    assert all(address.lower() in found for one in users if one.mailbox == "ok" for address in proxies[one.id])


def test_a_message_is_archived_once_and_found_again(sandbox: Sandbox, real: GraphHook, box: str) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)

    message_id = real.create_message(box, folder_id, whole(), [attachment(b"picture")])

    assert real.ensure_folder(box, FOLDER_NAME) == folder_id
    assert real.archived_items(box, folder_id, mine=()) == {"0a1b": message_id}
    assert real.find_item(box, "0a1b") == message_id
    assert real.find_item(box, "0a1c") is None
    (one,) = kept(sandbox)
    assert (one["isDraft"], one["folder"], one["sentDateTime"]) == (False, FOLDER_NAME, "2026-11-21T12:00:00Z")
    assert [file["size"] for file in one["attachments"]] == [7]


def test_a_folder_of_more_than_a_page_is_listed_in_full(sandbox: Sandbox, real: GraphHook, box: str) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)
    keys = [f"{number:040x}" for number in range(1001)]
    for start in range(0, len(keys), 20):
        real.graph.batch([create_call(box, folder_id, whole(key)) for key in keys[start : start + 20]])

    assert set(real.archived_items(box, folder_id, mine=())) == set(keys)


@pytest.mark.parametrize("how", ["504", "cut"])
def test_a_lost_answer_leaves_one_message(sandbox: Sandbox, real: GraphHook, box: str, moment: Time, how: str) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)
    sandbox.graph.faults.add("executed_but_lost", path="/messages$", how=how)

    message_id = real.create_message(box, folder_id, whole(), [])

    assert [one["id"] for one in kept(sandbox)] == [message_id]
    assert moment.waits == [SETTLE]


def test_a_write_that_lands_late_is_waited_for(
    sandbox: Sandbox, real: GraphHook, box: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)
    hook = GraphHook(settle_seconds=0.5)
    sandbox.graph.faults.add("late", path="/messages$", seconds=0.2)

    message_id = hook.create_message(box, folder_id, whole(), [])

    assert [one["id"] for one in kept(sandbox)] == [message_id]


def test_attachments_of_every_size_arrive_as_they_are(sandbox: Sandbox, real: GraphHook, box: str) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)
    contents = [b"", b"small", BIG, bytes(POST_MOST), bytes(3 * 1024 * 1024), HUGE]
    sandbox.graph.faults.add("attachment_404", times=2, path="/attachments$")

    real.create_message(box, folder_id, whole(), [attachment(one) for one in contents])

    (one,) = kept(sandbox)
    assert sorted(file["sha256"] for file in one["attachments"]) == sorted(map(digest, contents))
    assert (one["isDraft"], one["categories"]) == (False, ["O2"])


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_an_attachment_whose_answer_was_lost_is_there_once(sandbox: Sandbox, real: GraphHook, box: str) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)
    sandbox.graph.faults.add("executed_but_lost", path="/attachments$")

    real.create_message(box, folder_id, whole(), [attachment(BIG), attachment(BIG)])

    (one,) = kept(sandbox)
    assert len(one["attachments"]) == 2


def test_a_part_that_fails_in_the_sandbox_is_resumed(sandbox: Sandbox, real: GraphHook, box: str) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)
    sandbox.graph.faults.add("cut", path="^/upload")
    sandbox.graph.faults.add("status", path="^/upload", status=503, code="ErrorServerBusy")

    real.create_message(box, folder_id, whole(), [attachment(HUGE)])

    (one,) = kept(sandbox)
    assert [file["sha256"] for file in one["attachments"]] == [digest(HUGE)]


def test_an_import_killed_between_two_attachments_leaves_one_message_in_the_end(
    sandbox: Sandbox, real: GraphHook, box: str
) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)

    def killed() -> AbstractContextManager[BinaryIO]:
        raise KeyboardInterrupt

    last = dataclasses.replace(attachment(BIG), open=killed)
    with pytest.raises(KeyboardInterrupt):
        real.create_message(box, folder_id, whole(), [attachment(BIG), last])
    (torn,) = kept(sandbox)

    there = real.archived_items(box, folder_id, mine={"0a1b"})
    message_id = real.create_message(box, folder_id, whole(), [attachment(BIG), attachment(BIG)])

    assert UNFINISHED_CATEGORY in torn["categories"]
    assert there == {}
    assert [(one["id"], len(one["attachments"])) for one in kept(sandbox)] == [(message_id, 2)]


def test_a_message_too_large_for_its_mailbox_leaves_nothing(
    sandbox: Sandbox, real: GraphHook, box: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)
    monkeypatch.setattr(sandbox.graph, "message_bytes", 6_000_000)

    with pytest.raises(ItemError, match="ErrorMessageSizeExceeded"):
        real.create_message(box, folder_id, whole(), [attachment(BIG), attachment(HUGE)])

    assert kept(sandbox) == []
    assert real.find_item(box, "0a1b") is None


def test_a_full_mailbox_is_set_aside(sandbox: Sandbox, real: GraphHook) -> None:
    full = next(user.id for user in sandbox.world.directory if user.mailbox == "full")

    with pytest.raises(MailboxError) as caught:
        real.create_message(full, real.ensure_folder(full, FOLDER_NAME), whole(), [])

    assert caught.value.cause == "ErrorQuotaExceeded"


def test_a_mailbox_out_of_scope_is_found_and_set_aside_with_its_cause(sandbox: Sandbox, real: GraphHook) -> None:
    denied = next(one for one in sandbox.world.directory if one.mailbox == "denied")
    found = real.find_mailboxes([denied.user_principal_name])

    with pytest.raises(MailboxError, match=r"Mail\.ReadWrite") as caught:
        real.ensure_folder(denied.id, FOLDER_NAME)

    assert list(found.values()) == [denied.id]
    assert caught.value.cause == "ErrorAccessDenied"


def test_a_folder_that_somebody_removed_is_named_as_the_cause(sandbox: Sandbox, real: GraphHook, box: str) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)
    real.graph.batch([Call(method="DELETE", path=f"/users/{box}/mailFolders/{quote(folder_id)}")])

    with pytest.raises(MailboxError) as caught:
        real.create_message(box, folder_id, whole(), [])

    assert caught.value.cause == "ErrorFolderNotFound"


def test_a_wrong_secret_is_refused_by_its_code(sandbox: Sandbox, connect: Connect) -> None:
    hook = connect(**access_to(sandbox) | {"password": "not-the-secret"})

    assert hook.test_connection()[1].startswith("the login refuses the application: AADSTS7000215")


def test_a_token_that_expires_early_is_renewed_on_the_way(
    sandbox: Sandbox, real: GraphHook, box: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_id = real.ensure_folder(box, FOLDER_NAME)
    monkeypatch.setattr(sandbox.graph, "tokens", {})

    assert real.archived_items(box, folder_id, mine=()) == {}


def test_threads_that_share_a_hook_do_not_disturb_each_other_when_one_meets_a_503(
    sandbox: Sandbox, real: GraphHook, moment: Time
) -> None:
    boxes = [user.id for user in sandbox.world.directory if user.mailbox == "ok"][:6]
    folders = {one: real.ensure_folder(one, FOLDER_NAME) for one in boxes}
    sandbox.graph.faults.add(
        "status", path="/messages$", times=1000, rate=0.3, status=503, code="ErrorServerBusy", retry_after="0.01"
    )

    def deliver(one: str) -> None:
        for number in range(20):
            real.create_message(one, folders[one], whole(f"{number:040x}"), [])

    with ThreadPoolExecutor(len(boxes)) as pool:
        list(pool.map(deliver, boxes))

    assert len(kept(sandbox)) == 20 * len(boxes)
    assert SETTLE not in moment.waits
