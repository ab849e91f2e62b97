"""Every notice, whole, as docs/notices.md shows it, and what a notice must not be.

``GOLDEN_WRITE=1 pytest tests/core/test_notices.py`` writes the page anew; its difference is the review.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from o2_connector.core import failures
from o2_connector.core.errors import IntegrityError, RetryError, StopError
from o2_connector.core.failures import Fault, Standing, fault_of
from o2_connector.core.notices import Notice, Subject, fell_silent, in_words, nothing_captured, parked
from o2_connector.core.outcomes import Cause
from o2_connector.core.report import Counts, Detail, Silent
from o2_connector.core.window import Window, day_window

PAGE = Path(__file__).resolve().parents[2] / "docs" / "notices.md"
HEAD = """# What the people on call are told

Each notice, whole, with made-up days. It goes to `O2_ALERT_EMAIL` by e-mail, and to the notifier in `O2_NOTIFIER`;
nothing personal is in any. `tests/core/test_notices.py` keeps this page as it is.
"""
LONDON = ZoneInfo("Europe/London")
DAY = day_window(date(2026, 11, 20), LONDON)
ABOUT = Subject(
    window=DAY,
    zone=LONDON,
    on=DAY.end,
    look=(
        "The window on the archive's page: https://airflow.example.com/plugin/o2-archive/o2-archive/?window=…",
        "The run in Airflow: https://airflow.example.com/dags/o2_network_archive/runs/…",
        "The report: https://examplestorage.blob.core.windows.net/o2-archive/windows/…/report.….csv",
    ),
)
REPLAY = replace(ABOUT, window=None, on=datetime(2026, 11, 21, 7, tzinfo=UTC), replay=True, look=ABOUT.look[1:])
ENDED = {"reconcile": "failed"}
STANDING = Standing.read(
    {
        "extract": "success",
        "stage_to_blob_0": "success",
        "stage_to_blob_1": "success",
        "convert_0": "running",
        "convert_1": "up_for_retry",
        "map_mailboxes": None,
        "import_to_mailboxes": None,
        "reconcile": None,
    }
)
VERDICT = Fault(task="reconcile", kind="StopError", sentence="4 deliveries failed")


def detail(outcome: str, cause: str, item: str = "a") -> Detail:
    return Detail(item_id=item, outcome=outcome, cause=cause)


def every_notice() -> Iterator[tuple[str, Notice]]:
    refused = [
        *[detail("failed", "ErrorQuotaExceeded")] * 3,
        detail("failed", Cause.SOFT_DELETED),
        detail("partially imported", Cause.ATTACHMENT_GONE),
    ]
    nobody = [*[detail("parked", Cause.NO_ADDRESS)] * 4, detail("parked", Cause.UNLICENSED)]
    full = Counts(available_from_source=980, available_for_import=1204, imported=1190, skipped=10, failed=4)
    yield (
        "A day is late",
        failures.late(ABOUT, due=datetime(2026, 11, 21, 6, tzinfo=UTC), failed=False, standing=STANDING),
    )
    yield (
        "A replay of parked items is late",
        failures.late(REPLAY, due=datetime(2026, 11, 21, 13, tzinfo=UTC), failed=False, standing=failures.UNKNOWN),
    )
    yield (
        "A day failed: Graph refused deliveries",
        failures.failed(ABOUT, faults=[VERDICT], counts=full, details=refused),
    )
    yield (
        "A day failed: a task gave up",
        failures.failed(
            replace(ABOUT, look=ABOUT.look[:2]),
            faults=[
                fault_of("extract", StopError("TeleMessage refuses the login: correct the connection o2_telemessage.")),
                fault_of("reconcile", StopError("There is no book: extract did not finish.")),
            ],
        ),
    )
    yield (
        "A day failed: tasks were killed, and one met what nobody foresaw",
        failures.failed(
            ABOUT,
            faults=[fault_of("convert", KeyError("a personal value"))],
            standing=Standing.read({"convert_3": "failed", "import_to_mailboxes_0": "failed", **ENDED}),
            counts=Counts(available_from_source=980, available_for_import=1204, imported=700),
            contradictions=["items converted 900, items that the mapping decided 980"],
        ),
    )
    yield (
        "A day failed: something in staging was altered",
        failures.failed(
            ABOUT,
            faults=[fault_of("convert", IntegrityError("staging: windows/… should have sha256 ab…, but has cd…"))],
            standing=Standing.read({"convert": "failed", **ENDED}),
        ),
    )
    yield (
        "A day failed: the book does not balance",
        failures.failed(
            ABOUT,
            faults=[fault_of("reconcile", IntegrityError("The book does not balance"))],
            counts=replace(full, imported=1194, failed=0),
            contradictions=["items staged 980, items converted and rejected 979"],
        ),
    )
    yield (
        "A replay of parked items failed",
        failures.failed(
            REPLAY,
            faults=[
                fault_of("find_parked", StopError("The mapping cannot be used: north.csv:14: two rows for a number."))
            ],
        ),
    )
    yield "Items are parked", parked(ABOUT, details=nobody, new=5, waiting=2, days=0)
    yield "A replay finds parked items that were not told of", parked(REPLAY, details=nobody, new=1, waiting=0, days=17)
    yield (
        "A day has nothing",
        nothing_captured(
            ABOUT,
            before=[(day_window(date(2026, 11, day), LONDON), items) for day, items in ((13, 1204), (6, 1))],
        ),
    )
    yield (
        "Numbers fell silent",
        fell_silent(
            ABOUT,
            numbers=[Silent(place="north.csv:14", number="…123"), Silent(place="south.csv:2", number="…456")],
            days=7,
            in_all=3,
        ),
    )


def page() -> str:
    return HEAD + "".join(
        f"\n## {name}\n\n```text\n{notice.subject}\n\n{notice.text}```\n" for name, notice in every_notice()
    )


def test_every_notice_is_as_the_page_shows_it() -> None:
    if os.environ.get("GOLDEN_WRITE"):
        PAGE.write_text(page(), "utf-8")

    assert PAGE.read_text("utf-8") == page()


@pytest.mark.parametrize("notice", [pytest.param(notice, id=name) for name, notice in every_notice()])
def test_every_notice_names_the_day_and_says_what_to_do(notice: Notice) -> None:
    assert "November 2026" in notice.subject
    assert [heading for heading, _ in notice.parts] == [
        "What happened",
        "What it means for the archive",
        "What to do",
        "Where to look",
    ]
    assert notice == notice.as_text()


def test_an_error_is_quoted_only_where_its_sentences_hold_nothing_personal() -> None:
    assert fault_of("extract", RetryError("not closed yet")).sentence == "not closed yet"
    assert fault_of("extract", ValueError("+447700900123")).sentence is None


def test_what_foreign_names_hold_is_no_line_and_no_template_and_no_mark_up() -> None:
    foreign = ("batch {{ conf }}\r\n\r\n{% x %} {# y #} <b>", "{{{ conf }} {{{{% x %}\x1b[2J\u202e")
    notice = replace(next(every_notice())[1], subject="a\nb", happened=foreign).as_text()

    assert notice.subject == "a b"
    assert notice.happened == ("batch { { conf }} { % x %} { # y #} <b>", "{ { { conf }} { { { { % x %}[2J")
    assert "&lt;b&gt;" in notice.html


def test_of_very_many_causes_and_numbers_the_first_are_told_and_the_rest_counted() -> None:
    numbers = [Silent(place=f"north.csv:{line}", number="…123") for line in range(2, 1002)]

    told = fell_silent(ABOUT, numbers=numbers, days=7, in_all=1000).happened

    assert len(told) == 22
    assert told[-1] == "- and 980 more, which the report names"


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [
        ("2026-03-29T00:00Z", "2026-03-29T23:00Z", "Sunday 29 March 2026"),
        ("2026-10-24T23:00Z", "2026-10-26T00:00Z", "Sunday 25 October 2026"),
        (
            "2026-11-20T00:00Z",
            "2026-11-20T12:00Z",
            "20 November 2026, 00:00 to 20 November 2026, 12:00 (Europe/London)",
        ),
    ],
)
def test_a_window_that_is_a_day_is_called_by_its_date(start: str, end: str, name: str) -> None:
    window = Window(start=datetime.fromisoformat(start), end=datetime.fromisoformat(end))

    assert in_words(window, LONDON) == name


def test_a_run_that_asked_for_no_window_that_there_can_be_is_called_by_when_it_began() -> None:
    assert replace(ABOUT, window=None).name == "the run on Saturday 21 November 2026"
    assert replace(ABOUT, dry_run=True).whole == "The dry run of Friday 20 November 2026"
