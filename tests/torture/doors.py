"""The sandbox from outside: its doors for programs, what goes wrong in it, and the user of a mailbox."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 60.0
LATENCY_SECONDS = 0.03

_FOR_EVER = 10**9
_ANY = "/v1.0/users/"
_CREATES = "/messages$"
FAULTS: tuple[Mapping[str, Any], ...] = (
    {
        "kind": "status",
        "path": _ANY,
        "rate": 0.07,
        "status": 429,
        "code": "ApplicationThrottled",
        "retry_after": "0.05",
    },
    {"kind": "status", "path": _ANY, "rate": 0.03, "status": 429, "code": "ApplicationThrottled", "retry_after": "0.4"},
    {"kind": "status", "path": _ANY, "rate": 0.05, "status": 503, "code": "ServiceUnavailable"},
    {"kind": "executed_but_lost", "path": _CREATES, "rate": 0.08, "how": "504"},
    {"kind": "late", "path": _CREATES, "rate": 0.02, "seconds": 0.1},
    {"kind": "executed_but_lost", "path": "/attachments$|/createUploadSession$|/upload/", "rate": 0.1, "how": "504"},
    {"kind": "status", "path": "/upload/", "rate": 0.1, "status": 503},
    {"kind": "cut", "path": r"/\$batch$|/attachments$|/upload/", "rate": 0.05},
    {"kind": "executed_but_lost", "path": r"/\$batch$", "rate": 0.03},
)


class Doors:
    """Hold the conversation with one sandbox."""

    def __init__(self, details: Mapping[str, Any]) -> None:
        self.details = details
        self._graph = details["graph"]
        self._root = str(self._graph["url"]).removesuffix("/v1.0")
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = details["ca_file"]
        self._token = ""

    def clean(self, *, requests_seconds: int, upload_seconds: int) -> None:
        """Empty all mailboxes and set the windows of the limits, and the latency."""
        windows = {"requests_seconds": requests_seconds, "upload_seconds": upload_seconds}
        self._ask("PUT", "/_sandbox/limits", windows)
        self._ask("PUT", "/_sandbox/latency", {"seconds": LATENCY_SECONDS})
        self._ask("POST", "/_sandbox/reset")

    def begin_faults(self) -> None:
        """Let things go wrong from now on."""
        for fault in FAULTS:
            self._ask("POST", "/_sandbox/faults", {**fault, "times": _FOR_EVER})

    def end_faults(self) -> None:
        """Let nothing go wrong any more."""
        self._ask("DELETE", "/_sandbox/faults")

    def tally(self) -> dict[str, Any]:
        """Return for each mailbox how many messages it has, and how many of each item."""
        found: dict[str, Any] = self._ask("GET", "/_sandbox/tally").json()
        return found

    def messages(self) -> list[dict[str, Any]]:
        """Return all messages outside of the folders of deleted ones."""
        return [json.loads(line) for line in self._ask("GET", "/_sandbox/messages").content.splitlines()]

    def breaches(self) -> list[dict[str, Any]]:
        """Return who went over which limit."""
        found: list[dict[str, Any]] = self._ask("GET", "/_sandbox/breaches").json()
        return found

    def move(self, message: Mapping[str, Any], folder: str) -> None:
        """Move a message, as its user does."""
        self._ask("POST", f"{_of(message)}/move", {"destinationId": folder}, headers=self._as_user())

    def delete(self, message: Mapping[str, Any]) -> None:
        """Move a message to the deleted items, as its user does."""
        self._ask("DELETE", _of(message), headers=self._as_user())

    def purge(self, message: Mapping[str, Any]) -> None:
        """Delete a message for good, as its user does."""
        self._ask("POST", f"{_of(message)}/permanentDelete", headers=self._as_user())

    def _as_user(self) -> dict[str, str]:
        graph = self._graph
        if not self._token:
            form = {
                "grant_type": "client_credentials",
                "client_id": graph["client_id"],
                "client_secret": graph["client_secret"],
                "scope": f"{self._root}/.default",
            }
            answer = self._session.post(f"{graph['authority']}/oauth2/v2.0/token", data=form, timeout=30)
            self._token = answer.json()["access_token"]
        return {"Authorization": f"Bearer {self._token}", "Prefer": 'IdType="ImmutableId"'}

    def _ask(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        answer = self._session.request(method, self._root + path, json=body, headers=dict(headers or {}), timeout=60)
        answer.raise_for_status()
        return answer


@contextmanager
def sandbox(state: Path, *, users: int) -> Iterator[Doors]:
    """Run a sandbox as a process of its own."""
    state.mkdir(parents=True)
    with (state / "sandbox.log").open("wb") as log:
        command = [sys.executable, "-m", "sandbox", "--state", str(state), "--users", str(users)]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        details = state / "sandbox.json"
        deadline = time.monotonic() + SECONDS_TO_START
        while not details.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the sandbox did not start; see {log.name}")
            time.sleep(0.02)
        yield Doors(json.loads(details.read_text("utf-8")))
    finally:
        process.terminate()
        process.wait(30)


def _of(message: Mapping[str, Any]) -> str:
    return f"/v1.0/users/{message['userId']}/messages/{message['id']}"
