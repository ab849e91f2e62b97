"""Chain: the books of all runs, each naming those before it by their digests.

Whoever finishes a book adds a *link*: what the book says in short, what its run staged (its *seal*), and which links
were the last when it was added. A link's own digest is in its name, so it stands for everything before it: a book that
is altered or taken away is missed by the links after it. Two runs that end side by side name the same links before
them, and the next names both; nobody waits for anybody. What nothing names yet, the last links, is witnessed by the
tasks' logs and XCom, which hold their digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from o2_connector.core.manifest import StagedObject
from o2_connector.core.report import Counts
from o2_connector.core.window import Window


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what the chain says of one book.

    :param number: one more than the highest before it; two links that were added side by side share one.
    :param previous: digests of the links that were the last before it, sorted; the first link has none.
    :param started_at: when its run began, UTC.
    :param completed_at: when the book was closed, UTC.
    :param waiting: items that are delivered, while somebody of the organisation who took part has no mailbox yet.
    :param oldest_waiting: since when the oldest parked or waiting item waits, in milliseconds since 1970, UTC.
    :param report: the book, as JSON.
    :param log: the book, as CSV.
    :param seal: the names of everything that the book goes by, a :class:`Sealed` each.
    """

    number: int
    previous: tuple[str, ...]
    window: Window
    run_id: str
    replay: bool
    dry_run: bool
    started_at: datetime
    completed_at: datetime
    balanced: bool
    counts: Counts
    waiting: int
    oldest_waiting: int | None
    report: StagedObject
    log: StagedObject
    seal: StagedObject

    @property
    def seconds(self) -> float:
        """Return how long the run took until its book was closed."""
        return (self.completed_at - self.started_at).total_seconds()


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """Name one object that a book goes by; the name ends in the digest of its bytes."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gaps:
    """Say what a chain lacks.

    :param missing: digests that links name and that no link has.
    :param last: digests of the links that no link names: where the chain ends.
    """

    missing: frozenset[str]
    last: frozenset[str]


def gaps_of(links: Mapping[str, Link]) -> Gaps:
    """Find out what a chain lacks.

    :param links: by digest.
    """
    named = {digest for link in links.values() for digest in link.previous}
    return Gaps(missing=frozenset(named - links.keys()), last=frozenset(links.keys() - named))


def before(links: Mapping[str, Link], digest: str) -> set[str]:
    """Return the digests of all links that one stands for: those before it, and itself.

    :param links: by digest; what is missing is left out.
    """
    found: set[str] = set()
    open_ = [digest]
    while open_:
        each = open_.pop()
        if each not in found and each in links:
            found.add(each)
            open_.extend(links[each].previous)
    return found


def latest(links: Iterable[Link]) -> Link | None:
    """Return the link that was added last; of those that were added side by side the one whose book was closed last."""
    return max(links, key=lambda link: (link.number, link.completed_at), default=None)
