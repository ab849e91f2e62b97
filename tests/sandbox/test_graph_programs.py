"""The doors for programs: what they tell of the mailboxes and of the load, and what they change."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from starlette.testclient import TestClient

from sandbox.graph import Limits
from tests.sandbox.graph_client import ANNA, BEN, ITEM_ID, Clock, client, message, tenant
from tests.sandbox.test_graph_gateway import create

MESSAGES = f"/v1.0/users/{ANNA.id}/messages"
BATCH = "/v1.0/$batch"
KEY = ITEM_ID.replace("{6E7DA4C2-5D8A-4C3B-9E1F-0A1B2C3D4E5F}", "{6e7da4c2-5d8a-4c3b-9e1f-0a1b2c3d4e5f}")


def item(value: str) -> dict[str, Any]:
    return message(singleValueExtendedProperties=[{"id": ITEM_ID, "value": value}])


def load(graph: TestClient) -> dict[str, Any]:
    answer: dict[str, Any] = graph.get("/_sandbox/load").json()
    return answer


def test_the_tally_counts_an_item_wherever_it_lies_until_it_is_gone_for_good() -> None:
    graph = client(tenant())
    twice = [graph.post(MESSAGES, json=item("Two")).json()["id"] for _ in range(2)]
    gone = graph.post(MESSAGES, json=item("gone")).json()["id"]
    graph.post(f"/v1.0/users/{BEN.id}/messages", json=message(singleValueExtendedProperties=None))

    graph.delete(f"{MESSAGES}/{twice[0]}")  # to Deleted Items
    graph.post(f"{MESSAGES}/{gone}/permanentDelete")
    before = graph.get("/_sandbox/tally").json()
    deleted = graph.get(f"/v1.0/users/{ANNA.id}/mailFolders/deleteditems/messages").json()["value"][0]["id"]
    graph.delete(f"{MESSAGES}/{deleted}")  # to the recoverable items

    assert before == {
        ANNA.id: {"messages": 2, "values": {KEY: {"two": 2}}},
        BEN.id: {"messages": 1, "values": {}},
    }
    assert graph.get("/_sandbox/tally").json()[ANNA.id] == {"messages": 1, "values": {KEY: {"two": 1}}}


def test_the_tally_leaves_out_texts_that_name_nothing() -> None:
    graph = client(tenant())
    for value in ("a\nb", "x" * 256, "named"):
        graph.post(MESSAGES, json=item(value))

    assert graph.get("/_sandbox/tally").json()[ANNA.id] == {"messages": 3, "values": {KEY: {"named": 1}}}


def test_the_load_tells_creates_requests_refusals_and_faults_apart() -> None:
    whole = tenant(limits=Limits(requests=4))
    graph = client(whole)
    graph.post("/_sandbox/faults", json={"kind": "status", "path": "/messages$", "status": 429})

    graph.post(BATCH, json={"requests": [create(str(number), ANNA.id) for number in range(6)]})

    told = load(graph)
    assert told.pop("cpu_seconds") > 0
    assert told == {"creates": 3, "requests": 6, "refused": 2, "faulted": {"status": 1}, "breaches": 2, "peak": 4}


def test_a_reset_empties_the_counts() -> None:
    graph = client(tenant())
    graph.post("/_sandbox/faults", json={"kind": "status"})
    graph.get(MESSAGES)
    graph.post(MESSAGES, json=message())

    graph.post("/_sandbox/reset")

    told = load(graph)
    assert (told["creates"], told["requests"], told["faulted"], told["peak"]) == (0, 0, {}, 0)
    assert graph.get("/_sandbox/arrivals").json() == {}


def test_arrivals_tell_when_a_mailbox_was_asked_for_its_first_and_its_last_create() -> None:
    clock = Clock()
    graph = client(tenant(clock=clock))
    start = clock.now.timestamp()
    graph.post(MESSAGES, json=message())
    clock.pass_by(seconds=1.5)
    graph.post(MESSAGES, json=message())
    clock.pass_by(seconds=1)
    graph.post(MESSAGES, json=message(colour="red"))

    assert graph.get("/_sandbox/arrivals").json() == {ANNA.id: {"creates": 2, "first": start, "last": start + 1.5}}


def test_latency_can_be_changed_while_it_runs() -> None:
    whole = tenant()
    graph = client(whole)

    assert graph.put("/_sandbox/latency", json={"seconds": 0.25}).status_code == 204
    refused = [graph.put("/_sandbox/latency", json=wrong).status_code for wrong in ({"seconds": -1}, {"second": 1}, [])]

    assert (whole.latency, refused) == (0.25, [400, 400, 400])


def test_single_limits_can_be_set_and_switched_off_while_it_runs() -> None:
    whole = tenant(limits=Limits(requests=1))
    graph = client(whole)
    statuses = [graph.get(MESSAGES).status_code for _ in range(2)]

    assert graph.put("/_sandbox/limits", json={"requests": None}).status_code == 204
    statuses.append(graph.get(MESSAGES).status_code)
    assert graph.put("/_sandbox/limits", json={"requests": 4}).status_code == 204
    statuses += [graph.get(MESSAGES).status_code for _ in range(2)]

    assert statuses == [200, 429, 200, 200, 429]
    assert whole.limits == Limits(requests=4)


@pytest.mark.parametrize("wrong", [{"request": 1}, {"requests": "many"}, [1]])
def test_a_limit_that_does_not_exist_is_refused(wrong: Any) -> None:
    whole = tenant()

    assert client(whole).put("/_sandbox/limits", json=wrong).status_code == 400
    assert whole.limits == Limits()


def test_faults_with_a_rate_strike_the_requests_of_a_batch_one_by_one() -> None:
    whole = tenant(limits=Limits(requests=None, concurrent=None))
    graph = client(whole)
    for kind, detail in [
        ("status", {"rate": 0.1, "status": 429, "retry_after": 0.05}),
        ("status", {"rate": 0.05, "status": 503}),
        ("executed_but_lost", {"rate": 0.1, "how": "504"}),
    ]:
        fault = {"kind": kind, "path": "/messages$", "times": 1_000_000, **detail}
        assert graph.post("/_sandbox/faults", json=fault).status_code == 204
    batches = 300
    steps = [create(str(number), user.id) for number, user in enumerate([ANNA, BEN] * 10)]

    met: Counter[Any] = Counter()
    mixed = 0
    for _ in range(batches):
        answers = graph.post(BATCH, json={"requests": steps}).json()["responses"]
        statuses = [answer["status"] for answer in answers]
        mixed += len(set(statuses)) > 1
        met.update(statuses)
        assert {answer["headers"].get("Retry-After") for answer in answers if answer["status"] == 429} <= {"0.05"}

    total = batches * 20
    assert met[429] / total == pytest.approx(0.1, abs=0.02)
    assert met[503] / total == pytest.approx(0.9 * 0.05, abs=0.015)
    assert met[504] / total == pytest.approx(0.9 * 0.95 * 0.1, abs=0.02)
    assert mixed > batches * 0.9
    told = load(graph)
    assert told["creates"] == met[201] + met[504]
    assert told["faulted"] == {"status": met[429] + met[503], "executed_but_lost": met[504]}
    assert (told["refused"], told["breaches"]) == (0, 0)
