"""The directory: `/users`, one user, `/users/delta`, and the users who were deleted.

Sources: docs-contrib `api-reference/v1.0/api/user-list.md`, `user-get.md`, `user-delta.md`,
`directory-deleteditems-list.md`; `includes/filter-directory-objects.md` (eq, startsWith and any() on proxyAddresses
need no advanced query).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from sandbox.directory import User
from sandbox.graph.odata import Node, Query, dig, holds, parse_query, paths
from sandbox.graph.refusals import Refused, not_served
from sandbox.graph.tenant import READ_USERS, READ_WHOLE_USERS, Answer, Call, Tenant

DEFAULT_PAGE = 100
MAX_PAGE = 999
# "Too many child clauses specified in search filter expression …" (microsoft-graph-docs#21098; for `in` too)
MOST_CLAUSES = 15
# "When filtering using the eq operator, the maximum limit of the value to match is 120 characters" (known issue 13635)
LONGEST_VALUE = 120
# What GET returns without $select, in Graph's order
BASIC = [
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
    "id",
]
FIELDS = frozenset(
    {
        *BASIC,
        *[
            "accountEnabled",
            "assignedLicenses",
            "assignedPlans",
            "mailNickname",
            "onPremisesSyncEnabled",
            "otherMails",
            "proxyAddresses",
            "usageLocation",
            "userType",
        ],
    }
)

# Exchange Online (plan 2) of whoever is licensed; Exchange Foundation of everybody, as other licences bring it along
PLANS = [
    {"service": "exchange", "capabilityStatus": "Enabled", "servicePlanId": "efb87545-963c-4e0d-99df-69c6916d9eb0"},
    {"service": "exchange", "capabilityStatus": "Enabled", "servicePlanId": "113feb6c-3fe4-4440-bddc-54d774bf0318"},
]


def serve(tenant: Tenant, call: Call) -> Answer:
    """Answer a request under `/users` that is not for a mailbox."""
    if not call.roles & READ_USERS:
        raise _denied()
    parts = call.parts
    query = _query(call)
    if len(parts) == 1:
        return _list(call, query, _matching(tenant, query))
    if len(parts) != 2:
        raise not_served(parts[2])
    if parts[1] == "$count":
        return Answer(200, str(len(_matching(tenant, query))).encode(), {}, "text/plain")
    if parts[1].lower() in {"delta", "delta()", "microsoft.graph.delta", "microsoft.graph.delta()"}:
        return _delta(tenant, call, query)
    user = tenant.user(parts[1])
    if user is None:
        message = (
            f"Resource '{parts[1]}' does not exist or one of its queried reference-property objects are not present."
        )
        raise Refused(404, "Request_ResourceNotFound", message)
    context = f"https://{call.host}/v1.0/$metadata#users{_selected(query)}/$entity"
    return _answer({"@odata.context": context, **_view(user, query)})


def serve_deleted(tenant: Tenant, call: Call) -> Answer:
    """Answer a request under `/directory`: the users who were deleted; the cast to them is a part of the path."""
    if [part.lower() for part in call.parts] != ["directory", "deleteditems", "microsoft.graph.user"]:
        raise not_served(call.parts[-1])
    if not call.roles & READ_WHOLE_USERS:
        raise _denied()
    query = _query(call)
    return _list(call, query, _sorted(_holding(tenant.directory.deleted, query), query))


def _query(call: Call) -> Query:
    if call.method != "GET":
        raise _denied()
    query = parse_query(call.query, max_top=MAX_PAGE, top_error="Request_UnsupportedQuery")
    _check_names(query, call)
    if query.filter is not None:
        _check_filter(query.filter)
    return query


def _denied() -> Refused:
    return Refused(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")


def _check_filter(node: Node) -> None:
    """Refuse what the directory refuses without an advanced query."""
    match node:
        case ("or", *_):
            clauses = list(_clauses(node))
            _check_count(len(clauses))
            for clause in clauses:
                _check_filter(clause)
        case ("and", left, right):
            _check_filter(left)
            _check_filter(right)
        case ("not", inner) | ("any" | "all", _, _, inner):
            _check_filter(inner)
        case ("in", _, values):
            _check_count(len(values))
        case ("compare", _, "eq", str() as value) if len(value) > LONGEST_VALUE:
            message = f"The value of a filter has {len(value)} characters. Max allowed: {LONGEST_VALUE}."
            raise Refused(400, "Request_UnsupportedQuery", message)


def _check_count(clauses: int) -> None:
    if clauses > MOST_CLAUSES:
        message = (
            "Too many child clauses specified in search filter expression containing 'OR' operators: "
            f"{clauses}. Max allowed: {MOST_CLAUSES}."
        )
        raise Refused(400, "Request_UnsupportedQuery", message)


def _clauses(node: Node) -> Iterator[Node]:
    if node[0] == "or":
        yield from _clauses(node[1])
        yield from _clauses(node[2])
    else:
        yield node


def _check_names(query: Query, call: Call) -> None:
    asked = [*(query.select or ()), *(paths(query.filter) if query.filter else ()), *(name for name, _ in query.order)]
    for path in asked:
        name = path.partition("/")[0]
        if name not in FIELDS:
            message = f"Could not find a property named '{name}' on type 'microsoft.graph.user'."
            raise Refused(400, "BadRequest", f"Parsing OData Select and Expand failed: {message}")
        if name not in BASIC and not call.roles & READ_WHOLE_USERS:
            raise _denied()


def properties(user: User) -> dict[str, Any]:
    """Return all properties of a user that the sandbox knows."""
    given, _, surname = user.display_name.rpartition(" ")
    principal_name = user.user_principal_name
    if user.deleted:  # the object id comes in front, the addresses stay (cli-microsoft365, "user recyclebinitem list")
        principal_name = user.id.replace("-", "") + principal_name
    return {
        "businessPhones": list(user.business_phones),
        "displayName": user.display_name,
        "givenName": given or None,
        "jobTitle": None,
        "mail": user.mail,
        "mobilePhone": user.mobile_phone,
        "officeLocation": None,
        "preferredLanguage": None,
        "surname": surname if given else None,
        "userPrincipalName": principal_name,
        "id": user.id,
        "accountEnabled": user.account_enabled,
        "assignedLicenses": [],
        "assignedPlans": [dict(plan) for plan in PLANS[not user.licensed :]],
        "mailNickname": user.user_principal_name.partition("@")[0],
        "onPremisesSyncEnabled": user.synced or None,
        "otherMails": [],
        "proxyAddresses": list(user.proxy_addresses),
        "usageLocation": "GB",
        "userType": user.user_type,
    }


def _view(user: User, query: Query) -> dict[str, Any]:
    held = properties(user)
    return {name: held[name] for name in query.select or BASIC}


def _selected(query: Query) -> str:
    return f"({','.join(query.select)})" if query.select else ""


def _matching(tenant: Tenant, query: Query) -> list[User]:
    users = tenant.directory.present if query.filter is None else tenant.directory.candidates(query.filter)
    return _sorted(_holding(users, query), query)


def _holding(users: Iterable[User], query: Query) -> list[User]:
    node = query.filter
    return [user for user in users if node is None or holds(node, partial(dig, properties(user)))]


def _sorted(users: list[User], query: Query) -> list[User]:
    for name, descending in reversed(query.order):
        users.sort(key=lambda user: str(properties(user)[name] or "").casefold(), reverse=descending)
    return users


def _list(call: Call, query: Query, users: Sequence[User]) -> Answer:
    start, size = _start(query), query.top or DEFAULT_PAGE
    body: dict[str, Any] = {"@odata.context": f"https://{call.host}/v1.0/$metadata#users{_selected(query)}"}
    if query.count:
        body["@odata.count"] = len(users)
    if start + size < len(users):
        body["@odata.nextLink"] = _link(call, "/".join(call.parts), "$skiptoken", str(start + size))
    body["value"] = [_view(user, query) for user in users[start : start + size]]
    return _answer(body)


def _delta(tenant: Tenant, call: Call, query: Query) -> Answer:
    """Page through all users, then through none: who changes since is not told.

    The last page has a delta link; a token older than seven days is 410 at Microsoft's, here tokens stay good.
    """
    if query.filter is not None or query.order:
        message = "Delta query on users supports the $filter on id only; the sandbox serves it without."
        raise Refused(400, "Request_UnsupportedQuery", message)
    body: dict[str, Any] = {"@odata.context": f"https://{call.host}/v1.0/$metadata#users{_selected(query)}"}
    if "deltatoken" in query.others:
        body["@odata.deltaLink"] = _link(call, "users/delta", "$deltatoken", query.others["deltatoken"])
        body["value"] = []
        return _answer(body)
    start, size = _start(query), query.top or DEFAULT_PAGE
    users = tenant.directory.present
    if start + size < len(users):
        body["@odata.nextLink"] = _link(call, "users/delta", "$skiptoken", str(start + size))
    else:
        body["@odata.deltaLink"] = _link(call, "users/delta", "$deltatoken", "latest")
    body["value"] = [_view(user, query) for user in users[start : start + size]]
    return _answer(body)


def _start(query: Query) -> int:
    token = query.others.get("skiptoken", "0")
    if not token.isdecimal():
        raise Refused(400, "Directory_ExpiredPageToken", "The specified page token value has expired.")
    return int(token)


def _link(call: Call, path: str, option: str, value: str) -> str:
    kept = [(key, text) for key, text in parse_qsl(call.query, keep_blank_values=True) if key.lstrip("$") != option[1:]]
    return f"https://{call.host}/v1.0/{path}?{urlencode([*kept, (option, value)], safe='$', quote_via=quote)}"


def _answer(body: dict[str, Any]) -> Answer:
    return Answer(200, msgspec.json.encode(body))
