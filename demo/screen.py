"""What a person sees: headings, lines, and while tasks run a table that stays in its place on a terminal."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from demo.airflow_client import TaskRun

#: How Airflow's states read to somebody who has never seen Airflow.
WORDS = {
    None: "waiting",
    "scheduled": "waiting",
    "queued": "waiting",
    "deferred": "waiting",
    "up_for_reschedule": "waiting",
    "restarting": "waiting",
    "running": "running",
    "up_for_retry": "will try again",
    "success": "done",
    "skipped": "skipped",
    "removed": "skipped",
    "failed": "failed",
    "upstream_failed": "not run",
}
#: Which of several states of a mapped task to name: the first that one of its instances has.
LOUDEST = ("failed", "will try again", "running", "waiting", "not run", "skipped", "done")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Sum up a task over its instances."""

    task: str
    state: str
    finished: int
    total: int
    seconds: float | None
    retries: int


def cells(text: str) -> int:
    """Count the columns that a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(sign) or unicodedata.category(sign) == "Cf" else
        2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in text
    )  # fmt: skip


def shown(text: str, width: int) -> str:
    """Give a text on one line in at most so many columns, nothing in it that could steer the terminal."""
    # Right-to-left overrides and escape sequences come in captured texts, and would disorder what is beside them.
    flat = "".join(" " if unicodedata.category(sign) in ("Cc", "Zl", "Zp") else sign for sign in text)
    flat = " ".join("".join(sign for sign in flat if unicodedata.bidirectional(sign) not in STEERING).split())
    if cells(flat) <= width:
        return flat
    while cells(flat) > width - 1:
        flat = flat[:-1]
    return flat.rstrip() + "…"


STEERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def duration(seconds: float) -> str:
    """Give a span of time in words: ``4.2 s`` or ``3 min 05 s``."""
    return f"{seconds:.1f} s" if seconds < 99.95 else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def summarise(tasks: Sequence[str], runs: Sequence[TaskRun], now: datetime) -> list[Row]:
    """Make a row for each task, in order; one that has no instance yet is waiting."""
    by_task: Mapping[str, list[TaskRun]] = {task: [run for run in runs if run.task == task] for task in tasks}
    rows = []
    for task, instances in by_task.items():
        states = [WORDS.get(run.state, str(run.state)) for run in instances]
        starts = [run.started for run in instances if run.started]
        going = any(state in ("running", "will try again") for state in states)
        ends = [run.ended for run in instances if run.ended]
        word = next((word for word in LOUDEST if word in states), "waiting")
        finished = sum(state in ("done", "skipped") for state in states)
        last = now if going else max(ends, default=now)
        rows.append(
            Row(
                task=task,
                state="running" if word == "waiting" and finished else word,
                finished=finished,
                total=len(instances),
                seconds=(last - min(starts)).total_seconds() if starts else None,
                retries=sum(max(0, run.try_number - 1) for run in instances),
            )
        )
    return rows


@dataclass(kw_only=True)
class Screen:
    """Write to the standard output, with styles and in place on a terminal, as plain lines elsewhere."""

    live: bool = field(default_factory=lambda: sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb")
    _height: int = 0
    _before: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._styled = self.live and not os.environ.get("NO_COLOR")

    def _style(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._styled else text

    def dim(self, text: str) -> str:
        """Make a text recede."""
        return self._style("2", text)

    def bold(self, text: str) -> str:
        """Make a text stand out."""
        return self._style("1", text)

    def good(self, text: str) -> str:
        """Make a text say: all is well."""
        return self._style("32", text)

    def bad(self, text: str) -> str:
        """Make a text say: look here."""
        return self._style("31", text)

    def line(self, text: str = "") -> None:
        """Write a line. A reader who has gone does not keep the demo from cleaning up."""
        with suppress(BrokenPipeError):
            print(text, flush=True)

    def heading(self, text: str) -> None:
        """Begin a part of the story."""
        self.line()
        self.line(self.bold(text))

    def fact(self, name: str, text: str, note: str = "") -> None:
        """Write a name and what it is."""
        self.line(f"  {name:<22}{text}{'  ' + self.dim(note) if note else ''}")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Name what is being waited for, then how long it took."""
        started = time.monotonic()
        if self.live:
            print(f"  {name:<22}{self.dim('…')}", end="\r", flush=True)
        yield
        self.line(f"  {name:<22}{duration(time.monotonic() - started)}")

    def tasks(self, rows: Sequence[Row], elapsed: float) -> None:
        """Show how far the tasks are: the whole table in its place, or a line for each that has changed."""
        if self.live:
            if self._height:
                self.line(f"\x1b[{self._height}A\x1b[1A")
            for row in rows:
                self.line(f"\x1b[2K  {self._row(row)}")
            self._height = len(rows)
            return
        for row in rows:
            now = (row.state, row.finished)
            if now != self._before.get(row.task, ("waiting", 0)):
                self.line(f"  {int(elapsed) // 60:02d}:{int(elapsed) % 60:02d}  {self._row(row)}")
            self._before[row.task] = now

    def _row(self, row: Row) -> str:
        count = f"{row.finished} of {row.total}" if row.total > 1 else ""
        time = duration(row.seconds) if row.seconds is not None else ""
        word = f"{row.state:<15}"
        paint = {"done": self.good, "failed": self.bad, "will try again": self.bad}.get(row.state, self.dim)
        again = self.dim(f"   {row.retries} tried again") if row.retries else ""
        return f"{row.task:<22}{paint(word)}{count:>11}{time:>14}{again}"


def now() -> datetime:
    """Give the instant that it is."""
    return datetime.now(UTC)
