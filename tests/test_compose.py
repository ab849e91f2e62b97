"""docker-compose.yaml: held against the compose specification, and against what this project promises of it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from o2_connector.core.settings import read_settings

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yaml"
INTERPOLATED = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<default>:-[^}]*|:\?[^}]*)?\}")
AIRFLOW = ("init", "api-server", "scheduler", "dag-processor", "triggerer", "worker")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


def variables(path: Path) -> dict[str, str]:
    """Read a file of environment variables."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def mounts(service: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Return where a service sees what, and whether it may write there."""
    found = {}
    for volume in service["volumes"]:
        source, target, *mode = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")
        found[target] = (source, mode != ["ro"])
    return found


def test_the_file_keeps_to_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())

    jsonschema.Draft202012Validator(schema).validate(compose)

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(compose | {"services": {"worker": {"comand": []}}})


def test_every_variable_is_explained_in_the_example_and_every_example_is_used() -> None:
    used = {found["name"] for found in INTERPOLATED.finditer(COMPOSE.read_text())}

    assert used == set(variables(ROOT / ".env.example"))


def test_every_setting_of_the_dag_files_is_in_every_airflow_service_with_the_dag_files_own_default(
    compose: dict[str, Any],
) -> None:
    source = (ROOT / "plugins" / "o2_connector" / "core" / "settings.py").read_text()
    settings = set(re.findall(r'"(O2_\w+)"', source))
    mappings = "/opt/airflow/include/mappings"

    assert {"O2_TIMEZONE", "O2_DIRECTORY_HOURS", "O2_CATCH_ALL"} <= settings
    for name in AIRFLOW:
        given = {name: value for name, value in compose["services"][name]["environment"].items() if name in settings}
        assert given.keys() == settings
        defaults = {name: INTERPOLATED.sub(lambda found: found["default"][2:], text) for name, text in given.items()}
        assert read_settings(defaults, mappings) == read_settings({}, mappings)
    assert read_settings(variables(ROOT / ".env.example"), mappings) == read_settings({}, mappings)


def test_no_secret_stands_in_the_file_and_none_has_a_default() -> None:
    text = COMPOSE.read_text()
    secret = re.compile(r"KEY|SECRET|PASSWORD|CONN_O2")

    for found in INTERPOLATED.finditer(text):
        if secret.search(found["name"]):
            given_elsewhere = found["name"].startswith("AIRFLOW_CONN_")  # may be made in Airflow's own pages
            assert found["default"] == (":-" if given_elsewhere else ":?see .env.example"), found["name"]
            value = variables(ROOT / ".env.example")[found["name"]]
            assert value == "" or json.loads(value).get("password") == ""
    for line in text.splitlines():
        name, separator, value = line.partition(": ")
        if separator and secret.search(name) and not line.lstrip().startswith("#"):
            assert INTERPOLATED.search(value), line


def test_every_airflow_service_runs_the_same_image_in_the_same_environment_and_not_as_root(
    compose: dict[str, Any],
) -> None:
    common = compose["x-airflow-environment"]

    for name in AIRFLOW:
        service = compose["services"][name]
        assert service["image"] == compose["x-airflow"]["image"]
        assert common.items() <= service["environment"].items()
        assert service["user"] == "50000:0"
        assert service["cap_drop"] == ["ALL"]


def test_the_mapping_files_and_the_certificates_can_be_read_and_not_written(compose: dict[str, Any]) -> None:
    # At one path: the dag-processor says in which folder the triggerer is to notice changes, and the worker reads it.
    for name in ("dag-processor", "triggerer", "worker", "api-server"):
        seen = mounts(compose["services"][name])
        assert compose["services"][name]["environment"]["O2_MAPPINGS"].endswith(":-/opt/airflow/include/mappings}")
        assert seen["/opt/airflow/include"] == ("./include", False)
        assert seen["/opt/airflow/ca"] == ("./docker/ca", False)


def test_every_folder_that_is_mounted_from_here_is_here(compose: dict[str, Any]) -> None:
    sources = {
        source
        for service in compose["services"].values()
        for source, _ in mounts(service | {"volumes": service.get("volumes", [])}).values()
    }

    for source in sources:
        if source.startswith("."):
            assert (ROOT / source).is_dir(), source
        else:
            assert source in compose["volumes"]


def test_every_service_that_stays_has_a_health_check_and_comes_back(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name == "init":
            assert service["restart"] == "no"
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name


def test_every_airflow_service_has_longer_to_end_than_docker_gives_by_itself(compose: dict[str, Any]) -> None:
    grace = {name: compose["services"][name]["stop_grace_period"] for name in AIRFLOW}

    assert grace == dict.fromkeys(AIRFLOW, "1m") | {"worker": "5m"}


def test_nothing_listens_beyond_this_machine_unless_it_is_asked_to(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]

    assert published
    for port in published:
        assert port.startswith(("127.0.0.1:", "${AIRFLOW_ADDRESS:-127.0.0.1}:")), port


def test_what_is_played_starts_only_when_its_profile_is_asked_for(compose: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles") for name, service in compose["services"].items()}

    assert {name for name, profile in profiles.items() if profile} == {"sandbox", "azurite"}


def test_the_sandbox_s_connections_are_those_that_the_sandbox_has(compose: dict[str, Any]) -> None:
    from sandbox import server
    from tests.azurite.server import ACCOUNT, KEY

    values = variables(ROOT / "docker" / "sandbox.env")
    source = json.loads(values["AIRFLOW_CONN_O2_TELEMESSAGE"])
    graph = json.loads(values["AIRFLOW_CONN_O2_GRAPH"])
    staging = json.loads(values["AIRFLOW_CONN_O2_STAGING"])
    command = compose["services"]["sandbox"]["command"]

    assert (source["login"], source["password"]) == (server.USERNAME, server.PASSWORD)
    assert (graph["login"], graph["password"]) == (server.CLIENT_ID, server.CLIENT_SECRET)
    assert graph["extra"]["tenant_id"] == server.TENANT_ID
    assert f"AccountName={ACCOUNT};AccountKey={KEY};" in staging["extra"]["connection_string"]
    assert f"--telemessage-port={source['host'].rpartition(':')[2]}" in command
    assert graph["extra"]["graph_url"] == f"https://sandbox:{port_of(command, 'graph')}/v1.0"
    assert str(json.loads(values["AIRFLOW_CONN_SMTP_DEFAULT"])["port"]) == port_of(command, "smtp")
    assert set(values) <= set(variables(ROOT / ".env.example"))


def port_of(command: list[str], service: str) -> str:
    """Return the port that the sandbox's command gives a service."""
    return next(part.rpartition("=")[2] for part in command if part.startswith(f"--{service}-port="))


def test_the_image_is_built_from_the_lock_and_runs_as_nobody_in_particular() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()

    assert "--require-hashes --only-binary :all: -r requirements.lock" in dockerfile
    assert dockerfile.rindex("USER 50000:0") > dockerfile.rindex("RUN ")
    tools = re.search(r'ARG TOOLS="(.*)"', dockerfile)
    assert tools is not None
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert set(tools[1].split()) <= locked


def test_in_the_image_the_project_is_installed_where_its_code_comes_to_lie() -> None:
    first, second = (ROOT / "docker" / "Dockerfile").read_text().split("COPY --from=packages")

    folder = re.findall(r"^WORKDIR (\S+)$", first, re.MULTILINE)[-1]
    assert "--no-index --no-build-isolation --editable ." in first
    assert f"COPY plugins {folder}/plugins\n" in second


def test_the_builder_is_sent_only_what_the_image_is_made_of() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        Path(source).parts[0]
        for line in (ROOT / "docker" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }

    assert "*" in ignored
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
