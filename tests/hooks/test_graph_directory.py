"""An address leads to the mailbox of one user, or to none."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pytest

from o2_connector.core.errors import MailboxError, RetryError, StopError
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_mail import folders_call
from sandbox.server import Sandbox
from tests.hooks.graph_tenant import Tenant, error, listed
from tests.hooks.tls_site import Reply, Request, Script


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


def test_a_mailbox_is_found_by_any_of_its_users_addresses(tenant: Tenant, graph_hook: GraphHook) -> None:
    jane = user(
        1, "smtp:j.doe@example.com", "SMTP:Jane.Doe@example.com", name="jane@example.org", mail="jd@example.com"
    )
    tenant.on("POST", r"/\$batch", directory(jane))

    found = graph_hook.find_mailboxes(
        ["J.DOE@example.com", " jane@Example.org", "jd@example.com", "nobody@example.com"]
    )

    assert found == {"j.doe@example.com": "id-1", "jane@example.org": "id-1", "jd@example.com": "id-1"}


def test_addresses_are_looked_up_twenty_a_request_and_users_probed_once(tenant: Tenant, graph_hook: GraphHook) -> None:
    seen: list[int] = []
    users = [user(number, f"smtp:alias{number}@example.com") for number in range(1, 22)]
    tenant.on("POST", r"/\$batch", directory(*users, seen=seen))

    found = graph_hook.find_mailboxes(
        [f"{kind}{number}@example.com" for number in range(1, 22) for kind in ("user", "alias")]
    )

    assert len(found) == 42
    assert seen == [20, 20, 2, 20, 1]


def test_an_apostrophe_in_an_address_is_looked_for_as_it_is(tenant: Tenant, graph_hook: GraphHook) -> None:
    tenant.on("POST", r"/\$batch", directory(user(1, "smtp:o'brien@example.com")))

    assert set(graph_hook.find_mailboxes(["O'Brien@example.com"])) == {"o'brien@example.com"}


def test_what_is_no_address_is_not_looked_up(tenant: Tenant, graph_hook: GraphHook) -> None:
    assert graph_hook.find_mailboxes(["", "n/a", "two words@example.com", "a@b@c", "+447700900123"]) == {}
    assert not tenant.requests


@pytest.mark.parametrize(
    "probe",
    [
        error(404, "MailboxNotEnabledForRESTAPI"),
        error(404, "SomethingNew"),
        error(400, "ErrorInvalidUser"),
    ],
)
def test_a_user_whose_mailbox_graph_does_not_know_has_none(tenant: Tenant, graph_hook: GraphHook, probe: Reply) -> None:
    tenant.on("POST", r"/\$batch", directory(user(1), user(2), probes={"id-1": probe}))

    found = graph_hook.find_mailboxes(["user1@example.com", "user2@example.com"])

    assert set(found) == {"user2@example.com"}


def test_mailboxes_out_of_scope_are_counted_in_the_log(
    tenant: Tenant, graph_hook: GraphHook, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant.on("POST", r"/\$batch", directory(user(1), probes={"id-1": error(403, "ErrorAccessDenied")}))

    graph_hook.find_mailboxes(["user1@example.com"])

    assert "Graph refuses 1 mailboxes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        (error(403, "ErrorAccessDenied"), {"jane@example.com": "id-1"}),
        (error(404, "MailboxNotEnabledForRESTAPI"), {}),
    ],
)
def test_an_address_never_leads_to_a_second_choice_because_the_first_cannot_be_opened(
    tenant: Tenant, graph_hook: GraphHook, probe: Reply, found: dict[str, str]
) -> None:
    seen: list[int] = []
    jane, other = user(1, "SMTP:jane@example.com"), user(2, mail="jane@example.com")
    tenant.on("POST", r"/\$batch", directory(jane, other, probes={"id-1": probe}, seen=seen))

    assert graph_hook.find_mailboxes(["jane@example.com"]) == found
    assert seen == [1, 1]


def test_an_address_of_two_users_leads_to_neither_though_only_one_has_a_mailbox(
    tenant: Tenant, graph_hook: GraphHook
) -> None:
    users = user(1, mail="desk@example.com"), user(2, mail="desk@example.com")
    tenant.on("POST", r"/\$batch", directory(*users, probes={"id-1": error(404, "MailboxNotEnabledForRESTAPI")}))

    assert graph_hook.find_mailboxes(["desk@example.com"]) == {}


def test_a_graph_that_refuses_every_mailbox_lacks_a_permission(tenant: Tenant, graph_hook: GraphHook) -> None:
    refusal = error(403, "ErrorAccessDenied")
    tenant.on("POST", r"/\$batch", directory(user(1), user(2), probes={"id-1": refusal, "id-2": refusal}))

    with pytest.raises(StopError, match=r"Mail\.ReadWrite"):
        graph_hook.find_mailboxes(["user1@example.com", "user2@example.com"])


def test_a_probe_that_fails_for_another_reason_is_no_verdict(tenant: Tenant, graph_hook: GraphHook) -> None:
    tenant.on("POST", r"/\$batch", directory(user(1), probes={"id-1": error(503, "ErrorServerBusy")}))

    with pytest.raises(RetryError):
        graph_hook.find_mailboxes(["user1@example.com"])


def test_a_proxy_address_counts_for_more_than_another_users_mail(tenant: Tenant, graph_hook: GraphHook) -> None:
    guest = user(1, mail="jane@example.com", name="jane_example.com#ext#@example.org")
    jane = user(2, "SMTP:jane@example.com")
    tenant.on("POST", r"/\$batch", directory(guest, jane))

    assert graph_hook.find_mailboxes(["jane@example.com"]) == {"jane@example.com": "id-2"}


def test_an_address_of_two_users_leads_to_neither(tenant: Tenant, graph_hook: GraphHook) -> None:
    tenant.on("POST", r"/\$batch", directory(user(1, mail="desk@example.com"), user(2, mail="desk@example.com")))

    assert graph_hook.find_mailboxes(["desk@example.com"]) == {}


def test_a_directory_that_may_not_be_read_stops_with_the_permissions_name(
    tenant: Tenant, graph_hook: GraphHook
) -> None:
    refusal = {"id": "0", "status": 403, "body": error(403, "Authorization_RequestDenied").body}
    tenant.on("POST", r"/\$batch", Reply(body={"responses": [refusal]}))

    with pytest.raises(StopError, match=r"User\.Read\.All"):
        graph_hook.find_mailboxes(["user1@example.com"])


# The sandbox


def test_the_sandboxs_directory_is_read_as_it_is(graph_sandbox: Sandbox, sandbox_hook: GraphHook) -> None:
    users = graph_sandbox.world.directory
    proxies = {user.id: [proxy.partition(":")[2] for proxy in user.proxy_addresses] for user in users}
    addresses = [address for one in users for address in [*proxies[one.id], one.mail or "", one.user_principal_name]]

    found = sandbox_hook.find_mailboxes([*addresses, "nobody@example.com"])

    assert set(found.values()) == {one.id for one in users if one.mailbox != "none"}
    assert all(address.lower() in found for one in users if one.mailbox == "ok" for address in proxies[one.id])


def test_a_mailbox_out_of_scope_is_found_and_set_aside_with_its_cause(
    graph_sandbox: Sandbox, sandbox_hook: GraphHook
) -> None:
    denied = next(one for one in graph_sandbox.world.directory if one.mailbox == "denied")
    found = sandbox_hook.find_mailboxes([denied.user_principal_name])

    with pytest.raises(MailboxError, match=r"Mail\.ReadWrite") as caught:
        raise sandbox_hook.graph.send_once(folders_call(denied.id)).failure("the archive folder was looked for")

    assert list(found.values()) == [denied.id]
    assert caught.value.cause == "ErrorAccessDenied"
