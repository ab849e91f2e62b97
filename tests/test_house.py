"""The house's rules, kept by reading the code: who may know whom, and what no room may hold."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("dags", "plugins", "sandbox", "demo")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
# Who may know whom, besides themselves. Nothing goes up.
ARROWS = {
    "core": set(),
    "hooks": {"core"},
    "engine": {"core", "hooks"},
    "operators": {"core", "hooks", "engine"},
    "triggers": {"core"},
    "commands": {"core", "hooks", "engine"},
    "ui": {"core", "hooks", "engine"},
    "dags": {"core", "operators", "triggers"},
}
FORBIDDEN_IN_CORE = {
    *("airflow", "requests", "msal", "urllib3", "azure", "adlfs", "fsspec", "fastapi", "pandas", "numpy"),
    *("os", "time", "random", "secrets", "uuid", "logging", "socket", "subprocess", "threading", "pathlib", "tempfile"),
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Yield every dotted name that a module imports, wherever in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[2] if parts[:2] == ("plugins", "o2_connector") and len(parts) > 3 else parts[0]


def rooms_known(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("o2_connector.")}


every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)
core_modules = pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) == "core"], ids=name_of)


def test_the_rules_have_something_to_keep() -> None:
    assert {"core", "hooks", "engine", "operators", "dags", "sandbox", "demo"} <= {room_of(path) for path in MODULES}


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) in ARROWS], ids=name_of)
def test_no_room_knows_one_above_it(path: Path) -> None:
    room = room_of(path)

    assert rooms_known(path) <= ARROWS[room] | {room}


@core_modules
def test_core_is_pure(path: Path) -> None:
    columns = {"changes.py", "coverage.py", "mapping.py", "phone_book.py", "tables.py"}
    allowed = {"pandas", "numpy"} if path.name in columns else set()

    assert not {name.split(".")[0] for name in imported(path)} & (FORBIDDEN_IN_CORE - allowed)


@core_modules
def test_core_asks_no_clock_and_touches_no_file(path: Path) -> None:
    asked = {
        node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    }

    assert not asked & {"now", "utcnow", "today", "open", "print", "input", "exec", "eval"}


@every_module
def test_the_sandbox_and_the_connector_know_nothing_of_each_other(path: Path) -> None:
    known = {name.split(".")[0] for name in imported(path)}

    if room_of(path) == "sandbox":
        assert not known & {"o2_connector", "o2_plugin", "dags", "demo"}
    elif room_of(path) != "demo":
        assert not known & {"sandbox", "demo", "tests"}


@every_module
def test_no_module_bears_a_name_of_the_standard_library(path: Path) -> None:
    names = {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}

    assert not names & (sys.stdlib_module_names - {"__main__"})


@every_module
def test_imports_are_absolute(path: Path) -> None:
    assert not [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom) and node.level]


@every_module
def test_no_product_code_asserts(path: Path) -> None:
    assert not [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]


@every_module
def test_nothing_heavy_is_imported_at_parse_time(path: Path) -> None:
    at_import = {
        name.split(".")[0]
        for node in tree(path).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }

    if room_of(path) in {"dags", "operators", "triggers"}:
        assert not at_import & {"pandas", "numpy", "msal", "azure", "adlfs", "requests"}


def test_airflows_plugin_loader_sees_one_file_at_the_most() -> None:
    """Airflow executes every module that it finds, and that .airflowignore does not name, under its bare name."""
    from airflow._shared.module_loading import find_path_from_directory

    found = {Path(path).name for path in find_path_from_directory(str(ROOT / "plugins"), ".airflowignore", "glob")}

    assert {name for name in found if name.endswith(".py")} <= {"o2_plugin.py"}
