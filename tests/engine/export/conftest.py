"""The day, archived once, and exported in each format."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from o2_connector.core.outcomes import Cause
from o2_connector.engine.export.window import FORMATS
from tests.engine.evidence import Evidence, attached, evidence_in
from tests.engine.export.exports import GONE, LINES, PICTURE, RECORDING, Export, connect, exported


@pytest.fixture(scope="package")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Archive the day; the tests that share it change nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for evidence in evidence_in(tmp_path_factory.mktemp("archived"), monkeypatch):
            evidence.megabytes = 1
            (gone,) = attached(GONE)
            missing = {(gone["attachmentId"], gone["sha256"], gone["byteCount"]): Cause.ATTACHMENT_GONE}
            evidence.archive(LINES, files=[PICTURE, RECORDING], missing=missing, batch=4)
    return evidence  # and what was patched for it is as it was: tests of other rooms run before this one's last


@pytest.fixture(scope="package", params=FORMATS)
def export(archived: Evidence, request: pytest.FixtureRequest) -> Export:
    """Export the day in each format."""
    return exported(archived, request.param, f"export-{request.param}")


@pytest.fixture(autouse=True)
def connected(archived: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point Airflow's connection at the day, for as long as a test takes."""
    connect(archived, monkeypatch)


@pytest.fixture
def evidence(connected: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evidence]:
    """Give an archive of its own, with nothing in it."""
    yield from evidence_in(tmp_path, monkeypatch)


@pytest.fixture
def copy(archived: Evidence, evidence: Evidence) -> Evidence:
    """Lend a copy of the day, of which anything may be changed."""
    shutil.copytree(archived.root, evidence.root)
    return evidence
