"""Take down all that is told of runs: logs, XCom, rendered fields, links, metrics, lineage, notices and exceptions."""

from __future__ import annotations

import json
import logging
import os
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from o2_connector.core.settings import read_settings
from o2_connector.operators.notices import told_of_book, told_of_run
from o2_connector.operators.run import leave_fault
from tests.archive import Archive
from tests.operators.own import OwnNotifier

NOTICES = {
    "O2_ALERT_EMAIL": "oncall@example.com",
    "O2_NOTIFIER": json.dumps(
        {"notifier": "tests.operators.own.OwnNotifier", "title": "{{subject}}", "body": [{"text": "{{ text }}"}]}
    ),
}
"""Settings by which a run tells, by mail and otherwise."""

STAND_INS = ("uvicorn", "mail.log", "asyncio", "sandbox")
"""Loggers of what stands for others in this process."""


class Witness(logging.Handler):
    """Take down what is told of runs, by where it is told."""

    def __init__(self, metrics: socket.socket) -> None:
        super().__init__(logging.DEBUG)
        self.told: dict[str, str] = {}
        self._metrics = metrics
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Take down a line of a log, with the exception that it has."""
        if not record.name.startswith(STAND_INS):
            self.hear("logs", self.format(record))

    def hear(self, where: str, text: str) -> None:
        """Take down a text."""
        self.told[where] = f"{self.told.get(where, '')}\n{text}"

    def see(self, error: BaseException) -> None:
        """Take down an exception, with its causes and notes, as it is printed; the source's lines are not told."""
        self.hear("exceptions", "".join(traceback.TracebackException.from_exception(error).format(chain=True)))

    def let_tell(self, line: Archive, error: BaseException | None) -> None:
        """Call back as Airflow does when a run is over, and take down whom it tells what."""
        settings, replay = read_settings(os.environ, ""), ("find_parked", -1) in line.operators
        of_book, of_run = told_of_book(settings, replay=replay), told_of_run(settings, replay=replay)
        with DAG(line.context["dag_run"].dag_id, schedule=None) as dag:
            for task in sorted({task for task, _ in line.operators} | {"reconcile"}):
                BaseOperator(task_id=task)
        context = {**line.context, "dag": dag, "exception": error}
        callbacks = [leave_fault, *of_book["on_failure_callback"], of_run["on_failure_callback"]]
        for callback in callbacks if error else [of_book["on_success_callback"]]:
            callback(context)
        for mail in line.sandbox.mails:
            self.hear("notices", "".join(part.as_string() + part.get_content() for part in mail.iter_parts()))
        self.hear("notices", str(OwnNotifier.told))

    def look(self, line: Archive, error: BaseException | None) -> None:
        """Take down what is left of a run."""
        from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

        self.hear("XCom", json.dumps([(list(key), value) for key, value in line.xcom.items()]))
        for (task, index), operator in line.operators.items():
            self.hear("rendered fields", json.dumps(_serialize_rendered_fields(operator)))
            for link in operator.operator_extra_links:
                self.hear("links", link.get_link(operator, ti_key=SimpleNamespace()))
            self.hear("map indexes", str(getattr(operator, "label", "")))
            failed = error if (task, index) == list(line.operators)[-1] else None
            self.hear("lineage", lineage_event(operator, failed))
        for path in line.staging.rglob("*") if line.staging.is_dir() else ():
            self.hear("names in staging", str(path))
            if path.name.startswith("report.") or "/chain/" in str(path):
                self.hear("reports", path.read_text())
        with suppress(BlockingIOError):
            while True:
                self.hear("metrics", self._metrics.recv(65536).decode())


def lineage_event(operator: Any, error: BaseException | None) -> str:
    """Return what OpenLineage's listener sends when a task ends, with all that it may be set to tell of an operator."""
    from airflow.providers.openlineage.extractors.manager import ExtractorManager
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
    from airflow.providers.openlineage.utils.utils import AirflowRunFacet, TaskInfoComplete
    from airflow.utils.state import TaskInstanceState
    from openlineage.client import OpenLineageClient
    from openlineage.client.serde import Serde
    from openlineage.client.transport.noop import NoopConfig, NoopTransport

    adapter = OpenLineageAdapter(OpenLineageClient(transport=NoopTransport(NoopConfig())))
    state = TaskInstanceState.FAILED if error else TaskInstanceState.SUCCESS
    nothing: Any = SimpleNamespace(run_id="r")
    task = ExtractorManager().extract_metadata(
        dagrun=nothing, task=operator, task_instance_state=state, task_instance=nothing
    )
    facet = AirflowRunFacet(dag={}, dagRun={}, taskInstance={}, task=TaskInfoComplete(operator), taskUuid="")  # type: ignore[arg-type]
    arguments: Any = {
        "run_id": "5a1e5a1e-0000-4000-8000-000000000000",
        "job_name": operator.task_id,
        "end_time": datetime.now(UTC).isoformat(),
        "task": task,
        "nominal_start_time": None,
        "nominal_end_time": None,
        "owners": [],
        "tags": [],
        "job_description": operator.doc_md,
        "run_facets": {"airflow": facet},
    }
    event = adapter.fail_task(error=error, **arguments) if error else adapter.complete_task(**arguments)
    return Serde.to_json(event)


@contextmanager
def listening() -> Iterator[Witness]:
    """Listen to every logger at every level, and to the metrics, while the context lasts."""
    from airflow.sdk._shared.observability.metrics import stats
    from airflow.sdk._shared.observability.metrics.statsd_logger import SafeStatsdLogger
    from statsd import StatsClient

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as metrics:
        metrics.bind(("127.0.0.1", 0))
        metrics.setblocking(False)
        client = StatsClient("127.0.0.1", metrics.getsockname()[1], prefix="airflow")
        heard = Witness(metrics)
        loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
        levels = [(logger, logger.level, logger.disabled) for logger in (logging.root, *loggers)]
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(
                stats,
                "_get_backend",
                lambda: SafeStatsdLogger(client, influxdb_tags_enabled=True, statsd_influxdb_enabled=True),
            )
            for logger, _, _ in levels:
                logger.setLevel(logging.DEBUG)
                logger.disabled = False
            logging.root.addHandler(heard)
            try:
                yield heard
            finally:
                logging.root.removeHandler(heard)
                for logger, level, disabled in levels:
                    logger.setLevel(level)
                    logger.disabled = disabled
