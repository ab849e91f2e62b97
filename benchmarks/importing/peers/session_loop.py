"""Peer: what one writes first, a loop of `requests` over one session, create after create."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests

from benchmarks.importing.client import by_mailbox, serve


def prepare(task: dict[str, Any]) -> Callable[[], int]:
    """Make ready to create each message by itself, mailbox after mailbox."""
    session = requests.Session()
    session.trust_env = False
    session.verify = task["ca_file"]
    session.headers["Authorization"] = f"Bearer {task['token']}"
    messages = by_mailbox(task["messages"])

    def job() -> int:
        made = 0
        for (mailbox, folder), of_mailbox in messages.items():
            url = f"{task['graph_url']}/users/{mailbox}/mailFolders/{folder}/messages"
            for message in of_mailbox:
                session.post(url, json=message).raise_for_status()
                made += 1
        return made

    return job


if __name__ == "__main__":
    serve(prepare)
