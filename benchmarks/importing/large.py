"""Measure how much memory the import of large messages takes, against the sandbox's Graph with its limits on.

    python -m benchmarks.importing.large

Each case is imported by a process of its own; "above the base" is how much more it had at its worst than before its
first request. The largest recording is more than Graph takes from a mailbox in five minutes, so most of its time is
waiting; from a disk and from Azurite's container it is imported side by side. A case counts only when its mailboxes
then hold what they should, byte for byte, and no limit was broken; else the benchmark ends with status 1.
"""
# ruff: noqa: T201 (prints for a person)

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from benchmarks.importing.book import RUN_ID, WINDOW
from benchmarks.importing.tenant import BUCKETS, USERS, mailboxes
from demo.airflow_settings import STAGING, sandbox_connections
from o2_connector.core.conversion import packed_message
from o2_connector.core.conversion_profile import LARGEST_MEGABYTES, Profile
from o2_connector.core.items import captured
from o2_connector.core.layout import attachment_object, attachment_stem, converted_stem, run_stem, shard_stem
from o2_connector.core.ledger import Delivery, delivery_lines
from o2_connector.core.manifest import Shard, StagedObject, to_xcom
from o2_connector.core.outcomes import Rule
from o2_connector.core.rendering import render
from o2_connector.hooks.staging import StagingHook
from sandbox.process import ROOT, SandboxProcess, running_process
from tests.azurite import server as azurite

PROFILE = Profile(region="GB", message_megabytes=LARGEST_MEGABYTES)
LARGEST = 150_000_000
BLOCK = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Case:
    """Say what is imported: in each mailbox so many messages, each with a file of so many bytes.

    :param staged: "disk" or "container".
    """

    name: str
    mailboxes: Sequence[str]
    each: int
    size: int
    content_type: str = "audio/mpeg"
    staged: str = "disk"


class Unsound(Exception):
    """Say what a case left behind that it must not."""


def cases(boxes: Sequence[str]) -> list[list[Case]]:
    """Return what is measured; those of a group run side by side, in mailboxes of their own."""
    return [
        [Case(name="pictures", mailboxes=boxes[:20], each=5, size=2_500_000, content_type="image/jpeg")],
        [Case(name="recordings", mailboxes=boxes[20:28], each=1, size=36_000_000)],
        [
            Case(name="recording", mailboxes=boxes[28:29], each=1, size=LARGEST),
            Case(name="recording_container", mailboxes=boxes[29:30], each=1, size=LARGEST, staged="container"),
        ],
    ]


# What is imported -----------------------------------------------------------------------------------------------------


def stage_case(staging: StagingHook, case: Case) -> Shard:
    """Stage a case's file, its messages and its book, as the tasks before the import do."""
    file = attachment_object(digest_of(case.size), case.size)
    with staging.writer(attachment_stem(file.sha256), expect_sha256=file.sha256) as out:
        for block in blocks(case.size):
            out.write(block)
    rows: list[Delivery] = []
    with staging.writer(f"{converted_stem(WINDOW, 'b000000')}messages.", ".jsonl") as pack:
        for number, mailbox in enumerate(box for box in case.mailboxes for _ in range(case.each)):
            rendering = render(captured(record(number, file, case.content_type)), PROFILE, {})
            offset = pack.tell()
            pack.write(packed_message(rendering))
            rows.append(
                Delivery(
                    item=number,
                    item_id=f"o2-{number}",
                    key=rendering.key,
                    mailbox=mailbox,
                    sent=rendering.sent,
                    pack=0,
                    offset=offset,
                    length=pack.tell() - offset,
                    attached=file.size,
                    rule=Rule.EMAIL,
                )
            )
    with staging.writer(shard_stem(run_stem(WINDOW, RUN_ID), BUCKETS.start, BUCKETS.stop - 1), ".jsonl") as out:
        for line in delivery_lines((pack.staged,), sorted(rows, key=lambda row: (row.mailbox, row.sent))):
            out.write(line)
    return Shard(
        window=WINDOW,
        first=BUCKETS.start,
        last=BUCKETS.stop - 1,
        mailboxes=len(case.mailboxes),
        count=len(rows),
        deliveries=out.staged,
        dry_run=False,
    )


def blocks(size: int) -> Iterator[bytes]:
    """Yield a file of so many bytes, the same every time and with no two blocks alike."""
    random = Random(size)  # noqa: S311 - the same file every time
    for first in range(0, size, BLOCK):
        yield random.randbytes(min(BLOCK, size - first))


@cache
def digest_of(size: int) -> str:
    """Return the digest of the file of so many bytes."""
    digest = hashlib.sha256()
    for block in blocks(size):
        digest.update(block)
    return digest.hexdigest()


def record(number: int, file: StagedObject, content_type: str) -> bytes:
    """Return a captured record with one attachment, a minute after the one before."""
    sent = (WINDOW.start + timedelta(minutes=number)).isoformat()
    attachment = {
        "attachmentId": f"a-{number}",
        "fileName": "recording.mp3" if content_type == "audio/mpeg" else "picture.jpg",
        "contentType": content_type,
        "byteCount": file.size,
        "sha256": file.sha256,
    }
    return msgspec.json.encode(
        {
            "itemId": f"o2-{number}",
            "itemType": "MMS",
            "network": "O2",
            "direction": "INBOUND",
            "status": "DELIVERED",
            "sentAt": sent,
            "archivedAt": sent,
            "from": {"phone": "+447700900123"},
            "to": [{"phone": "+447700900456"}],
            "attachments": [attachment],
        }
    )


# How it is measured ---------------------------------------------------------------------------------------------------


def run_together(group: Sequence[Case], scratch: Path) -> list[dict[str, Any]]:
    """Import a group's cases, each in a process of its own; return what each took."""
    with ExitStack() as stack:
        started = []
        for case in group:
            connection: dict[str, Any] = {"conn_type": "fs", "extra": {"path": str(scratch / case.name)}}
            if case.staged == "container":
                endpoint = stack.enter_context(azurite.running())
                extra = {"connection_string": azurite.connection_string(endpoint), "container": "large"}
                connection = {"conn_type": "wasb", "extra": extra}
            os.environ[STAGING] = json.dumps(connection)
            task = json.dumps({"shard": to_xcom(stage_case(StagingHook(), case))})
            log = stack.enter_context((scratch / f"{case.name}.log").open("w"))
            client = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.importing.ours"],
                cwd=ROOT,
                env=dict(os.environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            stack.callback(client.kill)
            started.append((case, client, task, Path(log.name)))
        for _, client, task, _ in started:  # all at once, when everything is staged
            assert client.stdin is not None
            client.stdin.write(task)
            client.stdin.close()
        return [ended(case, client, log) for case, client, _, log in started]


def ended(case: Case, client: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    """Return what a case took, when it is done."""
    assert client.stdout is not None
    lines = [json.loads(line) for line in client.stdout]
    if client.wait() or len(lines) != 2:
        raise Unsound(f"{case.name} ended with status {client.returncode}:\n{log.read_text('utf-8')[-3000:]}")
    took = lines[-1]
    return {
        "messages": took["messages"],
        "bytes": case.size,
        "base_mib": took["base_mib"],
        "peak_mib_above_base": round(took["peak_mib"] - took["base_mib"], 1),
        "seconds": round(took["seconds"], 1),
    }


def check(sandbox: SandboxProcess, group: Sequence[Case]) -> None:
    """Refuse a group unless each mailbox holds its messages with these very bytes and no limit was broken."""
    found = Counter(
        (message["userId"], file["size"], file["sha256"])
        for message in sandbox.messages()
        for file in message["attachments"]
    )
    due = Counter(
        {(mailbox, case.size, digest_of(case.size)): case.each for case in group for mailbox in case.mailboxes}
    )
    if found != due:
        raise Unsound(f"{due.total()} files were due and {found.total()} are there, or not the same")
    if breaches := sandbox.ask("GET", "breaches"):
        raise Unsound(f"{len(breaches)} breaches of Graph's limits, the first: {breaches[0]}")


def main() -> int:
    """Run all cases; print a table and, as the last line, the same as JSON."""
    begun = time.monotonic()
    rows: dict[str, dict[str, Any]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="o2-bench-") as folder,
        running_process(
            Path(folder) / "sandbox", "--users", str(USERS), "--items", "60", "--message-mb", str(LARGEST_MEGABYTES)
        ) as details,
    ):
        os.environ |= {"AIRFLOW_HOME": str(Path(folder) / "airflow"), **sandbox_connections(details)}
        sandbox = SandboxProcess(details)
        print(f"{'case':<20} {'messages':>8} {'bytes each':>12} {'MiB above base':>14} {'seconds':>8}")
        try:
            for group in cases(mailboxes()):
                sandbox.ask("POST", "reset")
                for case, took in zip(group, run_together(group, Path(folder)), strict=True):
                    rows[case.name] = took
                    measured = f"{took['peak_mib_above_base']:>14} {took['seconds']:>8}"
                    print(f"{case.name:<20} {took['messages']:>8,} {took['bytes']:>12,} {measured}", flush=True)
                check(sandbox, group)
        except Unsound as unsound:
            print(f"This run does not count: {unsound}", file=sys.stderr)
            return 1
    largest = rows["recording"]
    print(
        json.dumps(
            {
                "peak_mib_above_base": largest["peak_mib_above_base"],
                "seconds": largest["seconds"],
                "cases": rows,
                "total_seconds": round(time.monotonic() - begun),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
