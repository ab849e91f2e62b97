"""What a person may choose about a demo."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parent.parent


class OptionError(Exception):
    """Say which option cannot be, and what could."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Describe the day to archive.

    :param day: the calendar day in ``zone`` whose captures are archived.
    :param corpus: a file of texts to use in place of generated ones.
    :param quiet: days on which nothing was captured.
    """

    items: int
    users: int
    seed: int
    zone: ZoneInfo
    day: date
    corpus: Path | None = None
    quiet: tuple[date, ...] = ()

    @property
    def window(self) -> tuple[datetime, datetime]:
        """Give the day's first instant and the next day's, in UTC; 23, 24 or 25 hours apart."""
        start = datetime.combine(self.day, time(), self.zone)
        end = datetime.combine(self.day + timedelta(days=1), time(), self.zone)
        return start.astimezone(UTC), end.astimezone(UTC)


def count_lines(file: Path) -> int:
    """Count the texts of a corpus, plain or gzip."""
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def settle(
    *, items: int, users: int, seed: int, zone: str, day: str | None, corpus: str | None, now: datetime
) -> Options:
    """Check what was asked for and fill in what was not.

    :param day: ``YYYY-MM-DD``; without it, the last complete day in ``zone`` at ``now``.
    """
    try:
        place = ZoneInfo(zone)
    except (KeyError, ValueError) as error:
        raise OptionError(f"ZONE={zone} is no time zone. One like Europe/London is needed.") from error
    yesterday = now.astimezone(place).date() - timedelta(days=1)
    try:
        chosen = date.fromisoformat(day) if day else yesterday
    except ValueError as error:
        raise OptionError(f"DAY={day} is no date. One like {yesterday} is needed.") from error
    if chosen > yesterday:
        raise OptionError(f"DAY={day} is not over yet in {zone}: the last complete day is {yesterday}.")
    if items < 0 or users < 1:
        raise OptionError(f"ITEMS={items} USERS={users}: a day has no less than 0 items, and an organisation 1 user.")
    file = Path(corpus).resolve() if corpus else None
    if file:
        if not file.is_file():
            raise OptionError(f"CORPUS={corpus} is no file.")
        items = count_lines(file)
    return Options(items=items, users=users, seed=seed, zone=place, day=chosen, corpus=file)
