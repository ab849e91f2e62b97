"""A mailbox that does not keep what an import puts into it is found out; and what was put there is removed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from o2_connector.core.graph_message import graph_message
from o2_connector.core.layout import bucket_of
from o2_connector.core.naming import UNFINISHED_CATEGORY
from o2_connector.core.preflight import FOLDER_NAME, Finding, OpenPoint, Preflight, State
from o2_connector.core.preflight_samples import Sample, sample
from o2_connector.engine.ownership import Rhythm, owned
from o2_connector.engine.paces import Paces
from o2_connector.hooks.graph_requests import Call
from sandbox.server import Sandbox
from tests.conftest import ROOT
from tests.engine.conftest import connected
from tests.engine.preflight.conftest import Alter, Rig, point_of, rigged, sentences, states

QUICK = Rhythm(sign_seconds=0.05, silent_seconds=5.0, dead_seconds=0.4)


def rewriting(each: dict[str, Any]) -> None:
    """Let a mailbox keep nothing of a message as it was made."""
    others = {
        "isDraft": True,
        "sentDateTime": "2026-11-29T00:00:00Z",
        "receivedDateTime": "2026-11-29T00:00:00Z",
        "internetMessageId": "<other@example.com>",
        "sender": {"emailAddress": {"address": "owner@example.com", "name": "Owner"}},
        "toRecipients": [],
        "conversationIndex": "AQ==",
        "categories": [UNFINISHED_CATEGORY],
        "contentBytes": "",
    }
    each.update({name: value for name, value in others.items() if name in each})
    if "internetMessageHeaders" in each:
        each["internetMessageHeaders"] = each["internetMessageHeaders"][1:]
    if str(each.get("id")).endswith("Name O2Facts"):
        each["value"] = each["value"][:255]
    if each.get("id") == "String 0x1a":
        each["value"] = "IPM.Note"


def cutting(each: dict[str, Any]) -> None:
    """Let a list of two messages have one."""
    if isinstance(each.get("value"), list) and len(each["value"]) == 2 and "subject" not in each["value"][0]:
        each["value"].pop()


def forgetting(each: dict[str, Any]) -> None:
    """Let no list of messages have any."""
    if str(each.get("@odata.context")).endswith("/messages"):
        each["value"] = []


@pytest.fixture(scope="module")
def rewritten(running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Preflight:
    folder = tmp_path_factory.mktemp("rewritten")
    with (
        pytest.MonkeyPatch.context() as patch,
        connected(running_sandbox, folder, patch) as site,
        rigged(site, folder) as rig,
    ):
        rig.alter(rewriting)
        return rig.run()


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("draft", "the message is a draft"),
        ("dates", "it is not sent when the item was"),
        ("dates", "it is not received when the item was"),
        ("identity", "its Message-ID is not kept"),
        ("people", "its sender is not kept"),
        ("people", "its recipient is not kept"),
        ("headers", "1 of its 5 headers are not kept"),
        ("facts", "its named property of facts is not kept"),
        ("class", "its class is not kept"),
        ("conversation", "its conversation index is not kept"),
        ("attachments", "an attachment added with the message does not come back byte for byte"),
        ("attachments", "an attachment added by a request does not come back byte for byte"),
        ("attachments", "an attachment added by an upload session does not come back byte for byte"),
        ("attachments", "a message has attachments that nobody added"),
        ("attachments", "a message that is complete cannot be marked so"),
    ],
)
def test_what_a_mailbox_does_not_keep_is_an_error(rewritten: Preflight, check: str, said: str) -> None:
    assert said in sentences(rewritten, f"canary.{check}")


@pytest.mark.parametrize(
    ("check", "said", "change"),
    [
        ("canary.found", "it is not found in the whole mailbox", forgetting),
        ("canary.found", "it is not found in the folder, by its date", forgetting),
        ("canary.again", "one that is there twice is found 1 times", cutting),
    ],
)
def test_a_message_that_is_not_found_again_is_an_error(rig: Rig, check: str, said: str, change: Alter) -> None:
    rig.alter(change)

    found = rig.run()

    assert said in sentences(found, check)
    assert {each.check for each in found.errors} <= {check, "canary.removed"}


def test_a_mailbox_that_is_out_of_the_scope_is_an_error(rig: Rig) -> None:
    found = rig.run(canary=rig.outside.mail)

    assert "Graph refuses to open it; assign Application Mail.ReadWrite" in sentences(found, "canary.open")
    assert states(found, "canary.removed") == [State.NOT_CHECKED]


def test_an_address_that_leads_to_no_mailbox_is_an_error(rig: Rig) -> None:
    told = sentences(rig.run(canary="nobody@example.com"), "canary.user")

    assert "leads to no mailbox: no Microsoft 365 user has this address" in told


def test_without_a_canary_one_line_says_so(rig: Rig) -> None:
    found = rig.run(canary=None)

    (finding,) = [each for each in found.findings if each.check.startswith("canary")]
    assert (finding.state, "O2_CANARY_MAILBOX" in (finding.remedy or "")) == (State.NOT_CHECKED, True)


@pytest.mark.parametrize(
    ("path", "check", "said"),
    [
        (r"msgfolderroot/childFolders$", "canary.leftovers", "grant the application Mail.ReadWrite"),
        (r"/mailFolders/[^/]+/messages$", "canary.create", "grant the application Mail.ReadWrite"),
        (r"createUploadSession$", "canary.attachments", "attachments cannot follow a message's creation"),
    ],
)
def test_what_graph_refuses_is_an_error(rig: Rig, path: str, check: str, said: str) -> None:
    rig.fault(path)

    found = rig.run()

    assert said in sentences(found, check)


def test_a_message_that_may_not_be_changed_is_a_warning(rig: Rig) -> None:
    rig.let(exchange=frozenset({"Mail.ReadWrite"}))

    found = rig.run()

    assert "Mail-Advanced.ReadWrite.All" in sentences(found, "canary.change", State.WARNING)
    assert states(found, "canary.attachments") == [State.OK] * 3
    assert (point_of(found, "change.subject").observed or "").startswith("403 ErrorAccessDenied on ")


def test_without_staging_imports_are_not_kept_away_and_a_warning_says_so(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_O2_STAGING")

    found = rig.run()

    assert "keep imports away" in sentences(found, "canary.alone", State.WARNING)
    assert states(found, "canary.removed") == [State.OK] * 2


def test_while_an_import_writes_to_the_mailbox_it_is_left_alone(rig: Rig) -> None:
    with owned(rig.site.staging, [bucket_of(rig.canary.id)], Paces(), rhythm=QUICK):
        found = rig.run(rhythm=QUICK)

    assert "another run writes to these mailboxes" in sentences(found, "canary.alone")
    assert rig.mailbox().created == 0


def test_afterwards_imports_may_write_to_the_mailbox_at_once(rig: Rig) -> None:
    rig.run()

    with owned(rig.site.staging, [bucket_of(rig.canary.id)], Paces(), patience_seconds=1.0):
        pass


# What stays


@pytest.mark.parametrize("at", ["canary.folder", "canary.create", "canary.attachments", "find.pages"])
def test_what_was_made_is_removed_also_when_somebody_interrupts_it(rig: Rig, at: str) -> None:
    class Stop(list[Finding | OpenPoint]):
        def append(self, each: Finding | OpenPoint) -> None:
            super().append(each)
            if at in {getattr(each, "check", ""), getattr(each, "point", "")}:
                raise KeyboardInterrupt

    rig.heard = Stop()
    with pytest.raises(KeyboardInterrupt):
        rig.run()

    assert rig.mailbox().messages == {}
    assert FOLDER_NAME not in {folder.name for folder in rig.mailbox().folders.values()}
    assert str(rig.heard[-1]).startswith("canary mailbox: ok: what is removed for good")


def litter(rig: Rig, folder: str, parent: str = "msgfolderroot") -> None:
    """Leave a message in a folder below another one, as an earlier preflight did."""
    path = f"/users/{rig.canary.id}/mailFolders"
    made = post(rig, f"{path}/{parent}/childFolders", {"displayName": folder})["id"] if parent else folder
    post(rig, f"{path}/{made}/messages", graph_message(sample(Sample.REPLY, "IPM.Note")))


def post(rig: Rig, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = rig.graph.graph.send_once(Call(method="POST", path=path, body=body))
    assert answer.ok, answer
    return dict(answer.fields)


@pytest.mark.parametrize(
    "leave",
    [
        lambda rig: litter(rig, FOLDER_NAME),
        lambda rig: litter(rig, FOLDER_NAME, "deleteditems"),
        lambda rig: litter(rig, "inbox", ""),
        lambda rig: litter(rig, "deleteditems", ""),
    ],
    ids=["its folder", "its folder, removed by hand", "the inbox", "removed by hand"],
)
def test_what_an_earlier_preflight_left_is_found_wherever_it_lies_and_removed(
    rig: Rig, leave: Callable[[Rig], None]
) -> None:
    leave(rig)

    found = rig.run()

    assert "what an earlier preflight left is removed (messages: 1" in sentences(found, "canary.leftovers", State.OK)
    assert rig.mailbox().messages == {}
    assert FOLDER_NAME not in {folder.name for folder in rig.mailbox().folders.values()}


def test_messages_of_others_in_its_folder_stay_and_are_told_of(rig: Rig) -> None:
    litter(rig, FOLDER_NAME)
    (folder,) = [folder for folder in rig.mailbox().folders.values() if folder.name == FOLDER_NAME]
    post(rig, f"/users/{rig.canary.id}/mailFolders/{folder.id}/messages", {"subject": "Keep this"})

    found = rig.run()

    assert "(messages: 1)" in sentences(found, "canary.removed", State.WARNING)
    assert [message.content.subject for message in rig.mailbox().messages.values()] == ["Keep this"]
    assert found.errors == []


def test_where_nothing_can_be_removed_for_good_it_goes_by_way_of_deleted_items(rig: Rig) -> None:
    rig.fault("permanentDelete", status=405, code="ErrorInvalidRequest")

    found = rig.run()

    assert "among the recoverable items" in sentences(found, "canary.removed", State.WARNING)
    assert found.errors == []
    mailbox = rig.mailbox()
    assert {message.folder for message in mailbox.messages.values()} == {mailbox.recoverable}


def test_what_cannot_be_removed_at_all_is_an_error(rig: Rig) -> None:
    rig.fault(r"permanentDelete$|/messages/[^/]+$", status=400, code="ErrorInvalidRequest")

    found = rig.run()

    assert "removing everything again: ErrorInvalidRequest" in sentences(found, "canary.removed")


def test_what_a_preflight_leaves_that_is_killed_the_next_one_removes(rig: Rig) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "o2_connector.commands", "preflight"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "O2_CANARY_MAILBOX": rig.canary.mail or ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as command:
        assert command.stdout is not None
        for line in command.stdout:
            if "by an upload session comes back" in line:
                command.kill()
                break
        command.stdout.read()
    left = len(rig.mailbox().messages)

    found = rig.run(rhythm=QUICK)

    assert left > 0
    assert f"is removed (messages: {left}, folders: 1)" in sentences(found, "canary.leftovers", State.OK)
    assert rig.mailbox().messages == {}
