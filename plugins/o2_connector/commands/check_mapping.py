"""Check mapping: say what is not right in the mapping files, before a run does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from o2_connector.commands.connections import GRAPH, is_there
from o2_connector.commands.mappings import MAPPINGS, add_folder_to
from o2_connector.commands.screen import summed, wrapped
from o2_connector.core.errors import ConnectorError
from o2_connector.core.mapping_files import Finding, MappingRow, Severity, labels_of, read_mapping_files
from o2_connector.core.phone_book import bind
from o2_connector.core.plurals import many
from o2_connector.core.settings import Settings, read_settings
from o2_connector.engine.mapping_folder import read_folder, unread

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_to(subparsers: Subparsers) -> None:
    """Add the command to the parser of commands."""
    parser = subparsers.add_parser("check-mapping")
    parser.description = (
        "Say what is not right in the mapping files, and where there is a connection o2_graph, which rows lead to no"
        " mailbox. Exit 1 where a run could not use them."
    )
    add_folder_to(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every finding, what the directory was asked, and a summary; return 1 where there is an error.

    :raises StopError: where the folder or the settings are none.
    """
    settings = read_settings(os.environ, MAPPINGS)
    folder = Path(arguments.folder or settings.mappings)
    files = read_folder(folder)
    rows, found = read_mapping_files(files, settings.region, ZoneInfo(settings.timezone))
    _, found = bind(rows, found)
    more, asked = _directory_findings(rows, files, settings)
    findings = sorted([*found, *more, *unread(folder)], key=lambda finding: (finding.file, finding.line or 0))
    for finding in findings:
        print(wrapped(str(finding)))
    print(wrapped(asked))
    numbers = len({row.number for row in rows})
    counts = ", ".join((many(len(files), "file"), many(len(rows), "row"), many(numbers, "number")))
    print(f"{counts}: {summed(findings)}")
    return int(any(finding.severity is Severity.ERROR for finding in findings))


def _directory_findings(
    rows: Sequence[MappingRow], files: Sequence[tuple[str, bytes]], settings: Settings
) -> tuple[list[Finding], str]:
    """Return what the directory finds, and a sentence on whether it was asked."""
    if not rows:
        return [], "The directory was not asked: there is no row."
    if not is_there(GRAPH, os.environ):
        return [], f"The directory was not asked: there is no connection {GRAPH}."
    from o2_connector.commands.directory_check import ask_directory, directory_findings  # seconds, for Airflow

    try:
        directory = ask_directory({row.mailbox for row in rows}, settings)
    except ConnectorError as error:  # what is wrong in the files is worth knowing all the same
        return [], f"The directory could not be asked: {error}"
    opened = sum(entry.mailbox is not None for entry in directory.values())
    labels = {name: labels_of(name, content) for name, content in files}
    return (
        list(directory_findings(rows, directory, labels)),
        f"The directory was asked: {opened:,} of the {len(directory):,} addresses lead to a mailbox.",
    )
