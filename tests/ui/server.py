"""An API server of Airflow in this process: the real one, on the tests' database, with four people who may log in."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from demo.airflow_settings import free_port

ROLES = {"ada": "admin", "olu": "op", "uma": "user", "vic": "viewer"}
MANAGER = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"


@contextmanager
def api_server(folder: Path) -> Iterator[FastAPI]:
    """Make Airflow's API server, with the DAGs in its database."""
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in ROLES}))
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings = {
            "CORE__AUTH_MANAGER": MANAGER,
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in ROLES.items()),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "API_AUTH__JWT_SECRET": "for the tests alone, and as long as a secret has to be: 64 bytes",
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"AIRFLOW__{name}", value)
        from airflow.api_fastapi.app import create_app, purge_cached_app
        from airflow.utils.db import initdb

        initdb()
        _write_dags()
        purge_cached_app()
        yield create_app()
        purge_cached_app()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an app on this machine; give its URL."""
    import uvicorn

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def token(app: FastAPI, name: str) -> str:
    """Log somebody in."""
    answer = TestClient(app).post("/auth/token", json={"username": name, "password": name})
    return str(answer.json()["access_token"])


def client(app: FastAPI, name: str | None = None) -> TestClient:
    """Give a client for the archive's pages, as somebody or as nobody."""
    cookies = {"_token": token(app, name)} if name else {}
    return TestClient(app, base_url="http://testserver/o2-archive", cookies=cookies, follow_redirects=False)


def _write_dags() -> None:
    """Do what Airflow's DAG processor does, once."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.utils.session import create_session

    with create_session() as session:
        manager = DagBundlesManager()
        manager.sync_bundles_to_db(session=session)
        session.commit()
        (bundle,) = manager.get_all_dag_bundles()
        bundle.initialize()
        bag: Any = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        sync_bag_to_db(bag, bundle.name, bundle_version=None, session=session)
