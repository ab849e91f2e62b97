"""Outlook's limits for one application and one mailbox, and the book of who went over them.

Source: "Microsoft Graph throttling limits", Outlook service limits (docs-contrib `includes/throttling-outlook…`):
10,000 requests in 10 minutes, 4 concurrent requests, 150 MB of uploads (PATCH, POST, PUT) in 5 minutes. "Throttled
requests still count." One mailbox over its limit does not touch another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

from sandbox.graph.refusals import Refused


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Hold the limits of a tenant's mailboxes; None switches a limit off.

    The page says "150 megabytes" and not which; the smaller reading is kept, so that who stays under it here stays
    under it there.
    """

    concurrent: int | None = 4
    requests: int | None = 10_000
    requests_seconds: int = 600
    upload_bytes: int | None = 150_000_000
    upload_seconds: int = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Breach:
    """Say that a mailbox was asked for more than a limit allows."""

    at: datetime
    mailbox: str
    limit: str
    allowed: int
    asked: int


class Window:
    """Count amounts over the last `seconds`, to the second."""

    __slots__ = ("seconds", "slots", "total")

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.slots: deque[list[int]] = deque()
        self.total = 0

    def add(self, now: int, amount: int) -> int:
        """Add an amount at a second and return the total of the window."""
        slots = self.slots
        while slots and slots[0][0] <= now - self.seconds:
            self.total -= slots.popleft()[1]
        if slots and slots[-1][0] == now:
            slots[-1][1] += amount
        else:
            slots.append([now, amount])
        self.total += amount
        return self.total

    def free_again(self, now: int, allowed: int) -> int:
        """Return after how many seconds without a request the total is below what is allowed."""
        total = self.total
        for second, amount in self.slots:
            total -= amount
            if total < allowed:
                return max(1, second + self.seconds - now)
        return self.seconds


class Meter:
    """Meter one mailbox: what is in flight and what has been asked lately.

    `asked` and `refused` count every request and every 429 of its limits, and `peak` is the most that was in flight.
    """

    __slots__ = ("asked", "breaches", "bytes", "in_flight", "limits", "mailbox", "peak", "refused", "requests")

    def __init__(self, mailbox: str, limits: Limits, breaches: list[Breach]) -> None:
        self.mailbox = mailbox
        self.limits = limits
        self.breaches = breaches
        self.in_flight = 0
        self.peak = 0
        self.asked = 0
        self.refused = 0
        self.requests = Window(limits.requests_seconds)
        self.bytes = Window(limits.upload_seconds)

    def limit(self, limits: Limits) -> None:
        """Keep other limits from now on; what has been counted stays counted."""
        self.limits = limits
        self.requests.seconds = limits.requests_seconds
        self.bytes.seconds = limits.upload_seconds

    def enter(self, wanted: int, now: datetime) -> int:
        """Take slots for as many requests as run at once, and return how many of them are within the limit."""
        allowed = self.limits.concurrent
        granted = wanted if allowed is None else max(0, min(wanted, allowed - self.in_flight))
        if allowed is not None and granted < wanted:
            self._note(now, "concurrent", allowed, self.in_flight + wanted)
        self.in_flight += wanted
        self.peak = max(self.peak, self.in_flight)
        return granted

    def leave(self, wanted: int) -> None:
        """Give the slots back."""
        self.in_flight -= wanted

    def count(self, now: datetime, uploaded: int) -> None:
        """Count one request and the bytes it carried, and refuse it when either is over its limit."""
        second = int(now.timestamp())
        limits = self.limits
        self.asked += 1
        requests = self.requests.add(second, 1)
        if limits.requests is not None and requests > limits.requests:
            self._note(now, "requests", limits.requests, requests)
            message = "Application is over its request rate limit."
            raise self._throttled(message, self.requests.free_again(second, limits.requests))
        if uploaded:
            total = self.bytes.add(second, uploaded)
            if limits.upload_bytes is not None and total > limits.upload_bytes:
                self._note(now, "upload_bytes", limits.upload_bytes, total)
                message = "Application is over its upload limit."
                raise self._throttled(message, self.bytes.free_again(second, limits.upload_bytes))

    def over_concurrency(self) -> Refused:
        """Return the refusal of a fifth request at a time, in the words that Graph was seen to use."""
        return self._throttled("Application is over its MailboxConcurrency limit.", 1)

    def _throttled(self, message: str, seconds: int) -> Refused:
        self.refused += 1
        return Refused(429, "ApplicationThrottled", message, {"Retry-After": str(seconds)})

    def _note(self, now: datetime, limit: str, allowed: int, asked: int) -> None:
        self.breaches.append(Breach(at=now, mailbox=self.mailbox, limit=limit, allowed=allowed, asked=asked))
