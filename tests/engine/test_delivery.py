"""An import delivers a book once, at Graph's pace, whatever Graph answers and whenever it dies."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from o2_connector.core import pacing
from o2_connector.core.errors import IntegrityError, RetryError, StopError
from o2_connector.core.ledger import Intent
from o2_connector.core.naming import FOLDER_NAME, UNFINISHED_CATEGORY
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.core.pacing import UNTOLD_BYTES
from o2_connector.engine import conductor, judge
from o2_connector.engine.journal import Journal
from o2_connector.engine.ownership import Ownership
from o2_connector.engine.senders import LARGE
from o2_connector.hooks import graph_upload
from o2_connector.hooks.graph_mail import archived, folder_named
from o2_connector.hooks.graph_requests import Answer, GraphRequests
from o2_connector.hooks.staging import StagingHook
from sandbox.graph.limits import Limits
from tests.engine.books import stage
from tests.engine.conftest import SETTLE, Site, text_of
from tests.statsd import statsd

CREATES = r"/mailFolders/[^/]+/messages$"
BIG = bytes(range(256)) * 10_000  # 2.56 MB: two do not fit into one request
HUGE = bytes(range(251)) * 15_000  # 3.7 MB: an upload session


def every(count: int, boxes: Sequence[str]) -> list[tuple[int, str]]:
    return [(number, box) for number in range(count) for box in boxes]


def once(count: int, boxes: Sequence[str]) -> Counter[tuple[str, str]]:
    return Counter((box, f"Number {number}.") for number, box in every(count, boxes))


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of requests in each batch."""
    sizes: list[int] = []
    send = GraphRequests.batch_once

    def count(self: GraphRequests, calls: Any) -> tuple[list[Answer], Answer]:
        sizes.append(len(calls))
        return send(self, calls)

    monkeypatch.setattr(GraphRequests, "batch_once", count)
    return sizes


def forget_receipts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an import lose its receipts, as one does that is killed."""
    monkeypatch.setattr(Journal, "receive", lambda self, receipt: None)


def forget_ledger(site: Site) -> None:
    for path in site.folder.rglob("*"):
        if path.is_file() and ("/receipts." in path.as_posix() or "/intents." in path.as_posix()):
            path.unlink()


# A book arrives


def test_every_delivery_arrives_once_in_the_archive_folder(site: Site) -> None:
    boxes = site.boxes(7)

    counts = site.deliver(stage(site.staging, every(23, boxes)))

    assert site.subjects() == once(23, boxes)
    assert {each["folder"] for each in site.messages()} == {FOLDER_NAME}
    assert counts == {Outcome.IMPORTED: 161}
    assert Counter(each.outcome for each in site.receipts()) == counts


def test_batches_are_filled_across_mailboxes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = asked(monkeypatch)

    site.deliver(stage(site.staging, every(20, site.boxes(20))))

    assert max(sizes) == 20
    assert len(sizes) < 60  # 400 creates and 40 requests about folders; one by one they would be 440


def test_no_more_batches_are_under_way_than_memory_is_meant_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = site.boxes(8)
    under_way: Counter[str] = Counter()
    send = GraphRequests.batch_once

    def watch(self: GraphRequests, calls: Any) -> tuple[list[Answer], Answer]:
        under_way["now"] += 1
        under_way["most"] = max(under_way["most"], under_way["now"])
        try:
            return send(self, calls)
        finally:
            under_way["now"] -= 1

    site.deliver(stage(site.staging, every(1, boxes)))  # their folders are there
    monkeypatch.setattr(GraphRequests, "batch_once", watch)
    monkeypatch.setattr(conductor, "IN_FLIGHT", 4_000_000)
    monkeypatch.setattr(site.tenant, "latency", 0.1)

    site.deliver(stage(site.staging, every(2, boxes), attachments={1: [bytes(2_000_000)]}, run_id="manual__2"))

    assert len(site.messages()) == 16
    assert under_way["most"] == 2  # of 2.7 MB each, as base64


def test_within_a_mailbox_the_oldest_goes_first(site: Site) -> None:
    (box,) = site.boxes(1)

    site.deliver(stage(site.staging, every(100, [box])))

    kept = site.tenant.mailboxes[box].messages.values()
    sent = [message.sent for message in kept]
    # Four at a time may overtake each other, by no more than that
    assert all(abs(place - rank) < 4 for place, rank in enumerate(sorted(range(100), key=sent.__getitem__)))


def test_a_mailbox_is_asked_four_things_at_a_time_at_most(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.tenant, "latency", 0.02)
    boxes = site.boxes(3)

    site.deliver(stage(site.staging, every(40, boxes)))

    assert {site.tenant.mailboxes[box].meter.peak for box in boxes} == {4}


def test_attachments_of_every_size_arrive_as_they_are(site: Site) -> None:
    (box,) = site.boxes(1)
    files = {0: [b"small", b""], 1: [BIG, BIG], 2: [HUGE], 3: [b"x", HUGE, BIG]}

    site.deliver(stage(site.staging, every(5, [box]), attachments=files))

    arrived = {text_of(each): each for each in site.messages()}
    for number, contents in files.items():
        message = arrived[f"Number {number}."]
        digests = sorted(file["sha256"] for file in message["attachments"])
        assert digests == sorted(hashlib.sha256(content).hexdigest() for content in contents)
        assert UNFINISHED_CATEGORY not in message["categories"]


def test_a_message_that_fits_no_request_fails_alone_and_says_why(site: Site) -> None:
    boxes = site.boxes(2)
    # One that travels alone, one beyond a request, one beyond what a mailbox's pace ever lets through
    shard = stage(site.staging, every(5, boxes), bodies={1: 4_000_000, 2: 4_300_000, 3: UNTOLD_BYTES + 1})

    counts = [site.deliver(shard) for _ in range(2)]

    assert counts == [{Outcome.IMPORTED: 6, Outcome.FAILED: 4}, {Outcome.FAILED: 4}]
    assert site.subjects() == Counter((box, f"Number {number}.") for number in (0, 1, 4) for box in boxes)
    causes = {cause for outcome, cause in site.causes() if outcome is Outcome.FAILED}
    assert causes == {"the message is larger than the 4 MB of a request, even without its attachments"}


# It arrives once


def test_a_finished_book_asks_nothing_and_writes_nothing_to_graph(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = site.boxes(3)
    site.deliver(stage(site.staging, every(5, boxes)))
    sizes = asked(monkeypatch)

    again = site.deliver(stage(site.staging, every(5, boxes)))
    other = site.deliver(stage(site.staging, every(5, boxes), run_id="manual__2"))

    assert (again, other) == ({}, {Outcome.SKIPPED: 15})
    assert sizes == []


def test_a_receipt_stands_whatever_the_reader_did_with_the_message(site: Site) -> None:
    boxes = site.boxes(2)
    site.deliver(stage(site.staging, every(3, boxes)))
    first, second, *_ = site.messages()
    site.graph("POST", f"/users/{first['userId']}/messages/{first['id']}/permanentDelete")
    site.graph("POST", f"/users/{second['userId']}/messages/{second['id']}/move", {"destinationId": "inbox"})

    site.deliver(stage(site.staging, every(4, boxes), run_id="manual__2"))

    assert sum(site.subjects().values()) == 7
    assert max(site.subjects().values()) == 1


@pytest.mark.parametrize("limits", [(1, 35, 35), (35, 1, 1)])
def test_after_a_change_of_the_limit_every_book_says_what_the_mailbox_holds(
    site: Site, limits: tuple[int, ...]
) -> None:
    (box,) = site.boxes(1)
    files = {0: [bytes(2_000_000)]}

    said = [
        site.deliver(
            stage(site.staging, [(0, box)], attachments=files, message_megabytes=limit, run_id=f"manual__{run}")
        )
        for run, limit in enumerate(limits)
    ]

    (message,) = site.messages()
    if message["attachments"]:
        assert said == [{Outcome.IMPORTED: 1}, {Outcome.SKIPPED: 1}, {Outcome.SKIPPED: 1}]
    else:
        assert site.causes() == {(Outcome.PARTIALLY_IMPORTED, Cause.ATTACHMENT_TOO_LARGE): 3}
    assert bool(message["attachments"]) == (limits[0] == 35)


@pytest.mark.parametrize("how", ["504", "cut"])
def test_a_create_whose_answer_was_lost_is_asked_for_and_not_sent_again(site: Site, how: str) -> None:
    boxes = site.boxes(4)
    site.tenant.faults.add("executed_but_lost", path=CREATES, times=10, rate=0.2, how=how)

    counts = site.deliver(stage(site.staging, every(10, boxes)))

    assert site.subjects() == once(10, boxes)
    assert counts == {Outcome.IMPORTED: 40}


def test_a_batch_whose_answer_was_lost_is_asked_for_item_by_item(site: Site) -> None:
    boxes = site.boxes(4)
    site.tenant.faults.add("executed_but_lost", path=r"/\$batch$", times=3, rate=0.4)

    site.deliver(stage(site.staging, every(10, boxes)))

    assert site.subjects() == once(10, boxes)


def test_a_write_that_lands_late_is_waited_for(site: Site) -> None:
    boxes = site.boxes(2)
    site.tenant.faults.add("late", path=CREATES, times=5, rate=0.5, seconds=SETTLE / 2)

    site.deliver(stage(site.staging, every(8, boxes)))

    assert site.subjects() == once(8, boxes)


def test_what_did_not_happen_is_sent_again(site: Site) -> None:
    boxes = site.boxes(3)
    site.tenant.faults.add("status", path=CREATES, times=12, rate=0.3, status=504)

    counts = site.deliver(stage(site.staging, every(10, boxes)))

    assert site.subjects() == once(10, boxes)
    assert counts == {Outcome.IMPORTED: 30}


def test_what_a_killed_import_intended_is_asked_for_before_anything_is_sent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = site.boxes(2)
    shard = stage(site.staging, every(10, boxes))
    with monkeypatch.context() as killed:
        forget_receipts(killed)
        site.deliver(shard)
    # Where the folder shows them no longer, only the ledger knows that there was something
    for each in site.messages():
        site.graph("POST", f"/users/{each['userId']}/messages/{each['id']}/move", {"destinationId": "inbox"})

    counts = site.deliver(shard)

    assert site.subjects() == once(10, boxes)
    assert counts == {Outcome.IMPORTED: 20}


def test_doubts_that_the_folder_answers_are_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = site.boxes(2)
    shard = stage(site.staging, every(10, boxes))
    with monkeypatch.context() as killed:
        forget_receipts(killed)
        site.deliver(shard)
    began = time.monotonic()

    counts = site.deliver(shard, settle_seconds=60)

    assert counts == {Outcome.IMPORTED: 20}
    assert time.monotonic() - began < 30


def test_a_lost_ledger_is_no_reason_to_deliver_twice(site: Site) -> None:
    boxes = site.boxes(2)
    rows = every(10, boxes)
    site.deliver(stage(site.staging, rows))
    forget_ledger(site)

    counts = site.deliver(stage(site.staging, every(12, boxes), run_id="manual__2"))

    assert site.subjects() == once(12, boxes)
    assert counts == {Outcome.SKIPPED: 20, Outcome.IMPORTED: 4}


def test_a_folder_of_more_than_a_page_is_looked_through(site: Site) -> None:
    (box,) = site.boxes(1)
    rows = every(1100, [box])
    site.deliver(stage(site.staging, rows))
    forget_ledger(site)

    counts = site.deliver(stage(site.staging, rows, run_id="manual__2"))

    assert counts == {Outcome.SKIPPED: 1100}
    assert len(site.messages()) == 1100


def test_two_imports_of_one_book_at_the_same_time_leave_one_copy(site: Site) -> None:
    boxes = site.boxes(5)
    books = [stage(site.staging, every(40, boxes), run_id=f"manual__{run}") for run in range(3)]

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda book: site.deliver(book), books))

    assert site.subjects() == once(40, boxes)


def test_an_unfinished_message_of_a_killed_import_is_removed_and_made_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (box,) = site.boxes(1)
    shard = stage(site.staging, every(3, [box]), attachments={1: [BIG, BIG]})
    with monkeypatch.context() as killed:
        forget_receipts(killed)
        # The message stays as it is when the process ends between two of its attachments
        killed.setattr("o2_connector.hooks.graph_mail._finish", _die)
        killed.setattr("o2_connector.hooks.graph_mail._remove_after_failure", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            site.deliver(shard)
    assert [UNFINISHED_CATEGORY in each["categories"] for each in site.messages()].count(True) == 1

    site.deliver(shard)

    assert site.subjects() == once(3, [box])
    assert not any(UNFINISHED_CATEGORY in each["categories"] for each in site.messages())
    assert sorted(len(each["attachments"]) for each in site.messages()) == [0, 0, 2]


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_unfinished_message_of_another_run_is_left_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (box,) = site.boxes(1)
    with monkeypatch.context() as killed:
        killed.setattr("o2_connector.hooks.graph_mail._finish", _die)
        killed.setattr("o2_connector.hooks.graph_mail._remove_after_failure", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            site.deliver(stage(site.staging, [(1, box)], attachments={1: [BIG, BIG]}))

    site.deliver(stage(site.staging, [(0, box), (2, box)], run_id="manual__2"))

    assert len(site.messages()) == 3


# The ledger comes first


def test_nothing_is_sent_before_its_intent_is_durable(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: StagingHook, stem: str, rows: Any) -> Any:
        if "/intents." in stem:
            raise StopError("no more room")
        return write(self, stem, rows)

    write = StagingHook.write_lines
    monkeypatch.setattr(StagingHook, "write_lines", refuse)

    with pytest.raises(StopError, match="room"):
        site.deliver(stage(site.staging, every(10, site.boxes(2))))

    assert site.messages() == []


def test_every_create_has_an_intent(site: Site) -> None:
    boxes = site.boxes(3)

    site.deliver(stage(site.staging, every(10, boxes)))

    names = [name for name in site.staging.names("windows/") if "/intents." in name]
    intents = [each for name in names for each in site.staging.read_lines(site.staging.staged(name), Intent)]
    assert Counter((each.mailbox, each.item_id) for each in intents) == Counter(
        (box, f"i-{number}") for number, box in every(10, boxes)
    )


def test_an_import_that_lost_its_mailboxes_to_others_stops(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: Ownership) -> None:
        raise RetryError("somebody else came")

    monkeypatch.setattr(Ownership, "check", lost)

    with pytest.raises(RetryError, match="somebody"):
        site.deliver(stage(site.staging, every(10, site.boxes(2))))

    assert site.messages() == []


# Answers, each judged by itself


def test_a_throttled_mailbox_waits_alone(site: Site) -> None:
    slow, *others = site.boxes(5)
    rows = every(20, [slow, *others])
    site.tenant.faults.add("status", path=f"{slow}.*{CREATES}", times=4, status=429, retry_after="1.25")

    site.deliver(stage(site.staging, rows))

    last = {box: max(each.created for each in site.tenant.mailboxes[box].messages.values()) for box in [slow, *others]}
    assert site.subjects() == once(20, [slow, *others])
    assert all(last[slow] - last[box] >= 1 for box in others)


def test_a_batch_that_graph_throttles_as_a_whole_waits(site: Site) -> None:
    boxes = site.boxes(3)
    site.tenant.faults.add("status", path=r"/\$batch$", times=2, status=429, retry_after="0.2")

    site.deliver(stage(site.staging, every(10, boxes)))

    assert site.subjects() == once(10, boxes)


def test_a_batch_that_one_request_spoils_is_taken_apart(site: Site) -> None:
    boxes = site.boxes(3)
    site.tenant.faults.add("status", path=r"/\$batch$", times=1, status=400, code="BadRequest")

    counts = site.deliver(stage(site.staging, every(10, boxes)))

    assert counts == {Outcome.IMPORTED: 30}
    assert site.subjects() == once(10, boxes)


def test_a_refused_message_fails_alone_with_graphs_code(site: Site) -> None:
    boxes = site.boxes(2)
    site.tenant.faults.add("status", path=CREATES, times=1, status=400, code="ErrorInvalidRecipients")

    site.deliver(stage(site.staging, every(10, boxes)))

    assert site.causes() == {(Outcome.IMPORTED, None): 19, (Outcome.FAILED, "ErrorInvalidRecipients"): 1}


@pytest.mark.parametrize(
    ("files", "limit", "refused_at"),
    [
        ([bytes(50_000)], 40_000, None),  # with the create
        ([BIG, BIG], 4_000_000, None),  # an attachment that follows
        ([HUGE], 3_000_000, None),  # a part of one
        ([HUGE], 99_000_000, "/createUploadSession$"),
    ],
)
def test_what_exceeds_the_tenants_limit_fails_alone_with_that_cause_and_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, files: list[bytes], limit: int, refused_at: str | None
) -> None:
    (box,) = site.boxes(1)
    monkeypatch.setattr(site.tenant, "message_bytes", limit)
    monkeypatch.setattr(graph_upload, "CHUNK", 1_000_000)
    if refused_at:
        site.tenant.faults.add("status", path=refused_at, status=400, code="ErrorMessageSizeExceeded")

    site.deliver(stage(site.staging, every(3, [box]), attachments={1: files}))

    assert site.causes() == {(Outcome.IMPORTED, None): 2, (Outcome.FAILED, "ErrorMessageSizeExceeded"): 1}
    assert [text_of(each) for each in site.messages()] == ["Number 0.", "Number 2."]
    # The remedy: with a lower limit of ours the window's next run has a message without what does not fit
    counts = site.deliver(stage(site.staging, every(3, [box]), run_id="manual__2"))
    assert counts == {Outcome.SKIPPED: 2, Outcome.IMPORTED: 1}


def test_a_failure_is_tried_again_next_time(site: Site) -> None:
    boxes = site.boxes(2)
    shard = stage(site.staging, every(10, boxes))
    site.tenant.faults.add("status", path=CREATES, times=1, status=400, code="ErrorInvalidRecipients")
    site.deliver(shard)

    counts = site.deliver(shard)

    assert counts == {Outcome.IMPORTED: 1}
    assert site.subjects() == once(10, boxes)


@pytest.mark.parametrize(("kind", "cause"), [("full", "ErrorQuotaExceeded"), ("denied", "ErrorAccessDenied")])
def test_a_mailbox_that_takes_nothing_fails_with_its_cause_and_the_others_go_on(
    site: Site, kind: str, cause: str
) -> None:
    (bad,), good = site.boxes(1, kind), site.boxes(2)

    site.deliver(stage(site.staging, every(300, [bad]) + every(10, good)))

    assert site.causes() == {(Outcome.FAILED, cause): 300, (Outcome.IMPORTED, None): 20}
    assert site.subjects() == once(10, good)


def test_a_doubt_outlives_the_failure_of_its_mailbox(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (box,) = site.boxes(1)
    shard = stage(site.staging, every(5, [box]))
    site.tenant.faults.add("executed_but_lost", path=CREATES, times=1, how="504")
    site.tenant.faults.add("status", path=r"/messages\b", times=99, rate=0.999, status=507, code="ErrorQuotaExceeded")
    site.deliver(shard)
    site.tenant.faults.clear()
    for each in site.messages():  # out of the folder: only the ledger knows
        site.graph("POST", f"/users/{box}/messages/{each['id']}/move", {"destinationId": "inbox"})

    site.deliver(shard)

    assert site.subjects() == once(5, [box])


def test_a_folder_that_vanishes_is_looked_for_once_more(site: Site) -> None:
    boxes = site.boxes(2)
    site.tenant.faults.add("status", path=CREATES, times=1, status=404, code="ErrorItemNotFound")

    counts = site.deliver(stage(site.staging, every(10, boxes)))

    assert counts == {Outcome.IMPORTED: 20}
    assert site.subjects() == once(10, boxes)


def test_a_folder_that_vanishes_again_fails_the_mailbox(site: Site) -> None:
    (box,) = site.boxes(1)
    site.tenant.faults.add("status", path=CREATES, times=99, status=404, code="ErrorItemNotFound")

    site.deliver(stage(site.staging, every(10, [box])))

    assert site.causes() == {(Outcome.FAILED, "ErrorFolderNotFound"): 10}


@pytest.mark.parametrize("fault", ["executed_but_lost", "late"])
def test_a_folder_is_made_once_although_the_answer_was_lost(site: Site, fault: str) -> None:
    (box,) = site.boxes(1)
    site.tenant.faults.add(fault, path="/childFolders$", how="504", seconds=0.1)

    site.deliver(stage(site.staging, every(3, [box])))

    names = [folder.name for folder in site.tenant.mailboxes[box].folders.values()]
    assert names.count(FOLDER_NAME) == 1
    assert site.subjects() == once(3, [box])


def test_a_folder_that_exists_after_all_is_looked_for_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (box,) = site.boxes(1)
    site.graph("POST", f"/users/{box}/mailFolders/msgfolderroot/childFolders", {"displayName": FOLDER_NAME.upper()})
    hidden = iter([None])
    monkeypatch.setattr(judge, "folder_named", lambda *asked: next(hidden, folder_named(*asked)))

    site.deliver(stage(site.staging, every(3, [box])))

    assert {each["folder"] for each in site.messages()} == {FOLDER_NAME.upper()}


def test_a_mailbox_whose_folders_cannot_be_listed_fails_with_graphs_code(site: Site) -> None:
    (box,) = site.boxes(1)
    site.tenant.faults.add("status", path="/childFolders$", times=99, status=404, code="ErrorFolderNotFound")

    site.deliver(stage(site.staging, every(5, [box])))

    assert site.causes() == {(Outcome.FAILED, "ErrorFolderNotFound"): 5}
    assert site.tenant.faults.struck["status"] == 1


def test_a_folder_that_neither_shows_nor_can_be_made_is_left_to_the_next_try(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (box,) = site.boxes(1)
    site.graph("POST", f"/users/{box}/mailFolders/msgfolderroot/childFolders", {"displayName": FOLDER_NAME})
    monkeypatch.setattr(judge, "folder_named", lambda *_: None)

    with pytest.raises(RetryError, match="neither"):
        site.deliver(stage(site.staging, every(3, [box])), patience_seconds=2)


def test_a_page_that_comes_again_ends_the_listing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (box,) = site.boxes(1)
    site.deliver(stage(site.staging, every(3, [box])))
    fields = Answer.fields.fget
    monkeypatch.setattr(GraphRequests, "below_root", lambda self, link: f"/users/{box}/messages?$top=1")
    monkeypatch.setattr(Answer, "fields", property(lambda answer: {**fields(answer), "@odata.nextLink": "again"}))

    with pytest.raises(RetryError, match="twice"):
        site.deliver(stage(site.staging, every(4, [box]), run_id="manual__2"))

    assert len(site.messages()) == 3


def test_a_list_that_is_none_is_asked_for_again_before_anything_is_sent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (box,) = site.boxes(1)
    site.deliver(stage(site.staging, every(3, [box])))
    forget_ledger(site)
    broken = iter([True])

    def read(answer: Answer) -> Any:
        return archived(dataclasses.replace(answer, content=b"{}") if next(broken, False) else answer)

    monkeypatch.setattr(judge, "archived", read)

    site.deliver(stage(site.staging, every(3, [box]), run_id="manual__2"))

    assert site.subjects() == once(3, [box])


def test_a_create_that_is_lost_again_and_again_is_left_to_the_next_try(site: Site) -> None:
    (box,) = site.boxes(1)
    site.tenant.faults.add("status", path=CREATES, times=9999, status=504)

    with pytest.raises(RetryError, match="lost"):
        site.deliver(stage(site.staging, every(2, [box])), patience_seconds=2)

    assert site.receipts() == []


@pytest.mark.parametrize("code", ["InvalidAuthenticationToken", "Authorization_RequestDenied"])
def test_what_concerns_every_mailbox_stops_the_import_and_receipts_stay(site: Site, code: str) -> None:
    boxes = site.boxes(4)
    shard = stage(site.staging, every(60, boxes))
    site.tenant.faults.add("status", path=f"{boxes[3]}.*{CREATES}", times=99, status=403, code=code)

    with pytest.raises(StopError):
        site.deliver(shard)
    site.tenant.faults.clear()
    arrived = len(site.messages())
    imported = sum(each.outcome is Outcome.IMPORTED for each in site.receipts())
    site.deliver(shard)

    assert imported == arrived < 240
    assert site.subjects() == once(60, boxes)


def test_a_mailbox_that_stays_busy_is_left_to_the_next_try_and_the_others_are_done(site: Site) -> None:
    busy, *others = site.boxes(3)
    site.tenant.faults.add("status", path=f"{busy}.*{CREATES}", times=9999, status=429, retry_after="33")

    with pytest.raises(RetryError) as caught:
        site.deliver(stage(site.staging, every(10, [busy, *others])), patience_seconds=2)

    assert caught.value.retry_after == 33
    assert site.subjects() == once(10, others)


def test_a_line_that_is_cut_again_and_again_ends_the_try(site: Site) -> None:
    site.tenant.faults.add("cut", path=r"/\$batch$", times=9999)

    with pytest.raises(RetryError):
        site.deliver(stage(site.staging, every(10, site.boxes(3))), patience_seconds=2)


def test_a_delivery_that_refers_to_another_items_message_stops_the_import(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = stage(site.staging, every(2, site.boxes(1)))
    book = (site.folder / shard.deliveries.name).read_text().replace('"key":"', '"key":"0', 1)
    with site.staging.writer(shard.deliveries.name.rpartition("/")[0] + "/00-63.", ".jsonl") as out:
        out.write(book.encode())

    with pytest.raises(IntegrityError, match="another item"):
        site.deliver(dataclasses.replace(shard, deliveries=out.staged))

    assert len(site.messages()) < 2


# It ends, and says where it is


def test_a_task_that_is_told_to_end_keeps_the_receipts_of_what_arrived(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = site.boxes(10)
    shard = stage(site.staging, every(100, boxes))
    monkeypatch.setattr(site.tenant, "latency", 0.05)
    calls = iter(range(10**9))

    def told_to_end(self: Ownership) -> None:
        if next(calls) == 40:
            raise KeyboardInterrupt

    with monkeypatch.context() as told:
        told.setattr(Ownership, "check", told_to_end)
        with pytest.raises(KeyboardInterrupt):
            site.deliver(shard)

    arrived = len(site.messages())
    assert 0 < arrived < 1000
    assert len(site.receipts()) == arrived
    monkeypatch.setattr(site.tenant, "latency", 0.0)
    site.deliver(shard)
    assert site.subjects() == once(100, boxes)


def test_progress_is_told_in_the_log_and_as_metrics(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "airflow.task")
    monkeypatch.setattr("o2_connector.engine.progress.EVERY_SECONDS", 0.1)
    monkeypatch.setattr(site.tenant, "latency", 0.05)
    box, *_ = boxes = site.boxes(3)
    site.tenant.faults.add("status", path=f"{box}.*{CREATES}", times=2, status=429, retry_after="0.3")
    site.tenant.faults.add("status", path="/attachments$", times=1, status=429, retry_after="0.3")

    with statsd(monkeypatch) as sink:
        site.deliver(stage(site.staging, every(40, boxes), attachments={1: [BIG, BIG]}))
        told = sink.told()

    lines = [line for line in caplog.messages if "deliveries done" in line]
    assert len(lines) > 3
    assert "120 of 120 deliveries done" in lines[-1]
    imported = [each.value for each in told if each.name == "o2_archive.import.deliveries,outcome=imported"]
    refused = [each.value for each in told if each.name == "o2_archive.import.refused"]
    assert (sum(imported), sum(refused)) == (120, 3)
    rates = [each.value for each in told if each.name == "o2_archive.import.per_second,shard=00-63"]
    assert max(rates) > 0
    assert rates[-1] == 0


# Graph's limits


@pytest.fixture
def tight(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Let Graph, and us, count to 60 requests in 6 seconds and 120,000 bytes in 3."""
    usual = site.tenant.limits
    site.tenant.limit(Limits(requests=60, requests_seconds=6, upload_bytes=120_000, upload_seconds=3))
    for name, value in {
        "REQUESTS_SECONDS": 6,
        "BYTES_SECONDS": 3,
        "_REQUESTS_ALLOWED": 60,
        "_BYTES_ALLOWED": 120_000,
        "UNTOLD_REQUESTS": 30,
        "UNTOLD_BYTES": 60_000,
    }.items():
        monkeypatch.setattr(pacing, name, value)
    yield site
    site.tenant.limit(usual)


def test_the_count_of_requests_and_bytes_is_kept_over_imports_and_never_found_out_by_a_refusal(
    tight: Site,
) -> None:
    (box,) = tight.boxes(1)
    began = time.monotonic()

    for run in range(3):  # each another owner, who must know what the one before has used
        tight.deliver(stage(tight.staging, every(40 * (run + 1), [box]), run_id=f"manual__{run}"))

    assert tight.tenant.breaches == []
    assert tight.subjects() == once(120, [box])
    assert time.monotonic() - began > 6  # 120 messages do not fit into one window


@pytest.fixture
def narrow(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Let Graph, and us, count to 8 MB in 2 seconds; a large message goes up in parts of a tenth of it."""
    usual = site.tenant.limits
    site.tenant.limit(Limits(upload_bytes=8_000_000, upload_seconds=2))
    monkeypatch.setattr(pacing, "BYTES_SECONDS", 2)
    monkeypatch.setattr(pacing, "_BYTES_ALLOWED", 8_000_000)
    monkeypatch.setattr(pacing, "UNTOLD_BYTES", 4_000_000)
    monkeypatch.setattr(graph_upload, "CHUNK", 800_000)
    yield site
    site.tenant.limit(usual)


def test_messages_larger_than_a_window_takes_go_through_one_after_the_other(narrow: Site) -> None:
    box, other = narrow.boxes(2)
    files = {number: [bytes(9_000_000)] for number in range(2)}

    counts = narrow.deliver(stage(narrow.staging, [*every(4, [box]), (4, other)], attachments=files))

    assert narrow.tenant.breaches == []
    assert counts == {Outcome.IMPORTED: 5}
    assert sorted(sum(file["size"] for file in each["attachments"]) for each in narrow.messages()) == [
        *[0, 0, 0],
        *[9_000_000] * 2,
    ]


def test_a_mailbox_that_must_wait_for_its_window_keeps_no_other_from_its_large_messages(
    narrow: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, other = narrow.boxes(2)
    monkeypatch.setattr(conductor, "LARGE", 1)
    files = {number: [bytes(6_000_000 if number < 2 else 3_200_000)] for number in range(4)}
    rows = [(0, busy), (1, busy), (2, other), (3, other)]

    narrow.deliver(stage(narrow.staging, rows, attachments=files))

    mailboxes = narrow.tenant.mailboxes
    assert narrow.tenant.breaches == []
    assert len(narrow.messages()) == 4
    assert mailboxes[other].last_created < mailboxes[busy].last_created


def test_a_mailbox_that_waits_for_a_thread_goes_before_one_that_just_had_it(site: Site) -> None:
    boxes = site.boxes(LARGE + 1)

    site.deliver(stage(site.staging, every(2, boxes), attachments={0: [HUGE], 1: [HUGE]}))

    mailboxes = [site.tenant.mailboxes[box] for box in boxes]
    assert len(site.messages()) == 2 * len(boxes)
    assert max(each.first_created for each in mailboxes) < min(each.last_created for each in mailboxes)


def test_bytes_are_counted_as_they_travel(tight: Site) -> None:
    (box,) = tight.boxes(1)
    files = {number: [bytes(20_000)] for number in range(8)}  # 27,000 as base64, each

    tight.deliver(stage(tight.staging, every(8, [box]), attachments=files))

    assert tight.tenant.breaches == []
    assert tight.subjects() == once(8, [box])
