"""Connections: whether Airflow has one, or a database, asked from outside of a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

GRAPH, STAGING = "o2_graph", "o2_staging"

_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_ELSEWHERE = ("AIRFLOW__SECRETS__", "AIRFLOW__WORKERS__SECRETS_BACKEND", _DATABASE)
"""What the names of variables begin with that tell Airflow where connections are, besides the environment."""


def is_there(conn_id: str, environ: Mapping[str, str]) -> bool:
    """Tell whether Airflow has a connection.

    Airflow takes two seconds to start; where it is not set up at all, it is not started.
    """
    if not (environ.get(f"AIRFLOW_CONN_{conn_id.upper()}") or _is_set_up(environ)):
        return False
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return False
    return True


def has_database(environ: Mapping[str, str]) -> bool:
    """Tell whether somebody has said where Airflow's database is."""
    return any(name.startswith(_DATABASE) for name in environ) or _has_file(environ)


def _is_set_up(environ: Mapping[str, str]) -> bool:
    return any(name.startswith(_ELSEWHERE) for name in environ) or _has_file(environ)


def _has_file(environ: Mapping[str, str]) -> bool:
    home = Path(environ.get("AIRFLOW_HOME") or Path.home() / "airflow")
    return (home / "airflow.cfg").is_file()
