"""Windows: the half-open span of capture time that a run archives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from o2_connector.core.errors import StopError

LONGEST = timedelta(days=31)  # TeleMessage freezes no longer window

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
        return cls(start=start, end=end)

    def overlaps(self, other: Window) -> bool:
        """Tell whether an item can be in both."""
        return self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M:%S} to {self.end:%Y-%m-%d %H:%M:%S} UTC"


def settle_window(
    *,
    asked_start: str | None,
    asked_end: str | None,
    interval_start: datetime | None,
    interval_end: datetime | None,
    run_type: str,
    run_after: datetime,
    zone: ZoneInfo,
) -> Window:
    """Settle which window a run archives, whatever started it.

    1. A window asked for in the trigger form wins, both ends or neither; a backfill must not ask for one, or all of
       its days would be the same day.
    2. A scheduled or backfilled run has its data interval.
    3. Any other run gets the last complete day before ``run_after``. A manual run's own data interval is never used:
       the UI and the REST API infer the interval *before* the logical date, the CLI one before *now* whatever the
       logical date says, and a run without logical date has none (measured on Airflow 3.3.2).

    An asked end without an offset is local time in ``zone``.

    :raises StopError: when what was asked is no window.
    """
    if asked_start or asked_end:
        if run_type == "backfill":
            raise StopError(
                "A backfill takes its windows from its dates: create it without window_start and window_end in its"
                " configuration, or trigger a single run for that window."
            )
        if not (asked_start and asked_end):
            raise StopError("Give both window_start and window_end, or neither for the last complete day.")
        start, end = _instant("window_start", asked_start, zone), _instant("window_end", asked_end, zone)
        if start >= end:
            raise StopError("window_start must be before window_end: swap them or widen the window.")
        if end - start > LONGEST:
            raise StopError("The window is longer than 31 days: use a backfill, which archives day by day.")
        return Window(start=start, end=end)
    if run_type != "manual" and interval_start and interval_end and interval_start < interval_end:
        return Window(start=_utc(interval_start), end=_utc(interval_end))
    return last_complete_day(run_after, zone)


def last_complete_day(moment: datetime, zone: ZoneInfo) -> Window:
    """Return the last day that is over at ``moment`` in ``zone``; 23 or 25 hours where the clocks change."""
    midnight = moment.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    yesterday = midnight - timedelta(days=1)  # wall-clock arithmetic, on purpose
    return Window(start=_utc(yesterday), end=_utc(midnight))


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
