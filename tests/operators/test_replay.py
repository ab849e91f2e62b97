"""The tasks of a replay: what they hand on, what they say, and when they fail."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from o2_connector.core.errors import IntegrityError, StopError
from o2_connector.core.manifest import Decision, Shard, from_xcom
from o2_connector.operators.map import MapMailboxesOperator
from o2_connector.operators.replay import FindParkedOperator, ReconcileReplayOperator
from tests.archive import Instance
from tests.engine.small import ALEX, KIM, LEE, Item, Small, opened

A = "alex@example.com"
OUT = Item(name="out", people=[(ALEX, "", True), (LEE, "", False)])
OTHER = Item(name="other", people=[(KIM, "", True), (LEE, "", False)])
XCom = dict[tuple[str, int, str], Any]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    for archive in opened(tmp_path, monkeypatch):
        archive.users = {A: "A", "caught@example.com": "C"}
        yield archive


def settings(small: Small) -> dict[str, Any]:
    return {"mappings": str(small.rules().folder), "region": "GB", "timezone": "Europe/London", "directory_hours": 0}


def find(small: Small, xcom: XCom, *, dry_run: bool = False) -> list[Shard]:
    return do(FindParkedOperator(task_id="find_parked", **settings(small)), xcom, dry_run)


def reconcile(xcom: XCom, *, dry_run: bool = False) -> Any:
    do(ReconcileReplayOperator(task_id="reconcile", find_parked="find_parked", timezone="Europe/London"), xcom, dry_run)
    return xcom.get(("reconcile", -1, "return_value"))


def do(operator: Any, xcom: XCom, dry_run: bool) -> Any:
    ti = Instance(xcom=xcom, task_id=operator.task_id, map_index=-1)
    run = SimpleNamespace(start_date=datetime.now(UTC))
    returned = operator.execute({"run_id": "replay__1", "params": {"dry_run": dry_run}, "ti": ti, "dag_run": run})
    if returned is not None:
        ti.xcom_push("return_value", returned)
    return returned


def decision_of(xcom: XCom) -> Decision:
    return from_xcom(xcom["find_parked", -1, "decision"], Decision)


def test_when_nothing_waits_there_is_nothing_to_import_and_no_book(small: Small) -> None:
    xcom: XCom = {}

    assert find(small, xcom) == []
    assert reconcile(xcom) is None


def test_when_nothing_can_be_delivered_there_is_a_book_of_what_stays(small: Small) -> None:
    small.run([OUT])
    xcom: XCom = {}

    assert not find(small, xcom)
    counts = reconcile(xcom)["counts"]

    assert (counts["balanced"], counts["available_from_source"], counts["parked"]) == (True, 1, 1)


def test_the_book_of_a_replay_balances_and_what_is_delivered_leaves(small: Small) -> None:
    small.run([OUT, OTHER])
    small.rows = [f"{ALEX},{A}"]
    xcom: XCom = {}

    shards = find(small, xcom)
    small.deliver(decision_of(xcom))
    counts = reconcile(xcom)["counts"]

    assert sum(shard["count"] for shard in shards) == 1  # type: ignore[index]
    wanted = {"balanced": True, "decided": 2, "items_with_deliveries": 1, "parked": 1, "imported": 1, "failed": 0}
    assert {name: counts[name] for name in wanted} == wanted
    assert small.whom() == {"other": {KIM, LEE}}


def test_what_was_delivered_leaves_even_when_the_rest_failed(small: Small) -> None:
    small.run([OUT, OTHER])
    small.users["kim@example.com"] = "K"
    small.full = {"K"}
    small.rows = [f"{ALEX},{A}", f"{KIM},kim@example.com"]
    xcom: XCom = {}
    find(small, xcom)
    small.deliver(decision_of(xcom))

    with pytest.raises(StopError, match="1 deliveries failed"):
        reconcile(xcom)

    assert small.whom().keys() == {"other"}
    assert xcom["reconcile", -1, "return_value"]["counts"]["failed"] == 1


def test_a_replay_whose_import_never_came_to_its_end_does_not_balance_and_loses_nothing(small: Small) -> None:
    small.run([OUT])
    small.rows = [f"{ALEX},{A}"]
    xcom: XCom = {}
    find(small, xcom)

    with pytest.raises(IntegrityError, match="does not balance"):
        reconcile(xcom)

    assert small.whom() == {"out": {ALEX, LEE}}


def test_a_replay_that_did_not_decide_has_no_book(small: Small) -> None:
    with pytest.raises(StopError, match="find_parked did not finish"):
        reconcile({})


def test_a_dry_replay_has_a_book_and_lets_nothing_leave(small: Small) -> None:
    small.run([OUT])
    small.rows = [f"{ALEX},{A}"]
    xcom: XCom = {}
    find(small, xcom, dry_run=True)

    counts = reconcile(xcom, dry_run=True)["counts"]

    assert (counts["balanced"], counts["available_for_import"], counts["imported"]) == (True, 1, 0)
    assert small.whom() == {"out": {ALEX, LEE}}


def test_nothing_personal_passes_through_xcom_or_the_log(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    small.run([OUT, OTHER])
    small.rows = [f"{ALEX},{A}", f"{LEE},nobody@example.com"]
    xcom: XCom = {}
    find(small, xcom)
    small.deliver(decision_of(xcom))
    reconcile(xcom)

    said = caplog.text + json.dumps(list(xcom.values()))
    assert not [each for each in ("900321", "900789", "900456", "example.com") if each in said]


@pytest.mark.parametrize("kind", [MapMailboxesOperator, FindParkedOperator])
def test_the_address_of_the_catch_all_mailbox_is_shown_nowhere(small: Small, kind: type[Any]) -> None:
    """Rendered fields are shown in the UI, and stored; so is the DAG as the scheduler has it."""
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    more = {"groups": []} if kind is MapMailboxesOperator else {}
    with DAG("d", schedule=None, start_date=datetime(2026, 11, 1, tzinfo=UTC)) as dag:
        operator = kind(task_id="t", catch_all="caught@example.com", **settings(small), **more)

    rendered = [getattr(operator, name) for name in operator.template_fields]
    assert operator.rules().catch_all == "caught@example.com"
    assert "caught@" not in json.dumps([rendered, DagSerialization.to_dict(dag)], default=str)
