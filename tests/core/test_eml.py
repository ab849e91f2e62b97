"""An EML says what the item says, and no text, name or file name can make it say anything else."""

from __future__ import annotations

import email
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email import policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from o2_connector.core.eml import _folded_header, eml_chunks, header_block, on_wire
from o2_connector.core.escapes import one_line, visible
from o2_connector.core.graph_message import graph_message
from o2_connector.core.items import captured, record_digest
from o2_connector.core.parties import is_smtp_address
from o2_connector.core.parts import Part
from o2_connector.core.rendering import Rendering, render
from tests.core.records import PROFILE, contents, fields, line, records, rendering, texts

OURS = {
    *("Date", "From", "To", "Cc", "Subject", "Message-ID", "In-Reply-To", "References"),
    *("Thread-Topic", "Thread-Index", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
}
slow = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def eml(rendered: Rendering, found: dict[str, bytes] | None = None, pieces: int = 7) -> bytes:
    def open_part(part: Part) -> Iterator[bytes]:
        content = (found or {})[part.sha256]
        yield from (content[at : at + pieces] for at in range(0, len(content), pieces))

    return b"".join(eml_chunks(rendered, open_part))


def parse(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage) -> str:
    part = next(part for part in message.walk() if not part.is_multipart())
    octets = part.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.decode().replace("\r\n", "\n")


def rendered_of(record: dict[str, Any]) -> Rendering:
    return render(captured(json.dumps(record).encode()), PROFILE, {})


def test_a_mail_reader_finds_who_when_and_what() -> None:
    message = parse(eml(rendering()))

    assert message["From"].addresses == (
        Address("Kim Akers (+447700900456)", addr_spec="447700900456@o2-archive.invalid"),
    )
    assert message["To"].addresses == (Address("Alex Wilber (+447700900123)", addr_spec="alex@example.com"),)
    assert message["Subject"] == "SMS and MMS between +447700900123, +447700900456"
    assert message["Date"].datetime == datetime(2026, 11, 21, 9, 30, 15, tzinfo=UTC)
    assert text_of(message) == "See you at ten."
    assert message["X-O2-Item-Id"] == "o2-1"
    assert message["X-O2-SHA256"] == record_digest(line())


@slow
@given(records())
def test_any_item_is_seven_bit_lines_of_lawful_length(drawn: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    record, found = drawn

    content = eml(rendered_of(record), found)

    assert content.isascii()
    assert b"\0" not in content
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    lines = content.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    for each in content.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        # What has no space after its first word cannot be folded.
        assert len(each) <= 78 or b" " not in each.partition(b": ")[2].strip(), each
        assert each.strip(), "a line of nothing but white space ends a header for some readers"


@slow
@given(records())
def test_no_item_can_add_a_header_or_a_recipient(drawn: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    record, found = drawn
    rendered = rendered_of(record)

    message = parse(eml(rendered, found))

    ours = OURS | {name for name, _ in fields(rendered.facts + rendered.interop)}
    assert set(message.keys()) <= ours
    assert len(message.keys()) == len(set(message.keys()))
    assert not message.defects
    assert [each.addr_spec for each in message["From"].addresses] == [rendered.sender.address]
    assert [each.addr_spec for each in message["To"].addresses] == [each.address for each in rendered.to]
    copies = message["Cc"].addresses if rendered.cc else ()
    assert [each.addr_spec for each in copies] == [each.address for each in rendered.cc]


@slow
@given(records())
def test_text_and_attachments_come_back_as_they_were(drawn: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    record, found = drawn
    rendered = rendered_of(record)

    message = parse(eml(rendered, found))

    assert text_of(message) == rendered.text
    parts = [part for part in message.walk() if part.get_content_disposition() is not None]
    in_order = sorted(rendered.parts, key=lambda part: part.content_id is None)
    assert [part.get_payload(decode=True) for part in parts] == [found[part.sha256] for part in in_order]
    assert [part["Content-Type"].replace(chr(34), "") for part in parts] == [part.content_type for part in in_order]
    assert [part["Content-ID"] for part in parts] == [each.content_id and f"<{each.content_id}>" for each in in_order]


@slow
@given(records(), st.integers(1, 200))
def test_the_same_item_gives_the_same_bytes_however_its_attachments_arrive(
    drawn: tuple[dict[str, Any], dict[str, bytes]], pieces: int
) -> None:
    record, found = drawn

    assert eml(rendered_of(record), found, pieces) == eml(rendered_of(record), found, 1 << 16)


@slow
@given(texts)
def test_a_text_alone_is_the_whole_body(text: str) -> None:
    read = text_of(parse(eml(rendering(text=text))))

    assert read == visible(
        text.replace("\r\n", "\n") if text.count("\r") == text.count("\r\n") == text.count("\n") else text
    )


@slow
@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=120).map(str.strip))
def test_any_name_stands_beside_its_number(name: str) -> None:
    shown = "(+447700900456)" if name else "+447700900456"

    message = parse(eml(rendering(**{"from": {"phone": "07700900456", "name": name}})))

    # Python's reader takes liberties with the spaces between a name's encoded words; the wire has them as they are.
    assert "".join(message["From"].addresses[0].display_name.split()) == "".join(f"{name}{shown}".split())


@slow
@given(texts, contents)
def test_any_file_name_comes_back(name: str, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    attachment = {"attachmentId": "a", "fileName": name, "contentType": "a/b", "byteCount": 1, "sha256": digest}
    message = parse(eml(rendering(attachments=[attachment]), {digest: content}))

    (part,) = (part for part in message.walk() if part.get_content_disposition() is not None)

    # get_filename() would take quotes and brackets off a second time.
    assert part["Content-Disposition"].params["filename"] == (one_line(name) if name.strip() else "attachment")


@slow
@given(texts.map(one_line).filter(bool))
def test_a_header_comes_back_from_its_words(text: str) -> None:
    wire = "X-O2-Thread-Id: " + on_wire(text).replace(" ", "\r\n ")

    header = email.message_from_string(wire, policy=policy.default)["X-O2-Thread-Id"]

    assert header == text


@slow
@given(st.lists(st.tuples(st.sampled_from(["X-O2-To", "Subject"]), texts.map(one_line)), min_size=1, max_size=5))
def test_the_short_way_makes_the_bytes_of_the_long_one(headers: list[tuple[str, str]]) -> None:
    made = header_block([f"{name}: {text}" for name, text in headers])

    assert made == "".join(_folded_header(name, text) for name, text in headers)


@pytest.mark.parametrize(
    ("address", "takes"),
    [
        ("alex@example.com", True),
        ("o'neil+sms@mail.example.co.uk", True),
        ("a" * 64 + "@example.com", True),
        ("a" * 65 + "@example.com", False),
        ("alex@" + "a" * 64 + ".com", False),
        ("alex@" + ".".join(["a" * 60] * 5) + ".com", False),
        ("", False),
        ("alex", False),
        ("alex@example", False),
        ("alex@-example.com", False),
        ("alex.@example.com", False),
        ("alex@example.com\n", False),
        ("alex@example.com, eve@example.net", False),
        ('"alex wilber"@example.com', False),
        ("=?utf-8?q?a?=@example.com", False),
        ("älex@example.com", False),
        ("\u212aim@example.com", False),
    ],
)
def test_an_address_is_one_that_exchange_takes(address: str, takes: bool) -> None:
    assert is_smtp_address(address) is takes


@slow
@given(records())
def test_the_graph_message_keeps_graphs_limits(drawn: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    rendered = rendered_of(drawn[0])

    message = graph_message(rendered)

    assert msgspec.json.encode(message)
    assert 1 <= len(message["internetMessageHeaders"]) <= 5
    assert all(len(each["value"]) <= 995 and each["value"].isascii() for each in message["internetMessageHeaders"])
    assert len(message["subject"].encode("utf-16-le")) <= 2 * 255
    everybody = [message["from"], *message["toRecipients"], *message["ccRecipients"]]
    assert all(is_smtp_address(each["emailAddress"]["address"]) for each in everybody)
    assert message["singleValueExtendedProperties"][1]["value"].endswith("Z")


def test_a_graph_header_of_several_words_reads_as_the_id() -> None:
    item_id = "é" * 60

    header = graph_message(rendering(itemId=item_id))["internetMessageHeaders"][0]

    assert header["name"] == "X-O2-Item-Id"
    assert all(re.fullmatch(r"=\?utf-8\?b\?\S{,63}\?=", word) for word in header["value"].split(" "))
    assert str(make_header(decode_header(header["value"]))) == item_id


def test_an_id_too_long_for_a_graph_header_is_left_to_the_eml() -> None:
    rendered = rendering(itemId="\U0001f600" * 400)

    names = [each["name"] for each in graph_message(rendered)["internetMessageHeaders"]]

    assert names == ["X-O2-Item-Type", "X-O2-Direction", "X-O2-Status", "X-O2-SHA256"]
    assert parse(eml(rendered))["X-O2-Item-Id"] == "\U0001f600" * 400
