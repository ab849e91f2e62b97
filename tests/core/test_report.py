"""The book tells whatever does not add up, in Microsoft's terms, and nothing in it runs or identifies anybody."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from o2_connector.core.graph_errors import REMEDIES
from o2_connector.core.outcomes import Cause, remedy
from o2_connector.core.report import Counts, Detail, Report, empty_day, lines_of, log_rows, report_csv, report_json
from o2_connector.core.window import Window

LONDON = ZoneInfo("Europe/London")
COUNTS = Counts(
    available_from_source=10,
    staged=10,
    converted=9,
    rejected=1,
    decided=9,
    parked=2,
    items_with_deliveries=7,
    available_for_import=11,
    imported=5,
    partially_imported=1,
    skipped=3,
    failed=2,
)
REPORT = Report(
    window=Window(start=datetime(2026, 6, 30, 23, tzinfo=UTC), end=datetime(2026, 7, 1, 23, tzinfo=UTC)),
    run_id="manual__1",
    completed_at=datetime(2026, 7, 2, 4, 5, 6, tzinfo=UTC),
    dry_run=False,
    counts=COUNTS,
    details=(),
    mapping_sha256="0" * 64,
)
EMPTY = replace(REPORT, counts=Counts())
NUMBERS = [field.name for field in fields(Counts)]


def rows(report: Report) -> list[list[str]]:
    return list(csv.reader(io.StringIO(report_csv(report, LONDON).decode(), newline=""), strict=True))


def test_a_book_that_adds_up_balances() -> None:
    assert REPORT.balanced
    assert REPORT.contradictions == ()


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_is_off_by_one_is_told(number: str, by: int) -> None:
    report = replace(REPORT, counts=replace(COUNTS, **{number: getattr(COUNTS, number) + by}))

    assert not report.balanced
    assert report.contradictions
    assert "balance" in list(lines_of(report, LONDON))[-1]
    assert json.loads(report_json(report))["balanced"] is False
    assert ["Book", "; ".join(report.contradictions)] in rows(report)


@pytest.mark.parametrize(("less", "more"), [("rejected", "parked"), ("converted", "decided"), ("staged", "converted")])
def test_what_is_lost_between_two_steps_is_told(less: str, more: str) -> None:
    changed = {less: getattr(COUNTS, less) - 1, more: getattr(COUNTS, more) + 1}

    assert not replace(REPORT, counts=replace(COUNTS, **changed)).balanced


def test_a_contradiction_says_both_numbers() -> None:
    report = replace(REPORT, counts=replace(COUNTS, staged=9))

    assert report.contradictions == (
        "items from source 10, items staged 9",
        "items staged 9, items converted and rejected 10",
    )


def test_a_dry_run_delivers_nothing_and_balances() -> None:
    counts = replace(COUNTS, imported=0, partially_imported=0, skipped=0, failed=0)

    assert replace(REPORT, dry_run=True, counts=counts).balanced
    assert not replace(REPORT, counts=counts).balanced
    assert not replace(REPORT, dry_run=True, counts=replace(counts, parked=3)).balanced
    assert ["Dry run", "nothing was written to a mailbox"] in rows(replace(REPORT, dry_run=True, counts=counts))


def test_the_terms_are_those_of_microsofts_log() -> None:
    assert log_rows(COUNTS) == (
        ("Items available from source", 10),
        ("Items available for import", 11),
        ("Items imported successfully", 5),
        ("Items partially imported", 1),
        ("Items skipped", 3),
        ("Items failed", 2),
        ("Items parked", 2),
        ("Items rejected", 1),
    )
    assert rows(REPORT)[:3] == [
        ["Window", "2026-06-30 23:00:00 to 2026-07-01 23:00:00 UTC"],
        ["Import completion time", "2026-07-02 04:05:06 UTC"],
        ["Items available from source", "10"],
    ]
    assert ["Book", "balanced"] in rows(REPORT)


def test_every_item_that_needs_a_person_is_named_with_its_cause() -> None:
    details = (
        Detail(item_id="o2-1", outcome="failed", cause="ErrorQuotaExceeded", mailbox="4c510e6a"),
        Detail(item_id=None, outcome="rejected", cause="the line is not JSON in UTF-8", place="b1:7"),
        Detail(item_id="o2-2", outcome="parked", cause=Cause.NO_ADDRESS),
    )

    table = rows(replace(REPORT, details=details))

    assert table[-4:] == [
        ["Item id", "Mailbox", "Outcome", "Failure Reason", "Place", "Remedy"],
        ["o2-1", "4c510e6a", "failed", "ErrorQuotaExceeded", "", REMEDIES["ErrorQuotaExceeded"]],
        ["", "", "rejected", "the line is not JSON in UTF-8", "b1:7", ""],
        ["o2-2", "", "parked", Cause.NO_ADDRESS.value, "", remedy(Cause.NO_ADDRESS)],
    ]


@pytest.mark.parametrize(
    "value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("https://example.com","x")']
)
@pytest.mark.parametrize("column", ["item_id", "mailbox", "outcome", "cause", "place"])
def test_no_cell_is_a_formula(column: str, value: str) -> None:
    plain = {"item_id": "o2-1", "outcome": "failed", "cause": "x", "mailbox": "m", "place": "b1:1"}
    detail = Detail(**{**plain, column: value})

    last = rows(replace(REPORT, details=(detail,)))[-1]

    assert f"'{value}" in last
    assert not [cell for cell in last if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_an_empty_day_says_microsofts_sentence_for_the_local_day() -> None:
    assert empty_day(EMPTY.window, LONDON) == "No items ingested on 07/01/2026."
    assert list(lines_of(EMPTY, LONDON)) == ["No items ingested on 07/01/2026."]
    assert ["No items ingested on 07/01/2026."] in rows(EMPTY)


def test_a_day_that_is_only_said_to_be_empty_is_told() -> None:
    report = replace(EMPTY, counts=Counts(staged=1))

    assert "No items" not in "".join(lines_of(report, LONDON))
    assert not report.balanced


def test_the_same_report_is_the_same_json() -> None:
    report = replace(REPORT, details=(Detail(item_id="o2-1", outcome="failed", cause="x"),))

    assert report_json(report) == report_json(report)
    assert json.loads(report_json(report)) == {
        "window": {"start": "2026-06-30T23:00:00Z", "end": "2026-07-01T23:00:00Z"},
        "run_id": "manual__1",
        "import_completion_time": "2026-07-02T04:05:06Z",
        "dry_run": False,
        "balanced": True,
        "contradictions": [],
        "counts": {name: getattr(COUNTS, name) for name in NUMBERS},
        "waiting": 0,
        "rules": {},
        "replay": False,
        "mapping_sha256": "0" * 64,
        "coverage": None,
        "changes": None,
        "details": [
            {
                "item_id": "o2-1",
                "outcome": "failed",
                "cause": "x",
                "mailbox": None,
                "place": None,
                "rule": None,
                "since": None,
            }
        ],
    }
