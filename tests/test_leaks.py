"""A planted person's name, numbers, addresses, texts and files appear nowhere outside of staging and mailboxes.

Every task runs with every kind of failure, with logs of every logger and level, and what else Airflow keeps or sends of
a run is made by Airflow's own code: rendered fields, XCom, metrics, lineage events, exceptions as they are printed.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from o2_connector.core.errors import ConnectorError, IntegrityError, RetryError, StopError
from o2_connector.core.manifest import Shard, from_xcom
from o2_connector.core.settings import read_settings
from o2_connector.engine.delivery import import_shard
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook
from o2_connector.operators.preflight import PreflightOperator
from sandbox.server import Sandbox, running
from tests.archive import Archive, connected
from tests.canary import (
    CATCH_ALL,
    ECHO,
    EMAIL,
    FILE,
    MAILBOX,
    NAME,
    NUMBER,
    SPELLINGS,
    TEXT,
    USER,
    PlantedWorld,
    forms,
    found,
)
from tests.operators.own import OwnNotifier
from tests.witness import NOTICES, Witness, listening

ITEMS = 24
HEAD = "ExternalUserId,O365UserMailbox\n"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("leaks"), items=ITEMS, users=12) as sandbox:
        yield sandbox


@pytest.fixture
def line(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """Give an archive of this person's organisation."""
    sandbox.graph.reset()
    sandbox.telemessage.faults.clear()
    sandbox.mails.clear()
    OwnNotifier.told.clear()
    for name, value in NOTICES.items():
        monkeypatch.setenv(name, value)
    sandbox.graph.change_users([*sandbox.world.directory, USER])
    sandbox.telemessage.world = PlantedWorld(1, 12, ITEMS, "Europe/London")
    sandbox.telemessage._exports.clear()
    archive = connected(sandbox, tmp_path, monkeypatch)
    archive.mappings = tmp_path / "mappings"
    archive.mappings.mkdir()
    (archive.mappings / "phones.csv").write_text(f"{sandbox.world.mapping_csv()}{SPELLINGS[2]},{MAILBOX}\n")
    archive.settings = {"catch_all": CATCH_ALL, "directory_numbers": True, "directory_hours": 0}
    return archive


@pytest.fixture
def witness() -> Iterator[Witness]:
    with listening() as heard:
        yield heard


Failure = Callable[[Archive, pytest.MonkeyPatch], None]


def a_window_is_archived_and_asked_for_again(line: Archive, _: pytest.MonkeyPatch) -> None:
    line.run("manual__1", dry_run=True)
    line.run("manual__2")


def parked_items_are_replayed(line: Archive, _: pytest.MonkeyPatch) -> None:
    line.settings.update(catch_all=None, directory_numbers=False)
    (line.mappings / "phones.csv").write_text(HEAD)
    line.run()
    (line.mappings / "phones.csv").write_text(f"{HEAD}{NUMBER},{MAILBOX}\n")
    line.replay()


def telemessage_refuses_the_login(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"conn_type": "o2_telemessage", "host": line.sandbox.telemessage_url, "login": EMAIL, "password": TEXT}
    monkeypatch.setenv(
        "AIRFLOW_CONN_O2_TELEMESSAGE", json.dumps({**wrong, "extra": {"ca_file": str(line.sandbox.ca_file)}})
    )
    line.run()


def telemessage_quotes_what_it_has(line: Archive, _: pytest.MonkeyPatch) -> None:
    line.sandbox.telemessage.faults.add("status", path="/batches/", status=403, message=ECHO)
    line.run()


def telemessage_is_out_of_order(line: Archive, _: pytest.MonkeyPatch) -> None:
    line.sandbox.telemessage.faults.add("status", path="/batches/", status=500, message=ECHO, retry_after=9999)
    line.run()


def a_batch_is_altered_on_the_way(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("o2_connector.operators.stage.backoff", lambda _: 0.0)
    line.sandbox.telemessage.faults.add("wrong_digest", times=99, path="/batches/")
    line.run()


def attachments_are_gone_and_altered(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("o2_connector.operators.stage.backoff", lambda _: 0.0)
    line.sandbox.telemessage.faults.add("gone", times=2, path="/attachments/")
    line.sandbox.telemessage.faults.add("wrong_digest", times=99, path="/attachments/")
    line.run()


def records_break_the_contract_in_every_field(line: Archive, _: pytest.MonkeyPatch) -> None:
    person = {"phone": NUMBER, "name": NAME, "email": EMAIL}
    broken: list[dict[str, Any]] = [
        *({field: ECHO} for field in ("itemType", "direction", "status", "sentAt", "archivedAt", "from", "thread")),
        *({field: {NAME: TEXT}} for field in ("text", "to", "attachments", "network", "subject")),
        {"from": {**person, "phone": 447700900871}},
        {"from": {**person, "email": [EMAIL], NAME: NUMBER}},
        {"to": [person, {NUMBER: NAME}]},
        {"to": [{**person, "phone": None}]},
        {"attachments": [{"fileName": FILE, "sha256": TEXT, "byteCount": NUMBER, "attachmentId": FILE}]},
        {
            "attachments": [
                {"fileName": FILE, "sha256": "0" * 64, "byteCount": -1, "attachmentId": "a", "contentType": TEXT}
            ]
        },
        {"call": {"startedAt": TEXT, NAME: NUMBER}},
    ]
    world = line.sandbox.telemessage.world
    world.spoil = lambda place, item: {**item, **broken[place]} if place < len(broken) else item  # type: ignore[attr-defined]
    line.run()


def two_records_have_one_id(line: Archive, _: pytest.MonkeyPatch) -> None:
    line.sandbox.telemessage.world.spoil = lambda place, item: {**item, "itemId": f"same-{place % 2}"}  # type: ignore[attr-defined]
    line.run()


def the_mapping_contradicts_itself(line: Archive, _: pytest.MonkeyPatch) -> None:
    (line.mappings / "wrong.csv").write_text(f"{HEAD}{NUMBER},{EMAIL}\n{SPELLINGS[2]},{MAILBOX}\n")
    line.run()


def the_mapping_cannot_be_read(line: Archive, _: pytest.MonkeyPatch) -> None:
    (line.mappings / "utf16.csv").write_bytes(f"{HEAD}{NUMBER},{EMAIL}\n".encode("utf-16-le"))
    (line.mappings / "quotes.csv").write_text(f'{HEAD}"{NUMBER},{EMAIL}\n{NAME}\n')
    (line.mappings / "cells.csv").write_text(
        f"{HEAD}{NAME},{TEXT}\n{NUMBER};{EMAIL}\n{NUMBER},{NAME}\n{EMAIL},{NUMBER}\n{NUMBER[:-2]},{MAILBOX}\n"
    )
    (line.mappings / "heads.csv").write_text(f"{NAME},{EMAIL}\n{NUMBER},{MAILBOX}\n")
    (line.mappings / "dates.csv").write_text(
        f"ExternalUserId,O365UserMailbox,ValidFrom,ValidTo\n{NUMBER},{MAILBOX},{TEXT},{NUMBER}\n"
    )
    line.run()


def the_directory_quotes_what_it_was_asked(line: Archive, _: pytest.MonkeyPatch) -> None:
    line.sandbox.graph.faults.add("status", times=99, path="/users", status=403, code="Authorization", message=ECHO)
    line.run()


def the_login_to_graph_is_refused(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_O2_GRAPH"])
    monkeypatch.setenv("AIRFLOW_CONN_O2_GRAPH", json.dumps({**connection, "password": TEXT}))
    line.run()


def graph_refuses_messages_and_quotes_them(line: Archive, _: pytest.MonkeyPatch) -> None:
    faults = line.sandbox.graph.faults
    faults.add("status", times=9, path="/messages$", rate=0.5, status=400, code="ErrorInvalidRecipients", message=ECHO)
    faults.add("status", times=9, path="/messages$", rate=0.5, status=422, code=ECHO, message=ECHO)
    faults.add("status", times=99, path="createUploadSession", status=400, code="ErrorNoSuchFile", message=ECHO)
    line.run()


def graph_stops_the_import_and_quotes_a_message(line: Archive, _: pytest.MonkeyPatch) -> None:
    line.sandbox.graph.faults.add("status", times=99, path="/messages$", status=402, code=NAME, message=ECHO)
    line.run()


def graph_is_out_of_order_and_quotes_a_message(line: Archive, _: pytest.MonkeyPatch) -> None:
    line.run(dry_run=True)
    line.sandbox.graph.faults.add("status", times=999, path="/messages$", status=503, code="E", message=ECHO)
    for _, shard in sorted((key, value) for key, value in line.xcom.items() if key == ("map", -1, "return_value")):
        for each in shard:
            deliveries = replace(from_xcom(each, Shard), dry_run=False)
            import_shard(StagingHook(), GraphHook(settle_seconds=0.1).graph, deliveries, patience_seconds=0.5)


def a_mailbox_is_gone_and_one_is_full(line: Archive, _: pytest.MonkeyPatch) -> None:
    line.settings["directory_hours"] = 24
    line.run(dry_run=True)
    users = [user for user in line.sandbox.world.directory if user.mailbox == "ok"]
    line.sandbox.graph.change_users([*users[1:], replace(USER, mailbox="full")])
    line.run("manual__2")


def staging_cannot_be_reached(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    line.run(dry_run=True)
    there = {"conn_type": "fs", "extra": {"path": "/dev/null/staging"}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(there))
    line.run("manual__2")


def staging_is_full(line: Archive, _: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))  # no file may be longer
    try:
        line.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def staging_is_altered(line: Archive, _: pytest.MonkeyPatch) -> None:
    line.run(dry_run=True)
    for path in line.staging.glob("windows/*/raw/*.jsonl"):
        path.chmod(0o600)
        path.write_bytes(path.read_bytes().replace(b"itemId", TEXT.encode()[:6]))
    line.run("manual__2")


def the_worker_is_interrupted(line: Archive, _: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise AirflowTaskTimeout("Timeout")

    line.run(dry_run=True)
    line.sandbox.graph.latency = 0.3
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        line.run("manual__2")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        line.sandbox.graph.latency = 0.0


def the_preflight_tries_everything(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    preflight(line, monkeypatch)


def the_preflight_finds_what_is_wrong(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    (line.mappings / "wrong.csv").write_text(f"{HEAD}{NUMBER},{EMAIL}\n{SPELLINGS[2]},{MAILBOX}\n{NAME},{TEXT}\n")
    line.sandbox.telemessage.faults.add("status", path="/login", status=403, message=ECHO)
    line.sandbox.graph.faults.add("status", times=99, path="/mailFolders", status=400, code=NAME, message=ECHO)
    preflight(line, monkeypatch)


def preflight(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"O2_CANARY_MAILBOX": MAILBOX, "O2_CATCH_ALL": CATCH_ALL}.items():
        monkeypatch.setenv(name, value)
    settings = read_settings(os.environ, str(line.mappings))
    line._task(PreflightOperator(task_id="preflight", settings=settings), "manual__1", {"outside": EMAIL})


FAILURES: list[tuple[Failure, type[BaseException] | None]] = [
    (a_window_is_archived_and_asked_for_again, None),
    (parked_items_are_replayed, None),
    (telemessage_refuses_the_login, StopError),
    (telemessage_quotes_what_it_has, StopError),
    (telemessage_is_out_of_order, RetryError),
    (a_batch_is_altered_on_the_way, ConnectorError),
    (attachments_are_gone_and_altered, None),
    (records_break_the_contract_in_every_field, None),
    (two_records_have_one_id, StopError),
    (the_mapping_contradicts_itself, StopError),
    (the_mapping_cannot_be_read, StopError),
    (the_directory_quotes_what_it_was_asked, StopError),
    (the_login_to_graph_is_refused, StopError),
    (graph_refuses_messages_and_quotes_them, StopError),
    (graph_stops_the_import_and_quotes_a_message, StopError),
    (graph_is_out_of_order_and_quotes_a_message, RetryError),
    (a_mailbox_is_gone_and_one_is_full, StopError),
    (staging_cannot_be_reached, ConnectorError),
    (staging_is_full, ConnectorError),
    (staging_is_altered, IntegrityError),
    (the_worker_is_interrupted, AirflowTaskTimeout),
    (the_preflight_tries_everything, StopError),
    (the_preflight_finds_what_is_wrong, StopError),
]


@pytest.mark.parametrize(("failure", "expected"), FAILURES, ids=[failure.__name__ for failure, _ in FAILURES])
def test_nothing_of_a_person_is_told_when(
    failure: Failure,
    expected: type[BaseException] | None,
    line: Archive,
    witness: Witness,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    raised: BaseException | None = None
    try:
        failure(line, monkeypatch)
    except BaseException as error:  # noqa: BLE001  Airflow's timeout is no Exception
        raised = error
        witness.see(error)

    assert isinstance(raised, expected) if expected else raised is None, witness.told["exceptions"]
    witness.let_tell(line, raised)
    witness.look(line, raised)
    witness.hear("printed", "".join(capfd.readouterr()))
    assert {where: told for where, text in witness.told.items() if (told := found(text))} == {}


def test_the_person_is_in_staging_and_in_mailboxes(line: Archive) -> None:
    line.run()

    staged = "".join(path.read_text() for path in (line.staging / "windows").rglob("*.jsonl"))
    delivered = [message for message in line.messages() if message["userId"] == USER.id]
    for value in (NAME, NUMBER, EMAIL, TEXT, FILE):
        assert value in staged
    assert TEXT in json.dumps(delivered)


@pytest.mark.parametrize("value", [NAME, NAME.split()[1], *SPELLINGS, EMAIL, MAILBOX, TEXT, FILE])
def test_whatever_a_value_is_written_as_it_is_found(value: str) -> None:
    assert [form for form in forms(value) if not found(f"a log of {form}, and more")] == []


@pytest.mark.parametrize("told", ["+44 7700 900 8..", "+44770090087…", "Z… Quillfeather", "q***@quillfeather"])
def test_a_mask_that_hides_the_wrong_part_is_found(told: str) -> None:
    assert found(told)


@pytest.mark.parametrize("told", ["…871", "+447700900123", "buckets 00-03, 12 mailboxes", USER.id])
def test_what_tells_nothing_of_this_person_is_not_found(told: str) -> None:
    assert found(told) == []


def test_every_logger_at_every_level_every_metric_and_every_cause_is_heard(witness: Witness, line: Archive) -> None:
    from airflow.sdk.observability import stats

    line.run(dry_run=True)
    logging.getLogger("a.library.of.somebody").debug("asked for %s", EMAIL)
    stats.incr("o2_archive.items", tags={"whose": "Quillfeather"})
    line.xcom["map", -1, "return_value"].append({"first": NUMBER})
    line.operators["map", -1].mappings = f"/mappings/{NAME}"
    (line.staging / "windows" / "Wexcombe").touch()
    error = StopError("all is well")
    error.__cause__ = ValueError(TEXT)
    witness.see(error)
    witness.look(line, error)

    told = {where for where, text in witness.told.items() if found(text)}
    assert told >= {"logs", "metrics", "XCom", "rendered fields", "names in staging", "exceptions", "lineage"}
