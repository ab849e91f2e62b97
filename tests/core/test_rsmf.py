"""Conversations in the Relativity Short Message Format are what the format asks for, and say what was captured."""

from __future__ import annotations

import email
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email import policy
from email.message import EmailMessage
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.json import encode

from o2_connector.core.items import captured
from o2_connector.core.rsmf import Entry, Slice, conversation_in, in_order, rsmf_chunks, slice_of
from tests.core.records import line, records
from tests.core.rsmf_schema import MANIFEST

ALEX, KIM = "+447700900123", "+447700900456"
PICTURE = {"attachmentId": "a", "fileName": "IMG 1.png", "contentType": "image/png", "byteCount": 3, "sha256": "a" * 64}


def made(*lines: bytes, absent: Mapping[str, str] | None = None) -> Slice:
    """Make a file of records."""
    entries = [Entry(captured=captured(each), absent=absent or {}) for each in lines]
    return slice_of(sorted(entries, key=lambda entry: in_order(entry.item)), "GB", 1)


def manifest_of(*lines: bytes, **more: Any) -> Any:
    """Return the manifest as its readers do, held against the schema."""
    manifest = json.loads(encode(made(*lines, **more).manifest))
    jsonschema.Draft7Validator(MANIFEST, format_checker=jsonschema.FormatChecker()).validate(manifest)
    return manifest


def read(slice_: Slice, archive: bytes = b"zip") -> EmailMessage:
    """Return a file as Python's own reader has it."""
    content = b"".join(rsmf_chunks(slice_, [archive[:2], archive[2:]]))
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content), "lines end in CR LF"
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.isascii()
    message = email.message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not [part.defects for part in message.walk() if part.defects]
    return message


def event_of(*lines: bytes, place: int = 0) -> Any:
    return manifest_of(*lines)["events"][place]


# The message


def test_the_version_is_the_first_line_of_the_file() -> None:
    content = b"".join(rsmf_chunks(made(line()), []))

    assert content.startswith(b"X-RSMF-Version: 2.0.0\r\n")


def test_the_headers_sum_up_the_events() -> None:
    lines = [
        line(itemId="a", sentAt="2026-11-21T09:30:15.250Z", attachments=[PICTURE]),
        line(itemId="b", sentAt="2026-11-21T23:59:59Z"),
        line(itemId="c", sentAt="2026-11-21T10:00:00+01:00"),
    ]

    message = read(made(*lines))

    assert message["X-RSMF-BeginDate"] == "2026-11-21T09:00:00Z"
    assert message["X-RSMF-EndDate"] == "2026-11-21T23:59:59Z"
    assert (message["X-RSMF-EventCount"], message["X-RSMF-AttachmentCount"]) == ("3", "1")
    assert message["X-RSMF-Application"] == "O2 network"
    assert message["X-RSMF-Participants"] == f"Alex Wilber ({ALEX}), Kim Akers ({KIM})"
    assert message["X-RSMF-EventCollectionID"] == made(*lines).manifest.eventcollectionid
    assert message["Date"].datetime == datetime.fromisoformat("2026-11-21T23:59:59Z")
    assert message["To"].addresses[0].addr_spec == "alex@example.com"


def test_its_one_attachment_is_the_zip() -> None:
    message = read(made(line()), b"the zip's bytes" * 100)

    (attachment,) = message.iter_attachments()
    assert attachment.get_filename() == "rsmf.zip"
    assert attachment["Content-Transfer-Encoding"] == "base64"
    assert attachment.get_content() == b"the zip's bytes" * 100


def test_who_has_no_review_platform_reads_the_text() -> None:
    message = read(made(line(text="Zażółć\ngęślą 🎉", attachments=[PICTURE])))

    body = message.get_body()
    assert body is not None
    assert "Kim Akers (+447700900456)\nZażółć\ngęślą 🎉\n[IMG 1.png, 3 bytes]" in body.get_content().replace(
        "\r\n", "\n"
    )


# The manifest


def test_a_text_is_a_message_word_for_word() -> None:
    event = event_of(line(text="See you\r\nat <ten>.\u0007"))

    assert (event["type"], event["body"]) == ("message", "See you\r\nat <ten>.\u0007")
    assert (event["participant"], event["direction"]) == (KIM, "incoming")
    assert (event["id"], event["timestamp"]) == ("o2-1", "2026-11-21T09:30:15.250000Z")


def test_what_went_out_is_outgoing() -> None:
    assert event_of(line(direction="OUTBOUND"))["direction"] == "outgoing"


def test_participants_and_conversation_are_declared() -> None:
    manifest = manifest_of(line(thread={"id": "t-1", "name": "Team"}))

    assert [each["id"] for each in manifest["participants"]] == [ALEX, KIM]
    assert [each.get("email") for each in manifest["participants"]] == ["alex@example.com", None]
    (conversation,) = manifest["conversations"]
    assert (conversation["platform"], conversation["type"]) == ("sms", "direct")
    assert conversation["participants"] == [ALEX, KIM]
    assert conversation["custom"] == [{"name": "Thread", "value": "t-1"}, {"name": "Group", "value": "Team"}]
    assert manifest["events"][0]["conversation"] == conversation["id"] == manifest["eventcollectionid"]


def test_calls_are_a_conversation_of_their_own_and_told_in_words() -> None:
    call = {"startedAt": "2026-11-21T09:30:15Z", "endedAt": "2026-11-21T09:31:15Z", "durationSeconds": 60}
    record = line(itemType="CALL", status="ANSWERED", text=None, call=call)

    manifest = manifest_of(record)

    assert manifest["conversations"][0]["platform"] == "phone"
    event = manifest["events"][0]
    assert event["type"] == "message"
    assert event["body"].startswith(f"Kim Akers ({KIM}) called Alex Wilber ({ALEX}).\nThe call was answered.")
    assert {"name": "Call lasted seconds", "value": "60"} in event["custom"]
    assert conversation_in(captured(record).item, "GB") != conversation_in(captured(line()).item, "GB")


def test_a_voicemail_has_its_recording() -> None:
    recording = {**PICTURE, "fileName": "voicemail.AMR", "contentType": "audio/amr"}

    event = event_of(line(itemType="VOICEMAIL", text=None, attachments=[recording]))

    assert "left a voicemail" in event["body"]
    assert event["attachments"] == [{"id": f"{'a' * 64}.AMR", "display": "voicemail.AMR", "size": 3}]


def test_an_edit_is_a_message_and_noted_at_what_it_edits() -> None:
    first = line(itemId="a", sentAt="2026-11-21T09:00:00Z", text="At ten.")
    edits = [
        line(itemId="b", sentAt="2026-11-21T09:01:00Z", text="At nine.", relatesTo={"itemId": "a", "action": "EDIT"}),
        line(itemId="c", sentAt="2026-11-21T09:02:00Z", text="At eight.", relatesTo={"itemId": "a", "action": "EDIT"}),
    ]

    original, one, other = manifest_of(first, *edits)["events"]

    assert original["body"] == "At ten."
    assert [(each["previous"], each["new"]) for each in original["edits"]] == [
        ("At ten.", "At nine."),
        ("At nine.", "At eight."),
    ]
    assert [(each["type"], each["body"], each["parent"]) for each in (one, other)] == [
        ("message", "At nine.", "a"),
        ("message", "At eight.", "a"),
    ]
    assert {"name": "Edits item", "value": "a"} in one["custom"]


def test_a_deletion_is_unknown_to_the_format_and_noted_at_what_it_deletes() -> None:
    first = line(itemId="a", sentAt="2026-11-21T09:00:00Z", text="At ten.")
    deletes = line(itemId="b", text=None, relatesTo={"itemId": "a", "action": "DELETE"})

    original, deletion = manifest_of(first, deletes)["events"]

    assert (original["deleted"], original["body"]) == (True, "At ten.")
    assert (deletion["type"], deletion["parent"]) == ("unknown", "a")
    assert "deletes item a" in deletion["body"]


@pytest.mark.parametrize("action", ["EDIT", "DELETE"])
def test_what_relates_to_an_item_of_another_file_says_so_and_has_no_parent(action: str) -> None:
    event = event_of(line(relatesTo={"itemId": "elsewhere", "action": action}))

    assert "parent" not in event
    assert {"name": f"{action.capitalize()}s item", "value": "elsewhere"} in event["custom"]


def test_an_attachment_that_is_not_there_is_named() -> None:
    event = manifest_of(line(attachments=[PICTURE]), absent={"a" * 64: "it is gone"})["events"][0]

    assert "attachments" not in event
    assert {"name": "Not attached", "value": f"IMG 1.png, SHA-256 {'a' * 64}: it is gone"} in event["custom"]


def test_two_records_of_one_id_are_two_events() -> None:
    manifest = manifest_of(line(text="one"), line(text="two"))

    assert [(each["id"], each["body"]) for each in manifest["events"]] == [("o2-1", "one"), ("o2-1 (2)", "two")]


def test_half_a_surrogate_pair_is_shown_as_json_writes_it() -> None:
    assert event_of(line(text="a\ud83d"))["body"] == "a\\ud83d"


@given(st.lists(records(), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_record_makes_a_file_that_readers_take(drawn: Sequence[tuple[dict[str, Any], Any]]) -> None:
    lines = [line(**record) for record, _ in drawn]

    manifest = manifest_of(*lines)
    message = read(made(*lines))

    people = {each["id"] for each in manifest["participants"]}
    ids = [each["id"] for each in manifest["events"]]
    assert len(ids) == len({*ids}) == len(lines)
    assert all(each["participant"] in people for each in manifest["events"])
    assert all(each.get("parent", each["id"]) in ids for each in manifest["events"])
    assert {*manifest["conversations"][0]["participants"]} <= people
    assert message["X-RSMF-EventCount"] == str(len(lines))
