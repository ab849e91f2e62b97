"""What the directory said is remembered where it leads to a mailbox, and asked again where it does not."""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.errors import RetryError, StopError
from o2_connector.core.layout import BUCKETS, directory_stem
from o2_connector.core.outcomes import Cause
from o2_connector.core.phones import normalise_each
from o2_connector.engine import directory
from o2_connector.engine.directory import find_by_number, find_mailboxes
from o2_connector.engine.ownership import owned
from o2_connector.engine.paces import Paces
from o2_connector.hooks.graph import GraphHook
from sandbox.directory import User
from tests.engine.conftest import Site

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
NOBODY = "nobody@example.com"


@pytest.fixture
def users(site: Site) -> list[User]:
    return sorted((user for user in site.tenant.directory.present if user.mailbox == "ok"), key=lambda user: user.id)


@pytest.fixture
def hook() -> GraphHook:
    return GraphHook(patience_seconds=5.0)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the addresses that Graph is asked for, and the requests."""
    counted: Counter[str] = Counter()
    ask = GraphHook.find_mailboxes

    def find(self: GraphHook, addresses: Any, **more: Any) -> Any:
        found = ask(self, addresses, **more)
        counted.update({"addresses": len(addresses), "requests": found.requests})
        return found

    monkeypatch.setattr(GraphHook, "find_mailboxes", find)
    return counted


def find(site: Site, *addresses: str, at: datetime = AT, remember: timedelta = DAY) -> dict[str, DirectoryEntry]:
    return find_mailboxes(site.staging, GraphHook(patience_seconds=5.0), addresses, remember=remember, at=at)


def kept(site: Site) -> list[str]:
    return list(site.staging.names("directory/"))


def address_of(user: User) -> str:
    return user.proxy_addresses[0].partition(":")[2].lower()


def test_every_asked_address_is_answered_in_lower_case(site: Site, users: list[User]) -> None:
    found = find(site, f" {address_of(users[0]).upper()} ", NOBODY, "", "n/a", "a@b@c", "two words@example.com")

    asked = int(AT.timestamp() * 1000)
    assert found.pop(address_of(users[0])) == DirectoryEntry(
        address=address_of(users[0]),
        mailbox=users[0].id,
        phones=tuple(filter(None, normalise_each([users[0].mobile_phone or "", *users[0].business_phones], "GB"))),
        asked=asked,
    )
    assert found == {
        address: DirectoryEntry(address=address, cause=Cause.NO_USER, asked=asked)
        for address in (NOBODY, "", "n/a", "a@b@c", "two words@example.com")
    }


def test_what_is_no_address_is_not_asked(site: Site, requests: Counter[str]) -> None:
    assert find(site, "n/a", "+447700900123")["n/a"].cause is Cause.NO_USER
    assert not requests


def test_what_leads_to_a_mailbox_is_remembered_and_what_does_not_is_asked_again(
    site: Site, users: list[User], requests: Counter[str]
) -> None:
    guest = next(user for user in site.tenant.directory.present if user.user_type == "Guest")
    addresses = [*map(address_of, users), address_of(guest), NOBODY]

    first = find(site, *addresses)
    asked = requests.copy()
    second = find(site, *addresses, at=AT + timedelta(hours=23))

    assert asked["addresses"] == len(addresses)
    assert requests["addresses"] - asked["addresses"] == 2
    assert {address: (entry.mailbox, entry.cause) for address, entry in second.items()} == {
        address: (entry.mailbox, entry.cause) for address, entry in first.items()
    }
    assert second[address_of(users[0])] == first[address_of(users[0])]
    assert second[NOBODY].asked > first[NOBODY].asked
    assert len(kept(site)) == 1
    assert kept(site)[0].startswith(f"{directory_stem(GraphHook().tenant, AT)}")


def test_who_is_given_a_mailbox_does_not_wait_for_it(site: Site) -> None:
    guest = next(user for user in site.tenant.directory.present if user.user_type == "Guest")
    before = find(site, address_of(guest))[address_of(guest)]
    given = replace(guest, user_type="Member", licensed=True, mailbox="ok")
    site.tenant.change_users([given if user.id == given.id else user for user in site.tenant.directory.all.values()])

    after = find(site, address_of(guest), at=AT + timedelta(minutes=1))[address_of(guest)]

    assert (before.cause, after.mailbox) == (Cause.GUEST, guest.id)


@pytest.mark.parametrize(
    ("later", "remember", "asks"),
    [
        (timedelta(0), DAY, False),
        (DAY - timedelta(seconds=1), DAY, False),
        (DAY, DAY, True),
        (timedelta(days=2, seconds=-1), 2 * DAY, False),
        (timedelta(minutes=1), timedelta(seconds=59), True),
        (timedelta(seconds=1), timedelta(0), True),
        (timedelta(minutes=-15), DAY, False),  # said by a worker whose clock is ahead
        (timedelta(minutes=-16), DAY, True),  # by one whose clock is wrong
        (timedelta(days=-400), 3 * DAY, True),
    ],
)
def test_what_was_said_is_believed_for_a_while(
    site: Site, users: list[User], requests: Counter[str], later: timedelta, remember: timedelta, asks: bool
) -> None:
    find(site, address_of(users[0]))
    before = requests["addresses"]

    found = find(site, address_of(users[0]), at=AT + later, remember=remember)

    assert found[address_of(users[0])].mailbox == users[0].id
    assert requests["addresses"] - before == asks


def test_nothing_is_kept_where_nothing_is_to_be_remembered(site: Site, users: list[User]) -> None:
    find(site, address_of(users[0]), remember=timedelta(0))

    assert kept(site) == []


def test_nothing_is_kept_where_nothing_leads_to_a_mailbox(site: Site) -> None:
    find(site, NOBODY)

    assert kept(site) == []


def test_only_the_folders_of_days_that_can_matter_are_listed(
    site: Site, users: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    names = site.staging.names
    monkeypatch.setattr(site.staging, "names", lambda prefix: listed.append(prefix) or names(prefix))

    find(site, address_of(users[0]), at=datetime(2026, 11, 22, 23, 50, tzinfo=UTC))

    days = [prefix.split("/")[1] for prefix in listed if prefix.startswith("directory/")]
    assert days == ["2026-11-21", "2026-11-22", "2026-11-23"]


def test_a_time_with_an_offset_is_the_same_time(site: Site, users: list[User], requests: Counter[str]) -> None:
    find(site, address_of(users[0]), at=AT.astimezone(timezone(timedelta(hours=-11))))
    find(site, address_of(users[0]), at=AT)

    assert requests["addresses"] == 1
    assert kept(site)[0].startswith("directory/2026-11-22/")


def write(site: Site, at: datetime, *entries: DirectoryEntry, tenant: str | None = None) -> str:
    return site.staging.write_lines(directory_stem(tenant or GraphHook().tenant, at), entries).name


def entry(mailbox: str | None, asked: datetime, address: str = "a@example.com") -> DirectoryEntry:
    return DirectoryEntry(address=address, mailbox=mailbox, asked=int(asked.timestamp() * 1000))


def test_of_what_was_said_of_an_address_the_newest_counts(site: Site, requests: Counter[str]) -> None:
    minutes = [AT - timedelta(minutes=number) for number in range(3)]
    write(site, minutes[2], entry("first", minutes[2]), entry("last", minutes[0]))
    write(site, minutes[1], entry("second", minutes[1]))

    assert find(site, "a@example.com")["a@example.com"].mailbox == "last"
    assert not requests


def test_what_another_tenant_said_is_not_believed(site: Site) -> None:
    write(site, AT, entry("elsewhere", AT), tenant="https://login.example.com https://graph.example.com/v1.0")

    assert find(site, "a@example.com")["a@example.com"].cause is Cause.NO_USER


def test_an_entry_that_leads_to_no_mailbox_is_not_believed_whoever_wrote_it(site: Site, users: list[User]) -> None:
    write(site, AT, entry(None, AT, address_of(users[0])))

    assert find(site, address_of(users[0]))[address_of(users[0])].mailbox == users[0].id


@pytest.mark.parametrize("damage", [b"", b'{"address":"a@exampl', None])
def test_what_cannot_be_read_is_asked_again(
    site: Site, users: list[User], requests: Counter[str], caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    address = address_of(users[0])
    if damage is None:  # what a later version might write, its digest right
        with site.staging.writer(directory_stem(GraphHook().tenant, AT), ".jsonl") as out:
            out.write(b'{"address":"%s","mailbox":"x","cause":"a new cause","asked":1}\n' % address.encode())
    else:
        find(site, address)
        path = site.folder / kept(site)[0]
        path.chmod(0o600)
        path.write_bytes(damage)
    requests.clear()

    with caplog.at_level(logging.WARNING):
        found = find(site, address, at=AT + timedelta(minutes=1))

    assert found[address].mailbox == users[0].id
    assert requests["addresses"] == 1
    assert "cannot be read" in caplog.text
    assert address.partition("@")[0] not in caplog.text


def test_two_workers_at_once_say_the_same(site: Site, users: list[User]) -> None:
    addresses = [*map(address_of, users), NOBODY]

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda late: find(site, *addresses, at=AT + late), [timedelta(0), timedelta(0)])

    assert one == other
    assert len(kept(site)) == 1


def test_a_mailbox_that_graph_refuses_is_one_and_is_asked_again(site: Site, requests: Counter[str]) -> None:
    denied = next(user for user in site.tenant.directory.present if user.mailbox == "denied")

    found = [find(site, address_of(denied), at=AT + timedelta(minutes=number)) for number in range(2)]

    assert [each[address_of(denied)].mailbox for each in found] == [denied.id, denied.id]
    assert requests["addresses"] == 2


def test_two_new_mailboxes_out_of_scope_stop_nothing_where_others_are_known_to_open(
    site: Site, users: list[User]
) -> None:
    two = [replace(user, mailbox="denied") for user in users[:2]]
    find(site, address_of(users[2]))
    changed = {user.id: user for user in two}
    site.tenant.change_users([changed.get(user.id, user) for user in site.tenant.directory.all.values()])

    found = find(site, *map(address_of, users[:3]), at=AT + timedelta(minutes=1))

    assert all(each.mailbox for each in found.values())
    with pytest.raises(StopError, match=r"Mail\.ReadWrite"):
        find(site, *map(address_of, two), remember=timedelta(0))


def test_no_mailbox_is_asked_while_somebody_else_owns_it_and_nobody_is_waited_for_when_it_is_remembered(
    site: Site, users: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "asking", impatient)
    find(site, address_of(users[0]))

    with owned(site.staging, range(BUCKETS), Paces()):
        remembered = find(site, address_of(users[0]), NOBODY)
        with pytest.raises(RetryError, match="another run"):
            find(site, address_of(users[1]))

    assert remembered[address_of(users[0])].mailbox == users[0].id


def impatient(staging: Any, mailboxes: Any) -> Any:
    return owned(staging, range(BUCKETS), Paces(), patience_seconds=0.0)


def test_a_number_leads_to_the_mailbox_of_the_user_who_has_it(site: Site, users: list[User], hook: GraphHook) -> None:
    people = {person.name: person for person in site.sandbox.world.people if person.kind != "second phone"}
    phones = [people[user.display_name].phone for user in users]

    found = find_by_number(site.staging, hook, [*phones, "+447700900999"], at=AT)

    assert {phone: each.mailbox for phone, each in found.items()} == dict(
        zip(phones, (user.id for user in users), strict=True)
    )
    assert kept(site) == []


def test_without_numbers_nobody_is_asked(site: Site, hook: GraphHook) -> None:
    site.tenant.faults.add("status", status=500, times=1)

    assert find_by_number(site.staging, hook, [], at=AT) == {}


def test_counts_are_logged_and_nothing_personal(
    site: Site, users: list[User], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    addresses = [*map(address_of, users[:5]), NOBODY]
    find(site, *addresses[:3])

    find(site, *addresses, "n/a")
    find_by_number(site.staging, GraphHook(), ["+447700900001", "+447700900999"], at=AT)

    said = "\n".join([*caplog.messages, capsys.readouterr().out])
    assert "7 addresses: 3 remembered, 3 asked with 3 requests; 5 lead to a mailbox" in said
    assert "2 numbers: 1 are in the directory, asked with 2 requests; 1 lead to a mailbox" in said
    names = [address.partition("@")[0] for address in addresses]
    assert [word for word in (*names, "900001", "900999") if word in said] == []


def test_an_entry_is_kept_as_it_was_said(site: Site, users: list[User]) -> None:
    said = find(site, *map(address_of, users))

    read = list(site.staging.read_lines(site.staging.staged(kept(site)[0]), DirectoryEntry))

    assert {each.address: each for each in read} == said
    assert b"cause" not in msgspec.json.encode(read[0])
