"""Starting processes and ending every one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from demo import parts as module
from demo.parts import Interrupted, Part, PartError, Parts, Signals, end, is_alive, members, read_record

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
FAMILY = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); time.sleep(60)"


@pytest.fixture
def signals() -> Iterator[Signals]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield Signals()
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def parts(tmp_path: Path, signals: Signals) -> Iterator[Parts]:
    book = Parts(record=tmp_path / "parts.json", logs=tmp_path / "logs", signals=signals, kind="demo")
    yield book
    book.end()


def start(parts: Parts, name: str, command: list[str]) -> Part:
    return parts.start(name, command, environ=os.environ, cwd=Path.cwd())


def wait_for_line(part: Part) -> None:
    deadline = time.monotonic() + 10
    while not Path(part.log).read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_part_and_its_stubborn_child_are_ended(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    part = start(parts, "family", [sys.executable, "-c", FAMILY])
    wait_for_line(part)
    family = members(part)

    left = parts.end()

    assert left == []
    assert len(family) == 2
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)


def test_an_orphan_is_ended_although_its_parent_is_gone(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    part = start(parts, "family", [sys.executable, "-c", FAMILY])
    wait_for_line(part)
    os.kill(part.pid, signal.SIGKILL)
    parts._children[part.pid].wait()
    orphans = members(part)

    parts.end()

    assert len(orphans) == 1
    assert members(part) == []


def test_another_process_of_the_same_number_is_left_alone() -> None:
    stranger = subprocess.Popen(SLEEP, start_new_session=True)
    part = Part(name="ours", pid=stranger.pid, created=psutil.Process(stranger.pid).create_time() - 60, log="")
    try:
        assert not is_alive(part)
        assert end([part]) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_part_that_ends_by_itself_is_noticed_with_the_end_of_its_log(parts: Parts) -> None:
    part = start(parts, "scheduler", [sys.executable, "-c", "print('no such table'); raise SystemExit(3)"])
    parts._children[part.pid].wait()

    with pytest.raises(PartError, match=r"(?s)scheduler ended by itself.*no such table"):
        parts.check()


def test_every_part_is_in_the_book_as_soon_as_it_runs(parts: Parts) -> None:
    part = start(parts, "sandbox", SLEEP)

    kind, owner, written = read_record(parts.record)

    assert kind == "demo"
    assert is_alive(owner)
    assert written == [part]
    assert is_alive(part)


def test_a_signal_that_comes_while_a_part_is_written_down_is_delivered_after_it(signals: Signals) -> None:
    done = []

    def start_and_write_down() -> None:
        with signals.hold():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("written down")

    with pytest.raises(Interrupted):
        start_and_write_down()

    assert done == ["written down"]


def test_a_signal_does_not_stop_the_cleaning_up(signals: Signals) -> None:
    signals.deaf = True

    os.kill(os.getpid(), signal.SIGINT)

    assert signals.pending is None


def test_a_zombie_does_not_count_as_running(parts: Parts) -> None:
    part = start(parts, "short", [sys.executable, "-c", ""])
    deadline = time.monotonic() + 10
    while psutil.Process(part.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert not is_alive(part)
    assert is_alive(replace(part, pid=os.getpid(), created=psutil.Process().create_time()))
