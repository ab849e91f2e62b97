"""Staging on a directory and on Azurite: the same promises, proved by the same tests."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk import BaseHook
from airflow.sdk.io import get_fs

from o2_connector.core.errors import IntegrityError, RetryError, StopError
from o2_connector.core.manifest import StagedObject
from o2_connector.core.report import Detail
from o2_connector.hooks.staging import ABANDONED_SECONDS, SPOOL, StagingHook, check_name
from o2_connector.hooks.staging_azure import storage_account
from o2_connector.hooks.staging_streams import BLOCK
from tests.azurite.server import ACCOUNT, KEY, connection_string, running

PLUGINS = Path(__file__).parents[2] / "plugins"
CONNECTION = "AIRFLOW_CONN_O2_STAGING"
RAW = "windows/20261121T000000Z--20261122T000000Z/raw/"


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    with running() as endpoint:
        yield endpoint


def directory_connection(path: Path | str) -> str:
    return json.dumps({"conn_type": "fs", "extra": {"path": str(path)}})


def azure_connection(endpoint: str, **extra: str) -> str:
    return json.dumps({"conn_type": "wasb", "extra": {"connection_string": connection_string(endpoint), **extra}})


@pytest.fixture(
    params=["directory", *(pytest.param(each, marks=pytest.mark.azurite) for each in ("azurite", "azurite whole"))]
)
def hook(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StagingHook:
    """A hook on an empty staging; the folder's name holds what a URL would misread."""
    if request.param == "directory":
        connection = directory_connection(tmp_path / "staged #1 %20?")
    else:
        endpoint = request.getfixturevalue("azurite")
        prefix = {"prefix": "organisation/o2/"} if request.param == "azurite" else {}
        connection = azure_connection(endpoint, container=f"test-{uuid4().hex[:12]}", **prefix)
    monkeypatch.setenv(CONNECTION, connection)
    return StagingHook()


def stage(hook: StagingHook, data: bytes, stem: str = RAW + "batch-1.", suffix: str = ".jsonl") -> StagedObject:
    with hook.writer(stem, suffix) as writer:
        writer.write(data)
    return writer.staged


def spoil(hook: StagingHook, staged: StagedObject, data: bytes) -> None:
    """Put other bytes under an object's name, as no hook would."""
    path: Any = hook.get_conn() / staged.name
    path.fs.makedirs(path.fs._parent(path.path), exist_ok=True)
    if path.fs.exists(path.path):
        path.fs.rm_file(path.path)
    path.fs.pipe_file(path.path, data)


# What is written


def test_an_object_is_named_by_its_digest_and_comes_back_byte_for_byte(hook: StagingHook) -> None:
    data = b"one\ntwo\n" + bytes(range(256)) * 9

    staged = stage(hook, data)

    digest = hashlib.sha256(data).hexdigest()
    assert staged == StagedObject(name=f"{RAW}batch-1.{digest}.jsonl", sha256=digest, size=len(data))
    with hook.reader(staged) as reader:
        assert reader.read() == data


def test_a_small_object_is_read_at_once_unless_its_bytes_are_others_or_not_there(hook: StagingHook) -> None:
    staged = stage(hook, b"evidence")

    assert hook.whole(staged.name) == b"evidence"
    spoil(hook, staged, b"altered!")
    with pytest.raises(IntegrityError, match=staged.name):
        hook.whole(staged.name)
    with pytest.raises(IntegrityError, match="it is not there"):
        hook.whole(f"{RAW}none.{'0' * 64}.jsonl")


def test_an_empty_object_is_an_object(hook: StagingHook) -> None:
    staged = stage(hook, b"")

    assert hook.size(staged.name) == 0
    with hook.reader(staged) as reader:
        assert reader.read() == b""


def test_writing_the_same_bytes_again_gives_the_same_one_object(hook: StagingHook) -> None:
    first = stage(hook, b"evidence")

    again = stage(hook, b"evidence")

    assert again == first
    assert list(hook.names("windows/")) == [first.name]


def test_an_exception_in_the_middle_leaves_nothing_under_any_name(hook: StagingHook) -> None:
    with pytest.raises(ZeroDivisionError), hook.writer(RAW + "batch-1.") as writer:  # noqa: PT012
        writer.write(b"half of it")
        raise ZeroDivisionError

    assert list(hook.names("")) == []
    with pytest.raises(RuntimeError, match="has been left"):
        _ = writer.staged


def test_bytes_with_another_digest_than_expected_are_not_staged(hook: StagingHook) -> None:
    expected = hashlib.sha256(b"what the source promised").hexdigest()

    with pytest.raises(IntegrityError, match=expected), hook.writer(RAW, expect_sha256=expected) as writer:
        writer.write(b"what came")

    assert list(hook.names("")) == []


def test_bytes_with_the_expected_digest_are_staged(hook: StagingHook) -> None:
    expected = hashlib.sha256(b"what the source promised").hexdigest()

    with hook.writer(RAW, expect_sha256=expected) as writer:
        writer.write(b"what the source ")
        assert writer.tell() == 16
        writer.write(b"promised")

    assert writer.staged.sha256 == expected


def test_a_name_that_holds_an_object_of_another_size_is_refused_and_left_as_it_is(hook: StagingHook) -> None:
    digest = hashlib.sha256(b"evidence").hexdigest()
    name = f"{RAW}batch-1.{digest}.jsonl"
    spoil(hook, StagedObject(name=name, sha256=digest, size=8), b"something else")

    with pytest.raises(IntegrityError, match=name):
        stage(hook, b"evidence")

    assert hook.size(name) == len(b"something else")


def test_writers_of_the_same_object_at_the_same_time_all_succeed(hook: StagingHook) -> None:
    data = b"x" * 300_000
    start = threading.Barrier(8)

    def write(_: int) -> StagedObject:
        with StagingHook().writer(RAW) as writer:
            writer.write(data)
            start.wait(timeout=30)
        return writer.staged

    with ThreadPoolExecutor(8) as threads:
        staged = set(threads.map(write, range(8)))

    assert len(staged) == 1
    assert list(hook.names("")) == [next(iter(staged)).name]


def test_a_process_killed_in_the_middle_leaves_nothing_under_any_name(hook: StagingHook) -> None:
    program = (
        "import os, signal\n"
        "from o2_connector.hooks.staging import StagingHook\n"
        "with StagingHook().writer('windows/killed.') as writer:\n"
        "    writer.write(b'x' * 1_000_000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    killed = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(PLUGINS)}, check=False)

    assert killed.returncode == -9
    assert list(hook.names("")) == []


# What is read


def test_lines_are_read_across_blocks(hook: StagingHook) -> None:
    lines = [b"%d " % number + b"x" * 60 + b"\n" for number in range(150_000)]
    assert sum(map(len, lines)) > BLOCK

    staged = stage(hook, b"".join(lines))

    with hook.reader(staged) as reader:
        assert reader.readline() == lines[0]
        assert list(reader) == lines[1:]


@pytest.mark.parametrize("found", [b"evidenc", b"evidence and more", b"EVIDENCE", b""])
def test_an_object_that_is_not_what_was_written_is_never_read_to_its_end(hook: StagingHook, found: bytes) -> None:
    staged = stage(hook, b"evidence")
    spoil(hook, staged, found)

    with (
        pytest.raises(IntegrityError, match=f"{staged.name}.*{staged.sha256}.*{hashlib.sha256(found).hexdigest()}"),
        hook.reader(staged) as reader,
    ):
        reader.read()
    with pytest.raises(IntegrityError, match=staged.name), hook.local(staged):
        pytest.fail("a file that is not verified was lent")


def test_who_reads_no_more_than_the_size_gets_no_unverified_end_either(hook: StagingHook) -> None:
    staged = stage(hook, b"evidence")
    spoil(hook, staged, b"EVIDENCE")

    with hook.reader(staged) as reader, pytest.raises(IntegrityError, match=staged.name):
        reader.read(staged.size)


def test_an_object_may_be_left_before_its_end(hook: StagingHook) -> None:
    staged = stage(hook, b"first\n" + b"x" * 3 * BLOCK)

    with hook.reader(staged) as reader:
        assert reader.readline() == b"first\n"


def test_an_object_that_is_gone_is_an_integrity_error(hook: StagingHook) -> None:
    gone = StagedObject(name=RAW + "gone", sha256="0" * 64, size=1)

    with pytest.raises(IntegrityError, match=gone.name), hook.reader(gone):
        pytest.fail("an object that is not there was opened")


def test_a_local_file_lends_random_access(hook: StagingHook) -> None:
    staged = stage(hook, b"0123456789" * 100_000)

    with hook.local(staged) as path, path.open("rb") as file:
        file.seek(500_003)
        assert file.read(4) == b"3456"


# Names that are claimed


def test_a_name_is_claimed_by_one_alone(hook: StagingHook) -> None:
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda _: hook.claim("owners/003/00000001.owner"), range(8)))

    assert sorted(won) == [False] * 7 + [True]
    assert hook.size("owners/003/00000001.owner") == 0
    assert list(hook.names("owners/003/")) == ["owners/003/00000001.owner"]


# What is known of objects


def test_size_and_name_know_objects_only(hook: StagingHook) -> None:
    staged = stage(hook, b"evidence")

    assert hook.size(staged.name) == 8
    assert hook.staged(staged.name) == staged
    assert hook.size(RAW + "another") is None
    assert hook.size(RAW.rstrip("/")) is None


def test_a_name_alone_refers_to_what_is_there_and_to_nothing_else(hook: StagingHook) -> None:
    with pytest.raises(IntegrityError, match="is not there"):
        hook.staged(f"{RAW}{'0' * 64}.jsonl")


def test_lines_are_read_as_they_were_written(hook: StagingHook) -> None:
    rows = [Detail(item_id="i-1", outcome="parked", cause="c\n\u2028d"), Detail(item_id=None, outcome="o", cause="")]

    assert list(hook.read_lines(hook.write_lines(RAW, rows), Detail)) == rows


def test_a_line_that_is_no_row_breaks_the_object_and_its_value_is_not_told(hook: StagingHook) -> None:
    with hook.writer(RAW, ".jsonl") as out:
        out.write(b'{"item_id": 447700900123, "outcome": "failed", "cause": ""}\n')

    with pytest.raises(IntegrityError, match="has a line that is no Detail") as caught:
        list(hook.read_lines(out.staged, Detail))

    assert "447700900123" not in str(caught.value)


def test_names_are_sorted_recursive_and_begin_with_the_prefix(hook: StagingHook) -> None:
    names = sorted(
        stage(hook, stem.encode(), stem).name
        for stem in ("windows/b/raw/x.", "windows/a/raw/x.", "windows/a/raw/xy.", "windows/a/1/2/3/x.", "windows2/a.")
    )

    assert list(hook.names("")) == names
    assert list(hook.names("windows/")) == names[:4]
    assert list(hook.names("windows/a/raw/x.")) == [name for name in names if name.startswith("windows/a/raw/x.")]
    assert list(hook.names("nowhere/")) == []


def test_folders_are_sorted_and_those_directly_below_alone(hook: StagingHook) -> None:
    for stem in ("windows/b/raw/x.", "windows/a/raw/x.", "windows/a/raw/y.", "windows/file.", "owners/00/0/sign."):
        stage(hook, b"x", stem)

    assert list(hook.folders("windows/")) == ["a", "b"]
    assert list(hook.folders("")) == ["owners", "windows"]
    assert list(hook.folders("nowhere/")) == []


def test_folders_are_listed_anew_each_time(hook: StagingHook) -> None:
    stage(hook, b"x", "windows/a/raw/x.")
    before = list(hook.folders("windows/"))

    stage(hook, b"x", "windows/b/raw/x.")

    assert (before, list(hook.folders("windows/"))) == (["a"], ["a", "b"])


def test_names_keep_percent_signs_as_they_are(hook: StagingHook) -> None:
    staged = stage(hook, b"evidence", RAW + "a%2Fb%20c.")

    assert list(hook.names(RAW)) == [staged.name]
    with hook.reader(staged) as reader:
        assert reader.read() == b"evidence"


def test_the_url_of_an_object_is_for_a_person_and_holds_no_credentials(hook: StagingHook) -> None:
    staged = stage(hook, b"evidence", "windows/a%20b/")

    url = hook.url(staged.name)

    assert url.startswith(("file:///", "http://127.0.0.1"))
    assert url.endswith(f"/windows/a%2520b/{staged.sha256}.jsonl")
    assert KEY not in url


def test_the_connection_can_be_tested(hook: StagingHook) -> None:
    works, message = hook.test_connection()

    assert works, message
    assert "Staging is at" in message


@pytest.mark.parametrize(
    "name",
    [
        "", "/", "/etc/passwd", "a//b", "a/", "../b", "a/../b", "a/./b", ".spool/a", "a\\b", "a\0b", "a b", "a?b",
        "a#b", "a*b", "Zoë", "a\n", "a/" + "x" * 256, "/".join(["x" * 200] * 6),
    ],
)  # fmt: skip
def test_a_name_that_could_mean_something_else_is_refused(hook: StagingHook, name: str) -> None:
    for use in (check_name, hook.size, hook.url):
        with pytest.raises(StopError, match="is no name for an object"):
            use(name)


@pytest.mark.parametrize("stem", ["../", "/", "windows//", "windows/../", "windows/a b.", "."])
def test_a_writer_of_such_a_name_is_refused_before_a_byte_is_taken(hook: StagingHook, stem: str) -> None:
    with pytest.raises(StopError, match="is no name for an object"), hook.writer(stem):
        pytest.fail("the writer was opened")


# A directory


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CONNECTION, directory_connection(tmp_path))
    return tmp_path


def test_while_an_object_grows_in_a_directory_no_name_shows_it(directory: Path) -> None:
    hook = StagingHook()

    with hook.writer(RAW) as writer:
        writer.write(b"x" * 1_000_000)
        assert [path for path in directory.rglob("*") if path.is_file() and path.parent.name != SPOOL] == []
        assert list(hook.names("")) == []

    assert list(hook.names("")) == [writer.staged.name]
    assert list((directory / SPOOL).iterdir()) == []


def test_what_a_killed_worker_left_is_removed_a_day_later(directory: Path) -> None:
    spools = directory / SPOOL
    spools.mkdir()
    (spools / "old").write_bytes(b"half of it")
    (spools / "growing").write_bytes(b"half of it")
    os.utime(spools / "old", (time.time() - ABANDONED_SECONDS - 60,) * 2)

    stage(StagingHook(), b"evidence")

    assert [path.name for path in spools.iterdir()] == ["growing"]


def test_a_staged_file_cannot_be_written_to(directory: Path) -> None:
    staged = stage(StagingHook(), b"evidence")

    assert (directory / staged.name).stat().st_mode & 0o777 == 0o440


def test_processes_that_write_the_same_object_into_a_directory_all_succeed(directory: Path) -> None:
    program = (
        "import sys\n"
        "from o2_connector.hooks.staging import StagingHook\n"
        "sys.stdin.readline()\n"
        "with StagingHook().writer('windows/same.') as writer:\n"
        "    writer.write(b'x' * 1_000_000)\n"
    )
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(PLUGINS)}
    processes = [subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) for _ in range(3)]

    for process in processes:
        process.communicate(b"go\n", timeout=60)

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(list(StagingHook().names("windows/"))) == 1


def test_importing_the_hook_loads_neither_airflow_nor_azure_nor_pandas() -> None:
    program = (
        "import sys\n"
        "import o2_connector.hooks.staging\n"
        "loaded = {'airflow', 'azure', 'adlfs', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)\n"
    )

    imported = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(PLUGINS)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert imported.returncode == 0, imported.stderr


def test_a_directory_that_cannot_be_made_stops_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CONNECTION, directory_connection(tmp_path / "file" / "staging"))

    with pytest.raises(StopError, match=r"ENOTDIR.*give the worker's user the right"):
        StagingHook().size("a")
    assert StagingHook().test_connection()[0] is False


# Connections


def test_a_missing_connection_stops_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONNECTION, raising=False)

    with pytest.raises(StopError, match="no connection o2_staging; make one of type fs"):
        StagingHook().get_conn()


@pytest.mark.parametrize(
    ("connection", "fault"),
    [
        ({"conn_type": "s3"}, "is of type s3; make it fs"),
        ({"conn_type": "fs"}, "needs an absolute path"),
        ({"conn_type": "fs", "extra": "[]"}, "needs an absolute path"),
        ({"conn_type": "fs", "extra": {"path": "relative/folder"}}, "needs an absolute path"),
        ({"conn_type": "wasb", "extra": {"container": "No_Such_Name"}}, "is no name for an Azure container"),
        ({"conn_type": "wasb", "extra": {"prefix": "a/../b"}}, "is no name for an object"),
        ({"conn_type": "wasb", "extra": {"connection_string": "nonsense"}}, "correct the staging connection"),
    ],
)
def test_a_connection_that_cannot_be_used_stops_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, object], fault: str
) -> None:
    monkeypatch.setenv(CONNECTION, json.dumps(connection))

    with pytest.raises(StopError, match=fault):
        StagingHook().get_conn()
    works, message = StagingHook().test_connection()
    assert not works
    assert fault in message


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        ({"login": "example", "password": KEY}, "https://example.blob.core.windows.net"),
        (
            {"host": "https://example.blob.core.usgovcloudapi.net/", "login": "client", "password": "secret",
             "extra": {"tenant_id": "00000000-0000-0000-0000-000000000000"}},
            "https://example.blob.core.usgovcloudapi.net",
        ),
        ({"extra": {"account_name": "example", "account_key": KEY}}, "https://example.blob.core.windows.net"),
        ({"host": "example", "extra": {"sas_token": "?sv=2026&sig=x"}}, "https://example.blob.core.windows.net"),
    ],
)  # fmt: skip
def test_every_way_to_name_a_storage_account_finds_it(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], url: str
) -> None:
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "wasb"} | connection))

    fs = get_fs("abfs", "o2_staging", storage_account(BaseHook.get_connection("o2_staging")))

    assert fs.service_client.url.partition("?")[0].rstrip("/") == url


# Azure's refusals


class Refusal(http.server.BaseHTTPRequestHandler):
    """Answer every request with one status and error code, as Azure words it."""

    status, code = 403, "AuthorizationFailure"

    def refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("x-ms-error-code", self.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = refuse

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output quiet."""


@contextmanager
def refusing(status: int, code: str) -> Iterator[str]:
    """Run a server that refuses everything."""
    handler = type("Refusal", (Refusal,), {"status": status, "code": code})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.filterwarnings("ignore:Failed to fetch container properties")
@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (403, "AuthorizationFailure", StopError, "403 AuthorizationFailure; give .* Storage Blob Data Contributor"),
        (401, "NoAuthenticationInformation", StopError, "401 .*; give .* Storage Blob Data Contributor"),
        (429, "TooManyRequests", RetryError, "429"),
        (400, "InvalidBlockList", RetryError, "400 InvalidBlockList"),
        (400, "InvalidResourceName", StopError, "400 .*; correct the staging connection"),
    ],
)
def test_what_azure_refuses_says_what_to_do_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, error: type[Exception], words: str
) -> None:
    with refusing(status, code) as endpoint:
        monkeypatch.setenv(CONNECTION, azure_connection(endpoint))

        with pytest.raises(error, match=words) as refused:
            stage(StagingHook(), b"evidence")
        works, message = StagingHook().test_connection()

    assert not works
    for text in (str(refused.value), message):
        assert KEY not in text
        assert ACCOUNT not in text


@pytest.mark.azurite
def test_a_container_that_somebody_else_makes_at_the_same_moment_is_taken(
    azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, azure_connection(azurite, container=f"new-{uuid4().hex[:12]}"))

    with ThreadPoolExecutor(8) as threads:
        staged = set(threads.map(lambda _: stage(StagingHook(), b"evidence"), range(8)))

    assert len(staged) == 1


@pytest.mark.azurite
@pytest.mark.filterwarnings("ignore:Failed to fetch container properties")
def test_a_connection_that_changed_is_used_as_it_is_now(azurite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing(403, "AuthorizationFailure") as endpoint:
        monkeypatch.setenv(CONNECTION, azure_connection(endpoint))
        assert StagingHook().test_connection()[0] is False

    monkeypatch.setenv(CONNECTION, azure_connection(azurite))

    assert StagingHook().test_connection()[0] is True
