"""Measure the archive page with five years of days, beside Airflow's own pages of the same runs, in a real Chromium.

    make bench-page

Everything is the real thing: the API server of this Airflow on an SQLite database, 1,800 books in a staging directory,
1,800 runs in the database, Chromium. Each page is loaded anew by a browser that has nothing of it yet. The archive page
shows all windows at once; Airflow's grid and its table of runs show the first few.
"""
# ruff: noqa: T201 (prints for a person)

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WINDOWS = 1800
TIMES = 5
PAGES = {
    "archive page, on its own": ("/o2-archive/", "tbody tr"),
    "archive page, in Airflow": ("/plugin/o2-archive", "iframe"),
    "Airflow's table of runs": ("/dags/o2_network_archive/runs", "tbody tr"),
    "Airflow's grid": ("/dags/o2_network_archive", '[data-testid="grid-view-scrollbar"], a[href*="/runs/"]'),
}

PAINT = """() => new Promise((resolve) => {
  const look = () => {
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    if (paint) resolve(paint.startTime); else requestAnimationFrame(look);
  };
  look();
})"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Hold how long one load took, in milliseconds.

    :param paint: until the page painted something, since it was asked for itself: a frame by the page around it.
    :param rows: until the first rows were there, since the page around it was asked for.
    """

    paint: float
    rows: float


def main() -> None:
    """Make the archive, load every page a few times in turn, print a table and, as the last line, the same as JSON."""
    with tempfile.TemporaryDirectory() as folder, _airflow(Path(folder)) as (url, token):
        first = _first_answer(url, token)
        loads = _loads(url, token)
    print(f"{WINDOWS:,} windows, medians of {TIMES} loads, milliseconds")
    print(f"{'page':<26} {'first paint':>12} {'rows there':>12}")
    rows = [
        {
            "page": name,
            "paint_ms": _median(each.paint for each in found),
            "rows_ms": _median(each.rows for each in found),
        }
        for name, found in loads.items()
    ]
    for row in rows:
        print(f"{row['page']:<26} {row['paint_ms']:>12} {row['rows_ms']:>12}")
    print(f"first answer of a new process, which reads all books: {first} ms")
    print(json.dumps({"windows": WINDOWS, "pages": rows, "first_answer_ms": first}))


def _median(values: Iterator[float]) -> int:
    return round(statistics.median(values))


def _loads(url: str, token: str) -> Mapping[str, Sequence[Load]]:
    from tests.ui.browser import chromium

    loads: dict[str, list[Load]] = {name: [] for name in PAGES}
    with chromium() as browser:
        for _ in range(TIMES):
            for name, (path, there) in PAGES.items():
                context = browser.new_context(base_url=url, viewport={"width": 1400, "height": 1000})
                context.add_cookies([{"name": "_token", "value": token, "url": url}])
                page = context.new_page()
                loads[name].append(_load(page, path, there))
                context.close()
    return loads


def _load(page: Any, path: str, there: str) -> Load:
    began = time.perf_counter()
    page.goto(path, wait_until="commit")
    around = page.frame_locator("iframe") if there == "iframe" else page
    around.locator("tbody tr" if there == "iframe" else there).first.wait_for()
    rows = (time.perf_counter() - began) * 1000
    return Load(paint=page.frames[-1].evaluate(PAINT), rows=rows)


def _first_answer(url: str, token: str) -> int:
    import requests

    began = time.perf_counter()
    answer = requests.get(f"{url}/o2-archive/api/windows", cookies={"_token": token}, timeout=60)
    answer.raise_for_status()
    return round((time.perf_counter() - began) * 1000)


@contextmanager
def _airflow(folder: Path) -> Iterator[tuple[str, str]]:
    """Serve an Airflow with an archive of five years."""
    import tests.conftest  # noqa: F401 (an Airflow home of its own, before anything imports Airflow)
    from tests.ui.server import api_server, served, token

    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"  # what it measures is on the same screen
    os.environ["AIRFLOW_CONN_O2_STAGING"] = json.dumps({"conn_type": "fs", "extra": {"path": str(folder / "staging")}})
    with api_server(folder) as app:
        _archive()
        with served(app) as url:
            yield url, token(app, "ada")


def _archive() -> None:
    from o2_connector.core.chain import Link
    from o2_connector.core.layout import link_stem
    from o2_connector.core.manifest import StagedObject
    from o2_connector.hooks.staging import StagingHook
    from tests.ui.history import add_run, counted, day, scheduled

    staging, nothing = StagingHook(), StagedObject(name="nothing", sha256="0" * 64, size=0)
    previous: tuple[str, ...] = ()
    for number in range(1, WINDOWS + 1):
        window = day(WINDOWS + 1 - number)
        add_run(window, "success")
        link = Link(
            number=number,
            previous=previous,
            window=window,
            run_id=scheduled(window),
            replay=False,
            dry_run=False,
            started_at=window.end,
            completed_at=window.end,
            balanced=True,
            counts=counted(2000, parked=number % 7),
            waiting=0,
            oldest_waiting=None,
            report=nothing,
            log=nothing,
            seal=nothing,
        )
        # As engine.chain.close adds it, which looks through all that are there before each.
        previous = (staging.write_lines(link_stem(number), [link]).sha256,)


if __name__ == "__main__":
    main()
