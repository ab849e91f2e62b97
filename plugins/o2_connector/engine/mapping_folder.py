"""Mapping folder: the files that are, together, the mapping, and those that only look like it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from o2_connector.core.errors import RetryError, StopError
from o2_connector.core.escapes import one_line
from o2_connector.core.mapping_files import Finding, Severity, is_mapping_file

T = TypeVar("T")

SETTLED_SECONDS = 5.0
"""Seconds since a file was changed, after which it is taken for whole."""

_OURS = {"example.csv.txt", "README.md", ".gitkeep", ".gitignore"}
_LOOKS_LIKE_ONE = re.compile(r".*\.csv.*", re.IGNORECASE | re.DOTALL)
_LOCK = re.compile(r"~\$.*|\.~lock\..*#", re.DOTALL)  # Excel's and LibreOffice's, while they have a file open


def read_folder(folder: Path) -> list[tuple[str, bytes]]:
    """Return name and content of every mapping file, sorted by name: ``*.csv`` in capitals or not, none hidden.

    :raises StopError: where the folder is not there (nobody said that there is no mapping), or a file cannot be read.
    """
    return [(_shown(path), _opened(path, path.read_bytes)) for path in _entries(folder) if _is_read(path)]


def read_settled(folder: Path) -> list[tuple[str, bytes]]:
    """Return the same, for a run: not while a file is being written, for half of one may look whole.

    :raises RetryError: while a file is changed.
    """
    files = read_folder(folder)
    changed = max((_opened(path, path.stat).st_mtime for path in _entries(folder) if _is_read(path)), default=0.0)
    if abs(time.time() - changed) < SETTLED_SECONDS:
        time.sleep(SETTLED_SECONDS)
        if read_folder(folder) != files:
            raise RetryError("A mapping file is being written; the task's next try reads it when it is whole.")
    return files


def unread(folder: Path) -> list[Finding]:
    """Return a finding for everything that somebody may take for a part of the mapping, and that is none.

    :raises StopError: where the folder is not there.
    """
    return [finding for path in _entries(folder) if not _is_read(path) and (finding := _why_unread(path))]


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise StopError(f"The folder of mapping files, {folder}, does not exist here: mount it into every worker.")
    return sorted(folder.iterdir())


def _is_read(path: Path) -> bool:
    # Also what cannot be read, as a link to a share that is away: its rows are missing, and that is an error.
    return is_mapping_file(path.name) and not path.is_dir()


def _opened(path: Path, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except OSError as error:
        raise StopError(
            f"The mapping file {_shown(path)} cannot be read ({error.strerror}): let every worker read it."
        ) from error


def _why_unread(path: Path) -> Finding | None:
    if path.name in _OURS:
        return None
    severity = Severity.WARNING
    if _LOCK.fullmatch(path.name):
        severity, what = Severity.NOTE, "somebody has the file of this name open"
        remedy = "what they have not saved yet is not in the mapping"
    elif path.name.startswith("."):
        if not _LOOKS_LIKE_ONE.fullmatch(path.name):
            return None
        severity, what, remedy = Severity.NOTE, "a hidden file is not read", "rename it if it is part of the mapping"
    elif path.is_dir():
        what, remedy = "a folder within this one is not read", "put its files here if they are part of the mapping"
    else:
        what = "this is not read, for its name does not end in .csv"
        remedy = "save it as “CSV UTF-8 (Comma delimited)” if it is part of the mapping; else move it elsewhere"
    return Finding(file=_shown(path), severity=severity, what=what, remedy=remedy)


def _shown(path: Path) -> str:
    """Return a name that can be printed and frozen, whatever bytes it has on the disk."""
    return one_line(path.name)
