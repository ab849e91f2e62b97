"""Ask a tenant's directory whose mailbox an address leads to.

No address stands in a URL: every look-up goes through ``$batch``, in the body.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from o2_connector.core.errors import ConnectorError, StopError
from o2_connector.core.graph_errors import Verdict
from o2_connector.hooks.graph_requests import BATCH_LIMIT, Answer, Call, GraphRequests, get, literal, quoted


def distinct_addresses(addresses: Iterable[str]) -> list[str]:
    """Return the addresses among some texts, each once, lower-cased and sorted."""
    return sorted({address.strip().lower() for address in addresses if _is_address(address.strip())})


def choose_users(graph: GraphRequests, addresses: Sequence[str]) -> dict[str, str]:
    """Return the id of the user to whom each address leads, for those that lead to one.

    :param addresses: as :func:`distinct_addresses` returns them.
    """
    chosen: dict[str, str] = {}
    for address, found in zip(addresses, _look_up(graph, addresses), strict=True):
        if (user := _best(found, address)) is not None:
            chosen[address] = user["id"]
    return chosen


def probe_mailboxes(graph: GraphRequests, user_ids: Collection[str]) -> tuple[set[str], set[str]]:
    """Return the users whose mailbox Graph opens, and those who have one that it refuses to open.

    :raises StopError: when it refuses every one of several: that is no scope but a permission that is missing.
    """
    opened, refused = set(), set()
    for group in _groups(sorted(user_ids)):
        calls = [get(f"/users/{quoted(user_id)}/mailFolders/inbox?$select=id") for user_id in group]
        for user_id, answer in zip(group, graph.batch(calls), strict=True):
            if answer.ok:
                opened.add(user_id)
            elif answer.status == HTTPStatus.FORBIDDEN:
                refused.add(user_id)
            elif answer.status != HTTPStatus.NOT_FOUND and answer.verdict is not Verdict.MAILBOX:
                raise _directory_failure(answer)
    if len(refused) == len(user_ids) > 1:
        raise StopError("Graph refuses every mailbox; grant Mail.ReadWrite, or mend the application's scope")
    return opened, refused


def _look_up(graph: GraphRequests, addresses: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    for group in _groups(addresses):
        for answer in graph.batch([_user_call(address) for address in group]):
            if not answer.ok:
                raise _directory_failure(answer)
            yield answer.entries("a user was looked up")


def _groups(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + BATCH_LIMIT] for start in range(0, len(values), BATCH_LIMIT))


def _is_address(text: str) -> bool:
    return re.fullmatch(r"[^\s@\x00-\x1f]{1,64}@[^\s@\x00-\x1f]{1,255}", text) is not None


def _user_call(address: str) -> Call:
    text = literal(address)
    condition = f"proxyAddresses/any(p:p eq 'smtp:{text}') or userPrincipalName eq '{text}' or mail eq '{text}'"
    return get(f"/users?$filter={quoted(condition)}&$select=id,userPrincipalName,mail,proxyAddresses")


def _directory_failure(answer: Answer) -> ConnectorError:
    if answer.status == HTTPStatus.FORBIDDEN:
        return StopError("Graph refuses to look up users; grant the application permission User.Read.All")
    if answer.verdict in {Verdict.TRANSIENT, Verdict.STOP}:
        return answer.failure("a user was looked up")
    return StopError(f"a user was looked up: {answer.status} {answer.code or ''}; this connector does not know why")


def _best(users: Sequence[Mapping[str, Any]], address: str) -> Mapping[str, Any] | None:
    """Return the one user whom an address fits best; None when it fits nobody, or two equally well."""
    for fits in (_has_proxy, _has_principal_name, _has_mail):
        fitting = [user for user in users if fits(user, address)]
        if fitting:
            return fitting[0] if len(fitting) == 1 else None
    return None


def _has_proxy(user: Mapping[str, Any], address: str) -> bool:
    return any(str(proxy).lower() == f"smtp:{address}" for proxy in user.get("proxyAddresses") or ())


def _has_principal_name(user: Mapping[str, Any], address: str) -> bool:
    return str(user.get("userPrincipalName")).lower() == address


def _has_mail(user: Mapping[str, Any], address: str) -> bool:
    return str(user.get("mail")).lower() == address
