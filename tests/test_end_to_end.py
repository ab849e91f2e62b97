"""The whole line against the sandbox, task by task, in this process."""

from __future__ import annotations

import collections
import csv
import hashlib
import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from o2_connector.core.conversion_profile import Profile
from o2_connector.core.errors import IntegrityError, RetryError, StopError
from o2_connector.core.identity import item_key
from o2_connector.core.items import captured
from o2_connector.core.layout import BUCKETS
from o2_connector.core.naming import FOLDER_NAME, ITEM_PROPERTY
from o2_connector.core.outcomes import Cause
from o2_connector.core.phones import normalise
from o2_connector.core.rebuild import read_graph_message, rebuild
from o2_connector.engine.ownership import owned
from o2_connector.engine.paces import Paces
from o2_connector.hooks import graph_directory
from o2_connector.hooks.staging import StagingHook
from sandbox.world import World
from tests.archive import YESTERDAY, Archive, archive
from tests.azurite.server import connection_string
from tests.azurite.server import running as azurite

ITEMS = 120
LIMIT = Profile(region="GB").message_bytes


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    with archive(tmp_path, monkeypatch, items=ITEMS, users=14) as running:
        yield running


def key_of(message: dict[str, Any]) -> str:
    wanted = ITEM_PROPERTY.casefold()
    return next(each["value"] for each in message["singleValueExtendedProperties"] if each["id"].casefold() == wanted)


def copies(line: Archive) -> collections.Counter[tuple[str, str]]:
    """Count the messages of each (item key, mailbox)."""
    return collections.Counter((key_of(message), message["userId"]) for message in line.messages())


def expected(line: Archive) -> set[tuple[str, str]]:
    """Say, one participant after the other, who should get what: mapping file, then e-mail property, then nobody."""
    mailbox_of = {}
    for user in line.sandbox.world.directory:
        if user.mailbox in ("ok", "full"):
            for proxy in (*user.proxy_addresses, f"smtp:{user.user_principal_name}", f"smtp:{user.mail}"):
                mailbox_of[proxy.partition(":")[2].lower()] = user.id
    rows = [
        row
        for path in sorted(line.mappings.glob("*.csv"))
        for row in csv.DictReader(io.StringIO(path.read_text("utf-8")))
    ]
    mapped = {normalise(row["ExternalUserId"], "GB"): row["O365UserMailbox"].lower() for row in rows}
    found = set()
    for item in line.items():
        for person in (item["from"], *item["to"]):
            number = normalise(person["phone"], "GB")
            mailbox = mailbox_of.get(mapped.get(number, "")) if number else None
            mailbox = mailbox or mailbox_of.get((person.get("email") or "").strip().lower())
            if mailbox:
                found.add((item_key(item["itemId"]), mailbox))
    return found


def stubs(line: Archive) -> int:
    """Count the deliveries of which an attachment is beyond the tenant's limit."""
    beyond = {
        item_key(item["itemId"])
        for item in line.items()
        if any(each["byteCount"] > LIMIT for each in item.get("attachments", ()))
    }
    return sum(key in beyond for key, _ in expected(line))


def test_a_day_arrives_in_the_mailboxes_and_the_book_balances(line: Archive) -> None:
    counts = line.run()

    assert counts["balanced"]
    assert counts["available_from_source"] == counts["converted"] == ITEMS
    assert counts["available_for_import"] == len(line.messages())
    assert counts["partially_imported"] == stubs(line) > 0
    assert counts["imported"] == counts["available_for_import"] - stubs(line) > 0
    assert counts["parked"] > 0
    assert counts["skipped"] == counts["failed"] == counts["rejected"] == 0
    assert line.sandbox.graph.breaches == []


def test_every_participant_who_maps_gets_one_copy_and_nobody_else_any(line: Archive) -> None:
    line.run()

    assert set(copies(line)) == expected(line)
    assert set(copies(line).values()) == {1}


def test_a_message_is_no_draft_and_says_what_was_captured(line: Archive) -> None:
    line.run()

    items = {item_key(item["itemId"]): item for item in line.items()}
    for message in line.messages():
        item = items[key_of(message)]
        sent = datetime.fromisoformat(item["sentAt"])
        assert message["isDraft"] is False
        assert message["folder"] == FOLDER_NAME
        for when in ("sentDateTime", "receivedDateTime"):
            assert abs(datetime.fromisoformat(message[when]) - sent) < timedelta(seconds=1)
        rebuilt = rebuild(read_graph_message(message))
        record = captured(json.dumps(item).encode())
        assert (rebuilt.item, rebuilt.other) == (record.item, record.other)
        assert len(message["toRecipients"]) + len(message["ccRecipients"]) == len(item["to"])
        fitting = sorted(each["sha256"] for each in item.get("attachments", ()) if each["byteCount"] <= LIMIT)
        assert sorted(each["sha256"] for each in message["attachments"]) == fitting


def test_the_same_day_again_adds_nothing_and_counts_everything_as_skipped(line: Archive) -> None:
    first = line.run("scheduled__1")
    before = copies(line)

    second = line.run("manual__2")

    assert copies(line) == before
    assert second["balanced"]
    assert second["skipped"] == first["imported"]
    assert second["partially_imported"] == first["partially_imported"] == stubs(line)
    assert second["imported"] == 0


def test_a_message_that_its_reader_moved_or_removed_is_not_delivered_again(line: Archive) -> None:
    line.run("manual__1")
    moved, removed = line.messages()[:2]
    for message, action in ((moved, "move"), (removed, "permanentDelete")):
        line.graph("POST", f"/users/{message['userId']}/messages/{message['id']}/{action}", {"destinationId": "inbox"})

    counts = line.run("manual__2")

    assert counts["imported"] == 0
    assert len(line.messages()) == counts["available_for_import"] - 1


def test_a_finished_day_asks_nothing_of_its_mailboxes(line: Archive) -> None:
    line.run("manual__1")
    line.sandbox.graph.faults.add("status", times=999, path="/mailFolders/.*/messages", status=500, code="Unknown")

    counts = line.run("manual__2")

    assert counts["skipped"] + stubs(line) == counts["available_for_import"]


def test_overlapping_windows_deliver_an_item_once(line: Archive) -> None:
    line.run("manual__1", days=0.75)

    line.run("manual__2", start=YESTERDAY + timedelta(days=0.25), days=0.75)

    assert set(copies(line)) == expected(line)
    assert set(copies(line).values()) == {1}


def test_an_import_that_dies_half_way_goes_on_where_it_was(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    line.sandbox.graph.faults.add("status", times=1000, path="/messages$", rate=0.3, status=402, code="PaymentRequired")
    with pytest.raises(StopError):
        line.run("manual__1")
    half = copies(line)
    line.sandbox.graph.faults.clear()

    counts = line.run("manual__1")

    assert 0 < len(half) < len(expected(line))
    assert counts["balanced"]
    assert set(copies(line)) == expected(line)
    assert set(copies(line).values()) == {1}


def test_answers_that_were_lost_leave_one_copy(line: Archive) -> None:
    line.sandbox.graph.faults.add("executed_but_lost", times=40, path="/messages$", rate=0.3)
    line.sandbox.graph.faults.add("cut", times=10, path="/messages$", rate=0.1)

    counts = line.run()

    assert counts["balanced"]
    assert set(copies(line)) == expected(line)
    assert set(copies(line).values()) == {1}


def test_a_source_that_breaks_and_stumbles_loses_nothing(line: Archive) -> None:
    faults = line.sandbox.telemessage.faults
    faults.add("cut", times=3, path="/batches/", share=0.3)
    faults.add("cut", times=5, path="/attachments/", share=0.5)
    faults.add("status", times=2, path="/exports$", status=503, retry_after=0)
    faults.add("expired_token", times=1, path="/attachments/")
    faults.add("wrong_digest", times=1, path="/batches/")
    faults.add("wrong_digest", times=1, path="/attachments/")

    counts = line.run()

    assert counts["balanced"]
    assert counts["partially_imported"] == stubs(line)
    assert set(copies(line)) == expected(line)


def test_an_attachment_that_is_gone_leaves_the_rest_and_is_named(line: Archive) -> None:
    gone = next(item for item in line.items() if item.get("attachments"))
    path = f"/attachments/{re.escape(gone['attachments'][0]['attachmentId'])}$"
    line.sandbox.telemessage.faults.add("gone", times=9, path=path)

    counts = line.run()

    delivered = [message for message in line.messages() if key_of(message) == item_key(gone["itemId"])]
    assert counts["partially_imported"] - stubs(line) == len(delivered) > 0
    assert line.run("manual__2")["partially_imported"] == counts["partially_imported"]
    assert all("TeleMessage keeps it no longer" in message["body"]["content"] for message in delivered)
    named = [each for each in line.report()["details"] if each["outcome"] == "partially imported"]
    assert [each["item_id"] for each in named if each["cause"] == Cause.ATTACHMENT_GONE] == [gone["itemId"]] * len(
        delivered
    )


def test_an_attachment_that_stays_altered_leaves_the_rest_and_is_named(line: Archive) -> None:
    altered = next(item for item in line.items() if item.get("attachments"))
    path = f"/attachments/{re.escape(altered['attachments'][0]['attachmentId'])}$"
    line.sandbox.telemessage.faults.add("wrong_digest", times=99, path=path)

    counts = line.run()

    assert counts["balanced"]
    assert counts["partially_imported"] > 0


class Spoilt(World):
    """Send records that break the contract, and two different records of one id."""

    def items_of(self, *window: Any) -> Iterator[Any]:
        for item in super().items_of(*window):
            if item["itemId"].endswith("7"):
                yield {**item, "from": {"name": "Secret Person", "phone": 447700900123}}
            elif item["itemId"].endswith("18"):
                yield {**item, "itemId": item["itemId"][:-2] + "16"}
            else:
                yield item


def test_what_breaks_the_contract_is_named_and_everything_else_goes_on(line: Archive) -> None:
    line.sandbox.telemessage.world.__class__ = Spoilt

    with pytest.raises(StopError, match="two different records"):
        line.run()

    counts, report = line.counts, line.report()
    rejected = [each for each in report["details"] if each["outcome"] == "rejected"]
    failed = [each for each in report["details"] if each["outcome"] == "failed"]
    assert counts["balanced"]
    assert counts["rejected"] == len(rejected) == ITEMS // 10
    assert all(each["item_id"].endswith("7") and "$.from.phone" in each["cause"] for each in rejected)
    assert "447700900123" not in json.dumps(report)
    assert counts["failed"] == len(failed) > 0
    assert {each["item_id"][-2:] for each in failed} == {"16"}


def test_a_parked_item_is_delivered_when_the_mapping_knows_it(line: Archive) -> None:
    first = line.run("manual__1")
    parked = [each["item_id"] for each in line.report()["details"] if each["outcome"] == "parked"]
    item = next(each for each in line.items() if each["itemId"] == parked[0])
    number = next(each["phone"] for each in (item["from"], *item["to"]) if normalise(each["phone"], "GB"))
    user = next(each for each in line.sandbox.world.directory if each.mailbox == "ok")
    (line.mappings / "late.csv").write_text(f"ExternalUserId,O365UserMailbox\n{number},{user.mail}\n")

    second = line.run("manual__2")

    assert second["parked"] < first["parked"]
    assert second["imported"] > 0
    assert (item_key(parked[0]), user.id) in copies(line)
    assert set(copies(line).values()) == {1}


def test_a_mapping_that_contradicts_itself_stops_before_anything_is_imported(line: Archive) -> None:
    (line.mappings / "wrong.csv").write_text(
        "ExternalUserId,O365UserMailbox\n+447700900555,a@example.com\n07700 900555,b@example.com\n"
    )

    told = r"wrong\.csv:2: error: one number \(…555\) has 2 mailboxes at once: here and in wrong\.csv:3"
    with pytest.raises(StopError, match=told) as raised:
        line.run()

    assert line.messages() == []
    assert "900555" not in str(raised.value)


def test_mapping_files_that_are_away_stop_the_run(line: Archive) -> None:
    line.run("manual__1", dry_run=True)
    for path in line.mappings.glob("*.csv"):
        path.unlink()

    with pytest.raises(StopError, match="holds none, and earlier runs had some"):
        line.run("manual__2")
    assert line.messages() == []

    (line.mappings / "none.csv").write_text("ExternalUserId,O365UserMailbox\n")
    assert line.run("manual__3")["balanced"]


def test_what_is_no_error_in_the_mapping_files_is_told_in_the_log(
    line: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "+447700900555,a@example.com\n07700 900555,a@example.com\n"
    (line.mappings / "again.csv").write_text(f"ExternalUserId,O365UserMailbox\n{rows}")
    (line.mappings / "phones.xlsx").write_bytes(b"PK\x03\x04")

    with caplog.at_level(logging.INFO, "airflow.task"):
        line.run()

    assert "again.csv:3: note: again.csv:2 says the same of this number (…555) already" in caplog.text
    assert "phones.xlsx: warning: " in caplog.text
    assert "900555" not in caplog.text
    assert "a@example.com" not in caplog.text


def test_a_dry_run_writes_to_no_mailbox_and_says_what_it_would(line: Archive) -> None:
    counts = line.run(dry_run=True)

    assert line.messages() == []
    assert counts["available_for_import"] == len(expected(line))
    assert counts["balanced"]
    assert counts["imported"] == 0


def test_an_empty_day_says_so(line: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    line.sandbox.telemessage.world = World(1, 14, 0, "Europe/London")

    counts = line.run()

    assert counts["balanced"]
    assert counts["available_from_source"] == 0
    assert f"No items ingested on {YESTERDAY:%m/%d/%Y}." in capsys.readouterr().out


def test_a_wrong_password_fails_at_once_and_says_so(line: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"conn_type": "o2_telemessage", "host": line.sandbox.telemessage_url, "login": "x", "password": "y"}
    extra = {"ca_file": str(line.sandbox.ca_file)}
    monkeypatch.setenv("AIRFLOW_CONN_O2_TELEMESSAGE", json.dumps({**wrong, "extra": extra}))

    with pytest.raises(StopError, match="wrong user name or password"):
        line.run()

    with pytest.raises(StopError, match="extract did not finish"):
        line.reconcile("manual__1")


def test_a_window_that_is_not_closed_is_waited_for(line: Archive) -> None:
    with pytest.raises(RetryError) as raised:
        line.run(start=datetime.now(UTC).replace(microsecond=0), days=1)

    assert raised.value.retry_after is not None


def test_a_full_mailbox_fails_its_own_deliveries_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with archive(tmp_path, monkeypatch, items=ITEMS, users=14) as line:
        user_id = next(mailbox for _, mailbox in expected(line))
        line.sandbox.graph.faults.add(
            "status",
            times=999,
            path=f"/users/{user_id}/mailFolders/[^/]+/messages$",
            status=507,
            code="ErrorQuotaExceeded",
        )
        with pytest.raises(StopError, match="ErrorQuotaExceeded"):
            line.run()

        counts = line.counts
        rest = {(key, mailbox) for key, mailbox in expected(line) if mailbox != user_id}
        assert counts["balanced"]
        assert counts["failed"] == len(expected(line)) - len(rest)
        assert set(copies(line)) == rest


def test_a_flipped_bit_in_staging_stops_the_run(line: Archive) -> None:
    line.run("manual__1")
    victim = next((line.staging / "windows").glob("*/raw/*.jsonl"))
    victim.chmod(0o600)
    victim.write_bytes(victim.read_bytes().replace(b"O2", b"02", 1))

    with pytest.raises(IntegrityError, match=re.escape(victim.name)):
        line.run("manual__2")


def test_an_eml_is_the_same_bytes_in_every_run(line: Archive) -> None:
    def emls() -> dict[str, str]:
        paths = (line.staging / "windows").glob("*/converted/*.eml")
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    line.run("manual__1")
    before = emls()

    line.run("manual__2")

    assert emls() == before
    assert all(digest in name for name, digest in before.items())


def test_no_text_number_or_address_reaches_logs_xcom_or_the_report(
    line: Archive, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    line.sandbox.graph.faults.add(
        "status", times=20, path="/messages$", rate=0.2, status=400, code="ErrorInvalidRecipients"
    )

    with pytest.raises(StopError):
        line.run()

    printed = capsys.readouterr()
    told = caplog.text + printed.out + printed.err + json.dumps([*line.xcom.values()]) + json.dumps(line.report())
    assert "deliveries" in told  # the tasks' own words are among it
    for item in line.items():
        for person in (item["from"], *item["to"]):
            assert person["phone"] not in told or not normalise(person["phone"], "GB")
            assert not person.get("email") or person["email"] not in told
            assert " " not in (person.get("name") or "") or person["name"] not in told
        assert len(item.get("text", "")) < 12 or item["text"] not in told


@pytest.mark.azurite
def test_a_day_is_archived_twice_through_an_azure_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with azurite() as endpoint, archive(tmp_path, monkeypatch, items=60, users=12) as line:
        extra = {"connection_string": connection_string(endpoint), "container": "o2-archive"}
        monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "wasb", "extra": extra}))

        first = line.run("manual__1")
        second = line.run("manual__2")

        assert first["balanced"]
        assert second["balanced"]
        assert second["skipped"] == first["imported"] == len(expected(line))
        assert set(copies(line).values()) == {1}
        assert not line.staging.exists()


def test_a_mapping_row_that_leads_to_no_mailbox_is_named(line: Archive) -> None:
    line.run()

    named = [each for each in line.report()["details"] if each["outcome"] == "mapping"]
    assert [each["place"].partition(":")[0] for each in named] == ["phones.csv"]
    assert "former.mailbox" not in json.dumps(line.report())


class Short(World):
    """Say that a batch has an item more than it has."""

    def items_of(self, *window: Any) -> Iterator[Any]:
        yield from list(super().items_of(*window))[1:]


def test_a_batch_with_fewer_items_than_promised_fails_the_run_and_is_named(line: Archive) -> None:
    line.sandbox.telemessage.world.__class__ = Short

    with pytest.raises(IntegrityError, match="batch b00000: 120 items promised, 119 there"):
        line.run()


class Recycled(World):
    """Give one attachment id to two different files."""

    def items_of(self, *window: Any) -> Iterator[Any]:
        for item in super().items_of(*window):
            yield {**item, "attachments": [{**each, "attachmentId": "same"} for each in item.get("attachments", ())]}


def test_one_id_for_different_files_costs_only_the_files_that_cannot_be_had(line: Archive) -> None:
    line.sandbox.telemessage.world.__class__ = Recycled

    counts = line.run()

    assert counts["balanced"]
    assert counts["partially_imported"] > 0
    assert set(copies(line)) == expected(line)


def test_two_runs_of_one_window_at_the_same_time_leave_one_copy(line: Archive) -> None:
    other = Archive(sandbox=line.sandbox, staging=line.staging, mappings=line.mappings)
    line.sandbox.graph.latency = 0.02  # so that they surely meet

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda each: each[0].run(each[1]), [(line, "scheduled__1"), (other, "manual__2")])

    assert first["balanced"]
    assert second["balanced"]
    assert first["imported"] + second["imported"] + stubs(line) == first["available_for_import"]
    assert set(copies(line)) == expected(line)
    assert set(copies(line).values()) == {1}


def test_the_mapping_asks_no_mailbox_while_an_import_of_another_run_writes_to_it(
    line: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.settings["directory_hours"] = 0  # else the directory would not be asked again
    line.run()
    staging, paces, asked = StagingHook(), Paces(), threading.Event()
    probe = graph_directory.probe_mailboxes

    def noted(graph: Any, users: Any) -> Any:
        asked.set()
        return probe(graph, users)

    monkeypatch.setattr(graph_directory, "probe_mailboxes", noted)

    with ThreadPoolExecutor(1) as pool:
        with owned(staging, range(BUCKETS), paces):
            again = pool.submit(line.run, "manual__2")
            waited = not asked.wait(3)
        again.result(60)

    assert waited
    assert asked.is_set()
