"""The staging directory is known without Airflow where the environment has the last word, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.configuration import conf
from airflow.sdk import BaseHook

from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.staging_directory import directory_in

CONNECTION = "AIRFLOW_CONN_O2_STAGING"
PLAIN = json.dumps({"conn_type": "fs", "extra": {"path": "/data/o2"}})
PLUGINS = Path(__file__).parents[2] / "plugins"


def told(home: Path, said: str = PLAIN, **more: str) -> Path | None:
    return directory_in({"AIRFLOW_HOME": str(home), CONNECTION: said, **more}, "o2_staging")


@pytest.mark.parametrize(
    "said",
    [
        {"conn_type": "fs", "extra": {"path": "/data/o2"}},
        {"conn_type": "fs", "extra": json.dumps({"path": "/data/o2"})},
        {"conn_type": "fs", "description": "Where evidence lies", "extra": {"path": "/data/o2", "more": 1}},
    ],
)
def test_a_plain_connection_says_what_it_says_to_airflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, object]
) -> None:
    monkeypatch.setenv(CONNECTION, json.dumps(said))

    known = told(tmp_path, json.dumps(said))

    assert known == Path(BaseHook.get_connection("o2_staging").extra_dejson["path"])


@pytest.mark.parametrize(
    "said",
    [
        "",
        "fs:///?path=%2Fdata%2Fo2",
        "{",
        "{}",
        "[]",
        json.dumps({"conn_type": "wasb", "extra": {"path": "/data/o2"}}),
        json.dumps({"conn_type": "fs"}),
        json.dumps({"conn_type": "fs", "extra": {"path": "relative"}}),
        json.dumps({"conn_type": "fs", "extra": {"path": 5}}),
        json.dumps({"conn_type": "fs", "extra": "no JSON"}),
    ],
)
def test_of_any_other_airflow_is_asked(tmp_path: Path, said: str) -> None:
    assert told(tmp_path, said) is None


@pytest.mark.parametrize(
    "name",
    [
        "AIRFLOW__SECRETS__BACKEND",
        "AIRFLOW__SECRETS__BACKEND_CMD",
        "AIRFLOW__WORKERS__SECRETS_BACKEND",
        "AIRFLOW_CONN__TEAM___O2_STAGING",
    ],
)
def test_where_a_variable_gives_somebody_else_the_first_word_airflow_is_asked(tmp_path: Path, name: str) -> None:
    assert told(tmp_path, **{name: "x"}) is None


@pytest.mark.parametrize("line", ["[secrets]\nbackend = a.Backend", "[workers]\nsecrets_backend = a.Backend", "\0[\nx"])
def test_where_the_configuration_file_does_so_or_cannot_be_read_airflow_is_asked(tmp_path: Path, line: str) -> None:
    (tmp_path / "airflow.cfg").write_text(f"{line}\n")
    (tmp_path / "other.cfg").write_text("[secrets]\nbackend =\n")

    assert told(tmp_path) is None
    assert told(tmp_path, AIRFLOW_CONFIG=str(tmp_path / "other.cfg")) == Path("/data/o2")


def test_a_configuration_file_as_airflow_writes_it_leaves_the_environment_the_last_word(tmp_path: Path) -> None:
    with (tmp_path / "airflow.cfg").open("w") as file:
        conf.write(file, include_sources=False, include_env_vars=True, comment_out_everything=False)
    assert "\n[secrets]\n" in (tmp_path / "airflow.cfg").read_text()

    assert told(tmp_path) == Path("/data/o2")


def test_a_secrets_backend_wins_over_the_environment(tmp_path: Path) -> None:
    """As it does for a run: a command looks where the run has written."""
    there = {"o2_staging": {"conn_type": "fs", "extra": {"path": str(tmp_path / "there")}}}
    (tmp_path / "connections.json").write_text(json.dumps(there))
    environ = {
        **os.environ,
        "PYTHONPATH": str(PLUGINS),
        "AIRFLOW_HOME": str(tmp_path),
        CONNECTION: PLAIN,
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(tmp_path / "connections.json")}),
    }
    program = "from o2_connector.hooks.staging import StagingHook; print(StagingHook().url('a'))"

    said = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)

    assert said.stdout.splitlines()[-1] == (tmp_path / "there" / "a").as_uri()


def test_to_read_a_directory_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "fs", "extra": {"path": str(tmp_path / "staging")}}))
    staging = StagingHook()

    assert (list(staging.names("windows/")), list(staging.folders("windows/")), staging.size("a")) == ([], [], None)
    assert not (tmp_path / "staging").exists()
