"""Which files of the folder are the mapping, and which ones somebody may only take for a part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from o2_connector.core.errors import RetryError, StopError
from o2_connector.core.mapping_files import Severity
from o2_connector.engine import mapping_folder
from o2_connector.engine.mapping_folder import read_folder, read_settled, unread


def test_every_csv_file_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.csv", "A.CSV", "phones (1).Csv", "c.csv.txt", "README.md"):
        (tmp_path / name).write_text(name)

    assert read_folder(tmp_path) == [(name, name.encode()) for name in ("A.CSV", "b.csv", "phones (1).Csv")]


def test_what_other_programs_keep_beside_a_file_is_not_read(tmp_path: Path) -> None:
    for name in ("~$phones.csv", "._phones.csv", ".phones.csv", ".~lock.phones.csv#"):
        (tmp_path / name).write_bytes(b"\0")

    assert read_folder(tmp_path) == []
    assert [(each.file, each.severity, each.what) for each in unread(tmp_path)] == [
        ("._phones.csv", Severity.NOTE, "a hidden file is not read"),
        (".phones.csv", Severity.NOTE, "a hidden file is not read"),
        (".~lock.phones.csv#", Severity.NOTE, "somebody has the file of this name open"),
        ("~$phones.csv", Severity.NOTE, "somebody has the file of this name open"),
    ]


def test_a_link_as_kubernetes_mounts_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "phones.csv").write_text("x")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "phones.csv").symlink_to("..data/phones.csv")

    assert read_folder(tmp_path) == [("phones.csv", b"x")]
    assert unread(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    [
        *("phones.csv.txt", "phones.csv~", "phones.csv.bak", "phones.xlsx", "phones.XLS", "phones.ods", "phones.tsv"),
        *("phones.txt", "phones.csv.gz", "~$phones.xlsx", "phones", "phones.cvs", "phones.zip", "phones.json"),
    ],
)
def test_a_file_that_looks_like_a_part_of_the_mapping_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")

    (found,) = unread(tmp_path)

    assert found.file == name
    assert found.severity is (Severity.NOTE if name.startswith("~$") else Severity.WARNING)
    assert read_folder(tmp_path) == []


@pytest.mark.parametrize("name", ["example.csv.txt", "README.md", ".gitkeep", "phones.csv", ".gitignore"])
def test_other_files_are_nothing_to_tell_of(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")

    assert unread(tmp_path) == []


def test_folders_within_are_told(tmp_path: Path) -> None:
    (tmp_path / "old.csv").mkdir()
    (tmp_path / "sales").mkdir()

    assert [(each.file, each.severity) for each in unread(tmp_path)] == [
        ("old.csv", Severity.WARNING),
        ("sales", Severity.WARNING),
    ]
    assert read_folder(tmp_path) == []


def test_a_link_to_a_share_that_is_away_stops(tmp_path: Path) -> None:
    (tmp_path / "gone.csv").symlink_to("nowhere.csv")

    with pytest.raises(StopError, match=r"gone\.csv cannot be read"):
        read_folder(tmp_path)


def test_a_file_that_is_being_written_is_not_taken_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("half")
    monkeypatch.setattr(mapping_folder, "SETTLED_SECONDS", 5.0)
    monkeypatch.setattr(mapping_folder.time, "sleep", lambda _: path.write_text("half and the rest"))

    with pytest.raises(RetryError, match="is being written"):
        read_settled(tmp_path)


def test_a_file_that_has_only_just_been_written_is_read_when_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    (tmp_path / "a.csv").write_text("whole")
    monkeypatch.setattr(mapping_folder, "SETTLED_SECONDS", 5.0)
    monkeypatch.setattr(mapping_folder.time, "sleep", waited.append)

    assert read_settled(tmp_path) == [("a.csv", b"whole")]
    os.utime(tmp_path / "a.csv", (1, 1))
    assert read_settled(tmp_path) == [("a.csv", b"whole")]
    assert waited == [5.0]


def test_a_name_that_is_no_text_can_be_shown_all_the_same(tmp_path: Path) -> None:
    os.close(os.open(os.fsencode(tmp_path) + b"/Z\xfcrich\n.csv", os.O_CREAT | os.O_WRONLY))

    ((name, _),) = read_folder(tmp_path)

    assert name == "Z\\udcfcrich\\u000a.csv"


@pytest.mark.parametrize("ask", [read_folder, unread])
def test_a_folder_that_is_not_there_stops(tmp_path: Path, ask: object) -> None:
    with pytest.raises(StopError, match="does not exist here"):
        ask(tmp_path / "gone")  # type: ignore[operator]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_stops(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch(mode=0)

    with pytest.raises(StopError, match=r"a\.csv cannot be read"):
        read_folder(tmp_path)
