"""Windows: the half-open span of capture time that a run archives."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from o2_connector.core.errors import StopError

LONGEST = timedelta(days=31)  # TeleMessage freezes no longer window

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Nothing was captured before: such a window is a mistyped year, and a book of it would make every day since a gap."""

_INSTANT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Window:
    """Span ``start <= archivedAt < end``, both in UTC, whole seconds."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """Return the window's name in staging; names sort by time."""
        return f"{self.start:{_INSTANT}}--{self.end:{_INSTANT}}"

    @classmethod
    def named(cls, name: str) -> Window | None:
        """Return the window of this name, or None where it is no window's."""
        try:
            start, end = (datetime.strptime(each, _INSTANT).replace(tzinfo=UTC) for each in name.split("--"))
        except ValueError:
            return None
        window = cls(start=start, end=end)
        return window if window.name == name and start < end else None  # strptime also takes fewer digits

    def overlaps(self, other: Window) -> bool:
        """Tell whether an item can be in both."""
        return self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M:%S} to {self.end:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Hold what the trigger form asks for: a day, or a span, or neither.

    :param day: a date, like ``2026-11-21``.
    :param start: a date and time; without an offset it is local time, as ``end``.
    """

    day: str | None = None
    start: str | None = None
    end: str | None = None

    def __bool__(self) -> bool:
        return bool(self.day or self.start or self.end)


def settle_window(
    *,
    asked: Asked,
    interval_start: datetime | None,
    interval_end: datetime | None,
    run_type: str,
    run_after: datetime,
    zone: ZoneInfo,
) -> Window:
    """Settle which window a run archives, whatever started it.

    1. What the trigger form asks for wins, where it is over; a backfill must not ask, or all of its days would be the
       same day. A run that asked for the day of its own dates may be run again by one: it keeps its configuration.
    2. A scheduled or backfilled run has its data interval.
    3. Any other run gets the last complete day before ``run_after``. A manual run's own data interval is never used:
       the UI and the REST API infer the interval *before* the logical date, the CLI one before *now* whatever the
       logical date says, and a run without logical date has none (measured on Airflow 3.3.2).

    :raises StopError: when what was asked is no window.
    """
    if asked:
        if run_type == "backfill":
            return _own_window(asked, interval_start, interval_end, run_after, zone)
        return _asked_window(asked, run_after, zone)
    if run_type != "manual" and interval_start and interval_end and interval_start < interval_end:
        return Window(start=_utc(interval_start), end=_utc(interval_end))
    return last_complete_day(run_after, zone)


def _own_window(
    asked: Asked, start: datetime | None, end: datetime | None, run_after: datetime, zone: ZoneInfo
) -> Window:
    with suppress(StopError):
        window = _asked_window(asked, run_after, zone)
        if start and end and window == Window(start=_utc(start), end=_utc(end)):
            return window
    raise StopError(
        "A backfill takes its windows from its dates: create it without day, window_start and window_end in"
        " its configuration, or trigger a single run for that window."
    )


def _asked_window(asked: Asked, run_after: datetime, zone: ZoneInfo) -> Window:
    if asked.day:
        if asked.start or asked.end:
            raise StopError("Give a day, or window_start and window_end, not both.")
        window = _day(asked.day, zone)
    elif asked.start and asked.end:
        window = Window(start=_instant("window_start", asked.start, zone), end=_instant("window_end", asked.end, zone))
    else:
        raise StopError("Give both window_start and window_end, or a day, or nothing for the last complete day.")
    if window.start >= window.end:
        raise StopError("window_start must be before window_end: swap them or widen the window.")
    if window.end - window.start > LONGEST:
        raise StopError("The window is longer than 31 days: use a backfill, which archives day by day.")
    if window.start < EARLIEST:
        raise StopError(f"The window, {window}, lies before the year {EARLIEST:%Y}: correct its year.")
    if window.start >= run_after:
        raise StopError(f"The window, {window}, lies in the future: there is nothing to archive yet.")
    return window


def day_window(day: date, zone: ZoneInfo) -> Window:
    """Return a day, from its midnight in ``zone`` to the next; 23 or 25 hours where the clocks change."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return Window(start=_utc(midnight), end=_utc(midnight + timedelta(days=1)))  # wall-clock arithmetic, on purpose


def last_complete_day(moment: datetime, zone: ZoneInfo) -> Window:
    """Return the last day that is over at ``moment`` in ``zone``."""
    return day_window(moment.astimezone(zone).date() - timedelta(days=1), zone)


def _day(text: str, zone: ZoneInfo) -> Window:
    try:
        return day_window(date.fromisoformat(text), zone)
    except (ValueError, OverflowError):
        raise StopError("day is no date: write it like 2026-11-21.") from None


def _instant(name: str, text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        instant = _utc(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        raise StopError(f"{name} is no date and time: write it like 2026-11-21T00:00:00+00:00.") from None
    if instant.microsecond:
        # A window's name has whole seconds; cut off, the fraction would belong to no window.
        raise StopError(f"{name} has a fraction of a second: give whole seconds; windows are half open.")
    return instant


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
