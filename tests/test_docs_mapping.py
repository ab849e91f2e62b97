"""The page that shows the mapping files shows all of them, and what the linter says today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree

ROOT = Path(__file__).resolve().parents[1]
PAGE = "docs/mapping-files.md"


def test_the_page_of_mapping_files_is_of_todays_linter(tmp_path: Path) -> None:
    copytree(ROOT / "docs", tmp_path / "docs")

    command = [sys.executable, str(tmp_path / "docs/mapping-files/make.py")]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(ROOT / "plugins")})

    made = (tmp_path / PAGE).read_text("utf-8")
    assert made == (ROOT / PAGE).read_text("utf-8"), "run docs/mapping-files/make.py"


def test_every_file_is_on_the_page() -> None:
    marks = re.findall("<!-- (.*?) -->", (ROOT / PAGE).read_text("utf-8"))

    shown = {name for mark in marks for name in mark.split() if name.endswith(".csv")}
    assert shown == {path.name for path in (ROOT / "docs/mapping-files").glob("*.csv")}
