"""``status`` is the archive page's table for a terminal: what is archived, what is not, and what to do about it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from o2_connector.commands import __main__ as commands
from o2_connector.core.layout import REPLAYS, WINDOWS, run_stem
from o2_connector.core.report import Counts, Report
from o2_connector.core.window import Window, day_window, last_complete_day
from o2_connector.engine.chain import Closed, close
from o2_connector.hooks.staging import StagingHook

LONDON = ZoneInfo("Europe/London")
YESTERDAY = last_complete_day(datetime.now(UTC), LONDON).start.astimezone(LONDON).date()


@dataclass(kw_only=True)
class Days:
    """Hold a staging with books, and ask how it stands."""

    folder: Path
    read: Callable[[], str]

    def book(self, day: date, *, replay: bool = False, hours: float = 0.1, until: int = 24, **counts: int) -> None:
        """Close the book of a day: a hundred items, all of them in the mailboxes unless it is said otherwise.

        :param until: the hour of the day at which its window ends.
        """
        full = dict.fromkeys(("available_from_source", "staged", "converted", "decided"), 100)
        made = {"items_with_deliveries": 100, "available_for_import": 100, "imported": 100}
        window, staging = day_window(day, LONDON), StagingHook()
        if until < 24:
            window = Window(start=window.start, end=window.start + timedelta(hours=until))
        began = window.end + timedelta(hours=1)
        report = Report(
            window=window,
            run_id="run",
            completed_at=began + timedelta(hours=hours),
            dry_run=False,
            counts=Counts(**{**full, **made, **counts}),
            details=(),
            mapping_sha256=None,
            replay=replay,
        )
        stem = run_stem(window, "run", REPLAYS if replay else WINDOWS)
        staged = []
        for suffix in (".json", ".csv"):
            with staging.writer(f"{stem}report.", suffix) as out:
                out.write(b"{}")
            staged.append(out.staged)
        close(staging, Closed(report=report, started_at=began, json=staged[0], csv=staged[1]), [])

    def ask(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
        """Return status and output."""
        monkeypatch.setattr(sys, "argv", ["o2-archive", "status", *arguments])
        status = commands.main()
        return status, self.read()


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Days:
    staging = tmp_path / "staging"
    connection = {"conn_type": "fs", "extra": {"path": str(staging)}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(connection))
    monkeypatch.setenv("O2_TIMEZONE", "Europe/London")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "nothing-here"))
    monkeypatch.delenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")
    return Days(folder=staging, read=lambda: capsys.readouterr().out)


def back(number: int) -> date:
    return YESTERDAY - timedelta(days=number)


def rows(output: str) -> dict[str, str]:
    """Return the table's rows by their days."""
    table = output.split("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: " ".join(line.split()[1:]) for line in table}


def test_every_day_is_a_row_with_the_books_numbers_the_newest_first(
    days: Days, monkeypatch: pytest.MonkeyPatch
) -> None:
    days.book(back(1), available_from_source=1200, staged=1200, converted=1199, rejected=1, decided=1199, parked=1099)
    days.book(back(0), hours=1.5)

    status, output = days.ask(monkeypatch)

    assert status == 0
    assert list(rows(output)) == [str(back(0)), str(back(1))]
    assert rows(output)[str(back(0))] == "archived 100 100 100 0 0 0 0 0 1 h 30 m"
    assert rows(output)[str(back(1))] == "archived 1,200 100 100 0 0 0 1,099 1 6 m 00 s"
    assert "2 windows: 2 archived." in output
    assert "Every day is archived." in output


def test_a_gap_stands_out_and_is_the_oldest_day_that_is_not_archived(
    days: Days, monkeypatch: pytest.MonkeyPatch
) -> None:
    days.book(back(3))
    days.book(back(0))

    status, output = days.ask(monkeypatch)

    assert status == 1
    assert rows(output)[str(back(2))] == "not archived"
    assert f"The oldest day that is not, or not wholly, archived is {back(2)}, for 2 days." in output
    assert "Nobody has archived the day: trigger o2_network_archive for it, or create a backfill." in output


def test_a_day_that_is_archived_in_part_is_named_and_is_status_1(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    days.book(back(1), until=12)
    days.book(back(0))

    status, output = days.ask(monkeypatch)

    assert status == 1
    assert "2 windows: 2 archived." in output
    assert f"Archived in part only: {back(1)}." in output
    assert days.ask(monkeypatch, str(back(0)))[0] == 0


def test_days_of_which_there_is_nothing_are_no_empty_archive(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    days.book(back(0))

    status, output = days.ask(monkeypatch, str(back(1)))

    assert (status, output.splitlines()[0]) == (1, f"Nothing of {back(1)} is archived.")
    assert days.ask(monkeypatch, "")[0] == 2


def test_where_no_day_is_due_none_is_called_archived(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    days.book(back(0))
    monkeypatch.setenv("O2_FIRST_DAY", str(YESTERDAY + timedelta(days=30)))

    assert "No day is due yet." in days.ask(monkeypatch)[1]


def test_failures_a_book_that_does_not_balance_and_a_late_day_are_told_with_what_to_do(
    days: Days, monkeypatch: pytest.MonkeyPatch
) -> None:
    days.book(back(2), imported=97, failed=3)
    days.book(back(1), imported=99)
    days.book(back(0), hours=7)

    status, output = days.ask(monkeypatch)

    assert status == 1
    assert rows(output)[str(back(2))].startswith("with failures 100 100 97 0 0 3")
    assert rows(output)[str(back(1))].startswith("does not balance")
    assert rows(output)[str(back(0))].startswith("archived, late")
    assert "1 window took longer than allowed." in output
    assert "the report has their causes and what to do" in output
    assert "something is lost or counted twice" in output


def test_the_last_replay_is_told(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    days.book(back(0))
    days.book(back(0), replay=True, parked=7, available_for_import=93, items_with_deliveries=93, imported=93)

    _, output = days.ask(monkeypatch)

    assert "93 delivered, 7 still parked, 0 waiting for somebody." in output
    assert len(rows(output)) == 1


def test_days_that_are_asked_for_are_shown_alone(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        days.book(back(number))

    assert len(rows(days.ask(monkeypatch)[1])) == 31
    assert list(rows(days.ask(monkeypatch, str(back(39)))[1])) == [str(back(39))]
    assert len(rows(days.ask(monkeypatch, f"{back(39)}..{back(30)}")[1])) == 10


def test_a_script_gets_json(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    days.book(back(1), imported=97, failed=3)

    status, output = days.ask(monkeypatch, "--json")

    gap, book = map(json.loads, output.splitlines())
    window = day_window(back(1), LONDON)
    assert status == 1
    assert (gap["state"], gap["imported"], gap["report"]) == ("not archived", None, None)
    assert book["window"] == {"start": window.start.isoformat(), "end": window.end.isoformat()}
    assert (book["state"], book["imported"], book["failed"], book["seconds"]) == ("with failures", 97, 3, 360)
    assert (days.folder / book["report"]).is_file()


def test_an_empty_archive_says_how_to_begin(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Nothing is archived yet. Unpause o2_network_archive" in days.ask(monkeypatch)[1]


@pytest.mark.parametrize("database", ["", "sqlite:////nowhere/airflow.db"])
def test_where_airflow_cannot_be_asked_the_books_are_shown_and_it_is_said(
    days: Days, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    days.book(back(0))
    if database:
        monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", database)

    program = Path(sys.executable).parent / "o2-archive"  # a process of its own: Airflow opens one database in each
    said = subprocess.run([program, "status"], capture_output=True, text=True, timeout=120)

    assert said.returncode == 0
    assert "Airflow was not asked" in said.stdout
    assert "A run that failed before its book, or that is at work, is not known." in said.stdout


def test_an_altered_link_is_named_and_is_no_archived_day(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    days.book(back(0))
    (link,) = (days.folder / "chain").iterdir()
    link.chmod(0o600)
    link.write_bytes(link.read_bytes().replace(b"100", b"101"))

    status, output = days.ask(monkeypatch)

    assert status == 1
    assert f"chain/{link.name} is not what it was: `o2-archive verify` says what else is not." in output
    assert days.ask(monkeypatch, "--json") == (1, "")
