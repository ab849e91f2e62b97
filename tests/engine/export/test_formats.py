"""An export is everything of a window, and whoever has it can check it."""

from __future__ import annotations

import email
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from email import policy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from o2_connector.core.conversion_profile import Profile
from o2_connector.core.items import captured, record_digest
from o2_connector.core.outcomes import Cause
from o2_connector.core.rebuild import read_eml, rebuild
from o2_connector.core.rsmf import MOST_EVENTS
from o2_connector.engine.export.folder import Folder
from o2_connector.engine.export.places import Place
from o2_connector.engine.export.rsmf import RsmfFormat
from o2_connector.engine.export.source import Item
from o2_connector.engine.export.window import FORMATS
from tests.core.people import item_row
from tests.core.records import records
from tests.core.rsmf_schema import MANIFEST
from tests.engine.evidence import Evidence, attached, evidence_in, lines_of, record
from tests.engine.export.exports import (
    LINES,
    PICTURE,
    RECORDING,
    Export,
    checked,
    exported,
    files_of,
    items_of,
    of_kind,
)
from tests.engine.small import DAY

# What every format has


def test_the_sums_cover_every_file_and_the_manifest(export: Export, tmp_path: Path) -> None:
    target = shutil.copytree(export.target, tmp_path / "theirs")

    assert checked(target).returncode == 0
    summed = {line.partition("  ")[2] for line in (target / "SHA256SUMS").read_text().splitlines()}
    assert summed == files_of(target).keys() - {"SHA256SUMS"}
    (target / "manifest.jsonl").write_bytes(b"another")
    assert "manifest.jsonl: FAILED" in checked(target).stdout


def test_the_counts_add_up_to_what_the_source_has(export: Export) -> None:
    told = export.told

    assert told.is_whole
    assert (told.items, told.exported, told.rejected, told.not_exported) == (len(LINES), len(LINES) - 1, 1, 0)
    first, *_ = lines_of(export.target / "manifest.jsonl")
    assert (first["kind"], first["window"], first["exported"]) == ("window", DAY.name, told.exported)
    assert len(of_kind(export.target, "item")) == told.exported
    assert len(of_kind(export.target, "reject")) == told.rejected
    files = files_of(export.target)
    sizes = [len(content) for name, content in files.items() if name not in ("SHA256SUMS", "manifest.jsonl")]
    assert (told.files, told.bytes) == (len(sizes), sum(sizes))


def test_the_manifest_names_the_book_and_the_converter(archived: Evidence, export: Export) -> None:
    report = (archived.root / export.told.report).read_bytes()

    assert hashlib.sha256(report).hexdigest() == export.told.report_sha256
    assert list(archived.root.glob(f"chain/*.{export.told.link_sha256}.jsonl"))
    assert (export.told.run_id, export.told.converters) == ("run", ("2",))
    assert "personal" in export.told.contains


def test_every_line_names_a_file_that_is_there_as_it_says(export: Export) -> None:
    files = files_of(export.target)

    for line in of_kind(export.target, "file"):
        content = files[line["path"]]
        assert (line["size"], line["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    for line in (*of_kind(export.target, "item"), *of_kind(export.target, "reject")):
        assert line["path"] in files
        assert {each.get("path") for each in line.get("attachments", ())} <= {*files, None}


def test_the_manifest_says_for_whom_each_item_was_delivered_and_which_is_parked(export: Export) -> None:
    items = items_of(export.target)

    (delivery,) = items["o2-1"]["deliveries"]
    assert delivery["mailbox"] == "mailbox-of-alex"
    assert (delivery["rule"], delivery["place"]) == ("mapping file", "a.csv:2")
    assert (delivery["outcome"], delivery["run_id"]) == ("imported", "run")
    assert items["o2-1"]["outcome"] == "imported"
    assert items["o2-3"]["outcome"] == "partially imported"
    assert items["o2-parked"]["outcome"] == "parked"
    assert items["o2-parked"]["waits"][0]["cause"] == Cause.NO_ADDRESS
    assert "deliveries" not in items["o2-parked"]
    outcomes = [line["outcome"] for line in of_kind(export.target, "item") if line["item_id"] == "o2-1"]
    assert sorted(outcomes) == ["failed", "imported", "imported"]


def test_attachments_are_named_where_they_are_or_why_they_are_not(export: Export) -> None:
    items = items_of(export.target)

    (picture,), (recording,), (gone,) = (items[f"o2-{number}"]["attachments"] for number in (2, 3, 4))
    assert picture["path"]
    assert recording["path"]
    assert (gone.get("path"), gone["cause"]) == (None, Cause.ATTACHMENT_GONE)


def test_a_rejected_record_is_there_as_it_was_captured(export: Export) -> None:
    (reject,) = of_kind(export.target, "reject")

    content = (export.target / reject["path"]).read_bytes()
    found = content.splitlines()[reject["line"] - 1] if "line" in reject else content
    assert found == LINES[5].rstrip()
    assert hashlib.sha256(found).hexdigest() == reject["record"]
    assert (reject["item_id"], reject["batch"], reject["batch_line"]) == ("o2-rejected", "b1", 2)
    assert "direction" in reject["fault"]


def test_nobody_but_its_owner_may_read_it(export: Export) -> None:
    assert export.target.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in export.target.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in export.target.rglob("*") if path.is_dir()} <= {0o700}


def test_the_same_window_makes_the_same_bytes(archived: Evidence, export: Export) -> None:
    again = exported(archived, export.form, f"again-{export.form}")

    assert files_of(again.target) == files_of(export.target)


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_window_has_a_manifest_all_the_same(evidence: Evidence, form: str) -> None:
    evidence.archive([])

    export = exported(evidence, form)

    assert export.told.is_whole
    assert (export.told.items, export.told.files) == (0, 0)
    assert checked(export.target).returncode == 0


# E-mails


@pytest.fixture(scope="module")
def emls(archived: Evidence) -> Path:
    return exported(archived, "eml", "emls").target


def test_e_mails_are_byte_for_byte_as_staged_and_what_they_lack_is_beside_them(archived: Evidence, emls: Path) -> None:
    items = items_of(emls)

    staged = b"".join(path.read_bytes() for path in sorted(archived.root.rglob("*.eml")))
    assert all((emls / item["path"]).read_bytes() in staged for item in items.values())
    assert items["o2-2"]["attachments"][0]["path"] == items["o2-2"]["path"]
    beside = items["o2-3"]["attachments"][0]
    assert beside["path"] == f"attachments/{hashlib.sha256(RECORDING).hexdigest()}"
    assert (emls / beside["path"]).read_bytes() == RECORDING


def test_a_record_that_contradicts_the_first_has_an_e_mail_of_its_own(emls: Path) -> None:
    first, again, other = (line["path"] for line in of_kind(emls, "item") if line["item_id"] == "o2-1")

    assert first == again != other
    assert rebuild(read_eml((emls / other).read_bytes())) == captured(LINES[7])


@given(st.lists(records(), min_size=20, max_size=20))
@settings(max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_every_record_can_be_made_again_from_the_e_mails(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[dict[str, Any], Mapping[str, bytes]]]
) -> None:
    ids = (f"{number}-{each['itemId'][:300]}" for number, (each, _) in enumerate(drawn))
    lines = [record(**{**each, "itemId": item_id}) for item_id, (each, _) in zip(ids, drawn, strict=True)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        for evidence in evidence_in(tmp_path_factory.mktemp("drawn"), monkeypatch):
            evidence.archive(lines, files=[content for _, files in drawn for content in files.values()])

            target = exported(evidence, "eml").target

            made = [rebuild(read_eml((target / item["path"]).read_bytes())) for item in items_of(target).values()]
            assert made == list(map(captured, lines))


# Records


def test_records_are_byte_for_byte_as_captured(archived: Evidence) -> None:
    target = exported(archived, "jsonl", "records").target

    batches = sorted((target / "records").iterdir())
    assert b"".join(path.read_bytes() for path in batches) == b"".join(LINES)
    for item in of_kind(target, "item"):
        found = (target / item["path"]).read_bytes().splitlines()[item["line"] - 1]
        assert hashlib.sha256(found).hexdigest() == item["record"]
    attachments = {path.name: path.read_bytes() for path in (target / "attachments").iterdir()}
    assert set(attachments.values()) == {PICTURE, RECORDING}
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in attachments.items())


# Conversations


def test_conversations_have_every_item_once_and_its_attachments(archived: Evidence) -> None:
    target = exported(archived, "rsmf", "conversations").target

    events: dict[str, dict[str, Any]] = {}
    for path in target.rglob("*.rsmf"):
        message = email.message_from_bytes(path.read_bytes(), policy=policy.default)
        (attachment,) = message.iter_attachments()
        with zipfile.ZipFile(io.BytesIO(attachment.get_content())) as archive:
            manifest = json.loads(archive.read("rsmf_manifest.json"))
            jsonschema.Draft7Validator(MANIFEST, format_checker=jsonschema.FormatChecker()).validate(manifest)
            files = {each["id"]: each for event in manifest["events"] for each in event.get("attachments", ())}
            assert {*archive.namelist()} == {"rsmf_manifest.json", *files}
            assert all(archive.getinfo(name).file_size == each["size"] for name, each in files.items())
            assert {archive.read(name) for name in files} <= {PICTURE, RECORDING}
        events |= {event["id"]: event for event in manifest["events"]}
    assert events.keys() == {"o2-1", "o2-1 (2)", "o2-2", "o2-3", "o2-4", "o2-parked", "o2-edit", "o2-gone"}
    assert len(events["o2-3"]["attachments"]) == 1
    assert "attachments" not in events["o2-4"]


def test_a_day_of_more_events_than_a_file_takes_is_in_several(evidence: Evidence) -> None:
    count = MOST_EVENTS + 1
    items = [
        Item(line=number, record=line.rstrip(), row=item_row(f"o2-{number}", record=record_digest(line)))
        for number, line in ((number, record(f"o2-{number}")) for number in range(count))
    ]
    batch: Any = SimpleNamespace(batch=SimpleNamespace(profile=Profile(region="GB")), missing={}, items=lambda: items)
    with Folder(evidence.folder / "export") as folder:
        form = RsmfFormat(Place(staging=evidence.staging, folder=folder))

        assert list(form.write(batch)) == []
        paths = [placed.path for _, placed in form.finish()]

    first, second = dict.fromkeys(paths)
    assert (paths.count(first), paths.count(second)) == (MOST_EVENTS, 1)
    assert second == first.replace(".rsmf", ".2.rsmf")


def test_attachments_are_there_however_their_name_is_spelled(evidence: Evidence) -> None:
    spelled = record("o2-2", itemType="MMS", attachments=attached(PICTURE)).replace(b'"attach', b'"\\u0061ttach')
    evidence.archive([spelled], files=[PICTURE])

    export = exported(evidence, "jsonl")

    (attachment,) = items_of(export.target)["o2-2"]["attachments"]
    assert (export.target / attachment["path"]).read_bytes() == PICTURE
