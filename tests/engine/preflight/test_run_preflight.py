"""The whole preflight: every finding, each when it should be there and not when it should not."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from o2_connector.core.manifest import StagedObject
from o2_connector.core.preflight import FOLDER_NAME, Finding, OpenPoint, Preflight, State
from sandbox.graph.store import Mailbox
from sandbox.server import Sandbox
from tests.engine.conftest import connected
from tests.engine.preflight.conftest import HEAD, Rig, point_of, rigged, sentences, states


@dataclass(frozen=True, kw_only=True)
class Well:
    """Hold what came of a preflight where all is well."""

    found: Preflight
    heard: list[Finding | OpenPoint]
    canary: Mailbox
    changed: list[str]
    staged: list[StagedObject]


@pytest.fixture(scope="module")
def well(running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Well:
    folder = tmp_path_factory.mktemp("well")
    with (
        pytest.MonkeyPatch.context() as patch,
        connected(running_sandbox, folder, patch) as site,
        rigged(site, folder) as rig,
    ):
        found = rig.run()
        return Well(
            found=found,
            heard=rig.heard,
            canary=rig.mailbox(),
            changed=[user for user, mailbox in site.tenant.mailboxes.items() if mailbox.created],
            staged=[site.staging.staged(name) for name in site.staging.names("preflight/")],
        )


def test_where_all_is_well_only_the_directory_in_place_of_a_container_is_warned_of(well: Well) -> None:
    findings = well.found.findings

    (warned,) = [each for each in findings if each.state is not State.OK]
    assert str(warned) == (
        "staging: warning: staging is a directory: whoever may write there may also change and remove what lies there;"
        " use an Azure container with an immutability policy where this is evidence"
    )
    assert well.found.errors == []
    assert well.found.counts == {"ok": len(findings) - 1, "warning": 1, "error": 0, "not checked": 0}
    assert well.heard[-2:] == findings[-2:]


def test_nothing_stays_in_the_mailbox_and_no_other_is_touched(well: Well) -> None:
    assert well.canary.created >= 8
    assert well.canary.messages == {}
    assert [folder.name for folder in well.canary.folders.values() if FOLDER_NAME in folder.name] == []
    assert well.changed == [well.canary.user.id]


def test_in_staging_one_small_object_stays(well: Well) -> None:
    (staged,) = well.staged

    assert staged.size < 100


def test_every_open_point_is_observed_or_left_out_on_purpose(well: Well) -> None:
    points = well.found.open_points

    assert {each.point: each.why for each in points if each.observed is None} == {
        "find.large_folder": "left out: 100,000 messages would press upon the tenant",
        "upload.limit": "left out: 150 MB in five minutes would press upon the tenant",
    }
    assert [each.point for each in points if each.as_assumed is False] == []
    assert len({each.point for each in points}) == len(points) >= 24


def test_an_open_point_is_a_line_of_one_form(well: Well) -> None:
    assert str(point_of(well.found, "folder.case")) == (
        "open point: folder.case: as assumed: 409 ErrorFolderExists; assumed: 409 ErrorFolderExists for a name in other"
        " letters"
    )


def test_programs_get_all_of_it_as_json(well: Well) -> None:
    told = msgspec.json.decode(well.found.as_json())

    assert (told["format"], told["cloud"], told["counts"]) == (1, "another", well.found.counts)
    assert msgspec.convert({name: value for name, value in told.items() if name != "counts"}, Preflight) == well.found


@pytest.mark.parametrize(
    ("name", "value", "check", "said"),
    [
        ("TELEMESSAGE", None, "telemessage.connection", "there is no connection o2_telemessage; add it"),
        ("GRAPH", None, "graph.connection", "there is no connection o2_graph"),
        ("STAGING", None, "staging.connection", "there is no connection o2_staging"),
        ("GRAPH", '{"conn_type": "o2_graph", "login": ', "graph.connection", "connection o2_graph"),
        ("GRAPH", '{"conn_type": "o2_graph"}', "graph.token", "the extra needs tenant_id"),
        ("STAGING", '{"conn_type": "fs"}', "staging.write", "needs an absolute path"),
        ("STAGING", '{"conn_type": "fs", "extra": {"path": "/dev/null/x"}}', "staging.write", "ENOTDIR"),
    ],
)
def test_a_connection_that_is_none_stops_its_own_checks_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, check: str, said: str
) -> None:
    variable = f"AIRFLOW_CONN_O2_{name}"
    monkeypatch.delenv(variable) if value is None else monkeypatch.setenv(variable, value)

    found = rig.run(canary=None)

    assert said in sentences(found, check)
    area = check.partition(".")[0]
    others = [each for each in found.findings if not each.check.startswith((area, "canary"))]
    assert {each.state for each in others} <= {State.OK, State.WARNING}
    assert all(each.state is State.NOT_CHECKED for each in found.findings[-1:])


def test_what_could_not_be_checked_names_what_it_needs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_O2_GRAPH")

    found = rig.run()

    assert sentences(found, "canary.attachments", State.NOT_CHECKED) == (
        "canary mailbox: not checked: attachments: it needs the connection"
    )
    assert point_of(found, "create.inbox").why == "it needs the connection"


def test_a_mapping_that_a_run_could_not_use_is_an_error(rig: Rig) -> None:
    (Path(rig.settings.mappings) / "b.csv").write_text(f"{HEAD}60777,x\n")

    assert "a run could not use the files (errors: 2)" in sentences(rig.run(canary=None), "mapping.files")


def test_what_only_looks_like_a_mapping_is_a_warning(rig: Rig) -> None:
    (Path(rig.settings.mappings) / "b.xlsx").write_text("x")

    found = rig.run(canary=None)

    assert "(warnings: 1)" in sentences(found, "mapping.files", State.WARNING)
    assert states(found, "mapping.files") == [State.WARNING, State.OK]


def test_no_mapping_file_at_all_is_a_warning(rig: Rig) -> None:
    (Path(rig.settings.mappings) / "phones.csv").unlink()

    assert states(rig.run(canary=None), "mapping.files") == [State.WARNING]


def test_a_folder_of_mapping_files_that_is_not_there_is_an_error(rig: Rig) -> None:
    found = rig.run(canary=None, mappings="/nowhere/acme-ltd")

    assert states(found, "mapping.files") == [State.ERROR]
    assert "acme" not in sentences(found, "mapping.files")


def test_a_login_that_telemessage_refuses_is_an_error(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {**json.loads(os.environ["AIRFLOW_CONN_O2_TELEMESSAGE"]), "password": "wrong"}
    monkeypatch.setenv("AIRFLOW_CONN_O2_TELEMESSAGE", json.dumps(changed))

    found = rig.run(canary=None)

    assert "TeleMessage refuses the login" in sentences(found, "telemessage.login")
    assert states(found, "telemessage.window") == [State.NOT_CHECKED]


def test_a_certificate_of_telemessages_that_does_not_verify_is_an_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {**json.loads(os.environ["AIRFLOW_CONN_O2_TELEMESSAGE"]), "extra": {}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_TELEMESSAGE", json.dumps(changed))

    assert "certificate does not verify" in sentences(rig.run(canary=None), "telemessage.login")


def test_an_account_that_may_not_freeze_a_window_is_an_error(rig: Rig) -> None:
    rig.site.sandbox.telemessage.faults.add("status", path="exports", status=403, times=10)

    found = rig.run(canary=None)

    assert states(found, "telemessage.login") == [State.OK]
    assert "give the account the right to read the archive" in sentences(found, "telemessage.window")
