"""Permissions: what the application may do in the tenant, too little and too much.

Of the token its claims alone are looked at, and of these the roles. What a role is worth is told by using it: those
that Exchange gives ("RBAC for Applications") are in no token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.errors import StopError
from o2_connector.core.preflight import Area, Found, error, not_checked, ok, warning
from o2_connector.engine.preflight.checks import Check
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_directory import is_address
from o2_connector.hooks.graph_permissions import MAIL, granted_in_entra
from o2_connector.hooks.graph_requests import get

DIRECTORY_ROLE = "User.Read.All"
MAIL_ROLES = frozenset(MAIL)

_ROLE = re.compile(r"[A-Z][A-Za-z-]{1,40}(\.[A-Z][A-Za-z]{1,40}){1,4}")
_NOBODY = "o2-archive-preflight@example.invalid"  # RFC 2606: nobody's
_GRANT = f"grant the application permission {DIRECTORY_ROLE} with admin consent"
_DELETED = "/directory/deletedItems/microsoft.graph.user?$select=id,userPrincipalName,mail,proxyAddresses&$top=1"


def permission_checks(graph: GraphHook, outside: str | None, *, at: int, by_number: bool) -> list[Check]:
    """Return what is checked of the login and of the permissions.

    :param outside: address of a mailbox that the application must not open.
    :param at: now, in milliseconds since 1970, UTC.
    :param by_number: whether the directory's own numbers count.
    """

    def token() -> Iterator[Found]:
        graph.graph.login.token()
        yield ok("the application is given a token")

    def roles() -> Iterator[Found]:
        yield from _judged(granted_in_entra(graph.graph.login.token()))

    def users() -> Iterator[Found]:
        graph.find_mailboxes([_NOBODY], asked=at)
        yield ok("users are found by their addresses, aliases included")

    def deleted() -> Iterator[Found]:
        answer = graph.graph.batch([get(_DELETED)])[0]
        if answer.ok:
            yield ok("users who were deleted lately are told from those who never were")
        else:
            yield warning(f"the list of deleted users is refused (HTTP {answer.status:d})", _GRANT)

    def plans() -> Iterator[Found]:
        yield from used("/users?$select=id,assignedPlans&$top=1", "licences are read")

    def numbers() -> Iterator[Found]:
        yield from used("/users?$select=id,mobilePhone,businessPhones,usageLocation&$top=1", "numbers are read")

    def used(path: str, what: str) -> Iterator[Found]:
        answer = graph.graph.batch([get(path)])[0]
        if not answer.ok:
            raise answer.failure(what)
        yield ok(what)

    def scope() -> Iterator[Found]:
        if outside is None:
            yield not_checked(
                "whether mailboxes outside of the scope stay closed",
                "name one that the application must not open (--outside, or the run's parameter)",
            )
            return
        yield from _outside(*find_one(graph, outside, at))

    directory = ["graph.token"]
    checks = [
        Check(name="graph.token", area=Area.GRAPH, title="the token", run=token, needs=["graph.connection"]),
        Check(name="graph.roles", area=Area.GRAPH, title="the token's permissions", run=roles, needs=directory),
        Check(name="graph.users", area=Area.GRAPH, title="looking users up", run=users, needs=directory),
        Check(name="graph.deleted", area=Area.GRAPH, title="deleted users", run=deleted, needs=directory),
        Check(name="graph.plans", area=Area.GRAPH, title="licences", run=plans, needs=directory),
        Check(name="graph.outside", area=Area.GRAPH, title="the scope", run=scope, needs=["graph.users"]),
    ]
    if by_number:
        checks.append(Check(name="graph.numbers", area=Area.GRAPH, title="numbers", run=numbers, needs=directory))
    return checks


def find_one(graph: GraphHook, address: str, at: int) -> tuple[DirectoryEntry, bool]:
    """Return what the directory says of an address, and whether its mailbox opens.

    :raises StopError: where it is none.
    """
    wanted = address.strip().lower()
    if not is_address(wanted):
        raise StopError("what was given is no e-mail address")
    found = graph.find_mailboxes([wanted], asked=at)
    entry = found.entries[wanted]
    return entry, entry.mailbox is not None and entry.mailbox not in found.refused


def _judged(roles: frozenset[str] | None) -> Iterator[Found]:
    if roles is None:
        yield warning(
            "the token cannot be read, so nobody knows whether it allows too much",
            "look at the application's permissions in Entra",
        )
        return
    if wide := sorted(roles & MAIL_ROLES):
        yield warning(
            f"{' and '.join(wide)} {'hold' if len(wide) > 1 else 'holds'} for every mailbox of the tenant",
            "assign these in Exchange for the archive's mailboxes alone (RBAC for Applications, see README) and take"
            " the consent in Entra back: the two add up",
        )
    if more := sorted(roles - MAIL_ROLES - {DIRECTORY_ROLE}):
        named = ", ".join(role if _ROLE.fullmatch(role) else "one of another kind" for role in more)
        yield warning(f"the archive has no use for {named}", "take the consent in Entra back")
    if not wide and not more:
        yield ok("the token has no permission that is too much")


def _outside(entry: DirectoryEntry, opens: bool) -> Iterator[Found]:
    if entry.mailbox is None:
        yield not_checked(
            f"whether mailboxes outside of the scope stay closed: the address given leads to none ({entry.cause})",
            "name one of another user",
        )
    elif opens:
        yield error(
            "a mailbox that should be outside of the application's scope opens",
            "take the consents of Mail permissions in Entra back, and look at the scope of the application's roles in"
            " Exchange (Test-ServicePrincipalAuthorization); a change takes up to two hours to reach every server",
        )
    else:
        yield ok("a mailbox outside of the scope stays closed")
