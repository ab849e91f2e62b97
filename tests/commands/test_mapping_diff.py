"""``mapping-diff`` tells what changed mapping files would do to days that are archived, and does nothing of it."""

from __future__ import annotations

import logging
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from o2_connector.commands import __main__ as commands
from o2_connector.commands.windows import span_of
from o2_connector.core.errors import StopError
from o2_connector.core.window import Window
from tests.archive import YESTERDAY, ZONE, Archive, archive
from tests.test_end_to_end import copies

ITEMS, USERS = 60, 14
WINDOW = Window(start=YESTERDAY, end=YESTERDAY + timedelta(days=1))
DAY_BEFORE = Window(start=YESTERDAY - timedelta(days=1), end=YESTERDAY)


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Archive two days; the tests that share them change nothing but copies of the mapping files."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        archive(tmp_path_factory.mktemp("archived"), monkeypatch, items=ITEMS, users=USERS) as running,
    ):
        running.run("manual__0", start=DAY_BEFORE.start)
        running.run("manual__1")
        yield running


@pytest.fixture
def line(archived: Archive, tmp_path: Path) -> Archive:
    """Lend the archive, with the mapping files as a draft that can be changed."""
    draft = tmp_path / "draft"
    shutil.copytree(archived.mappings, draft)
    return Archive(sandbox=archived.sandbox, staging=archived.staging, mappings=draft)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """Run an archive that one test has for itself."""
    with archive(tmp_path, monkeypatch, items=ITEMS, users=USERS) as running:
        yield running


@dataclass(kw_only=True)
class Told:
    """Hold what the command said.

    :param lines: of the table of windows, by what they begin with: the words behind it.
    """

    status: int
    out: str
    err: str

    @property
    def lines(self) -> dict[str, list[str]]:
        table = [row for row in self.out.split("\n\n")[0].splitlines() if not row.startswith(("To the", "Left out"))]
        return {row.partition("  ")[0]: row.partition("  ")[2].split() for row in table}

    @property
    def counts(self) -> dict[str, int]:
        """Return the counts of the last line of the table of windows."""
        words = list(self.lines.values())[-1]
        places = {"unchanged": 0, "added": 1, "moved": 2, "lost": 3, "parked before": 4, "parked after": 6}
        return {name: int(words[place]) for name, place in places.items()}

    @property
    def numbers(self) -> list[list[str]]:
        """Return the table of numbers."""
        return [row.split() for row in self.out.splitlines() if row.startswith("…")]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Ask]:
    yield Ask(monkeypatch=monkeypatch, capsys=capsys)
    logging.disable(logging.NOTSET)


@dataclass(kw_only=True)
class Ask:
    """Call the command."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, line: Archive, window: str = WINDOW.name) -> Told:
        self.monkeypatch.setattr(sys, "argv", ["commands", "mapping-diff", window, str(line.mappings)])
        logging.disable(logging.WARNING)  # as Airflow's log is when it is called as a program
        self.capsys.readouterr()
        status = commands.main()
        told = self.capsys.readouterr()
        return Told(status=status, out=told.out, err=told.err)


def unmapped(line: Archive) -> list[str]:
    """Return the numbers of the organisation's people who have no mailbox."""
    return [person.phone for person in line.sandbox.world.people if person.user is None]


def somebody(line: Archive, place: int = 0) -> str:
    """Return the address of somebody who has a mailbox."""
    return [user for user in line.sandbox.world.directory if user.mailbox == "ok"][place].user_principal_name


def enrol(line: Archive, *numbers: str, address: str, file: str = "later.csv") -> None:
    lines = ["ExternalUserId,O365UserMailbox", *(f"{number},{address}" for number in numbers)]
    (line.mappings / file).write_text("\n".join(lines) + "\n")


def rows_of(line: Archive) -> list[str]:
    return (line.mappings / "phones.csv").read_text().splitlines()


def write_rows(line: Archive, rows: list[str]) -> None:
    (line.mappings / "phones.csv").write_text("\n".join(rows) + "\n")


def row_of(line: Archive, kind: str) -> int:
    """Return the place among the lines of the row of somebody of a kind."""
    phone = next(person.phone for person in line.sandbox.world.people if person.kind == kind)
    return next(at for at, row in enumerate(rows_of(line)) if row.partition(",")[0].replace(" ", "")[-9:] == phone[-9:])


def test_the_same_files_change_nothing(line: Archive, ask: Ask) -> None:
    told = ask(line)

    there = sum(key in keys_of(line, WINDOW) for key, _ in copies(line))
    assert told.status == 0
    assert told.counts == {
        **dict.fromkeys(("added", "moved", "lost"), 0),
        "unchanged": there,
        "parked before": told.counts["parked after"],
        "parked after": told.counts["parked after"],
    }
    assert told.counts["parked before"] > 0
    assert "every delivery stays as it is" in told.out
    assert told.numbers == []


def keys_of(line: Archive, window: Window) -> set[str]:
    from o2_connector.core.identity import item_key

    return {item_key(item["itemId"]) for item in line.items(start=window.start)}


def test_what_it_counts_is_what_running_the_day_again_delivers(own: Archive, ask: Ask) -> None:
    own.run("manual__1")
    there = copies(own)
    enrol(own, *unmapped(own), address=somebody(own))
    write_rows(own, [re.sub(",.*", f",{somebody(own, 4)}", row) if at == 2 else row for at, row in rows(own)])

    told = ask(own)
    again = own.run("manual__2")

    assert told.counts["added"] > 0
    assert told.counts["moved"] > 0
    assert again["imported"] + again["partially_imported"] == told.counts["added"] + told.counts["moved"]
    assert len(copies(own)) == len(there) + told.counts["added"] + told.counts["moved"]
    assert again["skipped"] == told.counts["unchanged"]
    assert again["parked"] == told.counts["parked after"]
    assert set(copies(own).values()) == {1}


def rows(line: Archive) -> list[tuple[int, str]]:
    return list(enumerate(rows_of(line)))


def test_a_row_that_is_taken_out_loses_what_nothing_else_leads_to(line: Archive, ask: Ask) -> None:
    at = row_of(line, "no property")
    write_rows(line, [row for place, row in rows(line) if place != at])

    told = ask(line)

    assert told.counts["lost"] > 0
    assert (told.counts["added"], told.counts["moved"]) == (0, 0)
    assert told.counts["parked after"] > told.counts["parked before"]
    assert [row[-1] for row in told.numbers] == ["none"]
    assert "nothing is taken out of a mailbox" in told.out


def test_each_number_has_the_line_of_its_row(line: Archive, ask: Ask) -> None:
    at = row_of(line, "no property")
    phone = next(person.phone for person in line.sandbox.world.people if person.kind == "no property")
    write_rows(line, [re.sub(",.*", f",{somebody(line, 5)}", row) if place == at else row for place, row in rows(line)])

    told = ask(line)

    assert told.numbers == [[f"…{phone[-3:]}", "0", str(told.counts["moved"]), "0", f"phones.csv:{at + 1}"]]
    assert told.counts["moved"] > 0


def test_days_are_a_line_each_and_a_line_for_all(line: Archive, ask: Ask) -> None:
    enrol(line, *unmapped(line), address=somebody(line))
    days = [f"{window.start.astimezone(ZoneInfo(ZONE)):%Y-%m-%d}" for window in (DAY_BEFORE, WINDOW)]
    span = Window(start=DAY_BEFORE.start, end=WINDOW.end)

    told = ask(line, span.name)
    each = [ask(line, window.name).counts for window in (DAY_BEFORE, WINDOW)]

    names = list(told.lines)
    assert names[0] == "window"
    assert names[-1] == "total"
    assert len(names) == 4
    assert all(name.startswith(day) for name, day in zip(names[1:3], days, strict=True))
    assert told.counts == {name: sum(one[name] for one in each) for name in told.counts}


def test_what_a_replay_has_delivered_meanwhile_is_there(own: Archive, ask: Ask) -> None:
    own.run("manual__1")
    enrol(own, *unmapped(own), address=somebody(own))
    before = ask(own)

    own.replay()
    after = ask(own)

    assert before.counts["added"] > 0
    assert before.counts["parked after"] == 0
    assert after.counts == {
        **before.counts,
        "unchanged": before.counts["unchanged"] + before.counts["added"],
        "added": 0,
        "parked before": 0,
    }


def test_nothing_is_written_but_what_the_directory_said(line: Archive, ask: Ask) -> None:
    enrol(line, *unmapped(line), address=somebody(line, 6))
    names = {path for path in line.staging.rglob("*") if path.is_file()}
    there = line.messages()

    told = ask(line)

    new = {path for path in line.staging.rglob("*") if path.is_file()} - names
    # Owners: a mailbox is asked whether it is there by one task at a time.
    assert {path.relative_to(line.staging).parts[0] for path in new} <= {"directory", "owners"}
    assert line.messages() == there
    assert told.counts["added"] > 0


def test_nothing_personal_is_shown(line: Archive, ask: Ask) -> None:
    enrol(line, *unmapped(line), address=somebody(line))
    write_rows(line, [row for place, row in rows(line) if place != row_of(line, "no property")])

    told = ask(line)

    shown = told.out + told.err
    digits = re.sub(r"[^0-9\n]", "", shown)
    assert "@" not in shown
    assert told.numbers
    for person in line.sandbox.world.people:
        assert person.phone[-9:] not in digits
        assert person.name not in shown


def test_a_mapping_that_contradicts_itself_is_told_and_nothing_is_asked(
    line: Archive, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_O2_GRAPH")
    enrol(line, "07700 900321", address=somebody(line), file="a.csv")
    enrol(line, "+44 7700 900321", address=somebody(line, 1), file="b.csv")

    told = ask(line)

    assert told.status == 1
    first, last = told.out.splitlines()
    assert first.startswith("a.csv:2: error: one number (…321) has 2 mailboxes at once: here and in b.csv:2")
    assert last == "Nothing was compared, for a run could not use these files: 1 error"


def test_a_window_that_nobody_archived_is_no_answer(line: Archive, ask: Ask) -> None:
    told = ask(line, "2020-02-01..2020-02-03")

    assert (told.status, told.out) == (2, "")
    assert told.err.startswith("No run has archived a window that lies in 2020-02-01..2020-02-03. ")


def test_a_window_that_only_shares_time_is_named(line: Archive, ask: Ask) -> None:
    half = Window(start=WINDOW.start, end=WINDOW.start + timedelta(hours=12))

    told = ask(line, half.name)

    assert (told.status, told.out) == (2, "")
    assert f"these share time with it: {WINDOW.name}." in told.err


def test_a_longer_window_beside_those_that_were_asked_for_is_named_at_the_end(line: Archive, ask: Ask) -> None:
    span = Window(start=DAY_BEFORE.start + timedelta(hours=1), end=WINDOW.end)

    told = ask(line, span.name)

    assert told.status == 0
    assert list(told.lines)[-1] != "total"
    assert told.out.splitlines()[-1] == f"Not compared, for they reach beyond {span.name}: {DAY_BEFORE.name}"


def test_a_day_that_was_mapped_without_delivering_is_left_out(own: Archive, ask: Ask) -> None:
    own.run("manual__1", dry_run=True)
    alone = ask(own)
    own.run("manual__0", start=DAY_BEFORE.start)
    both = ask(own, Window(start=DAY_BEFORE.start, end=WINDOW.end).name)

    assert (alone.status, alone.out) == (2, "")
    assert both.status == 0
    assert len(both.lines) == 2
    assert "Left out, for no run has delivered from them: 1 window\n" in both.out


def test_the_directorys_numbers_and_the_catch_all_count_where_they_are_switched_on(
    line: Archive, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = row_of(line, "no property")
    write_rows(line, [row for place, row in rows(line) if place != at])
    without = ask(line)
    monkeypatch.setenv("O2_DIRECTORY_NUMBERS", "true")
    by_number = ask(line)
    monkeypatch.setenv("O2_CATCH_ALL", somebody(line, 5))
    caught = ask(line)

    assert without.counts["lost"] > 0
    assert by_number.counts["lost"] == 0
    assert by_number.counts["unchanged"] > without.counts["unchanged"]
    left = by_number.counts["parked after"]
    assert left > 0
    assert caught.counts == {**by_number.counts, "parked after": 0}
    assert f"To the catch-all mailbox: 0 → {left} items that nobody else gets" in caught.out


def test_what_the_last_run_did_by_the_directorys_numbers_and_the_catch_all_is_no_change(
    own: Archive, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = row_of(own, "no property")
    write_rows(own, [row for place, row in rows(own) if place != at])
    own.settings |= {"directory_numbers": True, "catch_all": somebody(own, 5)}
    own.run("manual__1")
    monkeypatch.setenv("O2_DIRECTORY_NUMBERS", "true")
    monkeypatch.setenv("O2_CATCH_ALL", somebody(own, 5))

    same = ask(own)
    monkeypatch.delenv("O2_DIRECTORY_NUMBERS")
    monkeypatch.delenv("O2_CATCH_ALL")
    without = ask(own)

    assert (same.counts["added"], same.counts["moved"], same.counts["lost"]) == (0, 0, 0)
    assert (same.counts["parked before"], same.counts["parked after"]) == (0, 0)
    assert (without.counts["added"], without.counts["moved"]) == (0, 0)
    assert without.counts["lost"] > 0
    assert without.counts["parked before"] == 0
    assert without.counts["parked after"] > 0


LONDON = ZoneInfo("Europe/London")


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-01..2026-11-21", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)),
        # The clocks change: 25 hours, and a summer's day.
        ("2026-10-25", datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC)),
        ("2026-07-01", datetime(2026, 6, 30, 23, tzinfo=UTC), datetime(2026, 7, 1, 23, tzinfo=UTC)),
        (
            "20261120T000000Z--20261121T003000Z",
            datetime(2026, 11, 20, tzinfo=UTC),
            datetime(2026, 11, 21, 0, 30, tzinfo=UTC),
        ),
    ],
)
def test_a_window_can_be_named_in_three_ways(text: str, start: datetime, end: datetime) -> None:
    assert span_of(text, LONDON) == Window(start=start, end=end)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("yesterday", "is no window: write a day like 2026-11-21"),
        ("21.11.2026", "is no window"),
        ("2026-11-31", "is no window"),
        ("2026-11-01..x", "is no window"),
        ("..", "is no window"),
        ("2026-11-21..", "is no window"),
        ("20261121T000000Z--20261120T000000Z", "is no window"),
        ("9999-12-31", "is no window"),
        ("2026-11-21..2026-11-01", "ends before it begins"),
    ],
)
def test_what_is_no_window_is_told(text: str, told: str) -> None:
    with pytest.raises(StopError, match=told):
        span_of(text, LONDON)
