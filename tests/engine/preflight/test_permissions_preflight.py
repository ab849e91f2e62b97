"""What the application may do too little, and what too much."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import replace

import pytest

from o2_connector.core.preflight import State
from sandbox.graph import tenant
from tests.engine.preflight.conftest import MAIL_ROLES, Rig, sentences, states

USERS = frozenset({"User.Read.All"})


@pytest.fixture
def only(rig: Rig) -> Rig:
    """Lend a rig that tries no mailbox."""
    rig.settings = replace(rig.settings, canary=None)
    return rig


def test_a_mail_permission_for_the_whole_tenant_is_too_much(only: Rig) -> None:
    only.let(token=USERS | MAIL_ROLES)

    told = sentences(only.run(), "graph.roles", State.WARNING)
    assert "Mail-Advanced.ReadWrite.All and Mail.ReadWrite hold for every mailbox of the tenant" in told
    assert "RBAC for Applications" in told


def test_a_permission_that_nothing_needs_is_too_much(only: Rig) -> None:
    only.let(token=USERS | {"Mail.Send", "Sites.FullControl.All"})

    found = only.run()

    assert "the archive has no use for Mail.Send, Sites.FullControl.All" in sentences(
        found, "graph.roles", State.WARNING
    )
    assert states(found, "graph.users") == [State.OK]


def test_a_token_that_cannot_be_read_is_a_warning(only: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant, "make_token", lambda *_: f"opaque.{secrets.token_hex(8)}.token")

    assert "the token cannot be read" in sentences(only.run(), "graph.roles", State.WARNING)


def test_without_user_read_all_nobody_is_found(only: Rig) -> None:
    only.let(token=frozenset())

    found = only.run()

    assert "grant the application permission User.Read.All" in sentences(found, "graph.users")
    assert "User.Read.All" in sentences(found, "graph.plans")
    assert states(found, "graph.outside") == [State.NOT_CHECKED]


def test_a_list_of_deleted_users_that_is_refused_is_a_warning(only: Rig) -> None:
    only.fault("deletedItems")

    assert "the list of deleted users is refused (HTTP 403)" in sentences(only.run(), "graph.deleted", State.WARNING)


@pytest.mark.parametrize("by_number", [False, True])
def test_the_directorys_numbers_are_read_only_where_they_count(only: Rig, by_number: bool) -> None:
    found = only.run(directory_numbers=by_number)

    assert states(found, "graph.numbers") == [State.OK] * by_number


def test_a_secret_that_entra_refuses_is_an_error_of_the_token(only: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_O2_GRAPH"])
    monkeypatch.setenv("AIRFLOW_CONN_O2_GRAPH", json.dumps({**connection, "password": "wrong"}))

    found = only.run()

    assert "AADSTS7000215" in sentences(found, "graph.token")
    assert {each.state for each in found.findings if each.area == "Microsoft Graph"} == {
        State.OK,
        State.ERROR,
        State.NOT_CHECKED,
    }


def test_a_mailbox_outside_of_the_scope_that_opens_is_an_error(only: Rig) -> None:
    told = sentences(only.run(outside=only.canary.mail), "graph.outside")

    assert "a mailbox that should be outside of the application's scope opens" in told


def test_a_mailbox_outside_of_the_scope_stays_closed(only: Rig) -> None:
    assert states(only.run(), "graph.outside") == [State.OK]


@pytest.mark.parametrize(("outside", "said"), [("", "name one that"), ("nobody@example.com", "leads to none")])
def test_without_a_mailbox_outside_of_the_scope_nothing_is_said_of_it(only: Rig, outside: str, said: str) -> None:
    assert said in sentences(only.run(outside=outside), "graph.outside", State.NOT_CHECKED)


def test_what_is_no_address_is_an_error(only: Rig) -> None:
    assert "no e-mail address" in sentences(only.run(outside="x"), "graph.outside")
