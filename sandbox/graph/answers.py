"""How Graph answers: JSON, counts, pages, and the refusals that many resources share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from sandbox.graph.odata import EXTENDED, Query, parse_query, paths
from sandbox.graph.refusals import Refused
from sandbox.graph.tenant import Answer, Call

DEFAULT_PAGE: Final = 10
MAX_PAGE: Final = 1000
NAVIGATION: Final = frozenset({EXTENDED, "multiValueExtendedProperties", "attachments", "extensions"})
PREFERENCE_APPLIED: Final = {"Preference-Applied": 'IdType="ImmutableId"'}
_MAX_PAGE_SIZE = re.compile(r"odata\.maxpagesize=(\d+)", re.IGNORECASE)
_encode = msgspec.json.Encoder().encode


def mail_query(text: str) -> Query:
    """Parse the query options of a request for mail."""
    return parse_query(text, max_top=MAX_PAGE, top_error="RequestBroker--ParseUri")


def json_answer(call: Call, status: int, body: dict[str, Any]) -> Answer:
    """Return a JSON answer, and say that immutable ids were preferred (Preference-Applied, RFC 7240)."""
    return Answer(status, _encode(body), PREFERENCE_APPLIED if call.immutable else {})


def count_answer(number: int) -> Answer:
    """Return what `/$count` answers: a number as plain text."""
    return Answer(200, str(number).encode("ascii"), {}, "text/plain")


def page_answer(call: Call, query: Query, context: str, items: list[Any], view: Callable[[Any], Any]) -> Answer:
    """Return one page, ten items by default, with the link to the next."""
    size = query.top or _preferred_size(call.prefer) or DEFAULT_PAGE
    body: dict[str, Any] = {"@odata.context": context}
    if query.count:
        body["@odata.count"] = len(items)
    end = query.skip + size
    body["value"] = [view(item) for item in items[query.skip : end]]
    if end < len(items):
        kept = [
            (key, text)
            for key, text in parse_qsl(call.query, keep_blank_values=True)
            if key.removeprefix("$").lower() != "skip"
        ]
        options = urlencode([*kept, ("$skip", str(end))], safe="$", quote_via=quote)
        path = "/".join(quote(part, safe="@$=-_") for part in call.parts)
        body["@odata.nextLink"] = f"https://{call.host}/v1.0/{path}?{options}"
    return json_answer(call, 200, body)


def _preferred_size(prefer: str) -> int | None:
    match = _MAX_PAGE_SIZE.search(prefer)
    return min(MAX_PAGE, int(match[1])) or None if match else None


def no_method(call: Call) -> Refused:
    """Refuse a method that the resource does not have."""
    return Refused(405, "MethodNotAllowed", f"The HTTP method '{call.method}' is not supported for this resource.")


def check_names(query: Query, fields: frozenset[str], type_name: str) -> None:
    """Refuse a query that selects, orders by or filters on what the type does not have."""
    asked = [*(query.select or ()), *(name for name, _ in query.order)]
    if query.filter is not None:
        asked += [path for path in paths(query.filter) if path.partition("/")[0] not in NAVIGATION]
    for path in asked:
        name = path.partition("/")[0]
        if name not in fields:
            message = f"Could not find a property named '{name}' on type 'microsoft.graph.{type_name}'."
            raise Refused(400, "RequestBroker--ParseUri", message)


def too_large() -> Refused:
    """Refuse a message above the administrator's limit (docs-contrib#2561)."""
    return Refused(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
