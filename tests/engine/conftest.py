"""A tenant of the sandbox's, a staging directory, and an import between them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.airflow_settings import sandbox_connections
from o2_connector.core.ledger import Receipt
from o2_connector.core.manifest import Shard
from o2_connector.core.outcomes import Outcome
from o2_connector.engine.delivery import import_shard
from o2_connector.engine.ownership import Rhythm
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_requests import Call
from o2_connector.hooks.staging import StagingHook
from sandbox.graph import Tenant
from sandbox.graph.programs import messages as messages_of
from sandbox.server import Sandbox, running

SETTLE = 0.3


@dataclass(kw_only=True)
class Site:
    """Hold a tenant and a staging directory."""

    sandbox: Sandbox
    staging: StagingHook
    folder: Path

    @property
    def tenant(self) -> Tenant:
        return self.sandbox.graph

    def boxes(self, count: int, kind: str = "ok") -> list[str]:
        """Return the ids of so many users."""
        return sorted(user.id for user in self.sandbox.world.directory if user.mailbox == kind)[:count]

    def deliver(self, shard: Shard, **options: Any) -> Counter[Outcome]:
        """Import a shard."""
        options = {"settle_seconds": SETTLE, "rhythm": Rhythm(), **options}
        return import_shard(self.staging, GraphHook().graph, shard, **options)

    def messages(self) -> list[dict[str, Any]]:
        """Return every message of every mailbox, in the order of their creation."""
        return [json.loads(line) for line in messages_of(self.tenant)]

    def subjects(self) -> Counter[tuple[str, str]]:
        """Return how often each text lies in each mailbox."""
        return Counter((each["userId"], text_of(each)) for each in self.messages())

    def receipts(self) -> list[Receipt]:
        """Return every receipt that was ever written."""
        names = [name for name in self.staging.names("windows/") if "/receipts." in name]
        return [each for name in names for each in self.staging.read_lines(self.staging.staged(name), Receipt)]

    def causes(self) -> Counter[tuple[Outcome, str | None]]:
        """Return how often each outcome and cause was received."""
        return Counter((each.outcome, each.cause) for each in self.receipts())

    def graph(self, method: str, path: str, body: Any = None) -> None:
        """Do something to a mailbox, as its reader would."""
        answer = GraphHook().graph.batch([Call(method=method, path=path, body=body)])[0]
        assert answer.ok, answer


def text_of(message: dict[str, Any]) -> str:
    """Return a message's text, which is the first line of its body."""
    first: str = message["bodyPreview"].strip().splitlines()[0]
    return first


@pytest.fixture(scope="session")
def running_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=1, users=40) as sandbox:
        yield sandbox


@pytest.fixture
def site(running_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with connected(running_sandbox, tmp_path, monkeypatch) as site:
        yield site


@contextmanager
def connected(sandbox: Sandbox, where: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Point Airflow's connections at a sandbox, its mailboxes empty, and at a new staging directory."""
    sandbox.graph.reset()
    for name, value in sandbox_connections(sandbox.details()).items():
        monkeypatch.setenv(name, value)
    folder = where / "staging"
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "fs", "extra": {"path": str(folder)}}))
    yield Site(sandbox=sandbox, staging=StagingHook(), folder=folder)
    assert sandbox.graph.breaches == []
