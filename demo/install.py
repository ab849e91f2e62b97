"""Make the virtual environment from the project's lock. Standard library alone: it runs before anything is installed.

Everything comes from ``requirements.lock`` by digest: pip installs uv from it, and uv the rest, because uv takes
seconds where pip takes minutes. One package index is enough, the one that pip is configured with.

The project itself is installed last, as a pointer to this checkout: that is how Airflow finds its connection types,
and the shell `o2-archive`. The code stays where it is, in plugins/.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"
STAMP = VENV / "installed-from"

OLDEST, NEWEST = (3, 11), (3, 14)

#: What pip calls a setting, and what uv calls it. uv reads none of pip's settings by itself.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "no-index": "UV_NO_INDEX",
}


class InstallError(Exception):
    """Say why there is no environment, and what would help."""


def uv_environment(pip_settings: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Translate pip's settings to uv's; what the caller has set for uv stands.

    >>> uv_environment({"global.index-url": "https://pypi.example.com/simple"}, {})["UV_DEFAULT_INDEX"]
    'https://pypi.example.com/simple'
    """
    # Several indexes may hold different versions of one package. To look in all of them is safe here and only here:
    # the lock names every file by its digest.
    result = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    # pip's own order: the file's [global], then the section of the command, then the environment.
    for section in ("global", "install", ":env:"):
        for name, uv_name in UV_NAMES.items():
            value = pip_settings.get(f"{section}.{name}")
            if value:
                separator = "," if uv_name == "UV_FIND_LINKS" else " "
                result[uv_name] = separator.join(value.split())
    return {**result, **{name: value for name, value in environ.items() if name.startswith("UV_")}}


def read_pip_settings(listing: str) -> dict[str, str]:
    """Read what ``pip config list`` prints: ``global.index-url='https://…'``, a line each."""
    found = re.findall(r"^([\w:.-]+)=(['\"])(.*)\2$", listing, flags=re.MULTILINE)
    return {name: value.replace("\\n", "\n") for name, _, value in found}


def entry_of(package: str, lock: str) -> str:
    """Take one package's lines, digests and all, out of the lock."""
    found = re.search(rf"^{re.escape(package)}==\S+ \\\n(?:    --hash=.*\n)+", lock, flags=re.MULTILINE)
    if found is None:
        raise InstallError(f"{LOCK.name} holds no {package}: run `make lock`.")
    return found.group()


def wanted(lock: bytes, project: bytes, version: tuple[int, ...], prefix: str) -> str:
    """Name what the environment has to be: this lock and this project, on this Python."""
    parts = (hashlib.sha256(part).digest() for part in (lock, project))
    return f"{hashlib.sha256(b''.join(parts)).hexdigest()} Python {'.'.join(map(str, version))} {prefix}\n"


@contextmanager
def alone() -> Iterator[None]:
    """Wait until nobody else installs into this checkout."""
    folder = ROOT / ".demo"
    folder.mkdir(exist_ok=True)
    with (folder / "install.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up of this checkout is at work; waiting for it.", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(*command: str | Path, environ: Mapping[str, str]) -> str:
    """Run a command quietly; when it fails, show what it said."""
    done = subprocess.run(
        [str(part) for part in command],
        env=dict(environ),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InstallError(f"{done.stdout.strip()}\n\n`{' '.join(map(str, command))}` failed; the reason stands above.")
    return done.stdout


def runs(python: Path) -> bool:
    """Tell whether an environment still has the Python that it was made with."""
    try:
        return subprocess.run([python, "-c", ""], stdin=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def outer_environment() -> dict[str, str]:
    """Take the environment without what would make the installed thing differ from one shell to the next."""
    # Unset PYTHONDONTWRITEBYTECODE: Airflow starts in half the time when its bytecode is there.
    leave = {
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONPATH",
        "PYTHONHOME",
        "VIRTUAL_ENV",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_USER",
    }
    return {name: value for name, value in os.environ.items() if name not in leave}


def uv_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Make the environment in which uv finds packages where pip would."""
    listing = run(VENV / "bin" / "python", "-m", "pip", "config", "list", environ=environ)
    return {**environ, **uv_environment(read_pip_settings(listing), environ)}


def project_command(python: Path) -> tuple[str | Path, ...]:
    """Say to uv how the project is installed: where it stands, by the builder that the lock has, without an index."""
    offline = ("--offline", "--no-index", "--no-deps", "--no-build-isolation")
    return ("pip", "install", "-q", "--python", python, *offline, "--editable", ROOT)


def install() -> None:
    """Make ``.venv`` what the lock and the project say; at once when it is that already."""
    lock = LOCK.read_bytes()
    version = tuple(sys.version_info[:3])
    if not OLDEST <= version[:2] <= NEWEST:
        raise InstallError(f"Python 3.11 to 3.14 is needed; {sys.executable} is {'.'.join(map(str, version))}.")
    wish = wanted(lock, PROJECT.read_bytes(), version, sys.base_prefix)
    with alone():
        python = VENV / "bin" / "python"
        if STAMP.exists() and STAMP.read_text() == wish and python.exists():
            return
        environ = outer_environment()
        started = time.monotonic()
        fits = STAMP.exists() and STAMP.read_text().split(" ", 1)[1] == wish.split(" ", 1)[1] and runs(python)
        changed = f"{LOCK.name} or {PROJECT.name} has changed; bringing .venv up to date"
        what = changed if fits else "Setting up .venv (a minute or two, once)"
        print(f"{what}, Python {'.'.join(map(str, version))}", flush=True)
        STAMP.unlink(missing_ok=True)
        if not fits:
            run(sys.executable, "-m", "venv", "--clear", VENV, environ=environ)
        bootstrap = VENV / "uv.lock.txt"
        bootstrap.write_text(entry_of("uv", lock.decode()))
        run(python, "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", bootstrap, environ=environ)
        # sync, not install: what the lock no longer names goes.
        command = ("pip", "sync", "-q", "--python", python, "--require-hashes", "--compile-bytecode", LOCK)
        run(VENV / "bin" / "uv", *command, environ=uv_settings(environ))
        run(VENV / "bin" / "uv", *project_command(python), environ=environ)
        STAMP.write_text(wish)
        count = len(list((VENV / "lib").glob("python*/site-packages/*.dist-info")))
        seconds = time.monotonic() - started
        print(f"{count - 1} packages, all from {LOCK.name}, and the project, in {seconds:.0f} s\n", flush=True)


def lock() -> None:
    """Resolve ``requirements.txt`` into the lock, for every Python that the project admits."""
    command = ("pip", "compile", "-q", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-header")
    with alone():
        environ = uv_settings(outer_environment())
        run(VENV / "bin" / "uv", *command, "--no-emit-index-url", "requirements.txt", "-o", LOCK.name, environ=environ)
    print(f"{LOCK.name} is what requirements.txt says.")


def main() -> int:
    """Install, or lock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["install", "lock"])
    what = parser.parse_args().what
    try:
        install() if what == "install" else lock()
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
