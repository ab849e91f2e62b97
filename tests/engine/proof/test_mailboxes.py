"""Whatever becomes of a message in its mailbox is found, and named; what its reader may do is no fault."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import pytest

from o2_connector.core.errors import RetryError
from o2_connector.core.layout import bucket_of
from o2_connector.core.naming import FACTS_PROPERTY, UNFINISHED_CATEGORY
from o2_connector.engine.chain import links_of
from o2_connector.engine.ownership import owned
from o2_connector.engine.paces import Paces
from o2_connector.engine.proof.asked import asked_for
from o2_connector.engine.proof.asking import PATIENCE_SECONDS, Asking, Questions
from o2_connector.engine.proof.ledgers import ledgers
from o2_connector.engine.proof.mailboxes import Extent
from o2_connector.engine.proof.result import Fault, Proof
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_mail import folders_call
from o2_connector.hooks.graph_requests import Answer, Call, GraphRequests
from o2_connector.hooks.staging import StagingHook
from sandbox.graph.shapes import ItemBody
from tests.archive import Archive
from tests.engine.proof.tampered import Held, Staged, as_posted, held


def plain(line: Archive) -> Held:
    """Return a message without attachments."""
    return next(one for one in held(line) if not one.message.attachments)


def faults(day: Staged, extent: Extent = Extent.SAMPLE) -> list[Fault]:
    """Return what is wrong with the mailboxes; everything else is as it was."""
    proved = day.prove(extent=extent)
    assert proved.unproved == []
    assert proved.faults == list(proved.of(Proof.MAILBOXES).faults)
    return proved.faults


def test_a_message_that_was_deleted_is_found(line: Archive, day: Staged) -> None:
    gone = plain(line)
    mailbox, message = gone.mailbox, gone.id
    line.graph("POST", f"{gone.path}/permanentDelete", None)

    (fault,) = faults(day)

    assert (fault.mailbox, fault.message) == (mailbox, message)
    assert fault.what.startswith("the message is not there; it was delivered on 20")
    assert fault.item_id in {item["itemId"] for item in line.items()}


def test_a_message_that_was_doubled_by_hand_is_found(line: Archive, day: Staged) -> None:
    one = plain(line)
    line.graph("POST", f"/users/{one.mailbox}/messages", as_posted(line, one))

    (fault,) = faults(day)

    assert fault.what.startswith("the message is there 2 times")
    assert fault.mailbox == one.mailbox
    assert fault.message != one.id
    assert f"keep {one.id}" in fault.remedy


def test_what_a_reader_may_do_with_a_message_is_no_fault(line: Archive, day: Staged) -> None:
    moved, removed, marked, *_ = held(line)
    line.graph("POST", f"{moved.path}/move", {"destinationId": "inbox"})
    line.graph("DELETE", removed.path, None)  # into the deleted items
    line.graph("PATCH", marked.path, {"categories": ["Red"], "flag": {"flagStatus": "flagged"}})

    assert faults(day, Extent.ALL) == []


def _later(one: Held) -> None:
    one.message.sent += 3600


def _received_later(one: Held) -> None:
    one.message.received += 3600


def _a_draft(one: Held) -> None:
    one.message.flags |= 8


ALTERED: dict[str, Callable[[Held], None]] = {
    "its subject is another": lambda one: one.alter(subject="another"),
    "its body is another": lambda one: one.alter(body=ItemBody(contentType="text", content="another")),
    "its Message-ID is another": lambda one: one.alter(internetMessageId="<another@example.com>"),
    "the time at which it was sent is another": _later,
    "the time at which it was received is another": _received_later,
    "it is a draft": _a_draft,
    "its facts are others": lambda one: one.alter_property(
        FACTS_PROPERTY, one.property(FACTS_PROPERTY).replace("X-O2-Network: O2", "X-O2-Network: o2")
    ),
}


def test_every_alteration_of_a_message_is_found(line: Archive, day: Staged) -> None:
    plain = (one for one in held(line) if not one.message.attachments)
    altered = {next(plain).id: what for what in ALTERED}
    messages = {one.id: one for one in held(line)}
    for name, what in altered.items():
        ALTERED[what](messages[name])
    fewer, renamed, resized, *_ = [one for one in messages.values() if one.message.attachments]
    count = len(fewer.message.attachments)
    fewer.message.attachments = fewer.message.attachments[1:]
    renamed.message.attachments[0].name += ".bak"
    resized.message.attachments[0].size -= 1
    altered[fewer.id] = f"it has {count - 1} attachments in place of {count}"
    altered[renamed.id] = "an attachment has another name"
    altered[resized.id] = "an attachment has another size"

    found = {fault.message: fault for fault in faults(day)}

    assert {name: fault.what for name, fault in found.items()} == {
        name: f"the message was altered: {what}" for name, what in altered.items()
    }
    assert len(altered) == len(ALTERED) + 3


def test_what_exchange_does_to_a_message_is_no_fault(line: Archive, day: Staged) -> None:
    """It ends lines with CR LF, cuts milliseconds off, writes HTML anew, and counts more of an attachment."""
    for one in held(line):
        body = one.message.content.body
        assert isinstance(body, ItemBody)
        content = (body.content or "").replace("\n", "\r\n") + "\r\n"
        if body.contentType == "html":
            content = content.replace("<body>", '<body lang="EN"><div>').replace("</body>", "</div></body>")
        one.alter(body=ItemBody(contentType=body.contentType, content=content))
        for file in one.message.attachments:
            file.size += 420

    assert faults(day) == []


def test_a_message_in_the_wrong_mailbox_is_found_where_all_are_asked_for(line: Archive, day: Staged) -> None:
    one = plain(line)
    keys = {each.mailbox for each in held(line) if each.message.content.internetMessageId == _id(one)}
    other = next(each for each in held(line) if each.mailbox not in keys)
    folder = f"/users/{other.mailbox}/mailFolders/{other.message.folder.id}/messages"
    line.graph("POST", folder, as_posted(line, one))

    assert faults(day, Extent.SAMPLE) == []
    (fault,) = faults(day, Extent.ALL)
    assert fault.what == "the mailbox has the item, and no ledger says that it was meant to"
    assert fault.mailbox == other.mailbox


def _id(one: Held) -> object:
    return one.message.content.internetMessageId


def test_a_mailbox_that_is_gone_is_one_fault(line: Archive, day: Staged) -> None:
    gone = plain(line).mailbox
    there = sum(one.mailbox == gone for one in held(line))
    line.sandbox.graph.change_users(user for user in line.sandbox.world.directory if user.id != gone)

    (fault,) = faults(day)

    assert fault.mailbox == gone
    assert fault.what.startswith("the mailbox is gone (")
    assert fault.what.endswith(f"with it {there} of the deliveries that are looked for")


def test_a_message_that_lacks_attachments_still_is_found(line: Archive, day: Staged) -> None:
    line.graph("PATCH", plain(line).path, {"categories": [UNFINISHED_CATEGORY]})

    (fault,) = faults(day)

    assert fault.what.startswith("the message lacks attachments still")


def test_a_folder_that_was_removed_with_all_in_it_is_every_message_of_it(line: Archive, day: Staged) -> None:
    box = plain(line).box
    folder = plain(line).message.folder
    there = sum(one.box is box for one in held(line))
    line.graph("POST", f"/users/{box.user.id}/mailFolders/{folder.id}/permanentDelete", None)

    assert len(faults(day, Extent.ALL)) == there


def test_a_run_that_comes_meanwhile_waits_for_a_turn_at_most(line: Archive, day: Staged) -> None:
    line.sandbox.graph.latency = 0.05
    run = threading.Thread(target=lambda: line.run("meanwhile"))
    try:
        run.start()
        found = faults(day, Extent.ALL)
        run.join()
    finally:
        line.sandbox.graph.latency = 0.0

    assert found == []
    assert line.sandbox.graph.breaches == []


def test_mailboxes_that_are_closed_to_the_application_are_not_proved(staged: Staged, sound: Archive) -> None:
    closed = held(sound)[0].mailbox
    users = list(sound.sandbox.graph.directory.all.values())
    sound.sandbox.graph.change_users(replace(user, mailbox="denied") if user.id == closed else user for user in users)
    try:
        proved = staged.prove(extent=Extent.SAMPLE)
    finally:
        sound.sandbox.graph.change_users(users)

    assert proved.faults == []
    (why,) = proved.unproved
    assert why.startswith(f"mailbox {closed} does not answer, or is closed to the application")


def test_graph_is_obeyed_when_it_throttles_and_when_it_fails(staged: Staged, sound: Archive) -> None:
    faulty = sound.sandbox.graph.faults
    faulty.add("status", status=429, code="ApplicationThrottled", retry_after=1, path="/messages")
    faulty.add("status", status=503, code="ServiceUnavailable", retry_after=1, path="batch")

    assert faults(staged) == []
    assert sound.sandbox.graph.breaches == []
    assert sum(faulty.struck.values()) == 2


def test_a_mailbox_that_graph_closes_for_an_hour_is_not_waited_for(staged: Staged, sound: Archive) -> None:
    sound.sandbox.graph.faults.add(
        "status", status=429, code="ApplicationThrottled", retry_after=3600, path="/messages"
    )

    begun = time.monotonic()
    proved = staged.prove(extent=Extent.SAMPLE)

    assert time.monotonic() - begun < PATIENCE_SECONDS / 2
    assert proved.faults == []
    (why,) = proved.unproved
    assert "does not answer, or is closed to the application" in why


def test_a_login_that_is_refused_is_not_proved(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_O2_GRAPH"])
    monkeypatch.setenv("AIRFLOW_CONN_O2_GRAPH", json.dumps({**connection, "password": "wrong"}))

    proved = staged.prove(extent=Extent.SAMPLE)

    assert proved.faults == []
    assert proved.of(Proof.BOOKS).proved
    (why,) = proved.unproved
    assert why.startswith("the mailboxes could not be asked: ")


def test_a_mailbox_that_a_run_writes_to_is_not_asked(staged: Staged, sound: Archive) -> None:
    boxes = sorted({one.mailbox for one in held(sound)})
    busy = [mailbox for mailbox in boxes if bucket_of(mailbox) % 4 == bucket_of(boxes[0]) % 4]
    staging, told, answers = StagingHook(), list[str](), dict[str, list[bool]]()
    asking = Asking(staging, GraphHook().graph, lambda mailboxes, _: told.extend(mailboxes), owner_seconds=0.0)

    with owned(staging, [bucket_of(boxes[0])], Paces()):
        asking.ask({mailbox: _questions(mailbox, answers) for mailbox in boxes})

    assert sorted(told) == busy
    assert sorted(answers) == sorted({*boxes} - {*busy})


def test_questions_that_do_not_fit_a_turn_go_on_in_the_next(staged: Staged, sound: Archive) -> None:
    boxes = sorted({one.mailbox for one in held(sound)})
    answers = dict[str, list[bool]]()
    asking = Asking(StagingHook(), GraphHook().graph, lambda *_: None, turn_seconds=0.01)

    asking.ask({mailbox: _questions(mailbox, answers) for mailbox in boxes})

    assert answers == {mailbox: [True, True] for mailbox in boxes}


def test_questions_of_a_turn_that_was_lost_are_asked_again_in_the_next(staged: Staged, sound: Archive) -> None:
    boxes = sorted({one.mailbox for one in held(sound)})
    answers, told = dict[str, list[bool]](), list[str]()
    graph = cast("GraphRequests", _Lost(graph=GraphHook().graph))
    asking = Asking(StagingHook(), graph, lambda mailboxes, _: told.extend(mailboxes), owner_seconds=1.0)

    asked = threading.Thread(target=asking.ask, args=({box: _questions(box, answers) for box in boxes},), daemon=True)
    asked.start()
    asked.join(30)

    assert not asked.is_alive()
    assert (answers, told) == ({mailbox: [True, True] for mailbox in boxes}, [])


@dataclass(kw_only=True)
class _Lost:
    """Be a Graph that is not asked the first time, as when staging did not take signs of life for a minute."""

    graph: GraphRequests
    times: int = 0

    def gated(self, _: object) -> _Lost:
        return self

    def batch_once(self, calls: Sequence[Call]) -> tuple[list[Answer], Answer]:
        self.times += 1
        if self.times == 1:
            raise RetryError("this task could not show in staging that it still works")
        return self.graph.batch_once(calls)


def _questions(mailbox: str, answers: dict[str, list[bool]]) -> Questions:
    for _ in range(2):
        (answer,) = yield [folders_call(mailbox)]
        answers.setdefault(mailbox, []).append(answer.ok)


def test_a_sample_is_the_same_again_and_another_by_another_seed(staged: Staged) -> None:
    staging = StagingHook()
    asked = asked_for(staging, links_of(staging), staged.span)

    def chosen(most: int, seed: str) -> set[tuple[str, str]]:
        with ledgers(staging, asked) as found:
            found.choose_some(most, seed)
            assert found.chosen == min(most, found.count)
            return {
                (each.mailbox, each.key) for box in found.mailboxes() for some in found.due(box, 3) for each in some
            }

    assert len(chosen(10, "")) == 10
    assert chosen(10, "") == chosen(10, "")
    assert chosen(10, "") != chosen(10, "another")
    assert chosen(5, "") < chosen(10, "") < chosen(10_000, "")
