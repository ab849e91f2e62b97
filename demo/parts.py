"""The processes of a demo: started in sessions of their own, written down, and ended to the last one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import psutil

#: Seconds that a part has to end by itself before it is killed. The API server's process stays on for long after its
#: server has finished; nothing that a demo leaves depends on how a part ends.
PATIENCE = 4.0


class PartError(Exception):
    """Say which part of the demo failed, and show the end of its log."""


class Interrupted(BaseException):
    """Carry a signal that asks the demo to end, to where it cleans up."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Know a process again, also from another process and after its number has been given away.

    :param created: when the process was made, seconds since the epoch.
    :param ends_on: the signal that asks it to end.
    """

    name: str
    pid: int
    created: float
    log: str
    ends_on: int = signal.SIGTERM


@dataclass(kw_only=True)
class Signals:
    """Turn signals into :class:`Interrupted`, but not while a process is being made and written down."""

    held: bool = False
    pending: int | None = None
    deaf: bool = False

    def __post_init__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._receive)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.deaf:
            return
        if self.held:
            self.pending = number
            return
        raise Interrupted(number)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Deliver a signal only after the block."""
        self.held = True
        try:
            yield
        finally:
            self.held = False
        if self.pending is not None and not self.deaf:
            raise Interrupted(self.pending)


def tail(log: Path, lines: int = 12) -> str:
    """Give the last lines of a log."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return ""


def is_alive(part: Part) -> bool:
    """Tell whether this very process runs; another of the same number, or a dead one not yet buried, does not count."""
    with suppress(psutil.Error):
        process = psutil.Process(part.pid)
        return bool(abs(process.create_time() - part.created) < 2 and process.status() != psutil.STATUS_ZOMBIE)
    return False


def members(part: Part) -> list[psutil.Process]:
    """Find every process that a part made: those in its session, and its children wherever they went."""
    found: dict[int, psutil.Process] = {}
    with suppress(psutil.Error):
        leader = psutil.Process(part.pid)
        if abs(leader.create_time() - part.created) >= 2:
            # The number belongs to a stranger now, and so would the session.
            return []
        found |= {child.pid: child for child in leader.children(recursive=True)}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == part.pid:
                found[process.pid] = process
    return [process for process in found.values() if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _wait(processes: Iterable[psutil.Process], patience: float) -> list[psutil.Process]:
    """Wait until they are gone; give those that stay."""
    deadline = time.monotonic() + patience
    left = [process for process in processes if _runs(process)]
    while left and time.monotonic() < deadline:
        # A direct child stays as a zombie until it is waited for, and keeps its session's number.
        time.sleep(0.05)
        left = [process for process in left if _runs(process)]
    return left


def end(parts: Sequence[Part]) -> list[str]:
    """End parts and all that they made, in the reverse of their order of start where it matters.

    :returns: what could not be ended, a line each; empty when nothing is left.
    """
    # The database goes last: everything else holds connections to it and reports to it while it ends.
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        ending = [part for part in parts if part.ends_on == signal_number]
        processes = {process.pid: process for part in ending for process in members(part)}
        # PostgreSQL's first process ends the others in good order; the rest are told each by itself.
        told = [p for p in processes.values() if signal_number == signal.SIGTERM or p.pid in {x.pid for x in ending}]
        for process in told:
            with suppress(psutil.Error):
                process.send_signal(signal_number)
        _wait(processes.values(), PATIENCE)
        # Look again: a part may have made another process while it was being ended.
        stubborn = {process.pid: process for part in ending for process in members(part)}
        for process in {**processes, **stubborn}.values():
            with suppress(psutil.Error):
                if _runs(process):
                    process.kill()
        _wait([*processes.values(), *stubborn.values()], PATIENCE)
    return [f"{part.name}: process {left.pid}" for part in parts for left in members(part)]


@dataclass(kw_only=True)
class Parts:
    """Start the parts of one demo and keep the book of them in ``record``, so that anybody can end them."""

    record: Path
    logs: Path
    signals: Signals
    kind: str

    def __post_init__(self) -> None:
        self.all: list[Part] = []
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self.logs.mkdir(parents=True, exist_ok=True)
        self._write()

    def _write(self) -> None:
        owner = psutil.Process()
        book = {
            "kind": self.kind,
            "owner": asdict(Part(name="owner", pid=owner.pid, created=owner.create_time(), log="")),
            "parts": [asdict(part) for part in self.all],
        }
        fresh = self.record.with_suffix(".new")
        fresh.write_text(json.dumps(book, indent=2))
        fresh.replace(self.record)

    def start(self, name: str, command: Sequence[str], *, environ: Mapping[str, str], cwd: Path) -> Part:
        """Start a process in a session of its own, its output in a log of its own."""
        log = self.logs / f"{name}.log"
        with self.signals.hold(), log.open("ab") as output:
            child = subprocess.Popen(
                command,
                env=dict(environ),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._children[child.pid] = child
            return self.adopt(name, child.pid, log=log)

    def adopt(self, name: str, pid: int, *, log: Path, ends_on: int = signal.SIGTERM) -> Part:
        """Take a process that runs already into the book."""
        part = Part(name=name, pid=pid, created=psutil.Process(pid).create_time(), log=str(log), ends_on=ends_on)
        self.all.append(part)
        self._write()
        return part

    def finish(self, part: Part) -> None:
        """Wait for a part that ends by itself, and take it out of the book."""
        if self._children[part.pid].wait():
            raise PartError(f"{part.name} failed. The end of {part.log}:\n\n{tail(Path(part.log))}")
        self.all.remove(part)
        self._write()

    def check(self) -> None:
        """Raise when a part has ended that should run."""
        for part in self.all:
            child = self._children.get(part.pid)
            if (child.poll() is not None) if child else not is_alive(part):
                raise PartError(f"{part.name} ended by itself. The end of {part.log}:\n\n{tail(Path(part.log))}")

    def end(self) -> list[str]:
        """End everything; say what could not be."""
        left = end(self.all)
        for child in self._children.values():
            child.poll()
        return left


def read_record(record: Path) -> tuple[str, Part, list[Part]]:
    """Read a book of parts: whose it is (demo or up), its owner, its parts."""
    book = json.loads(record.read_text())
    return book["kind"], Part(**book["owner"]), [Part(**part) for part in book["parts"]]
