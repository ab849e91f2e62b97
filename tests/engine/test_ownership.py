"""A bucket has one owner at a time, one that died does not hold it for ever, and what each used the next one knows."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from o2_connector.core.errors import RetryError
from o2_connector.core.layout import BUCKETS, bucket_of, owner_stem
from o2_connector.core.manifest import StagedObject
from o2_connector.core.pacing import REQUESTS, REQUESTS_SECONDS, RESERVE, UNTOLD_BYTES, UNTOLD_REQUESTS
from o2_connector.engine.ownership import Ownership, Rhythm, owned, used_before
from o2_connector.engine.paces import Paces, Used
from o2_connector.hooks.staging import StagingHook

RHYTHM = Rhythm()
MOST = int(REQUESTS * (1 - RESERVE))
MAILBOX = str(UUID(int=7))
BUCKET = bucket_of(MAILBOX)
NEIGHBOUR = next(name for name in (str(UUID(int=n)) for n in range(8, 10_000)) if bucket_of(name) == BUCKET)
NOW = 1_800_000_000_000


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StagingHook:
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "fs", "extra": {"path": str(tmp_path)}}))
    return StagingHook()


class Time:
    """Pass only when somebody waits, or is told to."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.now = 1000.0
        self._meanwhile = meanwhile

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOW / 1000 + self.now - 1000

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._meanwhile()

    def paces(self) -> Paces:
        return Paces(self.clock, self.wall)


class Unreliable(StagingHook):
    """Fail to write what has this in its name, once or for ever."""

    def __init__(self, what: str, *, times: int) -> None:
        super().__init__()
        self.what = what
        self.times = times

    def write_lines(self, stem: str, rows: Any) -> StagedObject:
        self._perhaps(stem)
        return super().write_lines(stem, rows)

    def claim(self, name: str) -> bool:
        self._perhaps(name)
        return super().claim(name)

    def _perhaps(self, name: str) -> None:
        if self.what in name and self.times > 0:
            self.times -= 1
            raise RetryError("staging: it is down")


class Counting(StagingHook):
    """Count what is looked up and listed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def size(self, name: str) -> int | None:
        self.asked.append(name)
        return super().size(name)

    def names(self, prefix: str) -> Iterator[str]:
        self.asked.append(prefix)
        return super().names(prefix)


def own(
    staging: StagingHook, *buckets: int, moment: Time | None = None, paces: Paces | None = None, **options: Any
) -> Any:
    """Own buckets, in a time of its own."""
    moment = moment or Time()
    options = {"sleep": moment.sleep, "clock": moment.clock, **options}
    return owned(staging, buckets or [BUCKET], paces or moment.paces(), **options)


def owners(staging: StagingHook, bucket: int) -> list[str]:
    return [name.split("/")[2] for name in staging.names(f"owners/{bucket:02d}/") if name.endswith("/owner")]


def signs(staging: StagingHook, number: int, bucket: int = BUCKET) -> list[list[Used]]:
    """Return what each sign of an owner told."""
    names = [name for name in staging.names(owner_stem(bucket, number)) if "/sign-" in name]
    return [list(staging.read_lines(staging.staged(name), Used)) for name in names]


def leave_owner(staging: StagingHook, number: int, *signs: list[Used], done: bool = False) -> None:
    """Stage what an owner left."""
    stem = owner_stem(BUCKET, number)
    staging.claim(f"{stem}owner")
    for count, rows in enumerate(signs):
        staging.write_lines(f"{stem}sign-{count:06d}.", rows)
    if done:
        staging.claim(f"{stem}done")


def used(requests: int, *, seconds_ago: float = 0, mailbox: str | None = MAILBOX, size: int = 0) -> Used:
    return Used(mailbox=mailbox, at=NOW - int(seconds_ago * 1000), requests=requests, size=size)


def ask(paces: Paces, times: int = 1, size: int = 0) -> None:
    for _ in range(times):
        paces.begin(MAILBOX, size)
        paces.end(MAILBOX, size)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


# Who may come when


def test_owners_follow_each_other_without_waiting(staging: StagingHook) -> None:
    moment = Time()

    for _ in range(3):
        with own(staging, 3, moment=moment):
            pass

    assert owners(staging, 3) == ["00000001", "00000002", "00000003"]
    assert moment.now == 1000


def test_buckets_are_owned_apart(staging: StagingHook) -> None:
    with own(staging, 3), own(staging, 4, 5):
        assert [owners(staging, bucket) for bucket in (3, 4, 5)] == [["00000001"]] * 3


def test_an_owner_that_shows_life_is_waited_for_and_left_alone(staging: StagingHook) -> None:
    count = iter(range(10_000))
    leave_owner(staging, 1)
    moment = Time(lambda: staging.write_lines(f"{owner_stem(BUCKET, 1)}sign-{next(count):06d}.", []))

    with (
        pytest.raises(RetryError, match="another run writes to these mailboxes"),
        own(staging, moment=moment, patience_seconds=2 * RHYTHM.dead_seconds),
    ):
        pytest.fail("two owners")


def test_who_waits_for_an_owner_says_so_now_and_then(staging: StagingHook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "airflow.task")
    leave_owner(staging, 1, [])

    with own(staging):
        pass

    lines = [line for line in caplog.messages if "waits until it is done" in line]
    assert len(lines) == 1 + RHYTHM.dead_seconds // 60


def test_an_owner_that_died_is_followed_but_not_too_soon(staging: StagingHook) -> None:
    leave_owner(staging, 1, [])
    moment = Time()

    with own(staging, moment=moment):
        assert owners(staging, BUCKET) == ["00000001", "00000002"]

    assert RHYTHM.dead_seconds < moment.now - 1000 < RHYTHM.dead_seconds + 10


def test_owners_that_died_together_are_waited_for_together(staging: StagingHook) -> None:
    for bucket in range(BUCKETS):
        staging.claim(f"{owner_stem(bucket, 1)}owner")
    moment = Time()

    with own(staging, *range(BUCKETS), moment=moment):
        pass

    assert moment.now - 1000 < RHYTHM.dead_seconds + 10


def test_what_is_taken_already_is_kept_while_the_rest_is_waited_for(staging: StagingHook) -> None:
    staging.claim(f"{owner_stem(4, 1)}owner")
    met: list[int] = []

    def meanwhile() -> None:
        met.append(len(signs(staging, 1, bucket=3)))
        if len(met) == 1:
            until(lambda: len(signs(staging, 1, bucket=3)) > met[0] + 1)
        staging.claim(f"{owner_stem(4, 1)}done")

    with own(staging, 4, 3, moment=Time(meanwhile), rhythm=Rhythm(sign_seconds=0.01)):
        assert met
        assert owners(staging, 4) == ["00000001", "00000002"]


def test_who_falls_silent_in_what_it_has_stops_waiting_for_the_rest(staging: StagingHook) -> None:
    staging.claim(f"{owner_stem(4, 1)}owner")
    moment = Time()

    with pytest.raises(RetryError, match="leaves the shard to others"), own(staging, 3, 4, moment=moment):
        pytest.fail("somebody else may have come to bucket 3")

    assert owners(staging, 4) == ["00000001"]


def test_who_waits_for_one_bucket_gives_the_others_back(staging: StagingHook) -> None:
    staging.claim(f"{owner_stem(4, 1)}owner")

    with pytest.raises(RetryError), own(staging, 3, 4, patience_seconds=0):
        pytest.fail("two owners")

    with own(staging, 3, patience_seconds=0):
        assert owners(staging, 3) == ["00000001", "00000002"]


def test_never_do_two_own_a_bucket_at_once_whatever_else_they_own(staging: StagingHook) -> None:
    wishes = [(3,), (4, 3), (5, 4), (3, 5)] * 5
    inside: list[int] = []
    clashes: list[int] = []
    lock = threading.Lock()

    def work(buckets: tuple[int, ...]) -> None:
        options = {"sleep": lambda seconds: time.sleep(0.01), "clock": time.monotonic}
        with own(staging, *buckets, paces=Paces(), patience_seconds=60, **options):
            with lock:
                clashes.extend(set(buckets) & set(inside))
                inside.extend(buckets)
            time.sleep(0.01)
            with lock:
                for bucket in buckets:
                    inside.remove(bucket)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, wishes))

    assert clashes == []
    for bucket in (3, 4, 5):
        came = sum(bucket in wish for wish in wishes)
        assert owners(staging, bucket) == [f"{number:08d}" for number in range(1, came + 1)]


def test_buckets_are_let_go_when_the_work_fails(staging: StagingHook) -> None:
    with pytest.raises(ZeroDivisionError), own(staging, 3, 4):
        raise ZeroDivisionError

    with own(staging, 3, 4, patience_seconds=0):
        assert owners(staging, 4) == ["00000001", "00000002"]


def test_the_last_owner_is_found_among_years_of_them_with_a_few_looks(staging: StagingHook, tmp_path: Path) -> None:
    for number in range(1, 1500):
        folder = tmp_path / owner_stem(BUCKET, number)
        folder.mkdir(parents=True)
        (folder / "owner").touch()
        (folder / "done").touch()
    leave_owner(staging, 1500, [], done=True)
    counting = Counting()

    with own(counting):
        asked = list(counting.asked)

    assert owners(staging, BUCKET)[-1] == "00001501"
    assert len(asked) < 30
    assert all(name.count("/") == 3 for name in asked)


# Signs of life


def test_an_owner_shows_that_it_lives_in_each_of_its_buckets(staging: StagingHook) -> None:
    with own(staging, 3, 4, rhythm=Rhythm(sign_seconds=0.01)):
        until(lambda: all(len(signs(staging, 1, bucket=bucket)) > 3 for bucket in (3, 4)))


def test_an_owner_that_cannot_show_life_stops_before_anybody_may_follow(staging: StagingHook) -> None:
    moment = Time()

    with own(staging, moment=moment) as ownership:
        ownership.check()
        moment.now += RHYTHM.silent_seconds + 1
        with pytest.raises(RetryError, match="leaves the shard to others"):
            ownership.check()

    assert RHYTHM.silent_seconds + 1 < RHYTHM.dead_seconds / 2


def test_an_owner_that_is_silent_in_one_bucket_stops_in_all() -> None:
    moment = Time()
    ownership = Ownership(RHYTHM, moment.clock)
    ownership.shown(3, 1000.0)
    ownership.shown(4, 1000.0)
    moment.now += RHYTHM.silent_seconds + 1
    ownership.shown(3, moment.now)

    with pytest.raises(RetryError):
        ownership.check()


def test_an_owner_that_was_silent_too_long_never_comes_back() -> None:
    moment = Time()
    ownership = Ownership(RHYTHM, moment.clock)
    ownership.shown(3, 1000.0)
    moment.now += RHYTHM.silent_seconds + 1

    ownership.shown(3, moment.now)

    with pytest.raises(RetryError):
        ownership.check()


def test_an_owner_whose_clock_stood_still_learns_of_its_successor(staging: StagingHook) -> None:
    with own(staging, rhythm=Rhythm(sign_seconds=0.01)) as ownership:
        staging.claim(f"{owner_stem(BUCKET, 2)}owner")
        until(lambda: len(signs(staging, 1)) > 3)

        with pytest.raises(RetryError):
            ownership.check()


def test_a_sign_that_failed_is_made_good_by_the_next(staging: StagingHook) -> None:
    staging, paces = Unreliable("/sign-000001.", times=1), Time().paces()

    with own(staging, paces=paces, rhythm=Rhythm(sign_seconds=0.05)):
        ask(paces, 3, 100)
        until(lambda: not paces.usage(BUCKET))

    assert staging.times == 0
    assert [row for sign in signs(staging, 1) for row in sign] == [used(3, size=300)]


def test_a_sign_is_written_early_when_much_is_untold(staging: StagingHook) -> None:
    paces = Time().paces()

    with own(staging, paces=paces, rhythm=Rhythm(sign_seconds=3600)):
        ask(paces, UNTOLD_REQUESTS)
        until(lambda: paces.begin_if_ready(MAILBOX, 0))
        paces.end(MAILBOX, 0)
        told = signs(staging, 1)

    assert sum(row.requests for sign in told for row in sign) >= UNTOLD_REQUESTS // 2


# What was used before


def test_what_one_owner_used_the_next_one_knows_and_tells_again(staging: StagingHook) -> None:
    first, second, third = Time().paces(), Time().paces(), Time().paces()

    with own(staging, paces=first):
        ask(first, 700)
    with own(staging, paces=second):
        ask(second, 5)
    with own(staging, paces=third):
        pass

    assert signs(staging, 1) == [[], [used(700)]]
    assert signs(staging, 2) == [[used(700)], [used(5)]]
    assert signs(staging, 3) == [[used(705)]]


def test_the_limits_hold_over_the_owners_of_a_mailbox(staging: StagingHook) -> None:
    waits = []
    for _ in range(12):
        paces = Time().paces()
        with own(staging, paces=paces):
            waits.append(paces.ready_at(MAILBOX, 0) - 1000)
            ask(paces, 900)

    assert waits[:11] == [0] * 11
    assert REQUESTS_SECONDS <= waits[11] <= REQUESTS_SECONDS + 2


def test_an_owner_that_was_killed_may_have_asked_more_than_it_told(staging: StagingHook) -> None:
    leave_owner(staging, 1, [], [used(30), used(1, mailbox=NEIGHBOUR)])

    found = used_before(staging, BUCKET, 2, NOW)

    assert sorted(found, key=lambda row: row.requests) == [
        used(1, mailbox=NEIGHBOUR),
        used(30),
        used(UNTOLD_REQUESTS, mailbox=None, size=UNTOLD_BYTES),
    ]


def test_all_that_owners_killed_one_after_the_other_may_have_asked_is_counted(staging: StagingHook) -> None:
    killed = 4
    for number in range(1, killed + 1):
        leave_owner(staging, number, used_before(staging, BUCKET, number, NOW), [used(1500)])
    paces = Time().paces()

    paces.inherit(BUCKET, used_before(staging, BUCKET, killed + 1, NOW))

    assert paces.ready_at(MAILBOX, 0) >= 1000 + REQUESTS_SECONDS
    assert paces.ready_at(NEIGHBOUR, 0) == 1000


def test_an_owner_that_died_before_its_first_sign_hides_nothing_of_those_before_it(staging: StagingHook) -> None:
    leave_owner(staging, 1, [], [used(30)], done=True)
    leave_owner(staging, 2)

    assert used_before(staging, BUCKET, 3, NOW) == [used(30)]


@pytest.mark.parametrize("what", ["/owner", "/sign-"])
def test_staging_that_fails_for_a_while_is_waited_for_and_nothing_is_counted_twice(
    staging: StagingHook, what: str
) -> None:
    leave_owner(staging, 1, [], [used(500)], done=True)

    with own(Unreliable(what, times=3)):
        pass

    assert signs(staging, 2)[0] == [used(500)]


def test_old_signs_are_not_even_read(staging: StagingHook, tmp_path: Path) -> None:
    old = [used(1, seconds_ago=REQUESTS_SECONDS + 100)]
    leave_owner(staging, 1, old, old, [used(2, seconds_ago=REQUESTS_SECONDS + 50)], [used(30)], [], done=True)
    for path in (tmp_path / owner_stem(BUCKET, 1)).glob("sign-00000[014].*"):
        path.chmod(0o600)
        path.write_bytes(b"not what its digest says")

    assert used_before(staging, BUCKET, 2, NOW) == [used(30)]


def test_a_sign_that_was_altered_counts_for_the_most_that_may_be_untold(staging: StagingHook, tmp_path: Path) -> None:
    leave_owner(staging, 1, [], [used(30)], done=True)
    (path,) = (tmp_path / owner_stem(BUCKET, 1)).glob("sign-000001.*")
    path.chmod(0o600)
    path.write_bytes(msgspec.json.encode(used(31)))

    assert used_before(staging, BUCKET, 2, NOW) == [used(UNTOLD_REQUESTS, mailbox=None, size=UNTOLD_BYTES)]


def test_however_often_it_is_told_again_it_stays_as_short_and_does_not_grow_younger(staging: StagingHook) -> None:
    leave_owner(staging, 1, [used(1, seconds_ago=2 * count) for count in range(250)], done=True)

    told = [used_before(staging, BUCKET, 2, NOW)]
    for number in range(2, 6):
        leave_owner(staging, number, told[-1], done=True)
        told.append(used_before(staging, BUCKET, number + 1, NOW))

    assert sum(row.requests for row in told[0]) == 250
    assert len(told[0]) == 50
    assert all(sorted(again, key=lambda row: row.at) == sorted(told[0], key=lambda row: row.at) for again in told)


# The way out


def test_an_owner_with_requests_under_way_does_not_say_that_it_is_done(staging: StagingHook) -> None:
    paces = Time().paces()

    with own(staging, paces=paces):
        paces.begin(MAILBOX, 10)

    with pytest.raises(RetryError), own(staging, patience_seconds=0):
        pytest.fail("two owners")


def test_an_error_is_not_hidden_by_staging_that_is_down_on_the_way_out(staging: StagingHook) -> None:
    down = Unreliable("/done", times=1)

    with pytest.raises(ZeroDivisionError), own(down, 3, 4):
        raise ZeroDivisionError

    done = [name for name in staging.names("owners/") if name.endswith("/done")]
    assert len(done) == 1


def test_the_rest_of_the_usage_is_told_before_it_is_said_to_be_done(staging: StagingHook) -> None:
    down, paces = Unreliable("/sign-000001.", times=1), Time().paces()

    with own(down, paces=paces):
        ask(paces)

    assert signs(staging, 1) == [[]]
    assert f"{owner_stem(BUCKET, 1)}done" not in staging.names("owners/")


def test_who_could_not_learn_what_was_used_asks_nothing_and_gives_back(staging: StagingHook) -> None:
    leave_owner(staging, 1, [], [used(MOST)], done=True)
    down, paces = Unreliable("/sign-", times=10**9), Time().paces()

    with pytest.raises(RetryError, match="could not show"), own(down):
        pytest.fail("nobody knows what was used")
    with own(staging, paces=paces, patience_seconds=0):
        waits = paces.ready_at(MAILBOX, 0) - 1000

    assert waits >= REQUESTS_SECONDS
