"""Azurite, Microsoft's stand-in for Azure Blob Storage: installed on first use, run for as long as a test needs it."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.npm import installed

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".azurite"

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
    node = installed(HERE, INSTALLED)
    command = ["node", "--require", str(HERE / "end_with_parent.cjs")]
    command += [str(node.folder / "node_modules/azurite/dist/src/blob/main.js"), "--blobHost", "127.0.0.1"]
    # Azurite lags behind the newest storage API; what is used here has been the same for years.
    command += ["--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    with subprocess.Popen(
        command,
        cwd=node.folder,
        env=node.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield _endpoint(process)
        finally:
            process.kill()


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
