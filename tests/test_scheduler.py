"""The archive in a real Airflow, as the demo starts it: PostgreSQL and every component, each its own process."""

from __future__ import annotations

import html
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from aiosmtpd.controller import Controller
from airflow.providers.smtp.notifications.smtp import SmtpNotifier

from demo import mailboxes
from demo.airflow_client import DAG, REPLAY, Airflow
from demo.airflow_settings import Where, free_port
from demo.options import ROOT, settle
from demo.parts import Parts, Signals
from demo.screen import Screen
from demo.story import Scene, start
from o2_connector.triggers.mapping_files import look
from sandbox.mailsink import MailSink
from sandbox.people import Person, line_of
from sandbox.world import World
from tests.personal import PERSONAL

ITEMS = 60
ON_CALL = "oncall@example.com"
CHAT = "oncall@chat.example.com"
AIRFLOW = str(Path(sys.executable).parent / "airflow")


@contextmanager
def mail_sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EmailMessage]]:
    sink = MailSink()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "o2@example.com"}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("O2_ALERT_EMAIL", ON_CALL)
    by_chat = {"to": CHAT, "subject": "{{ subject }}", "html_content": "<pre>{{ text }}</pre>"}
    monkeypatch.setenv("O2_NOTIFIER", json.dumps({"notifier": f"{SmtpNotifier.__module__}.SmtpNotifier", **by_chat}))
    try:
        yield sink.mails
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, list[EmailMessage], str]]:
    """Give a running Airflow, the mails that it sent, and its first run, of yesterday."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        # Every run here is late after two seconds, so that a late one can be seen.
        monkeypatch.setenv("O2_DEADLINE_HOURS", "0.0005")
        # Files are watched from the first time that the DAG is read after it was let go.
        monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL", "5")
        for name in ("AIRFLOW_HOME", "AIRFLOW__CORE__UNIT_TEST_MODE"):
            monkeypatch.delenv(name, raising=False)
        with mail_sink(monkeypatch) as mails:
            where = Where(folder=tmp_path_factory.mktemp("airflow"), port=free_port())
            options = settle(
                items=ITEMS, users=14, seed=5, zone="Europe/London", day=None, corpus=None, now=datetime.now(UTC)
            )
            parts = Parts(record=where.folder / "parts.json", logs=where.folder / "logs", signals=Signals(), kind="up")
            try:
                scene = start(options, where, parts, Screen())
                yield scene, mails, scene.airflow.trigger(options)
            finally:
                assert parts.end() == []


def eventually(what: str, found: Callable[[], Any], seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, f"{what} within {seconds} s"
        time.sleep(0.5)
    return answer


def over(client: Airflow, run_id: str, dag: str = DAG) -> str:
    def state() -> str | None:
        now = client.run_state(run_id, dag)
        return now if now in ("success", "failed") else None

    return str(eventually(f"run {run_id} ends", state))


def counts(client: Airflow, run_id: str, dag: str = DAG) -> dict[str, Any]:
    return dict(client.returned(run_id, "reconcile", dag)["counts"])


def told_by_files(client: Airflow, number: int) -> str:
    """Return the id of the replay that the mapping files started as the number-th, once it is there."""

    def runs() -> list[str]:
        return [run for run in client.run_ids(REPLAY) if run.startswith("asset_triggered")]

    return str(eventually(f"replay number {number} starts", lambda: runs()[number - 1 :])[0])


def cli(scene: Scene, *arguments: str) -> str:
    command = [AIRFLOW, *arguments]
    answer = subprocess.run(command, env=scene.environ, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout


@pytest.mark.scheduler
def test_a_day_again_and_a_backfill_of_three_leave_one_copy_of_everything(
    airflow: tuple[Scene, list[EmailMessage], str],
) -> None:
    scene, mails, day = airflow
    client = scene.airflow

    assert over(client, day) == "success"
    first = counts(client, day)
    assert first["balanced"]
    assert first["imported"] + first["partially_imported"] == first["available_for_import"] > 0

    # By hand from the command line, which knows no data interval: the last complete day, so the same one.
    cli(scene, "dags", "trigger", DAG, "--run-id", "again")
    assert over(client, "again") == "success"
    again = counts(client, "again")
    assert again["balanced"]
    assert (again["skipped"], again["imported"]) == (first["imported"], 0)

    start_of_day = scene.options.day
    days = [(start_of_day - timedelta(days=back)).isoformat() for back in (3, 1)]
    cli(
        scene,
        "backfill",
        "create",
        "--dag-id",
        DAG,
        "--from-date",
        days[0],
        "--to-date",
        days[1],
        "--max-active-runs",
        "2",
    )
    runs = eventually(
        "three backfilled runs", lambda: _three([each for each in client.run_ids() if "backfill" in each])
    )
    assert [over(client, run_id) for run_id in runs] == ["success"] * 3
    backfilled = [counts(client, run_id) for run_id in runs]
    windows = {client.returned(run_id, "reconcile")["window"]["start"] for run_id in runs}
    assert len(windows) == 3
    assert all(each["balanced"] and each["skipped"] == 0 for each in backfilled)

    arrived = mailboxes.look(scene.sandbox or {}, keep_texts=False)
    assert sum(arrived.copies.values()) == sum(each["available_for_import"] for each in (first, *backfilled))
    assert (arrived.twice, arrived.drafts, arrived.breaches) == (0, 0, 0)

    name = called(start_of_day)
    notices_of(mails, f"{name} is late")
    parked = notices_of(mails, f"{first['parked']} items of {name} have no mailbox yet")
    assert len(parked) == 1  # and not again with each run of the same day


def world_of(scene: Scene) -> World:
    options = scene.options
    return World(options.seed, options.users, options.items, options.zone.key)


def belongs(scene: Scene, enrolled: Sequence[Person], address: str) -> set[tuple[str, str]]:
    """Say who should have which items by now: mailbox and item id, of every window that was archived.

    :param address: of the mailbox that those who are enrolled were given.
    """
    world = world_of(scene)
    given = next(user.id for user in world.directory if user.user_principal_name == address)
    lines = {line_of(person.phone) for person in enrolled}
    windows = [(scene.airflow.returned(run_id, "reconcile") or {}).get("window") for run_id in scene.airflow.run_ids()]
    found = set()
    for window in filter(None, windows):
        for item in world.items_of(datetime.fromisoformat(window["start"]), datetime.fromisoformat(window["end"])):
            found |= {(user.id, item["itemId"]) for user in world.users_of(item)}
            if lines & {line_of(party["phone"]) for party in (item["from"], *item["to"])}:
                found.add((given, item["itemId"]))
    return found


@pytest.mark.scheduler
def test_who_is_added_to_the_mapping_files_gets_by_itself_what_waited_also_when_no_triggerer_saw_it(
    airflow: tuple[Scene, list[EmailMessage], str],
) -> None:
    scene, mails, day = airflow
    client, sandbox = scene.airflow, scene.sandbox or {}
    folder, world = Path(sandbox["mappings"]), world_of(scene)
    address = next(user.user_principal_name for user in world.directory if user.mailbox == "ok")
    unserved = sorted((person for person in world.people if person.user is None), key=lambda person: person.kind)

    def enrol(people: Sequence[Person]) -> None:
        rows = "".join(f"{person.phone},{address}\n" for person in people)
        (folder / "later.csv").write_text(f"ExternalUserId,O365UserMailbox\n{rows}")

    def arrived() -> set[tuple[str, str]]:
        found = mailboxes.look(sandbox, keep_texts=False)
        assert (found.twice, found.drafts, found.breaches) == (0, 0, 0)
        return set(found.copies)

    def payloads(run_id: str) -> list[dict[str, Any]]:
        path = f"/api/v2/dags/{REPLAY}/dagRuns/{run_id}/upstreamAssetEvents"
        return [event["extra"]["payload"] for event in client._ask("GET", path)["asset_events"]]

    assert over(client, day) == "success"
    before = arrived()
    assert before == belongs(scene, [], address)

    # The first look tells as well, and the last morning of the time table has its say: neither finds anything to do.
    client.let_go(REPLAY)
    looked = told_by_files(client, 1)
    (morning,) = eventually("a scheduled run", lambda: [run for run in client.run_ids(REPLAY) if run != looked])
    assert morning.startswith("scheduled")
    assert {over(client, run_id, REPLAY) for run_id in (looked, morning)} == {"success"}
    assert counts(client, looked, REPLAY)["available_for_import"] == 0
    assert payloads(looked) == [asdict(look(folder))]

    enrol(unserved[:2])
    added = told_by_files(client, 2)
    assert over(client, added, REPLAY) == "success"
    assert payloads(added) == [asdict(look(folder))]
    some = arrived()
    assert some == belongs(scene, unserved[:2], address) > before

    (triggerer,) = [part for part in scene.parts.all if part.name == "triggerer"]
    os.kill(triggerer.pid, signal.SIGTERM)
    scene.parts.finish(triggerer)
    enrol(unserved)
    scene.parts.start("triggerer", [AIRFLOW, "triggerer", "--skip-serve-logs"], environ=scene.environ, cwd=ROOT)
    unseen = told_by_files(client, 3)
    assert over(client, unseen, REPLAY) == "success"
    assert payloads(unseen) == [asdict(look(folder))]
    everything = arrived()
    assert everything == belongs(scene, unserved, address) > some
    book = counts(client, unseen, REPLAY)
    assert (book["balanced"], book["parked"], book["waiting"]) == (True, 0, 0)

    cli(scene, "dags", "trigger", DAG, "--run-id", "after-the-replays")
    assert over(client, "after-the-replays") == "success"
    again = counts(client, "after-the-replays")
    assert (again["balanced"], again["parked"], again["waiting"], again["imported"]) == (True, 0, 0, 0)
    assert arrived() == everything

    # By hand, from the UI's form: no logical date, no data interval; and nothing waits, so there is no book.
    asked = {"dag_run_id": "by-hand", "logical_date": None}
    client._ask("POST", f"/api/v2/dags/{REPLAY}/dagRuns", json=asked)
    assert over(client, "by-hand", REPLAY) == "success"
    assert client.returned("by-hand", "reconcile", REPLAY) is None
    assert set(client.run_ids(REPLAY)) == {morning, looked, added, unseen, "by-hand"}

    notices_of(mails, f"the replay of parked items on {called(datetime.now(scene.options.zone).date())} is late")


@pytest.mark.scheduler
def test_a_failure_that_cannot_heal_fails_at_once_and_somebody_is_told(
    airflow: tuple[Scene, list[EmailMessage], str],
) -> None:
    scene, mails, day = airflow
    client = scene.airflow
    assert over(client, day) == "success"
    wrong = Path((scene.sandbox or {})["mappings"]) / "wrong.csv"
    replays = set(client.run_ids(REPLAY))
    wrong.write_text("ExternalUserId,O365UserMailbox\n+447700900555,a@example.com\n07700 900555,b@example.com\n")

    def new_replay() -> str | None:
        return next((run for run in client.run_ids(REPLAY) if run not in replays), None)

    client.let_go(REPLAY)
    cli(scene, "dags", "trigger", DAG, "--run-id", "contradiction")

    assert over(client, "contradiction") == "failed"
    states = {each.task: (each.state, each.try_number) for each in client.task_runs("contradiction")}
    assert states["map_mailboxes"] == states["reconcile"] == ("failed", 1)
    assert states["import_to_mailboxes"][0] == "upstream_failed"
    assert counts(client, "contradiction")["balanced"] is False
    (told,) = notices_of(mails, f"{called(scene.options.day)} failed")
    assert "map_mailboxes, which decides who gets what, failed and said: “The mapping cannot be used" in told
    assert "Then clear map_mailboxes in Airflow" in told

    # The file that stops the day stops the replay that it starts, too; what waits goes on waiting.
    replay = eventually("the file starts a replay", new_replay)
    assert over(client, replay, REPLAY) == "failed"
    states = {each.task: (each.state, each.try_number) for each in client.task_runs(replay, REPLAY)}
    assert states["find_parked"] == states["reconcile"] == ("failed", 1)
    assert states["import_to_mailboxes"][0] == "upstream_failed"
    told, *_ = notices_of(
        mails, f"the replay of parked items on {called(datetime.now(scene.options.zone).date())} failed"
    )
    assert "find_parked, which decides again on what is parked, failed and said: “The mapping cannot be used" in told

    replays.add(replay)
    wrong.unlink()
    assert over(client, eventually("the mended files start another", new_replay), REPLAY) == "success"


def called(day: date) -> str:
    """Return a day as notices call it."""
    return f"{day:%A} {day.day} {day:%B %Y}"


def notices_of(mails: Sequence[EmailMessage], what: str) -> list[str]:
    """Wait for a notice; return the text of each that was sent, when both ways had it."""

    def sent(to: str) -> list[str]:
        found = [mail for mail in mails if (mail["to"], str(mail["subject"])) == (to, f"O2 archive: {what}")]
        return [text_of(mail) for mail in found]

    return eventually(f"a notice that {what}", lambda: sent(CHAT) and sent(ON_CALL))


def text_of(mail: EmailMessage) -> str:
    (part,) = mail.iter_parts()
    return html.unescape(part.get_content())


@pytest.mark.scheduler
def test_a_run_whose_reconcile_was_ended_from_outside_is_told_of_by_the_run(
    airflow: tuple[Scene, list[EmailMessage], str],
) -> None:
    scene, mails, _ = airflow
    client = scene.airflow
    day = scene.options.day - timedelta(days=9)
    asked = {"day": day.isoformat(), "dry_run": True}
    cli(scene, "dags", "trigger", DAG, "--run-id", "ended", "--conf", json.dumps(asked))

    client._ask("PATCH", f"/api/v2/dags/{DAG}/dagRuns/ended/taskInstances/reconcile", json={"new_state": "failed"})

    assert over(client, "ended") == "failed"
    (told,) = notices_of(mails, f"the dry run of {called(day)} failed")
    assert "reconcile, which adds the book up, failed, and left no error" in told


@pytest.mark.scheduler
def test_nothing_personal_is_in_what_airflow_keeps_of_any_run(airflow: tuple[Scene, list[EmailMessage], str]) -> None:
    scene, mails, day = airflow
    assert over(scene.airflow, day) == "success"

    mapping = (Path((scene.sandbox or {})["mappings"]) / "phones.csv").read_text().splitlines()[1:]

    kept = dict(all_that_is_kept(scene))
    notices = {str(mail["subject"]): text_of(mail) for mail in mails}

    assert all(len(PERSONAL.findall(row)) == 2 for row in mapping)
    assert "map_mailboxes" in kept["task_instance"]
    assert "/mappings" in kept["rendered_task_instance_fields"]
    assert len([name for name in kept if "reconcile.try-1.log" in name]) >= 1
    assert {name: found[0] for name, text in kept.items() if (found := PERSONAL.findall(text))} == {}
    assert len(notices) > 1
    assert {name: found[0] for name, text in notices.items() if (found := PERSONAL.findall(name + text))} == {}


def all_that_is_kept(scene: Scene) -> Iterator[tuple[str, str]]:
    """Yield each table of Airflow's database and each log of its parts and tasks as text, by name."""
    engine = sqlalchemy.create_engine(scene.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    with engine.connect() as connection:
        for table in sqlalchemy.inspect(engine).get_table_names():
            rows = connection.execute(sqlalchemy.text(f'SELECT kept::text FROM "{table}" AS kept'))
            yield table, "\n".join(row for (row,) in rows)
    engine.dispose()
    for log in (scene.where.folder / "logs").rglob("*.log"):
        if log.name != "sandbox.log":
            yield str(log.relative_to(scene.where.folder)), log.read_text()


def _three(runs: list[str]) -> list[str] | None:
    return sorted(runs) if len(runs) == 3 else None
