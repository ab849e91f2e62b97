"""One item's lines are found among others' without decoding them, however its id is spelled."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from o2_connector.core.conversion import Reject
from o2_connector.engine.finding import ANY, Finder, captured_as, lines_in, written
from o2_connector.hooks.staging import StagingHook
from tests.core.records import ids


def spelled(text: str, ways: list[int]) -> str:
    """Spell a text as JSON may: some characters as they are, others escaped, in either case."""
    plain = {'"': '\\"', "\\": "\\\\"}
    spelling = ""
    for place, character in enumerate(text):
        units = character.encode("utf-16-be").hex(" ", 2).split()
        escaped = "".join(f"\\u{unit}" for unit in units)
        in_capitals = "".join(f"\\u{unit.upper()}" for unit in units)
        spelling += (plain.get(character, character), escaped, in_capitals)[ways[place % len(ways)]]
    return f'"{spelling}"'


@given(ids, st.lists(st.integers(0, 2), min_size=1, max_size=5), st.sampled_from(["", " ", "\t \r"]))
@example('a"b\\c/d', [0], "")
@example("😀", [1], " ")
def test_an_id_is_found_in_a_record_however_json_spells_it(item_id: str, ways: list[int], space: str) -> None:
    record = f'{{"a": 1,"itemId"{space}:{space}{spelled(item_id, ways)}}}'
    assert json.loads(record)["itemId"] == item_id

    assert lines_in(record.encode(), captured_as("itemId", item_id)) == [(1, record.encode())]


@given(ids, ids)
def test_another_id_is_not_found(item_id: str, other: str) -> None:
    record = json.dumps({"itemId": other})

    assert bool(lines_in(record.encode(), captured_as("itemId", item_id))) == (item_id == other)


@given(ids)
def test_an_id_is_found_where_we_wrote_it(item_id: str) -> None:
    row = Reject(batch_id="b", line=1, item_id=item_id, fault="f", record="r")
    assert lines_in(msgspec.json.encode(row), written("item_id", item_id))


def test_lines_are_numbered_from_one_and_are_whole() -> None:
    content = b"a\nbx\n\nx x\nc\nx"

    assert lines_in(content, b"x") == [(2, b"bx\n"), (4, b"x x\n"), (6, b"x")]
    assert lines_in(content, ANY) == [(1, b"a\n"), (2, b"bx\n"), (4, b"x x\n"), (5, b"c\n"), (6, b"x")]
    assert lines_in(b"", b"x") == []


def test_what_is_altered_or_gone_is_named_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "fs", "extra": {"path": str(tmp_path)}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(connection))
    staging, names = StagingHook(), []
    for number in range(3):
        with staging.writer(f"a/{number}.", ".jsonl") as out:
            out.write(b"x%d\n" % number)
        names.append(out.staged.name)
    (tmp_path / names[0]).chmod(0o600)
    (tmp_path / names[0]).write_bytes(b"xx\n")
    (tmp_path / names[1]).unlink()
    finder = Finder(staging=staging)

    found = dict(finder.each(names, lambda name: finder.lines(name, b"x")))

    assert found == {names[0]: [], names[1]: [], names[2]: [(1, b"x2\n")]}
    assert [any(name in fault for fault in finder.unread) for name in names] == [True, True, False]
