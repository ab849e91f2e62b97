"""The connection types in Airflow: a form of exactly what the hooks read, and a Test button that says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import distribution, entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from airflow.sdk import BaseHook

from demo.airflow_settings import GRAPH, TELEMESSAGE, sandbox_connections
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_login import CLOUDS
from o2_connector.hooks.telemessage import TeleMessageHook
from o2_connector.provider_info import get_provider_info
from sandbox.server import Sandbox, running

ROOT = Path(__file__).resolve().parents[1]
HOOKS = (TeleMessageHook, GraphHook)
FIELDS = {"host", "port", "schema", "login", "password"}
# Airflow's own Test button finds the hook by it.
pytestmark = pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
every_hook = pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.conn_type)


def form_of(hook: type[BaseHook]) -> dict[str, Any]:
    """Return what the package says of a hook's connection type."""
    forms = {form["connection-type"]: form for form in get_provider_info()["connection-types"]}
    return dict(forms[hook.conn_type])


# What Airflow is told


def test_it_is_what_airflow_takes_from_a_package() -> None:
    import airflow

    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())

    jsonschema.validate(get_provider_info(), schema)


def test_airflow_finds_it_by_the_installed_entry_point_and_it_is_this_code() -> None:
    (found,) = [each for each in entry_points(group="apache_airflow_provider") if each.value.startswith("o2_connector")]

    assert found.load() is get_provider_info
    assert found.dist is not None
    assert found.dist.name == get_provider_info()["package-name"]


def test_the_code_is_installed_as_a_pointer_to_where_it_stands() -> None:
    files = distribution("o2-network-archiver").files or []

    assert [file.name for file in files if file.suffix == ".py"] == []
    (pointer,) = [file for file in files if file.suffix == ".pth"]
    assert pointer.read_text().split() == [str(ROOT / "plugins")]


def test_to_read_it_imports_nothing_else() -> None:
    program = (
        "import sys; before = set(sys.modules); from o2_connector.provider_info import get_provider_info;"
        " get_provider_info();"
        " print(*sorted(name for name in set(sys.modules) - before if '.' not in name))"
    )

    loaded = subprocess.run([sys.executable, "-c", program], env={}, capture_output=True, text=True, check=True)

    assert set(loaded.stdout.split()) - sys.stdlib_module_names == {"o2_connector"}


# The forms


@every_hook
def test_a_form_is_of_its_hook(hook: type[BaseHook]) -> None:
    form = form_of(hook)

    assert form["hook-class-name"] == f"{hook.__module__}.{hook.__name__}"
    assert form["hook-name"] == hook.hook_name


class Extra(Mapping[str, Any]):
    """Be a connection's extra that knows what it was asked for."""

    def __init__(self, values: Mapping[str, Any], read: set[str]) -> None:
        self.values_, self.read = values, read

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("a hook names what it reads")

    __len__ = __iter__  # type: ignore[assignment]


class Fields:
    """Be a connection that knows which of its fields were read."""

    conn_id = "a_connection"

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values, self.fields, self.extras = values, set[str](), set[str]()
        self.extra_dejson = Extra(values["extra"], self.extras)

    def __getattr__(self, name: str) -> Any:
        self.fields.add(name)
        return self.values.get(name)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=1) as started:
        yield started


def connection_of(hook: type[BaseHook], sandbox: Sandbox) -> dict[str, Any]:
    """Return the connection to the sandbox."""
    name = {TeleMessageHook: TELEMESSAGE, GraphHook: GRAPH}[hook]
    return dict(json.loads(sandbox_connections(sandbox.details())[name]))


def read_by(hook: type[BaseHook], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Fields:
    """Return a connection of which a hook has read all that it ever reads."""
    connection = Fields(connection_of(hook, sandbox))
    with monkeypatch.context() as patch:
        patch.setattr(BaseHook, "get_connection", lambda *_: connection)
        passed, message = hook(**{hook.conn_name_attr: "a_connection"}).test_connection()  # type: ignore[arg-type]
    assert passed, message
    return connection


@every_hook
def test_the_form_has_each_field_that_the_hook_reads_and_no_other(
    hook: type[BaseHook], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_by(hook, sandbox, monkeypatch)
    form = form_of(hook)

    assert set(form["conn-fields"]) == read.extras
    # The schema is only looked at to refuse http, and without a port Airflow refuses to test.
    assert FIELDS - set(form["ui-field-behaviour"]["hidden-fields"]) == (read.fields - {"schema"}) | {"port"}


@every_hook
def test_every_field_of_a_form_has_a_label_and_is_explained(hook: type[BaseHook]) -> None:
    for field in form_of(hook)["conn-fields"].values():
        assert field["label"]
        assert field["description"].endswith(".")


def test_the_form_offers_the_clouds_that_the_hook_knows() -> None:
    cloud = form_of(GraphHook)["conn-fields"]["cloud"]["schema"]

    assert cloud["enum"] == list(CLOUDS)
    assert cloud["default"] == next(iter(CLOUDS))


# The API server


def test_airflow_shows_both_types_with_their_fields_and_without_what_nobody_reads() -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    shown = {meta.connection_type: meta for meta in HookMetaService.hook_meta_data()}

    for hook in HOOKS:
        meta, form = shown[hook.conn_type], form_of(hook)
        assert meta.hook_name == form["hook-name"]
        assert meta.extra_fields is not None
        assert meta.extra_fields.keys() == form["conn-fields"].keys()
        assert {field["description"] for field in meta.extra_fields.values()} == {
            field["description"] for field in form["conn-fields"].values()
        }
        hidden = {name for name, field in meta.standard_fields or () if field and field.hidden}
        assert {name.removeprefix("url_") for name in hidden} == set(form["ui-field-behaviour"]["hidden-fields"])


@pytest.fixture(scope="module")
def database() -> None:
    """Give Airflow's database what the Test button looks into: whether the connection is there already."""
    from airflow import settings
    from airflow.models import Connection

    Connection.__table__.create(settings.engine, checkfirst=True)


@pytest.fixture
def press_test(database: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, str]]:
    """Return a function that does what the API server does when somebody presses Test."""
    from airflow.api_fastapi.core_api.datamodels.connections import ConnectionBody
    from airflow.api_fastapi.core_api.routes.public import connections

    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    # As in the API server, where a connection is looked for in the environment and in the database.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    nobody: Any = SimpleNamespace(is_authorized_connection=lambda **_: False)

    def press(**fields: Any) -> tuple[bool, str]:
        extra = json.dumps(fields.pop("extra"))
        body = ConnectionBody(connection_id="mine", extra=extra, **fields)
        answer = connections.test_connection(test_body=body, user=nobody, auth_manager=nobody)
        return answer.status, answer.message

    return press


@every_hook
@pytest.mark.parametrize("password", ["nonsense", "a/b?c=d&e%2F @:+#'\"é"])
def test_the_test_button_refuses_what_is_wrong_and_says_what_to_do(
    hook: type[BaseHook], password: str, sandbox: Sandbox, press_test: Callable[..., tuple[bool, str]]
) -> None:
    passed, message = press_test(**connection_of(hook, sandbox) | {"password": password})

    assert not passed
    assert "wrong" in message
    assert password not in message


def test_the_test_button_of_telemessage_says_what_it_proves(
    sandbox: Sandbox, press_test: Callable[..., tuple[bool, str]]
) -> None:
    passed, message = press_test(**connection_of(TeleMessageHook, sandbox))

    assert passed
    assert message.startswith("TeleMessage accepts the login; its certificate verifies by the ca_file.")


def test_the_test_button_of_graph_says_what_the_application_may_do(
    sandbox: Sandbox, press_test: Callable[..., tuple[bool, str]]
) -> None:
    passed, message = press_test(**connection_of(GraphHook, sandbox))

    assert passed
    assert message.startswith("The login and Graph accept the application, and it may read users.")
    assert "Entra grants it Mail.ReadWrite for every mailbox" in message


@every_hook
def test_the_test_button_names_no_connection_that_nobody_knows(
    hook: type[BaseHook], sandbox: Sandbox, press_test: Callable[..., tuple[bool, str]]
) -> None:
    passed, message = press_test(**connection_of(hook, sandbox) | {"login": None})

    assert not passed
    assert message.startswith("this connection: ")
