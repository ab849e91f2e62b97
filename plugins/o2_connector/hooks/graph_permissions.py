"""What the application may do in a tenant: as far as one token and one question tell, in words for an administrator."""

from __future__ import annotations

import base64

import msgspec

from o2_connector.core.errors import StopError
from o2_connector.core.graph_errors import Verdict
from o2_connector.hooks.graph_requests import GraphRequests, get

MAIL = ("Mail.ReadWrite", "Mail-Advanced.ReadWrite.All")
"""Needed of the archive's mailboxes: by consent in Entra, which is for every mailbox, or by Exchange's RBAC for
Applications, of which a token tells nothing."""


class _Claims(msgspec.Struct):
    roles: tuple[str, ...] = ()


def read_one_user(graph: GraphRequests) -> None:
    """Read one user, once, with a property that User.ReadBasic.All does not let through.

    :raises ConnectorError: where that is not allowed, or does not work.
    """
    answer = graph.send_once(get("/users?$select=id,proxyAddresses&$top=1"))
    if answer.verdict is Verdict.ITEM:  # a Graph knows this path
        code = answer.code or f"HTTP {answer.status}"
        raise StopError(f"reading a user: {code}; check graph_url, which ends with the version, like /v1.0")
    if not answer.ok:
        raise answer.failure("reading a user")


def granted_in_entra(token: str) -> frozenset[str] | None:
    """Return the application permissions that a token has, or None where it does not show them.

    A token for Graph is Graph's to read; Entra's happen to be JSON web tokens (RFC 7519).
    """
    claims = token.split(".")[1:2]
    try:
        return frozenset(msgspec.json.decode(base64.urlsafe_b64decode(claims[0] + "=="), type=_Claims).roles)
    except (IndexError, ValueError):  # msgspec's and base64's are ValueErrors
        return None


def mail_permissions(token: str) -> str:
    """Say which of the permissions on mail a token has, and what to do about the others."""
    granted = granted_in_entra(token)
    if granted is None:
        return f"Whether it has {_both(MAIL)} cannot be read from its token."
    has, lacks = [name for name in MAIL if name in granted], [name for name in MAIL if name not in granted]
    said = [f"Entra grants it {_both(has)} for every mailbox of the tenant."] if has else []
    if lacks:
        said.append(
            f"Entra does not grant it {' or '.join(lacks)}: right where Exchange's RBAC for Applications does, for the"
            " archive's mailboxes alone; else an administrator has to consent."
        )
    return " ".join(said)


def _both(names: list[str] | tuple[str, ...]) -> str:
    return " and ".join(names)
