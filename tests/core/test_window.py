"""Whatever starts a run, its window is settled by one rule, and days adjoin."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core.errors import StopError
from o2_connector.core.window import Asked, Window, last_complete_day, settle_window

LONDON = ZoneInfo("Europe/London")
# Some change their clocks at midnight, some by half an hour, one skipped a day.
ZONES = [
    *("Europe/London", "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "Africa/Cairo", "Australia/Lord_Howe"),
    *("America/Asuncion", "Asia/Kathmandu", "Pacific/Apia", "UTC"),
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def settle(
    run_type: str = "manual",
    *,
    asked: tuple[str | None, str | None] = (None, None),
    day: str | None = None,
    **changes: object,
) -> Window:
    given = {
        "interval_start": at("2026-11-20T00:00"),
        "interval_end": at("2026-11-21T00:00"),
        "run_after": at("2026-11-22T07:30"),
        "zone": LONDON,
        **changes,
    }
    form = Asked(day=day, start=asked[0], end=asked[1])
    return settle_window(asked=form, run_type=run_type, **given)  # type: ignore[arg-type]


INTERVAL = Window(start=at("2026-11-20T00:00"), end=at("2026-11-21T00:00"))
YESTERDAY = Window(start=at("2026-11-21T00:00"), end=at("2026-11-22T00:00"))
ASKED = Window(start=at("2026-11-01T00:00"), end=at("2026-11-03T00:00"))


@pytest.mark.parametrize(
    ("run_type", "asked", "interval", "window"),
    [
        ("scheduled", False, True, INTERVAL),
        ("backfill", False, True, INTERVAL),
        ("asset_triggered", False, True, INTERVAL),
        ("asset_triggered", False, False, YESTERDAY),
        (
            "manual",
            False,
            True,
            YESTERDAY,
        ),  # UI and REST infer the interval before the logical date, the CLI before now
        ("manual", False, False, YESTERDAY),
        ("manual", True, True, ASKED),
        ("manual", True, False, ASKED),
        ("scheduled", True, True, ASKED),
    ],
)
def test_every_kind_of_run_has_its_window(run_type: str, asked: bool, interval: bool, window: Window) -> None:
    form = ("2026-11-01T00:00:00+00:00", "2026-11-03T00:00:00Z") if asked else (None, None)
    bounds = {} if interval else {"interval_start": None, "interval_end": None}

    assert settle(run_type, asked=form, **bounds) == window


@pytest.mark.parametrize(("day", "asked"), [("2026-11-20", (None, None)), (None, ("2026-11-20", "2026-11-21"))])
def test_a_backfill_may_run_again_what_asked_for_its_own_day(
    day: str | None, asked: tuple[str | None, str | None]
) -> None:
    assert settle("backfill", day=day, asked=asked) == INTERVAL


def test_an_interval_of_length_nought_is_none() -> None:
    assert settle("scheduled", interval_end=at("2026-11-20T00:00")) == YESTERDAY


def test_an_asked_time_without_offset_is_local() -> None:
    assert settle(asked=("2026-07-01T00:00", "2026-07-02")).start == at("2026-06-30T23:00")


def test_an_asked_window_is_told_in_whole_seconds_utc() -> None:
    window = settle(asked=("2026-11-01T01:00:00.000+01:00", "2026-11-03T00:00:00Z"))

    assert window == ASKED
    assert window.name == "20261101T000000Z--20261103T000000Z"
    assert str(window) == "2026-11-01 00:00:00 to 2026-11-03 00:00:00 UTC"


@pytest.mark.parametrize(
    ("day", "start", "hours"),
    [
        ("2026-11-21", "2026-11-21T00:00", 24),
        ("2026-03-29", "2026-03-29T00:00", 23),
        ("2026-10-25", "2026-10-24T23:00", 25),
    ],
)
def test_a_day_that_is_asked_for_is_the_one_that_its_schedule_archives(day: str, start: str, hours: int) -> None:
    window = settle(day=day)

    assert window == Window(start=at(start), end=at(start) + timedelta(hours=hours))
    assert window == last_complete_day(window.end, LONDON)


def test_a_day_that_has_begun_may_be_asked_for_and_is_waited_for() -> None:
    assert settle(day="2026-11-22").start < at("2026-11-22T07:30") < settle(day="2026-11-22").end


@pytest.mark.parametrize(
    ("run_type", "day", "asked", "remedy"),
    [
        ("manual", "2026-11-21", ("2026-11-01", "2026-11-02"), "not both"),
        ("manual", "2026-11-21", ("2026-11-01", None), "not both"),
        ("manual", "21.11.2026", (None, None), "day is no date: write it like 2026-11-21"),
        ("manual", "2026-02-30", (None, None), "day is no date"),
        ("manual", "9999-12-31", (None, None), "day is no date"),
        ("manual", "0026-11-21", (None, None), "before the year 2000: correct its year"),
        ("manual", "2026-11-23", (None, None), "lies in the future"),
        ("manual", None, ("2026-11-22T07:30Z", "2026-11-22T08:00Z"), "lies in the future"),
        ("backfill", "2026-11-21", (None, None), "takes its windows from its dates"),
    ],
)
def test_a_day_that_cannot_be_archived_is_refused(
    run_type: str, day: str | None, asked: tuple[str | None, str | None], remedy: str
) -> None:
    with pytest.raises(StopError, match=remedy):
        settle(run_type, day=day, asked=asked)


def test_a_month_may_be_asked_for() -> None:
    assert settle(asked=("2026-10-01T00:00Z", "2026-11-01T00:00Z")).end == at("2026-11-01T00:00")


@pytest.mark.parametrize(
    ("run_type", "asked", "remedy"),
    [
        ("manual", ("2026-11-01", None), "both window_start and window_end"),
        ("manual", (None, "2026-11-01"), "both window_start and window_end"),
        ("manual", ("2026-11-02", "2026-11-01"), "swap them"),
        ("manual", ("2026-11-01", "2026-11-01"), "swap them"),
        ("manual", ("2026-11-01T00:00:00.1", "2026-11-02"), "window_start has a fraction"),
        ("manual", ("2026-11-01", "2026-11-01T23:59:59.999Z"), "window_end has a fraction"),
        ("manual", ("2026-10-01T00:00Z", "2026-11-01T00:00:01Z"), "longer than 31 days"),
        ("manual", ("yesterday", "2026-11-01"), "window_start is no date and time"),
        ("manual", ("2026-11-01", "2026-13-01"), "window_end is no date and time"),
        ("manual", ("0001-01-01T00:00+01:00", "2026-11-01"), "window_start is no date and time"),
        ("manual", ("2026-11-01", "9999-12-31T23:59-01:00"), "window_end is no date and time"),
        ("backfill", ("2026-11-01", "2026-11-02"), "takes its windows from its dates"),
        ("backfill", ("2026-11-01", None), "takes its windows from its dates"),
    ],
)
def test_what_is_no_window_stops_with_the_remedy(
    run_type: str, asked: tuple[str | None, str | None], remedy: str
) -> None:
    with pytest.raises(StopError, match=remedy):
        settle(run_type, asked=asked)


@pytest.mark.parametrize(
    ("moment", "start", "end", "hours"),
    [
        ("2026-03-30T08:00", "2026-03-29T00:00", "2026-03-29T23:00", 23),
        ("2026-10-26T08:00", "2026-10-24T23:00", "2026-10-26T00:00", 25),
        ("2026-07-02T08:00", "2026-06-30T23:00", "2026-07-01T23:00", 24),
        ("2026-11-22T00:00", "2026-11-21T00:00", "2026-11-22T00:00", 24),
        ("2026-11-21T23:59:59", "2026-11-20T00:00", "2026-11-21T00:00", 24),
        ("2026-07-01T23:00", "2026-06-30T23:00", "2026-07-01T23:00", 24),
    ],
)
def test_a_day_in_london_is_as_long_as_its_clocks_say(moment: str, start: str, end: str, hours: int) -> None:
    window = last_complete_day(at(moment), LONDON)

    assert window == Window(start=at(start), end=at(end))
    assert window.end - window.start == timedelta(hours=hours)


moments = st.datetimes(datetime(2005, 1, 3), datetime(2037, 12, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments, st.sampled_from(ZONES))
def test_the_last_complete_day_is_over_and_the_next_is_not(moment: datetime, zone: str) -> None:
    window = last_complete_day(moment, ZoneInfo(zone))

    assert window.start < window.end <= moment
    assert moment - window.end < timedelta(hours=26)


@given(moments, st.sampled_from([zone for zone in ZONES if zone != "Pacific/Apia"]))
def test_days_adjoin(moment: datetime, zone: str) -> None:
    first = last_complete_day(moment, ZoneInfo(zone))

    # Two days on is never the same day, whatever the clocks do; an hour later each step of the way.
    days = [last_complete_day(moment + timedelta(hours=hour), ZoneInfo(zone)) for hour in range(49)]

    distinct = list(dict.fromkeys([first, *days]))
    assert all(later.start == earlier.end for earlier, later in itertools.pairwise(distinct))
    assert len(distinct) >= 2


def test_names_of_windows_sort_by_time() -> None:
    windows = [last_complete_day(at("2026-01-01T12:00") + timedelta(days=day), LONDON) for day in range(400)]

    assert sorted(window.name for window in windows) == [window.name for window in windows]


@given(moments, st.sampled_from(ZONES))
def test_a_window_is_known_by_its_name(moment: datetime, zone: str) -> None:
    window = last_complete_day(moment, ZoneInfo(zone))

    assert Window.named(window.name) == window


@pytest.mark.parametrize(
    "name",
    [
        *("", "20261121T000000Z", "20261121T000000Z--20261122", "raw", "a--b--c", "export"),
        *("20261121T000000Z--20261121T000000Z", "20261122T000000Z--20261121T000000Z"),
        "2026112T000000Z--20261121T000000Z",
    ],
)
def test_what_names_no_window_is_none(name: str) -> None:
    assert Window.named(name) is None


@pytest.mark.parametrize(
    ("start", "end", "overlaps"),
    [
        ("2026-11-20T00:00", "2026-11-21T00:00", False),
        ("2026-11-20T00:00", "2026-11-21T00:01", True),
        ("2026-11-21T10:00", "2026-11-21T11:00", True),
        ("2026-11-20T00:00", "2026-11-23T00:00", True),
        ("2026-11-21T23:59", "2026-11-22T23:59", True),
        ("2026-11-22T00:00", "2026-11-23T00:00", False),
    ],
)
def test_windows_overlap_when_an_item_can_be_in_both(start: str, end: str, overlaps: bool) -> None:
    other = Window(start=at(start), end=at(end))

    assert (YESTERDAY.overlaps(other), other.overlaps(YESTERDAY)) == (overlaps, overlaps)
