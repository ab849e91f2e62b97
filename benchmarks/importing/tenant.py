"""The sandbox that is imported into: which mailboxes, and a peer's folders in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from o2_connector.core.layout import bucket_of
from sandbox.people import organisation
from sandbox.process import SandboxProcess, running_process

USERS = 1500
BUCKETS = range(5)
"""The mailboxes of these are what one of thirteen import tasks has: about 110 of the users'."""


def make_folders(sandbox: SandboxProcess, mailboxes: list[str]) -> dict[str, str]:
    """Make the archive's folder in each mailbox, for peers, which are given it; return its id by mailbox."""
    return {
        mailbox: sandbox.graph(
            "POST",
            f"/users/{mailbox}/mailFolders/msgfolderroot/childFolders",
            {"displayName": "Archive of a peer"},
        )["id"]
        for mailbox in mailboxes
    }


def mailboxes() -> list[str]:
    """Name the users of one task's buckets whose mailboxes take mail, by id."""
    directory, _ = organisation(1, USERS)
    return [user.id for user in directory if user.mailbox == "ok" and bucket_of(user.id) in BUCKETS]


@contextmanager
def running(state: Path) -> Iterator[SandboxProcess]:
    """Run a sandbox while the context lasts, its limits on."""
    with running_process(state, "--users", str(USERS), "--items", "60") as details:
        yield SandboxProcess(details)
