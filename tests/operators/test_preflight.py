"""The task of a preflight: what it tells, what it hands on, and when it fails; and the DAG around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from o2_connector.core.errors import StopError
from o2_connector.operators.preflight import PreflightOperator
from sandbox.server import Sandbox, running
from tests.conftest import ROOT
from tests.engine.conftest import connected
from tests.engine.preflight.conftest import Rig, rigged


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=1, users=40) as sandbox:
        yield sandbox


@pytest.fixture
def rig(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with connected(sandbox, tmp_path, monkeypatch) as site, rigged(site, tmp_path) as rig:
        yield rig


def execute(rig: Rig, **params: Any) -> Any:
    return PreflightOperator(task_id="preflight", settings=rig.settings).execute({"params": params})


def test_it_tells_each_finding_in_the_log_and_hands_counts_on(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    counts = execute(rig, canary=None, outside=rig.outside.mail)

    assert json.loads(json.dumps(counts)) == counts
    assert (counts["error"], counts["not checked"]) == (0, 0)
    log = capsys.readouterr().out  # of structlog, which writes past pytest's log
    assert "canary mailbox: ok: the message is no draft" in log
    assert log.count("open point: ") >= 24
    assert {each for each in (rig.canary.mail, rig.outside.mail, rig.canary.id) if each and each in log} == set()


def test_it_fails_with_the_sentences_of_what_has_to_be_mended(rig: Rig) -> None:
    rig.let(token=frozenset())

    with pytest.raises(StopError) as failed:
        execute(rig, canary=None, outside=None)

    told = str(failed.value).splitlines()
    assert told[0] == "2 have to be mended:"
    assert all(": error: " in line and "User.Read.All" in line for line in told[1:])


def test_the_runs_parameter_wins_over_the_setting(rig: Rig) -> None:
    with pytest.raises(StopError, match="the canary's address leads to no mailbox"):
        execute(rig, canary="nobody@example.com", outside=None)


def test_ending_a_task_that_is_not_at_work_does_nothing(rig: Rig) -> None:
    PreflightOperator(task_id="preflight", settings=rig.settings).on_kill()


@pytest.fixture(scope="module")
def dag() -> Iterator[Any]:
    from airflow.dag_processing.dagbag import DagBag

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("O2_CANARY_MAILBOX", "planted@example.com")
        yield DagBag(str(ROOT / "dags" / "o2_preflight.py")).dags["o2_preflight"]


def test_the_dag_runs_by_hand_alone_and_one_at_a_time(dag: Any) -> None:
    assert (dag.schedule, dag.max_active_runs, dag.task_ids) == (None, 1, ["preflight"])
    assert dag.doc_md


@pytest.mark.parametrize(
    ("value", "good"), [(None, True), ("alex@example.com", True), ("", False), ("alex", False), ("a@b@c", False)]
)
def test_the_form_takes_addresses_only(dag: Any, value: str | None, good: bool) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    for name in ("canary", "outside"):
        param = dag.params.get_param(name)
        if good:
            assert param.resolve(value) == value
        else:
            with pytest.raises(ParamValidationError):
                param.resolve(value)


def test_the_canary_that_the_environment_names_is_nowhere_in_what_airflow_keeps(dag: Any) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    assert dag.get_task("preflight").settings.canary == "planted@example.com"
    assert "planted" not in json.dumps(DagSerialization.to_dict(dag), default=str)
    assert dag.get_task("preflight").template_fields == ()


def test_the_form_says_who_sees_what_is_put_into_it(dag: Any) -> None:
    assert "O2_CANARY_MAILBOX" in dag.params.get_param("canary").description
    assert "sees it" in dag.params.get_param("outside").description
