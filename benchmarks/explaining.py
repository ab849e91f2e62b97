"""Measure `o2-archive explain` in a day of 100,000 items, and among the windows of five years.

    make bench-explain

What is timed is the whole process, from its start until it has printed, with the files in the system's cache and
staging in a directory: Python's start, the search, every digest of what is read, and the answer. The day is made by the
product's own steps: records, conversion, decision, deliveries, intents and receipts. Beside it stand `grep` for the id
over the same folder, which verifies nothing and joins nothing, and a loop that decodes every line with `json`. A run
counts only if the answer names the item's mailbox, message and mapping row.
"""
# ruff: noqa: T201 (prints for a person)

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from threading import Event
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec

from benchmarks.mapping.window import START, WINDOW, address, number, remember, write_mapping
from demo.airflow_settings import STAGING
from o2_connector.core.conversion import IndexRow
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.identity import item_key
from o2_connector.core.layout import converted_stem, raw_stem
from o2_connector.core.ledger import read_delivery, receipt_of
from o2_connector.core.manifest import Shard, StagedBatch
from o2_connector.core.outcomes import Outcome
from o2_connector.core.window import Window
from o2_connector.engine.conversion import convert
from o2_connector.engine.journal import Journal
from o2_connector.engine.mapping_step import Asked, map_window
from o2_connector.engine.rules import MappingRules
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook
from sandbox.process import ROOT

ITEMS, BATCH, ROWS = 100_000, 500, 2_000
WINDOWS, SMALL = 1_800, 1_000
"""Days of five years, and items in the index of each."""
ROUNDS = 5
GRAPH = {"conn_type": "o2_graph", "login": "client", "password": "nobody asks", "extra": {"tenant_id": "0" * 36}}
DECODING = """
import json, sys
from pathlib import Path
found = 0
for path in Path(sys.argv[1]).rglob("*.jsonl"):
    for line in path.open("rb"):
        row = json.loads(line)
        found += isinstance(row, dict) and sys.argv[2] in (row.get("itemId"), row.get("item_id"))
print(found)
"""


class Unsound(Exception):
    """Say why a run does not count."""


def main() -> None:
    """Measure, print a table and, as the last line, the same as JSON."""
    with tempfile.TemporaryDirectory(prefix="o2-bench-explain-") as place:
        folder = Path(place)
        root = folder / "staging"
        plain = json.dumps({"conn_type": "fs", "extra": {"path": str(root)}})
        os.environ[STAGING] = plain
        os.environ["AIRFLOW_CONN_O2_GRAPH"] = json.dumps(GRAPH)
        os.environ["AIRFLOW_HOME"] = str(folder / "airflow")
        deliveries = make_day(StagingHook(), folder)
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        told = {}
        told["explain"] = median(root, {STAGING: plain})
        told["explain, Airflow asked for the connection"] = median(root, {STAGING: f"fs:///?path={quote(str(root))}"})
        told["explain --window"] = median(root, {STAGING: plain}, "--window", WINDOW.name)
        told["no such item"] = median(root, {STAGING: plain}, item="o2-none", status=1)
        told["grep"] = timed_median(["grep", "-rlF", item_id(ITEMS // 2), str(root)])
        told["json, every line"] = timed_median([sys.executable, "-c", DECODING, str(root), item_id(ITEMS // 2)], 1)
        told["python -c pass"] = timed_median([sys.executable, "-c", "pass"])
        make_years(StagingHook())
        years = sum(path.stat().st_size for path in root.rglob("*.index.*"))
        told["explain, of all windows"] = median(root, {STAGING: plain})
        told["no such item, of all windows"] = median(root, {STAGING: plain}, item="o2-none", status=1)
    print(f"{ITEMS:,} items, {deliveries:,} deliveries, {size / 1e6:,.0f} MB in staging; seconds of the whole process")
    for name, seconds in told.items():
        print(f"{name:<44}{seconds:>8.2f}")
    print(f"All windows: {WINDOWS + 1:,}, whose indexes have {years / 1e6:,.0f} MB")
    rounded = {name: round(seconds, 3) for name, seconds in told.items()}
    print(json.dumps({"items": ITEMS, "deliveries": deliveries, "windows": WINDOWS + 1, "seconds": rounded}))


def item_id(place: int) -> str:
    """Return an item's id, as long as TeleMessage's."""
    return f"o2-4f21c8-20261101-{place:07d}"


def record(place: int) -> bytes:
    """Return a captured text from a stranger to one of the organisation."""
    sent = (START + timedelta(milliseconds=place * 800)).isoformat()
    whom = place % (ROWS * 9 // 10)
    item = {
        "itemId": item_id(place),
        "itemType": "SMS",
        "network": "O2",
        "direction": "INBOUND",
        "status": "DELIVERED",
        "sentAt": sent,
        "archivedAt": sent,
        "from": {"phone": number(place % 50_000, ours=False), "name": f"Stranger {place % 50_000}"},
        "to": [{"phone": number(whom, ours=True), "email": address(whom), "name": f"User {whom}"}],
        "text": f"Text {place}: the quick brown fox jumps over the lazy dog, and nobody has measured how far.",
    }
    return msgspec.json.encode(item) + b"\n"


def make_day(staging: StagingHook, folder: Path) -> int:
    """Archive a day, but for Graph; return how many deliveries were made."""
    at = datetime.now(UTC)
    mappings = folder / "mappings"
    mappings.mkdir()
    write_mapping(mappings / "phones.csv", ROWS)
    remember(staging, GraphHook().tenant, ROWS, at)
    batches = []
    for first in range(0, ITEMS, BATCH):
        batch_id = f"b{first // BATCH:05d}"
        with staging.writer(raw_stem(WINDOW, batch_id), ".jsonl") as out:
            out.write(b"".join(map(record, range(first, first + BATCH))))
        staged = StagedBatch(batch_id=batch_id, items=BATCH, promised=BATCH, raw=out.staged)
        batches.append(convert(staging, WINDOW, staged, Profile(region="GB")))
    rules = MappingRules(folder=mappings, region="GB", zone=ZoneInfo("Europe/London"), remember=timedelta(hours=6))
    asked = Asked(run_id="scheduled__1", at=at, tasks=16, dry_run=False)
    decision = map_window(staging, rules, WINDOW, batches, asked, silent_days=7)
    for shard in decision.shards:
        keep_ledger(staging, shard, int(at.timestamp() * 1000))
    return sum(shard.count for shard in decision.shards)


def keep_ledger(staging: StagingHook, shard: Shard, at: int) -> None:
    """Write the ledger of a shard as an import does whose deliveries all succeed."""
    with staging.reader(shard.deliveries) as lines:
        rows = list(enumerate(map(read_delivery, islice(lines, 1, None))))
    intended = Event()
    with Journal(staging, shard.deliveries.name, on_intended=lambda _: intended.set()) as journal:
        journal.intend(rows)
        intended.wait()
        for place, row in rows:
            message = f"AAkALg{row.mailbox[:8]}{row.key}"
            journal.receive(receipt_of(place, row, Outcome.IMPORTED, at=at, message=message))


def make_years(staging: StagingHook) -> None:
    """Stage the indexes of many other windows: what is searched of a window that does not have the item."""
    for day in range(1, WINDOWS + 1):
        window = Window(start=START - timedelta(days=day), end=START - timedelta(days=day - 1))
        rows = (row(day, place) for place in range(SMALL))
        staging.write_lines(f"{converted_stem(window, 'b00000')}index.", rows)


def row(day: int, place: int) -> IndexRow:
    """Return an item's line in an index."""
    name = f"o2-{day:06x}-{place:07d}"
    digest = item_key(name) + "0" * 24
    return IndexRow(
        item_id=name, key=item_key(name), sent=0, record=digest, eml=(0, 1), eml_sha256=digest, message=(0, 1)
    )


def median(root: Path, connection: Mapping[str, str], *more: str, item: str = "", status: int = 0) -> float:
    """Explain items at the begin, in the middle and at the end of the day; return the seconds in the middle."""
    places = [ITEMS * place // (ROUNDS - 1) for place in range(ROUNDS)]
    taken = []
    for place in (min(place, ITEMS - 1) for place in places):
        command = [sys.executable, "-m", "o2_connector.commands", "explain", item or item_id(place), *more]
        seconds, ended = timed(command, connection)
        if ended.returncode != status or (not status and not is_whole(ended.stdout)):
            raise Unsound(f"{ended.returncode}: {ended.stdout[-3000:]}{ended.stderr[-3000:]}")
        taken.append(seconds)
    return statistics.median(taken)


def is_whole(told: str) -> bool:
    """Tell whether an answer has every stage."""
    return all(words in told for words in ("Staged", "version ", "by mapping file phones.csv:", "imported", "AAkALg"))


def timed_median(command: Sequence[str], rounds: int = ROUNDS) -> float:
    """Return the seconds that a command takes, in the middle of so many rounds."""
    taken = []
    for _ in range(rounds):
        seconds, ended = timed(command, {})
        if ended.returncode:
            raise Unsound(ended.stderr[-2000:])
        taken.append(seconds)
    return statistics.median(taken)


def timed(command: Sequence[str], more: Mapping[str, str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run a command; return the seconds that it took, and how it ended."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "plugins"), **more}
    begun = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, cwd=ROOT)
    return time.perf_counter() - begun, ended


if __name__ == "__main__":
    main()
