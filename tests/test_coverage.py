"""The report says whom a day covers: who had items, who was silent, and which numbers nobody has enrolled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from o2_connector.core.phones import masked, normalise
from sandbox.world import World
from tests.archive import YESTERDAY, Archive, archive

SILENT, NEW = "+447700900790", "+447700900791"


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    with archive(tmp_path, monkeypatch, items=60, users=14) as running:
        running.silent_days = 3
        first = f"{YESTERDAY:%Y-%m-%d}"
        (running.mappings / "more.csv").write_text(
            "ExternalUserId,O365UserMailbox,ValidFrom\n"
            f"{SILENT},nobody.home@example.com,\n{NEW},nobody.home@example.com,{first}\n"
        )
        yield running


def days(line: Archive, *back: int) -> None:
    for each in back:
        line.run(f"day-{each}", start=YESTERDAY - timedelta(days=each))


def test_who_is_enrolled_and_had_nothing_for_so_many_days_is_told_by_file_and_line(line: Archive) -> None:
    days(line, 2, 1, 0)

    coverage = line.report()["coverage"]

    assert coverage["silent_days"] == 3
    assert {"place": "more.csv:2", "number": "…790"} in coverage["silent"]
    assert "…791" not in {each["number"] for each in coverage["silent"]}, "enrolled for one day"


def test_a_day_with_nothing_is_archived_and_counts_as_silence(line: Archive) -> None:
    world = line.sandbox.telemessage.world
    days(line, 2)
    line.sandbox.telemessage.world = World(1, 14, 0, "Europe/London")
    days(line, 1)
    line.sandbox.telemessage.world = world

    days(line, 0)

    assert {"place": "more.csv:2", "number": "…790"} in line.report()["coverage"]["silent"]


def test_nobody_is_called_silent_before_so_many_days_are_archived(line: Archive) -> None:
    days(line, 2, 0)

    assert line.report()["coverage"]["silent"] is None


def test_numbers_with_items_and_unknown_ones_are_counted(line: Archive) -> None:
    days(line, 0)

    coverage = line.report()["coverage"]
    spoke = Counter(
        number
        for item in line.items()
        for number in {number_of(party) for party in (item["from"], *item["to"])}
        if number
    )
    served = {person.phone for person in line.sandbox.world.people if person.user is not None}
    rows = {normalise(row.split(",")[0], "GB") for row in mapping_rows(line)}
    known = (served & spoke.keys()) | rows
    assert coverage["known"] == len(known)
    assert coverage["with_items"] == len(known & spoke.keys())
    strangers = sorted(count for number, count in spoke.items() if number not in known)
    told = coverage["unknown"]
    assert max(each["items"] for each in told) == strangers[-1]
    assert told == sorted(told, key=lambda each: (not each["side"], -each["items"]))
    ours = {masked(person.phone) for person in line.sandbox.world.people if person.user is None}
    assert {each["number"] for each in told if each["side"]} <= ours
    assert "+44" not in json.dumps(coverage)


def number_of(party: dict[str, str]) -> str | None:
    return normalise(party["phone"], "GB")


def mapping_rows(line: Archive) -> list[str]:
    """Return the mapping's rows, which all hold on the day."""
    return [row for path in sorted(line.mappings.glob("*.csv")) for row in path.read_text().splitlines()[1:]]
