"""Runs that were killed, cleared or failed leave books that are proved, and what is not settled yet is told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from o2_connector.core.errors import IntegrityError, StopError
from o2_connector.core.window import Window
from o2_connector.engine.proof.mailboxes import Extent
from o2_connector.engine.proof.result import Proof
from tests.archive import YESTERDAY, Archive
from tests.engine.proof.tampered import Staged

WINDOW = {
    "window_start": YESTERDAY.isoformat(),
    "window_end": (YESTERDAY + timedelta(days=1)).isoformat(),
    "dry_run": False,
}


def test_a_book_whose_link_a_killed_task_did_not_write_is_told_until_the_next_try(line: Archive, day: Staged) -> None:
    (report,) = day.names("windows/*/runs/*/report.*.json")
    stem = report.rpartition("report.")[0]
    name = day.add(f"{stem}report.", ".json", day.read(report).replace(b"manual__1", b"manual__1 "))

    assert day.prove().about(name) == ["no link of the chain names it"]

    line.reconcile("manual__1", **WINDOW)
    proved = day.prove(extent=Extent.ALL)
    assert (proved.faults, proved.unproved) == ([], [])
    assert proved.of(Proof.BOOKS).proved.startswith("2 books added up again")


def test_a_run_that_did_not_come_to_a_decision_has_a_book_that_is_proved(line: Archive, day: Staged) -> None:
    decided = {key: value for key, value in line.xcom.items() if key[0] == "map"}
    for key in decided:
        del line.xcom[key]
    with pytest.raises(IntegrityError, match="does not balance"):
        line.reconcile("manual__1", **WINDOW)

    (fault,) = day.prove().faults
    assert fault.what == "the window's last book does not balance"

    line.xcom |= decided
    line.reconcile("manual__1", **WINDOW)
    proved = day.prove()
    assert (proved.faults, proved.unproved) == ([], [])


def test_deliveries_that_failed_are_told_until_they_are_made(line: Archive, day: Staged) -> None:
    before = YESTERDAY - timedelta(days=1)
    full = {"status": 507, "code": "ErrorQuotaExceeded"}
    line.sandbox.graph.faults.add("status", path="mailFolders/.*/messages", rate=1.0, **full)
    with pytest.raises(StopError, match="failed"):
        line.run("full", start=before)
    line.sandbox.graph.faults.clear()
    span = Window(start=before, end=YESTERDAY)

    (fault,) = day.prove(span, extent=Extent.ALL).faults
    assert "of its deliveries failed" in fault.what

    line.run("full again", start=before)
    proved = day.prove(span, extent=Extent.ALL)
    assert (proved.faults, proved.unproved) == ([], [])
