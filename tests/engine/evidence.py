"""Evidence: a small archive of real records, from what was captured to the closed book; without anybody outside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from o2_connector.core.conversion import Missing
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.items import File, captured
from o2_connector.core.layout import attachment_stem, export_stem, raw_stem, run_stem
from o2_connector.core.manifest import ConvertedBatch, Decision, Frozen, StagedBatch, StagedObject
from o2_connector.core.outcomes import Cause
from o2_connector.core.report import report_csv, report_json
from o2_connector.core.window import Window
from o2_connector.engine.chain import Closed, close, staged_names
from o2_connector.engine.conversion import convert
from o2_connector.engine.mapping_step import map_window
from o2_connector.engine.report import window_report
from tests.core.people import ZONE
from tests.core.records import line
from tests.engine.small import DAY, Small, opened

ALEX, KIM = "+447700900123", "07700 900456"
AT = "2026-11-20T09:30:15.250Z"


def record(item_id: str = "o2-1", **changes: Any) -> bytes:
    """Return a text that Alex got from Kim, or something else."""
    return line(**{"itemId": item_id, "sentAt": AT, "archivedAt": AT, **changes})


def attached(*files: bytes, name: str = "a.png", kind: str = "image/png") -> list[dict[str, Any]]:
    """Describe attachments."""
    return [
        {
            "attachmentId": f"a-{number}",
            "fileName": name,
            "contentType": kind,
            "byteCount": len(file),
            "sha256": hashlib.sha256(file).hexdigest(),
        }
        for number, file in enumerate(files)
    ]


@dataclass(kw_only=True)
class Evidence(Small):
    """Archive records.

    :param megabytes: the tenant's limit of a message.
    """

    megabytes: int = 35

    def archive(self, lines: Sequence[bytes], window: Window = DAY, *, run: str = "run", **options: Any) -> Decision:
        """Run a window: everything, but for TeleMessage and Graph."""
        batches, converted, decision = self.decide(lines, window, run=run, **options)
        dry_run = options.get("dry_run", False)
        if not dry_run:
            self.deliver(decision)
        self.close(window, run, batches, converted, decision, dry_run=dry_run)
        return decision

    def decide(
        self,
        lines: Sequence[bytes],
        window: Window = DAY,
        *,
        run: str = "run",
        files: Sequence[bytes] = (),
        missing: Mapping[File, Cause] = MappingProxyType({}),
        batch: int = 100,
        dry_run: bool = False,
    ) -> tuple[list[StagedBatch], list[ConvertedBatch], Decision]:
        """Run a window until its deliveries are decided on.

        :param files: attachments that are staged.
        :param missing: attachments that could not be had.
        :param batch: lines in a batch.
        """
        for file in files:
            self.put(attachment_stem(hashlib.sha256(file).hexdigest()), "", file)
        batches = [
            self.stage(lines[start : start + batch], f"b{start // batch}", window, missing)
            for start in range(0, len(lines), batch)
        ]
        converted = [self.convert(each, window) for each in batches]
        asked = self._asked(run, dry_run)
        return batches, converted, map_window(self.staging, self.rules(), window, converted, asked, silent_days=1)

    def stage(
        self,
        lines: Sequence[bytes],
        batch_id: str = "b0",
        window: Window = DAY,
        missing: Mapping[File, Cause] = MappingProxyType({}),
    ) -> StagedBatch:
        """Stage a batch as it came."""
        stem = raw_stem(window, batch_id)
        named = {file for each in lines for file in _files(each)}
        here = [Missing(file=file, cause=cause) for file, cause in missing.items() if file in named]
        return StagedBatch(
            batch_id=batch_id,
            items=len(lines),
            promised=len(lines),
            raw=self.put(stem, ".jsonl", b"".join(lines)),
            missing=self.staging.write_lines(f"{stem}missing.", here) if here else None,
        )

    def convert(self, batch: StagedBatch, window: Window = DAY) -> ConvertedBatch:
        """Convert a batch."""
        return convert(self.staging, window, batch, Profile(region="GB", message_megabytes=self.megabytes))

    def close(
        self,
        window: Window,
        run: str,
        batches: Sequence[StagedBatch],
        converted: Sequence[ConvertedBatch],
        decision: Decision,
        *,
        dry_run: bool = False,
        promised: int | None = None,
    ) -> None:
        """Close the book."""
        book = self.reconcile(decision)
        items = sum(each.items for each in batches) if promised is None else promised
        frozen = Frozen(window=window, export=self.put(export_stem(window), ".json", b"{}"), items=items)
        report = window_report(
            self.staging,
            frozen,
            staged=batches,
            converted=converted,
            decision=decision,
            book=book,
            run_id=run,
            dry_run=dry_run,
            at=self.at,
        )
        stem = f"{run_stem(window, run)}report."
        closed = Closed(
            report=report,
            started_at=self.at,
            json=self.put(stem, ".json", report_json(report)),
            csv=self.put(stem, ".csv", report_csv(report, ZONE)),
        )
        close(self.staging, closed, staged_names(frozen.export, batches, converted, decision))

    def put(self, stem: str, suffix: str, content: bytes) -> StagedObject:
        """Stage an object."""
        with self.staging.writer(stem, suffix) as out:
            out.write(content)
        return out.staged

    def spoil(self, part: str) -> str:
        """Change a byte of the object whose name has a part; return the name."""
        path = next(each for each in sorted(self.root.rglob("*")) if each.is_file() and part in str(each))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)
        return path.relative_to(self.root).as_posix()

    @property
    def root(self) -> Path:
        """Return where staging is."""
        return self.folder / "staging"


def evidence_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evidence]:
    """Open an archive in a folder; Alex has a mailbox."""
    evidence = Evidence(folder=folder, rows=[f"{ALEX},alex@example.com"], users={"alex@example.com": "mailbox-of-alex"})
    for _ in opened(folder, monkeypatch, evidence):
        yield evidence


def _files(each: bytes) -> list[File]:
    return [file.file for file in captured(each).item.attachments] if b"attachments" in each else []


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines."""
    return [json.loads(each) for each in path.read_bytes().splitlines()]
