"""A token is had with whatever the connection holds, and a refusal says what a person has to do."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from o2_connector.core.errors import StopError
from o2_connector.core.graph_errors import NOT_SENT
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_mail import folders_call
from o2_connector.hooks.graph_requests import Answer, GraphRequests, get
from sandbox.server import Sandbox
from tests.hooks.graph_tenant import CLIENT, SECRET, Tenant, error, listed
from tests.hooks.tls_site import Reply, Request

Connect: TypeAlias = Callable[..., GraphHook]


def ask(graph: GraphRequests) -> Answer:
    """Ask for something, again while that may help."""
    return graph.send(get("/things"), graph.deadline())


def test_one_login_with_the_secret_serves_many_requests(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things", listed())

    ask(graph)
    ask(graph)

    (login,) = tenant.logins
    form = parse_qs(login.body.decode())
    assert form["client_secret"] == [SECRET]
    assert form["scope"] == [f"{tenant.url}/.default"]
    used = {request.headers["authorization"] for request in tenant.asked("GET", "/things")}
    assert used == {"Bearer token-1"}


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(7000215, "value, not its id"), (7000222, "expired"), (700016, "client id"), (90002, "tenant_id"), (1, "look")],
)
def test_a_login_that_is_refused_stops_with_code_and_remedy_and_no_secret(
    tenant: Tenant, graph_hook: GraphHook, code: int, remedy: str
) -> None:
    tenant.refuse(code)

    with pytest.raises(StopError, match=f"AADSTS{code}.*{remedy}") as caught:
        ask(graph_hook.graph)

    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert graph_hook.test_connection() == (False, str(caught.value))


def test_a_login_that_asks_to_come_back_is_left_to_retries(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.refuse(90033, "temporarily_unavailable")

    assert ask(graph).code == NOT_SENT


def test_a_login_that_fails_once_is_tried_again_within_the_patience(tenant: Tenant, graph: GraphRequests) -> None:
    body = {"error": "temporarily_unavailable", "error_description": "AADSTS90033: later"}
    tenant.on("POST", r".*/oauth2/v2\.0/token", Reply(status=401, body=body), tenant.grant)
    tenant.on("GET", "/things", listed())

    assert ask(graph).ok


def test_a_tenant_that_the_login_does_not_know_stops(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", r".*/openid-configuration", error(400, "invalid_tenant"))

    with pytest.raises(StopError, match="tenant_id"):
        ask(graph)


def test_a_login_out_of_order_is_left_to_retries(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", r".*/openid-configuration", Reply(status=500, body=b""))

    assert ask(graph).code == NOT_SENT


def test_a_server_with_an_unknown_certificate_stops(connect_graph: Connect, here: dict[str, str]) -> None:
    hook = connect_graph(**{**here, "ca_file": None})

    with pytest.raises(StopError, match=r"certificate does not verify.*ca_file"):
        ask(hook.graph)


def test_a_revoked_token_is_renewed_once(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things", error(401, "InvalidAuthenticationToken"), listed())

    ask(graph)

    used = [request.headers["authorization"] for request in tenant.asked("GET", "/things")]
    assert used == ["Bearer token-1", "Bearer token-2"]


def test_a_fresh_token_that_is_refused_stops(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things", error(401, "InvalidAuthenticationToken"))

    with pytest.raises(StopError, match="InvalidAuthenticationToken"):
        raise ask(graph).failure("things were asked for")

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
    tenant: Tenant, connect_graph: Connect, here: dict[str, str], tmp_path: Path, form: str
) -> None:
    key, certificate = self_signed()
    passphrase = None if form == "pem" else b"open sesame"
    path = tmp_path / "certificate"
    if form == "pfx":
        encryption = serialization.BestAvailableEncryption(passphrase or b"")
        path.write_bytes(pkcs12.serialize_key_and_certificates(b"x", key, certificate, None, encryption))
    else:
        path.write_bytes(pem(key, certificate, passphrase))
    hook = connect_graph(password=passphrase.decode() if passphrase else None, certificate_file=str(path), **here)

    hook.graph.login.token()

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
    connect_graph: Connect, here: dict[str, str], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "certificate"
    if content is not None:
        path.write_bytes(content)
    hook = connect_graph(password=None, certificate_file=str(path), **here)

    with pytest.raises(StopError, match="certificate_file"):
        ask(hook.graph)


def test_a_key_without_its_certificate_stops(connect_graph: Connect, here: dict[str, str], tmp_path: Path) -> None:
    (key, _), (_, certificate) = self_signed(), self_signed()
    path = tmp_path / "certificate.pem"
    path.write_bytes(pem(key, certificate, None))
    hook = connect_graph(password=None, certificate_file=str(path), **here)

    with pytest.raises(StopError, match="no private key with its certificate"):
        ask(hook.graph)


def test_a_workloads_token_is_read_anew_for_each_login(
    tenant: Tenant, connect_graph: Connect, here: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    tenant.on("GET", "/things", error(401, "InvalidAuthenticationToken"), listed())

    def replace_and_grant(request: Request) -> Reply:
        path.write_text("second\n")
        return tenant.grant(request)

    tenant.on("POST", r".*/oauth2/v2\.0/token", replace_and_grant)
    hook = connect_graph(password=None, federated_token_file=str(path), **here)

    ask(hook.graph)

    assert [parse_qs(login.body.decode())["client_assertion"] for login in tenant.logins] == [["first"], ["second"]]


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_workloads_token_that_is_not_there_stops(
    connect_graph: Connect, here: dict[str, str], tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    hook = connect_graph(password=None, federated_token_file=str(path), **here)

    with pytest.raises(StopError, match="federated_token_file"):
        ask(hook.graph)


# The sandbox


def test_a_wrong_secret_is_refused_by_its_code(connect_graph: Connect, sandbox_fields: dict[str, str]) -> None:
    hook = connect_graph(**sandbox_fields | {"password": "not-the-secret"})

    assert hook.test_connection()[1].startswith("the login refuses the application: AADSTS7000215")


def test_a_token_that_expires_early_is_renewed_on_the_way(
    graph_sandbox: Sandbox, sandbox_graph: GraphRequests, box: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sandbox_graph.send_once(folders_call(box)).ok
    monkeypatch.setattr(graph_sandbox.graph, "tokens", {})

    assert sandbox_graph.send_once(folders_call(box)).ok
