"""The short form of `make torture`, which every run of the tests has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_killed_workers_leave_each_message_once_in_each_mailbox() -> None:
    command = [sys.executable, "-m", "tests.torture", "--kills", "20", "--lines", "5"]

    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "plugins"}, capture_output=True, text=True, timeout=300
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["kills"] >= 20
    assert figures["asking"] > 0
    assert figures["deliveries"] > 50
