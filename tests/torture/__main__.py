"""Torture the import: real workers killed at random, again and again, while Graph and staging do wrong.

    make torture
    python -m tests.torture --kills 1000 --seed 1 --lines 10

The last line is JSON. The exit status is 1 when anything is lost, doubled, unfinished, altered, in a wrong mailbox or
without a receipt, when a limit of Graph's was broken, or when a worker ended as none should.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.torture.campaign import Result

KILLS_OF_A_SEED = 20
LINES = 10
PROGRESS_SECONDS = 10.0
MEMORY = Path("/dev/shm")
"""Where a write is durable at once: what is tortured is the program, not the disk."""

COLUMNS = ("lost", "doubled", "unfinished", "wrong_mailbox", "altered", "without_receipt", "breaches", "failed")


def main() -> int:
    """Torture, print a table, and return the exit status."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="o2-torture-", dir=MEMORY if MEMORY.is_dir() else None))
    _set_up_airflow(folder)
    begun = time.monotonic()
    seeds = _share_out(options.kills, options.seed, options.lines)
    results = _run(seeds, min(options.lines, len(seeds)), folder)
    totals = {name: sum(result.wrong[name] for result in results) for name in COLUMNS}
    bad = [result for result in results if any(result.wrong.values())]
    for result in bad:
        _complain(result, seeds[result.seed], folder)
    missing = len(seeds) - len(results)
    if missing:
        print(f"{missing} seeds have no result: their line broke off; what is above says why")
    if not bad and not missing:
        shutil.rmtree(folder)
    figures = {
        "kills": sum(result.kills for result in results),
        "asking": sum(result.asking for result in results),
        "runs": sum(result.runs for result in results),
        "deliveries": sum(result.deliveries for result in results),
        **totals,
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(figures))
    return 1 if bad or missing else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000, help="workers to kill (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; and others after it (%(default)s)")
    parser.add_argument("--lines", type=int, default=LINES, help="seeds side by side (%(default)s)")
    return parser.parse_args()


def _set_up_airflow(folder: Path) -> None:
    """Give Airflow a home of its own, before anything imports it."""
    os.environ |= {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    }
    os.environ.pop("REQUESTS_CA_BUNDLE", None)


def _share_out(kills: int, first: int, lines: int) -> dict[int, int]:
    """Return how many kills each seed has; every line has a seed."""
    count = min(kills, max(lines, -(-kills // KILLS_OF_A_SEED)))
    return {first + number: (kills + number) // count for number in range(count)}


def _run(seeds: dict[int, int], lines: int, folder: Path) -> list[Result]:
    """Run seeds side by side, each line in a process of its own that has no threads and forks its workers."""
    import tests.torture.campaign  # noqa: F401 - everything that lines and workers need, imported once
    from tests.torture.worker import let_time_fly

    let_time_fly()
    gc.freeze()
    context = get_context("fork")
    connections: dict[Connection, int] = {}
    for number in range(lines):
        ours, theirs = context.Pipe()
        context.Process(target=_line, args=(theirs, folder, number), name=f"line {number}").start()
        theirs.close()
        connections[ours] = number
    waiting = list(seeds.items())
    results: list[Result] = []
    kills, begun, told = 0, time.monotonic(), 0.0
    print(
        f"{'seed':>6} {'kills':>6} {'asking':>6} {'runs':>6} {'due':>6} {'s':>6}", *(f"{each:>7.7}" for each in COLUMNS)
    )
    while connections:
        for connection in wait(list(connections), PROGRESS_SECONDS):
            assert isinstance(connection, Connection)
            try:
                said = connection.recv()
            except EOFError:
                del connections[connection]
                continue
            if isinstance(said, int):
                kills += said
            else:
                if said is not None:
                    results.append(said)
                    _show(said)
                connection.send(waiting.pop(0) if waiting else None)
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"       {kills} kills, {len(results)} of {len(seeds)} seeds, {told - begun:.0f} s", flush=True)
    return results


def _line(connection: Connection, folder: Path, number: int) -> None:
    """Take seeds until there are no more, with a sandbox of this line's own."""
    from demo.airflow_settings import sandbox_connections
    from tests.torture.campaign import USERS, torment
    from tests.torture.doors import sandbox

    with sandbox(folder / f"sandbox-{number}", users=USERS) as doors:
        os.environ |= sandbox_connections(doors.details)
        connection.send(None)
        while (task := connection.recv()) is not None:
            seed, kills = task
            home = folder / f"seed-{seed}"
            result = torment(seed, kills, doors, home, connection.send)
            if not any(result.wrong.values()):
                shutil.rmtree(home)
            connection.send(result)


def _show(result: Result) -> None:
    wrong = [result.wrong[name] for name in COLUMNS]
    numbers = (result.seed, result.kills, result.asking, result.runs, result.deliveries, round(result.seconds))
    print(" ".join(f"{each:>6}" for each in numbers), " ".join(f"{each:>7}" for each in wrong), flush=True)


def _complain(result: Result, kills: int, folder: Path) -> None:
    print(f"seed {result.seed}: staging and the workers' log are in {folder / f'seed-{result.seed}'}; alone:")
    print(f"    python -m tests.torture --seed {result.seed} --kills {kills} --lines 1")
    for complaint in result.complaints:
        print(f"    {complaint}")


if __name__ == "__main__":
    sys.exit(main())
