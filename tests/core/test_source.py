"""The source's list of batches is believed only when it is whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from o2_connector.core.errors import RetryError, StopError
from o2_connector.core.source import Batch, Export, parse_export

SHA256 = "0123456789abcdef" * 4
BATCH = {"batchId": "b1", "itemCount": 2, "byteCount": 10, "sha256": SHA256}
EXPORT = {"exportId": "e1", "itemCount": 2, "batches": [BATCH]}


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_whole_list_is_parsed_in_the_order_of_the_source() -> None:
    answer = {**EXPORT, "itemCount": 5, "batches": [{**BATCH, "batchId": "z", "itemCount": 3}, BATCH]}

    export = parse_export(encode(answer))

    assert export == Export(
        export_id="e1",
        item_count=5,
        batches=(
            Batch(batch_id="z", item_count=3, size=10, sha256=SHA256),
            Batch(batch_id="b1", item_count=2, size=10, sha256=SHA256),
        ),
    )


def test_an_empty_window_has_no_batches() -> None:
    assert parse_export(encode({"exportId": "e1", "itemCount": 0, "batches": []})).batches == ()


def test_a_field_that_the_contract_does_not_name_is_ignored() -> None:
    assert parse_export(encode({**EXPORT, "createdBy": "x"})).export_id == "e1"


def test_a_digest_in_capitals_is_the_same_digest() -> None:
    answer = {**EXPORT, "batches": [{**BATCH, "sha256": SHA256.upper()}]}

    assert parse_export(encode(answer)).batches[0].sha256 == SHA256


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param({"itemCount": -1}, id="negative items"),
        pytest.param({"byteCount": -1}, id="negative bytes"),
        pytest.param({"itemCount": "2"}, id="a number as text"),
        pytest.param({"byteCount": True}, id="a truth value"),
        pytest.param({"byteCount": None}, id="nothing"),
        pytest.param({"sha256": SHA256[1:]}, id="a short digest"),
        pytest.param({"sha256": SHA256 + "\n"}, id="a digest and a line end"),
        pytest.param({"sha256": "g" * 64}, id="a digest that is not hex"),
        pytest.param({"batchId": ""}, id="an empty id"),
        pytest.param({"batchId": ".."}, id="an id that no URL can carry"),
        pytest.param({"batchId": "a\nb"}, id="an id of two lines"),
        pytest.param({"batchId": 7}, id="an id that is a number"),
    ],
)
def test_a_batch_of_another_shape_stops(batch: dict[str, Any]) -> None:
    with pytest.raises(StopError, match="breaks the contract"):
        parse_export(encode({**EXPORT, "batches": [{**BATCH, **batch}]}))


@pytest.mark.parametrize("field", ["exportId", "itemCount", "batches"])
def test_a_missing_field_stops_and_is_named(field: str) -> None:
    with pytest.raises(StopError, match=field):
        parse_export(encode({name: value for name, value in EXPORT.items() if name != field}))


def test_a_batch_that_is_named_twice_stops() -> None:
    with pytest.raises(StopError, match="batch b1 is named twice"):
        parse_export(encode({**EXPORT, "itemCount": 4, "batches": [BATCH, BATCH]}))


def test_counts_that_do_not_add_up_are_asked_for_again() -> None:
    with pytest.raises(RetryError, match="counts 3 items, but its batches 2"):
        parse_export(encode({**EXPORT, "itemCount": 3}))


@pytest.mark.parametrize("body", [b"", b"<html>", encode(EXPORT)[:-1], b'{"exportId": "\xff"}'])
def test_what_is_no_json_is_asked_for_again(body: bytes) -> None:
    with pytest.raises(RetryError, match="not JSON"):
        parse_export(body)


def test_a_breach_is_told_without_the_value() -> None:
    with pytest.raises(StopError) as caught:
        parse_export(encode({**EXPORT, "exportId": "", "itemCount": "+447700900123"}))

    assert "7700900123" not in str(caught.value)
