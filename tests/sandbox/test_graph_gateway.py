"""Signing in, permissions, limits, batches and faults: what stands between a client and the mailboxes."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from starlette.testclient import TestClient

from sandbox.graph import FederatedCredential, Limits, Tenant, graph_app
from sandbox.server import Sandbox, running
from tests.sandbox.graph_client import (
    ANNA,
    BEN,
    HOST,
    TENANT_ID,
    Clock,
    client,
    code_of,
    file,
    message,
    sign_in,
    tenant,
)

TOKEN = f"/{TENANT_ID}/oauth2/v2.0/token"
MESSAGES = f"/v1.0/users/{ANNA.id}/messages"
JSON = {"Content-Type": "application/json"}


# Signing in


def test_a_right_secret_earns_a_token_that_opens_graph() -> None:
    graph = client(tenant(), logged_in=False)

    granted = graph.post(TOKEN, data=sign_in()).json()

    assert granted["expires_in"] == 3599
    opened = graph.get("/v1.0/users", headers={"Authorization": f"Bearer {granted['access_token']}"})
    assert opened.status_code == 200


@pytest.mark.parametrize(
    ("path", "changes", "status", "error", "number"),
    [
        (TOKEN, {"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        (TOKEN, {"client_id": "unknown"}, 400, "unauthorized_client", 700016),
        ("/elsewhere/oauth2/v2.0/token", {}, 400, "invalid_request", 90002),
        (TOKEN, {"client_secret": ""}, 401, "invalid_client", 7000218),
        (TOKEN, {"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        (TOKEN, {"scope": "Mail.ReadWrite"}, 400, "invalid_scope", 1002012),
        (TOKEN, {"scope": "https://vault.example.com/.default"}, 400, "invalid_resource", 500011),
        (TOKEN, {"client_assertion": "a.b.c"}, 400, "invalid_request", 900144),
    ],
)
def test_a_wrong_sign_in_is_refused_with_its_number(
    path: str, changes: dict[str, str], status: int, error: str, number: int
) -> None:
    response = client(tenant(), logged_in=False).post(path, data=sign_in(**changes))

    body = response.json()
    assert (response.status_code, body["error"], body["error_codes"]) == (status, error, [number])
    assert body["error_description"].startswith(f"AADSTS{number}: ")


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer nonsense", "Bearer a.b.c"])
def test_without_a_good_token_graph_says_401_and_how_to_get_one(authorization: str) -> None:
    response = client(tenant(), logged_in=False).get("/v1.0/users", headers={"Authorization": authorization})

    assert code_of(response) == (401, "InvalidAuthenticationToken")
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


def test_a_token_expires() -> None:
    clock = Clock()
    graph = client(tenant(clock=clock, token_seconds=60))

    clock.pass_by(seconds=59)
    assert graph.get("/v1.0/users").status_code == 200
    clock.pass_by(seconds=1)
    assert code_of(graph.get("/v1.0/users")) == (401, "InvalidAuthenticationToken")


def test_without_mail_permission_mail_is_denied_and_without_user_permission_users_are() -> None:
    no_mail = client(tenant(roles=frozenset({"User.Read.All"})))
    no_users = client(tenant(roles=frozenset({"Mail.ReadWrite"})))
    read_only = client(tenant(roles=frozenset({"Mail.Read"})))
    basic = client(tenant(roles=frozenset({"User.ReadBasic.All"})))

    assert code_of(no_mail.get(MESSAGES)) == (403, "ErrorAccessDenied")
    assert code_of(no_users.get("/v1.0/users")) == (403, "Authorization_RequestDenied")
    assert read_only.get(MESSAGES).status_code == 200
    assert code_of(read_only.post(MESSAGES, json=message())) == (403, "ErrorAccessDenied")
    assert basic.get("/v1.0/users?$select=id,mail").status_code == 200
    assert code_of(basic.get("/v1.0/users?$select=proxyAddresses")) == (403, "Authorization_RequestDenied")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "archive.example.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def assertion(key: rsa.RSAPrivateKey, **changes: Any) -> str:
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "iss": "https://issuer.example.com",
        "sub": "worker",
        "aud": "api://AzureADTokenExchange",
        "exp": now + 600,
    }
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "RS256", "typ": "JWT"}, {**claims, **changes})
    ]
    signed = b".".join(parts)
    mark = base64.urlsafe_b64encode(key.sign(signed, padding.PKCS1v15(), hashes.SHA256())).rstrip(b"=")
    return (signed + b"." + mark).decode()


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({}, None),
        ({"iss": "https://other.example.com"}, 700211),
        ({"sub": "stranger"}, 700213),
        ({"aud": "api://elsewhere"}, 700212),
        ({"exp": 1}, 700024),
    ],
)
def test_a_workload_identity_signs_in_when_issuer_subject_and_audience_are_registered(
    key: rsa.RSAPrivateKey, changes: dict[str, Any], number: int | None
) -> None:
    trusted = FederatedCredential(issuer="https://issuer.example.com", subject="worker", key=key.public_key())
    graph = client(tenant(federated=(trusted,)), logged_in=False)
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

    form = sign_in(client_secret="", client_assertion=assertion(key, **changes), client_assertion_type=kind)
    body = graph.post(TOKEN, data=form).json()

    assert body.get("error_codes") == ([number] if number else None)


# A running server: MSAL, and connections that break


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=1, users=12) as started:
        yield started


def msal_token(sandbox: Sandbox, credential: Any) -> dict[str, Any]:
    session = requests.Session()
    session.trust_env = False
    session.verify = str(sandbox.ca_file)
    application = msal.ConfidentialClientApplication(
        sandbox.client_id,
        authority=sandbox.authority,
        client_credential=credential,
        http_client=session,
        instance_discovery=False,
    )
    scope = sandbox.graph_url.removesuffix("/v1.0") + "/.default"
    result: dict[str, Any] = application.acquire_token_for_client([scope])
    return result


def test_msal_logs_in_with_a_secret_and_reads_the_error_of_a_wrong_one(sandbox: Sandbox) -> None:
    assert "access_token" in msal_token(sandbox, sandbox.client_secret)
    assert msal_token(sandbox, "wrong")["error_codes"] == [7000215]


def test_msal_logs_in_with_a_registered_certificate_only(
    sandbox: Sandbox, key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    credential = {
        "private_key": pem,
        "public_certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
    }
    assert msal_token(sandbox, credential)["error_codes"] == [700027]

    sandbox.graph.register(certificate)

    assert "access_token" in msal_token(sandbox, credential)


def live(sandbox: Sandbox) -> httpx.Client:
    token = msal_token(sandbox, sandbox.client_secret)["access_token"]
    context = ssl.create_default_context(cafile=str(sandbox.ca_file))
    return httpx.Client(verify=context, trust_env=False, headers={"Authorization": f"Bearer {token}"})


def mailbox_of(sandbox: Sandbox) -> tuple[str, str]:
    user = next(user for user in sandbox.world.directory if user.mailbox == "ok")
    return user.id, f"{sandbox.graph_url}/users/{user.id}/messages"


def test_a_create_whose_answer_is_lost_has_happened_and_one_that_is_cut_has_not(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    user, url = mailbox_of(sandbox)
    held = sandbox.graph.mailboxes[user].messages
    with live(sandbox) as graph:
        sandbox.graph.faults.add("executed_but_lost")
        with pytest.raises(httpx.RemoteProtocolError):
            graph.post(url, json=message())
        after_loss = len(held)

        sandbox.graph.faults.add("cut")
        with pytest.raises(httpx.RemoteProtocolError):
            graph.post(url, json=message())

    assert (after_loss, len(held)) == (1, 1)


def test_a_late_create_is_answered_504_and_happens_all_the_same(sandbox: Sandbox) -> None:
    user, url = mailbox_of(sandbox)
    before = len(sandbox.graph.mailboxes[user].messages)
    with live(sandbox) as graph:
        sandbox.graph.faults.add("late", seconds=0.2)
        answered = graph.post(url, json=message()).status_code
        at_once = graph.get(f"{url}/$count").text
        deadline = datetime.now(UTC) + timedelta(seconds=5)
        while graph.get(f"{url}/$count").text == at_once and datetime.now(UTC) < deadline:
            pass
        later = graph.get(f"{url}/$count").text

    assert (answered, int(at_once), int(later)) == (504, before, before + 1)


def test_whole_batches_are_cut_or_lost_at_a_rate_and_what_came_back_is_there(sandbox: Sandbox) -> None:
    user, _ = mailbox_of(sandbox)
    sandbox.graph.faults.clear()
    before = len(sandbox.graph.mailboxes[user].messages)
    steps = {"requests": [create(str(number), user) for number in range(4)]}
    answered = broken = 0
    with live(sandbox) as graph:
        sandbox.graph.faults.add("cut", path="batch$", rate=0.2, times=1_000_000)
        sandbox.graph.faults.add("executed_but_lost", path="batch$", rate=0.2, times=1_000_000)
        for _ in range(100):
            try:
                answered += graph.post(f"{sandbox.graph_url}/$batch", json=steps).text.count('"status":201')
            except httpx.RemoteProtocolError:
                broken += 1
        struck = dict(sandbox.graph.faults.struck)
        sandbox.graph.faults.clear()

    assert broken == struck["cut"] + struck["executed_but_lost"]
    assert min(struck.values()) > 5
    assert answered == 4 * (100 - broken)
    assert len(sandbox.graph.mailboxes[user].messages) - before == answered + 4 * struck["executed_but_lost"]


# Faults


def test_a_status_can_be_asked_for_with_code_and_retry_after() -> None:
    whole = tenant()
    graph = client(whole)
    fault = {"kind": "status", "path": "/messages$", "status": 503, "code": "ErrorServerBusy", "retry_after": 2.128}
    assert graph.post("/_sandbox/faults", json=fault).status_code == 204

    struck, after = graph.post(MESSAGES, json=message()), graph.post(MESSAGES, json=message())

    assert code_of(struck) == (503, "ErrorServerBusy")
    assert struck.headers["Retry-After"] == "2.128"
    assert after.status_code == 201


def test_a_slow_create_takes_its_time_and_reads_do_not() -> None:
    whole = tenant()
    graph = client(whole)
    whole.faults.add("slow", seconds=0.2)

    began = time.monotonic()
    graph.get(MESSAGES)
    read = time.monotonic() - began
    graph.post(MESSAGES, json=message())
    created = time.monotonic() - began - read

    assert read < 0.2 <= created


def test_faults_can_be_cleared_before_they_strike() -> None:
    graph = client(tenant())
    graph.post("/_sandbox/faults", json={"kind": "status", "times": 5})

    graph.delete("/_sandbox/faults")

    assert graph.get(MESSAGES).status_code == 200


def test_an_attachment_may_meet_a_message_that_is_not_there_yet() -> None:
    whole = tenant()
    graph = client(whole)
    path = f"{MESSAGES}/{graph.post(MESSAGES, json=message()).json()['id']}/attachments"
    whole.faults.add("attachment_404")

    assert code_of(graph.post(path, json=file())) == (404, "ErrorItemNotFound")
    assert graph.post(path, json=file()).status_code == 201


def test_a_lost_answer_inside_a_batch_is_a_504_of_a_create_that_happened() -> None:
    whole = tenant()
    graph = client(whole)
    whole.faults.add("executed_but_lost", path=f"/users/{ANNA.id}/messages")

    answers = batch(graph, [create("1", ANNA.id), create("2", BEN.id)])

    assert (answers["1"]["status"], answers["2"]["status"]) == (504, 201)
    assert graph.get(f"{MESSAGES}/$count").text == "1"


# Limits


async def at_once(whole: Tenant, calls: list[tuple[str, str, Any]]) -> list[httpx.Response]:
    token = whole.give_token(whole.application.roles, whole.clock())
    transport = httpx.ASGITransport(app=graph_app(whole))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url=f"https://{HOST}", headers=headers) as graph:
        return await asyncio.gather(*(graph.request(method, url, json=body) for method, url, body in calls))


def test_a_fifth_request_at_a_time_for_a_mailbox_is_throttled_and_booked() -> None:
    whole = tenant(latency=0.01)
    five = [("POST", MESSAGES, message())] * 5
    other = [("POST", f"/v1.0/users/{BEN.id}/messages", message())]

    answers = asyncio.run(at_once(whole, five + other))

    assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 201, 201, 429]
    throttled = next(answer for answer in answers if answer.status_code == 429)
    assert throttled.json()["error"]["code"] == "ApplicationThrottled"
    assert throttled.json()["error"]["message"] == "Application is over its MailboxConcurrency limit."
    assert throttled.headers["Retry-After"] == "1"
    assert [(breach.mailbox, breach.limit, breach.asked) for breach in whole.breaches] == [(ANNA.id, "concurrent", 5)]


def test_four_at_a_time_are_no_breach() -> None:
    whole = tenant()

    asyncio.run(at_once(whole, [("POST", MESSAGES, message())] * 4))

    assert whole.breaches == []


def test_one_batch_of_twenty_for_a_mailbox_is_no_breach_but_two_at_once_are() -> None:
    one, two = tenant(), tenant()
    body = {"requests": [create(str(number), ANNA.id) for number in range(20)]}

    asyncio.run(at_once(one, [("POST", "/v1.0/$batch", body)]))
    answers = asyncio.run(at_once(two, [("POST", "/v1.0/$batch", body)] * 2))

    assert one.breaches == []
    assert [breach.asked for breach in two.breaches] == [8]
    statuses = [item["status"] for answer in answers for item in answer.json()["responses"]]
    assert (statuses.count(201), statuses.count(429)) == (20, 20)


def test_four_chained_batches_for_a_mailbox_are_no_breach() -> None:
    whole = tenant()
    chain = [create(str(n), ANNA.id, **({"dependsOn": [str(n - 1)]} if n else {})) for n in range(5)]

    asyncio.run(at_once(whole, [("POST", "/v1.0/$batch", {"requests": chain})] * 4))

    assert whole.breaches == []


def test_requests_of_a_mailbox_are_counted_over_ten_minutes_throttled_ones_too() -> None:
    clock = Clock()
    whole = tenant(clock=clock, limits=Limits(requests=3))
    graph = client(whole)
    for _ in range(3):
        assert graph.get(MESSAGES).status_code == 200
        clock.pass_by(seconds=10)

    throttled = graph.get(MESSAGES)
    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "580")
    assert graph.get(f"/v1.0/users/{BEN.id}/messages").status_code == 200
    clock.pass_by(seconds=580)
    assert graph.get(MESSAGES).status_code == 200
    assert [breach.limit for breach in whole.breaches] == ["requests"]


def test_uploads_of_a_mailbox_are_counted_over_five_minutes() -> None:
    clock = Clock()
    graph = client(tenant(clock=clock, limits=Limits(upload_bytes=2000)))
    large = message(body={"contentType": "text", "content": "x" * 1000})

    first, second = graph.post(MESSAGES, json=large), graph.post(MESSAGES, json=large)
    clock.pass_by(minutes=5)
    third = graph.post(MESSAGES, json=large)

    assert [answer.status_code for answer in (first, second, third)] == [201, 429, 201]
    assert graph.get("/_sandbox/breaches").json()[0]["limit"] == "upload_bytes"


# Batches


def create(name: str, user: str, **changes: Any) -> dict[str, Any]:
    whole = {"id": name, "method": "POST", "url": f"/users/{user}/messages", "headers": JSON, "body": message()}
    return {**whole, **changes}


def batch(graph: TestClient, steps: list[dict[str, Any]]) -> dict[str, Any]:
    response = graph.post("/v1.0/$batch", json={"requests": steps})
    assert response.status_code == 200, response.text
    return {item["id"]: item for item in response.json()["responses"]}


def test_each_request_of_a_batch_has_its_own_status_headers_and_body() -> None:
    prefer = {**JSON, "Prefer": 'IdType="ImmutableId"'}
    steps = [
        create("good", ANNA.id, headers=prefer),
        create("bad", ANNA.id, body=message(colour="red")),
        {"id": "read", "method": "GET", "url": f"/users/{BEN.id}?$select=id"},
        {"id": "gone", "method": "DELETE", "url": f"/users/{ANNA.id}/messages/nonsense"},
    ]

    answers = batch(client(tenant()), steps)

    assert {name: answer["status"] for name, answer in answers.items()} == {
        "good": 201,
        "bad": 400,
        "read": 200,
        "gone": 400,
    }
    assert answers["good"]["headers"]["Preference-Applied"] == 'IdType="ImmutableId"'
    assert answers["good"]["body"]["isDraft"] is False
    assert answers["bad"]["body"]["error"]["code"] == "RequestBodyRead"
    assert answers["read"]["body"]["id"] == BEN.id


def test_the_preference_of_the_batch_is_not_the_preference_of_its_requests() -> None:
    graph = client(tenant())

    response = graph.post(
        "/v1.0/$batch", json={"requests": [create("1", ANNA.id)]}, headers={"Prefer": 'IdType="ImmutableId"'}
    )

    assert "Preference-Applied" not in response.json()["responses"][0]["headers"]


def test_the_answers_of_a_batch_come_in_another_order() -> None:
    graph = client(tenant())

    response = graph.post("/v1.0/$batch", json={"requests": [create("1", ANNA.id), create("2", BEN.id)]})

    assert [item["id"] for item in response.json()["responses"]] == ["2", "1"]


def test_what_depends_on_a_failed_request_is_not_done() -> None:
    graph = client(tenant())
    steps = [
        create("3", ANNA.id, dependsOn=["2"]),
        create("2", ANNA.id, dependsOn=["1"]),
        create("1", ANNA.id, body=message(colour="red")),
    ]

    answers = batch(graph, steps)

    assert [answers[name]["status"] for name in "123"] == [400, 424, 424]
    assert graph.get(f"{MESSAGES}/$count").text == "0"


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([create(str(number), ANNA.id) for number in range(21)], "MaximumValueExceeded"),
        ([create("1", ANNA.id), create("1", ANNA.id)], "BadRequest"),
        ([create("1", ANNA.id, url=f"https://{HOST}/v1.0/users")], "BadRequest"),
        ([create("1", ANNA.id, headers={})], "BadRequest"),
        ([create("1", ANNA.id, dependsOn=["7"])], "BadRequest"),
        ([create("1", ANNA.id, dependsOn=["2"]), create("2", ANNA.id, dependsOn=["1"])], "BadRequest"),
    ],
)
def test_a_batch_that_breaks_the_rules_is_refused_whole(steps: list[dict[str, Any]], code: str) -> None:
    graph = client(tenant())

    assert code_of(graph.post("/v1.0/$batch", json={"requests": steps})) == (400, code)
    assert graph.get(f"{MESSAGES}/$count").text == "0"


def test_every_answer_carries_the_ids_that_support_asks_for() -> None:
    graph = client(tenant())

    response = graph.get("/v1.0/users/nobody", headers={"client-request-id": "mine"})

    inner = response.json()["error"]["innerError"]
    assert response.headers["client-request-id"] == inner["client-request-id"] == "mine"
    assert response.headers["request-id"] == inner["request-id"]
    assert inner["date"]
