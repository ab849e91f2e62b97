"""What a process asks of its mailboxes is counted for all of its threads, and told and inherited mailbox by mailbox."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from o2_connector.core.layout import bucket_of
from o2_connector.core.pacing import (
    BYTES,
    CONCURRENT,
    REQUESTS,
    REQUESTS_SECONDS,
    RESERVE,
    UNTOLD_BYTES,
    UNTOLD_REQUESTS,
)
from o2_connector.engine.paces import Paces, Used

MAILBOX = str(UUID(int=1))
BUCKET = bucket_of(MAILBOX)
NEIGHBOUR = next(name for name in (str(UUID(int=n)) for n in range(2, 10_000)) if bucket_of(name) == BUCKET)
STRANGER = next(name for name in (str(UUID(int=n)) for n in range(2, 10_000)) if bucket_of(name) != BUCKET)


class Worker:
    """Have clocks that go on when they are told to, and show different times."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self.passed = 0.0
        self._wall = wall
        self.paces = Paces(clock=lambda: 77.0 + self.passed, wall=lambda: self._wall + self.passed)

    def ask(self, mailbox: str, times: int = 1, size: int = 0) -> None:
        for _ in range(times):
            self.paces.begin(mailbox, size)
            self.paces.end(mailbox, size)

    def waits(self, mailbox: str, size: int = 0) -> float:
        """Return for how long a mailbox may not be asked."""
        return self.paces.ready_at(mailbox, size) - 77.0 - self.passed

    def tell(self, bucket: int = BUCKET) -> list[Used]:
        usage = self.paces.usage(bucket)
        self.paces.told(bucket, usage)
        return usage


def test_mailboxes_are_paced_apart() -> None:
    worker = Worker()

    worker.paces.hold(MAILBOX, 2.5)
    worker.paces.take(MAILBOX)

    assert worker.waits(MAILBOX) == 2.5
    assert worker.waits(NEIGHBOUR) == 0
    assert (worker.paces.free(MAILBOX), worker.paces.free(NEIGHBOUR)) == (CONCURRENT - 1, CONCURRENT)


def test_usage_is_told_until_it_is_known_to_be_told() -> None:
    worker = Worker()
    worker.ask(MAILBOX, 3, 100)
    worker.ask(STRANGER, 5, 100)

    first = worker.paces.usage(BUCKET)
    worker.ask(MAILBOX, 1, 11)
    second = worker.tell()
    worker.ask(NEIGHBOUR, 2)

    assert first == [Used(mailbox=MAILBOX, at=1_800_000_000_000, requests=3, size=300)]
    assert second == [Used(mailbox=MAILBOX, at=1_800_000_000_000, requests=4, size=311)]
    assert [used.mailbox for used in worker.paces.usage(BUCKET)] == [NEIGHBOUR]
    assert [used.mailbox for used in worker.paces.usage(bucket_of(STRANGER))] == [STRANGER]


def test_a_request_under_way_is_told_when_it_has_ended() -> None:
    worker = Worker()
    worker.paces.begin(MAILBOX, 10)
    worker.ask(MAILBOX, 1, 7)

    under_way, before = worker.paces.under_way(BUCKET), worker.tell()
    worker.passed = 9.0
    worker.paces.end(MAILBOX, 10)
    after = worker.tell()

    assert under_way == 1
    assert [(used.requests, used.size) for used in before] == [(1, 7)]
    assert after == [Used(mailbox=MAILBOX, at=1_800_000_009_000, requests=1, size=10)]
    assert worker.paces.under_way(BUCKET) == 0


def test_a_sign_is_hurried_before_anything_has_to_wait_for_it() -> None:
    worker = Worker()
    worker.ask(MAILBOX, UNTOLD_REQUESTS // 2 - 1)
    calm = worker.paces.hurried(0)

    worker.ask(MAILBOX)

    assert calm == set()
    assert worker.waits(MAILBOX) == 0
    assert worker.paces.hurried(0) == {BUCKET}
    assert worker.paces.hurried(0) == set()


def test_a_mailbox_with_too_much_untold_waits_for_the_sign_that_tells_it() -> None:
    worker = Worker()
    worker.ask(MAILBOX, 1, UNTOLD_BYTES // 3)
    assert worker.paces.hurried(0) == set()

    waits = worker.waits(MAILBOX, UNTOLD_BYTES)

    assert waits == math.inf
    assert worker.paces.hurried(0) == {BUCKET}
    worker.tell()
    assert worker.waits(MAILBOX, UNTOLD_BYTES) == 0


def test_what_was_used_before_is_counted_from_when_it_was() -> None:
    before, after = Worker(), Worker()
    usage = []
    for _ in range(int(REQUESTS * (1 - RESERVE)) // 900):
        before.ask(MAILBOX, 900)
        usage += before.tell()
    after.passed = 100.0

    after.paces.inherit(BUCKET, usage)

    assert REQUESTS_SECONDS - 100 <= after.waits(MAILBOX) <= REQUESTS_SECONDS - 100 + 2
    assert after.waits(NEIGHBOUR) == 0
    assert after.tell() == []


def test_a_message_of_several_requests_waits_until_all_of_it_may_follow() -> None:
    worker = Worker()
    worker.paces.inherit(BUCKET, [Used(mailbox=MAILBOX, at=worker.paces.now(), requests=9, size=BYTES // 2)])

    room = [worker.paces.room_at(mailbox, BYTES * 3 // 5) - 77.0 for mailbox in (MAILBOX, STRANGER)]

    assert 300 <= room[0] <= 302
    assert room[1] == 0
    assert worker.waits(MAILBOX, UNTOLD_BYTES) == 0  # a request of it has room


def test_usage_in_a_clocks_future_is_taken_for_now() -> None:
    worker = Worker()

    worker.paces.inherit(BUCKET, [Used(mailbox=MAILBOX, at=worker.paces.now() + 86_400_000, requests=1, size=BYTES)])

    assert 300 <= worker.waits(MAILBOX, 1) <= 302


def test_what_every_mailbox_of_a_bucket_may_have_been_asked_counts_for_those_not_heard_of_too() -> None:
    worker = Worker()
    worker.ask(MAILBOX)
    worker.tell()

    worker.paces.inherit(BUCKET, [Used(mailbox=None, at=worker.paces.now(), requests=REQUESTS, size=0)])

    assert worker.waits(MAILBOX) >= REQUESTS_SECONDS
    assert worker.waits(NEIGHBOUR) >= REQUESTS_SECONDS
    assert worker.waits(STRANGER) == 0
    worker.passed = REQUESTS_SECONDS + 2
    assert worker.waits(NEIGHBOUR) == 0


def test_threads_that_ask_a_mailbox_at_once_do_not_pass_its_limits_together() -> None:
    paces = Paces(clock=lambda: 0.0)
    paces.inherit(BUCKET, [Used(mailbox=MAILBOX, at=paces.now(), requests=int(REQUESTS * (1 - RESERVE)) - 100, size=0)])
    begin = threading.Barrier(8)

    def ask(_: int) -> int:
        begin.wait()
        return sum(paces.take(MAILBOX) + 1000 * paces.begin_if_ready(MAILBOX, 1) for _ in range(100))

    with ThreadPoolExecutor(8) as pool:
        asked = sum(pool.map(ask, range(8)))

    assert asked == 100 * 1000 + CONCURRENT


def test_who_tells_can_be_woken() -> None:
    paces = Paces()
    threading.Timer(0.05, paces.wake).start()

    assert paces.hurried(30) == set()


@pytest.mark.parametrize("size", [0, 10])
def test_a_mailbox_that_was_never_asked_is_ready(size: int) -> None:
    assert Worker().waits(MAILBOX, size) == 0
