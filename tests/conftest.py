"""Set Airflow up before anything imports it: a home of its own, no examples, this checkout's DAGs and plugins."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_HOME = tempfile.mkdtemp(prefix="o2-tests-")

os.environ.update(
    AIRFLOW_HOME=_HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME}/airflow.db",
    O2_TIMEZONE="Europe/London",
    O2_ALERT_EMAIL="oncall@example.com",
)
for name in ("O2_MAPPINGS", "O2_REGION", "O2_DEADLINE_HOURS", "REQUESTS_CA_BUNDLE"):
    os.environ.pop(name, None)
for folder in (str(ROOT), str(ROOT / "plugins")):
    if folder not in sys.path:
        sys.path.insert(0, folder)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run take a mapping file for whole that a test has only just written."""
    monkeypatch.setattr("o2_connector.engine.mapping_folder.SETTLED_SECONDS", 0.0)
    return


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no core waits for it in the end."""
    items.sort(key=lambda item: item.get_closest_marker("scheduler") is None)
