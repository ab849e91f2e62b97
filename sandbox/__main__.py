"""Run the sandbox as a process: `python -m sandbox --state DIR`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from datetime import date
from pathlib import Path

from sandbox.server import Sandbox, running

STOPPING = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; `sandbox.json` in the state folder says where, while it lasts."""
    arguments = _arguments()
    state: Path = arguments.state.absolute()
    details = state / "sandbox.json"
    details.unlink(missing_ok=True)
    # Blocked before any thread begins, so that no thread takes the signal from the one that waits for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    with running(
        state,
        seed=arguments.seed,
        items=arguments.items,
        users=arguments.users,
        zone=arguments.zone,
        corpus=arguments.corpus,
        batch_size=arguments.batch_size,
        host=arguments.host,
        name=arguments.name,
        telemessage_port=arguments.telemessage_port,
        graph_port=arguments.graph_port,
        smtp_port=arguments.smtp_port,
        latency=arguments.latency,
        message_mb=arguments.message_mb,
        quiet=arguments.quiet,
    ) as sandbox:
        _write(details, sandbox)
        sys.stdout.write(_welcome(arguments, sandbox, details))
        sys.stdout.flush()
        signal.sigwait(STOPPING)
        details.unlink(missing_ok=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="A TeleMessage site and a Microsoft Graph to run the archiver against."
    )
    parser.add_argument("--state", type=Path, required=True, help="folder for certificates, mappings and sandbox.json")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another world (%(default)s)")
    parser.add_argument("--items", type=int, default=2000, help="items a day (%(default)s)")
    parser.add_argument("--users", type=int, default=25, help="users in the directory (%(default)s)")
    parser.add_argument("--zone", default="Europe/London", help="time zone of the days (%(default)s)")
    parser.add_argument("--corpus", type=Path, help="texts to use: sender and text in JSON Lines, may be .gz")
    parser.add_argument("--batch-size", type=int, default=500, help="items in a batch (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--name", help="host name by which other machines reach the sandbox")
    for service in ("telemessage", "graph", "smtp"):
        parser.add_argument(f"--{service}-port", type=int, default=0, help="port (any that is free)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds a request to Graph takes (%(default)s)")
    parser.add_argument(
        "--message-mb",
        type=int,
        choices=range(1, 151),
        metavar="1-150",
        default=35,
        help="what a message may have with its attachments, as administrators set it (%(default)s)",
    )
    parser.add_argument(
        "--quiet",
        type=date.fromisoformat,
        action="append",
        default=[],
        metavar="DAY",
        help="a day on which nothing was captured, like 2026-11-21; may be given several times",
    )
    return parser.parse_args()


def _write(details: Path, sandbox: Sandbox) -> None:
    """Write the details at once: who sees the file sees all of it."""
    content = {"pid": os.getpid(), **sandbox.details()}
    part = details.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(details)


def _welcome(arguments: argparse.Namespace, sandbox: Sandbox, details: Path) -> str:
    source = f"texts of {arguments.corpus.name}" if arguments.corpus else f"seed {arguments.seed}"
    return (
        f"A sandbox of {arguments.users} users and {sandbox.world.items:,} items a day ({source}, {arguments.zone})\n"
        f"  TeleMessage  {sandbox.telemessage_url}\n"
        f"  Graph        {sandbox.graph_url}\n"
        f"  Mailboxes    {sandbox.page_url}\n"
        f"  Mail sink    {sandbox.smtp_host}:{sandbox.smtp_port}\n"
        f"  How to log in, and which certificate to trust: {details}\n"
        "Ctrl-C ends it.\n"
    )


if __name__ == "__main__":
    main()
