"""``verify`` says what it proved, and its status says whether that is all."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from o2_connector.commands import __main__ as commands
from tests.archive import YESTERDAY, Archive, archive

ITEMS, USERS = 30, 14
DAY = f"{YESTERDAY:%Y-%m-%d}"
PROOFS = ["chain", "objects", "conversion", "books", "parked", "mailboxes"]
Verify = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Archive a day."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        archive(tmp_path_factory.mktemp("archived"), monkeypatch, items=ITEMS, users=USERS) as line,
    ):
        monkeypatch.setenv("O2_TIMEZONE", "UTC")
        line.run()
        yield line


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Verify]:
    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["commands", "verify", *arguments])
        logging.disable(logging.WARNING)  # as Airflow's log is when it is called as a program
        capsys.readouterr()
        status = commands.main()
        told = capsys.readouterr()
        return status, told.out + told.err

    yield call
    logging.disable(logging.NOTSET)


def test_all_is_proved_a_line_each(archived: Archive, verify: Verify) -> None:
    status, told = verify(
        DAY, "--mailboxes", "all", "--head", archived.xcom["reconcile", -1, "return_value"]["link"]["name"]
    )

    *lines, last = told.splitlines()
    assert status == 0
    assert [line.split()[0] for line in lines] == PROOFS
    assert last == "All is proved."
    assert f"{ITEMS} records in 1 batch converted again" in told
    assert "1 link up to what was given as its head" in told


def test_a_script_gets_an_object_a_proof(archived: Archive, verify: Verify) -> None:
    status, told = verify(DAY, "--json")

    found = [json.loads(line) for line in told.splitlines()]
    assert status == 0
    assert [each["proof"] for each in found] == PROOFS
    assert all(each["proved"] and not each["faults"] and not each["unproved"] for each in found)


def test_mailboxes_are_left_out_only_when_that_is_asked_for(
    archived: Archive, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, told = verify(DAY, "--mailboxes", "none")
    assert status == 0
    assert told.endswith("All is proved but the mailboxes: nobody looked there.\n")

    monkeypatch.delenv("AIRFLOW_CONN_O2_GRAPH")
    status, told = verify(DAY)

    assert status == 2
    assert "not proved: the mailboxes were not asked: there is no connection o2_graph" in told
    assert told.endswith("Nothing wrong was found, but 1 thing could not be proved.\n")


def test_what_is_wrong_is_named_with_what_to_do_and_no_value(archived: Archive, verify: Verify) -> None:
    (path,) = archived.staging.glob("windows/*/raw/*.jsonl")
    content = path.read_bytes()
    path.unlink()
    try:
        status, told = verify(DAY)
    finally:
        path.write_bytes(content)

    name = path.relative_to(archived.staging).as_posix()
    assert status == 1
    assert f"  wrong: {name}: it is not there. Restore it from a copy of staging" in told
    assert told.endswith("1 thing wrong.\n")
    for record in map(json.loads, content.splitlines()):
        values = [record["from"]["phone"], record["from"].get("email"), record.get("text")]
        assert not [value for value in values if value and value.strip() and value in told]


def test_a_day_that_is_not_archived_is_not_proved(archived: Archive, verify: Verify) -> None:
    status, told = verify("2020-02-01..2020-02-03")

    assert status == 2
    assert "no book covers 2020-02-01 00:00:00 to 2020-02-04 00:00:00 UTC" in told


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["yesterday"], "'yesterday' is no window"),
        ([DAY, "--head", "00000001"], "'00000001' names no link of the chain"),
    ],
)
def test_what_cannot_be_asked_is_refused(verify: Verify, arguments: list[str], error: str) -> None:
    status, told = verify(*arguments)

    assert status == 2
    assert error in told


def test_a_head_that_the_chain_lacks_is_wrong(archived: Archive, verify: Verify) -> None:
    status, told = verify(DAY, "--mailboxes", "none", "--head", "0" * 64)

    assert status == 1
    assert f"wrong: link {'0' * 64}: it was in the chain, and is not there." in told


def test_staging_that_is_not_there_is_said(verify: Verify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a file"
    path.touch()
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "fs", "extra": {"path": str(path)}}))

    status, told = verify(DAY)

    assert status == 2
    assert re.search("staging: .*ENOTDIR", told)
