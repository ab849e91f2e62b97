"""Connections: that there are any, and what they hold, which no finding may show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from o2_connector.core.preflight import Area, Found, error, ok
from o2_connector.engine.preflight.checks import Check


def connection_check(system: str, area: Area, conn_id: str) -> Check:
    """Return the check that there is a connection."""

    def connection() -> Iterator[Found]:
        try:
            _ = BaseHook.get_connection(conn_id).extra_dejson
        except AirflowNotFoundException:
            yield error(f"there is no connection {conn_id}", "add it, see README")
        except Exception as failure:  # noqa: BLE001  what a typing error in its JSON leads to; it may quote a password
            yield error(f"connection {conn_id} cannot be read ({type(failure).__name__})", "write it anew, see README")
        else:
            yield ok(f"there is a connection {conn_id}")

    return Check(name=f"{system}.connection", area=area, title="the connection", run=connection)


def held(conn_id: str) -> Iterator[str]:
    """Yield what a connection holds: whose it is, and its secrets; nothing where it cannot be read."""
    try:
        connection = BaseHook.get_connection(conn_id)
        extra = connection.extra_dejson
    except Exception:  # noqa: BLE001  its check tells
        return
    yield from _texts([connection.login, connection.password, connection.host, extra])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        if name := urlsplit(value if "://" in value else f"//{value}").hostname:
            yield name
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
