"""Ask a tenant's directory whose mailbox an address, or a number, leads to.

No address stands in a URL: every look-up, and every further page of one, goes through ``$batch``, in the body.

What is asked, in this order: who has the address, five addresses a look-up and twenty look-ups a request; whether
Graph opens the mailbox of each user found, twenty a request; of those without one, whether they have a licence for one;
and, once, who was deleted lately, when an address was found nowhere.

A mailbox that Graph opens is the only proof of one. ``mail`` is none: guests have it, and users whose mailbox is on
premises. What is missing disproves none: shared mailboxes need no licence, and their accounts are disabled.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import quote

import msgspec
import phonenumbers

from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.errors import ConnectorError, RetryError, StopError
from o2_connector.core.graph_errors import Verdict
from o2_connector.core.outcomes import Cause
from o2_connector.core.phones import normalise
from o2_connector.hooks.graph_requests import BATCH_LIMIT, Answer, Call, GraphRequests, get, literal, quoted

PARALLEL = 4
"""Batches under way at the same time. Each look-up costs a resource unit (2, and 1 less for ``$select``), and the
smallest tenants have 3,500 in 10 seconds ("Throttling limits", Identity and access): 80 at a time stay below that."""

TOGETHER = 5
"""Addresses in one look-up: each is three conditions, and the directory takes 15 that are joined by ``or`` ("Too many
child clauses specified in search filter expression containing 'OR' operators: 16. Max allowed: 15",
microsoftgraph/microsoft-graph-docs#21098)."""

URL_LIMIT = 2000
"""Characters of a look-up of several addresses; Graph says 2,048 where it says a number ("Known issues", 13635)."""

LONGEST_VALUE = 120
"""Characters that ``eq`` compares in the directory ("Known issues", 13635)."""

_ANY_REGION = "GB"  # a number with its plus is the same everywhere

PAGE = 999
"""Users in a page, at most ("List users", "List deletedItems")."""

_UNLICENSED_PLANS = frozenset(
    {
        "113feb6c-3fe4-4440-bddc-54d774bf0318",  # EXCHANGE_S_FOUNDATION
        "922ba911-5694-4e99-a794-73aed9bfeec8",  # EXCHANGE_S_FOUNDATION_GOV
    }
)
"""Exchange Foundation comes with licences that have nothing to do with mail ("Product names and service plan
identifiers for licensing"), and gives no mailbox."""

Asking: TypeAlias = Callable[[Collection[str]], AbstractContextManager[object]]
"""Given the users' ids; its block lasts while each of their mailboxes is asked one thing."""


class DirectoryUser(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Hold what the directory says of a user; anything but the id may be missing or null."""

    id: str
    user_principal_name: str | None = None
    mail: str | None = None
    proxy_addresses: tuple[str, ...] | None = None
    user_type: str | None = None
    account_enabled: bool | None = None
    on_premises_sync_enabled: bool | None = None
    usage_location: str | None = None
    mobile_phone: str | None = None
    business_phones: tuple[str, ...] | None = None

    @property
    def phones(self) -> tuple[str, ...]:
        """Return the user's numbers as E.164, as far as the directory tells of which country they are.

        A national number is one of the country in which the user is, ``usageLocation``: (770) 290-0123 is another
        subscriber's in Atlanta than in London. Without that, only what begins with a plus is a number.
        """
        written = filter(None, (self.mobile_phone, *(self.business_phones or ())))
        where = self.usage_location if self.usage_location in phonenumbers.SUPPORTED_REGIONS else None
        told = (phone for phone in written if where or phone.strip().startswith("+"))
        return tuple(number for phone in told if (number := normalise(phone, where or _ANY_REGION)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Hold what the directory said.

    :param entries: by what was asked for.
    :param refused: ids of the users who have a mailbox that Graph refuses to open.
    :param requests: how many it took; a batch is one.
    """

    entries: Mapping[str, DirectoryEntry]
    refused: Collection[str]
    requests: int


class _Count:
    """Count requests, as a gate that holds none back."""

    def __init__(self) -> None:
        self.requests = 0
        self._lock = threading.Lock()

    def __call__(self, _: int) -> AbstractContextManager[None]:
        """Count one."""
        with self._lock:
            self.requests += 1
        return nullcontext()


def is_address(text: str) -> bool:
    """Tell whether a text can be an e-mail address."""
    return re.fullmatch(r"[^\s@\x00-\x1f]{1,64}@[^\s@\x00-\x1f]{1,255}", text) is not None


def find_addresses(
    graph: GraphRequests, addresses: Collection[str], *, asked: int, asking: Asking, some_open: bool
) -> Found:
    """Say of each address whose mailbox it leads to, or why to none.

    :param addresses: lower case.
    :param asked: the time, in milliseconds since 1970, UTC.
    :param some_open: whether some mailbox is known to open, so that a refusal is the application's scope.
    :raises StopError: when Graph refuses every one of several mailboxes and none is known to open: that is no scope
        but a permission that is missing.
    """
    count = _Count()
    graph = graph.gated(count)
    chosen = choose_users(graph, sorted(addresses))
    mailboxes = open_mailboxes(graph, _users(chosen.values()), asking)
    if len(mailboxes.refused) > 1 and not (mailboxes.opened or mailboxes.causes or some_open):
        raise StopError("Graph refuses every mailbox; grant Mail.ReadWrite, or mend the application's scope")
    missing = {address for address, user in chosen.items() if user is Cause.NO_USER}
    deleted = deleted_addresses(graph, missing) if missing else set()
    entries = {address: _entry(address, user, mailboxes, asked) for address, user in chosen.items()}
    for address in deleted:
        entries[address] = msgspec.structs.replace(entries[address], cause=Cause.SOFT_DELETED)
    return Found(entries=entries, refused=mailboxes.refused, requests=count.requests)


def find_numbers(graph: GraphRequests, numbers: Collection[str], *, asked: int, asking: Asking) -> Found:
    """Say of each number that users have in the directory whose mailbox it leads to, or why to none.

    A number that two users have leads to nobody, whoever of them has a mailbox.

    :param numbers: as E.164. Those that nobody has are not in the answer.
    :param asked: the time, in milliseconds since 1970, UTC.
    """
    count = _Count()
    graph = graph.gated(count)
    wanted = frozenset(numbers)
    holders: dict[str, dict[str, DirectoryUser]] = {}
    for entry in graph.listed(f"/users?$select={_FIELDS_BUT_ADDRESSES}&$top={PAGE}", "users were listed"):
        user = _user(entry)
        for number in set(user.phones):
            if number in wanted:
                holders.setdefault(number, {})[user.id] = user
    chosen = {
        number: next(iter(each.values())) if len(each) == 1 else Cause.SEVERAL_HOLDERS
        for number, each in holders.items()
    }
    mailboxes = open_mailboxes(graph, _users(chosen.values()), asking)
    entries = {number: _entry(number, user, mailboxes, asked) for number, user in chosen.items()}
    return Found(entries=entries, refused=mailboxes.refused, requests=count.requests)


# Whose it is


def choose_users(graph: GraphRequests, addresses: Sequence[str]) -> dict[str, DirectoryUser | Cause]:
    """Return the user to whom each address leads, or why it leads to nobody.

    It leads to the user that has it as a proxy address, else as user principal name, else as mail. One that leads to
    two users of the same rank leads to none: nothing goes to a mailbox by guess.
    """
    groups = list(_together(addresses))
    found = _each_in_batches(graph, [get(_look_up(group)) for group in groups])
    chosen: dict[str, DirectoryUser | Cause] = {}
    for group, answer in zip(groups, found, strict=True):
        users = list(_users_of(graph, answer))
        chosen |= {address: _best(users, address) for address in group}
    return chosen


def _together(addresses: Iterable[str]) -> Iterator[list[str]]:
    group: list[str] = []
    length = 0
    for address in addresses:
        more = len(_OR + _condition(address))
        if group and (len(group) == TOGETHER or length + more > URL_LIMIT):
            yield group
            group = []
        length = length + more if group else len(_look_up([address]))
        group.append(address)
    if group:
        yield group


def _look_up(addresses: Iterable[str]) -> str:
    return f"/users?$filter={_OR.join(map(_condition, addresses))}&$select={_FIELDS}"


def _condition(address: str) -> str:
    """Return what holds for whoever may have an address, quoted for a URL."""
    if len(f"smtp:{address}") > LONGEST_VALUE:  # what else begins with it is told apart afterwards
        text = literal(address[: LONGEST_VALUE - len("smtp:")])
        return _quoted(
            f"proxyAddresses/any(p:startsWith(p,'smtp:{text}')) or startsWith(userPrincipalName,'{text}')"
            f" or startsWith(mail,'{text}')"
        )
    text = literal(address)
    return _quoted(f"proxyAddresses/any(p:p eq 'smtp:{text}') or userPrincipalName eq '{text}' or mail eq '{text}'")


def _users_of(graph: GraphRequests, answer: Answer) -> Iterator[DirectoryUser]:
    """Yield the users of an answer, and of the pages that follow it."""
    seen = set()
    while True:
        if not answer.ok:
            raise _directory_failure(answer)
        yield from map(_user, answer.entries("a user was looked up"))
        link = answer.fields.get("@odata.nextLink")
        if link is None:
            return
        if link in seen:
            raise RetryError("a user was looked up: Graph gave the same page twice")
        seen.add(link)
        answer = graph.batch([get(graph.below_root(str(link)))])[0]


def _best(users: Sequence[DirectoryUser], address: str) -> DirectoryUser | Cause:
    """Return the one user whom an address fits best, or why there is none."""
    for fits in (_has_proxy, _has_principal_name, _has_mail):
        fitting = {user.id: user for user in users if fits(user, address)}
        if fitting:
            return next(iter(fitting.values())) if len(fitting) == 1 else Cause.SEVERAL_USERS
    return Cause.NO_USER


def _has_proxy(user: DirectoryUser, address: str) -> bool:
    return any(proxy.lower() == f"smtp:{address}" for proxy in user.proxy_addresses or ())


def _has_principal_name(user: DirectoryUser, address: str) -> bool:
    return (user.user_principal_name or "").lower() == address


def _has_mail(user: DirectoryUser, address: str) -> bool:
    return (user.mail or "").lower() == address


def deleted_addresses(graph: GraphRequests, addresses: Collection[str]) -> set[str]:
    """Return those addresses that users have who were deleted within the last 30 days.

    A deleted user keeps its addresses, with its object id put in front of its user principal name. The list needs
    User.Read.All, as a look-up does ("List deletedItems"); where it is refused all the same, nobody was deleted as
    far as anybody knows.
    """
    answer = graph.batch([get(f"/directory/deletedItems/microsoft.graph.user?$select={_FIELDS}&$top={PAGE}")])[0]
    if not answer.ok and answer.verdict is not Verdict.TRANSIENT:
        return set()
    return {address for user in _users_of(graph, answer) for address in _addresses(user)} & set(addresses)


def _addresses(user: DirectoryUser) -> Iterator[str]:
    yield (user.user_principal_name or "").lower().removeprefix(user.id.lower().replace("-", ""))
    yield (user.mail or "").lower()
    yield from (proxy.lower().removeprefix("smtp:") for proxy in user.proxy_addresses or ())


# Whether it has a mailbox


@dataclass(frozen=True, kw_only=True, slots=True)
class Mailboxes:
    """Say who of some users has a mailbox.

    :param opened: ids of those whose mailbox Graph opens.
    :param refused: ids of those who have one that Graph refuses to open.
    :param causes: by id, why the others have none.
    """

    opened: Collection[str]
    refused: Collection[str]
    causes: Mapping[str, Cause]


def open_mailboxes(graph: GraphRequests, users: Mapping[str, DirectoryUser], asking: Asking) -> Mailboxes:
    """Find out who of some users, by id, has a mailbox.

    A mailbox that Graph refuses is one all the same, so that its items fail there with the cause and never go to
    somebody else.
    """
    if not users:
        return Mailboxes(opened=(), refused=(), causes={})
    with asking(users.keys()):
        opened, refused = probe_mailboxes(graph, users.keys())
    without = [user for user in users.values() if user.id not in opened and user.id not in refused]
    causes = {user.id: _certain_cause(user) for user in without}
    licensed = _licensed(graph, [user_id for user_id, cause in causes.items() if cause is None])
    return Mailboxes(
        opened=opened,
        refused=refused,
        causes={
            user.id: causes[user.id] or (Cause.ON_PREMISES if licensed[user.id] or _mailed(user) else Cause.UNLICENSED)
            for user in without
        },
    )


def probe_mailboxes(graph: GraphRequests, user_ids: Collection[str]) -> tuple[set[str], set[str]]:
    """Return the users whose mailbox Graph opens, and those who have one that it refuses to open."""
    opened, refused = set(), set()
    ids = sorted(user_ids)
    calls = [get(f"/users/{quoted(user_id)}/mailFolders/inbox?$select=id") for user_id in ids]
    for user_id, answer in zip(ids, _each_in_batches(graph, calls), strict=True):
        if answer.ok:
            opened.add(user_id)
        elif answer.status == HTTPStatus.FORBIDDEN:
            refused.add(user_id)
        elif answer.status != HTTPStatus.NOT_FOUND and answer.verdict is not Verdict.MAILBOX:
            raise _directory_failure(answer)
    return opened, refused


def _certain_cause(user: DirectoryUser) -> Cause | None:
    """Return why a user has no mailbox, where a property says so; what is left is inferred from two more.

    - A guest's mailbox is where the guest comes from, and no licence and no switch here changes that: it comes first.
      A member of another tenant of the organisation is one too; only ``#EXT#`` in the principal name says so
      ("Properties of a Microsoft Entra B2B collaboration user").
    - A disabled account comes before what is inferred of licences: those who leave lose both.
    """
    if user.user_type == "Guest" or "#ext#" in (user.user_principal_name or "").lower():
        return Cause.GUEST
    return Cause.DISABLED if user.account_enabled is False else None


def _mailed(user: DirectoryUser) -> bool:
    """Tell whether a user without a mailbox here has one on premises.

    What is synchronised from there has ``mail`` where it has a mailbox there ("userType", "onPremisesSyncEnabled" of
    the user resource; "Exchange hybrid": such a user is a mail user in Exchange Online).
    """
    return user.on_premises_sync_enabled is True and bool(user.mail)


def _licensed(graph: GraphRequests, user_ids: Sequence[str]) -> dict[str, bool]:
    """Tell, by id, whether a user has a licence for a mailbox; who has one, and none, has it elsewhere.

    Asked only of the few without a mailbox: a user has some sixty plans, ten kilobytes of them.
    """
    calls = [get(f"/users/{quoted(user_id)}?$select=assignedPlans") for user_id in user_ids]
    licensed = {}
    for user_id, answer in zip(user_ids, _each_in_batches(graph, calls), strict=True):
        if not answer.ok and answer.status != HTTPStatus.NOT_FOUND:  # deleted a moment ago
            raise _directory_failure(answer)
        licensed[user_id] = any(map(_is_mailbox_plan, answer.fields.get("assignedPlans") or ()))
    return licensed


def _is_mailbox_plan(plan: Mapping[str, Any]) -> bool:
    """Tell whether a plan gives a mailbox ("assignedPlan resource type": Warning is the grace period of Enabled)."""
    return (
        plan.get("service") == "exchange"
        and plan.get("capabilityStatus") in {"Enabled", "Warning"}
        and plan.get("servicePlanId") not in _UNLICENSED_PLANS
    )


def _entry(asked_for: str, user: DirectoryUser | Cause, mailboxes: Mailboxes, asked: int) -> DirectoryEntry:
    if isinstance(user, Cause):
        return DirectoryEntry(address=asked_for, cause=user, asked=asked)
    cause = mailboxes.causes.get(user.id)
    mailbox = None if cause else user.id
    return DirectoryEntry(address=asked_for, mailbox=mailbox, cause=cause, phones=user.phones, asked=asked)


# How it is asked

_quoted = partial(quote, safe="")  # not `quoted`, which remembers what comes again
_OR = _quoted(" or ")
_FIELDS = ",".join(DirectoryUser.__struct_encode_fields__)
_FIELDS_BUT_ADDRESSES = ",".join(name for name in DirectoryUser.__struct_encode_fields__ if name != "proxyAddresses")


def _each_in_batches(graph: GraphRequests, calls: Sequence[Call]) -> Iterator[Answer]:
    """Yield the answer to each request, in their order; a few batches are asked at the same time."""
    groups = [calls[start : start + BATCH_LIMIT] for start in range(0, len(calls), BATCH_LIMIT)]
    with ThreadPoolExecutor(PARALLEL, "directory") as pool:
        for answers in pool.map(graph.batch, groups):
            yield from answers


def _users(chosen: Iterable[DirectoryUser | Cause]) -> dict[str, DirectoryUser]:
    return {user.id: user for user in chosen if isinstance(user, DirectoryUser)}


def _user(entry: Mapping[str, Any]) -> DirectoryUser:
    try:
        return msgspec.convert(entry, DirectoryUser)
    except msgspec.ValidationError as error:
        raise RetryError("a user was looked up: Graph's answer is no user") from error


def _directory_failure(answer: Answer) -> ConnectorError:
    if answer.status == HTTPStatus.FORBIDDEN:
        return StopError("Graph refuses to look up users; grant the application permission User.Read.All")
    if answer.verdict in {Verdict.TRANSIENT, Verdict.STOP}:
        return answer.failure("a user was looked up")
    return StopError(f"a user was looked up: {answer.status} {answer.code or ''}; this connector does not know why")
