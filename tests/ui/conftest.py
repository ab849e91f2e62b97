"""One API server for the tests of a file, and an archive of its own for each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from o2_connector.hooks.staging import StagingHook
from tests.ui.history import forget_runs
from tests.ui.server import api_server


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    with api_server(tmp_path_factory.mktemp("api-server")) as app:
        yield app


@pytest.fixture
def archive(airflow: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StagingHook]:
    """Give the staging of an archive that has no past yet."""
    from o2_connector.ui.archive import open_archive

    connection = {"conn_type": "fs", "extra": {"path": str(tmp_path / "staging")}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(connection))
    forget_runs()
    open_archive.cache_clear()
    yield StagingHook()
    open_archive.cache_clear()
