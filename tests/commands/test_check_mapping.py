"""``check-mapping`` tells an admin everything that is not right, and scripts whether a run could use the mapping."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.airflow_settings import GRAPH, sandbox_connections
from o2_connector.commands import __main__ as commands
from o2_connector.core.outcomes import Cause, remedy
from sandbox.directory import User
from sandbox.server import Sandbox, running

HEAD = "ExternalUserId,O365UserMailbox\n"
NOT_ASKED = "The directory was not asked: there is no connection o2_graph."


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave Airflow without connections, and without a log on the screen, as it is when the command is a program."""
    for name in ("AIRFLOW_CONN_O2_GRAPH", "AIRFLOW_CONN_O2_STAGING"):
        monkeypatch.delenv(name, raising=False)
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["commands", *arguments])
    return commands.main()


def test_a_mapping_that_is_right_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "phones.csv").write_text(HEAD + "".join(f"+447700900{n:03},u{n}@example.com\n" for n in range(1000)))

    assert run(monkeypatch, "check-mapping", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"{NOT_ASKED}\n1 file, 1,000 rows, 1,000 numbers: nothing to mend\n"


def test_the_folder_is_that_of_the_setting_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "phones.csv").write_text(f"{HEAD}+447700900321,alex@example.com\n")
    monkeypatch.setenv("O2_MAPPINGS", str(tmp_path))

    assert run(monkeypatch, "check-mapping") == 0
    assert capsys.readouterr().out == f"{NOT_ASKED}\n1 file, 1 row, 1 number: nothing to mend\n"


def test_every_finding_is_a_line_and_the_last_line_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.csv").write_text(f"{HEAD}07700 900321,alex@example.com\n07700 900321,alex@example.com\n60777,x\n")
    (tmp_path / "c.csv").write_text(f"{HEAD}07700 900321,kim@example.com\n07700 900456,kim@example.com\n")
    (tmp_path / "a.xlsx").write_text("x")

    status = run(monkeypatch, "check-mapping", str(tmp_path))

    *lines, asked, summary = capsys.readouterr().out.splitlines()
    assert status == 1
    assert asked == NOT_ASKED
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

    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "a.csv:2 column A (ExternalUserId): error: this is a short code, and no"
    assert second.startswith("    subscriber's number (…777); ")


def test_the_command_runs_as_the_makefile_calls_it(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "o2-archive"), "check-mapping", str(tmp_path)]

    ended = subprocess.run(command, env={}, capture_output=True, text=True)

    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-1] == "0 files, 0 rows, 0 numbers: nothing to mend"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=1, users=40) as started:
        yield started


@pytest.fixture
def graph(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Let there be a connection to a tenant."""
    sandbox.graph.reset()
    monkeypatch.setenv(GRAPH, sandbox_connections(sandbox.details())[GRAPH])
    yield sandbox
    assert sandbox.graph.breaches == []


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let there be a connection to staging."""
    folder = tmp_path / ".staging"
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "fs", "extra": {"path": str(folder)}}))
    return folder


def address_of(sandbox: Sandbox, kind: str) -> str:
    """Return the address of somebody of the organisation, by what is particular about them."""
    return next(person.email for person in sandbox.world.people if person.kind == kind and person.email)


def user_of(sandbox: Sandbox, place: int) -> User:
    """Return somebody who has a mailbox."""
    return [user for user in sandbox.world.directory if user.mailbox == "ok"][place]


def test_every_row_that_leads_to_no_mailbox_is_a_warning_with_cause_and_remedy(
    graph: Sandbox,
    staging: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    addresses = {
        user_of(graph, 0).user_principal_name: None,
        "nobody@example.com": Cause.NO_USER,
        address_of(graph, "guest"): Cause.GUEST,
        address_of(graph, "closed"): Cause.DISABLED,
        address_of(graph, "unlicensed"): Cause.UNLICENSED,
        address_of(graph, "on premises"): Cause.ON_PREMISES,
        address_of(graph, "deleted"): Cause.SOFT_DELETED,
    }
    lines = [f"+4477009009{place:02},Ann,{address}" for place, address in enumerate(addresses, start=10)]
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "phones.csv").write_text("\n".join(["Mobile,Name,E-mail", *lines]) + "\n")

    status = run(monkeypatch, "check-mapping", str(folder))

    *found, asked, summary = capsys.readouterr().out.splitlines()
    assert status == 0
    assert [line for line in found if "warning" in line] == [
        f"phones.csv:{line} column C (E-mail): warning: {cause}; {remedy(cause)}"
        for line, cause in enumerate(addresses.values(), start=2)
        if cause
    ]
    assert asked == "The directory was asked: 1 of the 7 addresses lead to a mailbox."
    assert summary == "1 file, 7 rows, 7 numbers: 6 warnings, 1 note"


def test_a_row_whose_number_the_directory_has_at_another_user_is_a_warning(
    graph: Sandbox, staging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other, third = (user_of(graph, place) for place in (1, 2, 4))
    lines = [
        f"{one.mobile_phone},{other.user_principal_name}",
        f"{other.mobile_phone},{other.user_principal_name}",
        f"07700 900999,{one.user_principal_name}",
        f"07700 900998,{third.user_principal_name}",
    ]
    (tmp_path / "phones.csv").write_text(HEAD + "\n".join(lines) + "\n")

    run(monkeypatch, "check-mapping", str(tmp_path))

    assert capsys.readouterr().out.splitlines()[:-2] == [
        f"phones.csv:2 column A (ExternalUserId): warning: {Cause.OTHER_HOLDER}; {remedy(Cause.OTHER_HOLDER)}"
    ]


def test_rows_are_asked_for_although_others_have_errors(
    graph: Sandbox, staging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(f"{HEAD}07700 900321,nobody@example.com\n60777,kim@example.com\n")
    (tmp_path / "b.csv").write_text(f"{HEAD}07700 900321,{user_of(graph, 0).user_principal_name}\n")

    status = run(monkeypatch, "check-mapping", str(tmp_path))

    found = capsys.readouterr().out.splitlines()
    assert status == 1
    assert [line.split(": ")[:3] for line in found[:-2]] == [
        ["a.csv:2", "error", "one number (…321) has 2 mailboxes at once"],
        ["a.csv:2 column B (O365UserMailbox)", "warning", f"{Cause.NO_USER}; {remedy(Cause.NO_USER)}"],
        ["a.csv:3 column A (ExternalUserId)", "error", found[2].split(": ")[2]],
    ]


def test_what_the_directory_said_is_remembered_for_the_runs(
    graph: Sandbox, staging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text(f"{HEAD}07700 900321,{user_of(graph, 0).user_principal_name}\n")

    run(monkeypatch, "check-mapping", str(tmp_path))

    assert {path.relative_to(staging).parts[0] for path in staging.rglob("*.jsonl")} == {"directory", "owners"}


def test_without_staging_the_directory_is_asked_all_the_same(
    graph: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    people = [user.user_principal_name for user in graph.world.directory if user.mailbox == "ok"]
    lines = [f"+4477009009{place:02},{address}" for place, address in enumerate([*people, "nobody@example.com"])]
    (tmp_path / "a.csv").write_text(HEAD + "\n".join(lines) + "\n")

    run(monkeypatch, "check-mapping", str(tmp_path))

    *_, warned, asked, _ = capsys.readouterr().out.splitlines()
    assert warned.startswith(f"a.csv:{len(lines) + 1} column B (O365UserMailbox): warning: {Cause.NO_USER}")
    assert asked == f"The directory was asked: {len(people)} of the {len(lines)} addresses lead to a mailbox."


def test_a_directory_that_cannot_be_asked_is_told_beside_what_is_wrong_in_the_files(
    graph: Sandbox, staging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = json.loads(os.environ[GRAPH])
    monkeypatch.setenv(GRAPH, json.dumps({**connection, "password": "another secret"}))
    (tmp_path / "a.csv").write_text(f"{HEAD}07700 900321,nobody@example.com\n60777,kim@example.com\n")

    status = run(monkeypatch, "check-mapping", str(tmp_path))

    error, asked, summary = capsys.readouterr().out.splitlines()
    assert status == 1
    assert error.startswith("a.csv:3 column A (ExternalUserId): error: ")
    assert asked.startswith("The directory could not be asked: ")
    assert "client secret" in asked
    assert summary == "1 file, 1 row, 1 number: 1 error"


def test_nothing_personal_is_shown(
    graph: Sandbox, staging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = user_of(graph, 1), user_of(graph, 2)
    lines = [f"{one.mobile_phone},{other.user_principal_name}", "07700 900321,nobody@example.com"]
    (tmp_path / "a.csv").write_text(HEAD + "\n".join(lines) + "\n")

    run(monkeypatch, "check-mapping", str(tmp_path))

    told = capsys.readouterr()
    shown = (told.out + told.err).replace(" ", "")
    assert "warning" in shown
    assert "@" not in shown
    assert "7700900" not in shown


def test_where_airflow_is_not_set_up_it_is_not_started(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "a.csv").write_text(f"{HEAD}07700 900321,alex@example.com\n")
    program = (
        "import sys; from o2_connector.commands.__main__ import main;"
        f" sys.argv = ['commands', 'check-mapping', {str(tmp_path)!r}]; main(); print('airflow' in sys.modules)"
    )
    environ = {"PYTHONPATH": str(root / "plugins"), "HOME": str(tmp_path)}

    ended = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines() == [NOT_ASKED, "1 file, 1 row, 1 number: nothing to mend", "False"]
