"""Ownership: one import task at a time writes to the mailboxes of a bucket, over all runs, days and workers.

Two runs may meet in a mailbox: a backfill's days side by side, a run by hand over a scheduled run's window. Staging is
the only thing that all workers share, and its objects are written once, never changed and never deleted, so a lock that
is taken and released is not to be had. Instead a bucket has a sequence of owners, each with a folder in staging:

    owner                          the number is taken: that it is created exclusively decides between two
    sign-<n>.<sha256>.jsonl        a sign of life, every few seconds, with what mailboxes were asked since the last
    done                           nothing of this owner is under way any more

Owner *n* + 1 may come when owner *n* is done, or has shown no sign for so long that it must be dead. An owner asks no
mailbox any more once it could not show a sign for a while: before anybody may take it for dead. Time is measured by
each worker for itself, from when it first saw the last sign: their clocks need not agree.

Graph's limits hold for a mailbox whoever asks, so an owner inherits what was used before it came. It tells that again
in its own first sign, before it asks anything, so whoever comes next needs the signs of one owner only. Of an owner
that was not done it assumes as much more as may be left untold (see :mod:`o2_connector.core.pacing`).
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from o2_connector.core.errors import ConnectorError, IntegrityError, RetryError
from o2_connector.core.layout import bucket_of, owner_stem
from o2_connector.core.pacing import REQUESTS_SECONDS, UNTOLD_BYTES, UNTOLD_REQUESTS
from o2_connector.engine.paces import Paces, Used
from o2_connector.hooks.staging import StagingHook

PARALLEL = 8
"""Buckets that are looked at in staging at the same time."""

POLL_SECONDS = 2.0
"""Seconds between two looks at an owner that is waited for."""

TELL_SECONDS = 60.0
"""Seconds between two lines in the log while a task waits for an owner."""

HURRY_SECONDS = 1.0
"""Seconds at least between two signs."""

MATTERS_MS = (REQUESTS_SECONDS + 2) * 1000
"""What ended longer ago concerns no limit."""

GRAIN_MS = 10_000
"""To what an inherited time is rounded up: a mailbox has no more lines in a first sign than fit into ten minutes."""

_NOTHING = hashlib.sha256(b"").hexdigest()

_log = logging.getLogger("airflow.task")


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """Hold the times by which owners know each other to live.

    :param sign_seconds: between two signs of life.
    :param silent_seconds: without a sign, after which an owner asks no mailbox any more.
    :param dead_seconds: without a sign, after which somebody else may come; longer than the last request of an owner
        that fell silent may take.
    """

    sign_seconds: float = 15.0
    silent_seconds: float = 60.0
    dead_seconds: float = 180.0


class Ownership:
    """Stand for the right to write to the mailboxes of some buckets; once lost it never comes back."""

    def __init__(self, rhythm: Rhythm, clock: Callable[[], float]) -> None:
        self._rhythm = rhythm
        self._clock = clock
        self._shown: dict[int, float] = {}
        self._lost = False

    def shown(self, bucket: int, at: float) -> None:
        """Take note that others may have seen this owner of a bucket live, at this time at the earliest."""
        # A sign that comes too late shows nothing any more: somebody may have come in the silence before it.
        self._lost |= at - self._shown.get(bucket, at) > self._rhythm.silent_seconds
        self._shown[bucket] = at

    def lose(self) -> None:
        """Take note that somebody else has come."""
        self._lost = True

    def check(self) -> None:
        """Make sure that nobody else can have come, to any of the buckets, as far as this process knows the time.

        :raises RetryError: when no sign of life could be written for a while: stop, and try again later.
        """
        if self._lost or self._clock() - min(self._shown.values(), default=math.inf) > self._rhythm.silent_seconds:
            raise RetryError("this task could not show in staging that it still works: it leaves the shard to others")


@contextmanager
def owned(
    staging: StagingHook,
    buckets: Iterable[int],
    paces: Paces,
    *,
    rhythm: Rhythm = Rhythm(),
    patience_seconds: float = 600.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Ownership]:
    """Own buckets while the block lasts.

    :param paces: what the buckets' mailboxes are asked, and what they were asked by earlier owners.
    :param patience_seconds: how long to wait for an owner that works.
    :raises RetryError: when an owner still works after that.
    """
    ownership = Ownership(rhythm, clock)
    each = [
        _Bucket(staging=staging, paces=paces, ownership=ownership, clock=clock, number=number)
        for number in sorted(set(buckets))
    ]
    ended = threading.Event()
    signs = threading.Thread(target=_show, args=(each, paces, rhythm, ended), name="ownership", daemon=True)
    signs.start()
    try:
        _take(each, ownership, rhythm, patience_seconds, sleep, clock)
        yield ownership
    finally:
        ended.set()
        paces.wake()
        signs.join()
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(_Bucket.leave, [bucket for bucket in each if bucket.ours]))


@contextmanager
def asking(staging: StagingHook, mailboxes: Collection[str]) -> Iterator[None]:
    """Own the mailboxes' buckets while each mailbox is asked one thing."""
    paces = Paces()
    with owned(staging, map(bucket_of, mailboxes), paces):
        for mailbox in mailboxes:
            paces.begin(mailbox, 0)
        try:
            yield
        finally:
            for mailbox in mailboxes:
                paces.end(mailbox, 0)


@dataclass(kw_only=True)
class _Bucket:
    """Hold a bucket: at first as somebody who watches its owner, then as its owner.

    :param number: the bucket's.
    :param owner: number of its last owner, as far as is known; nought before the first.
    :param seen: what that owner had shown when looked at last: how many signs, and whether it is done.
    :param since: when that was first seen.
    :param ours: whether that owner is this task.
    :param inherited: what its mailboxes were asked before it came.
    :param settled: whether it has told that.
    """

    staging: StagingHook
    paces: Paces
    ownership: Ownership
    clock: Callable[[], float]
    number: int
    owner: int = 0
    seen: tuple[int, int, bool] | None = None
    since: float = 0.0
    ours: bool = False
    inherited: list[Used] | None = None
    settled: bool = False
    signs: int = 0

    @property
    def stem(self) -> str:
        return owner_stem(self.number, self.owner)

    def find(self) -> None:
        """Find the last owner, knowing an earlier one: by doubling steps, then halving them, never by listing years."""
        step = 1
        while self._exists(self.owner + step):
            self.owner, step = self.owner + step, 2 * step
        while step := step // 2:
            if self._exists(self.owner + step):
                self.owner += step

    def look(self) -> None:
        """Look what the last owner shows."""
        names = list(self.staging.names(self.stem)) if self.owner else []
        done = not self.owner or f"{self.stem}done" in names
        seen = self.owner, sum("/sign-" in name for name in names), done
        if seen != self.seen:
            self.seen, self.since = seen, self.clock()

    def is_free(self, dead_seconds: float) -> bool:
        """Tell whether somebody else may come."""
        return self.seen is not None and (self.seen[-1] or self.clock() - self.since > dead_seconds)

    def claim(self) -> bool:
        """Become the owner, unless somebody is quicker."""
        asked = self.clock()
        self.ours = self.staging.claim(f"{owner_stem(self.number, self.owner + 1)}owner")
        self.owner += 1
        if self.ours:
            self.ownership.shown(self.number, asked)
        return self.ours

    def settle_in(self) -> None:
        """Learn what was used before, and tell it again."""
        if self.inherited is None:
            self.inherited = used_before(self.staging, self.number, self.owner, self.paces.now())
            self.paces.inherit(self.number, self.inherited)
        self.sign(self.inherited)
        self.settled = True

    def sign(self, inherited: Sequence[Used] = ()) -> None:
        """Show that the owner lives, and tell what was used."""
        asked = self.clock()
        used = self.paces.usage(self.number)
        # Whether a write that failed came through is not known, so its number is not taken again. What was in it the
        # next one tells: counted twice it makes the next owner wait too long, forgotten it could break a limit.
        number, self.signs = self.signs, self.signs + 1
        self.staging.write_lines(f"{self.stem}sign-{number:06d}.", [*inherited, *used])
        self.paces.told(self.number, used)
        self.ownership.shown(self.number, asked)
        if self._exists(self.owner + 1):  # this process stood still, and its clock with it
            self.ownership.lose()

    def leave(self) -> None:
        """Tell the rest, and that nothing is under way; where that cannot be said, leave in silence."""
        try:
            if under_way := self.paces.under_way(self.number):
                _log.warning("Bucket %d: %d requests are under way, the next owner has to wait", self.number, under_way)
                return
            if self.paces.usage(self.number):
                self.sign()
            self.staging.claim(f"{self.stem}done")
        except ConnectorError as error:
            _log.warning("Bucket %d: could not be given back, the next owner has to wait: %s", self.number, error)

    def _exists(self, owner: int) -> bool:
        return self.staging.size(f"{owner_stem(self.number, owner)}owner") is not None


def _take(
    each: Sequence[_Bucket],
    ownership: Ownership,
    rhythm: Rhythm,
    patience_seconds: float,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> None:
    """Become the owner of each bucket, in ascending order: two who wait for each other's would wait for ever."""
    begun = tell = clock()
    with ThreadPoolExecutor(PARALLEL) as pool:
        while True:
            quicker, failure = False, None
            try:
                quicker = _advance(each, pool, rhythm)
            except RetryError as error:
                failure = error
            ownership.check()
            if all(bucket.settled for bucket in each):
                return
            if quicker:
                continue  # somebody was quicker, perhaps for all that follow: look again before waiting
            if clock() >= tell:
                _log.info(
                    "Another import writes to these mailboxes; this one waits until it is done, or has been silent for"
                    " %.0f s%s",
                    rhythm.dead_seconds,
                    f" ({failure})" if failure else "",
                )
                tell = clock() + TELL_SECONDS
            if clock() - begun > patience_seconds:
                raise failure or RetryError("another run writes to these mailboxes; this one goes on when it is done")
            sleep(POLL_SECONDS)


def _advance(each: Sequence[_Bucket], pool: ThreadPoolExecutor, rhythm: Rhythm) -> bool:
    """Take what can be taken now; return whether somebody else was quicker."""
    waiting = [bucket for bucket in each if not bucket.ours]
    # Looked at all together, so that those whose owners died at once are waited for at once.
    list(pool.map(_Bucket.find, waiting))
    list(pool.map(_Bucket.look, waiting))
    free = list(itertools.takewhile(lambda bucket: bucket.is_free(rhythm.dead_seconds), waiting))
    taken = list(itertools.takewhile(_Bucket.claim, free))
    list(pool.map(_Bucket.settle_in, [bucket for bucket in each if bucket.ours and not bucket.settled]))
    return len(taken) < len(free)


def _show(each: Sequence[_Bucket], paces: Paces, rhythm: Rhythm, ended: threading.Event) -> None:
    """Write signs until it is ended: for every bucket in the rhythm, for some of them earlier."""
    due = time.monotonic() + rhythm.sign_seconds
    while True:
        hurried = paces.hurried(max(0.0, due - time.monotonic()))
        if ended.is_set():
            return
        if all_due := time.monotonic() >= due:
            due = time.monotonic() + rhythm.sign_seconds
        for bucket in each:
            if bucket.settled and (all_due or bucket.number in hurried):
                try:
                    bucket.sign()
                except ConnectorError as error:
                    _log.warning("Bucket %d: no sign of life could be written: %s", bucket.number, error)
        ended.wait(min(HURRY_SECONDS, rhythm.sign_seconds))


def used_before(staging: StagingHook, bucket: int, owner: int, now: int) -> list[Used]:
    """Return what may have been used before an owner came, as far as it concerns a limit still.

    :param now: milliseconds since 1970, UTC. By a wrong clock too little may be found; the worst that comes of it is
        that Graph refuses a request, and is obeyed.
    """
    worst = Used(mailbox=None, at=now, requests=UNTOLD_REQUESTS, size=UNTOLD_BYTES)
    used: list[Used] = []
    whole = False
    while owner > 1 and not whole:
        owner -= 1
        stem = owner_stem(bucket, owner)
        names = list(staging.names(stem))
        signs = [name for name in names if name.startswith(f"{stem}sign-")]
        # Without a first sign an owner asked nothing, and told nothing of those before it.
        whole = bool(signs) and signs[0].startswith(f"{stem}sign-{0:06d}.")
        if whole and f"{stem}done" not in names:
            used.append(worst)
        for name in reversed(signs):
            if _NOTHING in name:
                continue
            try:
                rows = list(staging.read_lines(staging.staged(name), Used))
            except IntegrityError as error:
                _log.warning("Bucket %d: a sign of owner %d cannot be read: %s", bucket, owner, error)
                rows = [worst]
            recent = [row for row in rows if row.at > now - MATTERS_MS]
            used.extend(recent)
            if not recent:
                break
    return _merged(used, now)


def _merged(usage: Iterable[Used], now: int) -> list[Used]:
    requests: Counter[tuple[str | None, int]] = Counter()
    sizes: Counter[tuple[str | None, int]] = Counter()
    for used in usage:
        slot = used.mailbox, -(-min(used.at, now) // GRAIN_MS) * GRAIN_MS
        requests[slot] += used.requests
        sizes[slot] += used.size
    return [
        Used(mailbox=mailbox, at=at, requests=count, size=sizes[mailbox, at])
        for (mailbox, at), count in requests.items()
    ]
