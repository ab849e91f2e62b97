"""The sandbox in a process of its own: start it, open its doors, ask its Graph as a user would, end it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[1]
SECONDS_TO_START = 60.0
SECONDS_TO_ANSWER = 120.0


class SandboxProcess:
    """Talk to a sandbox that runs in another process.

    :param details: as the sandbox writes them into its ``sandbox.json``.
    """

    def __init__(self, details: dict[str, Any]) -> None:
        self.details = details
        self.graph_url: str = details["graph"]["url"]
        self.ca_file: str = details["ca_file"]
        self._root = self.graph_url.removesuffix("/v1.0")
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = self.ca_file

    @cached_property
    def token(self) -> str:
        """Return a token for its Graph."""
        graph = self.details["graph"]
        form = {"grant_type": "client_credentials", "scope": f"{self._root}/.default"}
        form |= {name: graph[name] for name in ("client_id", "client_secret")}
        granted = self._session.post(f"{graph['authority']}/oauth2/v2.0/token", data=form, timeout=SECONDS_TO_ANSWER)
        granted.raise_for_status()
        token: str = granted.json()["access_token"]
        return token

    def ask(self, method: str, door: str, body: Any = None) -> Any:
        """Open one of the sandbox's doors (GRAPH.md); return what it says, as JSON has it."""
        return _said(self._send(method, f"{self._root}/_sandbox/{door}", body))

    def messages(self) -> list[dict[str, Any]]:
        """Return all messages outside of the folders of deleted ones."""
        return [json.loads(line) for line in self._send("GET", f"{self._root}/_sandbox/messages").content.splitlines()]

    def graph(self, method: str, path: str, body: Any = None) -> Any:
        """Do something in a mailbox, as its user does."""
        headers = {"Authorization": f"Bearer {self.token}", "Prefer": 'IdType="ImmutableId"'}
        return _said(self._send(method, self.graph_url + path, body, headers))

    def _send(
        self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        answer = self._session.request(method, url, json=body, headers=headers, timeout=SECONDS_TO_ANSWER)
        answer.raise_for_status()
        return answer


@contextmanager
def running_process(state: Path, *options: str) -> Iterator[dict[str, Any]]:
    """Run a sandbox while the context lasts; its files, with a log, lie in `state`.

    :param options: of ``python -m sandbox``.
    :returns: its details.
    """
    state.mkdir(parents=True, exist_ok=True)
    with (state / "sandbox.log").open("wb") as log:
        command = [sys.executable, "-m", "sandbox", "--state", str(state), *options]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        details = state / "sandbox.json"
        deadline = time.monotonic() + SECONDS_TO_START
        while not details.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"the sandbox did not start; {log.name} says why:\n{Path(log.name).read_text()[-2000:]}"
                )
            time.sleep(0.02)
        yield json.loads(details.read_text("utf-8"))
    finally:
        process.terminate()
        process.wait(30)


def _said(answer: requests.Response) -> Any:
    return answer.json() if answer.content else None
