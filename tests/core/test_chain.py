from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from o2_connector.core.chain import Link, before, gaps_of, latest
from o2_connector.core.manifest import StagedObject
from o2_connector.core.report import Counts
from o2_connector.core.window import Window

BEGAN = datetime(2026, 11, 21, 1, tzinfo=UTC)
WINDOW = Window(start=datetime(2026, 11, 20, tzinfo=UTC), end=datetime(2026, 11, 21, tzinfo=UTC))
OBJECT = StagedObject(name=f"windows/x/report.{'0' * 64}.json", sha256="0" * 64, size=1)


def link(number: int, *previous: str, minutes: int = 5, **more: Any) -> Link:
    fields: dict[str, Any] = {
        "window": WINDOW,
        "run_id": f"run-{number}",
        "replay": False,
        "dry_run": False,
        "started_at": BEGAN,
        "completed_at": BEGAN + timedelta(minutes=minutes),
        "balanced": True,
        "counts": Counts(available_from_source=1),
        "waiting": 0,
        "oldest_waiting": None,
    }
    objects = {"report": OBJECT, "log": OBJECT, "seal": OBJECT}
    return Link(number=number, previous=previous, **(fields | objects | more))


def test_a_link_that_others_name_and_that_is_not_there_is_missing() -> None:
    links = {"a": link(1), "c": link(3, "b")}

    assert gaps_of(links).missing == {"b"}


def test_a_chain_ends_with_the_links_that_no_other_names() -> None:
    side_by_side = {"a": link(1), "b": link(2, "a"), "c": link(2, "a")}

    assert gaps_of(side_by_side).last == {"b", "c"}
    assert gaps_of({**side_by_side, "d": link(3, "b", "c")}).last == {"d"}


def test_a_link_stands_for_all_before_it_and_for_none_beside_it() -> None:
    links = {"a": link(1), "b": link(2, "a"), "c": link(2, "a"), "d": link(3, "b")}

    assert before(links, "d") == {"d", "b", "a"}


def test_of_links_side_by_side_the_latest_is_the_one_closed_last() -> None:
    early, late = link(2, minutes=5), link(2, minutes=6)

    assert latest([late, early]) is late
    assert latest([late, link(3, minutes=1)]) == link(3, minutes=1)
    assert latest([]) is None


def test_a_run_took_from_its_start_to_its_closed_book() -> None:
    assert link(1, minutes=5).seconds == 300
