"""The directory: `/users`, one user, and `/users/delta`.

Sources: docs-contrib `api-reference/v1.0/api/user-list.md`, `user-get.md`, `user-delta.md`;
`includes/filter-directory-objects.md` (eq, startsWith and any() on proxyAddresses need no advanced query).
"""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from sandbox.directory import User
from sandbox.graph.odata import Query, dig, holds, parse_query, paths
from sandbox.graph.refusals import Refused, not_served
from sandbox.graph.tenant import READ_USERS, READ_WHOLE_USERS, Answer, Call, Tenant

DEFAULT_PAGE = 100
MAX_PAGE = 999
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


def serve(tenant: Tenant, call: Call) -> Answer:
    """Answer a request under `/users` that is not for a mailbox."""
    if not call.roles & READ_USERS:
        raise Refused(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    if call.method != "GET":
        raise Refused(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    parts = call.parts
    query = parse_query(call.query, max_top=MAX_PAGE, top_error="Request_UnsupportedQuery")
    _check_names(query, call)
    if len(parts) == 1:
        return _list(tenant, call, query)
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


def _check_names(query: Query, call: Call) -> None:
    asked = [*(query.select or ()), *(paths(query.filter) if query.filter else ()), *(name for name, _ in query.order)]
    for path in asked:
        name = path.partition("/")[0]
        if name not in FIELDS:
            message = f"Could not find a property named '{name}' on type 'microsoft.graph.user'."
            raise Refused(400, "BadRequest", f"Parsing OData Select and Expand failed: {message}")
        if name not in BASIC and not call.roles & READ_WHOLE_USERS:
            raise Refused(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")


def properties(user: User) -> dict[str, Any]:
    """Return all properties of a user that the sandbox knows."""
    given, _, surname = user.display_name.rpartition(" ")
    exchange = [{"service": "exchange", "capabilityStatus": "Enabled"}] if user.mailbox != "none" else []
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
        "userPrincipalName": user.user_principal_name,
        "id": user.id,
        "accountEnabled": user.account_enabled,
        "assignedLicenses": [],
        "assignedPlans": exchange,
        "mailNickname": user.user_principal_name.partition("@")[0],
        "onPremisesSyncEnabled": None,
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
    users = list(tenant.users)
    if query.filter is not None:
        node = query.filter
        users = [user for user in users if holds(node, partial(dig, properties(user)))]
    for name, descending in reversed(query.order):
        users.sort(key=lambda user: str(properties(user)[name] or "").casefold(), reverse=descending)
    return users


def _list(tenant: Tenant, call: Call, query: Query) -> Answer:
    users = _matching(tenant, query)
    start, size = _start(query), query.top or DEFAULT_PAGE
    body: dict[str, Any] = {"@odata.context": f"https://{call.host}/v1.0/$metadata#users{_selected(query)}"}
    if query.count:
        body["@odata.count"] = len(users)
    if start + size < len(users):
        body["@odata.nextLink"] = _link(call, "users", "$skiptoken", str(start + size))
    body["value"] = [_view(user, query) for user in users[start : start + size]]
    return _answer(body)


def _delta(tenant: Tenant, call: Call, query: Query) -> Answer:
    """Page through all users, then through none: nobody changes here.

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
    if start + size < len(tenant.users):
        body["@odata.nextLink"] = _link(call, "users/delta", "$skiptoken", str(start + size))
    else:
        body["@odata.deltaLink"] = _link(call, "users/delta", "$deltatoken", "latest")
    body["value"] = [_view(user, query) for user in tenant.users[start : start + size]]
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
