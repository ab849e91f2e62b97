"""Preflight: try every system as the archive uses it, before anything is archived."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from o2_connector.commands.mappings import MAPPINGS
from o2_connector.commands.screen import wrapped
from o2_connector.core.preflight import Finding, OpenPoint
from o2_connector.core.settings import read_settings

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_to(subparsers: Subparsers) -> None:
    """Add the command to the parser of commands."""
    parser = subparsers.add_parser("preflight")
    parser.description = (
        "Try TeleMessage, the tenant, staging and the mapping as the archive uses them, and say what has to be mended."
        " In the canary mailbox a folder and some messages are made and removed again; in staging one object of some"
        " bytes stays. Nothing in the output tells whose it is: it can be sent to anybody. Exit 1 where there is an"
        " error."
    )
    parser.add_argument(
        "--canary", metavar="ADDRESS", help="the mailbox to try, in place of the one that O2_CANARY_MAILBOX names"
    )
    parser.add_argument("--outside", metavar="ADDRESS", help="a mailbox that the application must not be able to open")
    parser.add_argument("--json", action="store_true", help="say it as JSON, when all is done")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Say each finding as soon as it is there, and count them; return 1 where there is an error.

    :raises StopError: where a setting is none.
    """
    settings = read_settings(os.environ, MAPPINGS)
    if arguments.canary is not None:
        settings = replace(settings, canary=arguments.canary)
    # Not before: Airflow takes two seconds to start.
    from o2_connector.engine.preflight.run import PATIENCE_SECONDS, preflight
    from o2_connector.hooks.graph import GraphHook
    from o2_connector.hooks.staging import StagingHook
    from o2_connector.hooks.telemessage import TeleMessageHook

    signal.signal(signal.SIGTERM, _interrupt)
    found = preflight(
        settings,
        TeleMessageHook(),
        GraphHook(patience_seconds=PATIENCE_SECONDS),
        StagingHook(),
        outside=arguments.outside,
        heard=_nothing if arguments.json else _say,
    )
    if arguments.json:
        sys.stdout.buffer.write(found.as_json() + b"\n")
    else:
        print(", ".join(f"{state}: {count}" for state, count in found.counts.items()))
    return int(bool(found.errors))


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt  # what was made is removed on the way out


def _say(finding: Finding | OpenPoint) -> None:
    print(wrapped(str(finding)), flush=True)


def _nothing(_: Finding | OpenPoint) -> None:
    """Say nothing before all is done."""
