"""Verify: prove what was archived of a day, or say what is wrong with it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from o2_connector.commands.connections import GRAPH, is_there
from o2_connector.commands.screen import wrapped
from o2_connector.commands.windows import WHAT, span_of
from o2_connector.core.errors import ConnectorError
from o2_connector.core.plurals import many
from o2_connector.core.settings import read_settings
from o2_connector.engine.proof.chain import head_of
from o2_connector.engine.proof.mailboxes import Extent
from o2_connector.engine.proof.result import Result
from o2_connector.engine.proof.verification import prove
from o2_connector.hooks.graph_requests import GraphRequests
from o2_connector.hooks.staging import StagingHook

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

MOST = 50
"""Faults of one proof that are shown to a person."""


def add_to(subparsers: Subparsers) -> None:
    """Add the command to the parser of commands."""
    parser = subparsers.add_parser("verify")
    parser.description = (
        "Prove what was archived of a window: the chain of all books, every staged byte by its digest, the conversion"
        " made again, the books added up again, what waits, and the messages in the mailboxes. Nothing is changed, but"
        " that it takes its turn with imports. Exit 1 where anything is wrong, 2 where something could not be proved."
    )
    parser.add_argument("window", metavar="WINDOW", help=WHAT)
    parser.add_argument(
        "--mailboxes",
        choices=list(map(str, Extent)),
        default=str(Extent.SAMPLE),
        help="which deliveries are looked up: some hundreds of each window, all, or none; all also finds items in a"
        " mailbox that was not meant to have them (%(default)s)",
    )
    parser.add_argument("--seed", metavar="WORD", default="", help="choose another sample")
    parser.add_argument(
        "--head",
        metavar="LINK",
        action="append",
        default=[],
        help="a link that the chain must have, as a log has it behind `Chain:`, from somewhere that whoever writes to"
        " staging cannot reach: without one, links that were taken away from the chain's end are not missed",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a proof, for a script")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is proved, proof by proof, with what is wrong; return 1 or 2 where not all is.

    :raises StopError: where the window or a link is none, or staging is not to be had.
    """
    span = span_of(arguments.window, ZoneInfo(read_settings(os.environ, mappings="").timezone))
    heads = [head_of(each) for each in arguments.head]
    extent = Extent(arguments.mailboxes)
    graph = _graph if extent is not Extent.NONE and is_there(GRAPH, os.environ) else None
    show = _print_json if arguments.json else _print
    faults = unproved = 0
    try:
        for result in prove(StagingHook(), graph, span, heads=heads, extent=extent, seed=arguments.seed):
            show(result)
            faults, unproved = faults + len(result.faults), unproved + len(result.unproved)
    except ConnectorError as error:  # what was found before is worth its status all the same
        print(error, file=sys.stderr)
        unproved += 1
    if not arguments.json:
        print(_summed(faults, unproved, extent))
    return 1 if faults else 2 if unproved else 0


def _graph() -> GraphRequests:
    from o2_connector.hooks.graph import GraphHook  # two seconds, for Airflow

    return GraphHook().graph


def _print(result: Result) -> None:
    print(wrapped(f"{result.proof:<11} {result.proved or 'nothing is proved'}", " " * 12), flush=True)
    for name, each in (("wrong", result.faults), ("not proved", result.unproved)):
        for one in each[:MOST]:
            print(wrapped(f"  {name}: {one}"))
        if len(each) > MOST:
            print(f"  … and {len(each) - MOST:,} more: --json prints all")


def _print_json(result: Result) -> None:
    print(json.dumps(msgspec.to_builtins(result)), flush=True)


def _summed(faults: int, unproved: int, extent: Extent) -> str:
    if faults:
        return f"{many(faults, 'thing')} wrong."
    if unproved:
        return f"Nothing wrong was found, but {many(unproved, 'thing')} could not be proved."
    return "All is proved." if extent is not Extent.NONE else "All is proved but the mailboxes: nobody looked there."
