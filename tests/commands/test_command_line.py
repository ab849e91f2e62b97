"""``o2-archive`` is a program like any other: it says what it can do at once, and ends as a shell expects."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from o2_connector.commands import __main__ as command_line

PROGRAM = str(Path(sys.executable).parent / "o2-archive")
NAMES = [name for group in command_line.COMMANDS.values() for name in group]


def o2_archive(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the installed program, from elsewhere and with an environment of its own."""
    return subprocess.run([PROGRAM, *arguments], cwd="/", env=environ, capture_output=True, text=True, timeout=60)


def test_help_names_every_command_with_what_it_does_and_what_a_status_means() -> None:
    said = o2_archive("--help")

    assert said.returncode == 0
    assert re.findall(r"^  ([a-z-]+)  +[a-z]", said.stdout, re.MULTILINE) == NAMES
    assert re.findall(r"^  (\d)  ", said.stdout, re.MULTILINE) == ["0", "1", "2"]
    assert max(map(len, said.stdout.splitlines())) <= 120


def test_help_is_there_at_once() -> None:
    begun = time.monotonic()
    o2_archive("--help")
    seconds = time.monotonic() - begun

    loaded = subprocess.run([sys.executable, "-X", "importtime", PROGRAM, "--help"], capture_output=True, text=True)
    assert not re.search(r"\| +(airflow|pandas|requests|msgspec|phonenumbers)$", loaded.stderr, re.MULTILINE)
    assert seconds < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_command_has_a_module_that_explains_it(name: str) -> None:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()

    import_module(f"o2_connector.commands.{name.replace('-', '_')}").add_to(subparsers)

    assert list(subparsers.choices) == [name]
    assert subparsers.choices[name].description


def test_a_command_takes_its_own_arguments() -> None:
    said = o2_archive("check-mapping", "--help")

    assert said.returncode == 0
    assert said.stdout.startswith("usage: o2-archive check-mapping [-h]")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["check-mapping", "--nonsense"], ["mapping-diff"]])
def test_what_nobody_can_mean_is_status_2_with_the_usage(arguments: list[str]) -> None:
    said = o2_archive(*arguments)

    assert (said.returncode, said.stdout) == (2, "")
    assert "usage: o2-archive" in said.stderr
    assert "Traceback" not in said.stderr


def test_what_cannot_be_done_is_status_2_with_the_reason(tmp_path: Path) -> None:
    said = o2_archive("check-mapping", str(tmp_path / "nowhere"))

    assert (said.returncode, said.stdout) == (2, "")
    assert "nowhere" in said.stderr
    assert "Traceback" not in said.stderr


def test_what_nobody_foresaw_is_status_2_with_the_place_and_none_of_its_words(tmp_path: Path) -> None:
    staging = json.dumps({"conn_type": "fs", "extra": {"path": str(tmp_path)}})
    database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "secret", "AIRFLOW_HOME": str(tmp_path)}

    said = o2_archive("status", AIRFLOW_CONN_O2_STAGING=staging, **database)

    assert (said.returncode, said.stdout) == (2, "")
    assert 'File "' in said.stderr
    assert said.stderr.endswith("ValueError: not foreseen; report it with the lines above\n")


def test_a_terminal_that_lacks_a_character_gets_it_spelled(tmp_path: Path) -> None:
    mapping = tmp_path / "Zo\u00eb.csv"
    mapping.write_text("number,mailbox\nnonsense,nobody\n")

    said = o2_archive("check-mapping", str(tmp_path), PYTHONIOENCODING="ascii")

    assert "Zo\\xeb.csv" in said.stdout
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["check-mapping"]])
def test_who_reads_no_further_ends_it_in_silence(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "include" / "mappings").mkdir(parents=True)
    read, write = os.pipe()
    os.close(read)

    with os.fdopen(write) as closed:
        said = subprocess.run([PROGRAM, *arguments], cwd=tmp_path, env={}, stdout=closed, stderr=subprocess.PIPE)

    assert (said.returncode, said.stderr) == (128 + signal.SIGPIPE, b"")


def opened_by_reader(pipe: Path) -> int:
    """Open a pipe for writing as soon as somebody reads from it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)
    raise TimeoutError("nobody reads")


def test_who_interrupts_it_ends_it_in_silence(tmp_path: Path) -> None:
    pipe = tmp_path / "mappings" / "a.csv"
    pipe.parent.mkdir()
    os.mkfifo(pipe)

    with subprocess.Popen([PROGRAM, "check-mapping", str(pipe.parent)], env={}, stderr=subprocess.PIPE) as program:
        written = opened_by_reader(pipe)
        program.send_signal(signal.SIGINT)
        os.close(written)  # a signal that comes just before it reads is seen when it has read
        _, said = program.communicate(timeout=60)
    assert (program.returncode, said) == (128 + signal.SIGINT, b"")
