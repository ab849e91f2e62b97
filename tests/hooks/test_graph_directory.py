"""An address, or a number, leads to the mailbox of one user, or to none for a cause that is named."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

import pytest

from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.errors import MailboxError, RetryError, StopError
from o2_connector.core.outcomes import Cause
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_directory import DirectoryUser
from o2_connector.hooks.graph_mail import folders_call
from sandbox.graph import Tenant as SandboxTenant
from sandbox.server import Sandbox
from tests.hooks.graph_tenant import Tenant, error, listed
from tests.hooks.tls_site import Reply, Request

NOW = 1_795_300_000_000
NONE = error(404, "MailboxNotEnabledForRESTAPI")
EXCHANGE = {
    "service": "exchange",
    "capabilityStatus": "Enabled",
    "servicePlanId": "efb87545-963c-4e0d-99df-69c6916d9eb0",
}
FOUNDATION = {**EXCHANGE, "servicePlanId": "113feb6c-3fe4-4440-bddc-54d774bf0318"}


def user(number: int, *proxies: str, name: str = "", mail: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": f"id-{number}",
        "userPrincipalName": name or f"user{number}@example.com",
        "mail": mail,
        "proxyAddresses": list(proxies),
        "usageLocation": "GB",
        **more,
    }


@dataclass
class Directory:
    """Answer batches of look-ups, probes and the like, in the reverse order, as Graph may; note what was asked."""

    users: list[dict[str, Any]]
    probes: dict[str, Reply] = field(default_factory=dict)
    deleted: Reply = field(default_factory=listed)
    sizes: list[tuple[str, int]] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Reply:
        requests = request.json["requests"]
        urls = [unquote(one["url"]) for one in requests]
        with self.lock:
            self.urls += urls
            self.sizes.append((self.kind(urls[0]), len(urls)))
        replies = [(one["id"], self.respond(unquote(one["url"]))) for one in reversed(requests)]
        return Reply(
            body={
                "responses": [
                    {"id": number, "status": reply.status, "headers": reply.headers, "body": reply.body}
                    for number, reply in replies
                ]
            }
        )

    @staticmethod
    def kind(url: str) -> str:
        for kind, part in {"look-ups": "$filter", "probes": "/inbox", "licences": "assignedPlans"}.items():
            if part in url:
                return kind
        return "deleted"

    def respond(self, url: str) -> Reply:
        if self.kind(url) == "deleted":
            return self.deleted
        if self.kind(url) == "probes":
            return self.probes.get(url.split("/")[2], Reply(body={"id": "inbox"}))
        if self.kind(url) == "licences":
            return Reply(body={"assignedPlans": self.named(url.split("/")[2].partition("?")[0]).get("plans", [])})
        asked = {text.replace("''", "'") for text in re.findall(r"p eq 'smtp:(.*?)'\)", url)}
        return listed(*[one for one in self.users if asked & addresses_of(one)])

    def named(self, user_id: str) -> dict[str, Any]:
        return next(one for one in self.users if one["id"] == user_id)


def addresses_of(one: dict[str, Any]) -> set[str]:
    proxies = {proxy.lower().removeprefix("smtp:") for proxy in one["proxyAddresses"]}
    return {one["userPrincipalName"].lower(), str(one["mail"]).lower(), *proxies}


def directory(tenant: Tenant, *users: dict[str, Any], **more: Any) -> Directory:
    made = Directory(list(users), **more)
    tenant.on("POST", r"/\$batch", made)
    return made


def ask(hook: GraphHook, *addresses: str, **more: Any) -> dict[str, DirectoryEntry]:
    return dict(hook.find_mailboxes(addresses, asked=NOW, **more).entries)


def led(entries: dict[str, DirectoryEntry]) -> dict[str, str | None]:
    return {address: entry.mailbox for address, entry in entries.items() if entry.mailbox}


def cause_of(hook: GraphHook, address: str) -> Cause | None:
    return ask(hook, address)[address].cause


def test_a_mailbox_is_found_by_any_of_its_users_addresses(tenant: Tenant, graph_hook: GraphHook) -> None:
    jane = user(
        1, "smtp:j.doe@example.com", "SMTP:Jane.Doe@example.com", name="Jane@example.org", mail="JD@example.com"
    )
    directory(tenant, jane)

    found = ask(graph_hook, "j.doe@example.com", "jane@example.org", "jd@example.com", "nobody@example.com")

    assert led(found) == {"j.doe@example.com": "id-1", "jane@example.org": "id-1", "jd@example.com": "id-1"}
    assert found["nobody@example.com"] == DirectoryEntry(address="nobody@example.com", cause=Cause.NO_USER, asked=NOW)


def test_a_hundred_addresses_are_one_request_and_twenty_mailboxes_another(
    tenant: Tenant, graph_hook: GraphHook
) -> None:
    users = [user(number, f"smtp:alias{number}@example.com") for number in range(1, 42)]
    asked = directory(tenant, *users)

    one = graph_hook.find_mailboxes([f"user{number}@example.com" for number in range(1, 42)], asked=NOW)
    sizes = Counter(asked.sizes)
    asked.sizes.clear()
    two = graph_hook.find_mailboxes(
        [f"{kind}{number}@example.com" for number in range(1, 42) for kind in ("user", "alias")], asked=NOW
    )

    assert (len(led(dict(one.entries))), one.requests) == (41, 4)
    assert sizes == {("look-ups", 9): 1, ("probes", 20): 2, ("probes", 1): 1}
    assert (len(led(dict(two.entries))), two.requests) == (82, 4)
    assert Counter(asked.sizes) == {("look-ups", 17): 1, ("probes", 20): 2, ("probes", 1): 1}


def test_no_look_up_has_more_conditions_or_a_longer_url_than_graph_takes(tenant: Tenant, graph_hook: GraphHook) -> None:
    asked = directory(tenant)
    long = [f"{'long' * 16}@{'x' * number}.example.com" for number in range(1, 60)]
    short = [f"user{number}@example.com" for number in range(101)]

    ask(graph_hook, *long, *short)

    sent = [one["url"] for batch in tenant.asked("POST", r"/\$batch") for one in batch.json["requests"]]
    urls = [url for url in asked.urls if "$filter" in url]
    assert max(map(len, sent)) <= 2000
    assert max(url.count(" or ") for url in urls) == 14
    assert sum(url.count("any(") for url in urls) == 160


def test_an_address_longer_than_the_directory_compares_is_found_by_its_beginning(
    tenant: Tenant, graph_hook: GraphHook
) -> None:
    long = f"jane@{'x' * 120}.example.com"
    asked = directory(tenant)
    asked.respond = lambda url: (
        listed(user(1, f"SMTP:{long}"), user(2, f"SMTP:{long}.org")) if "$filter" in url else Reply(body={})
    )  # type: ignore[method-assign]

    found = ask(graph_hook, long)

    assert led(found) == {long: "id-1"}
    texts = re.findall(r"startsWith\(\w+,'(.*?)'\)", asked.urls[0])
    assert [f"smtp:{long}".startswith(text) or long.startswith(text) for text in texts] == [True, True, True]
    assert max(map(len, texts)) == 120


def test_an_apostrophe_in_an_address_is_looked_for_as_it_is(tenant: Tenant, graph_hook: GraphHook) -> None:
    directory(tenant, user(1, "smtp:o'brien@example.com"))

    assert led(ask(graph_hook, "o'brien@example.com")) == {"o'brien@example.com": "id-1"}


def test_further_pages_of_a_look_up_are_read_in_batches_too(tenant: Tenant, graph_hook: GraphHook) -> None:
    pages = {
        "first": listed(user(1, mail="a@example.com"), following=f"{tenant.url}/v1.0/users?$filter=x&$skiptoken=2"),
        "second": listed(user(1, mail="a@example.com"), user(2, mail="b@example.com")),
    }
    asked = directory(tenant)
    asked.respond = (  # type: ignore[method-assign]
        lambda url: (
            Reply(body={"id": "inbox"}) if "/inbox" in url else pages["second" if "skiptoken" in url else "first"]
        )
    )

    found = ask(graph_hook, "a@example.com", "b@example.com")

    assert led(found) == {"a@example.com": "id-1", "b@example.com": "id-2"}
    assert set(tenant.paths()) == {"/$batch"}


def test_a_look_up_that_goes_round_in_a_circle_is_given_up(tenant: Tenant, graph_hook: GraphHook) -> None:
    following = f"{tenant.url}/v1.0/users?$filter=x&$skiptoken=2"
    asked = directory(tenant)
    asked.respond = lambda _: listed(user(1), following=following)  # type: ignore[method-assign]

    with pytest.raises(RetryError, match="same page twice"):
        ask(graph_hook, "a@example.com")


def test_what_is_said_of_a_user_goes_with_the_address(tenant: Tenant, graph_hook: GraphHook) -> None:
    phones = {"mobilePhone": "07700 900123", "businessPhones": ["+44 20 7946 0001", "+44 20 7946 0002"]}
    directory(tenant, user(1, mail="jane@example.com", **phones))

    assert ask(graph_hook, "jane@example.com")["jane@example.com"] == DirectoryEntry(
        address="jane@example.com",
        mailbox="id-1",
        phones=("+447700900123", "+442079460001", "+442079460002"),
        asked=NOW,
    )


# Why an address leads to no mailbox

DISABLED = {"accountEnabled": False}
SYNCED = {"onPremisesSyncEnabled": True}
LICENSED = {"plans": [EXCHANGE]}


@pytest.mark.parametrize(
    ("mail", "name", "more", "cause"),
    [
        ("a@example.com", "", {"userType": "Guest"}, Cause.GUEST),
        ("a@example.com", "", {"userType": "Guest", **DISABLED, **LICENSED}, Cause.GUEST),
        ("a@example.com", "a_example.org#EXT#@example.net", {"userType": "Member"}, Cause.GUEST),
        ("a@example.com", "", DISABLED, Cause.DISABLED),
        ("a@example.com", "", {**DISABLED, **SYNCED, **LICENSED}, Cause.DISABLED),
        ("a@example.com", "", {**LICENSED, "accountEnabled": True}, Cause.ON_PREMISES),
        ("a@example.com", "", {"plans": [{**EXCHANGE, "capabilityStatus": "Warning"}]}, Cause.ON_PREMISES),
        ("a@example.com", "", {**LICENSED, **SYNCED}, Cause.ON_PREMISES),
        ("a@example.com", "", SYNCED, Cause.ON_PREMISES),
        (None, "a@example.com", SYNCED, Cause.UNLICENSED),
        ("a@example.com", "", {"onPremisesSyncEnabled": False}, Cause.UNLICENSED),
        ("a@example.com", "", {"plans": None}, Cause.UNLICENSED),
        ("a@example.com", "", {"plans": [FOUNDATION]}, Cause.UNLICENSED),
        ("a@example.com", "", {"plans": [{**EXCHANGE, "service": "SharePoint"}]}, Cause.UNLICENSED),
        ("a@example.com", "", {"plans": [{**EXCHANGE, "capabilityStatus": "Suspended"}]}, Cause.UNLICENSED),
        ("a@example.com", "", {"plans": [{**EXCHANGE, "capabilityStatus": "Deleted"}]}, Cause.UNLICENSED),
    ],
)
def test_a_user_without_a_mailbox_has_none_for_a_cause(
    tenant: Tenant, graph_hook: GraphHook, mail: str | None, name: str, more: dict[str, Any], cause: Cause
) -> None:
    directory(tenant, user(1, name=name, mail=mail, **more), probes={"id-1": NONE})

    entry = ask(graph_hook, "a@example.com")["a@example.com"]

    assert (entry.mailbox, entry.cause) == (None, cause)


@pytest.mark.parametrize("more", [DISABLED, {"userType": "Guest"}, {"plans": []}, SYNCED])
def test_a_mailbox_that_graph_opens_is_one_whatever_else_is_said_of_its_user(
    tenant: Tenant, graph_hook: GraphHook, more: dict[str, Any]
) -> None:
    asked = directory(tenant, user(1, mail="a@example.com", **more))

    assert led(ask(graph_hook, "a@example.com")) == {"a@example.com": "id-1"}
    assert [kind for kind, _ in asked.sizes] == ["look-ups", "probes"]


def test_licences_are_asked_only_of_whom_nothing_else_tells(tenant: Tenant, graph_hook: GraphHook) -> None:
    users = [user(1), user(2, **DISABLED), user(3, userType="Guest"), user(4)]
    asked = directory(tenant, *users, probes=dict.fromkeys(["id-2", "id-3", "id-4"], NONE))

    ask(graph_hook, *(f"user{number}@example.com" for number in range(1, 5)))

    assert asked.sizes == [("look-ups", 1), ("probes", 4), ("licences", 1)]


@pytest.mark.parametrize(
    "deleted",
    [
        {"id": "1a-2b", "userPrincipalName": "1A2BJane@example.com"},
        {"id": "1a-2b", "userPrincipalName": "1a2bj@example.org", "mail": "Jane@example.com"},
        {"id": "1a-2b", "userPrincipalName": None, "mail": None, "proxyAddresses": ["smtp:JANE@example.com"]},
    ],
)
def test_an_address_of_a_user_who_was_deleted_says_so(
    tenant: Tenant, graph_hook: GraphHook, deleted: dict[str, Any]
) -> None:
    asked = directory(tenant, deleted=listed({"id": "x", "userPrincipalName": "xother@example.com"}, deleted))

    found = ask(graph_hook, "jane@example.com", "nobody@example.com")

    assert {address: entry.cause for address, entry in found.items()} == {
        "jane@example.com": Cause.SOFT_DELETED,
        "nobody@example.com": Cause.NO_USER,
    }
    assert asked.sizes == [("look-ups", 1), ("deleted", 1)]


def test_who_was_deleted_is_read_to_the_last_page(tenant: Tenant, graph_hook: GraphHook) -> None:
    root = f"{tenant.url}/v1.0/directory/deletedItems/microsoft.graph.user"
    asked = directory(tenant, deleted=listed({"id": "x"}, following=f"{root}?$skiptoken=2"))
    first = asked.respond
    last = listed({"id": "y", "mail": "jane@example.com"})
    asked.respond = lambda url: last if "skiptoken" in url else first(url)  # type: ignore[method-assign]

    assert cause_of(graph_hook, "jane@example.com") is Cause.SOFT_DELETED


@pytest.mark.parametrize("refusal", [error(403, "Authorization_RequestDenied"), error(400, "BadRequest")])
def test_where_deleted_users_may_not_be_listed_nobody_has_the_address(
    tenant: Tenant, graph_hook: GraphHook, refusal: Reply
) -> None:
    directory(tenant, deleted=refusal)

    assert cause_of(graph_hook, "jane@example.com") is Cause.NO_USER


def test_who_was_deleted_is_not_asked_while_every_address_is_somebodys(tenant: Tenant, graph_hook: GraphHook) -> None:
    asked = directory(tenant, user(1, mail="a@example.com"), user(2, mail="a@example.com"), user(3))

    ask(graph_hook, "a@example.com", "user3@example.com")

    assert asked.sizes == [("look-ups", 1), ("probes", 1)]


@pytest.mark.parametrize("probe", [NONE, error(404, "SomethingNew"), error(400, "ErrorInvalidUser")])
def test_a_user_whose_mailbox_graph_does_not_know_has_none(tenant: Tenant, graph_hook: GraphHook, probe: Reply) -> None:
    directory(tenant, user(1), user(2), probes={"id-1": probe})

    assert set(led(ask(graph_hook, "user1@example.com", "user2@example.com"))) == {"user2@example.com"}


# Several users, and mailboxes that are refused


def test_mailboxes_out_of_scope_are_counted_in_the_log(
    tenant: Tenant, graph_hook: GraphHook, capsys: pytest.CaptureFixture[str]
) -> None:
    directory(tenant, user(1), probes={"id-1": error(403, "ErrorAccessDenied")})

    found = graph_hook.find_mailboxes(["user1@example.com"], asked=NOW)

    assert set(found.refused) == {"id-1"}
    assert "Graph refuses 1 mailboxes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        (error(403, "ErrorAccessDenied"), {"jane@example.com": "id-1"}),
        (NONE, {}),
    ],
)
def test_an_address_never_leads_to_a_second_choice_because_the_first_cannot_be_opened(
    tenant: Tenant, graph_hook: GraphHook, probe: Reply, found: dict[str, str]
) -> None:
    jane, other = user(1, "SMTP:jane@example.com"), user(2, mail="jane@example.com")
    asked = directory(tenant, jane, other, probes={"id-1": probe})

    assert led(ask(graph_hook, "jane@example.com")) == found
    assert [url for url in asked.urls if "/inbox" in url] == ["/users/id-1/mailFolders/inbox?$select=id"]


@pytest.mark.parametrize("probes", [{}, {"id-1": NONE}])
def test_an_address_of_two_users_leads_to_neither_though_only_one_has_a_mailbox(
    tenant: Tenant, graph_hook: GraphHook, probes: dict[str, Reply]
) -> None:
    directory(tenant, user(1, mail="desk@example.com"), user(2, mail="desk@example.com"), probes=probes)

    assert cause_of(graph_hook, "desk@example.com") is Cause.SEVERAL_USERS


def test_a_graph_that_refuses_every_mailbox_lacks_a_permission(tenant: Tenant, graph_hook: GraphHook) -> None:
    refusal = error(403, "ErrorAccessDenied")
    directory(tenant, user(1), user(2), probes={"id-1": refusal, "id-2": refusal})

    with pytest.raises(StopError, match=r"Mail\.ReadWrite"):
        ask(graph_hook, "user1@example.com", "user2@example.com")


def test_where_a_mailbox_is_known_to_open_two_that_are_refused_lie_out_of_scope(
    tenant: Tenant, graph_hook: GraphHook
) -> None:
    refusal = error(403, "ErrorAccessDenied")
    directory(tenant, user(1), user(2), probes={"id-1": refusal, "id-2": refusal})

    assert len(led(ask(graph_hook, "user1@example.com", "user2@example.com", some_open=True))) == 2


def test_mailboxes_are_asked_only_while_they_are_owned(tenant: Tenant, graph_hook: GraphHook) -> None:
    asked = directory(tenant, user(1), user(2))
    owned: list[tuple[list[str], list[str]]] = []

    @contextmanager
    def asking(users: Collection[str]) -> Iterator[None]:
        before = len(asked.sizes)
        yield
        owned.append((sorted(users), [kind for kind, _ in asked.sizes[before:]]))

    ask(graph_hook, "user1@example.com", "user2@example.com", "nobody@example.com", asking=asking)
    ask(graph_hook, "nobody@example.com", asking=asking)

    assert owned == [(["id-1", "id-2"], ["probes"])]


def test_a_probe_that_fails_for_another_reason_is_no_verdict(tenant: Tenant, graph_hook: GraphHook) -> None:
    directory(tenant, user(1), probes={"id-1": error(503, "ErrorServerBusy")})

    with pytest.raises(RetryError):
        ask(graph_hook, "user1@example.com")


@pytest.mark.parametrize("kind", ["look-ups", "probes", "licences", "deleted"])
def test_a_throttle_is_waited_out_as_long_as_graph_says(
    tenant: Tenant, graph_hook: GraphHook, kind: str, moment: Any
) -> None:
    asked = directory(tenant, user(1), probes={"id-1": NONE})
    respond, busy = asked.respond, [error(429, "TooManyRequests", Retry_After="7"), error(503, "ServiceUnavailable")]
    asked.respond = (  # type: ignore[method-assign]
        lambda url: busy.pop(0) if asked.kind(url) == kind and busy else respond(url)
    )

    found = ask(graph_hook, "user1@example.com", "nobody@example.com")

    assert [entry.cause for entry in found.values()].count(Cause.UNLICENSED) == 1
    assert not busy
    assert moment.waits[0] >= 7
    assert len(moment.waits) == 2


def test_a_proxy_address_counts_for_more_than_another_users_mail(tenant: Tenant, graph_hook: GraphHook) -> None:
    guest = user(1, mail="jane@example.com", name="jane_example.com#ext#@example.org")
    jane = user(2, "SMTP:jane@example.com")
    directory(tenant, guest, jane)

    assert led(ask(graph_hook, "jane@example.com")) == {"jane@example.com": "id-2"}


def test_a_directory_that_may_not_be_read_stops_with_the_permissions_name(
    tenant: Tenant, graph_hook: GraphHook
) -> None:
    refusal = error(403, "Authorization_RequestDenied")
    directory(tenant).respond = lambda _: refusal  # type: ignore[method-assign]
    tenant.on("GET", r"/users\?.*", refusal)

    with pytest.raises(StopError, match=r"User\.Read\.All"):
        ask(graph_hook, "user1@example.com")
    with pytest.raises(StopError, match=r"User\.Read\.All"):
        numbers(graph_hook, NUMBER)


def test_an_answer_that_is_no_user_is_asked_for_again_later(tenant: Tenant, graph_hook: GraphHook) -> None:
    directory(tenant, {**user(1, mail="a@example.com"), "businessPhones": "none"})

    with pytest.raises(RetryError, match="no user"):
        ask(graph_hook, "a@example.com")


# By number

NUMBER, OTHER, NOBODYS = "+447700900123", "+442079460001", "+447700900999"


def numbers(hook: GraphHook, *asked: str) -> dict[str, DirectoryEntry]:
    return dict(hook.find_by_number(asked, asked=NOW).entries)


def test_a_number_leads_to_the_one_user_who_has_it_however_it_is_spelt(tenant: Tenant, graph_hook: GraphHook) -> None:
    directory(tenant)
    pages = [
        listed(
            user(1, mobilePhone="07700 900123", businessPhones=["+44 7700 900123"]),
            following=f"{tenant.url}/v1.0/users?$skiptoken=2",
        ),
        listed(user(2, mobilePhone=None, businessPhones=["020 7946 0001"]), user(3, mobilePhone="ask reception")),
    ]
    tenant.on("GET", r"/users\?.*", *pages)

    found = graph_hook.find_by_number([NUMBER, OTHER, NOBODYS], asked=NOW)

    assert found.entries == {
        NUMBER: DirectoryEntry(address=NUMBER, mailbox="id-1", phones=("+447700900123", "+447700900123"), asked=NOW),
        OTHER: DirectoryEntry(address=OTHER, mailbox="id-2", phones=("+442079460001",), asked=NOW),
    }
    assert found.requests == 3


@pytest.mark.parametrize("probes", [{}, {"id-1": NONE}])
def test_a_number_of_two_users_leads_to_neither_though_only_one_has_a_mailbox(
    tenant: Tenant, graph_hook: GraphHook, probes: dict[str, Reply]
) -> None:
    asked = directory(tenant, probes=probes)
    holders = user(1, mobilePhone="07700 900123"), user(2, businessPhones=["+447700900123"])
    tenant.on("GET", r"/users\?.*", listed(*holders))

    assert numbers(graph_hook, NUMBER) == {
        NUMBER: DirectoryEntry(address=NUMBER, cause=Cause.SEVERAL_HOLDERS, asked=NOW)
    }
    assert not asked.sizes


def test_a_number_whose_user_has_no_mailbox_leads_to_none_for_the_cause(tenant: Tenant, graph_hook: GraphHook) -> None:
    directory(tenant, probes={"id-1": NONE})
    tenant.on("GET", r"/users\?.*", listed(user(1, mobilePhone="07700 900123", accountEnabled=False)))

    entry = numbers(graph_hook, NUMBER)[NUMBER]

    assert (entry.mailbox, entry.cause) == (None, Cause.DISABLED)


def test_nothing_personal_is_said(
    tenant: Tenant, graph_hook: GraphHook, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    refused = error(403, "ErrorAccessDenied")
    users = user(1, mail="jane@example.com", mobilePhone="07700 900123"), user(2, mail="june@example.com")
    asked = directory(tenant, *users, probes={"id-1": refused, "id-2": NONE})
    tenant.on("GET", r"/users\?.*", listed(*users))

    ask(graph_hook, "jane@example.com", "june@example.com", "nobody@example.com")
    numbers(graph_hook, NUMBER)

    said = "\n".join([*caplog.messages, capsys.readouterr().out])
    assert "refuses 1 mailboxes" in said
    assert [word for word in ("jane", "june", "nobody", "900123") if word in said] == []
    assert [path for path in tenant.paths() if "example.com" in unquote(path) or "900123" in path] == []
    assert asked.sizes


# The sandbox

CAUSES = {
    "guest": Cause.GUEST,
    "no mailbox": Cause.UNLICENSED,
    "on premises": Cause.ON_PREMISES,
    "unlicensed": Cause.UNLICENSED,
    "closed": Cause.DISABLED,
    "deleted": Cause.SOFT_DELETED,
}


def test_the_sandboxs_directory_is_read_as_it_is(graph_sandbox: Sandbox, sandbox_hook: GraphHook) -> None:
    users = graph_sandbox.world.directory
    addresses = {
        user.id: {
            address.lower().removeprefix("smtp:")
            for address in (*user.proxy_addresses, user.mail, user.user_principal_name)
            if address
        }
        for user in users
    }

    found = ask(sandbox_hook, *(address for each in addresses.values() for address in each), "nobody@example.com")

    kinds = {
        address: CAUSES.get(person.kind)
        for person in graph_sandbox.world.people
        for user in users
        if person.name == user.display_name
        for address in addresses[user.id]
    }
    mailboxes = {address: user.id for user in users if user.has_mailbox for address in addresses[user.id]}
    assert led(found) == mailboxes
    assert {address: entry.cause for address, entry in found.items()} == {
        **kinds,
        "nobody@example.com": Cause.NO_USER,
    }
    assert set(CAUSES.values()) <= set(kinds.values())


def test_who_is_given_a_mailbox_has_one_at_once(graph_sandbox: Sandbox, sandbox_hook: GraphHook) -> None:
    tenant: SandboxTenant = graph_sandbox.graph
    closed = next(one for one in tenant.directory.present if not one.account_enabled and one.mailbox == "none")
    before = cause_of(sandbox_hook, closed.user_principal_name)
    given = replace(closed, account_enabled=True, licensed=True, mailbox="ok")
    tenant.change_users([given if one.id == given.id else one for one in tenant.directory.all.values()])

    after = ask(sandbox_hook, closed.user_principal_name)

    assert before is Cause.DISABLED
    assert led(after) == {closed.user_principal_name: closed.id}


def test_numbers_of_the_sandboxs_directory_are_found(graph_sandbox: Sandbox, sandbox_hook: GraphHook) -> None:
    people = [person for person in graph_sandbox.world.people if person.kind != "second phone"]

    found = numbers(sandbox_hook, *(person.phone for person in people))

    users = {user.display_name: user for user in graph_sandbox.world.directory if not user.deleted}
    assert {number: entry.mailbox for number, entry in found.items()} == {
        person.phone: users[person.name].id if users[person.name].has_mailbox else None
        for person in people
        if person.name in users
    }


def test_a_mailbox_out_of_scope_is_found_and_set_aside_with_its_cause(
    graph_sandbox: Sandbox, sandbox_hook: GraphHook
) -> None:
    denied = next(one for one in graph_sandbox.world.directory if one.mailbox == "denied")
    found = led(ask(sandbox_hook, denied.user_principal_name))

    with pytest.raises(MailboxError, match=r"Mail\.ReadWrite") as caught:
        raise sandbox_hook.graph.send_once(folders_call(denied.id)).failure("the archive folder was looked for")

    assert list(found.values()) == [denied.id]
    assert caught.value.cause == "ErrorAccessDenied"


@pytest.mark.parametrize(
    ("where", "written", "number"),
    [
        ("GB", "07700 900123", "+447700900123"),
        ("US", "(202) 555-0123", "+12025550123"),
        ("US", "+44 7700 900123", "+447700900123"),
        (None, "+44 7700 900123", "+447700900123"),
        (None, "07700 900123", None),
        ("XX", "07700 900123", None),
    ],
)
def test_a_national_number_is_one_of_the_country_in_which_the_user_is(
    where: str | None, written: str, number: str | None
) -> None:
    found = DirectoryUser(id="id-1", usage_location=where, mobile_phone=written)

    assert found.phones == ((number,) if number else ())
