"""Open points of the directory: what only a real tenant can say, asked with a request or two each."""

from __future__ import annotations

from o2_connector.engine.preflight.checks import Observation, Observed, said
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_requests import Answer, get, quoted

_DELETED = "/directory/deletedItems/microsoft.graph.user?$select=proxyAddresses,mail&$top=50"


def directory_points(graph: GraphHook) -> list[Observation]:
    """Return the points about the directory."""

    def clauses(count: int) -> Answer:
        condition = " or ".join(f"mail eq 'o2-archive-preflight-{number}@example.invalid'" for number in range(count))
        return graph.graph.batch([get(f"/users?$filter={quoted(condition)}&$select=id")])[0]

    def most_clauses() -> Observed:
        taken, refused = clauses(15), clauses(16)
        return f"15: {said(taken)}, 16: {said(refused)}", taken.ok and not refused.ok

    def deleted() -> Observed:
        answer = graph.graph.batch([get(_DELETED)])[0]
        if not answer.ok:
            return said(answer), False
        users = answer.entries("deleted users were listed")
        having = sum(bool(user.get("proxyAddresses")) for user in users)
        mailed = sum(bool(user.get("mail")) for user in users)
        told = f"of {len(users)} deleted users {mailed} have mail, {having} have proxyAddresses"
        return told, having >= mailed if mailed else None

    def pages() -> Observed:
        first = graph.graph.batch([get("/users?$select=id&$top=1")])[0]
        link = first.fields.get("@odata.nextLink") if first.ok else None
        if link is None:
            return f"{said(first)}, no further page", None
        second = graph.graph.batch([get(graph.graph.below_root(str(link)))])[0]
        return f"{said(first)}, the next page in a batch: {said(second)}", second.ok

    users = ["graph.users"]
    return [
        Observation(
            point="directory.or_clauses",
            assumed="15 conditions joined by or are taken, 16 refused",
            observe=most_clauses,
            needs=users,
        ),
        Observation(
            point="directory.deleted_addresses",
            assumed="a deleted user keeps its proxyAddresses",
            observe=deleted,
            needs=users,
        ),
        Observation(
            point="directory.next_page",
            assumed="a further page of users may be asked for in a batch",
            observe=pages,
            needs=users,
        ),
    ]
