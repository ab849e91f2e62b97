"""Measure staging on Azurite: the hook, ObjectStoragePath with nothing around it, and WasbHook, bundle by bundle.

    make bench-staging

The three take turns on every bundle, so that they meet the same machine. The hook's numbers contain what the others do
not do: the digest, the spool file, the exclusive creation and, in reading, the verification.
"""
# ruff: noqa: T201 (prints for a person)

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from o2_connector.hooks.staging import StagingHook
from tests.azurite.server import connection_string, running

CONTAINER = "benchmark"
BUNDLES = {65_536: 100, 1_048_576: 50, 8_388_608: 12}
LARGE = 200 * 1_048_576


def main() -> None:
    """Run everything against one Azurite; print a table and, as the last line, the same as JSON."""
    with running() as endpoint:
        extra = {"connection_string": connection_string(endpoint), "container": CONTAINER}
        os.environ["AIRFLOW_CONN_O2_STAGING"] = json.dumps({"conn_type": "wasb", "extra": extra})
        hook = StagingHook()
        memory = large_object(hook)
        rows = [row for size, count in BUNDLES.items() for row in compare(hook, size, count)]
    print(f"{'bundle':>10} {'way':<20} {'put ms':>8} {'get ms':>8}")
    for row in rows:
        print(f"{row['bytes']:>10,} {row['way']:<20} {row['put_ms']:>8.1f} {row['get_ms']:>8.1f}")
    print(f"one object of {LARGE:,} bytes: memory grew by {memory} MiB at most")
    print(json.dumps({"rows": rows, "large_object_bytes": LARGE, "peak_growth_mib": memory}))


def compare(hook: StagingHook, size: int, count: int) -> list[dict[str, Any]]:
    """Write and read bundles of a size in every way in turn; return the median milliseconds of each."""
    from airflow.providers.microsoft.azure.hooks.wasb import WasbHook

    wasb, root = WasbHook("o2_staging"), hook.get_conn()
    ways: dict[str, tuple[Callable[[int, bytes], Any], Callable[[int, Any], bytes]]] = {
        "StagingHook": (lambda _, data: stage(hook, data), lambda _, staged: fetch(hook, staged)),
        "ObjectStoragePath": (
            lambda number, data: (root / f"path/{size}/{number}").write_bytes(data),
            lambda number, _: (root / f"path/{size}/{number}").read_bytes(),
        ),
        "WasbHook": (
            lambda number, data: wasb.upload(CONTAINER, f"wasb/{size}/{number}", data),
            lambda number, _: wasb.download(CONTAINER, f"wasb/{size}/{number}").readall(),
        ),
    }
    puts: dict[str, list[float]] = {way: [] for way in ways}
    gets: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(count):
        data = os.urandom(size)
        for way, (put, get) in ways.items():
            start = time.perf_counter()
            reference = put(number, data)
            middle = time.perf_counter()
            found = get(number, reference)
            end = time.perf_counter()
            if found != data:
                sys.exit(f"{way} returned other bytes")
            puts[way].append((middle - start) * 1000)
            gets[way].append((end - middle) * 1000)
    return [
        {
            "bytes": size,
            "way": way,
            "put_ms": round(statistics.median(puts[way]), 1),
            "get_ms": round(statistics.median(gets[way]), 1),
        }
        for way in ways
    ]


def stage(hook: StagingHook, data: bytes) -> Any:
    """Write one object with the hook."""
    with hook.writer("bundles/") as writer:
        writer.write(data)
    return writer.staged


def fetch(hook: StagingHook, staged: Any) -> bytes:
    """Read one object with the hook."""
    with hook.reader(staged) as reader:
        return reader.read()


def large_object(hook: StagingHook) -> int:
    """Write, stream and copy one large object; return by how many MiB the process grew at its peak."""
    fetch(hook, stage(hook, os.urandom(65_536)))
    before = peak()
    with hook.writer("large/") as writer:
        for _ in range(LARGE // 1_048_576):
            writer.write(os.urandom(1_048_576))
    with hook.reader(writer.staged) as reader:
        while reader.read(1_048_576):
            pass
    with hook.local(writer.staged):
        pass
    return peak() - before


def peak() -> int:
    """Return the most memory that this process has had, in MiB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
