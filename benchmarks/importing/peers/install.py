"""Install the peers that the connector does not need, from benchmarks/requirements.lock, into an environment apart."""

from __future__ import annotations

import hashlib
from pathlib import Path

from demo.install import ROOT, VENV, outer_environment, run, uv_settings

PEERS = VENV / "peers"
LOCK = ROOT / "benchmarks" / "requirements.lock"


def install() -> Path:
    """Make the environment what the lock says, at once when it is that already; return its Python."""
    python, stamp = PEERS / "bin" / "python", PEERS / "installed-from"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == digest):
        environ, uv = uv_settings(outer_environment()), VENV / "bin" / "uv"
        run(uv, "venv", "-q", "--clear", "--python", VENV / "bin" / "python", PEERS, environ=environ)
        run(uv, "pip", "sync", "-q", "--python", python, "--require-hashes", LOCK, environ=environ)
        stamp.write_text(digest)
    return python
