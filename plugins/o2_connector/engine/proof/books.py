"""Proof of the books: that each adds up again, from the bytes that it goes by, to the report and the link it left."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from o2_connector.core.conversion import IndexRow
from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import converted_stem, export_stem, raw_stem
from o2_connector.core.manifest import DecisionRecord, Frozen, StagedBatch, StagedObject
from o2_connector.core.plurals import many
from o2_connector.core.report import Report, log_rows, report_json
from o2_connector.core.source import Export
from o2_connector.engine import book as ledger
from o2_connector.engine.proof.asked import Asked, Book
from o2_connector.engine.proof.result import Fault, Proof, Result
from o2_connector.engine.report import replay_report, window_report
from o2_connector.hooks.staging import StagingHook

_BY_HAND = "It was written by hand, or by another program: look who wrote it, and go by what is told here"


@dataclass(frozen=True, kw_only=True)
class _AddedUp:
    """Hold a book that was added up again."""

    report: Report
    book: ledger.Book
    record: DecisionRecord | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counted:
    """Hold a converted batch as its objects count."""

    batch_id: str
    items: int
    converted: int
    rejected: int
    rejects: StagedObject | None


def prove_books(staging: StagingHook, asked: Asked) -> Result:
    """Add every book up again, and hold it against its report and its link."""
    faults: list[Fault] = []
    unproved: list[str] = []
    books = items = deliveries = 0
    for book in asked.books:
        try:
            made, found = _best(staging, book)
        except IntegrityError as error:
            unproved.append(f"{book.name} cannot be added up again: {error}")
            continue
        except msgspec.DecodeError:  # whose words may hold a value; of a large object, its digest was not known yet
            unproved.append(f"{book.name} cannot be added up again: something that it goes by is not what it was")
            continue
        faults += found
        if not found:
            books += 1
            items += made.report.counts.available_from_source
            deliveries += made.report.counts.available_for_import
    for window in asked.windows:
        last = asked.last_of(window)
        faults += _unsettled(last) if last else ()
    unproved += _gaps(asked)
    again = f"{many(books, 'book')} added up again, {many(items, 'item')} and {deliveries:,} deliveries"
    return Result(
        proof=Proof.BOOKS,
        proved=f"{again} with their receipts: the reports say the same" if books else "",
        faults=tuple(faults),
        unproved=tuple(unproved),
    )


def _gaps(asked: Asked) -> Iterator[str]:
    """Yield what of the span no window covers."""
    beside = sorted({book.link.window.name for book in asked.beside if not book.link.replay})
    shared = f"; what shares time with it reaches beyond what was asked for: {', '.join(beside)}" if beside else ""
    for gap in asked.gaps:
        yield f"no book covers {gap}: it is not archived, or its links were taken away too{shared}"


def _unsettled(last: Book) -> Iterator[Fault]:
    """Yield why a window's last book is not the end of it."""
    link = last.link
    if not link.balanced:
        yield Fault(
            place=link.report.name,
            what="the window's last book does not balance",
            remedy="The report says which sum does not hold: mend that, and run the window again",
        )
    if link.counts.failed:
        yield Fault(
            place=link.report.name,
            what=f"by the window's last book {link.counts.failed:,} of its deliveries failed",
            remedy="The report names them: mend the causes, and clear import_to_mailboxes with what follows it",
        )


def _best(staging: StagingHook, book: Book) -> tuple[_AddedUp, list[Fault]]:
    """Add a book up by the decision it went by: the last one, unless a task was killed after it had decided."""
    if book.unread:
        raise IntegrityError(f"{book.unread[0]} is not what it was")
    with staging.reader(book.link.report) as content:
        said: dict[str, Any] = msgspec.json.decode(content.read())
    with staging.reader(book.link.log) as content:
        log = {row[0]: row[1] for row in csv.reader(io.StringIO(content.read().decode("utf-8-sig"))) if len(row) > 1}
    went_by = [record for record in book.decisions if record.decision.mapping.sha256 == said.get("mapping_sha256")]
    tries: list[tuple[_AddedUp, list[Fault]]] = []
    candidates: Sequence[DecisionRecord | None] = went_by or [None]
    for record in candidates:
        made = _add_up(staging, book, record)
        faults = [*_differences(book, made, said, log), *_unaccounted(staging, book, made)]
        tries.append((made, faults))
        if not faults:
            break
    return next((each for each in tries if not each[1]), tries[0])


def _add_up(staging: StagingHook, book: Book, record: DecisionRecord | None) -> _AddedUp:
    link, decision = book.link, record.decision if record else None
    added = ledger.add_up(staging, decision, book.sealed)
    common: dict[str, Any] = {"run_id": link.run_id, "dry_run": link.dry_run, "at": link.completed_at}
    if link.replay:
        if decision is None:
            raise IntegrityError("its decision is not there")
        report = replay_report(staging, decision, added, **common)
    else:
        export, staged = _staged(staging, book)
        report = window_report(
            staging,
            Frozen(window=link.window, export=export[0], items=export[1].item_count),
            staged=staged,
            converted=list(_converted(staging, book, staged)),
            decision=decision,
            book=added,
            **common,
        )
    return _AddedUp(report=report, book=added, record=record)


def _staged(staging: StagingHook, book: Book) -> tuple[tuple[StagedObject, Export], list[StagedBatch]]:
    """Return what the source has frozen, and its batches as they are staged, counted."""
    names = [name for name in book.sealed if name.startswith(export_stem(book.link.window))]
    if len(names) != 1:
        raise IntegrityError("the source's list of batches is not among what it goes by")
    export = staging.staged(names[0])
    with staging.reader(export) as content:
        frozen = msgspec.json.decode(content.read(), type=Export)
    sealed = frozenset(book.sealed)
    staged = []
    for each in frozen.batches:
        raw = f"{raw_stem(book.link.window, each.batch_id)}{each.sha256}.jsonl"
        if raw in sealed:
            found = staging.staged(raw)
            staged.append(
                StagedBatch(batch_id=each.batch_id, items=_lines(staging, found), promised=each.item_count, raw=found)
            )
    return (export, frozen), staged


def _converted(staging: StagingHook, book: Book, staged: Iterable[StagedBatch]) -> Iterator[_Counted]:
    """Yield what the batches were converted to, counted."""
    for batch in staged:
        stem = converted_stem(book.link.window, batch.batch_id)
        kinds = {each.kind: each.name for each in book.batches if each.name.startswith(stem)}
        if "index" in kinds:
            rejects = staging.staged(kinds["rejects"]) if "rejects" in kinds else None
            yield _Counted(
                batch_id=batch.batch_id,
                items=batch.items,
                converted=_lines(staging, staging.staged(kinds["index"])),
                rejected=_lines(staging, rejects) if rejects else 0,
                rejects=rejects,
            )


def _lines(staging: StagingHook, staged: StagedObject) -> int:
    with staging.reader(staged) as lines:
        return sum(1 for line in lines if line.strip())


def _differences(book: Book, made: _AddedUp, said: Mapping[str, Any], log: Mapping[str, str]) -> Iterator[Fault]:
    """Yield where the report, its log or its link say otherwise than what was added up."""
    link, report = book.link, made.report
    should = msgspec.json.decode(report_json(report))
    for name in sorted(should.keys() & said.keys()):
        if _ordered(should[name]) != _ordered(said[name]):
            yield Fault(place=link.report.name, what=f"its {_told(name, should[name], said[name])}", remedy=_BY_HAND)
    for name, number in log_rows(report):
        if log.get(name, str(number)) != str(number):
            yield Fault(place=link.log.name, what=f"it says {name}: {log[name]}, and it is {number}", remedy=_BY_HAND)
    if (link.counts, link.waiting, link.balanced) != (report.counts, report.waiting, report.balanced):
        what = "its link of the chain has other counts than it adds up to"
        yield Fault(place=f"link {book.digest}", what=what, remedy=_BY_HAND)


def _ordered(value: Any) -> Any:
    return sorted(map(msgspec.json.encode, value)) if isinstance(value, list) else value


def _told(name: str, should: Any, said: Any) -> str:
    """Say what differs; details are counted, for ids beside causes are not all a person needs."""
    if isinstance(should, dict) and isinstance(said, dict):
        names = sorted(each for each in should.keys() | said.keys() if should.get(each) != said.get(each))
        return f"{name} differ: " + ", ".join(
            f"{each} {said.get(each)}, and it is {should.get(each)}" for each in names
        )
    if isinstance(should, list) and isinstance(said, list):
        more = Counter(map(msgspec.json.encode, said)) - Counter(map(msgspec.json.encode, should))
        less = Counter(map(msgspec.json.encode, should)) - Counter(map(msgspec.json.encode, said))
        return f"{name} differ: {more.total():,} are not so, and {less.total():,} are not told"
    return f"{name.replace('_', ' ')} is not what it adds up to"


def _unaccounted(staging: StagingHook, book: Book, made: _AddedUp) -> Iterator[Fault]:
    """Yield the items of a window's run that are neither delivered nor parked."""
    if made.record is None or book.link.replay:
        return
    parked = Counter(each.item_id for each in made.report.details if each.outcome == "parked")
    rows = chain.from_iterable(staging.read_lines(batch.index, IndexRow) for batch in made.record.batches)
    for number, row in enumerate(rows):
        if number < len(made.book.delivered) and made.book.delivered[number]:
            continue
        if not parked[row.item_id]:
            yield Fault(
                place=made.record.decision.details.name,
                item_id=row.item_id,
                what="the item is neither delivered nor parked",
                remedy="Run the window again: the mapping decides on all of its items",
            )
        parked[row.item_id] -= 1
