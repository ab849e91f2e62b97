"""The directory: finding users, who was deleted, and changes while it runs."""

from __future__ import annotations

import random
import uuid
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from sandbox.directory import User
from sandbox.graph import Tenant
from sandbox.graph.entra import properties
from sandbox.graph.odata import dig, holds, parse_filter
from sandbox.graph.users import Users
from sandbox.people import organisation
from tests.sandbox.graph_client import ANNA, BEN, CLIENT_ID, SECRET, TENANT_ID, client, code_of, message, tenant

GONE = User(
    id="0f000000-0000-4000-8000-00000000000f",
    user_principal_name="gone@example.com",
    mail="gone@example.com",
    display_name="Gone",
    proxy_addresses=("SMTP:gone@example.com", "smtp:g@example.com"),
    deleted=True,
)
DELETED = "/v1.0/directory/deletedItems/microsoft.graph.user"


def found(graph: TestClient, condition: str, **options: str) -> list[str]:
    answer = graph.get("/v1.0/users", params={"$filter": condition, "$select": "id", **options})
    return [user["id"] for user in answer.json()["value"]]


def conditions(addresses: list[str]) -> list[str]:
    each = []
    for address in addresses:
        text = address.replace("'", "''")
        each += [f"proxyAddresses/any(p:p eq 'SMTP:{text}')", f"userPrincipalName eq '{text}'", f"mail eq '{text}'"]
    return each


# Filters


def test_the_index_gives_the_same_users_as_looking_at_each() -> None:
    users = [*organisation(1, 60)[0], GONE, replace(ANNA, mail=organisation(1, 60)[0][3].mail)]
    directory, seeded = Users(users), random.Random(7)
    addresses = [address.upper() for user in users for address in (user.mail, user.user_principal_name) if address]
    simple = [*conditions([*addresses, "nobody@example.com"]), "mail eq null", "accountEnabled eq false"]
    simple += ["startswith(mail,'a')", "proxyAddresses/any(p:startswith(p,'smtp:z'))", "mail ne 'x@example.com'"]
    asked = [*simple, *[" or ".join(seeded.sample(simple[:-5], 15)) for _ in range(60)]]
    asked += [" or ".join(seeded.sample(simple, 4)) for _ in range(60)]
    asked += [f"({one}) and ({other}) or not ({one})" for one, other in (seeded.sample(simple, 2) for _ in range(60))]
    nodes = [parse_filter(text) for text in asked]

    def answer(users: tuple[User, ...], node: Any) -> list[str]:
        return [user.id for user in users if holds(node, partial(dig, properties(user)))]

    quick = [answer(directory.candidates(node), node) for node in nodes]

    assert quick == [answer(directory.present, node) for node in nodes]
    assert sum(map(bool, quick)) > 200
    assert len(directory.candidates(nodes[0])) == 1


def test_fifteen_conditions_may_be_joined_by_or_and_no_more() -> None:
    graph = client(tenant())
    fifteen = conditions(["anna@example.com", "ben@example.com", "c@example.com", "d@example.com", "e@example.com"])

    assert found(graph, " or ".join(fifteen)) == [ANNA.id, BEN.id]
    for text in (
        " or ".join([*fifteen, "accountEnabled eq true"]),
        f"accountEnabled eq true and ({' or '.join([*fifteen, 'accountEnabled eq true'])})",
        f"mail in ({','.join(repr(f'{number}@example.com') for number in range(16))})",
    ):
        refused = graph.get("/v1.0/users", params={"$filter": text})
        assert code_of(refused) == (400, "Request_UnsupportedQuery")
        assert "OR' operators: 16. Max allowed: 15" in refused.json()["error"]["message"]


def test_a_value_longer_than_120_characters_is_not_compared() -> None:
    graph = client(tenant())

    short, long = (graph.get("/v1.0/users", params={"$filter": f"mail eq '{'x' * size}'"}) for size in (120, 121))

    assert (short.status_code, code_of(long)) == (200, (400, "Request_UnsupportedQuery"))


def test_a_filters_further_pages_keep_the_filter() -> None:
    graph = client(tenant())
    asked = {"$filter": "mail eq 'anna@example.com' or mail eq 'ben@example.com'", "$select": "id", "$top": "1"}

    first = graph.get("/v1.0/users", params=asked).json()
    second = graph.get(first["@odata.nextLink"]).json()

    assert [user["id"] for user in (*first["value"], *second["value"])] == [ANNA.id, BEN.id]
    assert "@odata.nextLink" not in second


# Who was deleted


def with_gone(**settings: Any) -> Tenant:
    return Tenant([ANNA, GONE], TENANT_ID, CLIENT_ID, SECRET, **settings)


def test_a_deleted_user_is_listed_only_among_the_deleted() -> None:
    graph = client(with_gone())

    [deleted] = graph.get(f"{DELETED}?$select=id,userPrincipalName,mail,proxyAddresses").json()["value"]

    assert deleted == {
        "id": GONE.id,
        "userPrincipalName": "0f000000000040008000-00000000000f".replace("-", "") + "gone@example.com",
        "mail": "gone@example.com",
        "proxyAddresses": ["SMTP:gone@example.com", "smtp:g@example.com"],
    }
    assert [user["id"] for user in graph.get("/v1.0/users?$select=id").json()["value"]] == [ANNA.id]
    assert found(graph, "mail eq 'gone@example.com'") == []
    for name in (GONE.id, GONE.user_principal_name):
        assert code_of(graph.get(f"/v1.0/users/{name}")) == (404, "Request_ResourceNotFound")
        assert code_of(graph.get(f"/v1.0/users/{name}/mailFolders/inbox")) == (404, "ErrorInvalidUser")


def test_deleted_users_come_in_pages_and_for_whoever_may_read_all_of_a_user() -> None:
    users = [replace(GONE, id=str(uuid.UUID(int=number)), mail=f"g{number}@example.com") for number in range(101)]
    graph = client(Tenant(users, TENANT_ID, CLIENT_ID, SECRET))
    basic = client(with_gone(roles=frozenset({"User.ReadBasic.All"})))

    first = graph.get(f"{DELETED}?$select=mail").json()
    second = graph.get(first["@odata.nextLink"]).json()

    assert [len(first["value"]), len(second["value"])] == [100, 1]
    assert code_of(graph.get(f"{DELETED}?$top=1000")) == (400, "Request_UnsupportedQuery")
    assert code_of(basic.get(DELETED)) == (403, "Authorization_RequestDenied")
    assert code_of(graph.get("/v1.0/directory/deletedItems")) == (400, "BadRequest")
    assert code_of(graph.post(DELETED)) == (403, "Authorization_RequestDenied")


# What is said of a user


def test_licences_and_where_a_user_comes_from_are_told() -> None:
    users = [ANNA, replace(BEN, licensed=False, synced=True, mailbox="none")]
    graph = client(Tenant(users, TENANT_ID, CLIENT_ID, SECRET))

    anna, ben = graph.get("/v1.0/users?$select=assignedPlans,onPremisesSyncEnabled").json()["value"]

    assert [len(user["assignedPlans"]) for user in (anna, ben)] == [2, 1]
    assert [user["onPremisesSyncEnabled"] for user in (anna, ben)] == [None, True]
    assert code_of(graph.get(f"/v1.0/users/{BEN.id}/mailFolders/inbox")) == (404, "MailboxNotEnabledForRESTAPI")


# Changes


def put(graph: TestClient, *users: User) -> int:
    return graph.put("/_sandbox/users", json=[asdict(user) for user in users]).status_code


def test_users_can_be_added_changed_and_removed_while_it_runs() -> None:
    graph = client(tenant())
    inbox = f"/v1.0/users/{ANNA.id}/mailFolders/inbox"
    graph.post(f"/v1.0/users/{ANNA.id}/messages", json=message())

    assert put(graph, replace(ANNA, mail="new@example.com"), GONE) == 204
    assert found(graph, "mail eq 'new@example.com'") == [ANNA.id]
    assert found(graph, "mail eq 'anna@example.com'") == []
    assert len(graph.get(DELETED).json()["value"]) == 1
    assert len(graph.get(f"/v1.0/users/{ANNA.id}/messages").json()["value"]) == 1
    assert put(graph, replace(ANNA, mailbox="none")) == 204
    assert code_of(graph.get(inbox)) == (404, "MailboxNotEnabledForRESTAPI")
    assert put(graph, replace(GONE, deleted=False)) == 204
    assert graph.get(inbox.replace(ANNA.id, GONE.id)).status_code == 200
    assert graph.delete(f"/_sandbox/users/{ANNA.id}").status_code == 204
    assert code_of(graph.get(f"/v1.0/users/{ANNA.id}")) == (404, "Request_ResourceNotFound")
    assert code_of(graph.delete(f"/_sandbox/users/{ANNA.id}")) == (400, "BadRequest")


def test_the_users_are_told_as_they_are_put() -> None:
    graph = client(with_gone())

    told = graph.get("/_sandbox/users").json()

    assert [user["id"] for user in told] == [ANNA.id, GONE.id]
    assert graph.put("/_sandbox/users", json=told).status_code == 204
    assert graph.get("/_sandbox/users").json() == told


def test_a_reset_takes_the_changes_of_the_directory_back() -> None:
    graph = client(tenant())
    put(graph, replace(ANNA, mailbox="none"), GONE)

    graph.post("/_sandbox/reset")

    assert graph.get(f"/v1.0/users/{ANNA.id}/mailFolders/inbox").status_code == 200
    assert GONE.id not in [user["id"] for user in graph.get("/_sandbox/users").json()]


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "1"},
        [{**asdict(ANNA), "colour": "red"}],
        [{**asdict(ANNA), "mailbox": "large"}],
        [{**asdict(ANNA), "id": "1"}],
        [{"id": ANNA.id}],
        ["anna"],
    ],
)
def test_what_is_no_user_is_refused(wrong: Any) -> None:
    graph = client(tenant())
    before = graph.get("/_sandbox/users").json()

    assert code_of(graph.put("/_sandbox/users", json=wrong)) == (400, "BadRequest")
    assert graph.get("/_sandbox/users").json() == before


def test_a_look_up_looks_at_no_user_but_those_who_may_have_the_address() -> None:
    users = [
        replace(
            ANNA,
            id=str(uuid.UUID(int=number)),
            user_principal_name=f"u{number}@example.com",
            mail=f"m{number}@example.com",
            proxy_addresses=(f"SMTP:m{number}@example.com",),
        )
        for number in range(2_000)
    ]
    whole = Tenant(users, TENANT_ID, CLIENT_ID, SECRET)
    asked = " or ".join(conditions([f"m{number}@example.com" for number in range(0, 2_000, 400)]))
    body = {
        "requests": [{"id": str(step), "method": "GET", "url": f"/users?$filter={quote(asked)}"} for step in range(20)]
    }

    candidates = whole.directory.candidates(parse_filter(asked))
    answers = client(whole).post("/v1.0/$batch", json=body).json()["responses"]

    assert len(candidates) == 5
    assert [len(answer["body"]["value"]) for answer in answers] == [5] * 20
