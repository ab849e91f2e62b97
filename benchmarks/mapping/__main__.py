"""Measure the mapping step: 1,000,000 participants against a mapping of 100,000 rows, beside the row-by-row ways.

    make bench-map

`mapping` is the step itself: mapping file and participants read, each distinct spelling normalised, rows valid at the
item's time, e-mail properties, the directory's remembered answers, and for every item who gets it and by which rule.
`task` is all that the task does beside: the items' index read, deliveries written for 16 import tasks, what waits,
numbers, coverage, the mapping and the directory frozen. Each runs in processes of its own, from a directory; seconds
are the processor's, and medians of the rounds count. The row-by-row ways read the same mapping files, are given the
directory's answers, and decide on one participant in twenty, which is scaled up; a run counts only if all decide the
same.
"""
# ruff: noqa: T201 (prints for a person)

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mapping.rows import applied, library, looped, periods_in, quick
from benchmarks.mapping.step import ZONE
from benchmarks.mapping.window import BATCH, START, WINDOW, Made, remember, stage, write_mapping
from demo.airflow_settings import STAGING
from o2_connector.core.conversion import PARTICIPANTS_HEAD
from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.layout import PARKED
from o2_connector.core.manifest import ConvertedGroup, to_xcom
from o2_connector.core.mapping import RULES, decide, find_candidates
from o2_connector.core.phone_book import PhoneBook, read_phone_book
from o2_connector.core.tables import read_participants
from o2_connector.engine.mapping_folder import read_folder
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook
from sandbox.process import ROOT

PARTICIPANTS, ROWS = 1_000_000, 100_000
ROUNDS = 3
SHARE = 20
GRAPH = {"conn_type": "o2_graph", "login": "client", "password": "nobody asks", "extra": {"tenant_id": "0" * 36}}


WAYS = {
    "a loop, phonenumbers": (looped, library),
    "DataFrame.apply, phonenumbers": (applied, library),
    "a loop, our normalise": (looped, quick),
}


class Unsound(Exception):
    """Say why a run does not count."""


def main() -> None:
    """Measure, print a table and, as the last line, the same as JSON."""
    with tempfile.TemporaryDirectory(prefix="o2-bench-map-") as place:
        folder = Path(place)
        os.environ[STAGING] = json.dumps({"conn_type": "fs", "extra": {"path": str(folder / "staging")}})
        os.environ["AIRFLOW_CONN_O2_GRAPH"] = json.dumps(GRAPH)
        staging, at = StagingHook(), datetime.now(UTC)
        (folder / "mappings").mkdir()
        write_mapping(folder / "mappings" / "phones.csv", ROWS)
        made = stage(staging, PARTICIPANTS, ROWS)
        remember(staging, GraphHook().tenant, ROWS, at)
        np.save(folder / "sent.npy", int(START.timestamp() * 1000) + np.arange(made.items, dtype=np.int64) * 150)
        group = to_xcom(ConvertedGroup(window=WINDOW, batches=made.batches))
        task = {
            "group": group,
            "mappings": str(folder / "mappings"),
            "at": at.isoformat(),
            "sent": str(folder / "sent.npy"),
        }
        mapping = [measured({**task, "job": "mapping"}, folder) for _ in range(ROUNDS)]
        whole = [measured({**task, "job": "task"}, folder) for _ in range(ROUNDS)]
        if {each["messages"] for each in (*mapping, *whole)} != {mapping[0]["messages"]}:
            raise Unsound("two rounds decided otherwise")
        rows = row_by_row(staging, folder, made)
    told = {name: median(rounds) for name, rounds in (("mapping", mapping), ("task", whole))}
    show(made, mapping[0]["messages"], told, rows)
    seconds = told["mapping"]["cpu_seconds"]
    print(
        json.dumps(
            {
                "participants": made.participants,
                "rows": ROWS,
                "items": made.items,
                "deliveries": mapping[0]["messages"],
                "seconds": round(seconds, 2),
                "peak_mib": told["mapping"]["peak_mib"],
                "base_mib": told["mapping"]["base_mib"],
                "task_seconds": round(told["task"]["cpu_seconds"], 2),
                "task_peak_mib": told["task"]["peak_mib"],
                "ratio_row_by_row": round(rows["a loop, phonenumbers"] / seconds, 1),
                "ratio_apply": round(rows["DataFrame.apply, phonenumbers"] / seconds, 1),
                "ratio_row_by_row_our_normalise": round(rows["a loop, our normalise"] / seconds, 1),
            }
        )
    )


def measured(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a job in a process of its own; what earlier rounds left is removed, so that each writes everything."""
    shutil.rmtree(folder / "staging" / "windows" / WINDOW.name / "runs", ignore_errors=True)
    shutil.rmtree(folder / "staging" / PARKED.rstrip("/"), ignore_errors=True)
    shutil.rmtree(folder / "staging" / "mappings", ignore_errors=True)
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.mapping.step"],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if answer.returncode:
        raise Unsound(answer.stderr[-2000:])
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the round with the median time."""
    middle = statistics.median_low(each["cpu_seconds"] for each in rounds)
    return next(each for each in rounds if each["cpu_seconds"] == middle)


def row_by_row(staging: StagingHook, folder: Path, made: Made) -> dict[str, float]:
    """Let the row-by-row ways decide on a share of the batches; return the seconds that all would take."""
    some = made.batches[::SHARE]
    table, firsts = bytearray(PARTICIPANTS_HEAD), []
    for batch in some:
        with staging.reader(batch.participants) as content:
            lines = content.read()[len(PARTICIPANTS_HEAD) :].splitlines(keepends=True)
        firsts.append(sum(each.converted for each in some[: len(firsts)]))
        for line in lines:
            row, _, rest = line.partition(b",")
            table += b"%d,%b" % (firsts[-1] + int(row), rest)
    sent = np.concatenate([_sent(batch.batch_id, batch.converted) for batch in some])
    book = read_phone_book(read_folder(folder / "mappings"), "GB", ZONE)
    directory = {entry.address: str(entry.mailbox) for entry in _remembered(staging)}
    ours = _ours(bytes(table), sent, book, directory)
    times, scale = sent.tolist(), made.participants / (table.count(b"\n") - 1)
    seconds = {}
    for name, (way, number_of) in WAYS.items():
        begun = time.process_time()
        periods = periods_in(folder / "mappings", number_of)
        read = time.process_time()
        decided = way(bytes(table), times, periods, directory, number_of)
        seconds[name] = read - begun + (time.process_time() - read) * scale
        if decided != ours:
            raise Unsound(f"{name} decides otherwise: {len(decided ^ ours)} deliveries differ")
    return seconds


def _sent(batch_id: str, count: int) -> np.ndarray:
    first = int(batch_id.removeprefix("b")) * BATCH
    return int(START.timestamp() * 1000) + np.arange(first, first + count, dtype=np.int64) * 150


def _remembered(staging: StagingHook) -> list[DirectoryEntry]:
    return [
        entry
        for name in staging.names("directory/")
        for entry in staging.read_lines(staging.staged(name), DirectoryEntry)
    ]


def _ours(table: bytes, sent: np.ndarray, book: PhoneBook, directory: dict[str, str]) -> set[Any]:
    candidates = find_candidates(read_participants([(0, table)]), sent, book, "GB")
    known = {each: DirectoryEntry(address=each, mailbox=directory[each], asked=0) for each in candidates.addresses()}
    made = decide(len(sent), candidates, known, {})
    columns = (made.deliveries[name].tolist() for name in ("row", "mailbox", "rule"))
    return {(row, made.mailboxes[place], RULES[rule]) for row, place, rule in zip(*columns, strict=True)}


def show(made: Made, deliveries: int, told: dict[str, dict[str, Any]], rows: dict[str, float]) -> None:
    """Print the table."""
    print(
        f"{made.participants:,} participants of {made.items:,} items, {ROWS:,} mapping rows: {deliveries:,} deliveries"
    )
    print(f"{'':<52}{'seconds':>9}{'peak MiB':>10}{'times ours':>12}")
    ours = told["mapping"]["cpu_seconds"]
    for name, words in (("mapping", "mapping: read, join, decide"), ("task", "the whole task, staging included")):
        seconds, peak = told[name]["cpu_seconds"], told[name]["peak_mib"]
        print(f"{words:<52}{seconds:>9.2f}{peak:>10.0f}{seconds / ours:>12.1f}")
    for name, seconds in rows.items():
        print(f"{f'row by row, {name}, scaled':<52}{seconds:>9.1f}{'':>10}{seconds / ours:>12.1f}")
    print(
        f"Before it begins a process has {told['mapping']['base_mib']:.0f} MiB: Python, Airflow, pandas, the connector."
    )


if __name__ == "__main__":
    main()
