"""The environment of the demo's Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from demo.airflow_settings import (
    GRAPH,
    SMTP,
    STAGING,
    TELEMESSAGE,
    Where,
    base_environment,
    complete,
    needs_sandbox,
    write_environment,
)
from demo.options import Options

OPTIONS = Options(items=1, users=1, seed=1, zone=ZoneInfo("Europe/London"), day=date(2026, 11, 21))
WHERE = Where(folder=Path("/demo"), port=20_000)
SANDBOX = {
    "telemessage": {"url": "https://localhost:1", "username": "archiver", "password": "secret"},
    "graph": {
        "url": "https://localhost:2/v1.0",
        "authority": "https://localhost:2/tenant",
        "tenant_id": "tenant",
        "client_id": "client",
        "client_secret": "secret",
    },
    "smtp": {"host": "127.0.0.1", "port": 3},
    "page": "https://localhost:2/mailboxes",
    "ca_file": "/demo/ca.pem",
    "mappings": "/demo/mappings",
}


def test_the_sandbox_is_connected_where_nothing_else_is_given() -> None:
    environ = complete({}, WHERE, OPTIONS, SANDBOX)

    assert json.loads(environ[TELEMESSAGE])["host"] == "https://localhost:1"
    assert json.loads(environ[GRAPH])["extra"]["authority"] == "https://localhost:2/tenant"
    assert json.loads(environ[STAGING]) == {"conn_type": "fs", "extra": {"path": "/demo/staging"}}
    assert json.loads(environ[SMTP])["port"] == 3
    assert environ["O2_MAPPINGS"] == "/demo/mappings"


def test_a_connection_of_the_environment_wins_over_the_sandboxs() -> None:
    environ = complete({GRAPH: "another", STAGING: "a container"}, WHERE, OPTIONS, SANDBOX)

    assert environ[GRAPH] == "another"
    assert environ[STAGING] == "a container"
    assert json.loads(environ[TELEMESSAGE])["login"] == "archiver"


def test_a_real_source_is_not_mapped_by_the_sandboxs_phones() -> None:
    environ = complete({TELEMESSAGE: "another"}, WHERE, OPTIONS, SANDBOX)

    assert "O2_MAPPINGS" not in environ


def test_the_sandbox_is_started_only_where_a_side_is_missing() -> None:
    assert needs_sandbox({})
    assert needs_sandbox({TELEMESSAGE: "another"})
    assert not needs_sandbox({TELEMESSAGE: "another", GRAPH: "another"})


def test_what_runs_on_this_machine_is_not_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet.example.com")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    environ = base_environment(WHERE, "postgresql://", scheduled=False)

    assert environ["NO_PROXY"] == environ["no_proxy"] == "intranet.example.com,localhost,127.0.0.1,::1"
    assert environ["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert "PYTHONDONTWRITEBYTECODE" not in environ
    assert environ["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] == "False"


def test_a_shell_that_reads_the_environment_file_has_what_airflow_has(tmp_path: Path) -> None:
    environ = complete(base_environment(WHERE, "postgresql:///it's", scheduled=True), WHERE, OPTIONS, SANDBOX)
    file = tmp_path / "environment"

    write_environment(environ, file)

    show = "import json, os; print(json.dumps(dict(os.environ)))"
    command = ["sh", "-c", '. "$0" && exec python -c "$1"', str(file), show]
    has = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert {name: has.get(name) for name in environ if name != "PATH"} == {
        name: value for name, value in environ.items() if name != "PATH"
    }
    assert has["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert file.stat().st_mode & 0o777 == 0o600
