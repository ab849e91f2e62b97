"""A StatsD server: it keeps what it is told over UDP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils


class Told(NamedTuple):
    """Hold one line of StatsD's protocol, with tags as InfluxDB's dialect has them.

    :param name: without Airflow's prefix, with its tags.
    :param kind: c for a counter, g for a gauge.
    """

    name: str
    value: float
    kind: str


class Sink:
    """Keep every line that arrives."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._lines: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def told(self) -> list[Told]:
        """Return what has arrived since this was last asked, in order."""
        self._ended.clear()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", ("127.0.0.1", self.port))  # one socket's datagrams on this machine come in order
        assert self._ended.wait(10)
        lines, self._lines = self._lines, []
        return [_read(line) for line in lines]

    def close(self) -> None:
        """End."""
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                line = self._socket.recv(65536).decode()
            except OSError:
                return
            if line == "end":
                self._ended.set()
            else:
                self._lines.append(line)


@contextmanager
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """Let Airflow's metrics go to a server, as its own configuration has it."""
    sink = Sink()
    settings = {"STATSD_ON": "True", "STATSD_HOST": "127.0.0.1", "STATSD_PORT": sink.port}
    for name, value in {**settings, "STATSD_INFLUXDB_ENABLED": "True"}.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", str(value))
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    try:
        yield sink
    finally:
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "False")
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
        sink.close()


def _read(line: str) -> Told:
    name, _, rest = line.rpartition(":")
    value, kind = rest.split("|")[:2]
    return Told(name.removeprefix("airflow."), float(value), kind)
