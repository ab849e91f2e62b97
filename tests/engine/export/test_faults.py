"""What is not as it should be is named, and an export is there complete or not at all."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from o2_connector.core.errors import IntegrityError, StopError
from o2_connector.core.window import Window
from o2_connector.engine.export.places import NOT_IN_STAGING
from o2_connector.engine.export.window import FORMATS, export_window
from tests.engine.evidence import Evidence, record
from tests.engine.export.exports import RECORDING, checked, exported, files_of, items_of, of_kind
from tests.engine.small import DAY

# What is not as it should be


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("part", ["/raw/b0.", "b0.index.", "/converted/b0."])
def test_a_batch_that_was_altered_is_named_with_its_items_and_the_others_go_on(
    copy: Evidence, form: str, part: str
) -> None:
    altered = copy.spoil(part)

    export = exported(copy, form)

    assert not export.told.is_whole
    assert any(altered in fault for fault in export.told.faults)
    assert (export.told.exported, export.told.rejected, export.told.not_exported) == (5, 1, 4)
    items = items_of(export.target)
    assert {"o2-2", "o2-3", "o2-4", "o2-parked", "o2-edit", "o2-gone"} <= items.keys()
    assert (items["o2-2"].get("path"), items["o2-2"]["fault"]) == (None, NOT_IN_STAGING)
    assert items["o2-2"]["outcome"] == ("not known" if part == "b0.index." else "imported")
    assert items["o2-edit"]["path"]
    assert checked(export.target).returncode == 0


def test_a_batch_that_is_gone_is_named(copy: Evidence) -> None:
    (raw,) = copy.root.glob("windows/*/raw/b1.*")
    raw.unlink()

    export = exported(copy, "jsonl")

    assert any(raw.name in fault for fault in export.told.faults)
    assert export.told.not_exported == 4
    assert [line.get("path") for line in of_kind(export.target, "reject")] == [None]


@pytest.mark.parametrize("form", FORMATS)
def test_an_attachment_that_was_altered_is_named_and_its_item_goes_on(copy: Evidence, form: str) -> None:
    altered = copy.spoil(f"attachments/{hashlib.sha256(RECORDING).hexdigest()[:2]}/")

    export = exported(copy, form)

    assert not export.told.is_whole
    assert any(altered in fault for fault in export.told.faults)
    item = items_of(export.target)["o2-3"]
    assert (export.target / item["path"]).exists()
    assert (item["attachments"][0].get("path"), item["attachments"][0]["cause"]) == (None, NOT_IN_STAGING)


def test_receipts_that_were_altered_are_named(copy: Evidence) -> None:
    altered = copy.spoil("/receipts.")

    assert any(altered in fault for fault in exported(copy, "jsonl").told.faults)


def test_a_park_that_was_altered_is_named_and_what_it_lets_wait_is_not_known(copy: Evidence) -> None:
    altered = copy.spoil("/waiting.")

    export = exported(copy, "jsonl")

    assert any(altered in fault for fault in export.told.faults)
    assert export.told.not_exported == 0
    assert items_of(export.target)["o2-parked"]["outcome"] == "not known"
    assert items_of(export.target)["o2-2"]["outcome"] == "imported"


def test_another_runs_decision_that_was_altered_is_named(evidence: Evidence) -> None:
    evidence.archive([record()], run="first")
    altered = evidence.spoil("/decision.")
    evidence.archive([record()], run="second")

    told = exported(evidence, "eml").told

    assert any(altered in fault for fault in told.faults)
    assert (told.exported, told.is_whole) == (1, False)


def test_a_window_that_lacks_items_of_the_source_is_not_whole(evidence: Evidence) -> None:
    batch = evidence.stage([record()])
    decision = evidence.archive([record()])
    evidence.close(DAY, "run", [batch], [evidence.convert(batch)], decision, promised=2)

    told = exported(evidence, "jsonl").told

    assert not told.is_whole
    assert "the source said it has 2 items, but 1 are told of here" in told.faults


def test_the_last_book_of_the_window_counts_and_no_dry_one(evidence: Evidence) -> None:
    evidence.archive([record("o2-1")], run="first")
    evidence.archive([record("o2-1"), record("o2-2")], run="second")
    evidence.archive([record("o2-1")], run="dry", dry_run=True)

    export = exported(evidence, "eml")

    assert (export.told.run_id, export.told.items) == ("second", 2)
    assert items_of(export.target)["o2-1"]["deliveries"][0]["run_id"] == "first"


def test_what_a_replay_delivered_is_told(evidence: Evidence) -> None:
    evidence.archive([record("o2-1", to=[{"phone": "+447700900999"}])])
    evidence.rows.append("+447700900999,alex@example.com")
    evidence.replay()

    item = items_of(exported(evidence, "eml").target)["o2-1"]

    assert item["outcome"] == "imported"
    assert "waits" not in item


def test_a_window_without_a_book_is_refused_and_nothing_is_written(evidence: Evidence) -> None:
    evidence.stage([record()])

    with pytest.raises(StopError, match="No run has closed a book"):
        exported(evidence, "eml")
    assert list(evidence.folder.glob("*export*")) == []


def test_another_window_has_another_book(archived: Evidence) -> None:
    hour = Window(start=DAY.start, end=DAY.start + timedelta(hours=1))

    with pytest.raises(StopError, match="No run has closed a book"):
        export_window(archived.staging, hour, archived.folder / "hour", "eml")


# Where it is written


def test_a_folder_that_holds_anything_is_refused_and_left_alone(archived: Evidence, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")

    with pytest.raises(StopError, match="is no empty directory"):
        export_window(archived.staging, DAY, tmp_path, "eml")

    assert files_of(tmp_path) == {"mine": b"mine"}


def test_an_empty_folder_is_taken(archived: Evidence, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()

    export_window(archived.staging, DAY, tmp_path / "export", "jsonl")

    assert checked(tmp_path / "export").returncode == 0


def test_a_place_that_is_not_there_is_refused(archived: Evidence, tmp_path: Path) -> None:
    with pytest.raises(StopError, match="nowhere is not there: make it, or name another place"):
        export_window(archived.staging, DAY, tmp_path / "nowhere" / "export", "eml")


def test_a_failure_leaves_nothing_behind(copy: Evidence) -> None:
    copy.spoil("/decision.")
    before = sorted(copy.folder.iterdir())

    with pytest.raises(IntegrityError, match="decision"):
        exported(copy, "eml")

    assert sorted(copy.folder.iterdir()) == before


def test_a_full_disk_is_said_and_leaves_nothing_behind(archived: Evidence, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(RECORDING) // 2, limits[1]))
    try:
        with pytest.raises(StopError, match=r"cannot be written .*: make room, or name another place"):
            export_window(archived.staging, DAY, tmp_path / "export", "jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert list(tmp_path.iterdir()) == []


def test_a_killed_export_leaves_nothing_under_its_name(archived: Evidence, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from o2_connector.core.window import Window\n"
        "from o2_connector.engine.export.window import export_window\n"
        "from o2_connector.hooks.staging import StagingHook\n"
        "Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "export_window(StagingHook(), Window.named(sys.argv[1]), Path(sys.argv[2]), 'eml')\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "plugins")}
    command = [sys.executable, "-c", program, DAY.name, str(tmp_path / "export")]

    killed = subprocess.run(command, env=environ, capture_output=True)

    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".export.unfinished-")
