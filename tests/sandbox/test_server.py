"""The running sandbox: certificates, ports, the mail sink, the command."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from sandbox.items import PARTICULAR
from sandbox.process import SandboxProcess, running_process
from sandbox.server import Sandbox, running
from sandbox.tls import certificates

ROOT = Path(__file__).parents[2]


def test_a_strict_client_trusts_the_certificate_for_every_name(tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=certificates(tmp_path / "tls", "sandbox.example").authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    shown = []
    with running(tmp_path, name="sandbox.example") as sandbox:
        port = int(sandbox.telemessage_url.rpartition(":")[2])
        for name in ("localhost", "127.0.0.1", "::1", "sandbox.example"):
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                context.wrap_socket(plain, server_hostname=name) as secured,
            ):
                shown.append(secured.version())

    assert shown == ["TLSv1.3"] * 4
    assert sandbox.telemessage_url == f"https://sandbox.example:{port}"


def test_certificates_are_kept_until_they_do_not_serve(tmp_path: Path) -> None:
    first = certificates(tmp_path).certificate.read_bytes()

    same = certificates(tmp_path).certificate.read_bytes()
    other = certificates(tmp_path, "sandbox").certificate.read_bytes()

    assert first == same != other
    assert certificates(tmp_path).certificate.read_bytes() == other
    assert certificates(tmp_path).key.stat().st_mode & 0o077 == 0


def users_of_graph(sandbox: Sandbox) -> set[str]:
    """Log in to Graph and list the directory."""
    with requests.Session() as client:
        client.trust_env = False
        client.verify = str(sandbox.ca_file)
        token = client.post(
            f"{sandbox.authority}/oauth2/v2.0/token",
            data={
                "grant_type": "client_credentials",
                "client_id": sandbox.client_id,
                "client_secret": sandbox.client_secret,
                "scope": "https://graph.microsoft.com/.default",
            },
        ).json()["access_token"]
        found = client.get(f"{sandbox.graph_url}/users?$top=999", headers={"Authorization": f"Bearer {token}"})
        return {user["id"] for user in found.json()["value"]}


def test_a_message_may_have_what_the_administrator_allows(tmp_path: Path) -> None:
    with running(tmp_path / "one") as usual, running(tmp_path / "two", message_mb=150) as raised:
        limits = [sandbox.graph.message_bytes for sandbox in (usual, raised)]

    assert limits == [35 * 1024 * 1024, 150 * 1024 * 1024]


def test_the_command_takes_the_administrators_limit(tmp_path: Path) -> None:
    picture = {"@odata.type": "#microsoft.graph.fileAttachment", "name": "photo.png"}
    with running_process(tmp_path, "--items", "1", "--message-mb", "1") as details:
        sandbox = SandboxProcess(details)
        users = sandbox.graph("GET", "/users?$select=id,mail&$filter=userType eq 'Member'")["value"]
        answers = []
        for size in (1_000_000, 1_100_000):
            content = base64.b64encode(bytes(size)).decode()
            try:
                body = {"attachments": [{**picture, "contentBytes": content}]}
                answers.append(sandbox.graph("POST", f"/users/{users[0]['id']}/messages", body)["hasAttachments"])
            except requests.HTTPError as error:
                answers.append(error.response.json()["error"]["code"])

    assert answers == [True, "ErrorMessageSizeExceeded"]


@pytest.mark.parametrize("limit", ["0", "151", "x"])
def test_the_command_refuses_a_limit_that_no_administrator_can_set(tmp_path: Path, limit: str) -> None:
    command = [sys.executable, "-m", "sandbox", "--state", str(tmp_path), "--message-mb", limit]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)

    assert ended.returncode == 2
    assert "--message-mb" in ended.stderr


def test_graph_knows_the_users_of_the_world(tmp_path: Path) -> None:
    with running(tmp_path, users=20) as sandbox:
        known = users_of_graph(sandbox)

    assert known == {user.id for user in sandbox.world.directory}
    assert len(known) == 20


def test_two_sandboxes_run_side_by_side(tmp_path: Path) -> None:
    with running(tmp_path / "one", seed=1) as one, running(tmp_path / "two", seed=2) as two:
        known = users_of_graph(one), users_of_graph(two)

    assert not known[0] & known[1]


def test_the_mapping_file_lies_in_the_mappings_folder(tmp_path: Path) -> None:
    with running(tmp_path) as sandbox:
        files = {file.name: file.read_bytes().decode() for file in sandbox.mappings.iterdir()}

    assert files == {"phones.csv": sandbox.world.mapping_csv()}


def test_mails_are_kept_whether_they_came_encrypted_or_not(tmp_path: Path) -> None:
    with running(tmp_path) as sandbox:
        for subject, encrypted in (("Deadline missed", True), ("Überfällig", False)):
            with smtplib.SMTP("localhost", sandbox.smtp_port) as client:
                if encrypted:
                    client.starttls(context=ssl.create_default_context(cafile=sandbox.ca_file))
                mail = f"Subject: {subject}\r\nTo: admin@example.com\r\n\r\nLook.\r\n".encode()
                client.sendmail("o2@example.com", ["admin@example.com"], mail)

    assert [mail["Subject"] for mail in sandbox.mails] == ["Deadline missed", "Überfällig"]
    assert ["Überfällig" in file.read_text() for file in sorted((tmp_path / "mails").iterdir())] == [False, True]


def test_the_command_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    details = tmp_path / "sandbox.json"
    command = [sys.executable, "-m", "sandbox", "--state", str(tmp_path), "--items", "9", "--users", "12"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        while not details.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        found = json.loads(details.read_text())
        login = requests.Session()
        login.trust_env = False
        answer = login.post(
            f"{found['telemessage']['url']}/rest/archive/login",
            json={key: found["telemessage"][key] for key in ("username", "password")},
            verify=found["ca_file"],
        )
        os.kill(found["pid"], signal.SIGTERM)
        began = time.monotonic()
        output, errors = process.communicate(timeout=10)
        took = time.monotonic() - began

    assert answer.status_code == 200
    assert found["pid"] == process.pid
    assert found["graph"].keys() == {"url", "authority", "tenant_id", "client_id", "client_secret"}
    assert (process.returncode, errors) == (0, "")
    assert "9 items a day" in output
    assert took < 3
    assert not details.exists()


def test_the_readme_names_every_option_and_every_fault() -> None:
    readme = (ROOT / "sandbox" / "README.md").read_text()
    options = re.findall(r'"(--[a-z-]+)"', (ROOT / "sandbox" / "__main__.py").read_text())
    faults = re.findall(r'take\("(\w+)"', (ROOT / "sandbox" / "telemessage.py").read_text())

    assert len(options) > 5
    assert f"every day of {len(PARTICULAR)} or more" in readme
    assert set(faults) == {"cut", "status", "wrong_digest", "expired_token", "gone", "slow"}
    assert [name for name in (*options, *faults) if f"`{name}`" not in readme] == []
