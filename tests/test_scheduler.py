"""The archive in a real Airflow, as the demo starts it: PostgreSQL and every component, each its own process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from demo import mailboxes
from demo.airflow_client import DAG, Airflow
from demo.airflow_settings import Where, free_port
from demo.options import ROOT, settle
from demo.parts import Parts, Signals
from demo.screen import Screen
from demo.story import Scene, start
from sandbox.mailsink import MailSink

ITEMS = 60


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
    monkeypatch.setenv("O2_ALERT_EMAIL", "oncall@example.com")
    try:
        yield sink.mails
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, list[EmailMessage], str]]:
    """Give a running Airflow, the mails that it sent, and its first run, of yesterday."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        # Every run here is late after seven seconds, so that a late day can be seen.
        monkeypatch.setenv("O2_DEADLINE_HOURS", "0.002")
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


def over(client: Airflow, run_id: str) -> str:
    def state() -> str | None:
        now = client.run_state(run_id)
        return now if now in ("success", "failed") else None

    return str(eventually(f"run {run_id} ends", state))


def counts(client: Airflow, run_id: str) -> dict[str, Any]:
    return dict(client.returned(run_id, "reconcile")["counts"])


def cli(scene: Scene, *arguments: str) -> str:
    command = [str(Path(sys.executable).parent / "airflow"), *arguments]
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

    late = eventually("a notice that a day is late", lambda: [each for each in mails if "late" in str(each["subject"])])
    assert any(day in str(each["subject"]) for each in late)


@pytest.mark.scheduler
def test_a_failure_that_cannot_heal_fails_at_once_and_somebody_is_told(
    airflow: tuple[Scene, list[EmailMessage], str],
) -> None:
    scene, mails, _ = airflow
    client = scene.airflow
    wrong = Path((scene.sandbox or {})["mappings"]) / "wrong.csv"
    wrong.write_text("ExternalUserId,O365UserMailbox\n+447700900555,a@example.com\n07700 900555,b@example.com\n")

    cli(scene, "dags", "trigger", DAG, "--run-id", "contradiction")

    assert over(client, "contradiction") == "failed"
    states = {each.task: (each.state, each.try_number) for each in client.task_runs("contradiction")}
    assert states["map_mailboxes"] == states["reconcile"] == ("failed", 1)
    assert states["import_to_mailboxes"][0] == "upstream_failed"
    assert counts(client, "contradiction")["balanced"] is False
    wanted = "a run failed (contradiction)"
    told = eventually("a notice", lambda: [each for each in mails if wanted in str(each["subject"])])
    notice = told[0].get_body(("html", "plain"))
    assert notice is not None
    assert "the first red task's log says what is wrong" in notice.get_content()
    wrong.unlink()


def _three(runs: list[str]) -> list[str] | None:
    return sorted(runs) if len(runs) == 3 else None
