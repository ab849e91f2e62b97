"""Measure how the directory is asked, on the sandbox's Graph: 10,000 addresses of 10,000 users, at first and again.

    make bench-directory

Beside it, in the same run, a loop that asks `GET /users/{address}` through one `requests.Session`. It does less: it
finds users by their principal name only, and does not say whether they have a mailbox. It is run for fewer addresses,
and its figures are scaled up to as many. The sandbox is a process of its own, and everything goes over TLS; once an
answer takes no longer than the sandbox needs for it, once at least a tenth of a second, as over the internet. A run
counts only when every answer is right.
"""
# ruff: noqa: T201 (prints for a person)

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from demo.airflow_settings import STAGING, sandbox_connections
from o2_connector.engine.directory import find_mailboxes
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook
from sandbox.directory import User
from sandbox.process import SandboxProcess, running_process

ADDRESSES = 10_000
ALIASES = 1_000
NOBODYS = 200
LATENCIES = {0.0: 1_000, 0.1: 200}
"""Seconds that an answer takes at least, and how many addresses the loop is asked for then."""
REMEMBER = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Hold a line of the table.

    :param asked: for how many addresses it was run; seconds and requests are scaled up from those to all.
    """

    latency: float
    way: str
    asked: int
    seconds: float
    requests: float

    def report(self) -> dict[str, Any]:
        """Return what is printed."""
        return asdict(self) | {"requests_per_20": round(self.requests * 20 / ADDRESSES, 2)}


def main() -> None:
    """Run everything; print a table and, as the last line, the same as JSON."""
    logging.disable(logging.INFO)
    rows = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        running_process(Path(scratch) / "sandbox", "--users", "12", "--items", "1") as details,
    ):
        sandbox = SandboxProcess(details)
        wanted = populate(sandbox)
        os.environ |= sandbox_connections(details)
        for latency, few in LATENCIES.items():
            sandbox.ask("PUT", "latency", {"seconds": latency})
            folder = Path(scratch) / f"staging-{latency}"
            os.environ[STAGING] = json.dumps({"conn_type": "fs", "extra": {"path": str(folder)}})
            rows += ours(latency, wanted)
            rows.append(loop(sandbox, latency, sorted(wanted)[:: ADDRESSES // few]))
    print(f"{ADDRESSES:,} addresses, {ALIASES:,} of them aliases and {NOBODYS} nobody's\n")
    print(f"{'answers take':>12}  {'way':<24} {'run for':>8} {'seconds':>9} {'requests':>9} {'per 20':>7}")
    for row in rows:
        told = row.report()
        print(
            f"{row.latency:>10} s  {row.way:<24} {row.asked:>8,} {row.seconds:>9.1f} {row.requests:>9,.0f}"
            f" {told['requests_per_20']:>7.2f}"
        )
    print(json.dumps({"addresses": ADDRESSES, "rows": [row.report() for row in rows]}))


def populate(sandbox: SandboxProcess) -> dict[str, str | None]:
    """Fill the directory; return the addresses to ask for, and whose each is."""
    users = [
        User(
            id=str(uuid.UUID(int=number, version=4)),
            user_principal_name=f"user.{number:05d}@example.com",
            mail=f"user.{number:05d}@example.com",
            display_name=f"User {number}",
            proxy_addresses=(f"SMTP:user.{number:05d}@example.com", f"smtp:u{number}@example.org"),
            mobile_phone=f"07700 900{number % 1000:03d}",
        )
        for number in range(ADDRESSES)
    ]
    sandbox.ask("PUT", "users", [asdict(user) for user in users])
    wanted: dict[str, str | None] = {f"nobody.{number}@example.com": None for number in range(NOBODYS)}
    wanted |= {f"u{number}@example.org": users[number].id for number in range(ALIASES)}
    wanted |= {str(user.mail): user.id for user in users[ALIASES : ADDRESSES - NOBODYS]}
    return wanted


def ours(latency: float, wanted: Mapping[str, str | None]) -> list[Row]:
    """Ask for all addresses, with nothing remembered, and once more."""
    now, rows = datetime.now(UTC), []
    for way, at in (("find_mailboxes", now), ("find_mailboxes, again", now + timedelta(hours=1))):
        hook = GraphHook()
        asked = counted(hook.get_conn())
        start = time.perf_counter()
        found = find_mailboxes(StagingHook(), hook, wanted.keys(), remember=REMEMBER, at=at)
        seconds = time.perf_counter() - start
        if {address: entry.mailbox for address, entry in found.items()} != wanted:
            sys.exit(f"{way}: the answers are wrong")
        rows.append(Row(latency=latency, way=way, asked=len(wanted), seconds=round(seconds, 2), requests=len(asked)))
    return rows


def loop(sandbox: SandboxProcess, latency: float, addresses: Sequence[str]) -> Row:
    """Ask for some addresses one by one."""
    session = requests.Session()
    session.trust_env, session.verify = False, sandbox.ca_file
    session.headers["Authorization"] = f"Bearer {sandbox.token}"
    asked = counted(session)
    start = time.perf_counter()
    statuses = {
        session.get(f"{sandbox.graph_url}/users/{quote(address)}?$select=id").status_code for address in addresses
    }
    seconds = time.perf_counter() - start
    if statuses - {200, 404}:
        sys.exit(f"the loop was answered {statuses}")
    scale = ADDRESSES / len(addresses)
    return Row(
        latency=latency,
        way="GET /users/{address}",
        asked=len(addresses),
        seconds=round(seconds * scale, 2),
        requests=len(asked) * scale,
    )


def counted(session: requests.Session) -> list[int]:
    """Return a list that grows by one whenever the session is answered."""
    answers: list[int] = []
    session.hooks["response"].append(lambda answer, **_: answers.append(answer.status_code))
    return answers


if __name__ == "__main__":
    main()
