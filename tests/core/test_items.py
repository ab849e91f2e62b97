"""A record that keeps to the contract becomes an item; any other is refused in words that quote nothing of it."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core.errors import ItemError
from o2_connector.core.items import ItemType, captured, parse_item, record_digest
from tests.core.records import FULL, RECORD, line

CANARY = "+447700900999"


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of everything in a record."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def spoilt(path: tuple[str | int, ...], value: Any) -> bytes:
    record = copy.deepcopy(FULL)
    at: Any = record
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return json.dumps(record).encode()


def refusal(record: bytes) -> ItemError | None:
    try:
        parse_item(record)
    except ItemError as error:
        return error
    return None


PLACES = list(places(FULL))


def test_a_record_becomes_an_item() -> None:
    item = parse_item(json.dumps(FULL).encode())

    assert item.item_id == "o2-1"
    assert item.item_type is ItemType.SMS
    assert item.sent_at == datetime(2026, 11, 21, 9, 30, 15, 250_000, tzinfo=UTC)
    assert [each.phone for each in item.participants] == ["07700 900456", "+447700900123"]
    assert item.call is not None
    assert item.call.duration_seconds == 60
    assert not item.is_group


def test_a_field_that_the_contract_does_not_name_is_ignored() -> None:
    assert parse_item(line(carrier="x")).item_id == "o2-1"


def test_a_time_of_any_offset_is_the_same_instant() -> None:
    assert parse_item(line(sentAt="2026-11-21T11:30:15+02:00")).sent_at.utcoffset() == timedelta(hours=2)
    assert parse_item(line(sentAt="2026-11-21T11:30:15+02:00")).sent_at == datetime(2026, 11, 21, 9, 30, 15, tzinfo=UTC)


def test_half_a_surrogate_pair_is_kept_and_a_whole_one_is_a_character() -> None:
    assert parse_item(line(text="\ud83d!")).text == "\ud83d!"
    assert parse_item(line(text="\U0001f600")).text == "\U0001f600"


@pytest.mark.parametrize("field", ["itemId", "itemType", "network", "direction", "status", "sentAt", "from", "to"])
def test_a_missing_field_is_named(field: str) -> None:
    record = {name: value for name, value in RECORD.items() if name != field}

    with pytest.raises(ItemError, match=field):
        parse_item(json.dumps(record).encode())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"itemType": "FAX"}, r"a value that the contract does not list at `\$.itemType`"),
        ({"network": "EE"}, r"a value that the contract does not list at `\$.network`"),
        ({"sentAt": "yesterday"}, r"Invalid RFC3339 encoded datetime at `\$.sentAt`"),
        ({"sentAt": "2026-11-21T09:30:15"}, r"timezone component at `\$.sentAt`"),
        ({"sentAt": "0001-01-01T00:00:00+01:00"}, "a year from 1602 to 9998"),
        ({"archivedAt": "9999-12-31T23:59:59-01:00"}, "a year from 1602 to 9998"),
        ({"to": []}, r"length >= 1 at `\$.to`"),
        ({"to": [{"phone": ""}]}, r"length >= 1 at `\$.to\[0\].phone`"),
        ({"text": 7}, r"Expected `str \| null`, got `int` at `\$.text`"),
        ({"call": {"startedAt": "2026-11-21T09:30:15Z", "durationSeconds": -1}}, r">= 0 at `\$.call.durationSeconds`"),
        ({"call": {"startedAt": "0001-01-01T00:00:00+01:00", "durationSeconds": 1}}, "year from 1602"),
        ({"call": {"startedAt": "2026-11-21T09:30:15Z", "durationSeconds": 10**30}}, r"<= 9007199254740991"),
        ({"attachments": [{**FULL["attachments"][0], "sha256": "0" * 64 + "\n"}]}, r"at `\$.attachments\[0\].sha256`"),
        ({"attachments": [{**FULL["attachments"][0], "byteCount": 2**64}]}, r"at `\$.attachments\[0\].byteCount`"),
        ({"relatesTo": {"itemId": "o2-0\r\nBcc: x", "action": "EDIT"}}, r"form at `\$.relatesTo.itemId`"),
    ],
)
def test_what_breaks_the_contract_is_named_with_its_item(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ItemError, match=fault) as caught:
        parse_item(line(**changes))

    assert caught.value.item_id == "o2-1"


@pytest.mark.parametrize(
    "item_id", ["", "a\n", "a\nb", "a\r", "a\0", "a\x85", "a\u2028", "a\ud800", "a" * 401, 7, None]
)
def test_an_id_that_fits_no_header_is_refused_and_never_repeated(item_id: Any) -> None:
    with pytest.raises(ItemError, match=r"\$.itemId") as caught:
        parse_item(line(itemId=item_id))

    assert caught.value.item_id is None


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="cut"),
        pytest.param(line()[:-10], id="cut late"),
        pytest.param(line() + line(), id="two in one"),
        pytest.param(line().replace(b"ten", b"\xff"), id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(line()[:-2] + b', "y": "\\ud800", "x": ' + b"[" * 100_000 + b"}", id="too deep after half a pair"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
    ],
)
def test_a_damaged_line_is_refused(damaged: bytes) -> None:
    with pytest.raises(ItemError):
        parse_item(damaged)


def test_a_field_that_the_contract_does_not_know_may_nest_as_deep_as_python_bears() -> None:
    # How deep that is differs from one Python to the next: 3.14 reads this line, 3.11 does not.
    deep = line()[:-2] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    with contextlib.suppress(ItemError):
        assert parse_item(deep) == parse_item(line())


@given(
    st.sampled_from(PLACES),
    st.sampled_from(
        [
            CANARY,
            f"x - at `$.a` {CANARY} - at `$.b`",
            f"\n{CANARY}' - at `$`",
            [CANARY],
            {CANARY: CANARY},
            int(CANARY),
            -int(CANARY),
            float(CANARY) / 7e20,
            f"\ud800{CANARY}",
        ]
    ),
)
def test_a_fault_never_quotes_the_record(path: tuple[str | int, ...], value: Any) -> None:
    error = refusal(spoilt(path, value))

    if error:  # a name or a text may be anything
        told = error.fault if path == ("itemId",) else f"{error} {error.fault}"
        assert CANARY[1:] not in told
        assert told.encode()


@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]":,\\ud8e0 1.-n'), max_size=60).map(str.encode))
def test_any_bytes_are_an_item_or_a_refusal(damaged: bytes) -> None:
    with pytest.raises(ItemError):
        parse_item(damaged)


def test_a_records_digest_is_its_lines_without_the_lines_end() -> None:
    sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

    assert [record_digest(each) for each in (b"hello", b"hello\n", b"hello\r\n")] == [sha256] * 3
    assert record_digest(b" hello") != sha256


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (line()[:-2] + b', "zz": ' + b"[" * 65 + b"]" * 65 + b"}", "nested too deeply"),
        (line(text="\xed").replace(b"\\u00ed", b"\xed\xa0\xbd\xed\xb8\x80"), "not JSON in UTF-8"),
        (line().decode().encode("utf-16"), "not JSON in UTF-8"),
    ],
    ids=["deep", "halves of pairs in UTF-8", "UTF-16"],
)
def test_what_readers_of_json_differ_over_is_rejected(record: bytes, fault: str) -> None:
    with pytest.raises(ItemError, match=fault):
        captured(record.strip())


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000])
def test_a_number_that_no_reader_of_json_keeps_is_kept_as_it_was_written(number: str) -> None:
    found = captured(line()[:-2] + f', "zz": {number}}}'.encode())

    assert found.other == {"/zz": number}
    assert found.item == parse_item(line())


def test_a_byte_order_mark_is_none_of_the_record() -> None:
    assert captured(b"\xef\xbb\xbf" + line()).item == parse_item(line())


def test_a_fine_time_that_json_has_escaped_is_not_rounded_up_either() -> None:
    record = line(sentAt="2026-12-31T23:59:59.9999999Z").replace(b"59.9", b"59\\u002e9")

    found = captured(record)

    assert found.item.sent_at.year == 2026
    assert found.other == {"/sentAt": "2026-12-31T23:59:59.9999999Z"}


def test_a_time_finer_than_the_items_is_kept_as_it_was_and_not_rounded_up() -> None:
    found = captured(
        line(sentAt="2026-11-21T23:59:59.999999999Z", call=FULL["call"] | {"endedAt": "2026-11-21T09:31:15.1234567Z"})
    )

    assert found.item.sent_at == datetime(2026, 11, 21, 23, 59, 59, 999_999, tzinfo=UTC)
    assert found.other == {
        "/sentAt": "2026-11-21T23:59:59.999999999Z",
        "/call/endedAt": "2026-11-21T09:31:15.1234567Z",
    }
