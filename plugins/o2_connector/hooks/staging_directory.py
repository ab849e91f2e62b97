"""The staging directory, where the environment alone says which it is: so much is known without Airflow.

Airflow looks for a connection in a secrets backend of its own, where one is set up, then in the environment, then in
its database. So the environment has the last word where there is no such backend; of what it says, the plain case is
read here, and Airflow is asked in every other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as NoConfiguration
from pathlib import Path

_BACKENDS = (("secrets", "backend"), ("workers", "secrets_backend"))
_ASKED_FIRST = ("AIRFLOW__SECRETS__", "AIRFLOW__WORKERS__SECRETS_BACKEND", "AIRFLOW_CONN__")
"""What the names of variables begin with that set up such a backend, or a connection of a team's own."""


def directory_in(environ: Mapping[str, str], conn_id: str) -> Path | None:
    """Return the directory that a connection of type fs names, written as JSON; None where Airflow must be asked."""
    said = environ.get(f"AIRFLOW_CONN_{conn_id.upper()}", "")
    if not said.startswith("{") or any(name.startswith(_ASKED_FIRST) for name in environ) or _has_backend(environ):
        return None
    try:
        connection = json.loads(said)
        extra = connection.get("extra")
        path = (json.loads(extra) if isinstance(extra, str) else extra)["path"]
    except (ValueError, TypeError, KeyError):
        return None
    plain = connection.get("conn_type") == "fs" and isinstance(path, str) and os.path.isabs(path)
    return Path(path) if plain else None


def _has_backend(environ: Mapping[str, str]) -> bool:
    """Tell whether Airflow's configuration file sets a secrets backend up, or cannot be read."""
    home = environ.get("AIRFLOW_HOME") or "~/airflow"
    file = Path(environ.get("AIRFLOW_CONFIG") or f"{home}/airflow.cfg").expanduser()
    configuration = ConfigParser(interpolation=None, strict=False)
    try:
        configuration.read(file, encoding="utf-8")
    except (OSError, ValueError, NoConfiguration):
        return True
    return any(configuration.get(section, option, fallback="") for section, option in _BACKENDS)
