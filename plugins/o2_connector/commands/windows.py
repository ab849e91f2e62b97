"""Windows: how they are asked for on a command line, and called there."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from o2_connector.core.errors import StopError
from o2_connector.core.window import Window, day_window

WHAT = (
    "a day (2026-11-21, in O2_TIMEZONE), days (2026-11-01..2026-11-21, both included), or a window's name in staging"
    " (20261121T000000Z--20261122T000000Z)"
)
"""What may be asked for."""


def span_of(text: str, zone: ZoneInfo) -> Window:
    """Return the span of time that was asked for.

    :raises StopError: when it is none.
    """
    if window := Window.named(text):
        return window
    first, days, last = text.partition("..")
    try:
        begin, end = date.fromisoformat(first), date.fromisoformat(last if days else first)
        span = Window(start=day_window(begin, zone).start, end=day_window(end, zone).end)
    except (ValueError, OverflowError):
        raise StopError(
            f"{text!r} is no window: write a day like 2026-11-21, days like 2026-11-01..2026-11-21, or a window's name"
            " in staging like 20261121T000000Z--20261122T000000Z"
        ) from None
    if begin > end:
        raise StopError(f"{text!r} ends before it begins: turn the days round")
    return span


def named(window: Window, zone: ZoneInfo) -> str:
    """Return a day's date; of any other window when it begins and ends."""
    start, end = window.start.astimezone(zone), window.end.astimezone(zone)
    if day_window(start.date(), zone) == window:
        return f"{start:%Y-%m-%d}"
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
