"""``check-mapping`` tells an admin everything that is not right, and scripts whether a run could use the mapping."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from o2_connector.commands import __main__ as commands

HEAD = "ExternalUserId,O365UserMailbox\n"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["commands", *arguments])
    return commands.main()


def test_a_mapping_that_is_right_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "phones.csv").write_text(HEAD + "".join(f"+447700900{n:03},u{n}@example.com\n" for n in range(1000)))

    assert run(monkeypatch, "check-mapping", str(tmp_path)) == 0
    assert capsys.readouterr().out == "1 file, 1,000 rows, 1,000 numbers: nothing to mend\n"


def test_every_finding_is_a_line_and_the_last_line_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.csv").write_text(f"{HEAD}07700 900321,alex@example.com\n07700 900321,alex@example.com\n60777,x\n")
    (tmp_path / "c.csv").write_text(f"{HEAD}07700 900321,kim@example.com\n07700 900456,kim@example.com\n")
    (tmp_path / "a.xlsx").write_text("x")

    status = run(monkeypatch, "check-mapping", str(tmp_path))

    *lines, summary = capsys.readouterr().out.splitlines()
    assert status == 1
    assert [line.split(": ")[:2] for line in lines] == [
        ["a.xlsx", "warning"],
        ["b.csv:2", "error"],
        ["b.csv:4 column A (ExternalUserId)", "error"],
        ["b.csv:4 column B (O365UserMailbox)", "error"],
    ]
    assert summary == "2 files, 4 rows, 2 numbers: 3 errors, 1 warning"


def test_notes_and_warnings_are_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(HEAD)
    (tmp_path / "b.csv").write_text("Phone,Email,Name\n+447700900321,alex@example.com,Alex\n")

    assert run(monkeypatch, "check-mapping", str(tmp_path)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 files, 1 row, 1 number: 1 warning, 1 note"


def test_a_folder_that_is_not_there_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check-mapping", str(tmp_path / "gone")) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "told"), [("O2_REGION", "UK", "ISO 3166"), ("O2_TIMEZONE", "London", "is no time zone")]
)
def test_a_setting_that_cannot_be_is_no_answer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    told: str,
) -> None:
    (tmp_path / "a.csv").write_text(f"{HEAD}07700 900321,alex@example.com\n")
    monkeypatch.setenv(name, value)

    assert run(monkeypatch, "check-mapping", str(tmp_path)) == 2
    assert told in capsys.readouterr().err


def test_the_settings_are_those_of_the_dag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(f"{HEAD}06 12 34 56 00,alex@example.com\n")
    monkeypatch.setenv("O2_REGION", "FR")

    assert run(monkeypatch, "check-mapping", str(tmp_path)) == 0


def test_a_line_is_wrapped_between_words_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(f"{HEAD}60777,alex@example.com\n")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    run(monkeypatch, "check-mapping", str(tmp_path))

    first, second, _ = capsys.readouterr().out.splitlines()
    assert first == "a.csv:2 column A (ExternalUserId): error: this is a short code, and no"
    assert second.startswith("    subscriber's number (…777); ")


def test_the_command_runs_as_the_makefile_calls_it(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "o2_connector.commands", "check-mapping", str(tmp_path)]

    ended = subprocess.run(command, env={"PYTHONPATH": str(root / "plugins")}, capture_output=True, text=True)

    assert (ended.returncode, ended.stdout) == (0, "0 files, 0 rows, 0 numbers: nothing to mend\n")
