"""Measure the import against the sandbox's Graph, its limits on, and peers on the same messages.

    make bench-import

The sandbox and each client are processes of their own. A part counts only when every mailbox then holds what it should,
each message once, and nobody broke a limit of Graph's; else the benchmark ends with status 1.
"""
# ruff: noqa: T201 (prints for a person)

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.importing.book import stage_book, write_messages
from benchmarks.importing.client import CONCURRENT
from benchmarks.importing.peers.install import install
from benchmarks.importing.tenant import mailboxes, make_folders, running
from demo.airflow_settings import STAGING, sandbox_connections
from o2_connector.core.manifest import Shard, to_xcom
from o2_connector.hooks.staging import StagingHook
from sandbox.process import ROOT, SandboxProcess

MAILBOXES = 100
EACH = 200
LATENCY = 0.15
FOLDER_REQUESTS = 2
"""Of a new mailbox, one after the other and before any create: which folders has it, and make ours."""
FAST_EACH = 300
NEIGHBOURS_EACH = 120
THROTTLED = 5
SMALL, LARGE = 10_000, 200_000
PEERS = {
    # how many messages in each of how many mailboxes; with latency, and without: a peer is compared by its rate
    "session_loop": ((10, 8), (10, 100)),
    "graph_sdk": ((MAILBOXES, 2), (MAILBOXES, 2)),
    "provider_operator": ((MAILBOXES, 8), (MAILBOXES, 8)),
}
PATIENCE = 240
PEER_CONNECTION = "AIRFLOW_CONN_O2_GRAPH_PEER"


class Unsound(Exception):
    """Say what a part left behind that it must not."""


@dataclass(kw_only=True)
class Bench:
    """Hold what every part needs."""

    sandbox: SandboxProcess
    scratch: Path
    corpus: Path | None
    mailboxes: list[str]
    sdk_python: Path

    def stage(self, name: str, counts: Mapping[str, int]) -> Shard:
        """Stage a book in a staging of its own, which becomes the one that the clients use."""
        staging = self.scratch / name
        os.environ[STAGING] = json.dumps({"conn_type": "fs", "extra": {"path": str(staging)}})
        return stage_book(StagingHook(), counts, self.corpus)

    def empty(self, latency: float) -> None:
        """Begin a part with empty mailboxes."""
        self.sandbox.ask("POST", "reset")
        self.sandbox.ask("PUT", "latency", {"seconds": latency})

    def start(self, module: str, task: dict[str, Any], python: Path | str = sys.executable) -> Client:
        """Start a client and let it get ready; it begins at once."""
        log = self.scratch / f"{module}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [str(python), "-m", f"benchmarks.importing.{module}"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert process.stdin is not None
        process.stdin.write(json.dumps(task))
        process.stdin.close()
        return Client(name=module, process=process, log=log, started=0.0).begun()

    def run(self, module: str, task: dict[str, Any], python: Path | str = sys.executable) -> dict[str, Any]:
        """Run a client to its end; return what it says of itself, and what the sandbox does."""
        before = self.sandbox.ask("GET", "load")["cpu_seconds"]
        client = self.start(module, task, python)
        took = client.ended()
        load = self.sandbox.ask("GET", "load")
        return {
            **took,
            "started": client.started,
            "refused": load["refused"],
            "sandbox_seconds": load["cpu_seconds"] - before,
        }

    def check(self, counts: Mapping[str, int]) -> None:
        """Refuse a part unless each mailbox holds its messages once and no limit was broken."""
        tally = self.sandbox.ask("GET", "tally")
        found = {mailbox: holds["messages"] for mailbox, holds in tally.items() if holds["messages"]}
        if found != dict(counts):
            raise Unsound(f"{sum(counts.values()):,} messages were due and {sum(found.values()):,} are there")
        if any(
            count > 1 for holds in tally.values() for values in holds["values"].values() for count in values.values()
        ):
            raise Unsound("a message is in a mailbox twice")
        self.check_limits()

    def check_limits(self) -> None:
        """Refuse a part in which a limit was broken."""
        if breaches := self.sandbox.ask("GET", "breaches"):
            raise Unsound(f"{len(breaches)} breaches of Graph's limits, the first: {breaches[0]}")


@dataclass(kw_only=True)
class Client:
    """Watch one measured process."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    started: float

    def begun(self) -> Client:
        """Wait until it is ready; note when its work began, in seconds since 1970."""
        self.started = float(self._line()["started"])
        return self

    def ended(self) -> dict[str, Any]:
        """Return what it took."""
        took = self._line()
        self.process.wait(PATIENCE)
        return took

    def kill(self) -> None:
        """End it before it has done everything."""
        self.process.kill()
        self.process.wait()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        hung = threading.Timer(PATIENCE, self.process.kill)
        hung.start()
        line = self.process.stdout.readline()
        hung.cancel()
        if not line:
            said = self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
            raise Unsound(f"{self.name} ended with status {self.process.wait()}:\n{said}")
        told: dict[str, Any] = json.loads(line)
        return told


# The parts ------------------------------------------------------------------------------------------------------------


def ceiling(bench: Bench) -> dict[str, Any]:
    """Part 1: equal mailboxes, each request as long as Graph's: how near to four at a time for each mailbox.

    The ceiling is what a mailbox takes when nobody ever waits for us: the requests about its folder, one after the
    other, and then four creates at a time.
    """
    counts = dict.fromkeys(bench.mailboxes, EACH)
    shard = bench.stage("ceiling", counts)
    bench.empty(LATENCY)
    took = bench.run("ours", {"shard": to_xcom(shard)})
    bench.check(counts)
    creates = EACH / CONCURRENT * LATENCY
    best = FOLDER_REQUESTS * LATENCY + creates
    spans = [each["last"] - each["first"] for each in bench.sandbox.ask("GET", "arrivals").values()]
    told = {
        "share_of_ceiling": round(best / took["seconds"], 3),
        "share_of_ceiling_of_creates_alone": round(creates / took["seconds"], 3),
        "share_of_ceiling_once_begun": round(creates / (max(spans) + LATENCY), 3),
        "refused": took["refused"],
        "per_second": round(took["messages"] / took["seconds"]),
        "cpu_seconds": round(took["cpu_seconds"], 2),
    }
    print(f"1  {MAILBOXES} mailboxes of {EACH}, {LATENCY * 1000:.0f} ms a request")
    print(f"     ceiling {best:.2f} s, took {took['seconds']:.2f} s: {told['share_of_ceiling']:.1%} of the ceiling;")
    print(f"     {told['share_of_ceiling_of_creates_alone']:.1%} were the folder's two requests to cost nothing;")
    print(f"     from the first create to the last {told['share_of_ceiling_once_begun']:.1%};")
    print(f"     {told['per_second']:,} a second, {told['cpu_seconds']} s of processor, refused {told['refused']}")
    return told


def no_latency(bench: Bench) -> dict[str, Any]:
    """Part 2: the same without latency: what the client itself can do, beside the sandbox on the same cores."""
    counts = dict.fromkeys(bench.mailboxes, FAST_EACH)
    shard = bench.stage("no-latency", counts)
    bench.empty(0)
    took = bench.run("ours", {"shard": to_xcom(shard)})
    bench.check(counts)
    cores = os.cpu_count() or 1
    told = {
        "per_second_no_latency": round(took["messages"] / took["seconds"]),
        "sandbox_cpu_share": round(took["sandbox_seconds"] / took["seconds"] / cores, 3),
        "cpu_share_no_latency": round(took["cpu_seconds"] / took["seconds"] / cores, 3),
        "refused_no_latency": took["refused"],
        "cores": cores,
    }
    print(f"2  {MAILBOXES} mailboxes of {FAST_EACH}, no latency, {cores} cores")
    print(f"     {told['per_second_no_latency']:,} a second, refused {told['refused_no_latency']};")
    shares = f"the client had {told['cpu_share_no_latency']:.0%}, the sandbox {told['sandbox_cpu_share']:.0%}"
    print(f"     of the cores {shares}")
    return told


def neighbours(bench: Bench) -> dict[str, Any]:
    """Part 3: what a mailbox with a third of all messages, and others that are throttled, cost their neighbours.

    The neighbours are watched alone, crowded, and alone again, so that a machine that is busier for a while tells.
    The giant alone would take minutes more: the client is killed when the last neighbour has all of its messages.
    """
    giant, plain = bench.mailboxes[0], bench.mailboxes[1:]
    throttled, others = plain[:THROTTLED], plain[THROTTLED:]
    counts = dict.fromkeys(plain, NEIGHBOURS_EACH)

    def throttle() -> None:
        path = f"/users/({'|'.join(throttled)})/"
        fault = {"kind": "status", "status": 429, "retry_after": 3, "path": path, "rate": 0.8, "times": 1_000_000}
        bench.sandbox.ask("POST", "faults", fault)

    with_giant = {giant: sum(counts.values()) // 2, **counts}
    before = _finishing(bench, "before", counts, others, lambda: None)
    crowded = _finishing(bench, "crowded", with_giant, others, throttle)
    after = _finishing(bench, "after", counts, others, lambda: None)
    alone = {mailbox: (before[mailbox] + after[mailbox]) / 2 for mailbox in others}
    losses = sorted(crowded[mailbox] / alone[mailbox] - 1 for mailbox in others)
    told = {
        "neighbours_lose_median": round(statistics.median(losses), 3),
        "neighbours_lose_worst": round(losses[-1], 3),
        "neighbours_last_alone": round(max(alone.values()), 2),
        "neighbours_spread_alone": round(abs(max(after.values()) / max(before.values()) - 1), 3),
        "neighbours_last_crowded": round(max(crowded.values()), 2),
    }
    print(f"3  {len(others)} mailboxes of {NEIGHBOURS_EACH}, and then beside one with a third of all messages and")
    print(
        f"     {THROTTLED} that are throttled: done after {told['neighbours_last_alone']:.2f} s (twice, which differ by"
    )
    print(f"     {told['neighbours_spread_alone']:.1%}), then {told['neighbours_last_crowded']:.2f} s; a mailbox loses")
    print(f"     {told['neighbours_lose_median']:.1%} (median), {told['neighbours_lose_worst']:.1%} (worst)")
    return told


def _finishing(
    bench: Bench, name: str, counts: Mapping[str, int], watched: Collection[str], disturb: Callable[[], None]
) -> dict[str, float]:
    """Import until the watched mailboxes are done; return when each was asked for its last, from the begin on."""
    shard = bench.stage(name, counts)
    bench.empty(LATENCY)
    disturb()
    client = bench.start("ours", {"shard": to_xcom(shard)})
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            arrivals = bench.sandbox.ask("GET", "arrivals")
            if all(arrivals.get(mailbox, {"creates": 0})["creates"] == counts[mailbox] for mailbox in watched):
                break
            if time.monotonic() > deadline or client.process.poll():
                raise Unsound(f"the mailboxes of part 3 ({name}) did not get their messages")
            time.sleep(0.25)
    finally:
        client.kill()
    bench.check_limits()
    return {mailbox: arrivals[mailbox]["last"] - client.started for mailbox in watched}


def peers(bench: Bench, ours: Mapping[str, Any]) -> dict[str, Any]:
    """Part 4: peers on the same messages, by rate."""
    names = {
        "session_loop": ("loop", "a loop of requests"),
        "graph_sdk": ("msgraph_sdk", "msgraph-sdk, 4 at a time"),
        "provider_operator": ("provider_operator", "MSGraphAsyncOperator"),
    }
    told: dict[str, Any] = {}
    print("4  peers                        with latency           without")
    for module, sizes in PEERS.items():
        key, words = names[module]
        rates = []
        for latency, (many, each) in zip((LATENCY, 0.0), sizes, strict=True):
            chosen = bench.mailboxes[:many]
            bench.empty(latency)
            folders = make_folders(bench.sandbox, chosen)
            file = bench.scratch / f"{module}.jsonl"
            write_messages(file, folders, each, bench.corpus)
            task = {
                "messages": str(file),
                "graph_url": bench.sandbox.graph_url,
                "ca_file": bench.sandbox.ca_file,
                "token": bench.sandbox.token,
            }
            took = bench.run(f"peers.{module}", task, bench.sdk_python if module == "graph_sdk" else sys.executable)
            bench.check(dict.fromkeys(chosen, each))
            rates.append(took["messages"] / took["seconds"])
        told[f"per_second_{key}"] = round(rates[0], 1)
        told[f"per_second_{key}_no_latency"] = round(rates[1], 1)
        told[f"ratio_{key}"] = round(ours["per_second"] / rates[0], 1)
        told[f"ratio_{key}_no_latency"] = round(ours["per_second_no_latency"] / rates[1], 1)
        print(
            f"     {words:<26} {rates[0]:>7,.0f} a second {told[f'ratio_{key}']:>7.1f} times"
            f" {rates[1]:>7,.0f} a second {told[f'ratio_{key}_no_latency']:>7.1f} times"
        )
    return told


def provider_connection(sandbox: SandboxProcess) -> str:
    """Make the Azure provider's own connection to the sandbox."""
    graph = sandbox.details["graph"]
    root, host = graph["url"].removesuffix("/v1.0"), graph["url"].removeprefix("https://").removesuffix("/v1.0")
    extra = {
        "tenant_id": graph["tenant_id"],
        "authority": graph["authority"].removesuffix(f"/{graph['tenant_id']}"),
        "allowed_hosts": host.partition(":")[0],
        "scopes": f"{root}/.default",
        "disable_instance_discovery": True,
        "verify": sandbox.ca_file,
    }
    login = {"login": graph["client_id"], "password": graph["client_secret"]}
    return json.dumps({"conn_type": "msgraph", "schema": "https", "host": host, **login, "extra": extra})


def memory(bench: Bench) -> dict[str, Any]:
    """Part 5: the client's peak memory for a small and a large day."""
    told: dict[str, Any] = {}
    for size, total in (("small", SMALL), ("large", LARGE)):
        counts = dict.fromkeys(bench.mailboxes, total // MAILBOXES)
        shard = bench.stage(size, counts)
        bench.empty(0)
        took = bench.run("ours", {"shard": to_xcom(shard)})
        bench.check(counts)
        told[f"peak_mib_{size}"] = took["peak_mib"]
        told["base_mib"] = took["base_mib"]
        told[f"seconds_{size}"] = round(took["seconds"], 1)
    print(f"5  peak memory, of which {told['base_mib']:.0f} MiB before the first request")
    for size, total in (("small", SMALL), ("large", LARGE)):
        print(f"     {total:>9,} messages: {told[f'peak_mib_{size}']:.0f} MiB ({told[f'seconds_{size}']} s)")
    return told


def main() -> int:
    """Run all parts against one sandbox; print a table and, as the last line, the same as JSON."""
    parser = argparse.ArgumentParser(prog="make bench-import", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--corpus", type=Path, help="texts to use: sender and text in JSON Lines, may be .gz")
    corpus: Path | None = parser.parse_args().corpus
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="o2-bench-") as folder, running(Path(folder) / "sandbox") as sandbox:
        os.environ |= {"AIRFLOW_HOME": str(Path(folder) / "airflow")}
        os.environ |= {**sandbox_connections(sandbox.details), PEER_CONNECTION: provider_connection(sandbox)}
        bench = Bench(
            sandbox=sandbox,
            scratch=Path(folder),
            corpus=corpus,
            mailboxes=mailboxes()[:MAILBOXES],
            sdk_python=install(),
        )
        told: dict[str, Any] = {}
        try:
            told |= ceiling(bench)
            told |= no_latency(bench)
            told |= neighbours(bench)
            told |= peers(bench, told)
            told |= memory(bench)
        except Unsound as unsound:
            print(f"This run does not count: {unsound}", file=sys.stderr)
            return 1
    told["seconds"] = round(time.monotonic() - begun)
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
