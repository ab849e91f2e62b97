"""What several tests of the hooks stand on: certificates, a clock, a scripted tenant, and the sandbox's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from o2_connector.core.naming import FOLDER_NAME
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_mail import folder_call, id_of
from o2_connector.hooks.graph_requests import GraphRequests
from sandbox.graph.programs import messages as messages_of
from sandbox.server import Sandbox, running
from sandbox.tls import Certificates, certificates
from tests.hooks.graph_tenant import CLIENT, PATIENCE, SECRET, SETTLE, TENANT, Tenant
from tests.hooks.tls_site import Time, serving


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def moment() -> Time:
    return Time()


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the proxy of the machine that the tests run on."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


# A Graph by script


@pytest.fixture
def tenant(tls: Certificates) -> Iterator[Tenant]:
    tenant = Tenant()
    with serving(tenant.answer, tls) as tenant.url:
        yield tenant


@pytest.fixture
def connect_graph(moment: Time, no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., GraphHook]:
    """Return a function that makes a hook on a connection."""

    def connect(*, login: str | None = CLIENT, password: str | None = SECRET, **extra: Any) -> GraphHook:
        connection = {"conn_type": "o2_graph", "login": login, "password": password, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_O2_GRAPH", json.dumps(connection))
        return GraphHook(patience_seconds=PATIENCE, settle_seconds=SETTLE, sleep=moment.sleep, clock=moment.clock)

    return connect


@pytest.fixture
def here(tenant: Tenant, tls: Certificates) -> dict[str, str]:
    """Return the extra that leads to the scripted tenant."""
    return {
        "graph_url": f"{tenant.url}/v1.0",
        "authority": f"{tenant.url}/{TENANT}",
        "ca_file": str(tls.authority),
    }


@pytest.fixture
def graph_hook(connect_graph: Callable[..., GraphHook], here: dict[str, str]) -> GraphHook:
    return connect_graph(**here)


@pytest.fixture
def graph(graph_hook: GraphHook) -> GraphRequests:
    return graph_hook.graph


# The sandbox's Graph


@pytest.fixture(scope="session")
def running_graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=1, users=40) as sandbox:
        yield sandbox


@pytest.fixture
def graph_sandbox(running_graph: Sandbox) -> Iterator[Sandbox]:
    """Lend the sandbox, its mailboxes empty; the test must not have broken Graph's rules."""
    running_graph.graph.reset()
    yield running_graph
    assert running_graph.graph.breaches == []


@pytest.fixture
def sandbox_fields(graph_sandbox: Sandbox) -> dict[str, str]:
    return {
        "login": graph_sandbox.client_id,
        "password": graph_sandbox.client_secret,
        "tenant_id": graph_sandbox.tenant_id,
        "authority": graph_sandbox.authority,
        "graph_url": graph_sandbox.graph_url,
        "ca_file": str(graph_sandbox.ca_file),
    }


@pytest.fixture
def sandbox_hook(connect_graph: Callable[..., GraphHook], sandbox_fields: dict[str, str]) -> GraphHook:
    return connect_graph(**sandbox_fields)


@pytest.fixture
def sandbox_graph(sandbox_hook: GraphHook) -> GraphRequests:
    return sandbox_hook.graph


@pytest.fixture
def box(graph_sandbox: Sandbox) -> str:
    return next(user.id for user in graph_sandbox.world.directory if user.mailbox == "ok")


@pytest.fixture
def make_folder(sandbox_graph: GraphRequests) -> Callable[[str], str]:
    """Return a function that makes the archive folder in a mailbox of the sandbox."""

    def make(mailbox: str) -> str:
        folder_id = id_of(sandbox_graph.send_once(folder_call(mailbox, FOLDER_NAME)))
        assert folder_id is not None
        return folder_id

    return make


@pytest.fixture
def kept(graph_sandbox: Sandbox) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that gives all messages of all mailboxes, deleted ones left out."""
    return lambda: [json.loads(line) for line in messages_of(graph_sandbox.graph)]
