"""Archive: what the page goes by, kept for as long as the API server's process lives."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from o2_connector.core.overview import Overview, Run
from o2_connector.core.settings import Settings, read_settings
from o2_connector.engine.chain import Chain
from o2_connector.engine.standing import as_it_stands
from o2_connector.hooks.airflow_runs import ARCHIVE, last_change, runs
from o2_connector.hooks.staging import StagingHook

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """Hold how the organisation archives, and the books that were read: they never change.

    :param kept: what was made of all of it, by what it was made from.
    """

    settings: Settings
    chain: Chain
    kept: dict[Mark, bytes] = field(default_factory=dict)

    @property
    def staging(self) -> StagingHook:
        """Return where everything lies."""
        return self.chain.staging

    @property
    def zone(self) -> ZoneInfo:
        """Return the zone whose days are archived."""
        return ZoneInfo(self.settings.timezone)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Tell whether anything has changed.

    :param books: how many there are, and the last one's digest.
    :param runs: how many there are, and when one changed last.
    :param day: days become due.
    """

    books: tuple[int, str | None]
    altered: tuple[str, ...]
    runs: tuple[int, datetime | None]
    day: date


@dataclass(frozen=True, kw_only=True, slots=True)
class Now:
    """Hold the archive as it stands.

    :param runs: the archiving DAG's, the oldest first.
    """

    at: datetime
    runs: list[Run]
    overview: Overview


@cache
def open_archive() -> Archive:
    """Open the archive once."""
    return Archive(settings=read_settings(os.environ, mappings=""), chain=Chain(staging=StagingHook()))


def look(archive: Archive, session: Session) -> Now:
    """Say how the archive stands."""
    at, known = datetime.now(UTC), runs(session, ARCHIVE, archive.zone)
    return Now(at=at, runs=known, overview=as_it_stands(archive.chain, known, archive.settings, at))


def mark(archive: Archive, session: Session) -> Mark:
    """Read what was added since, and return what the archive stands at: that costs little."""
    links = archive.chain.refresh()
    return Mark(
        books=(len(links), next(reversed(links), None)),
        altered=archive.chain.altered,
        runs=last_change(session, ARCHIVE),
        day=datetime.now(archive.zone).date(),
    )
