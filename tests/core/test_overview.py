from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core.chain import Link
from o2_connector.core.overview import DayCell, Overview, Run, State, overview
from o2_connector.core.report import Counts
from o2_connector.core.window import Window, day_window
from tests.core.test_chain import link

LONDON = ZoneInfo("Europe/London")
FIRST = date(2026, 11, 16)
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
DEADLINE = timedelta(hours=6)


def day(number: int) -> Window:
    return day_window(FIRST + timedelta(days=number), LONDON)


def book(window: Window, number: int = 1, **more: Any) -> Link:
    counts = {"available_from_source": 10, "imported": 10} | more.pop("counts", {})
    began = window.end + timedelta(hours=1)
    times = {"started_at": began, "completed_at": began + timedelta(minutes=5)}
    return link(number, **({"window": window, "counts": Counts(**counts)} | times | more))


def run(window: Window, state: str = "success", *, hours: float = 0.5, again: int = 0, **more: Any) -> Run:
    queued = window.end + timedelta(hours=1, days=again)
    ended = None if state in ("queued", "running") else queued + timedelta(hours=hours)
    return Run(
        run_id=f"run-{again}", window=window, state=state, queued_at=queued, started_at=queued, ended_at=ended, **more
    )


def seen(links: Sequence[Link] = (), runs: Sequence[Run] = (), **more: Any) -> Overview:
    settings: dict[str, Any] = {"zone": LONDON, "first_day": FIRST, "now": NOW, "deadline": DEADLINE}
    return overview(links, runs, **(settings | more))


def state_of(window: Window, links: Sequence[Link] = (), runs: Sequence[Run] = ()) -> State:
    return next(row.state for row in seen(links, runs).rows if row.window == window)


def cell(found: Overview, number: int) -> DayCell:
    return found.days[number]


def test_a_window_stands_as_its_last_book_says() -> None:
    one = day(0)

    assert state_of(one, [book(one)]) is State.ARCHIVED
    assert state_of(one, [book(one, counts={"failed": 2})]) is State.WITH_FAILURES
    assert state_of(one, [book(one, balanced=False)]) is State.UNBALANCED
    assert state_of(one, [book(one, counts={"available_from_source": 0, "imported": 0})]) is State.EMPTY
    assert state_of(one, [book(one, counts={"failed": 2}), book(one, 2)]) is State.ARCHIVED
    assert state_of(one, [book(one, 2), book(one, counts={"failed": 2})]) is State.ARCHIVED


def test_a_run_that_is_at_work_and_one_that_failed_without_a_book_show() -> None:
    one = day(0)

    assert state_of(one, runs=[run(one, "running")]) is State.RUNNING
    assert state_of(one, [book(one)], [run(one), run(one, "queued", again=1)]) is State.RUNNING
    assert state_of(one, runs=[run(one, "failed")]) is State.FAILED


def test_a_window_that_is_archived_stays_so_when_a_later_run_fails_before_its_book() -> None:
    one = day(0)

    assert state_of(one, [book(one)], [run(one), run(one, "failed", again=1)]) is State.ARCHIVED


def test_a_dry_run_archives_nothing() -> None:
    one = day(0)

    assert state_of(one, [book(one, dry_run=True)], [run(one)]) is State.MISSING
    assert cell(seen([book(one, dry_run=True)]), 0).state is State.MISSING


def test_days_that_nobody_archived_are_gaps_and_today_is_none() -> None:
    found = seen([book(day(0)), book(day(2))])

    assert [cell.day for cell in found.days] == [FIRST + timedelta(days=number) for number in range(7)]
    assert [cell.state for cell in found.days] == [State.ARCHIVED, State.MISSING, State.ARCHIVED, *[State.MISSING] * 4]
    assert found.oldest_missing(LONDON) == day(1)
    assert [(row.window, row.state) for row in found.rows[-2:]] == [(day(1), State.MISSING), (day(0), State.ARCHIVED)]


def test_without_a_first_day_days_begin_with_the_first_that_anything_was_done_for() -> None:
    found = seen([book(day(2))], [run(day(1), "failed")], first_day=None)

    assert found.days[0] == DayCell(day=FIRST + timedelta(days=1), state=State.FAILED, windows=(day(1),))
    assert seen(first_day=None).days == ()
    assert seen(first_day=None).oldest_missing(LONDON) is None


def test_a_day_is_archived_when_windows_cover_all_of_it_and_shows_the_worst_of_them() -> None:
    noon = day(0).start + timedelta(hours=12)
    morning, afternoon = Window(start=day(0).start, end=noon), Window(start=noon, end=day(0).end)

    assert cell(seen([book(morning)]), 0).state is State.MISSING
    assert cell(seen([book(morning), book(afternoon)]), 0).state is State.ARCHIVED
    assert cell(seen([book(morning), book(afternoon, counts={"failed": 1})]), 0).state is State.WITH_FAILURES
    empty = book(afternoon, counts={"available_from_source": 0, "imported": 0})
    assert cell(seen([book(morning), empty]), 0).state is State.ARCHIVED
    assert cell(seen([book(morning), empty]), 0).windows == (morning, afternoon)


def test_a_window_of_several_days_archives_each_of_them() -> None:
    week = Window(start=day(0).start, end=day(6).end)

    assert {cell.state for cell in seen([book(week)]).days} == {State.ARCHIVED}
    assert seen([book(week)]).oldest_missing(LONDON) is None


def test_a_day_has_the_hours_that_its_clocks_give_it() -> None:
    hours = [
        (day_window(each, LONDON).end - day_window(each, LONDON).start) / timedelta(hours=1)
        for each in (date(2026, 3, 29), date(2026, 6, 1), date(2026, 10, 25))
    ]

    assert hours == [23, 24, 25]


def late(links: Sequence[Link] = (), runs: Sequence[Run] = ()) -> bool:
    return seen(links, runs).rows[-1].late


def test_a_day_is_late_when_its_first_run_took_longer_than_it_may() -> None:
    one = day(0)

    assert not late(runs=[run(one, hours=5.9)])
    assert late(runs=[run(one, hours=6.1)])
    assert seen(runs=[run(day(6), "running")]).rows[0].late
    assert not seen(runs=[run(day(6), "running")], now=NOW - timedelta(hours=3)).rows[0].late
    assert not late(runs=[run(one, hours=1), run(one, hours=50, again=1)])


def test_a_late_day_is_known_from_its_book_when_airflow_forgot_its_run() -> None:
    one = day(0)
    slow = book(one, completed_at=one.end + timedelta(hours=8))

    assert late([slow])
    assert late([slow, book(one, 2, started_at=one.end + timedelta(days=1), completed_at=one.end + timedelta(days=1))])
    assert not late([book(one)])


def test_a_day_of_a_backfill_waits_for_its_turn_and_is_not_late() -> None:
    one = day(0)
    waited = replace(run(one, hours=20), run_id="backfill__2026-11-01T00:00:00+00:00")
    book_alone = book(one, run_id=waited.run_id, completed_at=one.end + timedelta(hours=20))

    assert not late(runs=[waited])
    assert not late([book_alone])


def test_replays_are_no_windows() -> None:
    first, second = book(day(0), replay=True), book(day(3), 2, replay=True)

    found = seen([first, second])

    assert {row.state for row in found.rows} == {State.MISSING}
    assert found.replays == (second, first)


def test_rows_are_newest_first_and_hold_their_books_and_their_last_run() -> None:
    again = run(day(0), again=2)
    links = [book(day(0)), book(day(0), 2), book(day(1), 3)]
    found = seen(links, [run(day(0)), again], now=day(1).end + timedelta(hours=1))

    assert [row.window for row in found.rows] == [day(1), day(0)]
    assert (found.rows[1].books, found.rows[1].run) == (2, again)
    assert found.rows[1].counts.imported == 10


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from(["book", "failures", "failed", "running", "dry"])), max_size=20
    )
)
def test_no_day_that_lacks_something_passes_for_archived(done: list[tuple[int, str]]) -> None:
    links = [
        book(day(number), place, counts={"failed": int(what == "failures")}, dry_run=what == "dry")
        for place, (number, what) in enumerate(done)
        if what in ("book", "failures", "dry")
    ]
    runs = [run(day(number), what) for number, what in done if what in ("failed", "running")]

    found = seen(links, runs)

    for number, each in enumerate(found.days):
        books = [what for place, what in done if place == number and what in ("book", "failures")]
        working = (number, "running") in done
        assert each.state.is_over == (books[-1:] == ["book"] and not working)
    gaps = [each.day for each in found.days if not each.state.is_over]
    oldest = found.oldest_missing(LONDON)
    assert (oldest and oldest.start) == (day_window(gaps[0], LONDON).start if gaps else None)
