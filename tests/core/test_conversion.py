"""A batch becomes e-mails and rejects, a line each, and its participants' rows are what the mapping reads back."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2_connector.core.conversion import (
    PARTICIPANTS_HEAD,
    Converted,
    Reject,
    convert_batch,
    packed_message,
    participant_rows,
)
from o2_connector.core.escapes import one_line
from o2_connector.core.items import File, Item, parse_item, record_digest
from o2_connector.core.ledger import Packed
from o2_connector.core.outcomes import Cause
from o2_connector.core.phones import normalise
from o2_connector.core.tables import read_participants
from tests.core.records import FULL, PROFILE, RECORD, line, records, texts


def convert(lines: list[bytes], missing: dict[File, Cause] | None = None) -> list[Converted | Reject]:
    return list(convert_batch(lines, batch_id="b1", profile=PROFILE, missing=missing or {}))


def test_a_record_that_breaks_the_contract_is_rejected_by_name_and_the_rest_goes_on() -> None:
    lines = [line(itemId="o2-1"), line(itemId="o2-2", sentAt="yesterday"), b"{\n", b"\n", line(itemId="o2-3")]

    found = convert(lines)

    assert [each.captured.item.item_id for each in found if isinstance(each, Converted)] == ["o2-1", "o2-3"]
    assert [each for each in found if isinstance(each, Reject)] == [
        Reject(
            batch_id="b1",
            line=2,
            item_id="o2-2",
            fault="Invalid RFC3339 encoded datetime at `$.sentAt`",
            record=record_digest(lines[1]),
        ),
        Reject(
            batch_id="b1", line=3, item_id=None, fault="the line is not JSON in UTF-8", record=record_digest(lines[2])
        ),
    ]


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=40).map(lambda octets: octets.replace(b"\n", b"")) | st.just(line()[:-1]), max_size=8)
)
def test_every_line_that_holds_anything_is_converted_or_rejected(lines: list[bytes]) -> None:
    found = convert(lines)

    assert len(found) == sum(bool(each.strip()) for each in lines)
    assert sum(isinstance(each, Converted) for each in found) == lines.count(line()[:-1])
    assert all(msgspec.json.encode(each) for each in found if isinstance(each, Reject))


def test_an_attachment_that_is_missing_is_named_in_the_mail_and_counted() -> None:
    (found,) = convert([json.dumps(FULL).encode()], {("a-1", "0" * 64, 1): Cause.ATTACHMENT_GONE})

    assert isinstance(found, Converted)
    assert found.rendering.parts == ()
    assert found.rendering.causes == (Cause.ATTACHMENT_GONE,)
    lines = "Not in this e-mail: “a.png”, 1 bytes.\nTeleMessage keeps it no longer.\nSHA-256: " + "0" * 64
    assert f"[{lines}]" in found.rendering.text


@settings(max_examples=40, deadline=None)
@given(records())
def test_any_item_is_packed_in_one_line_that_reads_back(drawn: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    (found,) = convert([json.dumps(drawn[0]).encode()])
    assert isinstance(found, Converted)

    packed = packed_message(found.rendering)

    assert packed.count(b"\n") == 1
    read = msgspec.json.decode(packed, type=Packed)
    assert msgspec.json.decode(read.message)["body"]["content"] == (found.rendering.html or found.rendering.text)
    assert [part.sha256 for part in read.parts] == list(drawn[1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts.filter(bool), st.none() | texts | st.emails()), min_size=1, max_size=5))
def test_participants_survive_their_table(people: list[tuple[str, str | None]]) -> None:
    persons = [{"phone": phone, "email": email} for phone, email in people]
    item = msgspec.convert({**RECORD, "from": persons[0], "to": persons}, Item)

    found = read_participants([(7, PARTICIPANTS_HEAD + participant_rows(3, item))])

    table = found.table
    emails = [found.emails[place] for place in table["email"]]
    phones = [found.phones[place] for place in table["phone"]]
    assert table["row"].tolist() == [7 + 3] * (len(people) + 1)
    assert emails[1:] == [one_line((email or "").strip()) for _, email in people]
    assert [normalise(phone, "GB") for phone in phones][1:] == [normalise(phone, "GB") for phone, _ in people]
    assert table["side"].tolist() == [False] + [True] * len(people)  # it came in


@pytest.mark.parametrize("phone", ["NA", "nan", "null", "None", " 60777 ", "07700 900123\r", '"', "a,b", "=1"])
def test_a_sender_that_looks_like_nothing_is_a_sender(phone: str) -> None:
    item = parse_item(line(**{"from": {"phone": phone}}))

    (row, *_) = csv.reader(io.StringIO(participant_rows(0, item).decode(), newline=""))

    assert row == ["0", phone.strip(), "", "0"]
