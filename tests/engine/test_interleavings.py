"""What goes wrong between two steps: an owner that comes back, a thread that waits, an answer that is a first page."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from o2_connector.core.errors import RetryError
from o2_connector.core.identity import item_key
from o2_connector.core.layout import bucket_of
from o2_connector.core.manifest import Shard, StagedObject
from o2_connector.core.naming import FOLDER_NAME, ITEM_PROPERTY, UNFINISHED_CATEGORY
from o2_connector.core.outcomes import Outcome
from o2_connector.engine import conductor
from o2_connector.engine.delivery import import_shard
from o2_connector.engine.messages import Messages
from o2_connector.engine.ownership import Rhythm
from o2_connector.engine.senders import Senders
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_requests import Answer, GraphRequests
from o2_connector.hooks.staging import StagingHook
from tests.engine.books import stage
from tests.engine.conftest import SETTLE, Site
from tests.engine.test_delivery import CREATES, HUGE, asked, every, forget_ledger, once

RHYTHM = Rhythm(sign_seconds=0.1, silent_seconds=0.5, dead_seconds=1.5)


class CutOff(StagingHook):
    """Take no signs of life while it is down."""

    down = False

    def write_lines(self, stem: str, rows: Any) -> StagedObject:
        if self.down and "/sign-" in stem:
            raise RetryError("staging: no answer")
        return super().write_lines(stem, rows)


def in_one_bucket(shard: Shard, box: str) -> Shard:
    return dataclasses.replace(shard, first=bucket_of(box), last=bucket_of(box))


def begin(staging: StagingHook, graph: GraphRequests, shard: Shard) -> threading.Thread:
    """Import in a thread, to whatever end."""

    def run() -> None:
        try:
            import_shard(staging, graph, shard, settle_seconds=SETTLE, rhythm=RHYTHM)
        except RetryError:
            return

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str, int]]:
    """Record when each request was answered, its path and the status."""
    requests: list[tuple[float, str, int]] = []
    attempt = GraphRequests.attempt

    def record(self: GraphRequests, method: str, url: str, **more: Any) -> Answer:
        answer = attempt(self, method, url, **more)
        requests.append((time.monotonic(), url, answer.status))
        return answer

    monkeypatch.setattr(GraphRequests, "attempt", record)
    return requests


# An owner that others took for dead


def test_an_owner_taken_for_dead_sends_nothing_when_staging_is_back(site: Site) -> None:
    (box,) = site.boxes(1)
    shard = in_one_bucket(stage(site.staging, every(1, [box]), attachments={0: [HUGE]}), box)
    site.tenant.faults.add("status", path=CREATES, times=1, status=429, code="TooManyRequests", retry_after=5)
    cut_off = CutOff()
    first = begin(cut_off, GraphHook().graph, shard)
    until(lambda: site.tenant.faults.struck.get("status"))  # its message waits out the Retry-After

    cut_off.down = True
    import_shard(StagingHook(), GraphHook().graph, shard, settle_seconds=SETTLE, rhythm=RHYTHM)
    cut_off.down = False
    first.join()

    assert site.subjects() == once(1, [box])


def test_a_batch_that_waited_for_its_token_is_not_sent_by_who_lost_the_mailboxes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (box,) = site.boxes(1)
    shard = in_one_bucket(stage(site.staging, every(1, [box])), box)
    cut_off, graph, waits = CutOff(), GraphHook().graph, threading.Event()
    token = graph.login.token

    def slow() -> str:
        if any(folder.name == FOLDER_NAME for folder in site.tenant.mailboxes[box].folders.values()):
            waits.set()
            time.sleep(5)
        return token()

    monkeypatch.setattr(graph.login, "token", slow)
    first = begin(cut_off, graph, shard)
    assert waits.wait(10)

    cut_off.down = True
    import_shard(StagingHook(), GraphHook().graph, shard, settle_seconds=SETTLE, rhythm=RHYTHM)
    first.join()

    assert site.subjects() == once(1, [box])


def test_a_large_message_ends_with_the_import(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (box,) = site.boxes(1)
    site.tenant.faults.add("status", path="createUploadSession$", times=1, status=429, retry_after=2)
    requests, look = sent(monkeypatch), conductor.Conductor._look_around
    stopped: list[float] = []

    def stop(self: conductor.Conductor) -> None:
        if any(status == 429 for _, _, status in requests):
            stopped.append(time.monotonic())
            self._stop(RetryError("told to end"))
        look(self)

    monkeypatch.setattr(conductor.Conductor, "_look_around", stop)

    with pytest.raises(RetryError, match="told to end"):
        site.deliver(stage(site.staging, every(1, [box]), attachments={0: [HUGE]}))

    assert not [url for at, url, _ in requests if at > stopped[0] + 0.5]


def test_an_import_that_can_start_no_thread_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Senders, jobs: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Senders, "send", fail)

    with pytest.raises(RuntimeError):
        site.deliver(stage(site.staging, every(5, site.boxes(2))))


# Large messages


def test_a_recording_larger_than_what_may_go_untold_arrives(site: Site) -> None:
    (box,) = site.boxes(1)

    site.deliver(stage(site.staging, every(2, [box]), attachments={1: [bytes(21_000_000)]}))

    assert site.subjects() == once(2, [box])


def test_a_retry_after_that_a_large_message_meets_holds_for_its_whole_mailbox(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (box,) = site.boxes(1)
    site.tenant.faults.add("status", path="createUploadSession$", times=1, status=429, retry_after=2)
    monkeypatch.setattr(site.tenant, "latency", 0.1)
    requests = sent(monkeypatch)

    site.deliver(stage(site.staging, every(60, [box]), attachments={0: [HUGE]}))

    refused = next(at for at, _, status in requests if status == 429)
    assert not [url for at, url, _ in requests if refused + 0.15 < at < refused + 1.9]
    assert site.subjects() == once(60, [box])


def test_a_half_made_message_beside_a_whole_one_is_removed(site: Site) -> None:
    (box,) = site.boxes(1)
    shard = stage(site.staging, every(3, [box]))
    site.deliver(shard)
    folder = next(each.id for each in site.tenant.mailboxes[box].folders.values() if each.name == FOLDER_NAME)
    late = {
        "body": {"contentType": "text", "content": "Number 0."},
        "categories": [UNFINISHED_CATEGORY],
        "singleValueExtendedProperties": [
            {"id": ITEM_PROPERTY, "value": item_key("i-0")},
            {"id": "SystemTime 0x0E06", "value": "2026-11-20T00:00:00Z"},
            {"id": "Integer 0x0E07", "value": "1"},
        ],
    }
    site.graph("POST", f"/users/{box}/mailFolders/{folder}/messages", late)
    forget_ledger(site)

    site.deliver(shard)

    assert site.subjects() == once(3, [box])


# Answers


def test_an_item_is_looked_for_on_every_page_before_it_is_sent_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (box,) = site.boxes(1)
    site.tenant.faults.add("executed_but_lost", path=CREATES, times=1, how="504")
    send = GraphRequests.batch_once

    def empty_at_first(self: GraphRequests, calls: Any) -> tuple[list[Answer], Answer]:
        answers, whole = send(self, calls)
        for place, call in enumerate(calls):
            if "singleValueExtendedProperties%2Fany" in call.path and "skiptoken" not in call.path:
                following = {"value": [], "@odata.nextLink": f"{site.sandbox.graph_url}{call.path}&$skiptoken=1"}
                answers[place] = Answer(status=200, content=msgspec.json.encode(following))
        return answers, whole

    monkeypatch.setattr(GraphRequests, "batch_once", empty_at_first)

    site.deliver(stage(site.staging, every(5, [box])))

    assert site.subjects() == once(5, [box])


def test_a_folder_that_vanishes_under_four_creates_is_looked_for_once_more(site: Site) -> None:
    (box,) = site.boxes(1)
    site.tenant.faults.add("status", path=CREATES, times=4, status=404, code="ErrorItemNotFound")

    counts = site.deliver(stage(site.staging, every(10, [box])))

    assert counts == {Outcome.IMPORTED: 10}
    assert site.subjects() == once(10, [box])


def test_a_folder_that_vanishes_before_it_was_looked_into_is_looked_into_when_it_is_found(site: Site) -> None:
    (box,) = site.boxes(1)
    rows = every(5, [box])
    site.deliver(stage(site.staging, rows))
    forget_ledger(site)
    site.tenant.faults.add("status", path=CREATES, times=1, status=404, code="ErrorItemNotFound")

    counts = site.deliver(stage(site.staging, rows, run_id="manual__2"))

    assert counts == {Outcome.SKIPPED: 5}
    assert site.subjects() == once(5, [box])


def test_a_request_names_the_folder_that_its_mailbox_had_when_it_was_decided(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = site.boxes(2)
    site.tenant.faults.add("status", path=CREATES, times=1, status=404, code="ErrorItemNotFound")
    requests: list[str] = []
    send, body = GraphRequests.batch_once, Messages.body_of
    slow = iter([1.0])

    def record(self: GraphRequests, calls: Any) -> tuple[list[Answer], Answer]:
        requests.extend(call.path for call in calls)
        return send(self, calls)

    def wait(self: Messages, row: Any) -> msgspec.Raw:
        time.sleep(next(slow, 0.0))  # as when its pack is being fetched
        return body(self, row)

    monkeypatch.setattr(GraphRequests, "batch_once", record)
    monkeypatch.setattr(Messages, "body_of", wait)
    monkeypatch.setattr(conductor, "BATCH_LIMIT", 5)

    site.deliver(stage(site.staging, every(10, boxes)))

    assert not [path for path in requests if "mailFolders//" in path]
    assert site.subjects() == once(10, boxes)


def test_a_mailbox_with_pages_of_folders_may_be_listed_twice(site: Site) -> None:
    (box,) = site.boxes(1)
    for number in range(150):
        site.graph("POST", f"/users/{box}/mailFolders/msgfolderroot/childFolders", {"displayName": f"F{number}"})
    site.tenant.faults.add("executed_but_lost", path="/childFolders$", how="504")

    site.deliver(stage(site.staging, every(3, [box])))

    assert site.subjects() == once(3, [box])


def test_a_token_that_is_revoked_within_a_batch_is_renewed(site: Site) -> None:
    boxes = site.boxes(3)
    site.tenant.faults.add("status", path=CREATES, times=1, status=401, code="InvalidAuthenticationToken")

    site.deliver(stage(site.staging, every(5, boxes)))

    assert site.subjects() == once(5, boxes)


def test_after_a_batch_was_taken_apart_batches_are_full_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = site.boxes(5)
    site.tenant.faults.add("status", path=r"/\$batch$", times=1, status=400, code="BadRequest")
    sizes = asked(monkeypatch)

    site.deliver(stage(site.staging, every(40, boxes)))

    assert site.subjects() == once(40, boxes)
    assert len(sizes) < 60
