"""Verification: make all proofs of a span of time, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from o2_connector.core.window import Window
from o2_connector.engine.chain import Chain
from o2_connector.engine.proof.asked import asked_for
from o2_connector.engine.proof.books import prove_books
from o2_connector.engine.proof.chain import prove_chain
from o2_connector.engine.proof.conversion import prove_conversion
from o2_connector.engine.proof.ledgers import ledgers
from o2_connector.engine.proof.mailboxes import Extent, prove_mailboxes
from o2_connector.engine.proof.objects import prove_objects
from o2_connector.engine.proof.parked import prove_parked
from o2_connector.engine.proof.result import Proof, Result
from o2_connector.hooks.graph_requests import GraphRequests
from o2_connector.hooks.staging import StagingHook


def prove(
    staging: StagingHook,
    graph: Callable[[], GraphRequests] | None,
    span: Window,
    *,
    heads: Collection[str],
    extent: Extent,
    seed: str,
) -> Iterator[Result]:
    """Yield what came of each proof, as soon as it is made.

    :param graph: gives the conversation with Graph; None where there is no connection.
    :param heads: digests of links that a log or XCom has named.
    :param extent: how many deliveries are looked up in their mailboxes.
    :param seed: by which a sample is chosen.
    """
    chain = Chain(staging=staging)
    yield prove_chain(chain, heads)
    asked = asked_for(staging, chain.links, span)
    yield prove_objects(staging, asked)
    yield prove_conversion(staging, asked)
    yield prove_books(staging, asked)
    with ledgers(staging, asked) as found:
        yield prove_parked(staging, asked, found)
        if extent is Extent.NONE:
            return
        if graph is None:
            why = "the mailboxes were not asked: there is no connection o2_graph"
            yield Result(proof=Proof.MAILBOXES, proved="", unproved=(why,))
        else:
            yield prove_mailboxes(staging, graph, found, extent, seed)
