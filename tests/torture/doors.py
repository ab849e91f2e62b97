"""The sandbox from outside: its doors for programs, what goes wrong in it, and the user of a mailbox."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.process import SandboxProcess, running_process

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


class Doors(SandboxProcess):
    """Hold the conversation with one sandbox, as the torture needs it."""

    def clean(self, *, requests_seconds: int, upload_seconds: int) -> None:
        """Empty all mailboxes and set the windows of the limits, and the latency."""
        self.ask("PUT", "limits", {"requests_seconds": requests_seconds, "upload_seconds": upload_seconds})
        self.ask("PUT", "latency", {"seconds": LATENCY_SECONDS})
        self.ask("POST", "reset")

    def begin_faults(self) -> None:
        """Let things go wrong from now on."""
        for fault in FAULTS:
            self.ask("POST", "faults", {**fault, "times": _FOR_EVER})

    def end_faults(self) -> None:
        """Let nothing go wrong any more."""
        self.ask("DELETE", "faults")

    def tally(self) -> dict[str, Any]:
        """Return for each mailbox how many messages it has, and how many of each item."""
        found: dict[str, Any] = self.ask("GET", "tally")
        return found

    def breaches(self) -> list[dict[str, Any]]:
        """Return who went over which limit."""
        found: list[dict[str, Any]] = self.ask("GET", "breaches")
        return found

    def move(self, message: Mapping[str, Any], folder: str) -> None:
        """Move a message, as its user does."""
        self.graph("POST", f"{_of(message)}/move", {"destinationId": folder})

    def delete(self, message: Mapping[str, Any]) -> None:
        """Move a message to the deleted items, as its user does."""
        self.graph("DELETE", _of(message))

    def purge(self, message: Mapping[str, Any]) -> None:
        """Delete a message for good, as its user does."""
        self.graph("POST", f"{_of(message)}/permanentDelete")


@contextmanager
def sandbox(state: Path, *, users: int) -> Iterator[Doors]:
    """Run a sandbox as a process of its own."""
    with running_process(state, "--users", str(users)) as details:
        yield Doors(details)


def _of(message: Mapping[str, Any]) -> str:
    return f"/users/{message['userId']}/messages/{message['id']}"
