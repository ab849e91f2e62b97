"""Whatever is done to staging is found, and named."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from o2_connector.core.parked import Gone, Waiting
from o2_connector.engine.chain import links_of
from o2_connector.engine.proof.result import Proof
from o2_connector.hooks.staging import StagingHook
from tests.engine.proof.conftest import DAY, DAY_BEFORE
from tests.engine.proof.tampered import Staged

WINDOW, RUN = f"windows/{DAY.name}", f"windows/{DAY.name}/runs/day.*"
SEALED = {
    "export": f"{WINDOW}/export/*.json",
    "raw": f"{WINDOW}/raw/*.jsonl",
    "e-mails": f"{WINDOW}/converted/*.eml",
    "index": f"{WINDOW}/converted/*.index.*",
    "messages": f"{WINDOW}/converted/*.messages.*",
    "participants": f"{WINDOW}/converted/*.participants.*",
    "mapping": "mappings/*.csv",
    "decision": f"{RUN}/decision.*",
    "details": f"{RUN}/details.*",
    "deliveries": f"{RUN}/shards/*.jsonl",
    "intents": f"{RUN}/shards/*/intents.*",
    "receipts": f"{RUN}/shards/*/receipts.*",
    "report": f"{RUN}/report.*.json",
    "log": f"{RUN}/report.*.csv",
    "seal": f"{RUN}/seal.*",
}
UNSEALED = {"link": "chain/*", "parked": f"parked/{DAY.name}/waiting.*", "gone": f"parked/{DAY.name}/gone.*"}
BYTES, GONE = "its bytes are not what its digest says", "it is not there"
NAMED = "a link of the chain names it, and it is not there"


def forged(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new, 1)


@pytest.mark.parametrize("kind", [*SEALED, *UNSEALED])
def test_a_flipped_bit_is_found(staged: Staged, kind: str) -> None:
    name = staged.one((SEALED | UNSEALED)[kind])
    staged.flip(name)

    assert staged.prove().about(name) == [BYTES]


@pytest.mark.parametrize("kind", SEALED)
def test_a_missing_object_is_found(staged: Staged, kind: str) -> None:
    name = staged.one(SEALED[kind])
    staged.remove(name)

    proved = staged.prove()

    assert proved.about(name) == ([NAMED, GONE] if kind in ("report", "log", "seal") else [GONE])


def test_of_a_book_whose_decision_is_gone_nothing_is_called_converted_or_waiting(staged: Staged) -> None:
    for name in staged.names(f"{WINDOW}/runs/*/decision.*"):
        staged.remove(name)

    proved = staged.prove()

    for proof in (Proof.CONVERSION, Proof.PARKED):
        assert any("the book of run day over" in each for each in proved.of(proof).unproved)


def test_of_a_day_without_a_book_nothing_is_proved(staged: Staged) -> None:
    staged.remove("chain")

    proved = staged.prove()

    assert [proved.of(proof).proved for proof in (Proof.CONVERSION, Proof.PARKED)] == ["", ""]


def test_attachments_are_read_too(staged: Staged) -> None:
    named = {
        attachment["sha256"]: record["itemId"]
        for line in staged.read(staged.one(SEALED["raw"])).splitlines()
        for record in [json.loads(line)]
        for attachment in record.get("attachments", ())
    }
    flipped, removed = list(named)[:2]
    staged.flip(f"attachments/{flipped[:2]}/{flipped}")
    staged.remove(f"attachments/{removed[:2]}/{removed}")

    faults = staged.prove().of(Proof.OBJECTS).faults

    assert {(each.item_id, each.what) for each in faults} == {(named[flipped], BYTES), (named[removed], GONE)}


def test_two_objects_that_were_swapped_are_found_both(staged: Staged) -> None:
    one, other = staged.names(f"{RUN}/shards/*/receipts.*")[:2]
    content = staged.read(one)
    staged.write(one, staged.read(other))
    staged.write(other, content)

    proved = staged.prove()

    assert proved.about(one) == proved.about(other) == [BYTES]


def test_a_report_edited_by_hand_is_found(staged: Staged) -> None:
    name = staged.one(SEALED["report"])
    staged.write(name, re.sub(rb'"parked": [0-9]+', b'"parked": 0', staged.read(name)))

    assert staged.prove().about(name) == [BYTES]


def test_a_report_that_was_edited_and_renamed_is_found(staged: Staged) -> None:
    name = staged.one(SEALED["report"])
    other = staged.rename(name, re.sub(rb'"parked": [0-9]+', b'"parked": 0', staged.read(name)))

    proved = staged.prove()

    assert proved.about(name) == [NAMED, GONE]
    assert proved.about(other) == ["no link of the chain names it"]


def test_a_report_that_was_forged_with_its_link_is_missed_by_the_next_link(staged: Staged) -> None:
    """Whoever edits a report and its link, but not what follows."""
    link = next(link for link in staged.links() if link.run_id == "day")
    report = staged.rename(
        link.report.name, forged(staged.read(link.report.name), b'"balanced": true', b'"balanced": true ')
    )
    at = staged.one(f"chain/{link.number:08d}.*")
    was = re.findall("[0-9a-f]{64}", at)[0]
    content = staged.read(at).replace(link.report.sha256.encode(), re.findall("[0-9a-f]{64}", report)[0].encode())
    staged.rename(at, content.replace(b'"size":%d' % link.report.size, b'"size":%d' % (link.report.size + 1)))

    faults = staged.prove().of(Proof.CHAIN).faults

    assert [(each.place, each.what[:21]) for each in faults] == [(f"link {was}", "it was taken away: ch")]


def test_whoever_forges_a_report_and_every_digest_after_it_is_found_by_the_sums_and_the_head(staged: Staged) -> None:
    head = list(links_of(StagingHook()))[-1]
    name = staged.one(SEALED["report"])
    other = staged.forge(name, re.sub(rb'"imported": [0-9]+', b'"imported": 99', staged.read(name)))

    proved = staged.prove(heads=[head])

    assert proved.of(Proof.OBJECTS).faults == ()
    assert [each.what for each in proved.of(Proof.BOOKS).faults if each.place == other] == [
        f"its counts differ: imported 99, and it is {_imported(staged)}"
    ]
    assert [each.what for each in proved.of(Proof.CHAIN).faults] == ["it was in the chain, and is not there"]


def _imported(staged: Staged) -> int:
    return next(link.counts.imported for link in staged.links() if link.run_id == "day")


def test_a_log_that_was_forged_with_every_digest_after_it_is_found_by_the_sums(staged: Staged) -> None:
    name = staged.one(SEALED["log"])
    other = staged.forge(name, re.sub(rb"Items parked,[0-9]+", b"Items parked,777", staged.read(name)))

    assert staged.prove().about(other)[0].startswith("it says Items parked: 777, and it is ")


def test_an_e_mail_that_was_forged_with_every_digest_after_it_is_found_by_the_conversion(staged: Staged) -> None:
    name = staged.one(SEALED["e-mails"])
    other = staged.forge(name, forged(staged.read(name), b"X-O2-Status: ", b"X-o2-Status: "))

    proved = staged.prove()

    assert proved.of(Proof.OBJECTS).faults == ()
    assert proved.about(other) == ["its record makes other e-mails"]


def test_an_index_that_was_forged_names_the_item(staged: Staged) -> None:
    name = staged.one(SEALED["index"])
    row = json.loads(staged.read(name).splitlines()[3])
    other = staged.forge(name, forged(staged.read(name), row["record"].encode(), b"0" * 64))

    faults = [fault for fault in staged.prove().faults if fault.place == other]

    assert [fault.item_id for fault in faults] == [row["item_id"], None]


def test_a_receipt_that_was_forged_with_every_digest_after_it_is_found_by_the_sums(staged: Staged) -> None:
    name = staged.one(SEALED["receipts"])
    content = forged(staged.read(name), b'"outcome":"imported"', b'"outcome":"failed"')
    staged.forge(name, content)

    faults = staged.prove().of(Proof.BOOKS).faults

    assert f"imported {_imported(staged)}, and it is {_imported(staged) - 1}" in faults[0].what


def test_a_link_that_was_renamed_is_found(staged: Staged) -> None:
    """It would push the number of the next link up."""
    name = staged.names("chain/*")[1]
    staged.write(name.replace("00000002", "00000099"), staged.read(name))
    staged.remove(name)

    (fault,) = staged.prove().of(Proof.CHAIN).faults

    assert (fault.place, fault.what[:33]) == (name.replace("00000002", "00000099"), "its name has another number than ")
    assert name in fault.remedy


@pytest.mark.parametrize("place", ["first", "middle"])
def test_a_link_that_was_removed_is_missed(staged: Staged, place: str) -> None:
    name = staged.names("chain/*")[0 if place == "first" else 3]
    staged.remove(name)

    faults = staged.prove().of(Proof.CHAIN).faults

    digest = re.findall("[0-9a-f]{64}", name)[0]
    assert f"link {digest}" in {each.place for each in faults}
    assert {each.what for each in faults if each.place != f"link {digest}"} == {"no link of the chain names it"}


def test_the_last_links_are_missed_when_somebody_remembers_the_head(staged: Staged) -> None:
    *_, before, last = staged.names("chain/*")
    stems = [f"replays/{link.window.name}/runs" for link in staged.links() if link.replay]
    for name in (last, *stems):
        staged.remove(name)
    heads = [re.findall("[0-9a-f]{64}", name)[0] for name in (before, last)]

    assert staged.prove(DAY_BEFORE).of(Proof.CHAIN).faults == ()
    assert staged.prove(DAY_BEFORE, heads=heads[:1]).of(Proof.CHAIN).faults == ()
    faults = staged.prove(DAY_BEFORE, heads=heads).of(Proof.CHAIN).faults
    assert [(each.place, each.what) for each in faults] == [
        (f"link {heads[1]}", "it was in the chain, and is not there")
    ]


def test_a_window_whose_folder_was_removed_is_missed_whichever_window_is_proved(staged: Staged) -> None:
    names = staged.names(f"windows/{DAY_BEFORE.name}/runs/*/report.*")
    staged.remove(f"windows/{DAY_BEFORE.name}")

    elsewhere, there = staged.prove(DAY), staged.prove(DAY_BEFORE)

    assert all(elsewhere.about(name) == [NAMED] for name in names)
    assert any(what == GONE for what in (fault.what for fault in there.of(Proof.OBJECTS).faults))
    assert there.unproved


def test_a_window_of_which_all_was_removed_is_missed_by_the_next_link(staged: Staged) -> None:
    link = next(link for link in staged.links() if link.window == DAY_BEFORE)
    staged.remove(f"windows/{DAY_BEFORE.name}")
    staged.remove(staged.one(f"chain/{link.number:08d}.*"))

    proved = staged.prove(DAY_BEFORE)

    assert [each.what[:20] for each in proved.of(Proof.CHAIN).faults] == ["it was taken away: c"]
    assert any("no book covers" in each for each in proved.unproved)


def test_a_receipt_that_was_added_is_found(staged: Staged) -> None:
    stem = re.split("[0-9a-f]{64}[.]jsonl", staged.one(SEALED["receipts"]))[0]
    line = staged.read(staged.one(SEALED["receipts"])).splitlines()[0]
    name = staged.add(stem, ".jsonl", line.replace(b"imported", b"failed") + b"\n")

    proved = staged.prove()

    assert proved.about(name) == ["it was added after its run's book was closed"]
    assert proved.of(Proof.BOOKS).faults == ()  # the book goes by what it went by


def test_a_link_that_was_made_by_hand_is_found(staged: Staged) -> None:
    link = staged.names("chain/*")[-1]
    number = int(link[6:14])
    content = staged.read(link).replace(b'"number":%d' % number, b'"number":%d' % (number + 3))
    name = staged.add(f"chain/{number + 3:08d}.", ".jsonl", content)

    assert staged.prove().about(name) == [
        "its number does not follow those of the links that it names: it was made by hand"
    ]


def test_bytes_that_are_no_link_are_found(staged: Staged) -> None:
    name = staged.add("chain/00000099.", ".jsonl", b"{}\n")

    assert staged.prove().about(name) == [BYTES]


def test_what_somebody_said_to_be_gone_is_found_when_nobody_has_got_it(staged: Staged) -> None:
    staging = StagingHook()
    gone = {each for name in staged.names("parked/*/gone.*") for each in _lines(staging, name, Gone)}
    names = {each.id for each in gone}
    entry = next(
        each
        for name in staged.names(f"parked/{DAY.name}/waiting.*")
        for each in _lines(staging, name, Waiting)
        if each.id not in names and each.is_parked
    )
    staging.write_lines(f"parked/{DAY.name}/gone.", [Gone(id=entry.id)])

    faults = staged.prove().of(Proof.PARKED).faults

    assert {(each.item_id, each.what) for each in faults} == {
        (entry.item_id, "it waits no longer, and no ledger says that anybody has got it")
    }


def test_what_waits_and_is_told_nowhere_any_more_is_found(staged: Staged) -> None:
    items = set()
    for name in staged.names("parked/*/waiting.*"):
        items |= {each.item_id for each in _lines(StagingHook(), name, Waiting)}
        staged.remove(name)

    faults = staged.prove().of(Proof.PARKED).faults

    assert faults
    assert {each.item_id for each in faults} < items
    assert {each.what for each in faults} == {
        "the book let it wait, and nothing in the park says so: it would never be delivered"
    }


def test_an_item_that_the_decision_forgot_is_found(staged: Staged) -> None:
    """Whoever takes a parked item out of all books, and forges every digest after them."""
    name = staged.one(SEALED["details"])
    lines = staged.read(name).splitlines(keepends=True)
    dropped = next(line for line in lines if json.loads(line)["outcome"] == "parked")
    staged.forge(name, b"".join(line for line in lines if line != dropped))

    faults = staged.prove().of(Proof.BOOKS).faults

    assert json.loads(dropped)["item_id"] in {each.item_id for each in faults}


def test_what_is_not_what_it_was_is_told_once_and_what_needs_it_is_not_proved(staged: Staged) -> None:
    name = staged.one(SEALED["raw"])
    staged.flip(name)

    proved = staged.prove()

    assert [fault.place for fault in proved.faults] == [name]
    assert len(proved.unproved) == 4  # the conversion, and the three books that go by it
    assert all(name in each for each in proved.unproved)


def _lines(staging: StagingHook, name: str, kind: type) -> list:  # type: ignore[type-arg]
    return list(staging.read_lines(staging.staged(name), kind))


def _by_another_version(staged: Staged) -> None:
    """Have what a run converted pass for what another version of the converter made."""
    name = staged.one(SEALED["decision"])
    staged.forge(name, re.sub(rb'"converter":"[^"]*"', b'"converter":"1"', staged.read(name)))


def test_what_another_version_converted_is_rebuilt(staged: Staged) -> None:
    _by_another_version(staged)

    proved = staged.prove()

    assert (proved.faults, proved.unproved) == ([], [])
    assert "60 of them, of another version" in proved.of(Proof.CONVERSION).proved


@pytest.mark.parametrize("kind", ["e-mails", "messages"])
def test_what_another_version_converted_to_something_else_is_found(staged: Staged, kind: str) -> None:
    _by_another_version(staged)
    item = json.loads(staged.read(staged.one(SEALED["index"])).splitlines()[0])["item_id"]
    name = staged.one(SEALED[kind])
    other = staged.forge(name, forged(staged.read(name), b"X-O2-Status: ", b"X-O2-Stetus: "))
    if kind == "e-mails":
        row = json.loads(staged.read(staged.one(SEALED["index"])).splitlines()[0])
        eml = hashlib.sha256(staged.read(other)[: row["eml"][1]]).hexdigest()
        index = staged.one(SEALED["index"])
        staged.forge(index, forged(staged.read(index), row["eml_sha256"].encode(), eml.encode()))

    faults = staged.prove().of(Proof.CONVERSION).faults

    assert [fault.item_id for fault in faults if "X-O2-Status is missing" in fault.what] == [item]
