"""``export`` writes a window into a folder, and says whether it is everything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from o2_connector.commands import __main__ as commands
from o2_connector.core.window import Window
from tests.engine.evidence import Evidence, evidence_in, record
from tests.engine.small import DAY


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evidence]:
    for evidence in evidence_in(tmp_path, monkeypatch):
        evidence.archive([record("o2-1"), record("o2-2")])
        yield evidence


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["o2-archive", "export", *arguments])
    return commands.main()


@pytest.mark.parametrize("form", ["eml", "jsonl", "rsmf"])
def test_a_whole_window_is_status_0_and_says_how_it_is_checked(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    target = evidence.folder / "out"

    assert run(monkeypatch, "2026-11-20", "--to", str(target), "--format", form) == 0

    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{target}: 2026-11-20, ")
    assert told[1] == "Items: 2 of the source, 2 exported, 0 rejected, 0 not exported"
    assert "texts, numbers, names and addresses" in told[2]
    command = told[3].partition(": ")[2]
    assert subprocess.run(["sh", "-c", command], capture_output=True).returncode == 0


def test_what_is_missing_is_status_1_and_named(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = evidence.spoil("/raw/")

    assert run(monkeypatch, DAY.name, "--to", str(evidence.folder / "out"), "--format", "jsonl") == 1

    told = capsys.readouterr().out
    assert "0 exported, 0 rejected, 2 not exported" in told
    assert f"Not whole: batch b0: staging: {name} was written as" in told


def test_what_cannot_be_is_status_2(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(evidence.folder / "out")
    evidence.archive([record()], Window(start=DAY.end, end=DAY.end + timedelta(days=1)))

    assert run(monkeypatch, "2026-11-19", "--to", target, "--format", "eml") == 2
    assert run(monkeypatch, "2026-11-20..2026-11-21", "--to", target, "--format", "eml") == 2
    assert run(monkeypatch, "2026-11-20", "--to", str(evidence.folder), "--format", "eml") == 2

    none, several, taken = capsys.readouterr().err.splitlines()
    assert "No run has archived a window that lies in 2026-11-19" in none
    assert "2026-11-20..2026-11-21 is not one window, but shares time with 2: name one of them: 20261120T" in several
    assert "is no empty directory" in taken
    assert not Path(target).exists()


def test_a_day_of_which_a_part_alone_is_archived_is_not_exported_as_the_day(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = Window(start=DAY.end, end=DAY.end + timedelta(hours=12))
    evidence.archive([record()], half)

    assert run(monkeypatch, "2026-11-21", "--to", str(evidence.folder / "out"), "--format", "eml") == 2
    assert (
        f"2026-11-21 is not one window, but shares time with 1: name one of them: {half.name}"
        in capsys.readouterr().err
    )
    assert run(monkeypatch, half.name, "--to", str(evidence.folder / "out"), "--format", "eml") == 0


def test_a_folder_with_a_space_in_its_name_can_be_checked_as_it_is_said(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "2026-11-20", "--to", str(evidence.folder / "for the court"), "--format", "eml")

    command = capsys.readouterr().out.splitlines()[-1].partition(": ")[2]
    assert subprocess.run(["sh", "-c", command], capture_output=True).returncode == 0


def test_nothing_personal_is_said(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "2026-11-20", "--to", str(evidence.folder / "out"), "--format", "eml")

    told = "".join(capsys.readouterr())
    assert not any(each in told for each in ("7700", "Kim", "alex@example.com", "See you at ten."))
