"""The folders under ``.demo``, one for each run: the last is kept to look at, the one that is up is never touched."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from demo.options import ROOT
from demo.parts import PATIENCE, Parts, Signals, end, is_alive, read_record

STATE = ROOT / ".demo"
UP = STATE / "up.json"
RECORD = "parts.json"


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Wait until nobody else in this checkout is in a block of this name."""
    STATE.mkdir(exist_ok=True)
    with (STATE / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_live(folder: Path) -> bool:
    """Tell whether a run still goes on: its owner does, or it was told to stay and a part of it does."""
    with suppress(FileNotFoundError):
        kind, owner, parts = read_record(folder / RECORD)
        return is_alive(owner) or (kind == "up" and UP.exists() and any(map(is_alive, parts)))
    return False


def new_run(kind: str, signals: Signals, now: datetime) -> tuple[Path, Parts]:
    """Make a folder for a run and a book for its parts; remove the runs that are over, with what they left running."""
    with one_at_a_time("runs"):
        for folder in STATE.glob("run-*"):
            if is_live(folder):
                continue
            with suppress(FileNotFoundError):
                end(read_record(folder / RECORD)[2])
            # PostgreSQL's state may lie elsewhere, see demo.database.make_home.
            shutil.rmtree((folder / "postgres").resolve(), ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
        name = f"run-{now:%Y%m%d-%H%M%S}"
        for number in range(100):
            folder = STATE / (f"{name}-{number}" if number else name)
            with suppress(FileExistsError):
                folder.mkdir()
                # Before the lock is let go: a folder with no book is one that nobody owns.
                return folder, Parts(record=folder / RECORD, logs=folder / "logs", signals=signals, kind=kind)
    raise FileExistsError(f"{STATE} holds a hundred runs of this second.")


def what_is_up() -> dict[str, str] | None:
    """Give what ``make up`` wrote down, while any of it runs."""
    with suppress(FileNotFoundError):
        up: dict[str, str] = json.loads(UP.read_text())
        if is_live(Path(up["folder"])):
            return up
    return None


def write_up(up: dict[str, str]) -> None:
    """Write down what is up, all at once."""
    fresh = UP.with_suffix(".new")
    fresh.write_text(json.dumps(up, indent=2))
    fresh.replace(UP)


def end_up(folder: Path) -> list[str]:
    """End what ``make up`` started; say what could not be."""
    with suppress(FileNotFoundError):
        _, owner, parts = read_record(folder / RECORD)
        if is_alive(owner) and owner.pid != os.getpid():
            # It is still starting or telling: it cleans up by itself.
            os.kill(owner.pid, signal.SIGTERM)
            deadline = time.monotonic() + 5 * PATIENCE
            while is_alive(owner) and time.monotonic() < deadline:
                time.sleep(0.1)
            _, _, parts = read_record(folder / RECORD)
        left = end(parts)
        if left:
            return left
    UP.unlink(missing_ok=True)
    return []
