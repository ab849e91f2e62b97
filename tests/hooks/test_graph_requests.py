"""A request is sent again only while that is safe and may help, alone or in a batch, and never past its gate."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import pytest

from o2_connector.core.errors import RetryError, StopError
from o2_connector.core.graph_errors import ANSWER_LOST, NOT_SENT, Verdict
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_mail import create_large
from o2_connector.hooks.graph_requests import BATCH_LIMIT, Answer, Call, GraphRequests, get, post
from sandbox.server import Sandbox
from tests.hooks.graph_tenant import PATIENCE, Tenant, created, error, gate_into, listed, whole
from tests.hooks.tls_site import LOST, Reply, Request, Script, Time

BATCH = r"/\$batch"


def ask(graph: GraphRequests, call: Call | None = None) -> Answer:
    """Send a request, one that reads where nothing else is said."""
    return graph.send(call or get("/things"), graph.deadline())


# Every request


def test_every_request_asks_for_ids_that_last_and_bears_its_own_number(
    tenant: Tenant, graph: GraphRequests, moment: Time
) -> None:
    tenant.on("GET", "/things", error(429, "TooManyRequests", Retry_After="2.128"), listed())

    ask(graph)

    first, second = tenant.asked("GET", "/things")
    assert first.headers["prefer"] == second.headers["prefer"] == 'IdType="ImmutableId"'
    assert uuid.UUID(first.headers["client-request-id"]) != uuid.UUID(second.headers["client-request-id"])
    (wait,) = moment.waits
    assert wait >= 2.128


def test_waits_grow_and_end_with_the_patience(tenant: Tenant, graph: GraphRequests, moment: Time) -> None:
    tenant.on("GET", "/things", error(503, "ErrorServerBusy"))

    answer = ask(graph)

    assert (answer.status, answer.code) == (503, "ErrorServerBusy")
    assert moment.waits[0] <= 1 < moment.waits[2] < moment.waits[4]
    assert PATIENCE - 60 < sum(moment.waits) <= PATIENCE


def test_a_wait_longer_than_the_patience_is_left_to_the_caller(
    tenant: Tenant, graph: GraphRequests, moment: Time
) -> None:
    tenant.on("GET", "/things", error(429, "TooManyRequests", Retry_After="3600"))

    assert ask(graph).retry_after == 3600
    assert moment.waits == []


def test_an_error_names_graphs_request_and_says_when_to_come_back(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things", error(429, "TooManyRequests", Retry_After="3600"))

    failure = ask(graph).failure("things were asked for")

    assert str(failure) == "things were asked for: 429 TooManyRequests (Graph's request r-1)"
    assert isinstance(failure, RetryError)
    assert failure.retry_after == 3600


def test_a_request_number_that_looks_like_none_is_not_repeated(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things", error(400, "BadRequest", request_id="secret@example.com"))

    assert ask(graph).request_id is None


def test_after_a_503_another_connection_is_used(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things", error(429, "x"), error(503, "x"), listed())

    ask(graph)

    first, second, third = (request.port for request in tenant.asked("GET", "/things"))
    assert first == second != third


def test_a_lost_answer_to_a_question_is_asked_for_again(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things", LOST, Reply(body=b"<html>gateway</html>"), listed())

    assert ask(graph).ok


@pytest.mark.parametrize("reply", [LOST, error(500, "x"), error(502, "x"), error(504, "x"), error(503, "x")])
def test_what_may_have_been_executed_is_not_sent_again(
    tenant: Tenant, graph: GraphRequests, moment: Time, reply: Reply
) -> None:
    tenant.on("POST", "/things", reply)

    answer = ask(graph, post("/things", {}))

    assert answer.effect_unknown
    assert len(tenant.asked("POST", "/things")) == 1
    assert moment.waits == []


def test_what_cannot_have_been_executed_is_sent_again_when_graph_says(
    tenant: Tenant, graph: GraphRequests, moment: Time
) -> None:
    throttled = error(429, "ApplicationThrottled", Retry_After="20")
    busy = error(503, "ErrorServerBusy", Retry_After="30")
    tenant.on("POST", "/things", throttled, busy, created())

    assert ask(graph, post("/things", {})).ok
    assert moment.waits == [20, 30]


def test_a_graph_that_cannot_be_reached_was_not_asked(
    connect_graph: Callable[..., GraphHook], here: dict[str, str], moment: Time
) -> None:
    graph = connect_graph(**here | {"graph_url": "https://localhost:1/v1.0"}).graph

    answer = ask(graph, post("/things", {}))

    assert answer.code == NOT_SENT
    assert not answer.effect_unknown
    assert len(moment.waits) > 1


def test_connections_that_another_thread_dropped_are_not_taken_for_a_lost_answer(
    tenant: Tenant, graph: GraphRequests
) -> None:
    tenant.on("POST", "/things", created())
    ask(graph, post("/things", {}))
    pools = graph.session.get_adapter(tenant.url).poolmanager.pools
    for pool in map(pools.get, pools.keys()):
        pool.close()

    answer = graph.send_once(post("/things", {}))

    assert answer.code == NOT_SENT
    assert not answer.effect_unknown


def test_a_redirect_is_not_followed(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things", Reply(status=302, headers={"Location": f"{tenant.url}/elsewhere"}))

    answer = ask(graph)

    assert (answer.status, answer.verdict) == (302, Verdict.STOP)
    assert not tenant.asked("GET", "/elsewhere")


def test_a_body_that_is_encoded_already_goes_as_it_is(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", "/things", created())

    ask(graph, post("/things", msgspec.Raw(b'{"b":1,"a":"\\u00e9"}')))

    (request,) = tenant.asked("POST", "/things")
    assert request.body == b'{"b":1,"a":"\\u00e9"}'
    assert request.headers["content-type"] == "application/json"


# Lists


def test_a_list_is_read_over_all_of_its_pages(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things", listed({"id": "a"}, following=f"{tenant.url}/v1.0/things?page=2"))
    tenant.on("GET", r"/things\?page=2", listed({"id": "b"}))

    assert list(graph.listed("/things", "things were listed")) == [{"id": "a"}, {"id": "b"}]


def test_a_page_that_comes_again_ends_the_list(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things.*", listed({"id": "a"}, following=f"{tenant.url}/v1.0/things?page=2"))

    with pytest.raises(RetryError, match="twice"):
        list(graph.listed("/things", "things were listed"))


@pytest.mark.parametrize("host", [".example.com/v1.0", "/beta", "/v1.0.example.com", "@example.com/v1.0"])
def test_a_page_elsewhere_never_sees_the_token(tenant: Tenant, graph: GraphRequests, host: str) -> None:
    tenant.on("GET", "/things", listed(following=f"{tenant.url}{host}/things?page=2"))

    with pytest.raises(StopError, match="graph_url"):
        list(graph.listed("/things", "things were listed"))

    assert len(tenant.paths()) == 1


def test_a_list_that_is_none_is_not_taken_for_an_empty_one(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("GET", "/things", Reply(body={"surprise": True}))

    with pytest.raises(RetryError, match="no list"):
        list(graph.listed("/things", "things were listed"))


# Batches


def replies(*statuses: tuple[str, int, dict[str, str]]) -> Reply:
    return Reply(
        body={
            "responses": [
                {"id": number, "status": status, "headers": headers, "body": {"id": f"{number}!"}}
                for number, status, headers in statuses
            ]
        }
    )


def test_only_what_was_throttled_in_a_batch_is_sent_again_after_its_wait(
    tenant: Tenant, graph: GraphRequests, moment: Time
) -> None:
    tenant.on(
        "POST",
        BATCH,
        replies(("1", 429, {"retry-after": "30.5"}), ("0", 200, {}), ("2", 503, {"Retry-After": "3"})),
        replies(("1", 200, {}), ("0", 201, {})),
    )

    answers = graph.batch([get("/a"), post("/b", {"x": 1}), get("/c")])

    first, second = (request.json["requests"] for request in tenant.asked("POST", BATCH))
    assert [one["id"] for one in first] == ["0", "1", "2"]
    assert [one["url"] for one in second] == ["/b", "/c"]
    assert first[1]["headers"]["Content-Type"] == "application/json"
    assert all(one["headers"]["Prefer"] == 'IdType="ImmutableId"' for one in first + second)
    assert [answer.status for answer in answers] == [200, 201, 200]
    assert [answer.fields["id"] for answer in answers] == ["0!", "0!", "1!"]
    assert moment.waits == [30.5]


def test_what_may_have_been_executed_in_a_batch_is_not_sent_again(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", BATCH, replies(("0", 504, {}), ("1", 504, {})), replies(("0", 200, {})))

    answers = graph.batch([post("/a", {}), get("/b")])

    assert [answer.status for answer in answers] == [504, 200]
    assert answers[0].effect_unknown
    assert [one["url"] for one in tenant.asked("POST", BATCH)[1].json["requests"]] == ["/b"]


def test_a_lost_batch_is_sent_again_only_for_its_questions(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", BATCH, LOST, replies(("0", 200, {})))

    answers = graph.batch([post("/a", {}), get("/b")])

    assert answers[0].effect_unknown
    assert answers[1].ok


def test_an_answer_missing_from_a_batch_is_a_lost_one(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", BATCH, replies(("1", 200, {}), ("7", 200, {}), ("x", 200, {})))

    answers = graph.batch([post("/a", {}), post("/b", {})])

    assert answers[0].effect_unknown
    assert answers[1].ok


@pytest.mark.parametrize("way", [GraphRequests.batch, GraphRequests.batch_once])
def test_a_batch_of_more_than_twenty_is_a_mistake(
    tenant: Tenant, graph: GraphRequests, way: Callable[..., object]
) -> None:
    with pytest.raises(ValueError, match="20"):
        way(graph, [get("/a")] * (BATCH_LIMIT + 1))

    assert tenant.paths() == []


def test_a_batch_sent_once_comes_back_as_it_is_whatever_came_of_it(
    tenant: Tenant, graph: GraphRequests, moment: Time
) -> None:
    tenant.on("POST", BATCH, replies(("2", 201, {}), ("0", 429, {"Retry-After": "30.5"})))

    answers, whole = graph.batch_once([get("/a"), get("/b"), post("/c", {})])

    assert [(answer.status, answer.code) for answer in answers] == [(429, None), (0, ANSWER_LOST), (201, None)]
    assert answers[0].retry_after == 30.5
    assert whole.ok
    assert len(tenant.asked("POST", BATCH)) == 1
    assert moment.waits == []


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (error(429, "TooManyRequests", Retry_After="7"), 429, "TooManyRequests"),
        (error(413, "RequestEntityTooLarge"), 413, "RequestEntityTooLarge"),
        (LOST, 0, ANSWER_LOST),
        (Reply(body=b"<html>gateway</html>"), 0, ANSWER_LOST),
    ],
)
def test_what_came_of_a_whole_batch_came_of_each_of_its_requests(
    tenant: Tenant, graph: GraphRequests, moment: Time, reply: Reply, status: int, code: str
) -> None:
    tenant.on("POST", BATCH, reply)

    answers, whole = graph.batch_once([get("/a"), post("/b", {})])

    assert (whole.status, whole.code) == (status, code)
    assert answers == [whole, whole]
    assert len(tenant.asked("POST", BATCH)) == 1
    assert moment.waits == []


def test_a_batch_that_answers_without_a_list_lost_all_of_its_answers(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", BATCH, Reply(body={"surprise": True}))

    answers, whole = graph.batch_once([post("/a", {}), post("/b", {})])

    assert whole.ok
    assert [answer.code for answer in answers] == [ANSWER_LOST] * 2


def test_requests_of_a_batch_bear_their_own_numbers_and_bodies(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", BATCH, replies())

    graph.batch_once([post("/a", msgspec.Raw(b'{"x":[1]}')), post("/b", {"y": 2}), get("/c")])

    (request,) = tenant.asked("POST", BATCH)
    first, second, third = request.json["requests"]
    assert (first["method"], first["url"], first["body"]) == ("POST", "/a", {"x": [1]})
    assert second["body"] == {"y": 2}
    assert "body" not in third
    assert "Content-Type" not in third["headers"]
    numbers = [one["headers"]["client-request-id"] for one in (first, second, third)]
    assert len({uuid.UUID(number) for number in [*numbers, request.headers["client-request-id"]]}) == 4


# The gate


def told(events: list[Any], reply: Reply) -> Script:
    """Return a reply that records when it is asked for."""

    def script(_: Request) -> Reply:
        events.append("asked")
        return reply

    return script


def test_every_attempt_enters_the_gate_with_its_bytes_and_leaves_it_when_it_is_answered(
    tenant: Tenant, graph: GraphRequests
) -> None:
    events: list[Any] = []
    tenant.on("POST", "/things", told(events, error(429, "x")), told(events, created()))

    ask(graph.gated(gate_into(events)), post("/things", {"x": "é"}))

    size = len(json.dumps({"x": "é"}, ensure_ascii=False, separators=(",", ":")).encode())
    assert events == [("in", size), "asked", "out"] * 2


@pytest.mark.parametrize("reply", [LOST, error(500, "x"), Reply(status=302, headers={"Location": "/elsewhere"})])
def test_the_gate_is_left_whatever_came_of_the_request(tenant: Tenant, graph: GraphRequests, reply: Reply) -> None:
    events: list[Any] = []
    tenant.on("GET", "/things", reply)

    graph.gated(gate_into(events)).send_once(get("/things"))

    assert events == [("in", 0), "out"]


def test_an_attempt_with_a_fresh_token_passes_the_gate_again(tenant: Tenant, graph: GraphRequests) -> None:
    events: list[Any] = []
    tenant.on("GET", "/things", error(401, "InvalidAuthenticationToken"), listed())

    graph.gated(gate_into(events)).send_once(get("/things"))

    assert events == [("in", 0), "out"] * 2
    assert len(tenant.logins) == 2  # a login is not Graph's to count


def test_a_batch_passes_the_gate_as_the_one_request_that_it_is(tenant: Tenant, graph: GraphRequests) -> None:
    events: list[Any] = []
    tenant.on("POST", BATCH, replies(("0", 200, {}), ("1", 200, {})))

    graph.gated(gate_into(events)).batch_once([get("/a"), post("/b", {"x": 1})])

    (request,) = tenant.asked("POST", BATCH)
    assert events == [("in", len(request.body)), "out"]


def test_each_page_of_a_list_passes_the_gate(tenant: Tenant, graph: GraphRequests) -> None:
    events: list[Any] = []
    tenant.on("GET", "/things", listed(following=f"{tenant.url}/v1.0/things?page=2"))
    tenant.on("GET", r"/things\?page=2", listed())

    list(graph.gated(gate_into(events)).listed("/things", "things were listed"))

    assert events == [("in", 0), "out"] * 2


def test_what_the_gate_refuses_is_not_sent(tenant: Tenant, graph: GraphRequests) -> None:
    def refuse(_: int) -> AbstractContextManager[None]:
        raise RetryError("the import is ending")

    with pytest.raises(RetryError, match="ending"):
        ask(graph.gated(refuse), post("/things", {}))

    assert tenant.paths() == []


def test_a_gate_stands_in_its_own_conversations_way_alone(tenant: Tenant, graph: GraphRequests) -> None:
    first: list[Any] = []
    second: list[Any] = []
    tenant.on("GET", "/things", listed())
    one, other = graph.gated(gate_into(first)), graph.gated(gate_into(second))

    for conversation in (graph, one, other):
        conversation.send_once(get("/things"))

    assert first == second == [("in", 0), "out"]
    assert len(tenant.logins) == 1


# The sandbox


def test_threads_that_share_a_hook_do_not_disturb_each_other_when_one_meets_a_503(
    graph_sandbox: Sandbox,
    sandbox_graph: GraphRequests,
    make_folder: Callable[[str], str],
    kept: Callable[[], list[dict[str, Any]]],
) -> None:
    boxes = [user.id for user in graph_sandbox.world.directory if user.mailbox == "ok"][:6]
    folders = {one: make_folder(one) for one in boxes}
    graph_sandbox.graph.faults.add(
        "status", path="/messages$", times=1000, rate=0.3, status=503, code="ErrorServerBusy", retry_after="0.01"
    )

    def deliver(one: str) -> list[str]:  # an answer that looks lost would be an error
        return [create_large(sandbox_graph, one, folders[one], whole(f"{n:040x}"), []) for n in range(20)]

    with ThreadPoolExecutor(len(boxes)) as pool:
        made = [message_id for each in pool.map(deliver, boxes) for message_id in each]

    assert {one["id"] for one in kept()} == set(made)
    assert len(made) == 20 * len(boxes)
