"""A connection leads to one tenant's Graph, and nothing that passes through the hook is said aloud."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import pytest

from o2_connector.core.errors import ItemError, RetryError, StopError
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_mail import create_large
from tests.hooks.graph_tenant import BOX, FOLDER, MESSAGES, SECRET, TENANT, Tenant, error, message
from tests.hooks.tls_site import LOST

Connect: TypeAlias = Callable[..., GraphHook]


@pytest.mark.parametrize(
    ("cloud", "authority", "graph_url", "scope"),
    [
        (None, "login.microsoftonline.com", "https://graph.microsoft.com/v1.0", "https://graph.microsoft.com/.default"),
        (
            "gcc_high",
            "login.microsoftonline.us",
            "https://graph.microsoft.us/v1.0",
            "https://graph.microsoft.us/.default",
        ),
        (
            "dod",
            "login.microsoftonline.us",
            "https://dod-graph.microsoft.us/v1.0",
            "https://dod-graph.microsoft.us/.default",
        ),
        (
            "china",
            "login.chinacloudapi.cn",
            "https://microsoftgraph.chinacloudapi.cn/v1.0",
            "https://microsoftgraph.chinacloudapi.cn/.default",
        ),
    ],
)
def test_a_cloud_gives_login_graph_and_scope(
    connect_graph: Connect, cloud: str | None, authority: str, graph_url: str, scope: str
) -> None:
    extra = {"cloud": cloud} if cloud else {}

    access = connect_graph(tenant_id=TENANT, **extra).access

    assert access.authority == f"https://{authority}/{TENANT}"
    assert (access.graph_url, access.scope) == (graph_url, scope)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cloud": "mars"}, "worldwide, gcc_high, dod, china"),
        ({"tenant_id": None}, "tenant_id"),
        ({"tenant_id": 7}, "tenant_id must be text"),
        ({"login": None}, "client id"),
        ({"password": None}, "client secret as password, or certificate_file or federated_token_file"),
        ({"federated_token_file": "/token"}, "remove the password"),
        ({"password": None, "certificate_file": "/c", "federated_token_file": "/token"}, "certificate_file"),
        ({"graph_url": "http://graph.example.com/v1.0"}, "graph_url must be https"),
        ({"authority": "http://login.example.com/x"}, "authority must be https"),
        ({"graph_url": "https://user:pw@graph.example.com"}, "graph_url must be https"),
        ({"graph_url": "https://user:8443/pw@graph.example.com"}, "graph_url must be https"),
        ({"graph_url": "https://graph.example.com:port"}, "graph_url must be https"),
    ],
)
def test_a_connection_that_cannot_be_meant_stops_and_says_which_field(
    connect_graph: Connect, changes: dict[str, Any], words: str
) -> None:
    hook = connect_graph(**{"tenant_id": TENANT, **changes})

    with pytest.raises(StopError, match=words) as caught:
        _ = hook.access

    assert "pw@" not in str(caught.value)


def test_a_missing_connection_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_O2_GRAPH", raising=False)

    with pytest.raises(StopError, match="no connection o2_graph"):
        _ = GraphHook().access


def test_a_secret_does_not_show_when_the_connection_is_printed(graph_hook: GraphHook) -> None:
    assert SECRET not in repr(graph_hook.access)


def test_threads_that_begin_at_the_same_time_share_one_conversation(graph_hook: GraphHook) -> None:
    with ThreadPoolExecutor(8) as pool:
        conversations = list(pool.map(lambda _: graph_hook.graph, range(8)))

    assert len(set(map(id, conversations))) == 1
    assert graph_hook.get_conn() is conversations[0].session


def test_nothing_personal_and_no_token_is_said(
    tenant: Tenant, graph_hook: GraphHook, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    tenant.on("POST", r"/\$batch", error(400, "BadRequest"))
    tenant.on("POST", MESSAGES, error(400, "BadRequest"))
    tenant.on("GET", MESSAGES, LOST)
    addresses = ["jane@example.com"]  # a traceback quotes the line of the call
    sms = message(subject="SMS with +44 7700 900123")

    with pytest.raises(StopError) as directory:
        graph_hook.find_mailboxes(addresses, asked=0)
    with pytest.raises(ItemError) as item:
        create_large(graph_hook.graph, BOX, FOLDER, sms, [])
    with pytest.raises(RetryError) as lost:
        list(graph_hook.graph.listed(MESSAGES, "messages were listed"))

    raised = ["".join(traceback.format_exception(one.value)) for one in (directory, item, lost)]
    said = "\n".join([*raised, *caplog.messages, capsys.readouterr().out])
    assert [word for word in ("jane", "900123", "secret@", SECRET, "token-1") if word in said] == []
    assert tenant.url not in "".join(raised)
