"""A day with all that there can be in it, and what its exports hold."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from o2_connector.engine.export.manifest import WindowLine
from o2_connector.engine.export.window import export_window
from tests.engine.evidence import Evidence, attached, lines_of, record
from tests.engine.small import DAY

PICTURE, RECORDING = b"\x89PNG picture", b"x" * (2 << 20)
GONE = b"bytes that TeleMessage keeps no longer"
EDITED, DELETED = ({"itemId": "o2-1", "action": action} for action in ("EDIT", "DELETE"))
LINES = [
    record("o2-1"),
    record("o2-2", itemType="MMS", attachments=attached(PICTURE)),
    record("o2-3", itemType="MMS", attachments=attached(RECORDING, name="r.amr", kind="audio/amr")),
    record("o2-4", itemType="MMS", attachments=attached(GONE)),
    record("o2-parked", to=[{"phone": "+447700900999"}]),
    record("o2-rejected", direction="SIDEWAYS"),
    record("o2-1"),
    record("o2-1", text="Another text under the same id."),
    record("o2-edit", text="See you at nine.", relatesTo=EDITED),
    record("o2-gone", text=None, relatesTo=DELETED),
]
"""A day with all that there can be in it."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Hold an export.

    :param told: the manifest's first line, as it was returned.
    """

    form: str
    told: WindowLine
    target: Path


def exported(evidence: Evidence, form: str, name: str = "export") -> Export:
    """Export the day."""
    target = evidence.folder / name
    with pytest.MonkeyPatch.context() as monkeypatch:
        connect(evidence, monkeypatch)
        return Export(form=form, told=export_window(evidence.staging, DAY, target, form), target=target)


def connect(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point Airflow's connection at an archive's staging."""
    connection = {"conn_type": "fs", "extra": {"path": str(evidence.root)}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(connection))


def items_of(target: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest's lines of items, the first of each id."""
    found: dict[str, dict[str, Any]] = {}
    for line in of_kind(target, "item"):
        found.setdefault(line["item_id"], line)
    return found


def of_kind(target: Path, kind: str) -> list[dict[str, Any]]:
    """Return the manifest's lines of a kind."""
    return [line for line in lines_of(target / "manifest.jsonl") if line["kind"] == kind]


def files_of(target: Path) -> dict[str, bytes]:
    """Return the content of every file."""
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def checked(target: Path) -> subprocess.CompletedProcess[str]:
    """Check the sums as whoever has the export does."""
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    return subprocess.run(command, cwd=target, capture_output=True, text=True)
