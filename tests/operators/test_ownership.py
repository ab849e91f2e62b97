"""A shard has one owner at a time, and an owner that died does not hold it for ever."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from o2_connector.core.errors import RetryError
from o2_connector.hooks.staging import StagingHook
from o2_connector.operators.ownership import DEAD_SECONDS, SILENT_SECONDS, Ownership, owned


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StagingHook:
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "fs", "extra": {"path": str(tmp_path)}}))
    return StagingHook()


class Time:
    """Pass only when somebody waits."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.now = 1000.0
        self._meanwhile = meanwhile

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._meanwhile()


def test_owners_follow_each_other_without_waiting(staging: StagingHook) -> None:
    moment = Time()

    for number in (1, 2, 3):
        with owned(staging, 3, sleep=moment.sleep, clock=moment.clock) as ownership:
            assert ownership.number == number

    assert moment.now == 1000


def test_shards_are_owned_apart(staging: StagingHook) -> None:
    with owned(staging, 3), owned(staging, 4) as other:
        assert other.number == 1


def test_an_owner_that_shows_life_is_waited_for_and_left_alone(staging: StagingHook) -> None:
    signs = iter(range(10_000))
    staging.claim("owners/003/00000001.owner")
    moment = Time(lambda: staging.claim(f"owners/003/00000001.sign-{next(signs):06d}"))

    with (
        pytest.raises(RetryError, match="another run writes to these mailboxes"),
        owned(staging, 3, patience_seconds=4 * DEAD_SECONDS, sleep=moment.sleep, clock=moment.clock),
    ):
        pytest.fail("two owners")


def test_an_owner_that_died_is_followed_but_not_too_soon(staging: StagingHook) -> None:
    staging.claim("owners/003/00000001.owner")
    staging.claim("owners/003/00000001.sign-000000")
    moment = Time()

    with owned(staging, 3, sleep=moment.sleep, clock=moment.clock) as ownership:
        assert ownership.number == 2

    assert DEAD_SECONDS < moment.now - 1000 < DEAD_SECONDS + 10


def test_never_do_two_own_a_shard_at_once(staging: StagingHook) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def own(_: int) -> int:
        nonlocal inside, most
        with owned(staging, 3, sleep=lambda seconds: time.sleep(0.01)) as ownership:
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.02)
            with lock:
                inside -= 1
            return ownership.number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(own, range(24)))

    assert most == 1
    assert sorted(numbers) == list(range(1, 25))


def test_a_shard_is_let_go_when_the_work_fails(staging: StagingHook) -> None:
    with pytest.raises(ZeroDivisionError), owned(staging, 3):
        raise ZeroDivisionError

    with owned(staging, 3, patience_seconds=0) as ownership:
        assert ownership.number == 2


def test_an_owner_shows_that_it_lives(staging: StagingHook) -> None:
    with owned(staging, 3, sign_seconds=0.01):
        time.sleep(0.3)

    signs = [name for name in staging.names("owners/003/") if ".sign-" in name]
    assert len(signs) >= 3


def test_an_owner_that_cannot_show_life_stops_before_anybody_may_follow() -> None:
    moment = Time()
    ownership = Ownership(number=1, clock=moment.clock, pause=moment.sleep)
    ownership.check()

    with pytest.raises(RetryError, match="leaves the shard to others"):
        ownership.sleep(10 * DEAD_SECONDS)

    assert SILENT_SECONDS < moment.now - 1000 < DEAD_SECONDS / 2
    with pytest.raises(RetryError):
        ownership.check()


def test_a_wait_within_the_ownership_is_as_long_as_asked() -> None:
    moment = Time()

    Ownership(number=1, clock=moment.clock, pause=moment.sleep).sleep(20.0)

    assert moment.now == pytest.approx(1020.0)
