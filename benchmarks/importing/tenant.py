"""The sandbox in a process of its own: start it, open its doors, end it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from o2_connector.core.layout import bucket_of
from sandbox.people import organisation

ROOT = Path(__file__).resolve().parents[2]
USERS = 1500
BUCKETS = range(5)
"""The mailboxes of these are what one of thirteen import tasks has: about 110 of the users'."""
SECONDS_TO_START = 60


class SandboxProcess:
    """Talk to a sandbox that runs in another process."""

    def __init__(self, details: dict[str, Any]) -> None:
        self.details = details
        self.graph_url: str = details["graph"]["url"]
        self.ca_file: str = details["ca_file"]
        self._root = self.graph_url.removesuffix("/v1.0")
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = self.ca_file
        graph = details["graph"]
        form = {"grant_type": "client_credentials", "scope": f"{self._root}/.default"}
        form |= {name: graph[name] for name in ("client_id", "client_secret")}
        granted = self._session.post(f"{graph['authority']}/oauth2/v2.0/token", data=form, timeout=30)
        granted.raise_for_status()
        self.token: str = granted.json()["access_token"]

    def ask(self, method: str, door: str, body: Any = None) -> Any:
        """Open one of the sandbox's doors (sandbox/GRAPH.md)."""
        answer = self._session.request(method, f"{self._root}/_sandbox/{door}", json=body, timeout=120)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def make_folders(self, mailboxes: list[str]) -> dict[str, str]:
        """Make the archive's folder in each mailbox, for peers, which are given it; return its id by mailbox."""
        folders = {}
        for mailbox in mailboxes:
            answer = self._session.post(
                f"{self.graph_url}/users/{mailbox}/mailFolders/msgfolderroot/childFolders",
                json={"displayName": "Archive of a peer"},
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=30,
            )
            answer.raise_for_status()
            folders[mailbox] = answer.json()["id"]
        return folders


def mailboxes() -> list[str]:
    """Name the users of one task's buckets whose mailboxes take mail, by id."""
    directory, _ = organisation(1, USERS)
    return [user.id for user in directory if user.mailbox == "ok" and bucket_of(user.id) in BUCKETS]


@contextmanager
def running(state: Path) -> Iterator[SandboxProcess]:
    """Run a sandbox while the context lasts, its limits on."""
    command = [sys.executable, "-m", "sandbox", "--state", str(state), "--users", str(USERS), "--items", "60"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        details = state / "sandbox.json"
        deadline = time.monotonic() + SECONDS_TO_START
        while not details.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the sandbox did not start; what is above says why")
            time.sleep(0.05)
        yield SandboxProcess(json.loads(details.read_text(encoding="utf-8")))
    finally:
        process.terminate()
        process.wait()
