"""A mailbox's limits are kept by counting: Graph's own count, which is not ours, never goes over them."""

from __future__ import annotations

import heapq
import math
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2_connector.core.pacing import (
    BYTES,
    BYTES_SECONDS,
    CONCURRENT,
    REQUESTS,
    REQUESTS_SECONDS,
    RESERVE,
    UNTOLD_BYTES,
    UNTOLD_REQUESTS,
    Pace,
)
from sandbox.graph.limits import Breach, Limits, Meter

MOST = int(REQUESTS * (1 - RESERVE))
WITHOUT_RESERVE = Limits(requests=MOST, upload_bytes=int(BYTES * (1 - RESERVE)))
HEAVIEST = 4_000_000


class World:
    """Let owners of a mailbox ask a Graph whose clock is not theirs, and note what went into the reserve.

    What has been told lies in `told`, as (when it had ended at the latest, requests, bytes).
    """

    def __init__(self, phase: float) -> None:
        self.now = 5000.0
        self.sent = 0
        self.breaches: list[Breach] = []
        self.told: list[tuple[float, int, int]] = []
        self._meter = Meter("mailbox", WITHOUT_RESERVE, self.breaches)
        self._phase = phase
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._pace = Pace()

    def ask(self, size: int, travels: float, takes: float) -> None:
        """Send a request as soon as it may be sent; it arrives within the time that its answer takes."""
        while (ready := self._pace.ready_at(self.now, size)) > self.now:
            if math.isfinite(ready):
                self._pass(ready)
            elif self._pace.fresh() != (0, 0):
                self.announce()
            else:
                self._pass(self._coming[0][0])
        self._pace.begin(size)
        self.sent += 1
        pace, arrives, ends = self._pace, self.now + travels * takes, self.now + takes
        moment = datetime.fromtimestamp(arrives + self._phase, UTC)
        self._later(arrives, lambda: self._meter.count(moment, size))
        self._later(ends, lambda: pace.end(ends, size))

    def wait(self, seconds: float) -> None:
        self._pass(self.now + seconds)

    def announce(self) -> None:
        requests, size = self._pace.fresh()
        self.told.append((self.now, requests, size))
        self._pace.told(requests, size)

    def hand_over(self, *, killed: bool) -> None:
        """Let another owner come when nothing of this one is under way."""
        self._pass(max((when for when, _, _ in self._coming), default=self.now))
        if killed:
            self.told.append((self.now, UNTOLD_REQUESTS, UNTOLD_BYTES))
        else:
            self.announce()
        self._pace = Pace()
        for told in self.told:
            self._pace.inherit(*told)

    def _later(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._coming, (when, id(what), what))

    def _pass(self, until: float) -> None:
        while self._coming and self._coming[0][0] <= until:
            self.now, _, what = heapq.heappop(self._coming)
            what()
        self.now = max(self.now, until)


moments = st.floats(0, 1, allow_nan=False)
travels = st.sampled_from([0.0, 0.3, 1.0])
asks = st.tuples(
    st.just("ask"), st.integers(1, 300), st.integers(0, HEAVIEST), travels, st.sampled_from([0.0, 0.15, 0.9, 30, 400])
)
steps = st.one_of(
    asks,
    asks,
    asks,
    st.tuples(st.just("wait"), st.sampled_from([0.2, 1, 30, 299, 300, 301, 599, 600, 601])),
    st.tuples(st.just("announce")),
    st.tuples(st.just("hand over"), st.booleans()),
)


def play(world: World, plan: list[tuple]) -> None:
    for step in plan:
        match step:
            case "ask", times, size, travels, takes:
                for _ in range(times):
                    world.ask(size, travels, takes)
            case "wait", seconds:
                world.wait(seconds)
            case ("announce",):
                world.announce()
            case "hand over", killed:
                world.hand_over(killed=killed)
    world.hand_over(killed=False)


@settings(max_examples=60, deadline=None)
@given(phase=moments, plan=st.lists(steps, min_size=5, max_size=30))
def test_graph_never_counts_more_than_it_allows_whoever_asks_and_whoever_is_killed(phase: float, plan: list) -> None:
    world = World(phase)

    play(world, plan)

    assert world.breaches == []


@settings(max_examples=8, deadline=None)
@given(phase=moments, travels=travels, takes=st.sampled_from([0.0, 0.7, 7.0]), killed=st.integers(0, 24))
def test_many_small_requests_are_never_too_many(phase: float, travels: float, takes: float, killed: int) -> None:
    world = World(phase)

    for burst in range(24):
        for _ in range(1000):
            world.ask(2000, travels, takes)
        if burst == killed:
            world.hand_over(killed=True)

    assert world.breaches == []
    assert world.sent == 24_000


def told_at_once(pace: Pace) -> None:
    pace.told(*pace.fresh())


def test_so_many_requests_may_go_at_once_and_the_next_waits_ten_minutes_and_little_more() -> None:
    pace = Pace()
    for _ in range(MOST):
        assert pace.ready_at(100.0, 10) == 100.0
        pace.begin(10)
        pace.end(100.0, 10)
        told_at_once(pace)

    ready = pace.ready_at(100.0, 10)

    assert 100 + REQUESTS_SECONDS <= ready <= 100 + REQUESTS_SECONDS + 2
    assert pace.ready_at(ready, 10) == ready


def test_a_mailbox_that_is_always_asked_is_asked_as_often_as_it_may_be() -> None:
    world = World(0.5)

    while world.now < 5000 + 4 * REQUESTS_SECONDS:
        world.ask(1000, 0.5, 0.15)

    assert world.breaches == []
    assert world.sent > 4 * REQUESTS * 0.985


@settings(max_examples=60, deadline=None)
@given(phase=moments, began=moments, takes=st.sampled_from([0.0, 0.4, 1.0, 1.6]))
def test_what_arrived_as_late_as_it_could_never_meets_what_arrives_as_early_as_it_can(
    phase: float, began: float, takes: float
) -> None:
    world = World(phase)
    world.wait(began)

    for _ in range(36):
        world.ask(HEAVIEST, 1.0, takes)
    for _ in range(3):
        world.ask(HEAVIEST, 0.0, takes)
    world.hand_over(killed=False)

    assert world.breaches == []


def test_as_many_bytes_may_go_as_are_allowed_and_the_next_wait_five_minutes_and_little_more() -> None:
    pace = Pace()
    sent = 0
    while (ready := pace.ready_at(100.0, HEAVIEST)) == 100.0:
        pace.begin(HEAVIEST)
        pace.end(100.0, HEAVIEST)
        told_at_once(pace)
        sent += HEAVIEST

    assert BYTES * (1 - RESERVE) - HEAVIEST < sent <= BYTES
    assert 100 + BYTES_SECONDS <= ready <= 100 + BYTES_SECONDS + 2
    assert pace.ready_at(100.0, 0) == 100.0


def test_a_message_of_several_requests_begins_when_all_of_it_may_follow() -> None:
    pace = Pace()
    pace.inherit(100.0, 1, 100_000_000)
    pace.inherit(160.0, 1, 40_000_000)

    small, middling, large = (pace.room_at(200.0, size) for size in (8_000_000, 100_000_000, 140_000_000))

    assert small == 200.0
    assert 100 + BYTES_SECONDS <= middling <= 100 + BYTES_SECONDS + 2
    assert 160 + BYTES_SECONDS <= large <= 160 + BYTES_SECONDS + 2
    pace.hold(999.0)
    assert pace.room_at(200.0, 8_000_000) == 999.0


def test_a_message_that_must_wait_half_way_whenever_it_begins_begins_at_once() -> None:
    pace = Pace()
    pace.inherit(100.0, 1, BYTES)

    assert pace.room_at(200.0, BYTES) == 200.0
    assert pace.room_at(200.0, int(BYTES * (1 - RESERVE))) == 100.0 + BYTES_SECONDS + 1


@pytest.mark.parametrize("size", [150_000_000, 150 * 1024 * 1024])
def test_messages_of_the_largest_size_go_through_one_after_the_other(size: int) -> None:
    world = World(0.5)
    chunk, count = 3_932_160, 4

    for _ in range(count):
        for first in range(0, size, chunk):
            world.ask(min(chunk, size - first), 0.5, 0.3)

    assert world.breaches == []
    assert world.now - 5000 < count * size / BYTES * (BYTES_SECONDS + 15)


def test_a_request_without_an_answer_counts_however_long_it_takes() -> None:
    pace = Pace()
    pace.inherit(100.0, MOST - 1, 0)
    pace.begin(10)

    assert pace.ready_at(100.0 + REQUESTS_SECONDS, 10) == 102.0 - 1 + REQUESTS_SECONDS
    pace.inherit(900.0, MOST - 1, 0)
    assert pace.ready_at(1000.0, 10) == 901.0 + REQUESTS_SECONDS


def test_nothing_more_is_sent_until_what_was_used_is_told() -> None:
    pace = Pace()
    for _ in range(UNTOLD_REQUESTS):
        pace.begin(10)
    assert not pace.pressing()  # nothing of it could be told yet
    for _ in range(UNTOLD_REQUESTS):
        pace.end(0.0, 10)

    assert pace.pressing()
    assert pace.ready_at(0.0, 10) == math.inf
    told_at_once(pace)
    assert pace.ready_at(0.0, 10) == 0.0
    assert not pace.pressing()


def test_what_is_under_way_stays_untold() -> None:
    pace = Pace()
    pace.begin(UNTOLD_BYTES - 5)
    pace.begin(1)
    pace.end(1.0, 1)

    assert pace.fresh() == (1, 1)
    told_at_once(pace)
    assert pace.ready_at(1.0, 6) == math.inf
    assert pace.ready_at(1.0, 5) == 1.0


def test_graphs_own_word_is_obeyed_to_the_fraction() -> None:
    pace = Pace()

    pace.hold(12.128)
    pace.hold(11.0)

    assert pace.ready_at(10.0, 1) == 12.128
    assert pace.ready_at(12.128, 1) == 12.128


def test_no_more_slots_are_taken_than_there_are() -> None:
    pace = Pace()

    taken = [pace.take() for _ in range(CONCURRENT + 1)]

    assert taken == [True] * CONCURRENT + [False]
    pace.give_back()
    assert pace.free == 1


def test_a_request_that_could_never_be_sent_is_not_waited_for() -> None:
    with pytest.raises(ValueError, match="could never be sent"):
        Pace().ready_at(0.0, UNTOLD_BYTES + 1)


def test_what_is_inherited_late_counts_and_leaves_with_what_is_there() -> None:
    pace = Pace()
    pace.begin(0)
    pace.end(1000.0, 0)
    pace.ready_at(1400.0, 0)  # what ended has left the shorter window, not the longer
    pace.inherit(900.0, 0, BYTES)

    assert pace.ready_at(1400.0, 1) == 1400.0
    pace.inherit(1300.0, 0, BYTES)
    assert pace.ready_at(1400.0, 1) == 1301.0 + BYTES_SECONDS


def test_a_mailbox_that_was_asked_for_hours_takes_no_more_memory_than_after_ten_minutes() -> None:
    tracemalloc.start()
    pace = Pace()

    for second in range(20_000):
        pace.begin(1)
        pace.end(float(second), 1)
        told_at_once(pace)

    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 64 * 1024
