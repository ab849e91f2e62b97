"""Nothing that tells whose it is gets into anything that a preflight says, however much goes wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engine.preflight.conftest import HEAD, Rig

PERSON = "Planted.Person@planted-tenant.example.com"
NAME = "Petra Planted"
NUMBER = "+447700900555"
FOLDER = "planted-acme"
CODE = "planted.acme.example"


@pytest.fixture
def planted(rig: Rig, tmp_path: Path) -> Iterator[Rig]:
    """Lend a rig whose canary has a name, and whose mapping file is called after a customer."""
    tenant = rig.site.tenant
    user = replace(
        rig.canary, user_principal_name=PERSON, mail=PERSON, display_name=NAME, proxy_addresses=(f"SMTP:{PERSON}",)
    )
    tenant.change_users([user if each.id == user.id else each for each in tenant.directory.all.values()])
    mappings = tmp_path / FOLDER
    mappings.mkdir()
    (mappings / f"{FOLDER}.csv").write_text(f"{HEAD}{NUMBER},{PERSON}\n60777,{PERSON}\n")
    rig.canary = user
    rig.settings = replace(rig.settings, canary=PERSON, mappings=str(mappings))
    yield rig
    tenant.reset()


def all_said(rig: Rig, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> str:
    found = rig.run()
    lines = "\n".join(map(str, [*rig.heard, *found.findings, *found.open_points]))
    logged = "\n".join(record.getMessage() for record in caplog.records if "uvicorn" not in record.name)
    return f"{lines}\n{found.as_json().decode()}\n{logged}\n{capsys.readouterr()}"


def secrets_of(rig: Rig) -> set[str]:
    sandbox = rig.site.sandbox
    return {
        *(PERSON, PERSON.partition("@")[0], "planted-tenant", NAME, "Petra", NUMBER, NUMBER[3:], FOLDER, CODE),
        *(sandbox.tenant_id, sandbox.client_id, sandbox.client_secret, sandbox.username, sandbox.password),
        *("localhost", sandbox.graph_url, sandbox.telemessage_url, str(sandbox.ca_file), str(rig.site.folder)),
        *(rig.canary.id, rig.canary.id[:8], rig.outside.id, rig.outside.mail or "", rig.mailbox().base),
        *(folder.id for folder in rig.mailbox().folders.values()),
        *rig.site.tenant.tokens,
        *("AAkALg", "AAMkAG", "AQMkAD", "Bearer", "authtoken", "/upload/"),  # what ids and keys begin with
    }


def missing_permissions(rig: Rig, _: pytest.MonkeyPatch) -> None:
    rig.let(token=frozenset({"Mail.ReadWrite", PERSON, FOLDER}))


def refused_mail(rig: Rig, _: pytest.MonkeyPatch) -> None:
    rig.fault("mailFolders", code=CODE)


def refused_users(rig: Rig, _: pytest.MonkeyPatch) -> None:
    rig.fault("/users", status=400, code=CODE)


def throttled(rig: Rig, _: pytest.MonkeyPatch) -> None:
    rig.fault("messages", status=503, code=CODE)


def odd_answers(rig: Rig, _: pytest.MonkeyPatch) -> None:
    def change(each: dict[str, Any]) -> None:
        for name in each:
            if name not in {"id", "responses", "value", "status", "body", "headers", "singleValueExtendedProperties"}:
                each[name] = PERSON if isinstance(each[name], str) and each[name] else each[name]

    rig.alter(change)


def wrong_passwords(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    for name in ("TELEMESSAGE", "GRAPH"):
        variable = f"AIRFLOW_CONN_O2_{name}"
        patch.setenv(variable, json.dumps({**json.loads(os.environ[variable]), "password": FOLDER}))


def wrong_certificate(_: Rig, patch: pytest.MonkeyPatch) -> None:
    for name in ("TELEMESSAGE", "GRAPH"):
        variable = f"AIRFLOW_CONN_O2_{name}"
        connection = json.loads(os.environ[variable])
        extra = {
            **connection["extra"],
            "certificate_file": f"/etc/{FOLDER}/key.pem",
            "ca_file": f"/etc/{FOLDER}/ca.pem",
        }
        patch.setenv(variable, json.dumps({**connection, "extra": extra}))


def elsewhere(_: Rig, patch: pytest.MonkeyPatch) -> None:
    for name in ("TELEMESSAGE", "GRAPH"):
        patch.setenv(f"AIRFLOW_CONN_O2_{name}", f'{{"conn_type": "{PERSON}", "host": "{CODE}", "lo')
    patch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "fs", "extra": {"path": f"/dev/null/{FOLDER}"}}))


def other_container(_: Rig, patch: pytest.MonkeyPatch) -> None:
    patch.setenv(
        "AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "wasb", "extra": {"container": f"{FOLDER}-Container"}})
    )


@pytest.mark.parametrize(
    "arrange",
    [
        lambda *_: None,
        missing_permissions,
        refused_mail,
        refused_users,
        throttled,
        odd_answers,
        wrong_passwords,
        wrong_certificate,
        elsewhere,
        other_container,
    ],
    ids=lambda each: each.__name__,
)
def test_nothing_that_tells_whose_it_is_is_said(
    planted: Rig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    arrange: Any,
) -> None:
    caplog.set_level("INFO")
    arrange(planted, monkeypatch)

    said = all_said(planted, caplog, capsys).casefold()

    assert len(said) > 5000
    assert [secret for secret in secrets_of(planted) if secret and secret.casefold() in said] == []


def test_the_values_that_are_looked_for_would_be_found(planted: Rig) -> None:
    assert PERSON.casefold() in str(planted.settings).casefold()
    assert len(secrets_of(planted)) > 30
