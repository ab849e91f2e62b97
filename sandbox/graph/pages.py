"""The page on which a person looks into a mailbox."""

from __future__ import annotations

from sandbox.graph.tenant import Answer, Tenant


def serve(tenant: Tenant, parts: list[str], query: str) -> Answer:
    """Answer a request for a page."""
    return Answer(404)
