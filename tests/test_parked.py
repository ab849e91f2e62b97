"""What nobody gets waits, and arrives by itself once somebody has a mailbox: with its dates, once, whatever happens."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from o2_connector.core.errors import RetryError, StopError
from o2_connector.core.identity import item_key
from o2_connector.core.ledger import read_delivery
from o2_connector.core.outcomes import Cause, Rule
from o2_connector.core.parked import Waiting
from o2_connector.core.phones import normalise
from o2_connector.engine.park import park_of
from o2_connector.hooks.staging import StagingHook
from sandbox.server import Sandbox, running
from tests.archive import YESTERDAY, Archive, connected
from tests.test_end_to_end import copies, expected, key_of

ITEMS = 60


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=ITEMS, users=14) as started:
        yield started


@pytest.fixture
def line(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """Empty the mailboxes, and begin with a copy of the mapping files and a new staging directory."""
    sandbox.graph.reset()
    mappings = tmp_path / "mappings"
    shutil.copytree(sandbox.mappings, mappings)
    batch_size = sandbox.telemessage.world.batch_size
    yield replace(connected(sandbox, tmp_path, monkeypatch), mappings=mappings)
    sandbox.telemessage.world.batch_size = batch_size
    sandbox.graph.faults.clear()


def waiting() -> list[Waiting]:
    return list(park_of(StagingHook()).waiting.values())


def parked() -> set[str]:
    return {each.key for each in waiting() if each.is_parked}


def unmapped(line: Archive) -> list[str]:
    """Return the numbers of the organisation's people who have no mailbox."""
    return [person.phone for person in line.sandbox.world.people if person.user is None]


def somebody(line: Archive, place: int = 0) -> str:
    """Return the address of somebody who has a mailbox."""
    return [user for user in line.sandbox.world.directory if user.mailbox == "ok"][place].user_principal_name


def enrol(line: Archive, *numbers: str, address: str, file: str = "later.csv", valid_from: str = "") -> None:
    with (line.mappings / file).open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(("ExternalUserId", "O365UserMailbox", "ValidFrom"))
        rows.writerows((number, address, valid_from) for number in numbers)


def test_items_of_people_who_are_added_afterwards_arrive_by_themselves_and_none_twice(line: Archive) -> None:
    first = line.run()
    assert first["parked"] == len(parked()) > 0
    before = copies(line)
    enrol(line, *unmapped(line), address=somebody(line))
    wanted = expected(line)
    assert wanted > set(before)

    counts = line.replay()

    assert set(copies(line)) == wanted
    assert set(copies(line).values()) == {1}
    assert counts["balanced"]
    assert counts["imported"] + counts["partially_imported"] == len(wanted) - len(before)
    assert counts["parked"] == len(parked()) == 0
    assert line.sandbox.graph.breaches == []


def stranger_of(line: Archive) -> str:
    """Return a number of nobody's who took part in items that somebody of the organisation got."""
    ours = {person.phone for person in line.sandbox.world.people}
    numbers = (normalise(item["from"]["phone"], "GB") for item in line.items() if item["direction"] == "INBOUND")
    return next(number for number in numbers if number and number not in ours)


def test_who_was_a_stranger_and_is_enrolled_gets_what_the_others_got_already(line: Archive) -> None:
    line.run()
    stranger = stranger_of(line)
    there = set(copies(line))
    enrol(line, stranger, address=somebody(line, 4))
    wanted = expected(line)
    assert wanted > there

    line.replay("replay__1")
    again = line.replay("replay__2")

    assert set(copies(line)) == wanted
    assert set(copies(line).values()) == {1}
    assert again["available_for_import"] == 0


def test_a_row_that_moves_somebody_to_another_mailbox_brings_nothing_there(line: Archive) -> None:
    line.run()
    there = copies(line)
    moved = next(person for person in line.sandbox.world.people if person.kind == "by property")
    enrol(line, moved.phone, address=somebody(line, 4))

    line.replay()

    assert copies(line) == there


def test_an_item_that_is_replayed_has_the_dates_of_its_capture(line: Archive) -> None:
    line.run()
    late = parked()
    enrol(line, *unmapped(line), address=somebody(line))

    line.replay()

    sent = {item_key(item["itemId"]): datetime.fromisoformat(item["sentAt"]) for item in line.items()}
    replayed = [message for message in line.messages() if key_of(message) in late]
    assert len(replayed) == len(late)
    for message in replayed:
        for when in ("sentDateTime", "receivedDateTime"):
            assert abs(datetime.fromisoformat(message[when]) - sent[key_of(message)]) < timedelta(seconds=1)
        assert message["isDraft"] is False


def test_a_copy_that_somebody_of_the_organisation_missed_comes_after_the_others(line: Archive) -> None:
    line.run()
    missed = {each.key: each for each in waiting() if not each.nobody}
    assert missed
    there = {key for key, _ in copies(line)}
    assert missed.keys() <= there
    enrol(line, *unmapped(line), address=somebody(line, 3))

    line.replay()

    assert set(copies(line)) == expected(line)
    assert not [each for each in waiting() if each.key in missed]


def test_a_second_replay_and_the_day_again_add_nothing(line: Archive) -> None:
    line.run()
    enrol(line, *unmapped(line), address=somebody(line))
    line.replay("replay__1")
    arrived = copies(line)

    again = line.replay("replay__2")
    day = line.run("manual__2")

    assert again is None or (again["available_for_import"], again["balanced"]) == (0, True)
    assert copies(line) == arrived
    assert day["balanced"]
    assert (day["imported"], day["parked"]) == (0, 0)


def test_without_a_change_everything_stays_parked_and_is_told_with_the_time_that_it_waited(line: Archive) -> None:
    first = line.run()

    counts = line.replay()

    assert counts["balanced"]
    assert counts["available_for_import"] == 0
    told = [each for each in line.report()["details"] if each["outcome"] == "parked"]
    since = {each["since"] for each in told}
    assert len(told) == first["parked"] == len(parked())
    assert since == {each.parked for each in waiting() if each.is_parked}
    assert f"Items still parked,{len(told)}" in csv_of(line)


def csv_of(line: Archive) -> str:
    return (line.staging / line.xcom["reconcile", -1, "return_value"]["log"]["name"]).read_text()


def test_a_day_that_is_archived_again_lets_what_it_delivers_leave_the_park(line: Archive) -> None:
    line.run("manual__1")
    enrol(line, *unmapped(line), address=somebody(line))

    counts = line.run("manual__2")

    assert (counts["balanced"], counts["parked"]) == (True, 0)
    assert parked() == set()
    assert line.replay() is None or line.counts["available_for_import"] == 0
    assert set(copies(line).values()) == {1}


def test_neither_another_cut_of_the_batches_nor_another_window_parks_anything_twice(line: Archive) -> None:
    line.run("manual__1")
    once = {each.id for each in waiting()}
    line.sandbox.telemessage.world.batch_size = 7

    line.run("manual__2")
    line.run("manual__3", start=YESTERDAY - timedelta(hours=1), days=1 + 1 / 24)

    again = waiting()
    assert once <= {each.id for each in again}
    today = {item_key(item["itemId"]) for item in line.items()}
    assert len([each for each in again if each.key in today]) == len(once)


def test_a_replay_that_is_killed_before_its_end_is_made_good_by_the_next(
    line: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.run()
    enrol(line, *unmapped(line), address=somebody(line))
    with monkeypatch.context() as broken:
        broken.setattr("o2_connector.operators.replay.leave", _killed)
        with pytest.raises(RetryError):
            line.replay("replay__1")
    arrived = copies(line)
    assert waiting()

    counts = line.replay("replay__2")

    assert copies(line) == arrived
    assert counts["skipped"] == counts["available_for_import"] > 0
    assert waiting() == []


def _killed(*_: Any) -> None:
    raise RetryError("killed")


def test_a_delivery_that_fails_stays_parked(line: Archive) -> None:
    line.run()
    before = parked()
    enrol(line, *unmapped(line), address=somebody(line))
    line.sandbox.graph.faults.add("status", status=507, code="ErrorQuotaExceeded", path="/messages$", rate=1.0)

    with pytest.raises(StopError, match="deliveries failed"):
        line.replay("replay__1")

    assert parked() == before
    line.sandbox.graph.faults.clear()
    line.replay("replay__2")
    assert parked() == set()
    assert set(copies(line)) == expected(line)


def test_a_dry_replay_says_what_it_would_and_changes_nothing(line: Archive) -> None:
    line.run()
    before, there = waiting(), copies(line)
    enrol(line, *unmapped(line), address=somebody(line))

    counts = line.replay(dry_run=True)

    assert counts["available_for_import"] > 0
    assert counts["imported"] == 0
    assert (waiting(), copies(line)) == (before, there)


def test_a_row_that_is_valid_later_only_brings_nothing_of_the_time_before(line: Archive) -> None:
    line.run()
    before = parked()
    enrol(line, *unmapped(line), address=somebody(line), valid_from=f"{YESTERDAY + timedelta(days=1):%Y-%m-%d}")

    counts = line.replay()

    assert counts["available_for_import"] == 0
    assert parked() == before
    told = {each["cause"] for each in line.report()["details"] if each["outcome"] == "parked"}
    assert Cause.NO_ROW_THEN in told


def test_what_nobody_gets_can_go_to_a_mailbox_for_such_and_still_reaches_its_own_later(line: Archive) -> None:
    catch_all = line.sandbox.world.directory[5]
    line.settings["catch_all"] = catch_all.user_principal_name

    counts = line.run()

    assert (counts["balanced"], counts["parked"]) == (True, 0)
    caught = {each.key for each in waiting() if each.caught}
    assert caught
    assert {(key, catch_all.id) for key in caught} <= set(copies(line))
    enrol(line, *unmapped(line), address=somebody(line))
    line.replay()
    assert set(copies(line)) == expected(line) | {(key, catch_all.id) for key in caught}
    assert set(copies(line).values()) == {1}


def test_what_is_parked_already_goes_to_the_mailbox_for_such_once_there_is_one(line: Archive) -> None:
    first = line.run()
    line.settings["catch_all"] = somebody(line)

    counts = line.replay("replay__1")
    again = line.replay("replay__2")

    assert counts["imported"] + counts["partially_imported"] == first["parked"]
    assert again["available_for_import"] == 0
    assert set(copies(line).values()) == {1}


def test_a_mailbox_for_such_that_is_none_stops_the_run(line: Archive) -> None:
    line.settings["catch_all"] = "nobody@example.com"

    with pytest.raises(StopError, match="O2_CATCH_ALL") as raised:
        line.run()

    assert "nobody@" not in str(raised.value)
    assert line.messages() == []


def test_the_rule_and_the_row_that_decided_are_in_the_ledger_and_the_report(line: Archive) -> None:
    counts = line.run()

    rows = []
    for shard in line.xcom["map", -1, "return_value"]:
        lines = (line.staging / shard["deliveries"]["name"]).read_bytes().splitlines()[1:]
        rows += [read_delivery(each) for each in lines]
    assert {row.rule for row in rows} == {Rule.MAPPING, Rule.EMAIL}
    assert all((row.place is not None) == (row.rule is Rule.MAPPING) for row in rows)
    report = line.report()
    assert sum(report["rules"].values()) == counts["available_for_import"]
    assert {each["rule"] for each in report["details"] if each["outcome"] == "partially imported"} <= set(Rule)
    decision = line.xcom["map", -1, "decision"]
    frozen = (line.staging / decision["mapping"]["name"]).read_text().splitlines()
    places = {":".join(each.split(",")[4:6]) for each in frozen[1:]}
    assert {row.place for row in rows if row.place} <= places
    assert decision["rows_used"] <= decision["rows"] == len(frozen) - 1
    assert json.dumps(decision).count("+44") == 0
