"""The Test button of a Graph connection says what the application may do, as far as one question tells."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_permissions import MAIL, granted_in_entra, mail_permissions
from tests.hooks.graph_tenant import Tenant, error, listed
from tests.hooks.tls_site import LOST, Reply, Time

USERS = r"/users\?\$select=id,proxyAddresses&\$top=1"


def token(**claims: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims)]
    return ".".join([*parts, "signature"])


def test_an_application_that_may_read_users_is_told_what_entra_grants_it(tenant: Tenant, graph_hook: GraphHook) -> None:
    grant = {"token_type": "Bearer", "expires_in": 3599, "access_token": token(roles=["User.Read.All", *MAIL])}
    tenant.on("POST", r".*/oauth2/v2\.0/token", Reply(body=grant))
    tenant.on("GET", USERS, listed())

    assert graph_hook.test_connection() == (
        True,
        (
            "The login and Graph accept the application, and it may read users. Entra grants it Mail.ReadWrite and"
            " Mail-Advanced.ReadWrite.All for every mailbox of the tenant."
        ),
    )


@pytest.mark.parametrize("granted", [[], ["Mail.ReadWrite"]])
def test_what_entra_does_not_grant_may_be_exchanges_to_grant(granted: list[str]) -> None:
    said = mail_permissions(token(roles=["User.Read.All", *granted]))

    assert ("grants it Mail.ReadWrite for every mailbox" in said) == bool(granted)
    assert f"does not grant it {' or '.join(name for name in MAIL if name not in granted)}: right where" in said
    assert "RBAC for Applications" in said


def test_of_a_token_the_roles_are_read_and_nothing_else() -> None:
    assert granted_in_entra(token()) == frozenset()
    assert granted_in_entra(token(roles=["A", "B"], oid="x")) == {"A", "B"}


@pytest.mark.parametrize(
    "opaque",
    [
        *("", "EwBwA8l6", "a.b.c", "a.é", "a.!!!.c", token(roles="Mail.Read")),
        f"a.{base64.urlsafe_b64encode(b'[]').decode()}.c",
    ],
)
def test_a_token_that_does_not_show_what_it_has_is_no_fault(opaque: str) -> None:
    assert granted_in_entra(opaque) is None
    assert mail_permissions(opaque).endswith("cannot be read from its token.")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            error(403, "Authorization_RequestDenied"),
            "grant the application permission User.Read.All with admin consent",
        ),
        (error(404, "itemNotFound"), "itemNotFound; check graph_url, which ends with the version"),
        (Reply(status=404, body=b"<html>"), "HTTP 404; check graph_url"),
        (Reply(body=b"<html>"), "check the host, the network and HTTPS_PROXY"),
        (error(429, "TooManyRequests", Retry_After="60"), "try again"),
        (LOST, "try again"),
        (error(401, "InvalidAuthenticationToken"), "tenant_id and cloud belong together"),
    ],
)
def test_what_graph_refuses_is_told_at_once_and_with_what_to_do(
    tenant: Tenant, graph_hook: GraphHook, moment: Time, answer: Reply, words: str
) -> None:
    tenant.on("GET", USERS, answer)

    passed, message = graph_hook.test_connection()

    assert not passed
    assert message.startswith("reading a user: ")
    assert words in message
    assert "secret@" not in message
    assert moment.waits == []


def test_a_login_out_of_order_is_told_with_what_to_do(tenant: Tenant, graph_hook: GraphHook) -> None:
    tenant.on("GET", r".*/openid-configuration", Reply(status=500, body=b""))

    passed, message = graph_hook.test_connection()

    assert not passed
    assert message.startswith("the login has an outage; try again, and if it stays so, check the host, the network")
