"""Report: the balanced book of a window, in the terms of Microsoft's own connector log.

Microsoft's log has *Import completion time*, *Items available from source*, *Items available for import* (after
fan-out), *Items imported successfully*, *Items partially imported*, *Items skipped* and *Items failed*, and for each
failed item *Item id* and *Failure Reason* (data-connector-admin-logs). Ours adds rejected and parked, and proves that
the sums hold. It names items by id and mailboxes by object id; no number, address or text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from o2_connector.core.graph_errors import REMEDIES
from o2_connector.core.outcomes import remedy
from o2_connector.core.window import Window


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Hold a window's numbers. Items are counted once; deliveries once for each mailbox.

    :param available_from_source: items that TeleMessage said it has.
    :param staged: items in the batches that are staged with the right digest.
    :param decided: converted items that the mapping looked at.
    :param parked: items that have no mailbox yet.
    :param available_for_import: deliveries, after fan-out.
    """

    available_from_source: int = 0
    staged: int = 0
    converted: int = 0
    rejected: int = 0
    decided: int = 0
    parked: int = 0
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
    """

    number: str
    added: int
    moved: int
    lost: int


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
            ("items decided", count.decided, "items delivered and parked", count.items_with_deliveries + count.parked),
        ]
        if not self.dry_run:
            settled = count.imported + count.partially_imported + count.skipped + count.failed
            sums.append(("deliveries", count.available_for_import, "imported, partially, skipped and failed", settled))
        return (*(f"{left} {a}, {right} {b}" for left, a, right, b in sums if a != b), *self.batch_faults)

    @property
    def balanced(self) -> bool:
        """Tell whether every item and every delivery is accounted for."""
        return not self.contradictions


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
                "details": report.details,
            }
        ),
        indent=2,
    )


def report_csv(report: Report, zone: ZoneInfo) -> bytes:
    """Return the book as CSV: Microsoft's columns first, then a line for each item that needs a person."""
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow(("Window", str(report.window)))
    lines.writerow(("Import completion time", f"{report.completed_at:%Y-%m-%d %H:%M:%S} UTC"))
    lines.writerows(log_rows(report.counts))
    lines.writerow(("Book", "balanced" if report.balanced else "; ".join(report.contradictions)))
    if report.dry_run:
        lines.writerow(("Dry run", "nothing was written to a mailbox"))
    if not report.counts.available_from_source:
        lines.writerow((empty_day(report.window, zone),))
    if report.details:
        lines.writerow(())
        lines.writerow(("Item id", "Mailbox", "Outcome", "Failure Reason", "Place", "Remedy"))
        lines.writerows(
            tuple(
                _cell(value)
                for value in (each.item_id, each.mailbox, each.outcome, each.cause, each.place, _remedy(each.cause))
            )
            for each in report.details
        )
    return text.getvalue().encode()


def log_rows(counts: Counts) -> Sequence[tuple[str, int]]:
    """Return the book's lines in the words of Microsoft's log, ours after them."""
    return (
        ("Items available from source", counts.available_from_source),
        ("Items available for import", counts.available_for_import),
        ("Items imported successfully", counts.imported),
        ("Items partially imported", counts.partially_imported),
        ("Items skipped", counts.skipped),
        ("Items failed", counts.failed),
        ("Items parked", counts.parked),
        ("Items rejected", counts.rejected),
    )


def empty_day(window: Window, zone: ZoneInfo) -> str:
    """Return Microsoft's sentence for a day with nothing in it."""
    return f"No items ingested on {window.start.astimezone(zone):%m/%d/%Y}."


def lines_of(report: Report, zone: ZoneInfo) -> Iterator[str]:
    """Yield what a person reads in the task's log."""
    if not report.counts.available_from_source and report.balanced:
        yield empty_day(report.window, zone)
        return
    for name, number in log_rows(report.counts):
        yield f"{name}: {number}"
    yield "The book balances." if report.balanced else f"The book does not balance: {'; '.join(report.contradictions)}."


def _remedy(cause: str) -> str:
    return remedy(cause) or REMEDIES.get(cause, "")


def _cell(value: str | None) -> str:
    # A spreadsheet runs what begins like a formula (OWASP, CSV injection); ids and Graph's codes come from outside.
    return f"'{value}" if value and value[0] in "=+-@\t\r\n" else value or ""
