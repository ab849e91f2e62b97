"""Ownership: one import task at a time writes to the mailboxes of a shard, over all runs, days and workers.

Two runs may meet in a mailbox: a backfill's days side by side, a run by hand over a scheduled run's window. Staging is
the only thing that all workers share, and its objects are written once, never changed and never deleted, so a lock that
is taken and released is not to be had. Instead a shard has a sequence of owners. Owner *n* + 1 may come when owner *n*
has said that it is done, or has shown no sign of life for so long that it must be dead; that its number is created
exclusively decides between two who come at the same time. An owner shows that it lives by one more object every few
seconds, and writes to no mailbox once it could not show it for a while: before anybody may take it for dead.

Time is measured by each worker for itself, from when it first saw the last sign: their clocks need not agree.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from o2_connector.core.errors import ConnectorError, RetryError
from o2_connector.core.layout import owner_stem
from o2_connector.hooks.staging import StagingHook

SIGN_SECONDS = 15.0
"""Seconds between two signs of life."""

SILENT_SECONDS = 60.0
"""Seconds without a sign after which an owner writes to no mailbox any more."""

DEAD_SECONDS = 180.0
"""Seconds without a sign after which somebody else may come. Longer than a silent owner's last request may take."""

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Ownership:
    """Stand for the right to write to a shard's mailboxes."""

    number: int
    clock: Callable[[], float]
    pause: Callable[[float], None]
    last_sign: float = field(init=False)

    def __post_init__(self) -> None:
        self.last_sign = self.clock()

    def check(self) -> None:
        """Make sure that nobody else can have come meanwhile.

        :raises RetryError: when no sign of life could be written for a while: stop, and try again later.
        """
        if self.clock() - self.last_sign > SILENT_SECONDS:
            raise RetryError("this task could not show in staging that it still works: it leaves the shard to others")

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond the ownership."""
        until = self.clock() + seconds
        while (left := until - self.clock()) > 0:
            self.check()
            self.pause(min(left, SILENT_SECONDS / 10))
        self.check()


@contextmanager
def owned(
    staging: StagingHook,
    shard: int,
    *,
    patience_seconds: float = 600.0,
    sign_seconds: float = SIGN_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Ownership]:
    """Own a shard while the block lasts.

    :param patience_seconds: how long to wait for an owner that works.
    :raises RetryError: when the shard's owner still works after that.
    """
    stem = owner_stem(shard)
    number = _take(staging, stem, patience_seconds, sleep, clock)
    ownership = Ownership(number=number, clock=clock, pause=sleep)
    ended = threading.Event()
    signs = threading.Thread(
        target=_show, args=(staging, stem, ownership, sign_seconds, ended), name="ownership", daemon=True
    )
    signs.start()
    try:
        yield ownership
    finally:
        ended.set()
        signs.join()
        staging.claim(f"{stem}{number:08d}.done")


def _take(
    staging: StagingHook,
    stem: str,
    patience_seconds: float,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> int:
    begun = clock()
    seen: tuple[int, int] | None = None
    since = begun
    while True:
        last, signs, done = _state(staging, stem)
        if (last, signs) != seen:
            seen, since = (last, signs), clock()
        if done or clock() - since > DEAD_SECONDS:
            if staging.claim(f"{stem}{last + 1:08d}.owner"):
                return last + 1
            continue  # somebody was quicker
        if clock() - begun > patience_seconds:
            raise RetryError("another run writes to these mailboxes; this one goes on when it is done")
        sleep(2.0)


def _state(staging: StagingHook, stem: str) -> tuple[int, int, bool]:
    """Return the last owner's number, how many signs it has shown, and whether it is done; nought before the first."""
    names = [name.removeprefix(stem) for name in staging.names(stem)]
    last = max((int(name[:8]) for name in names if name.endswith(".owner")), default=0)
    own = [name for name in names if name.startswith(f"{last:08d}.")]
    return last, sum(".sign-" in name for name in own), last == 0 or f"{last:08d}.done" in own


def _show(staging: StagingHook, stem: str, ownership: Ownership, sign_seconds: float, ended: threading.Event) -> None:
    count = 0
    while not ended.wait(sign_seconds):
        asked = ownership.clock()
        try:
            staging.claim(f"{stem}{ownership.number:08d}.sign-{count:06d}")
        except ConnectorError as error:
            _log.warning("No sign of life could be written: %s", error)
            continue
        count += 1
        ownership.last_sign = asked  # when others may have seen it at the earliest
