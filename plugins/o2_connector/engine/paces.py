"""Paces: the pace of every mailbox that this process asks, for all of its threads.

Times are seconds of this process's own clock, except where they pass through staging to the next owner of a mailbox:
there they are a wall clock's. Where two workers' clocks differ, the next owner counts for too long or too short a time;
the worst that comes of it is that Graph refuses a request, and says for how long, and is obeyed.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import msgspec

from o2_connector.core.layout import bucket_of
from o2_connector.core.pacing import REQUESTS_SECONDS, Pace


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """Say what a mailbox was asked.

    :param mailbox: the user's object id; None for every mailbox of the bucket.
    :param at: milliseconds since 1970, UTC; none of the requests ended later.
    :param size: bytes of all the requests.
    """

    mailbox: str | None
    at: int
    requests: int
    size: int


class Paces:
    """Keep every mailbox's pace, and what of it the next owners have to be told.

    All methods may be called by any thread. One :func:`o2_connector.engine.ownership.owned` at a time tells of them.

    :param clock: seconds, for everything within this process.
    :param wall: seconds since 1970, UTC, for what other processes read.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._paces: dict[str, tuple[Pace, int]] = {}
        self._assumed: defaultdict[int, list[tuple[float, int, int]]] = defaultdict(list)
        self._untold: defaultdict[int, set[str]] = defaultdict(set)
        self._under_way: Counter[int] = Counter()
        self._hurried: set[int] = set()
        self._woken = threading.Event()

    def free(self, mailbox: str) -> int:
        """Return how many of the mailbox's four slots nobody has."""
        with self._lock:
            return self._pace(mailbox)[0].free

    def take(self, mailbox: str) -> bool:
        """Take a slot; False when there is none."""
        with self._lock:
            return self._pace(mailbox)[0].take()

    def give_back(self, mailbox: str) -> None:
        """Give a slot back."""
        with self._lock:
            self._pace(mailbox)[0].give_back()

    def ready_at(self, mailbox: str, size: int) -> float:
        """Return from when on a request of so many bytes may be sent, by this process's clock.

        :returns: infinity when that depends on the next sign, which is then hurried, or on a request under way: ask
            again in a while.
        """
        with self._lock:
            return self._ready_at(*self._pace(mailbox), size)

    def room_at(self, mailbox: str, size: int) -> float:
        """Return from when on a message of so many bytes, in several requests, need not wait half-way.

        :returns: as :meth:`ready_at`; now for what waits in any case.
        """
        with self._lock:
            return self._pace(mailbox)[0].room_at(self._clock(), size)

    def begin(self, mailbox: str, size: int) -> None:
        """Count a request that is sent now."""
        with self._lock:
            self._begin(*self._pace(mailbox), size)

    def begin_if_ready(self, mailbox: str, size: int) -> bool:
        """Count a request if it may be sent now; where several threads ask a mailbox, none comes between."""
        with self._lock:
            pace, bucket = self._pace(mailbox)
            ready = self._ready_at(pace, bucket, size) <= self._clock()
            if ready:
                self._begin(pace, bucket, size)
            return ready

    def end(self, mailbox: str, size: int) -> None:
        """Take note that a request was answered, or that nobody waits for its answer any more."""
        with self._lock:
            pace, bucket = self._pace(mailbox)
            pace.end(self._clock(), size)
            self._under_way[bucket] -= 1
            self._untold[bucket].add(mailbox)
            if pace.pressing():
                self._hurry(bucket)

    def hold(self, mailbox: str, seconds: float) -> None:
        """Let the mailbox be asked nothing for so long: Graph's Retry-After."""
        with self._lock:
            self._pace(mailbox)[0].hold(self._clock() + seconds)

    def under_way(self, bucket: int) -> int:
        """Return how many requests to the bucket's mailboxes nobody has an answer to yet."""
        with self._lock:
            return self._under_way[bucket]

    def usage(self, bucket: int) -> list[Used]:
        """Return what the bucket's mailboxes were asked and nobody has been told yet."""
        with self._lock:
            at = self.now()
            asked = ((mailbox, *self._pace(mailbox)[0].fresh()) for mailbox in sorted(self._untold[bucket]))
            return [Used(mailbox=mailbox, at=at, requests=requests, size=size) for mailbox, requests, size in asked]

    def told(self, bucket: int, usage: Iterable[Used]) -> None:
        """Take note that usage is told: in staging, for whoever comes after us."""
        with self._lock:
            for used in usage:
                if used.mailbox is not None:
                    pace = self._pace(used.mailbox)[0]
                    pace.told(used.requests, used.size)
                    if pace.fresh() == (0, 0):
                        self._untold[bucket].discard(used.mailbox)

    def inherit(self, bucket: int, usage: Iterable[Used]) -> None:
        """Count what earlier owners of a bucket used."""
        with self._lock:
            clock, wall = self._clock(), self.now()
            for used in sorted(usage, key=lambda used: used.at):
                share = (clock - max(0, wall - used.at) / 1000, used.requests, used.size)
                if used.mailbox is not None:
                    self._pace(used.mailbox)[0].inherit(*share)
                else:
                    for pace in [pace for pace, its_bucket in self._paces.values() if its_bucket == bucket]:
                        pace.inherit(*share)
                    self._assumed[bucket].append(share)

    def now(self) -> int:
        """Return the wall clock's milliseconds since 1970, UTC."""
        return int(self._wall() * 1000)

    def hurried(self, seconds: float) -> set[int]:
        """Wait, but not longer than this, and return the buckets whose use should be told soon."""
        self._woken.wait(seconds)
        with self._lock:
            self._woken.clear()
            hurried, self._hurried = self._hurried, set()
            return hurried

    def wake(self) -> None:
        """End the wait of whoever tells what is used."""
        self._woken.set()

    def _pace(self, mailbox: str) -> tuple[Pace, int]:
        found = self._paces.get(mailbox)
        if found is None:
            found = self._paces[mailbox] = Pace(), bucket_of(mailbox)
            for ended, requests, size in self._assumed[found[1]]:
                if ended + REQUESTS_SECONDS + 2 > self._clock():
                    found[0].inherit(ended, requests, size)
        return found

    def _ready_at(self, pace: Pace, bucket: int, size: int) -> float:
        ready = pace.ready_at(self._clock(), size)
        if ready == float("inf") and pace.fresh() != (0, 0):
            self._hurry(bucket)
        return ready

    def _begin(self, pace: Pace, bucket: int, size: int) -> None:
        pace.begin(size)
        self._under_way[bucket] += 1

    def _hurry(self, bucket: int) -> None:
        self._hurried.add(bucket)
        self._woken.set()
