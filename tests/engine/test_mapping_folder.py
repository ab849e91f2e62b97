"""Which files of the folder are the mapping, and which ones somebody may only take for a part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from o2_connector.core.errors import StopError
from o2_connector.core.mapping_files import Severity
from o2_connector.engine.mapping_folder import read_folder, unread


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
        *("phones.txt", "phones.csv.gz", "~$phones.xlsx"),
    ],
)
def test_a_file_that_looks_like_a_part_of_the_mapping_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")

    (found,) = unread(tmp_path)

    assert found.file == name
    assert found.severity is (Severity.NOTE if name.startswith("~$") else Severity.WARNING)
    assert read_folder(tmp_path) == []


@pytest.mark.parametrize("name", ["example.csv.txt", "README.md", ".gitkeep", "phones.csv", "notes"])
def test_other_files_are_nothing_to_tell_of(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")

    assert unread(tmp_path) == []


def test_a_link_to_nowhere_and_a_folder_of_that_name_are_told(tmp_path: Path) -> None:
    (tmp_path / "gone.csv").symlink_to("nowhere.csv")
    (tmp_path / "old.csv").mkdir()

    assert [(each.file, each.severity) for each in unread(tmp_path)] == [
        ("gone.csv", Severity.WARNING),
        ("old.csv", Severity.WARNING),
    ]


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
