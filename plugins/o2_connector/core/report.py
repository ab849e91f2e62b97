"""Report: the balanced book of a window, in the terms of Microsoft's own connector log.

Microsoft's log has *Import completion time*, *Items available from source*, *Items available for import* (after
fan-out), *Items imported successfully*, *Items partially imported*, *Items skipped* and *Items failed*, and for each
failed item *Item id* and *Failure Reason* (data-connector-admin-logs). Ours adds what is rejected, parked and waiting,
whom it covers, and proves that the sums hold. It names items by id, mailboxes by object id, and numbers by their last
digits; no number in full, no address, no text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from o2_connector.core.graph_errors import REMEDIES
from o2_connector.core.layout import mapping_object
from o2_connector.core.outcomes import Cause, Outcome, Rule, remedy
from o2_connector.core.window import Window

_ORDER: tuple[str, ...] = (Outcome.FAILED, Outcome.PARTIALLY_IMPORTED, "rejected", "mapping", "parked", "waiting")
"""In which order a person reads the details: what needs them most comes first."""

_Row = tuple[str | int | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Hold a window's numbers. Items are counted once; deliveries once for each mailbox.

    :param available_from_source: items that TeleMessage said it has.
    :param staged: items in the batches that are staged with the right digest.
    :param decided: converted items that the mapping looked at.
    :param parked: items that nobody gets.
    :param unserved: of a replay, items that others have already, and that wait for somebody who has no mailbox still.
    :param available_for_import: deliveries, after fan-out.
    """

    available_from_source: int = 0
    staged: int = 0
    converted: int = 0
    rejected: int = 0
    decided: int = 0
    parked: int = 0
    unserved: int = 0
    items_with_deliveries: int = 0
    available_for_import: int = 0
    imported: int = 0
    partially_imported: int = 0
    skipped: int = 0
    failed: int = 0


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """Name one item that is not, or not wholly, where it should be.

    :param outcome: failed, partially imported, parked, waiting (delivered, but one of the organisation who took part
        has no mailbox yet), rejected, or ``mapping`` for a mapping row.
    :param mailbox: the user's object id, for a delivery.
    :param place: batch and line of a reject, file and line of a mapping row.
    :param rule: which rule gave a delivery its mailbox.
    :param since: since when a parked item waits, in milliseconds since 1970, UTC.
    """

    item_id: str | None
    outcome: str
    cause: str
    mailbox: str | None = None
    place: str | None = None
    rule: str | None = None
    since: int | None = None


class Silent(msgspec.Struct, frozen=True, kw_only=True):
    """Name an enrolled number that had no item.

    :param place: file and line of its mapping row.
    :param number: masked.
    """

    place: str
    number: str


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """Name a number that has items and no mailbox.

    :param number: masked.
    :param side: whether the network captured at least one of its items at this end: then it is the organisation's.
    :param item_id: of one of its items, by which the number can be found.
    """

    number: str
    items: int
    side: bool
    item_id: str


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Say how much of the organisation a window covers.

    :param known: numbers that a mapping row enrols at some time of the window, or that led to a mailbox in it.
    :param with_items: how many of them had items.
    :param silent_days: how many days without an item make a number silent.
    :param silent: enrolled numbers that were silent; None where not so many days are archived yet.
    :param unknown: the numbers without a mailbox that have most items, the organisation's own first.
    """

    known: int
    with_items: int
    silent_days: int
    silent: tuple[Silent, ...] | None
    unknown: tuple[Unknown, ...]


class NumberChange(msgspec.Struct, frozen=True, kw_only=True):
    """Count what changes for one number.

    :param number: masked.
    :param place: file and line of its mapping row now, where it has one; the latest of several.
    """

    number: str
    added: int
    moved: int
    lost: int
    place: str | None = None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Count deliveries that are made by one mapping and not by the other.

    :param against: id of the run that decided by the other mapping; None where there was none, and all is new.
    :param unchanged: deliveries that both make.
    :param added: somebody gets a copy who got none.
    :param moved: a participant's copy goes to another mailbox. The one that has it keeps it.
    :param lost: a participant would get no copy any more. Nothing is taken out of a mailbox.
    :param numbers: the numbers that change, those with most changes first.
    """

    against: str | None
    unchanged: int
    added: int
    moved: int
    lost: int
    numbers: tuple[NumberChange, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Hold the book of one run over one window, or of a replay of parked items.

    :param waiting: items that are delivered, while somebody of the organisation who took part has no mailbox yet.
    :param rules: deliveries by the rule that decided.
    :param replay: whether the items were parked ones, of any window.
    :param batch_faults: what does not add up in a single batch, in words; two such faults may hide in a window's sums.
    """

    window: Window
    run_id: str
    completed_at: datetime
    dry_run: bool
    counts: Counts
    details: tuple[Detail, ...]
    batch_faults: tuple[str, ...] = ()
    mapping_sha256: str | None
    waiting: int = 0
    rules: Mapping[str, int] = field(default_factory=dict)
    coverage: Coverage | None = None
    changes: Changes | None = None
    replay: bool = False

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Return what does not add up, in words; nothing when the book balances."""
        count = self.counts
        sums = [
            ("items from source", count.available_from_source, "items staged", count.staged),
            ("items staged", count.staged, "items converted and rejected", count.converted + count.rejected),
            ("items converted", count.converted, "items that the mapping decided", count.decided),
        ]
        placed = count.items_with_deliveries + count.parked + count.unserved
        sums.append(("items decided", count.decided, "items delivered, parked and unserved", placed))
        if not self.dry_run:
            settled = count.imported + count.partially_imported + count.skipped + count.failed
            sums.append(("deliveries", count.available_for_import, "imported, partially, skipped and failed", settled))
        return (*(f"{left} {a}, {right} {b}" for left, a, right, b in sums if a != b), *self.batch_faults)

    @property
    def balanced(self) -> bool:
        """Tell whether every item and every delivery is accounted for."""
        return not self.contradictions

    @property
    def in_order(self) -> list[Detail]:
        """Return the details as a person reads them; of what waits, the oldest first."""
        place = {outcome: number for number, outcome in enumerate(_ORDER)}
        return sorted(self.details, key=lambda each: (place.get(each.outcome, len(place)), each.since or 0))

    def since(self, outcome: str) -> list[datetime]:
        """Return since when each item waits that is parked, or that waits for somebody else; the oldest first."""
        return sorted(
            _moment(each.since) for each in self.details if each.outcome == outcome and each.since is not None
        )

    def days(self, since: datetime) -> int:
        """Return how many whole days something waits."""
        return (self.completed_at - since) // timedelta(days=1)


def report_json(report: Report) -> bytes:
    """Return the book as JSON."""
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "window": {"start": report.window.start, "end": report.window.end},
                "run_id": report.run_id,
                "import_completion_time": report.completed_at,
                "dry_run": report.dry_run,
                "balanced": report.balanced,
                "contradictions": report.contradictions,
                "counts": report.counts,
                "waiting": report.waiting,
                "rules": dict(report.rules),
                "replay": report.replay,
                "mapping_sha256": report.mapping_sha256,
                "coverage": report.coverage,
                "changes": report.changes,
                "details": report.in_order,
            }
        ),
        indent=2,
    )


def report_csv(report: Report, zone: ZoneInfo) -> bytes:
    """Return the book as CSV: Microsoft's lines first, then ours, then a line for each item that needs a person.

    With the mark by which a spreadsheet knows UTF-8: without it, it takes the mask of a number for other characters.
    """
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    for part in (_book(report, zone), _changes(report.changes), _coverage(report.coverage), _details(report)):
        lines.writerows([csv_cell(value) for value in row] for row in part)
    return text.getvalue().encode("utf-8-sig")


def log_rows(report: Report) -> Sequence[tuple[str, int]]:
    """Return the book's lines in the words of Microsoft's log, ours after them."""
    count = report.counts
    return (
        ("Items that waited" if report.replay else "Items available from source", count.available_from_source),
        ("Items available for import", count.available_for_import),
        ("Items imported successfully", count.imported),
        ("Items partially imported", count.partially_imported),
        ("Items skipped", count.skipped),
        ("Items failed", count.failed),
        ("Items still parked" if report.replay else "Items parked", count.parked),
        ("Items waiting", report.waiting),
        *(() if report.replay else (("Items rejected", count.rejected),)),
    )


def empty_day(window: Window, zone: ZoneInfo) -> str:
    """Return Microsoft's sentence for a day with nothing in it."""
    return f"No items ingested on {window.start.astimezone(zone):%m/%d/%Y}."


def lines_of(report: Report, zone: ZoneInfo) -> Iterator[str]:
    """Yield what a person reads in the task's log."""
    if not report.counts.available_from_source and report.balanced:
        yield empty_day(report.window, zone)
        return
    if report.replay:
        yield f"A replay: {_REPLAYED}."
    if report.dry_run:
        yield f"A dry run: {_DRY}."
    for name, number in log_rows(report):
        yield f"{name}: {number}"
    if rules := ", ".join(f"{name} {number}" for name, number in _rules(report)):
        yield f"Deliveries by rule: {rules}"
    yield from _waits(report)
    yield from _covered(report.coverage)
    if report.changes:
        made = report.changes
        yield (
            f"Against {_against(made)}: {made.added} deliveries added, {made.moved} moved, {made.lost} lost,"
            f" {made.unchanged} unchanged"
        )
    yield "The book balances." if report.balanced else f"The book does not balance: {'; '.join(report.contradictions)}."


# The words of both

_REPLAYED = "parked items of any window, decided again by the mapping files and the directory as they are now"
_DRY = "nothing was written to a mailbox"
_WAITING = "delivered, while somebody of the organisation who took part has no mailbox yet"
_BY_ITSELF = "o2_replay_parked then delivers it by itself"
_REPEATED = (Cause.SAME_ITEM_AGAIN, Cause.CONFLICTING_ITEM)  # such an item waits for nobody
_REJECTED = "show TeleMessage the batch and the line; the record is staged as it came"


def _rules(report: Report) -> Iterator[tuple[Rule, int]]:
    """Yield the deliveries of each rule that has any, the strongest first."""
    return ((rule, report.rules[rule]) for rule in Rule if report.rules.get(rule))


def _against(changes: Changes) -> str:
    return f"run {changes.against}" if changes.against else "nothing, for no run has archived this window"


def _untold(coverage: Coverage) -> str:
    return f"not told: not all of the last {_days(coverage.silent_days)} is archived"


def _moment(since: int) -> datetime:
    return datetime.fromtimestamp(since / 1000, UTC)


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


# The log


def _waits(report: Report) -> Iterator[str]:
    parked, waiting = report.since("parked"), report.since("waiting")
    if parked:
        verb = "stay" if report.replay else "are"
        many = f"{len(parked)} items {verb}" if len(parked) > 1 else f"1 item {'stays' if report.replay else 'is'}"
        yield f"{many} parked; {_oldest(report, parked)}"
    if waiting:
        many = f"{len(waiting)} items wait" if len(waiting) > 1 else "1 item waits"
        yield f"{many}: {_WAITING}; {_oldest(report, waiting)}"


def _oldest(report: Report, since: Sequence[datetime]) -> str:
    return f"the oldest waits since {since[0]:%Y-%m-%d}, {_days(report.days(since[0]))}"


def _covered(coverage: Coverage | None) -> Iterator[str]:
    if coverage is None:
        return
    yield f"Known numbers with items: {coverage.with_items} of {coverage.known}"
    if coverage.silent is None:
        yield f"Silent numbers: {_untold(coverage)}"
    else:
        yield f"Silent numbers: {len(coverage.silent)}, enrolled and without an item for {_days(coverage.silent_days)}"
    here = sum(each.side for each in coverage.unknown)
    yield f"Unknown numbers in the report: {len(coverage.unknown)} with most items, {here} captured at this end"


# The CSV


def _book(report: Report, zone: ZoneInfo) -> Iterator[_Row]:
    yield "Window", str(report.window)
    yield "Import completion time", f"{report.completed_at:%Y-%m-%d %H:%M:%S} UTC"
    if report.replay:
        yield "Replay", _REPLAYED
    for name, number in log_rows(report):
        yield (name, number, _WAITING) if name == "Items waiting" else (name, number)
    since = sorted((*report.since("parked"), *report.since("waiting")))
    if since:
        yield "Oldest waits since", f"{since[0]:%Y-%m-%d %H:%M:%S} UTC", _days(report.days(since[0]))
    for rule, number in _rules(report):
        yield f"Deliveries by rule: {rule}", number
    if report.mapping_sha256:
        yield "Mapping", mapping_object(report.mapping_sha256)
    yield "Book", "balanced" if report.balanced else "; ".join(report.contradictions)
    if report.dry_run:
        yield "Dry run", _DRY
    if not report.counts.available_from_source:
        yield (empty_day(report.window, zone),)


def _changes(changes: Changes | None) -> Iterator[_Row]:
    if changes is None:
        return
    yield ()
    yield "Against", _against(changes)
    yield "Deliveries added", changes.added, "somebody gets a copy who got none"
    yield "Deliveries moved", changes.moved, "a copy goes to another mailbox; the one that has it keeps it"
    yield "Deliveries lost", changes.lost, "somebody would get no copy any more; nothing is taken out of a mailbox"
    yield "Deliveries unchanged", changes.unchanged
    if changes.numbers:
        yield ()
        yield "Number", "Added", "Moved", "Lost", "Mapping row"
        yield from ((each.number, each.added, each.moved, each.lost, each.place) for each in changes.numbers)


def _coverage(coverage: Coverage | None) -> Iterator[_Row]:
    if coverage is None:
        return
    yield ()
    yield "Known numbers", coverage.known, "a mapping row enrols them, or they led to a mailbox in this window"
    yield "Known numbers with items", coverage.with_items
    if coverage.silent is None:
        yield "Silent numbers", _untold(coverage)
    else:
        yield "Silent numbers", len(coverage.silent), f"enrolled, and without an item for {_days(coverage.silent_days)}"
    if coverage.silent:
        yield ()
        yield "Silent number", "Mapping row"
        yield from ((each.number, each.place) for each in coverage.silent)
    if coverage.unknown:
        yield ()
        yield "Unknown number", "Items", "Captured at this end", "Find it by item id"
        yield from ((each.number, each.items, "yes" if each.side else "no", each.item_id) for each in coverage.unknown)
        yield ("Captured at this end: the number is the organisation's own, or in a group with one of its own",)


def _details(report: Report) -> Iterator[_Row]:
    if not report.details:
        return
    yield ()
    yield (
        *("Item id", "Mailbox", "Outcome", "Failure Reason", "Place", "Rule"),
        *("Waiting since (UTC)", "Days waited", "Remedy"),
    )
    for each in report.in_order:
        since = None if each.since is None else _moment(each.since)
        yield (
            *(each.item_id, each.mailbox, each.outcome, each.cause, each.place, each.rule),
            *((f"{since:%Y-%m-%d %H:%M:%S}", report.days(since)) if since else (None, None)),
            remedy_of(each),
        )


def remedy_of(each: Detail) -> str:
    """Return what an operator can do about an item."""
    if each.outcome == "rejected":
        return _REJECTED
    said = remedy(each.cause) or REMEDIES.get(each.cause, "")
    if each.outcome in ("parked", "waiting") and each.cause not in _REPEATED:
        said = "; ".join(filter(None, (said, _BY_ITSELF)))
    return said


def csv_cell(value: str | int | None) -> str | int:
    """Return a value as a spreadsheet takes it for what it is."""
    # A spreadsheet runs what begins like a formula (OWASP, CSV injection); ids, files' names and codes are not ours.
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r\n"):
        return f"'{value}"
    return "" if value is None else value
