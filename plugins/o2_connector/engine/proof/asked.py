"""Asked: the books that a span of time is proved by, with what each goes by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from o2_connector.core.chain import Link, Sealed, latest
from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import REPLAYS, WINDOWS, BatchObject, batch_object_of, run_stem, window_of
from o2_connector.core.ledger import read_packs
from o2_connector.core.manifest import ConvertedBatch, DecisionRecord, Shard, StagedObject
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook


@dataclass(frozen=True, kw_only=True)
class Book:
    """Hold a book that was closed, and what it goes by.

    :param digest: its link's.
    :param sealed: names of all that it goes by.
    :param decisions: what its run decided, the last decision first; none where the run did not come so far.
    :param unread: names of what of this cannot be read.
    """

    digest: str
    link: Link
    sealed: tuple[str, ...]
    decisions: tuple[DecisionRecord, ...]
    unread: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return what a person knows it by."""
        return f"the book of run {self.link.run_id} over {self.link.window.name}"

    @property
    def stem(self) -> str:
        """Return what the names of all in its run's folder begin with."""
        return stem_of(self.link)

    @cached_property
    def batches(self) -> tuple[BatchObject, ...]:
        """Return the objects of its batches."""
        return tuple(each for each in map(batch_object_of, self.sealed) if each)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Hold what is to be proved.

    :param span: whose items.
    :param books: those of its windows, and of the replays that delivered items of these or lie within it; by number.
    :param beside: books of other windows that share time with it: they may have delivered some of the same items.
    """

    span: Window
    books: tuple[Book, ...]
    beside: tuple[Book, ...]

    @property
    def windows(self) -> list[Window]:
        """Return the windows that some run that was no dry run archived, in order."""
        return sorted({book.link.window for book in self.books if not (book.link.replay or book.link.dry_run)})

    @property
    def gaps(self) -> list[Window]:
        """Return in which parts of the span no such window lies."""
        gaps: list[Window] = []
        covered = self.span.start
        for window in self.windows:
            if window.start > covered:
                gaps.append(Window(start=covered, end=window.start))
            covered = max(covered, window.end)
        if covered < self.span.end:
            gaps.append(Window(start=covered, end=self.span.end))
        return gaps

    def last_of(self, window: Window) -> Book | None:
        """Return the last book of a window that is no dry run's."""
        books = [
            book for book in self.books if book.link.window == window and not (book.link.replay or book.link.dry_run)
        ]
        last = latest(book.link for book in books)
        return next((book for book in books if book.link is last), None)

    def unknown(self, what: str) -> list[str]:
        """Return of which books something is not known, since not all that they go by can be read."""
        return [
            f"{what} by {book.name} is not known: {name} is not what it was"
            for book in self.books
            for name in book.unread
        ]

    def conversions(self) -> list[ConvertedBatch]:
        """Return what was converted, each once, however many runs went by it."""
        found = (batch for book in self.books for record in book.decisions for batch in record.batches)
        return list(dict.fromkeys(found))


def asked_for(staging: StagingHook, links: Mapping[str, Link], span: Window) -> Asked:
    """Gather the books that a span is proved by.

    :param links: of the chain, by digest.
    """
    books: list[Book] = []
    beside: list[Book] = []
    for digest, link in sorted(links.items(), key=lambda each: (each[1].number, each[1].completed_at)):
        if not link.window.overlaps(span):
            continue
        within = span.start <= link.window.start and link.window.end <= span.end
        if within:
            books.append(_book(staging, digest, link))
        elif not link.dry_run and link.counts.available_for_import:
            book = _book(staging, digest, link)
            about = link.replay and any(span_has(span, pack.name) for pack in _packs(staging, book))
            (books if about else beside).append(book)
    return Asked(span=span, books=tuple(books), beside=tuple(beside))


def span_has(span: Window, name: str) -> bool:
    """Tell whether an object lies in a window that lies in a span."""
    window = window_of(name)
    return window is not None and span.start <= window.start and window.end <= span.end


def stem_of(link: Link) -> str:
    """Return what the names of all in the folder of a link's run begin with."""
    return run_stem(link.window, link.run_id, REPLAYS if link.replay else WINDOWS)


def shards_of(books: Iterable[Book]) -> list[Shard]:
    """Return the shards of some books, each once."""
    shards = (shard for book in books for record in book.decisions for shard in record.decision.shards)
    return list({shard.deliveries: shard for shard in shards}.values())


def _book(staging: StagingHook, digest: str, link: Link) -> Book:
    unread: list[str] = []
    sealed: tuple[str, ...] = ()
    decisions: list[DecisionRecord] = []
    try:
        sealed = tuple(each.name for each in staging.read_lines(link.seal, Sealed))
    except IntegrityError:
        unread.append(link.seal.name)
    for name in sealed:
        if name.startswith(f"{stem_of(link)}decision."):
            try:
                decisions += staging.read_lines(staging.staged(name), DecisionRecord)
            except IntegrityError:
                unread.append(name)
    decisions.sort(key=lambda record: record.decided_at, reverse=True)
    return Book(digest=digest, link=link, sealed=sealed, decisions=tuple(decisions), unread=tuple(unread))


def _packs(staging: StagingHook, book: Book) -> Iterator[StagedObject]:
    """Yield what a book's deliveries refer to."""
    for shard in shards_of([book]):
        try:
            with staging.reader(shard.deliveries) as lines:
                packs: Sequence[StagedObject] = read_packs(lines.readline())
        except (IntegrityError, msgspec.DecodeError):
            continue  # that it is not what it was is found where it is read whole
        yield from packs
