"""Standing: how the archive stands, by its chain, by Airflow's runs and by how the organisation archives."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from zoneinfo import ZoneInfo

from o2_connector.core.overview import Overview, Run, overview
from o2_connector.core.settings import Settings
from o2_connector.engine.chain import Chain


def as_it_stands(chain: Chain, runs: Iterable[Run], settings: Settings, at: datetime) -> Overview:
    """Read the links that were added since, and say how everything stands.

    :param runs: what Airflow knows of the DAG that archives; nothing where it is not asked.
    :param at: the time.
    """
    return overview(
        chain.refresh().values(),
        runs,
        zone=ZoneInfo(settings.timezone),
        first_day=date.fromisoformat(settings.first_day) if settings.first_day else None,
        now=at,
        deadline=settings.deadline,
    )
