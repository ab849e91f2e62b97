"""Pacing: how much a mailbox has been asked lately, and when it may be asked again.

Source of the limits, for an application and a mailbox: "Microsoft Graph throttling limits", Outlook service limits,
https://learn.microsoft.com/graph/throttling-limits: 10,000 requests in 10 minutes, 4 requests at a time, 150 MB of
uploads (PATCH, POST, PUT) in 5 minutes. A refused request counts as well. They are kept by counting, so that Graph
never has to refuse.

When a request arrived at Graph is not known, only that it was between its sending and its answer. So it counts from
its sending until it has left Graph's window for certain: the window's length after its answer, and a second more since
Graph may count to whole seconds.

A mailbox's next owner goes on counting where the last one stopped. It learns from staging what was used, as far as that
was told there; what an owner has not told yet is kept below UNTOLD, so that this is all that a killed one can hide.
"""

from __future__ import annotations

import math
from array import array

CONCURRENT = 4
REQUESTS = 10_000
REQUESTS_SECONDS = 600
BYTES = 150_000_000
"""Microsoft says "150 megabytes" and not which; this is the smaller reading."""
BYTES_SECONDS = 300

RESERVE = 0.01
"""The share of the limits that is left alone, for what nobody counts here.

Of a batch it is Graph that decides how many bytes one of its requests has.
"""

UNTOLD_REQUESTS = 1_000
UNTOLD_BYTES = 20_000_000

_REQUESTS_ALLOWED = int(REQUESTS * (1 - RESERVE))
_BYTES_ALLOWED = int(BYTES * (1 - RESERVE))


class Pace:
    """Know what one mailbox has been asked lately, and when it may be asked again.

    There is no clock in here: `now` and what is returned are seconds of the caller's. Memory is three numbers for each
    second of the last ten minutes in which an answer came, and every call takes constant time, spread over all.
    """

    __slots__ = (
        "_bytes",
        "_ended",
        "_held",
        "_requests",
        "_under_way",
        "_under_way_bytes",
        "_untold",
        "_untold_bytes",
        "free",
    )

    def __init__(self) -> None:
        self.free = CONCURRENT
        self._held = -math.inf
        self._ended = array("q")  # second, requests, bytes; second, requests, bytes; …
        self._requests = _Window(1, REQUESTS_SECONDS)
        self._bytes = _Window(2, BYTES_SECONDS)
        self._under_way = self._under_way_bytes = 0
        self._untold = self._untold_bytes = 0

    def take(self) -> bool:
        """Take one of the four slots; False when there is none."""
        if self.free < 1:
            return False
        self.free -= 1
        return True

    def give_back(self) -> None:
        """Give a slot back."""
        self.free += 1

    def ready_at(self, now: float, size: int) -> float:
        """Return from when on a request of so many bytes may be sent; slots do not count here.

        :returns: `now` when it may be sent at once; infinity when that depends on an announcement, or on the answer
            to a request that is under way: ask again then.
        """
        if size > UNTOLD_BYTES:
            raise ValueError(f"a request of {size} bytes could never be sent; {UNTOLD_BYTES} are the most")
        self._forget(now)
        if self._untold >= UNTOLD_REQUESTS or self._untold_bytes + size > UNTOLD_BYTES:
            return math.inf
        return max(
            now,
            self._held,
            self._requests.below(self._ended, _REQUESTS_ALLOWED - 1),
            self._bytes.below(self._ended, _BYTES_ALLOWED - size),
        )

    def room_at(self, now: float, size: int) -> float:
        """Return from when on so many bytes may follow each other, in however many requests, and not wait half-way.

        More than one window allows must wait half-way, whenever they begin: so at once.

        :returns: as :meth:`ready_at`.
        """
        self._forget(now)
        fits = size <= _BYTES_ALLOWED
        return max(now, self._held, self._bytes.below(self._ended, _BYTES_ALLOWED - size) if fits else now)

    def begin(self, size: int) -> None:
        """Count a request that is sent now."""
        self._requests.total += 1
        self._bytes.total += size
        self._under_way += 1
        self._under_way_bytes += size
        self._untold += 1
        self._untold_bytes += size

    def end(self, now: float, size: int) -> None:
        """Take note that a request was answered, or that nobody waits for its answer any more."""
        self._forget(now)
        self._under_way -= 1
        self._under_way_bytes -= size
        self._add(now, 1, size)

    def hold(self, until: float) -> None:
        """Let nothing be sent before: Graph's Retry-After."""
        self._held = max(self._held, until)

    def inherit(self, ended: float, requests: int, size: int) -> None:
        """Count what others asked; nothing of it was answered later than `ended`."""
        self._requests.total += requests
        self._bytes.total += size
        self._add(ended, requests, size)

    def fresh(self) -> tuple[int, int]:
        """Return the requests, and their bytes, that have ended and have not been told."""
        return self._untold - self._under_way, self._untold_bytes - self._under_way_bytes

    def told(self, requests: int, size: int) -> None:
        """Take note that so many were told: whoever comes after us will know of them."""
        self._untold -= requests
        self._untold_bytes -= size

    def pressing(self) -> bool:
        """Tell whether so much could be told that it should be, before it holds anything up."""
        requests, size = self.fresh()
        return 2 * requests >= UNTOLD_REQUESTS or 2 * size >= UNTOLD_BYTES

    def _add(self, ended: float, requests: int, size: int) -> None:
        log, second = self._ended, math.ceil(ended)
        # In order of time, also where what is inherited is older than what is here: then it counts for longer.
        if log and log[-3] >= second:
            second = log[-3]
            if self._requests.first < len(log) and self._bytes.first < len(log):
                log[-2] += requests
                log[-1] += size
                return
        log.extend((second, requests, size))

    def _forget(self, now: float) -> None:
        log = self._ended
        self._bytes.forget(log, now)
        self._requests.forget(log, now)
        gone = self._requests.first  # never beyond the other's, whose window is shorter
        if gone and 2 * gone >= len(log):
            del log[:gone]
            self._requests.first -= gone
            self._bytes.first -= gone


class _Window:
    """Sum one column of what has ended over the window's seconds, and what is under way."""

    __slots__ = ("column", "first", "seconds", "total")

    def __init__(self, column: int, seconds: int) -> None:
        self.column = column
        self.seconds = seconds
        self.first = 0
        self.total = 0

    def forget(self, log: array[int], now: float) -> None:
        """Let go what has left the window."""
        while self.first < len(log) and log[self.first] + self.seconds + 1 <= now:
            self.total -= log[self.first + self.column]
            self.first += 3

    def below(self, log: array[int], allowed: int) -> float:
        """Return from when on the total is no more than allowed."""
        excess = self.total - allowed
        if excess <= 0:
            return -math.inf
        for entry in range(self.first, len(log), 3):
            excess -= log[entry + self.column]
            if excess <= 0:
                return log[entry] + self.seconds + 1
        return math.inf
