"""Where the links from tasks to what they staged lead."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from o2_connector.core.layout import converted_stem, window_stem
from o2_connector.hooks.staging import StagingHook
from tests.ui.history import day
from tests.ui.server import client

STEM = f"{window_stem(day(1))}converted/"


def stage(archive: StagingHook, batch: str) -> str:
    with archive.writer(converted_stem(day(1), batch), ".eml") as out:
        out.write(b"What it says is nobody's business here.")
    return out.staged.name


def test_the_names_of_what_is_staged_are_listed_with_where_they_lie(airflow: FastAPI, archive: StagingHook) -> None:
    names = [stage(archive, f"b{number}") for number in range(3)]

    answer = client(airflow, "vic").get("staged", params={"stem": STEM})

    assert answer.status_code == 200
    assert f"3 objects in <code>{archive.url(STEM.rstrip('/'))}</code>" in answer.text
    assert f'href="./?window={day(1).name}"' in answer.text
    assert all(f"<li><code>{name.removeprefix(STEM)}</code></li>" in answer.text for name in names)
    assert "business" not in answer.text


def test_one_object_is_told_as_one(airflow: FastAPI, archive: StagingHook) -> None:
    stage(archive, "b0")

    assert "<p>1 object in <code>" in client(airflow, "vic").get("staged", params={"stem": STEM}).text


def test_nobody_sees_them_without_leave_to_read_the_dag(airflow: FastAPI, archive: StagingHook) -> None:
    assert client(airflow).get("staged", params={"stem": STEM}).status_code in (401, 403)


@pytest.mark.parametrize("stem", ["../../etc/", "/etc/", "windows/../..", "<script>", "", "a//b"])
def test_what_is_no_place_in_staging_is_not_listed(airflow: FastAPI, archive: StagingHook, stem: str) -> None:
    assert client(airflow, "ada").get("staged", params={"stem": stem}).status_code == 404
