"""``explain`` says what became of one item, to a person and to a script, and nothing of whom it is about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from o2_connector.commands import __main__ as commands
from o2_connector.core.identity import message_id
from o2_connector.core.outcomes import Cause
from o2_connector.core.window import Window
from tests.engine.evidence import ALEX, Evidence, evidence_in, record
from tests.engine.small import DAY

ROOT = Path(__file__).resolve().parents[2]
PERSONAL = ("7700900123", "7700 900456", "Kim Akers", "Alex Wilber", "alex@example.com")
TEXT = "Another text."
LATER = Window(start=DAY.end, end=DAY.end + timedelta(days=1))


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """Archive two days; nothing is changed after that."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for evidence in evidence_in(tmp_path_factory.mktemp("archived"), monkeypatch):
            lines = [
                record("o2-1"),
                record("o2-parked", to=[{"phone": "+447700900999"}]),
                record("o2-rejected", direction="SIDEWAYS"),
                record("o2-1", text=TEXT),
                record("o2-edit", relatesTo={"itemId": "o2-1", "action": "EDIT"}),
            ]
            evidence.archive(lines, run="scheduled__1")
            evidence.archive(lines, run="manual__dry", dry_run=True)
            evidence.archive([record("o2-later")], LATER)
            evidence.stage([record("o2-staged")], "b9", LATER)
            yield evidence


@pytest.fixture(autouse=True)
def staging(archived: Evidence) -> Path:
    """Be where the archive is."""
    return archived.root


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["o2-archive", "explain", *arguments])
    return commands.main()


def paragraphs(text: str) -> dict[str, list[str]]:
    """Return the paragraphs by their first lines, each fact of one line without the spaces between."""
    found = (each.splitlines() for each in text.rstrip("\n").split("\n\n"))
    return {first: [" ".join(line.split()) for line in rest] for first, *rest in found}


def test_every_stage_is_a_paragraph(
    archived: Evidence, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "o2-later") == 0

    told = paragraphs(capsys.readouterr().out)
    assert list(told) == ["Item o2-later", "Captured", "Staged", "Converted", "Decided by run run"]
    assert told["Item o2-later"][0] == f"Message-ID {message_id('o2-later')}"
    assert told["Captured"] == [
        "captured 2026-11-20 09:30:15 UTC",
        "sent 2026-11-20 09:30:15 UTC",
        "what SMS INBOUND DELIVERED",
        "from …456",
        "to …123",
        f"window {LATER.name}",
    ]
    assert told["Staged"][0].endswith(", line 1")
    assert told["Converted"][0] == "converter version 2"
    assert "mailbox mailbox-of-alex, by mapping file a.csv:2" in told["Decided by run run"]
    assert told["Decided by run run"][-1].startswith("imported 2026-11-22")


def test_a_dry_run_is_called_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "o2-1")

    told = paragraphs(capsys.readouterr().out)
    assert "a dry run: nothing was written to a mailbox" in told["Decided by dry run manual__dry"]
    assert not any("imported" in line for line in told["Decided by dry run manual__dry"])


def test_two_records_of_one_id_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "o2-1")

    out = capsys.readouterr().out
    assert out.count("\nCaptured\n") == out.count("\nConverted\n") == 2
    assert f" UTC: {Cause.CONFLICTING_ITEM}" in out
    assert out.count("the record with SHA-256") >= 2


def test_what_waits_says_since_when_for_whom_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "o2-parked")

    told = paragraphs(capsys.readouterr().out)
    assert told["Waits since 2026-11-22 00:10:00 UTC"] == [
        "for …456, …999",
        f"because {Cause.NO_ADDRESS}",
        "meanwhile nobody gets it",
        "remedy add the participant's number to a mapping file",
    ]


def test_a_reject_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "o2-rejected") == 0

    assert "It breaks the contract:" in paragraphs(capsys.readouterr().out)["Rejected"][0]


def test_what_was_staged_alone_says_that_no_run_has_come_further(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "o2-staged") == 0

    assert {"Not converted", "Not decided on"} <= paragraphs(capsys.readouterr().out).keys()


def test_what_edits_another_names_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "o2-edit")

    assert "relates to EDITS item o2-1, which stays as it was" in paragraphs(capsys.readouterr().out)["Captured"]


def test_no_such_item_is_status_1_and_says_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "o2-none") == 1

    assert capsys.readouterr().out == f"There is no item o2-none in 2 windows, {DAY.name} to {LATER.name}.\n"


def test_one_window_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "o2-1", "--window", LATER.name) == 1
    assert run(monkeypatch, "o2-1", "--window", "2026-11-20") == 0
    assert run(monkeypatch, "o2-1", "--window", "someday") == 2

    assert "is no window" in capsys.readouterr().err


@pytest.mark.parametrize("item_id", ["", "a\nb", "\udcff"])
def test_what_can_be_no_id_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], item_id: str
) -> None:
    assert run(monkeypatch, item_id) == 2

    assert "is no item id" in capsys.readouterr().err


@pytest.mark.parametrize("item_id", ["o2-1", "o2-parked", "o2-rejected", "o2-edit"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_nothing_personal_is_shown_unless_it_is_asked_for_and_the_text_never(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], item_id: str, form: tuple[str, ...]
) -> None:
    run(monkeypatch, item_id, *form)
    out = capsys.readouterr().out
    assert not any(each in out for each in (*PERSONAL, TEXT, "ten."))

    run(monkeypatch, item_id, *form, "--show-personal")
    out = capsys.readouterr().out
    assert item_id == "o2-rejected" or "Kim Akers" in out
    assert TEXT not in out
    assert "ten." not in out


def test_a_script_gets_one_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "o2-1", "--json", "--show-personal") == 0

    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["item_id"] == "o2-1"
    assert told["records"][0]["recipients"] == [{"phone": ALEX, "email": "alex@example.com", "name": "Alex Wilber"}]
    assert [each["run_id"] for each in told["decisions"]] == ["scheduled__1", "manual__dry"]
    assert told["decisions"][0]["deliveries"][0]["address"] == "alex@example.com"


def test_what_is_altered_is_named_and_makes_no_such_item_uncertain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for evidence in evidence_in(tmp_path, monkeypatch):
        evidence.archive([record()])
        name = evidence.spoil("index.")

        assert run(monkeypatch, "o2-none") == 2
        told = capsys.readouterr()
        assert name in told.out
        assert "not everything could be read" in told.err


def test_what_is_altered_of_an_item_that_is_there_is_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for evidence in evidence_in(tmp_path, monkeypatch):
        evidence.archive([record()])
        name = evidence.spoil("/receipts.")

        assert run(monkeypatch, "o2-1") == 1
        assert name in capsys.readouterr().out


def test_the_environment_alone_is_enough_and_airflow_is_not_started(archived: Evidence, tmp_path: Path) -> None:
    program = (
        "import sys; from o2_connector.commands.__main__ import main; main();"
        " print(sorted({'airflow', 'pandas', 'numpy', 'azure'} & set(sys.modules)), file=sys.stderr)"
    )
    environ = {
        "PYTHONPATH": str(ROOT / "plugins"),
        "HOME": str(tmp_path),
        "AIRFLOW_CONN_O2_STAGING": os.environ["AIRFLOW_CONN_O2_STAGING"],
    }
    command = [sys.executable, "-c", program, "explain", "o2-1"]

    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)

    assert ended.stdout.startswith("Item o2-1\n")
    assert ended.stderr == "[]\n"
