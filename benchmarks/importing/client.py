"""What every measured client does the same: read its task, say when it begins, and what it took.

Standard library alone: a peer runs in an environment without the connector's.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONCURRENT = 4
"""Requests at a time that Graph lets an application send to one mailbox (throttling limits, Outlook)."""


def serve(prepare: Callable[[dict[str, Any]], Callable[[], int]]) -> None:
    """Measure one job.

    :param prepare: takes the task from standard input and returns the job, which returns how many messages it made;
        what it does before that is not measured.
    """
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    job = prepare(json.load(sys.stdin))
    base = peak_mib()
    print(json.dumps({"started": time.time()}), file=answer, flush=True)
    processor, clock = time.process_time(), time.perf_counter()
    messages = job()
    took = {"messages": messages, "seconds": time.perf_counter() - clock}
    took |= {"cpu_seconds": time.process_time() - processor, "base_mib": base, "peak_mib": peak_mib()}
    print(json.dumps(took), file=answer, flush=True)


def peak_mib() -> float:
    """Return the most memory that this process has had, in MiB.

    From VmHWM (proc(5)): getrusage's ru_maxrss begins with what the process that started this one had (execve).
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise OSError("/proc/self/status does not say VmHWM; the benchmark needs Linux")
    return round(int(found[1]) / 1024, 1)


def by_mailbox(file: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Read the messages that a peer is to make, by mailbox and folder."""
    messages: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with open(file, "rb") as lines:
        for line in map(json.loads, lines):
            messages.setdefault((line["mailbox"], line["folder"]), []).append(line["message"])
    return messages
