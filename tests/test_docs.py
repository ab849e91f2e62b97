"""The page that shows the e-mails shows those that the converter makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import copytree

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_of_e_mails_is_of_todays_converter(tmp_path: Path) -> None:
    copytree(ROOT / "docs", tmp_path / "docs")

    command = [sys.executable, str(tmp_path / "docs/emails/make.py"), "--text"]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(ROOT / "plugins")})

    made = (tmp_path / "docs/emails.md").read_text("utf-8")
    assert made == (ROOT / "docs/emails.md").read_text("utf-8"), "run docs/emails/make.py"
