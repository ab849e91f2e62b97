"""What a preflight asks of Graph: roles that Exchange assigns, and folders removed for good."""

from __future__ import annotations

from tests.sandbox.graph_client import ANNA, DENIED, client, code_of, message, tenant

USERS = frozenset({"User.Read.All"})
MAIL = frozenset({"Mail.ReadWrite"})


def test_a_role_that_exchange_assigns_opens_mailboxes_and_is_in_no_token() -> None:
    of = tenant(roles=USERS, exchange_roles=MAIL)
    graph = client(of)

    assert graph.post(f"/v1.0/users/{ANNA.id}/messages", json=message()).status_code == 201
    assert code_of(graph.get(f"/v1.0/users/{DENIED.id}/messages")) == (403, "ErrorAccessDenied")
    assert {role for token in of.tokens.values() for role in token.roles} == USERS


def test_without_a_role_of_either_kind_no_mailbox_opens() -> None:
    graph = client(tenant(roles=USERS))

    assert code_of(graph.get(f"/v1.0/users/{ANNA.id}/messages")) == (403, "ErrorAccessDenied")


def test_roles_of_the_token_and_of_exchange_add_up() -> None:
    graph = client(tenant(roles=USERS | MAIL, exchange_roles=frozenset({"Mail-Advanced.ReadWrite.All"})))
    made = graph.post(f"/v1.0/users/{ANNA.id}/messages", json=message()).json()["id"]

    assert graph.patch(f"/v1.0/users/{ANNA.id}/messages/{made}", json={"subject": "changed"}).status_code == 200


def test_a_folder_is_removed_for_good_with_all_that_is_in_it() -> None:
    of = tenant()
    graph, folders = client(of), f"/v1.0/users/{ANNA.id}/mailFolders"
    made = graph.post(folders, json={"displayName": "Gone"}).json()["id"]
    graph.post(f"{folders}/{made}/messages", json=message())

    assert graph.post(f"{folders}/{made}/permanentDelete").status_code == 204

    assert graph.get(f"{folders}/{made}").status_code == 404
    assert of.mailboxes[ANNA.id].messages == {}


def test_a_folder_of_exchanges_own_is_not() -> None:
    refused = client(tenant()).post(f"/v1.0/users/{ANNA.id}/mailFolders/inbox/permanentDelete")

    assert code_of(refused) == (403, "ErrorDeleteDistinguishedFolder")
