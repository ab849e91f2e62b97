"""From an e-mail alone, in either form, the captured record can be made again."""

from __future__ import annotations

import gzip
import hashlib
import json
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from o2_connector.core.eml import eml_chunks
from o2_connector.core.errors import IntegrityError
from o2_connector.core.graph_message import graph_message
from o2_connector.core.items import Captured, captured, record_digest
from o2_connector.core.outcomes import Cause
from o2_connector.core.rebuild import read_eml, read_graph_message, rebuild
from o2_connector.core.rendering import Rendering, render
from tests.core.records import FULL, PROFILE, line, records
from tests.core.test_eml import slow

ONE = hashlib.sha256(b"1").hexdigest()
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "real-sms.jsonl.gz"


def eml(rendered: Rendering, found: dict[str, bytes] | None = None) -> bytes:
    return b"".join(eml_chunks(rendered, lambda part: [(found or {})[part.sha256]]))


def rendered_of(record: Captured) -> Rendering:
    return render(record, PROFILE, {})


@slow
@given(records())
def test_any_item_can_be_rebuilt_from_its_eml(drawn: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    record = captured(json.dumps(drawn[0]).encode())

    archived = read_eml(eml(rendered_of(record), drawn[1]))

    assert rebuild(archived) == record
    assert archived.files == drawn[1]


@slow
@given(records())
def test_any_item_can_be_rebuilt_from_its_graph_message(drawn: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    record = captured(json.dumps(drawn[0]).encode())

    message = json.loads(json.dumps(graph_message(rendered_of(record))))

    assert rebuild(read_graph_message(message)) == record


@slow
@given(records())
def test_both_forms_say_the_same(drawn: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    rendered = rendered_of(captured(json.dumps(drawn[0]).encode()))
    mail = message_from_bytes(eml(rendered, drawn[1]), policy=policy.default)
    graph = graph_message(rendered)
    by_id = {each["id"]: each["value"] for each in graph["singleValueExtendedProperties"]}

    def people(header: str) -> list[str]:
        return [each.addr_spec for each in mail[header].addresses] if mail[header] else []

    def recipients(field: str) -> list[str]:
        return [each["emailAddress"]["address"] for each in graph[field]]

    from_eml, from_graph = read_eml(eml(rendered, drawn[1])), read_graph_message(graph)
    assert from_eml.facts == from_graph.facts
    assert (people("To"), people("Cc")) == (recipients("toRecipients"), recipients("ccRecipients"))
    assert people("From") == [graph["from"]["emailAddress"]["address"]] == [graph["sender"]["emailAddress"]["address"]]
    assert "".join(mail["Subject"].split()) == "".join(graph["subject"].split())
    assert mail["Message-ID"] == graph["internetMessageId"]
    assert mail["References"].split() == by_id["String 0x1039"].split()
    assert mail["In-Reply-To"] == by_id.get("String 0x1042")
    assert mail["Thread-Index"] == by_id["Binary 0x0071"]
    sent = mail["Date"].datetime.strftime("%Y-%m-%dT%H:%M:%S")
    assert by_id["SystemTime 0x0039"].startswith(sent)
    assert by_id["SystemTime 0x0E06"] == by_id["SystemTime 0x0039"]
    html = mail.get_body(("html",))
    assert (html is not None) is (graph["body"]["contentType"] == "html")
    if html is not None:
        assert html.get_payload(decode=True).decode().replace("\r\n", "\n") == graph["body"]["content"]
    else:
        assert from_eml.text == graph["body"]["content"]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus of real texts is not on this machine")
def test_twenty_thousand_real_texts_come_back_as_they_were() -> None:
    with gzip.open(CORPUS) as lines:
        texts = [json.loads(each)["text"] for each in lines]

    for text in texts:
        record = captured(line(text=text))
        assert rebuild(read_eml(eml(rendered_of(record)))) == record
    assert len(texts) == 20_000


def test_an_eml_that_another_program_wrote_anew_still_gives_the_item() -> None:
    record = captured(json.dumps({**FULL, "itemId": "ö" * 50, "text": "naïve\ncafé", "attachments": []}).encode())
    content = eml(rendered_of(record), {ONE: b"1"})

    anew = message_from_bytes(content, policy=policy.SMTP.clone(refold_source="all")).as_bytes()

    assert anew != content
    assert rebuild(read_eml(anew)) == record


@pytest.mark.parametrize("header", ["X-O2-Item-Id", "X-O2-From", "X-O2-Sent-At", "X-O2-SHA256"])
def test_an_e_mail_that_lacks_a_fact_is_told(header: str) -> None:
    content = eml(rendered_of(captured(line())))

    with pytest.raises(IntegrityError, match=header):
        rebuild(read_eml(content.replace(header.encode(), b"X-Other")))


def test_facts_that_were_altered_are_told_without_their_values() -> None:
    content = eml(rendered_of(captured(line()))).replace(b'{"phone": "07700 900456"', b'{"phone": 7700900456')

    with pytest.raises(IntegrityError, match="altered") as raised:
        rebuild(read_eml(content))

    assert "900456" not in str(raised.value)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"X-O2-Text-Length: 15", b"X-O2-Text-Length: -3"),
        (b"X-O2-Text-Length: 15", b"X-O2-Text-Length: 9999"),
        (b"X-O2-Started-At", b"X-Other"),
        (b"X-O2-Network: O2", b"X-O2-Network: =?utf-8?b?A?="),
        (b"X-O2-Network: O2", b"X-O2-Network: \xff\xfe"),
        (b'X-O2-Thread: {"id": "t-1",', b'X-O2-Thread: {"id": 7,'),
        (b"X-O2-Text-Length: 15", b"X-O2-Text-Length: 15\r\nX-O2-Other-Fields: 5"),
        (b"X-O2-Network: O2", b"X-O2-Network: =?none?b?QQ==?="),
        (b"X-O2-Text-Length: 15", b"X-O2-Text-Length: 15\r\nX-O2-Text-Cut-From: 99"),
        (b"\r\nMQ==", b"\r\nMg=="),  # the attachment
    ],
)
def test_what_can_be_seen_of_an_alteration_is_told(was: bytes, becomes: bytes) -> None:
    record = captured(json.dumps({**FULL, "attachments": [{**FULL["attachments"][0], "sha256": ONE}]}).encode())
    content = eml(rendered_of(record), {ONE: b"1"})
    assert rebuild(read_eml(content)) == record
    assert content.count(was) == 1

    with pytest.raises(IntegrityError):
        rebuild(read_eml(content.replace(was, becomes)))


def test_an_attachment_that_was_left_out_is_missed_by_nobody() -> None:
    record = captured(json.dumps(FULL).encode())
    gone = {each.file: Cause.ATTACHMENT_GONE for each in record.item.attachments}

    assert rebuild(read_eml(eml(render(record, PROFILE, gone)))) == record


def test_the_digest_is_that_of_the_captured_bytes() -> None:
    assert rebuild(read_eml(eml(rendered_of(captured(line()))))).digest == record_digest(line())


def test_fields_that_the_contract_does_not_know_come_back_in_their_places() -> None:
    unknown = {"phone": "07700 900456", "carrier": {"mcc": 234}, "a/b~": None}

    record = captured(line(**{"from": unknown, "score": 0.5, "to": [{"phone": "60777", "x": [1]}]}))

    assert record.other == {"/score": 0.5, "/from/carrier": {"mcc": 234}, "/from/a~1b~0": None, "/to/0/x": [1]}
    assert rebuild(read_eml(eml(rendered_of(record)))) == record
