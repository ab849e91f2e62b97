"""The set-up, as far as it can be seen without a network."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from demo.install import LOCK, PROJECT, ROOT, InstallError, entry_of, read_pip_settings, uv_environment, wanted


def test_uv_looks_where_pip_is_told_to_look() -> None:
    settings = read_pip_settings(
        "global.index-url='https://mirror.example.com/simple'\n"
        "global.extra-index-url='https://a.example.com/simple https://b.example.com/simple'\n"
        ":env:.cert='/etc/ssl/own.pem'\n"
    )

    environ = uv_environment(settings, {})

    assert environ["UV_DEFAULT_INDEX"] == "https://mirror.example.com/simple"
    assert environ["UV_INDEX"] == "https://a.example.com/simple https://b.example.com/simple"
    assert environ["SSL_CERT_FILE"] == "/etc/ssl/own.pem"


def test_the_environment_wins_over_pips_file_and_uvs_own_settings_over_both() -> None:
    settings = {"global.index-url": "https://file.example.com", ":env:.index-url": "https://env.example.com"}

    assert uv_environment(settings, {})["UV_DEFAULT_INDEX"] == "https://env.example.com"
    own = {"UV_DEFAULT_INDEX": "https://uv.example.com"}
    assert uv_environment(settings, own)["UV_DEFAULT_INDEX"] == "https://uv.example.com"


def test_uv_itself_is_taken_from_the_lock_with_its_digests() -> None:
    entry = entry_of("uv", LOCK.read_text())

    assert entry.startswith("uv==")
    assert "--hash=sha256:" in entry
    assert entry.count("==") == 1


def test_a_package_that_is_not_locked_is_refused() -> None:
    with pytest.raises(InstallError, match="make lock"):
        entry_of("no-such-package", LOCK.read_text())


def test_another_lock_or_project_or_python_is_another_environment() -> None:
    names = {
        wanted(b"lock", b"project", (3, 11, 7), "/usr"),
        wanted(b"another", b"project", (3, 11, 7), "/usr"),
        wanted(b"lock", b"another", (3, 11, 7), "/usr"),
        wanted(b"lock", b"project", (3, 12, 1), "/usr"),
        wanted(b"lock", b"project", (3, 11, 7), "/opt"),
    }

    assert len(names) == 5


def test_the_project_is_installed_by_the_builder_that_the_lock_has() -> None:
    (builder,) = tomllib.loads(PROJECT.read_text())["build-system"]["requires"]
    oldest, _, beyond = builder.partition(">=")[2].partition(",<")
    locked = re.search(r"^uv-build==(\S+)", LOCK.read_text(), re.MULTILINE)

    assert locked is not None
    assert locked[1] == oldest
    assert parts(oldest) < parts(beyond)
    assert parts(entry_of("uv", LOCK.read_text()).split()[0].partition("==")[2]) < parts(beyond)


def parts(version: str) -> list[int]:
    """Return a version's numbers."""
    return [int(part) for part in version.split(".")]


def find_python(folder: Path, **fakes: str) -> subprocess.CompletedProcess[str]:
    """Ask which Python to take where these are all that there are."""
    for name, script in fakes.items():
        fake = folder / name.replace("_", ".")
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
    return subprocess.run(
        [ROOT / "demo" / "find-python", ""],
        cwd=folder,
        env={"PATH": str(folder)},
        text=True,
        capture_output=True,
        check=False,
    )


def test_a_python_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    done = find_python(tmp_path, python3="exit 1", python3_13="exit 0")

    assert done.stdout.strip() == "python3.13"


def test_without_a_python_it_says_which_are_needed(tmp_path: Path) -> None:
    done = find_python(tmp_path, python3='case "$2" in *ensurepip*) exit 1;; *) echo 3.9;; esac')

    assert done.returncode == 1
    assert "python3 is Python 3.9." in done.stderr
    assert "3.11, 3.12, 3.13 or 3.14" in done.stderr


def test_without_the_venv_module_it_says_what_to_install(tmp_path: Path) -> None:
    done = find_python(tmp_path, python3='case "$2" in *ensurepip*) exit 1;; *) echo 3.11;; esac')

    assert done.returncode == 1
    assert "apt-get install python3.11-venv" in done.stderr
