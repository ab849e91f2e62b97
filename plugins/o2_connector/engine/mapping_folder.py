"""Mapping folder: the files that are, together, the mapping, and those that only look like it."""

from __future__ import annotations

import re
from pathlib import Path

from o2_connector.core.errors import StopError
from o2_connector.core.escapes import one_line
from o2_connector.core.mapping_files import Finding, Severity, is_mapping_file

_OURS = {"example.csv.txt", "README.md"}
_LOOKS_LIKE_ONE = re.compile(r".*(\.csv.*|\.(txt|tsv|tab|xls[xmb]?|ods|numbers))", re.IGNORECASE | re.DOTALL)
_LOCK = re.compile(r"~\$.*|\.~lock\..*#", re.DOTALL)  # Excel's and LibreOffice's, while they have a file open


def read_folder(folder: Path) -> list[tuple[str, bytes]]:
    """Return name and content of every mapping file, sorted by name: ``*.csv`` in capitals or not, none hidden.

    :raises StopError: where the folder is not there (nobody said that there is no mapping), or a file cannot be read.
    """
    files = []
    for path in _entries(folder):
        if _is_read(path):
            try:
                files.append((_shown(path), path.read_bytes()))
            except OSError as error:
                raise StopError(
                    f"The mapping file {_shown(path)} cannot be read ({error.strerror}): let every worker read it."
                ) from error
    return files


def unread(folder: Path) -> list[Finding]:
    """Return a finding for every file that somebody may take for a part of the mapping, and that is none.

    :raises StopError: where the folder is not there.
    """
    return [finding for path in _entries(folder) if not _is_read(path) and (finding := _why_unread(path))]


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise StopError(f"The folder of mapping files, {folder}, does not exist here: mount it into every worker.")
    return sorted(folder.iterdir())


def _is_read(path: Path) -> bool:
    return is_mapping_file(path.name) and path.is_file()


def _why_unread(path: Path) -> Finding | None:
    if path.name in _OURS or not _LOOKS_LIKE_ONE.fullmatch(path.name):
        return None
    if _LOCK.fullmatch(path.name):
        severity, what = Severity.NOTE, "somebody has the file of this name open"
        remedy = "what they have not saved yet is not in the mapping"
    elif path.name.startswith("."):
        severity, what, remedy = Severity.NOTE, "a hidden file is not read", "rename it if it is part of the mapping"
    elif path.suffix.lower() == ".csv":
        severity, what = Severity.WARNING, "this is no file, or a link to none, and is not read"
        remedy = "put the file itself here"
    else:
        severity, what = Severity.WARNING, "this is not read, for its name does not end in .csv"
        remedy = "save it as “CSV UTF-8 (Comma delimited)” if it is part of the mapping; else move it elsewhere"
    return Finding(file=_shown(path), severity=severity, what=what, remedy=remedy)


def _shown(path: Path) -> str:
    """Return a name that can be printed and frozen, whatever bytes it has on the disk."""
    return one_line(path.name)
