"""Worker processes that import a shard each, and die when it is least convenient."""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import select
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NoReturn

from o2_connector.core import pacing
from o2_connector.core.errors import ConnectorError, RetryError
from o2_connector.core.manifest import Shard
from o2_connector.engine import ownership
from o2_connector.engine.delivery import import_shard
from o2_connector.engine.ownership import Rhythm
from o2_connector.hooks.graph import GraphHook
from tests.torture.shaky import ShakyStaging

FASTER = 100
"""How many times faster Graph's windows pass, here and in the sandbox: about as much as the rhythm of owners does.

The successor of an owner that was killed takes it that a thousand requests were sent of which nobody was told. In
production that is no matter; here owners die by the dozen in a minute, and a mailbox would have to rest for ten.
"""

RHYTHM = Rhythm(sign_seconds=0.1, silent_seconds=0.6, dead_seconds=2.0)
SETTLE_SECONDS = 0.3
PATIENCE_SECONDS = 20.0
"""Seconds for which a request, a delivery or a mailbox is tried."""

SECONDS = 60.0
"""Seconds after which a worker that nobody killed counts as hung."""

DONE, LATER, STOPPED, BROKEN = 0, 3, 4, 5
"""What a worker ends with: everything delivered; some must wait; a person is asked for; a fault of the program."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blow:
    """Say when a worker is killed.

    :param letter: of the write (see :class:`ShakyStaging`) that is waited for, or None to count from the start.
    :param count: how many of them.
    :param seconds: and how long after that.
    :param latest: seconds from the start, in case that never comes.
    """

    letter: str | None
    count: int
    seconds: float
    latest: float


@dataclass(kw_only=True, slots=True)
class Worker:
    """Watch one worker process.

    :param ended: what it ended with; None as long as it lives, and for one that was killed.
    """

    shard: Shard
    blow: Blow | None
    pid: int
    alive: int
    told: int
    begun: float
    killed: bool = False
    ended: int | None = None
    heard: Counter[str] = field(default_factory=Counter)
    strike_at: float | None = None


def let_time_fly() -> None:
    """Shorten Graph's windows, and what depends on them, in this process and all that it forks."""
    pacing.REQUESTS_SECONDS //= FASTER
    pacing.BYTES_SECONDS //= FASTER
    ownership.MATTERS_MS //= FASTER
    ownership.GRAIN_MS //= FASTER
    ownership.POLL_SECONDS /= FASTER / 5


def draw_blow(random: Random) -> Blow:
    """Draw a moment to die: at once, at any time, or right before or after a write to staging."""
    luck = random.random()
    if luck < 0.05:
        return Blow(letter=None, count=0, seconds=0.0, latest=random.uniform(0, 0.03))
    latest = random.uniform(0, 3.0) if luck < 0.15 else random.uniform(3.0, 6.0)
    letter = random.choices("oOsSiIrRdD", (1, 1, 1, 1, 4, 16, 3, 3, 1, 1))[0]
    count = random.choice((1, 1, 2, 5)) if letter in "oOsS" else random.choice((1, 1, 1, 1, 2))
    seconds = random.choice((0.0, random.expovariate(1 / 0.1)))
    return Blow(letter=letter, count=count, seconds=seconds, latest=latest)


def start(shard: Shard, blow: Blow | None, *, seed: str, folder: Path) -> Worker:
    """Fork a worker from this process, which has everything imported and no threads."""
    hearing, telling = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hearing)
        _work(shard, Random(seed), folder, telling)
    os.close(telling)
    return Worker(shard=shard, blow=blow, pid=pid, alive=os.pidfd_open(pid), told=hearing, begun=time.monotonic())


def attend(workers: Sequence[Worker]) -> list[Worker]:
    """Kill workers at their moments, until all have ended; return those that did not end in time, killed too."""
    limit = time.monotonic() + SECONDS
    late: list[Worker] = []
    living = list(workers)
    while living:
        now = time.monotonic()
        for worker in living:
            if worker.strike_at is None:
                worker.strike_at = _strike_at(worker, now)
            if not worker.killed and (now >= limit or (worker.strike_at is not None and now >= worker.strike_at)):
                if now >= limit:
                    late.append(worker)
                os.kill(worker.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
                worker.killed = True
        moments = [_next_moment(worker) for worker in living if not worker.killed]
        files = [each for worker in living for each in (worker.told, worker.alive)]
        ready, _, _ = select.select(files, [], [], max(0.0, min([limit, *moments]) - time.monotonic()))
        for worker in living:
            if worker.told in ready:
                worker.heard.update(os.read(worker.told, 65_536).decode())
        for worker in [worker for worker in living if worker.alive in ready]:
            _reap(worker)
            living.remove(worker)
    return late


def _strike_at(worker: Worker, now: float) -> float | None:
    blow = worker.blow
    if blow is None:
        return None
    if blow.letter is not None and worker.heard[blow.letter] >= blow.count:
        return now + blow.seconds
    latest = worker.begun + blow.latest
    return latest if now >= latest else None


def _next_moment(worker: Worker) -> float:
    if worker.strike_at is not None:
        return worker.strike_at
    return worker.begun + worker.blow.latest if worker.blow else math.inf


def _reap(worker: Worker) -> None:
    _, status = os.waitpid(worker.pid, 0)
    worker.killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    worker.ended = None if worker.killed else os.waitstatus_to_exitcode(status)
    while rest := os.read(worker.told, 65_536):
        worker.heard.update(rest.decode())
    os.close(worker.told)
    os.close(worker.alive)


def _work(shard: Shard, random: Random, folder: Path, telling: int) -> NoReturn:
    """Import a shard, and leave without a look back: this process is a copy of its parent."""
    ended = BROKEN
    try:
        tempfile.tempdir = str(folder / "tmp")  # what those who are killed leave goes with the seed's folder
        logging.basicConfig(
            filename=folder / "workers.log",
            format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
            level=logging.INFO,
            force=True,
        )
        log = logging.getLogger("worker")
        logging.getLogger("airflow.task").propagate = True
        stacks = (folder / "stacks.log").open("a")
        faulthandler.dump_traceback_later(SECONDS - 5, file=stacks)  # where those who hang are
        log.info("shard %02d-%02d of %s", shard.first, shard.last, shard.window)
        try:
            graph = GraphHook(settle_seconds=SETTLE_SECONDS, patience_seconds=PATIENCE_SECONDS).graph
            staging = ShakyStaging(random, telling)
            counts = import_shard(
                staging,
                graph,
                shard,
                settle_seconds=SETTLE_SECONDS,
                patience_seconds=PATIENCE_SECONDS,
                rhythm=RHYTHM,
            )
            log.info("done: %s", dict(counts))
            ended = DONE
        except RetryError as error:
            log.info("later: %s", error)
            ended = LATER
        except ConnectorError:
            log.exception("stopped")
            ended = STOPPED
        except BaseException:
            log.exception("broken")
    finally:
        logging.shutdown()
        os._exit(ended)
