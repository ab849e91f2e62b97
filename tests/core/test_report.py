"""The book tells whatever does not add up, in Microsoft's terms, and nothing in it runs or identifies anybody."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from o2_connector.core.graph_errors import REMEDIES
from o2_connector.core.outcomes import Cause, Rule, remedy
from o2_connector.core.report import (
    Changes,
    Counts,
    Coverage,
    Detail,
    NumberChange,
    Report,
    Silent,
    Unknown,
    empty_day,
    lines_of,
    log_rows,
    report_csv,
    report_json,
)
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
HEAD = [
    *("Item id", "Mailbox", "Outcome", "Failure Reason", "Place", "Rule"),
    *("Waiting since (UTC)", "Days waited", "Remedy"),
]
BY_ITSELF = "; o2_replay_parked then delivers it by itself"
COVERAGE = Coverage(
    known=52,
    with_items=41,
    silent_days=7,
    silent=(Silent(place="people.csv:17", number="…123"),),
    unknown=(
        Unknown(number="…456", items=9, side=True, item_id="o2-8"),
        Unknown(number="…789", items=4, side=False, item_id="o2-9"),
    ),
)
CHANGES = Changes(
    against="scheduled__1",
    unchanged=120,
    added=3,
    moved=2,
    lost=1,
    numbers=(
        NumberChange(number="…123", added=3, moved=0, lost=1, place="people.csv:17"),
        NumberChange(number="…456", added=0, moved=2, lost=0),
    ),
)


def rows(report: Report) -> list[list[str]]:
    return list(csv.reader(io.StringIO(report_csv(report, LONDON).decode("utf-8-sig"), newline=""), strict=True))


def text_of(report: Report) -> str:
    return "\n".join(lines_of(report, LONDON))


def since(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc]


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
    assert log_rows(replace(REPORT, waiting=4)) == (
        ("Items available from source", 10),
        ("Items available for import", 11),
        ("Items imported successfully", 5),
        ("Items partially imported", 1),
        ("Items skipped", 3),
        ("Items failed", 2),
        ("Items parked", 2),
        ("Items waiting", 4),
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
        Detail(item_id=None, outcome="rejected", cause="the line is not JSON in UTF-8", place="b1:7"),
        Detail(item_id=None, outcome="mapping", cause=Cause.NO_USER, place="people.csv:3"),
        Detail(item_id="o2-3", outcome="waiting", cause=Cause.UNLICENSED, since=since(2026, 6, 1, 9, 30)),
        Detail(item_id="o2-2", outcome="parked", cause=Cause.NO_ADDRESS, since=since(2026, 7, 2, 4, 5)),
        Detail(
            item_id="o2-1",
            outcome="failed",
            cause="ErrorQuotaExceeded",
            mailbox="4c510e6a",
            place="people.csv:5",
            rule=Rule.MAPPING,
        ),
    )

    table = rows(replace(REPORT, details=details))

    quota, row = REMEDIES["ErrorQuotaExceeded"], remedy(Cause.NO_USER)
    assert table[-6:] == [
        HEAD,
        ["o2-1", "4c510e6a", "failed", "ErrorQuotaExceeded", "people.csv:5", "mapping file", "", "", quota],
        ["", "", "rejected", details[0].cause, "b1:7", "", "", "", table[-4][-1]],
        ["", "", "mapping", Cause.NO_USER, "people.csv:3", "", "", "", row],
        [
            *("o2-2", "", "parked", Cause.NO_ADDRESS, "", "", "2026-07-02 04:05:00", "0"),
            remedy(Cause.NO_ADDRESS) + BY_ITSELF,
        ],
        [
            *("o2-3", "", "waiting", Cause.UNLICENSED, "", "", "2026-06-01 09:30:00", "30"),
            remedy(Cause.UNLICENSED) + BY_ITSELF,
        ],
    ]
    assert "TeleMessage" in table[-4][-1]


@pytest.mark.parametrize("cause", [Cause.SAME_ITEM_AGAIN, Cause.CONFLICTING_ITEM])
def test_what_came_twice_and_was_parked_once_is_not_said_to_deliver_itself(cause: Cause) -> None:
    detail = Detail(item_id="o2-1", outcome="parked", cause=cause, since=since(2026, 7, 2))

    assert rows(replace(REPORT, details=(detail,)))[-1][-1] == remedy(cause)


def parked(name: str, moment: int, outcome: str = "parked") -> Detail:
    return Detail(item_id=name, outcome=outcome, cause=Cause.NO_ADDRESS, since=moment)


def test_what_waits_longest_comes_first() -> None:
    details = (
        parked("o2-1", since(2026, 7, 1)),
        parked("o2-2", since(2026, 6, 5)),
        parked("o2-3", since(2026, 6, 1), "waiting"),
        parked("o2-4", since(2026, 6, 20)),
    )
    report = replace(REPORT, details=details)

    assert [row[0] for row in rows(report)[-4:]] == ["o2-2", "o2-4", "o2-1", "o2-3"]
    assert [each["item_id"] for each in json.loads(report_json(report))["details"]] == ["o2-2", "o2-4", "o2-1", "o2-3"]


def test_a_replay_says_what_it_is_and_what_stays_parked_since_when() -> None:
    details = (
        parked("o2-1", since(2026, 6, 30)),
        parked("o2-2", since(2026, 6, 6, 4, 5, 7)),
        parked("o2-3", since(2026, 6, 28), "waiting"),
    )
    counts = replace(
        COUNTS, rejected=0, available_from_source=9, staged=9, items_with_deliveries=6, parked=2, unserved=1
    )

    report = replace(REPORT, replay=True, counts=counts, details=details, waiting=1)

    assert report.balanced
    table = rows(report)
    assert ["Items that waited", "9"] in table
    assert ["Items still parked", "2"] in table
    assert ["Oldest waits since", "2026-06-06 04:05:07 UTC", "25 days"] in table
    assert [row[:2] for row in table if row[:1] == ["Items waiting"]] == [["Items waiting", "1"]]
    assert not [row for row in table if row[:1] in (["Items available from source"], ["Items rejected"])]
    for told in ("\n".join(map(",".join, table)), text_of(report)):
        assert "parked items of any window" in told
    assert "2 items stay parked; the oldest waits since 2026-06-06, 25 days" in text_of(report)
    waiting = "1 item waits: delivered, while somebody of the organisation who took part has no mailbox yet"
    assert f"{waiting}; the oldest waits since 2026-06-28, 4 days" in text_of(report)


@pytest.mark.parametrize(
    ("replay", "count", "told"),
    [
        (False, 1, "1 item is parked; the oldest waits since 2026-07-01, 1 day"),
        (False, 2, "2 items are parked; the oldest waits since 2026-07-01, 1 day"),
        (True, 1, "1 item stays parked; the oldest waits since 2026-07-01, 1 day"),
    ],
)
def test_one_item_and_several_are_told_in_plain_english(replay: bool, count: int, told: str) -> None:
    details = tuple(parked(f"o2-{number}", since(2026, 7, 1)) for number in range(count))

    assert told in text_of(replace(REPORT, details=details, replay=replay)).splitlines()


def test_deliveries_are_told_by_the_rule_that_decided_the_strongest_first() -> None:
    report = replace(REPORT, rules={Rule.CATCH_ALL: 1, Rule.EMAIL: 4, Rule.MAPPING: 6})

    table = rows(report)

    assert [row for row in table if row[:1] and row[0].startswith("Deliveries by rule")] == [
        ["Deliveries by rule: mapping file", "6"],
        ["Deliveries by rule: e-mail property", "4"],
        ["Deliveries by rule: catch-all mailbox", "1"],
    ]
    assert "Deliveries by rule: mapping file 6, e-mail property 4, catch-all mailbox 1" in text_of(report)
    assert "by rule" not in text_of(REPORT)


def test_who_is_covered_is_told_by_the_last_digits_with_what_finds_them() -> None:
    report = replace(REPORT, coverage=COVERAGE)

    table = rows(report)

    assert [row[:2] for row in table if len(row) in (2, 3) and "umber" in row[0]] == [
        ["Known numbers", "52"],
        ["Known numbers with items", "41"],
        ["Silent numbers", "1"],
        ["Silent number", "Mapping row"],
    ]
    assert ["…123", "people.csv:17"] in table
    unknown = table.index(["Unknown number", "Items", "Captured at this end", "Find it by item id"])
    assert table[unknown + 1 : unknown + 3] == [["…456", "9", "yes", "o2-8"], ["…789", "4", "no", "o2-9"]]
    assert text_of(report).splitlines()[-4:-1] == [
        "Known numbers with items: 41 of 52",
        "Silent numbers: 1, enrolled and without an item for 7 days",
        "Unknown numbers in the report: 2 with most items, 1 captured at this end",
    ]


def test_silence_is_not_told_before_so_many_days_are_archived() -> None:
    report = replace(REPORT, coverage=msgspec.structs.replace(COVERAGE, silent=None))

    assert ["Silent numbers", "not told: not all of the last 7 days is archived"] in rows(report)
    assert "Silent numbers: not told: not all of the last 7 days is archived" in text_of(report)
    assert ["Silent number", "Mapping row"] not in rows(report)


def test_nobody_silent_and_nobody_unknown_make_no_empty_tables() -> None:
    report = replace(REPORT, coverage=msgspec.structs.replace(COVERAGE, silent=(), unknown=()))

    heads = [row[0] for row in rows(report) if row]
    assert "Silent number" not in heads
    assert "Unknown number" not in heads
    assert "Silent numbers: 0" in text_of(report)


def test_a_dry_run_says_what_it_would_change_against_which_run() -> None:
    report = replace(REPORT, dry_run=True, changes=CHANGES)

    table = rows(report)

    start = table.index(["Against", "run scheduled__1"])
    assert [row[:2] for row in table[start + 1 : start + 5]] == [
        ["Deliveries added", "3"],
        ["Deliveries moved", "2"],
        ["Deliveries lost", "1"],
        ["Deliveries unchanged", "120"],
    ]
    assert table[start + 6 :] == [
        ["Number", "Added", "Moved", "Lost", "Mapping row"],
        ["…123", "3", "0", "1", "people.csv:17"],
        ["…456", "0", "2", "0", ""],
    ]
    assert "Against run scheduled__1: 3 deliveries added, 2 moved, 1 lost, 120 unchanged" in text_of(report)
    assert "A dry run: nothing was written to a mailbox." in text_of(report)


def test_a_dry_run_of_a_window_that_no_run_has_archived_says_so() -> None:
    report = replace(REPORT, changes=msgspec.structs.replace(CHANGES, against=None))

    assert ["Against", "nothing, for no run has archived this window"] in rows(report)


def test_the_mapping_that_decided_can_be_found_from_the_report() -> None:
    assert ["Mapping", f"mappings/{'0' * 64}.csv"] in rows(REPORT)
    assert "Mapping" not in [row[0] for row in rows(replace(REPORT, mapping_sha256=None)) if row]


def test_a_spreadsheet_is_told_that_it_is_utf_8() -> None:
    assert report_csv(REPORT, LONDON).startswith(b"\xef\xbb\xbfWindow")


@pytest.mark.parametrize(
    "value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("https://example.com","x")']
)
@pytest.mark.parametrize("column", ["item_id", "mailbox", "outcome", "cause", "place", "rule"])
def test_no_cell_is_a_formula(column: str, value: str) -> None:
    plain = {"item_id": "o2-1", "outcome": "failed", "cause": "x", "mailbox": "m", "place": "b1:1", "rule": "r"}
    detail = Detail(**{**plain, column: value})

    last = rows(replace(REPORT, details=(detail,)))[-1]

    assert f"'{value}" in last
    assert not [cell for cell in last if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_nothing_that_comes_from_outside_is_a_formula_anywhere() -> None:
    report = replace(
        REPORT,
        batch_faults=("=1+1",),
        coverage=msgspec.structs.replace(
            COVERAGE,
            silent=(Silent(place="=1+1.csv:2", number="…123"),),
            unknown=(Unknown(number="…456", items=9, side=True, item_id="=1+1"),),
        ),
        changes=msgspec.structs.replace(
            CHANGES, numbers=(NumberChange(number="…123", added=1, moved=0, lost=0, place="@x.csv:2"),)
        ),
    )

    cells = [cell for row in rows(report) for cell in row]

    assert {"'=1+1", "'=1+1.csv:2", "'@x.csv:2"} <= set(cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


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
