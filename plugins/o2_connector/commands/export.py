"""Export: write everything of a window into a folder, with a manifest that others can check."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from o2_connector.commands.screen import wrapped
from o2_connector.commands.windows import WHAT, named, span_of
from o2_connector.core.errors import StopError
from o2_connector.core.plurals import many
from o2_connector.core.settings import read_settings
from o2_connector.core.window import Window
from o2_connector.engine.export.window import FORMATS, export_window
from o2_connector.engine.windows import windows_in
from o2_connector.hooks.staging import StagingHook

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_to(subparsers: Subparsers) -> None:
    """Add the command to the parser of commands."""
    parser = subparsers.add_parser("export")
    parser.description = (
        "Write everything of a window into a folder, from staging alone: as e-mails, as conversations in the Relativity"
        " Short Message Format 2.0, or as the records that were captured; with a manifest, and sums that `sha256sum -c"
        " SHA256SUMS` checks. What is written is personal. Exit 1 where something of the window is missing or altered"
        " in staging: the output and the manifest name it."
    )
    parser.add_argument("window", metavar="WINDOW", help=WHAT)
    parser.add_argument(
        "--to", metavar="DIR", type=Path, required=True, help="the folder, which is not there yet, or is empty"
    )
    parser.add_argument("--format", choices=sorted(FORMATS), required=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the folder and print what is in it; return 1 where it is not everything.

    :raises StopError: where there is no such window, or the folder cannot be.
    """
    staging = StagingHook()
    zone = ZoneInfo(read_settings(os.environ, "").timezone)
    window = _only(staging, arguments.window, zone)
    told = export_window(staging, window, arguments.to, arguments.format)
    print(f"{arguments.to}: {named(window, zone)}, {many(told.files, 'file')} of {told.bytes:,} bytes")
    print(
        f"Items: {told.items:,} of the source, {told.exported:,} exported, {told.rejected:,} rejected,"
        f" {told.not_exported:,} not exported"
    )
    for fault in told.faults:
        print(wrapped(f"Not whole: {fault}"))
    print(wrapped("It holds texts, numbers, names and addresses, and only you can read it: keep it so."))
    print(wrapped(f"Who has it checks it with: cd {quote(str(arguments.to))} && sha256sum -c SHA256SUMS"))
    return int(not told.is_whole)


def _only(staging: StagingHook, asked: str, zone: ZoneInfo) -> Window:
    """Return the window that was asked for.

    :raises StopError: when it is none: what shares time with it is not all of it, or is more.
    """
    span = span_of(asked, zone)
    windows = list(windows_in(staging, span))
    if span in windows:
        return span
    if windows:
        names = ", ".join(each.name for each in windows[:5]) + ("" if len(windows) <= 5 else ", …")
        raise StopError(f"{asked} is not one window, but shares time with {len(windows):,}: name one of them: {names}")
    raise StopError(f"No run has archived a window that lies in {asked}: `o2-archive status` shows which are.")
