"""What the API server gives to whom."""

from __future__ import annotations

import csv
import io
import json
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from o2_connector.core.manifest import StagedObject
from o2_connector.core.parked import Leaving, Person, Waiting
from o2_connector.core.report import Detail
from o2_connector.engine.park import leave, park
from o2_connector.hooks.staging import StagingHook
from o2_connector.ui.access import PEOPLE, READER, sees_people
from o2_connector.ui.archive import open_archive
from tests.ui.history import (
    add_book,
    add_run,
    add_tasks,
    counted,
    date_of,
    day,
    failed_detail,
    report_of,
    scheduled,
)
from tests.ui.server import client

NUMBER, ADDRESS = "+447700900123", "kim@example.com"


def waiting_item(number: int = 1, *, nobody: bool = True, back: int = 1) -> Waiting:
    window = day(back)
    sent = int(window.start.timestamp() * 1000)
    return Waiting(
        item_id=f"item-{number}",
        key=f"key-{number}",
        record="r",
        sent=sent,
        pack=StagedObject(name="pack", sha256="0" * 64, size=1),
        offset=0,
        length=1,
        window=window.name,
        parked=sent + 90_000_000,
        why="no mapping row and no e-mail property",
        nobody=nobody,
        people=(Person(NUMBER, ADDRESS, True),),
    )


def parked_detail(number: int = 1) -> Detail:
    return Detail(item_id=f"item-{number}", outcome="parked", cause=waiting_item().why, since=waiting_item().parked)


# Who may see what


def data_routes() -> list[APIRoute]:
    from o2_connector.ui.app import app

    return [route for route in app.routes if isinstance(route, APIRoute)]


def asks(dependant: Dependant, wanted: Any) -> bool:
    return any(each.call is wanted or asks(each, wanted) for each in dependant.dependencies)


@pytest.mark.parametrize("route", data_routes(), ids=lambda route: route.path)
def test_every_route_but_the_static_files_asks_for_leave_to_read_the_dag(route: APIRoute) -> None:
    assert asks(route.dependant, READER.dependency)


def test_no_route_changes_anything() -> None:
    assert {method for route in data_routes() for method in route.methods} == {"GET"}


def test_what_is_personal_asks_for_leave_to_read_connections_as_well() -> None:
    personal = {route.path for route in data_routes() if asks(route.dependant, PEOPLE.dependency)}

    assert personal == {"/api/windows/{name}/waiting.csv"}


@pytest.mark.parametrize("path", ["/", "/api/windows", f"/api/windows/{day(1).name}", "/api/books/0/report.json"])
def test_nobody_sees_anything_without_logging_in(airflow: FastAPI, archive: StagingHook, path: str) -> None:
    answer = client(airflow).get(path)

    assert answer.status_code == 401
    assert answer.json() == {"detail": "Not authenticated"}


def test_who_opens_the_page_without_having_logged_in_is_led_to_airflows_login_and_back(
    airflow: FastAPI, archive: StagingHook
) -> None:
    answer = client(airflow).get(f"/?window={day(1).name}", headers={"Accept": "text/html"})

    assert answer.status_code == 307
    login, _, back = answer.headers["location"].partition("?next=")
    assert login == "/api/v2/auth/login"
    assert back == f"http%3A%2F%2Ftestserver%2Fo2-archive%2F%3Fwindow%3D{day(1).name}"


def test_who_may_not_read_the_dag_is_told_so(
    airflow: FastAPI, archive: StagingHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", lambda **_: False)

    assert client(airflow, "vic").get("/api/windows").status_code == 403


def test_static_files_are_open_and_hold_nothing(airflow: FastAPI, archive: StagingHook) -> None:
    assert client(airflow).get("/static/page.css").status_code == 200
    assert client(airflow).get("/static/../app.py").status_code == 404


@pytest.mark.parametrize(
    ("name", "sees"), [("vic", False), ("uma", False), ("olu", True), ("ada", True)], ids=lambda each: str(each)
)
def test_numbers_and_addresses_are_for_those_alone_who_may_read_connections(
    airflow: FastAPI, archive: StagingHook, name: str, sees: bool
) -> None:
    add_book(report_of(day(1), counted(5, parked=1), details=(parked_detail(),)))
    park(archive, [waiting_item()], [])
    person = client(airflow, name)

    opened = person.get(f"/api/windows/{day(1).name}")
    people = person.get(f"/api/windows/{day(1).name}/waiting.csv")

    assert opened.json()["people"] is sees
    assert people.status_code == (200 if sees else 403)
    assert (NUMBER in people.text and ADDRESS in people.text) is sees
    assert not any(value in opened.text for value in (NUMBER, ADDRESS, NUMBER[1:]))


def test_an_answer_says_that_nothing_comes_from_elsewhere_and_nothing_is_kept(
    airflow: FastAPI, archive: StagingHook
) -> None:
    headers = client(airflow, "vic").get("/api/windows").headers

    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


# Everything in short


def test_windows_are_listed_by_their_books_and_gaps_by_what_is_between_them(
    airflow: FastAPI, archive: StagingHook
) -> None:
    add_book(report_of(day(3), counted(5)))
    add_book(report_of(day(1), counted(7, parked=1, failed=2), details=(failed_detail(1), failed_detail(2))))

    listed = client(airflow, "vic").get("/api/windows").json()

    rows = {start: (state, counts, seconds) for start, _, state, counts, seconds, _ in listed["rows"]}
    assert rows == {
        day(3).start.timestamp(): ("archived", [5, 5, 5, 0, 0, 0, 0, 0, 0], 130),
        day(2).start.timestamp(): ("not archived", None, None),
        day(1).start.timestamp(): ("with failures", [7, 6, 4, 0, 0, 2, 1, 0, 0], 130),
    }
    assert listed["first"] == str(date_of(day(3)))
    assert [(state, start) for state, start, _ in listed["days"]] == [
        ("archived", day(3).start.timestamp()),
        ("not archived", day(2).start.timestamp()),
        ("with failures", day(1).start.timestamp()),
    ]


def test_a_run_at_work_is_listed_before_it_has_a_book(airflow: FastAPI, archive: StagingHook) -> None:
    add_run(day(1), "running")

    ((_, _, state, counts, seconds, _),) = client(airflow, "vic").get("/api/windows").json()["rows"]

    assert (state, counts) == ("running", None)
    assert seconds > 0


def test_a_day_of_which_a_part_is_missing_leads_to_the_day(airflow: FastAPI, archive: StagingHook) -> None:
    from o2_connector.core.window import Window

    half = Window(start=day(1).start, end=day(1).start + timedelta(hours=12))
    add_book(report_of(half, counted(5)))

    listed = client(airflow, "vic").get("/api/windows").json()
    opened = client(airflow, "vic").get(f"/api/windows/{day(1).name}").json()

    assert listed["days"] == [["not archived", day(1).start.timestamp(), day(1).end.timestamp()]]
    assert (opened["state"], opened["parts"]) == ("not archived", [half.name])


def test_the_last_replay_says_what_waits_still(airflow: FastAPI, archive: StagingHook) -> None:
    add_book(report_of(day(2), counted(5, parked=2), details=(parked_detail(1), parked_detail(2))))
    add_book(report_of(day(2), counted(2, parked=1), "replay", replay=True, waiting=3, details=(parked_detail(1),)))

    replay = client(airflow, "vic").get("/api/windows").json()["replay"]

    assert (replay["parked"], replay["waiting"], replay["oldest"]) == (1, 3, parked_detail().since)


def test_an_archive_without_a_past_is_empty(airflow: FastAPI, archive: StagingHook) -> None:
    listed = client(airflow, "vic").get("/api/windows").json()

    assert (listed["rows"], listed["days"], listed["first"]) == ([], [], None)


def test_nothing_is_sent_again_while_nothing_changes(airflow: FastAPI, archive: StagingHook) -> None:
    add_book(report_of(day(2), counted(5)))
    person = client(airflow, "vic")
    tag = person.get("/api/windows").headers["etag"]

    same = person.get("/api/windows", headers={"If-None-Match": tag})
    add_book(report_of(day(1), counted(5)))
    other = person.get("/api/windows", headers={"If-None-Match": tag})

    assert (same.status_code, same.content) == (304, b"")
    assert other.status_code == 200
    assert other.headers["etag"] != tag


def test_a_run_that_ends_is_seen_at_once(airflow: FastAPI, archive: StagingHook) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    run = add_run(day(1), "failed")
    person = client(airflow, "vic")
    before = person.get("/api/windows").json()["rows"][0][2]

    with create_session() as session:
        session.query(DagRun).filter(DagRun.run_id == run).one().state = "queued"
    after = person.get("/api/windows").json()["rows"][0][2]

    assert (before, after) == ("failed", "running")


def test_the_page_has_what_it_shows_first_in_it_and_nothing_can_end_the_element_that_holds_it(
    airflow: FastAPI, archive: StagingHook
) -> None:
    add_book(report_of(day(1), counted(5)))
    person = client(airflow, "vic")

    page = person.get("/", headers={"Accept": "text/html"})

    data = page.text.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data) == person.get("/api/windows").json()
    assert "<" not in data


def test_a_book_that_was_altered_is_counted(airflow: FastAPI, archive: StagingHook, tmp_path: Path) -> None:
    digest = add_book(report_of(day(1), counted(5)))
    (link,) = (tmp_path / "staging" / "chain").glob(f"*{digest}*")
    link.chmod(0o640)
    link.write_bytes(link.read_bytes().replace(b'"imported":5', b'"imported":6'))

    assert client(airflow, "vic").get("/api/windows").json()["altered"] == 1


# One window


def test_a_window_opens_to_its_runs_tasks_causes_and_coverage(airflow: FastAPI, archive: StagingHook) -> None:
    window = day(2)
    first = add_run(window, "failed")
    add_tasks(first, [("extract", -1, "success"), ("map_mailboxes", -1, "failed")])
    again = add_run(
        window, "success", "again", run_type="manual", conf={"day": str(date_of(window))}, logical_date=None
    )
    add_tasks(again, [("extract", -1, "success"), *(("convert", number, "success") for number in (1, 0))])
    details = (failed_detail(1), failed_detail(2), parked_detail(3))
    digest = add_book(report_of(window, counted(9, parked=1, failed=2), again, details=details))
    person = client(airflow, "vic")

    opened = person.get(f"/api/windows/{window.name}").json()
    other = person.get(f"/api/windows/{window.name}?run={first}").json()

    assert (opened["state"], opened["day"]) == ("with failures", str(date_of(window)))
    assert {each["run_id"]: (each["state"], each["failed"]) for each in opened["passages"]} == {
        first: ("failed", ["map_mailboxes"]),
        again: ("success", []),
    }
    assert opened["shown"] == again
    assert [each["book"] and each["book"]["digest"] for each in opened["passages"] if each["run_id"] == again] == [
        digest
    ]
    tasks = [(each["task_id"], each["map_index"], each["name"]) for each in opened["tasks"]]
    assert tasks == [("extract", -1, None), ("convert", 0, "0"), ("convert", 1, "1")]
    assert [(each["outcome"], each["cause"], each["count"]) for each in opened["troubles"]] == [
        ("failed", "ErrorQuotaExceeded", 2),
        ("parked", "no mapping row and no e-mail property", 1),
    ]
    assert all(each["remedy"] for each in opened["troubles"])
    assert opened["told"]["coverage"]["known"] == 20
    assert (other["shown"], other["told"]) == (first, None)
    assert [(each["task_id"], each["state"], each["tries"]) for each in other["tasks"]] == [
        ("extract", "success", 1),
        ("map_mailboxes", "failed", 2),
    ]


def test_a_run_that_airflow_has_forgotten_is_known_by_its_book(airflow: FastAPI, archive: StagingHook) -> None:
    add_book(report_of(day(1), counted(5)))

    (passage,) = client(airflow, "vic").get(f"/api/windows/{day(1).name}").json()["passages"]

    assert (passage["run_id"], passage["state"]) == (scheduled(day(1)), None)
    assert passage["book"]["counts"]["imported"] == 5


def test_a_dry_run_is_shown_and_does_not_count(airflow: FastAPI, archive: StagingHook) -> None:
    add_book(report_of(day(1), counted(5), "trial", dry_run=True))

    opened = client(airflow, "vic").get(f"/api/windows/{day(1).name}").json()

    assert opened["state"] == "not archived"
    assert [(each["run_id"], each["dry_run"]) for each in opened["passages"]] == [("trial", True)]


def test_a_day_that_nobody_archived_opens_with_its_neighbours(airflow: FastAPI, archive: StagingHook) -> None:
    add_book(report_of(day(3), counted(5)))
    add_book(report_of(day(1), counted(5)))

    opened = client(airflow, "vic").get(f"/api/windows/{day(2).name}").json()

    assert (opened["state"], opened["passages"], opened["shown"]) == ("not archived", [], None)
    assert (opened["newer"], opened["older"]) == (day(1).name, day(3).name)


def test_a_window_of_the_last_day_that_there_is_opens(airflow: FastAPI, archive: StagingHook) -> None:
    opened = client(airflow, "vic").get("/api/windows/99991231T000000Z--99991231T120000Z").json()

    assert (opened["state"], opened["day"]) == ("not archived", None)


def test_what_is_parked_now_stands_beside_what_was_parked_then(airflow: FastAPI, archive: StagingHook) -> None:
    add_book(report_of(day(1), counted(5, parked=2), details=(parked_detail(1), parked_detail(2))))
    first, second, other_day = waiting_item(1), waiting_item(2), waiting_item(3, back=2)
    park(archive, [first, second, other_day], [])
    leave(archive, [Leaving(item=0, id=first.id, window=first.window)])
    add_book(
        report_of(day(1), counted(2, parked=1), "replay", replay=True, completed_at=day(1).end + timedelta(hours=7))
    )

    opened = client(airflow, "vic").get(f"/api/windows/{day(1).name}").json()

    assert (opened["then"]["parked"], opened["now"]["parked"]) == (2, 1)
    assert [each["run_id"] for each in opened["replays"]] == ["replay"]


@pytest.mark.parametrize("name", ["yesterday", "20261121T000000Z", "..%2F..%2Fetc"])
def test_what_is_no_window_is_not_found(airflow: FastAPI, archive: StagingHook, name: str) -> None:
    assert client(airflow, "vic").get(f"/api/windows/{name}").status_code == 404


# Downloads


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_report_is_the_one_that_is_staged(airflow: FastAPI, archive: StagingHook, tmp_path: Path, kind: str) -> None:
    digest = add_book(report_of(day(1), counted(5)))
    (staged,) = (tmp_path / "staging").rglob(f"report.*.{kind}")

    answer = client(airflow, "vic").get(f"/api/books/{digest}/report.{kind}", headers={"Accept-Encoding": "identity"})

    assert answer.content == staged.read_bytes()
    name = f"o2-report-{day(1).name}-{digest[:8]}.{kind}"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["content-length"] == str(staged.stat().st_size)


def test_a_report_that_was_altered_is_refused(airflow: FastAPI, archive: StagingHook, tmp_path: Path) -> None:
    digest = add_book(report_of(day(1), counted(5)))
    (staged,) = (tmp_path / "staging").rglob("report.*.json")
    staged.chmod(0o640)
    staged.write_bytes(staged.read_bytes().replace(b'"imported": 5', b'"imported": 6'))

    books = open_archive().chain

    answer = client(airflow, "vic").get(f"/api/books/{digest}/report.json")

    assert answer.status_code == 503
    assert "sha256" in answer.json()["detail"]
    assert open_archive().chain is books  # five years of them are not read again for that


def test_a_window_whose_report_was_altered_is_shown_without_it(
    airflow: FastAPI, archive: StagingHook, tmp_path: Path
) -> None:
    add_book(report_of(day(1), counted(5)))
    (staged,) = (tmp_path / "staging").rglob("report.*.json")
    staged.chmod(0o640)
    staged.write_bytes(staged.read_bytes().replace(b'"imported": 5', b'"imported": 6'))

    opened = client(airflow, "vic").get(f"/api/windows/{day(1).name}").json()

    assert (opened["state"], opened["told"]) == ("archived", None)
    assert "sha256" in opened["fault"]


def test_a_book_that_is_not_there_is_not_found(airflow: FastAPI, archive: StagingHook) -> None:
    assert client(airflow, "vic").get(f"/api/books/{'0' * 64}/report.json").status_code == 404


def test_who_waits_is_a_table_that_no_spreadsheet_runs(airflow: FastAPI, archive: StagingHook) -> None:
    park(archive, [waiting_item(1), waiting_item(2, nobody=False)], [])

    answer = client(airflow, "olu").get(f"/api/windows/{day(1).name}/waiting.csv")

    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [(row["Item id"], row["Outcome"], row["Number"], row["E-mail property"]) for row in rows] == [
        ("item-1", "parked", f"'{NUMBER}", ADDRESS),
        ("item-2", "waiting", f"'{NUMBER}", ADDRESS),
    ]


# When staging is not to be had


def test_without_a_connection_the_page_says_what_to_do(
    airflow: FastAPI, archive: StagingHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_O2_STAGING")
    open_archive.cache_clear()
    person = client(airflow, "vic")

    said = person.get("/api/windows")
    page = person.get("/", headers={"Accept": "text/html"})

    assert (said.status_code, page.status_code) == (503, 503)
    assert "there is no connection o2_staging; make one" in said.json()["detail"]
    assert "there is no connection o2_staging; make one" in page.text


def test_a_connection_that_was_mended_is_taken_up(
    airflow: FastAPI, archive: StagingHook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = client(airflow, "vic")
    mended = {"conn_type": "fs", "extra": {"path": str(tmp_path / "staging")}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "fs", "extra": {"path": "relative"}}))
    assert person.get("/api/windows").status_code == 503

    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps(mended))

    assert person.get("/api/windows").status_code == 200


# Under the other auth manager


@pytest.mark.parametrize(
    ("perms", "reads", "sees"),
    [
        (set(), False, False),
        ({("can_read", "DAG:o2_network_archive")}, True, False),
        ({("can_read", "DAGs"), ("can_read", "Connections")}, True, True),
    ],
    ids=["nothing", "the DAG", "connections"],
)
def test_fabs_permissions_are_kept_as_well(
    airflow: FastAPI, monkeypatch: pytest.MonkeyPatch, perms: set[tuple[str, str]], reads: bool, sees: bool
) -> None:
    from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager

    monkeypatch.setattr("airflow.api_fastapi.app._AuthManagerState.instance", FabAuthManager())
    person: Any = SimpleNamespace(perms=perms, is_active=True)

    assert sees_people(person) is sees
    with nullcontext() if reads else pytest.raises(HTTPException, match="403"):
        READER.dependency(SimpleNamespace(), person)
