"""Proof of the objects: that every byte that a book goes by is what its digest says, and that nothing was added."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from o2_connector.core.errors import ConnectorError, IntegrityError, ItemError
from o2_connector.core.items import parse_item
from o2_connector.core.layout import BatchObject, attachment_object
from o2_connector.core.manifest import StagedObject
from o2_connector.core.plurals import many
from o2_connector.engine.conversion import missing_of
from o2_connector.engine.proof.asked import Asked, Book
from o2_connector.engine.proof.chain import RESTORE
from o2_connector.engine.proof.result import Fault, Proof, Result
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.staging_streams import BLOCK

PARALLEL = 8
"""Objects that are read at the same time."""

_AT_ONCE = 256  # objects that wait for their turn


def prove_objects(staging: StagingHook, asked: Asked) -> Result:
    """Read everything that the books go by, and the attachments that their records name."""
    books = asked.books
    own = {each.name for book in books for each in (book.link.report, book.link.log, book.link.seal)}
    names = sorted(own.union(*(book.sealed for book in books)))
    faults = list(_added(staging, books))
    unproved: list[str] = []
    count = size = 0
    seen: set[str] = set()
    with ThreadPoolExecutor(PARALLEL) as pool:
        for wanted in (map(_Wanted, names), _attachments(staging, books, seen)):
            while some := list(islice(wanted, _AT_ONCE)):
                for found in pool.map(lambda each: each.read(staging), some):
                    match found:
                        case int():
                            count, size = count + 1, size + found
                        case Fault():
                            faults.append(found)
                        case str():
                            unproved.append(found)
    proved = f"{many(count, 'object')}, {_bytes(size)}: every byte as its digest says" if count else ""
    return Result(proof=Proof.OBJECTS, proved=proved, faults=tuple(faults), unproved=tuple(unproved))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Hold one object that is to be read.

    :param staged: of an attachment, whose size is known besides.
    :param item_id: of the item that names it.
    """

    name: str
    staged: StagedObject | None = None
    item_id: str | None = None

    def read(self, staging: StagingHook) -> int | Fault | str:
        """Read it whole; return its bytes, what is wrong with it, or why it could not be read."""
        try:
            if staging.size(self.name) is None:
                return Fault(place=self.name, item_id=self.item_id, what="it is not there", remedy=RESTORE)
            staged = self.staged or staging.staged(self.name)
            with staging.reader(staged) as octets:
                while octets.read(BLOCK):
                    pass
        except IntegrityError:
            what = "its bytes are not what its digest says"
            return Fault(place=self.name, item_id=self.item_id, what=what, remedy=RESTORE)
        except ConnectorError as error:
            return f"{self.name} could not be read: {error}"
        return staged.size


def _attachments(staging: StagingHook, books: Iterable[Book], seen: set[str]) -> Iterator[_Wanted]:
    """Yield the attachments that the records name, each once; those that could not be had are known to be missing."""
    for raw, missing in _batches(books):
        try:
            absent = missing_of(staging, staging.staged(missing) if missing else None)
            with staging.reader(staging.staged(raw)) as lines:
                for line in lines:
                    try:
                        item = parse_item(line)
                    except ItemError:
                        continue  # a reject, of which nothing was staged but the record
                    for each in item.attachments:
                        if each.file not in absent and each.sha256 not in seen:
                            seen.add(each.sha256)
                            staged = attachment_object(each.sha256, each.byte_count)
                            yield _Wanted(staged.name, staged, item.item_id)
        except IntegrityError:
            continue  # found where the batch itself is read


def _batches(books: Iterable[Book]) -> dict[tuple[str, str | None], None]:
    """Return the batches as they came, each once, with what of their attachments is missing."""
    found: dict[tuple[str, str | None], None] = {}
    for book in books:
        of_batch: defaultdict[str, dict[str, BatchObject]] = defaultdict(dict)
        for each in book.batches:
            of_batch[each.batch][each.kind] = each
        for kinds in of_batch.values():
            if "raw" in kinds:
                found[kinds["raw"].name, kinds["missing"].name if "missing" in kinds else None] = None
    return found


def _added(staging: StagingHook, books: Iterable[Book]) -> Iterator[Fault]:
    """Yield what lies in a run's folder and no book of it goes by."""
    known: defaultdict[str, set[str]] = defaultdict(set)
    readable: dict[str, bool] = {}
    for book in books:
        known[book.stem] |= {*book.sealed, book.link.report.name, book.link.log.name, book.link.seal.name}
        readable[book.stem] = readable.get(book.stem, True) and not book.unread
    for stem in sorted(stem for stem, is_readable in readable.items() if is_readable):
        for name in staging.names(stem):
            if name not in known[stem] and not name.startswith((f"{stem}seal.", f"{stem}report.")):
                yield Fault(
                    place=name,
                    what="it was added after its run's book was closed",
                    remedy="If a task of the run was cleared, let reconcile follow it: its next book goes by it. Else"
                    " it was written by hand: look who wrote it, and do not believe it",
                )


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return many(size, "byte")
