"""Books of days, written by hand and closed one after the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from o2_connector.core.layout import MAPPING_STEM, REPLAYS, WINDOWS, run_stem
from o2_connector.core.manifest import StagedObject
from o2_connector.core.notices import Subject
from o2_connector.core.outcomes import Cause
from o2_connector.core.report import Counts, Coverage, Detail, Report, Silent, report_json
from o2_connector.core.window import Window, day_window
from o2_connector.engine.chain import Closed, close
from o2_connector.engine.notices import news_of, read_book
from o2_connector.hooks.staging import StagingHook

LONDON = ZoneInfo("Europe/London")
FRIDAY = date(2026, 11, 20)
HEAD = "number,mailbox,valid_from,valid_to,file,line\n"


@dataclass(kw_only=True)
class Books:
    """Close books, and ask of each what there is to tell.

    :param reports: theirs, in staging.
    """

    staging: StagingHook
    folder: Path
    runs: int = 0
    reports: list[StagedObject] = field(default_factory=list)

    def close(
        self,
        day: date = FRIDAY,
        *,
        items: int = 10,
        parked: Sequence[str] = (),
        silent: Sequence[tuple[str, str]] | None = None,
        rows: Sequence[tuple[str, str]] = (),
        hours: int = 0,
        after: timedelta = timedelta(hours=1),
        dry_run: bool = False,
        replay: bool = False,
        failed: int = 0,
    ) -> list[str]:
        """Close a book, and return the subjects of what there is to tell.

        :param parked: ids of the items that are.
        :param silent: place and number of each number that is; the mapping has these rows.
        :param rows: the mapping's others.
        :param hours: a window of so many hours in place of the day.
        :param after: how long after the window's end it is closed.
        """
        self.runs += 1
        window = day_window(day, LONDON)
        if hours:
            window = Window(start=window.start, end=window.start + timedelta(hours=hours))
        at = window.end + after
        report = Report(
            window=window,
            run_id=f"run-{self.runs}",
            completed_at=at,
            dry_run=dry_run,
            counts=Counts(
                available_from_source=items,
                staged=items,
                converted=items,
                decided=items,
                parked=len(parked),
                items_with_deliveries=items - len(parked),
                available_for_import=failed,
                failed=failed,
            ),
            details=tuple(
                Detail(item_id=each, outcome="parked", cause=Cause.NO_ADDRESS, since=int(at.timestamp() * 1000))
                for each in parked
            ),
            mapping_sha256=self._mapping([*(silent or ()), *rows]) if items else None,
            coverage=Coverage(
                known=0,
                with_items=0,
                silent_days=7,
                silent=None
                if silent is None
                else tuple(Silent(place=place, number=f"…{number[-3:]}") for place, number in silent),
                unknown=(),
            )
            if items
            else None,
            replay=replay,
        )
        stem = run_stem(window, report.run_id, REPLAYS if replay else WINDOWS)
        book = self._write(f"{stem}report.", ".json", report_json(report))
        self.reports.append(book)
        log = self._write(f"{stem}report.", ".csv", b"")
        link = close(self.staging, Closed(report=report, started_at=at, json=book, csv=log), [])
        about = Subject(window=None if replay else window, zone=LONDON, on=at, replay=replay)
        return [notice.subject for notice in news_of(self.staging, about, read_book(self.staging, book), link.sha256)]

    def _mapping(self, rows: Sequence[tuple[str, str]]) -> str:
        lines = (f"{number},a@example.com,,,{place.replace(':', ',')}\n" for place, number in rows)
        return self._write(MAPPING_STEM, ".csv", (HEAD + "".join(lines)).encode()).sha256

    def _write(self, stem: str, suffix: str, content: bytes) -> StagedObject:
        with self.staging.writer(stem, suffix) as out:
            out.write(content)
        return out.staged


def books_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    """Return no books yet, in a folder."""
    connection = {"conn_type": "fs", "extra": {"path": str(folder)}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(connection))
    return Books(staging=StagingHook(), folder=folder)
