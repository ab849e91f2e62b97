"""Proof of the park: that each item that a book let wait waits still, or was delivered since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import PARKED
from o2_connector.core.outcomes import Cause
from o2_connector.core.parked import Gone, Waiting
from o2_connector.core.plurals import many
from o2_connector.core.report import Detail
from o2_connector.core.window import Window
from o2_connector.engine.proof.asked import Asked, Book
from o2_connector.engine.proof.chain import RESTORE
from o2_connector.engine.proof.ledgers import Ledgers
from o2_connector.engine.proof.result import Fault, Proof, Result
from o2_connector.hooks.staging import StagingHook

_REPEATED = (Cause.SAME_ITEM_AGAIN, Cause.CONFLICTING_ITEM)  # such an item waits for nobody
_AGAIN = "run the window again: what nobody gets is parked again"


@dataclass(kw_only=True, slots=True)
class _Park:
    """Hold what was said of the items of some windows.

    :param said: the item of everything that was ever said to wait, by what it is known by.
    :param gone: by what is known what waits no longer.
    """

    said: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


def prove_parked(staging: StagingHook, asked: Asked, ledgers: Ledgers) -> Result:
    """Hold what the books let wait against the park, and what left the park against the ledgers."""
    books = [book for book in asked.books if not book.link.dry_run]
    park = _Park()
    faults = list(_read(staging, {book.link.window for book in books}, park))
    unread = bool(faults)
    known = {*park.said.values()}
    waits = {item for name, item in park.said.items() if name not in park.gone}
    unproved = asked.unknown("what waits")
    items: dict[str, str] = {}
    for book in books:
        try:
            items |= _let_wait(staging, book)
        except IntegrityError as error:
            unproved.append(f"what {book.name} let wait is not known: {error}")
    still = since = 0
    for item_id, place in items.items():
        if item_id in waits:
            still += 1
        elif ledgers.delivered(item_id):
            since += 1
        elif unread or ledgers.unread:
            unproved.append(f"item {item_id}: whether it waits cannot be told, for not all can be read that says so")
        elif item_id in known:
            what = "it waits no longer, and no ledger says that anybody has got it"
            remedy = f"Look who said in {PARKED} that it is gone: the storage's own log can tell. Then {_AGAIN}"
            faults.append(Fault(place=place, item_id=item_id, what=what, remedy=remedy))
        else:
            what = "the book let it wait, and nothing in the park says so: it would never be delivered"
            faults.append(Fault(place=place, item_id=item_id, what=what, remedy=f"{RESTORE}, or {_AGAIN}"))
    proved = "nothing waits by the books" if books and not (items or faults or unproved) else ""
    if still + since:
        there = many(still + since, "item")
        proved = f"{there} parked or waiting by the books: {still:,} still wait, {since:,} were delivered"
    return Result(proof=Proof.PARKED, proved=proved, faults=tuple(faults), unproved=tuple(unproved))


def _let_wait(staging: StagingHook, book: Book) -> dict[str, str]:
    """Return the items that a book lets wait, with the object that says so."""
    return {
        each.item_id: record.decision.details.name
        for record in book.decisions
        for each in staging.read_lines(record.decision.details, Detail)
        if each.item_id is not None and each.outcome in ("parked", "waiting") and each.cause not in _REPEATED
    }


def _read(staging: StagingHook, windows: Iterable[Window], park: _Park) -> Iterator[Fault]:
    """Read what was ever said of the items of windows; yield what cannot be read."""
    spans = tuple(windows)
    for folder in staging.folders(PARKED):
        window = Window.named(folder)
        if window is None or not any(window.overlaps(span) for span in spans):
            continue
        for name in staging.names(f"{PARKED}{folder}/"):
            try:
                if "/waiting." in name:
                    for entry in staging.read_lines(staging.staged(name), Waiting):
                        park.said[entry.id] = entry.item_id
                elif "/gone." in name:
                    park.gone.update(each.id for each in staging.read_lines(staging.staged(name), Gone))
            except IntegrityError:
                yield Fault(place=name, what="its bytes are not what its digest says", remedy=RESTORE)
