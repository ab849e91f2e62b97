"""The environment in which the demo's Airflow runs: nothing of it comes from the machine but the connections."""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.options import ROOT, Options

TELEMESSAGE = "AIRFLOW_CONN_O2_TELEMESSAGE"
GRAPH = "AIRFLOW_CONN_O2_GRAPH"
STAGING = "AIRFLOW_CONN_O2_STAGING"
SMTP = "AIRFLOW_CONN_SMTP_DEFAULT"

#: Airflow's own paths of logs are longer than a line. As there: who writes the log knows the try from the task instance
#: alone, who reads it says which one it wants.
TASK_LOG = (
    "{{ ti.dag_id }}/{{ ti.run_id }}/{{ ti.task_id }}{% if ti.map_index >= 0 %}-{{ ti.map_index }}{% endif %}"
    ".try-{{ try_number|default(ti.try_number) }}.log"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """Say where one run keeps its state, and on which port its Airflow answers."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Give the address of the Airflow UI and API."""
        return f"http://localhost:{self.port}"

    @property
    def staging(self) -> Path:
        """Give the folder that stands for the Azure container."""
        return self.folder / "staging"

    @property
    def task_logs(self) -> Path:
        """Give the folder of the tasks' logs."""
        return self.folder / "logs" / "tasks"

    @property
    def environment(self) -> Path:
        """Give the file that a shell reads to have this run's commands, see `write_environment`."""
        return self.folder / "environment"


def free_port() -> int:
    """Find a port that nobody listens on.

    Below the range from which the kernel takes the near ends of outgoing connections (Linux: 32768 and up): a port
    from that range can be gone again before Airflow listens on it.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def needs_sandbox(environ: Mapping[str, str]) -> bool:
    """Tell whether TeleMessage or Microsoft Graph has to be played; a sandbox for the mail alone is not worth it."""
    return not (environ.get(TELEMESSAGE) and environ.get(GRAPH))


def sandbox_connections(sandbox: Mapping[str, Any]) -> dict[str, str]:
    """Make the connections to the sandbox from what it wrote about itself."""
    source, graph, smtp = sandbox["telemessage"], sandbox["graph"], sandbox["smtp"]
    ca_file = sandbox["ca_file"]
    made = {
        TELEMESSAGE: {
            "conn_type": "o2_telemessage",
            "host": source["url"],
            "login": source["username"],
            "password": source["password"],
            "extra": {"ca_file": ca_file},
        },
        GRAPH: {
            "conn_type": "o2_graph",
            "login": graph["client_id"],
            "password": graph["client_secret"],
            "extra": {
                "tenant_id": graph["tenant_id"],
                "graph_url": graph["url"],
                "authority": graph["authority"],
                "ca_file": ca_file,
            },
        },
        SMTP: {
            "conn_type": "smtp",
            "host": smtp["host"],
            "port": smtp["port"],
            "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "o2-archiver@example.com"},
        },
    }
    return {name: json.dumps(connection) for name, connection in made.items()}


def base_environment(where: Where, database: str, *, scheduled: bool) -> dict[str, str]:
    """Make the environment of every part of Airflow, without connections.

    :param scheduled: whether DAGs also run by their schedules, and not only when they are triggered.
    """
    left = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}
    environ = {name: value for name, value in os.environ.items() if name not in left}
    # The tasks talk to the API server and to the sandbox on this machine; no proxy has a part in that.
    own = "localhost,127.0.0.1,::1"
    no_proxy = ",".join(filter(None, [environ.get("NO_PROXY") or environ.get("no_proxy"), own]))
    settings = {
        # DAG runs
        "CORE__DAGS_FOLDER": ROOT / "dags",
        "CORE__PLUGINS_FOLDER": ROOT / "plugins",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__TEST_CONNECTION": "Enabled",
        "CORE__EXECUTOR": "LocalExecutor",
        "SCHEDULER__USE_JOB_SCHEDULE": scheduled,
        "CORE__PARALLELISM": 4,  # on 2 cores more tasks at once only slow each other down
        # The database
        "DATABASE__SQL_ALCHEMY_CONN": database,
        # One password-free administrator; nothing listens beyond this machine
        "CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
        "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "API__SECRET_KEY": secrets.token_urlsafe(32),
        "API__HOST": "127.0.0.1",
        "API__PORT": where.port,
        "API__BASE_URL": where.url,
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{where.port}/execution/",
        # Logs
        "LOGGING__BASE_LOG_FOLDER": where.task_logs,
        "LOGGING__LOG_FILENAME_TEMPLATE": TASK_LOG,
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": where.folder / "logs" / "dag-files",
        # A demo tells nobody that it ran
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    return {
        **environ,
        **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
        "AIRFLOW_HOME": str(where.folder / "airflow"),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }


def complete(
    base: Mapping[str, str], where: Where, options: Options, sandbox: Mapping[str, Any] | None
) -> dict[str, str]:
    """Add the connections and the DAG's settings. A connection that the environment gives wins over the sandbox's."""
    made = {STAGING: json.dumps({"conn_type": "fs", "extra": {"path": str(where.staging)}})}
    settings = {"O2_TIMEZONE": options.zone.key}
    if sandbox:
        made |= sandbox_connections(sandbox)
        if not base.get(TELEMESSAGE):
            settings["O2_MAPPINGS"] = str(sandbox["mappings"])
        if not base.get(SMTP):
            settings["O2_ALERT_EMAIL"] = "archive-admins@example.com"
    chosen = {name: value for name, value in made.items() if not base.get(name)}
    return {**base, **chosen, **settings}


def write_environment(environ: Mapping[str, str], to: Path) -> None:
    """Write down, for a shell to read, what Airflow's parts have and this process has not, and where the commands are.

    It has the connections' passwords, so it is its owner's alone.
    """
    added = {name: value for name, value in environ.items() if os.environ.get(name) != value}
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(added.items())]
    lines.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n')
    with open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.writelines(lines)
