"""Check mapping: say what is not right in the mapping files, before a run does."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from o2_connector.core.mapping_files import Finding, Severity, read_mapping_files
from o2_connector.core.phone_book import bind
from o2_connector.core.settings import read_settings
from o2_connector.engine.mapping_folder import read_folder, unread

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_to(subparsers: Subparsers) -> None:
    """Add the command to the parser of commands."""
    parser = subparsers.add_parser("check-mapping", help="say what is not right in the mapping files")
    parser.description = "Say what is not right in the mapping files. Exit 1 where a run could not use them."
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=Path("include/mappings"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every finding, and a summary; return 1 where there is an error.

    :raises StopError: where the folder or the settings are none.
    """
    files = read_folder(arguments.folder)
    settings = read_settings(os.environ, str(arguments.folder))
    rows, found = read_mapping_files(files, settings.region, ZoneInfo(settings.timezone))
    _, found = bind(rows, found)
    findings = sorted([*found, *unread(arguments.folder)], key=lambda finding: (finding.file, finding.line or 0))
    for finding in findings:
        print(_shown(finding))
    numbers = len({row.number for row in rows})
    counted = ", ".join((_count(len(files), "file"), _count(len(rows), "row"), _count(numbers, "number")))
    print(f"{counted}: {_summary(findings)}")
    return int(any(finding.severity is Severity.ERROR for finding in findings))


def _shown(finding: Finding) -> str:
    """Return a line; for a person, over several ones that end between words."""
    if not sys.stdout.isatty():
        return str(finding)
    width = get_terminal_size().columns
    return fill(str(finding), width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _summary(findings: Iterable[Finding]) -> str:
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(_count(counts[each], each) for each in Severity if counts[each]) or "nothing to mend"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
