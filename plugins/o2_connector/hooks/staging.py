"""Staging: one conversation with the place where a window's objects lie, a local directory or an Azure container.

The container is reached through Airflow's ObjectStoragePath, the directory by the system's own calls. Objects are
written once and named by their digest, so an object that exists already under a name holds the very bytes that were to
be written, and a container with an immutability policy accepts everything that happens here: nothing is ever
overwritten or deleted.

An object is spooled to a file first and appears under its name in one step, complete or not at all. The shorter way,
``path.open("xb")``, does not serve evidence: fsspec commits what it has when a ``with`` block is left by an exception,
and on a local disk the name is visible before the bytes are.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeVar, cast
from urllib.parse import quote, urlsplit

import msgspec

from o2_connector.core.errors import ConnectorError, IntegrityError, RetryError, StopError
from o2_connector.core.manifest import StagedObject
from o2_connector.hooks.staging_azure import open_container
from o2_connector.hooks.staging_directory import directory_in
from o2_connector.hooks.staging_errors import ObjectMissing, translated
from o2_connector.hooks.staging_streams import BLOCK, StagedWriter, VerifiedSource

if TYPE_CHECKING:
    from airflow.sdk import Connection, ObjectStoragePath

PARALLEL_BLOCKS = 4
"""Blocks of one object that are sent to Azure at the same time; adlfs left alone takes thousands."""

LINES = 256
"""Rows that are encoded together."""

SPOOL = ".spool"
"""Folder below a local root in which objects grow; no object's name has a part that begins with a dot."""

ABANDONED_SECONDS = 24 * 3600
"""A spool file, or a local copy, that nobody has written to for so long was left by a worker that was killed."""

_PART = re.compile(r"[A-Za-z0-9_~%=+-][A-Za-z0-9._~%=+-]*", re.ASCII)
_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?=(\.[a-z]+)?$)")

Row = TypeVar("Row", bound=msgspec.Struct)


def check_name(name: str) -> str:
    """Return the name of an object, or stop when it could mean something else to a disk, a URL or Azure.

    A part holds letters, digits and ``. _ ~ % = + -`` and does not begin with a dot: no name climbs (``..``), hides,
    starts at the root, or is cut by a ``?`` or ``#`` in a URL. The limits are those of Azure (1,024 characters) and
    of Linux (255 a part). StopError, not ItemError: names are made by our own layout, a bad one is a fault in it.
    """
    parts = name.split("/")
    if len(name) > 1024 or not all(_PART.fullmatch(part) and len(part) <= 255 for part in parts):
        raise StopError(f"staging: {name!r} is no name for an object; report this as a fault of the connector")
    return name


class StagingHook:
    """Write, read and list the objects of staging.

    It is no BaseHook, and asks Airflow for the connection only where the environment does not say it all: Airflow takes
    two seconds to start, and a command that reads one item has no more.

    The connection is one of two that Airflow knows already: ``fs`` with ``{"path": "/a/directory"}`` in its extra, or
    ``wasb`` with ``container`` (default ``o2-archive``) and ``prefix`` (default none) beside the Azure provider's own
    settings.

    :param staging_conn_id: id of the connection.
    """

    conn_name_attr = "staging_conn_id"
    default_conn_name = "o2_staging"

    def __init__(self, staging_conn_id: str = default_conn_name) -> None:
        self.staging_conn_id = staging_conn_id

    def get_conn(self) -> ObjectStoragePath:
        """Return the root below which all objects lie."""
        from airflow.sdk import ObjectStoragePath

        if self._directory is None:
            return self._container
        with translated(f"making {self._directory}"):
            self._directory.mkdir(parents=True, exist_ok=True)
        return ObjectStoragePath(f"file://{self._directory}")

    @contextmanager
    def writer(self, stem: str, suffix: str = "", *, expect_sha256: str | None = None) -> Iterator[StagedWriter]:
        """Open a new object; it exists, named stem + digest + suffix, when the block is left without an error.

        :raises IntegrityError: the bytes have another digest than expected, or the name holds something of another
            size. Nothing is staged then.
        """
        check_name(f"{stem}{'0' * 64}{suffix}")
        with self._spool() as spool:
            writer = StagedWriter(spool)
            yield writer
            sha256 = writer.finish()
            if expect_sha256 is not None and sha256 != expect_sha256:
                raise IntegrityError(
                    f"staging: {stem}…{suffix} should have sha256 {expect_sha256}, but {writer.size} bytes with"
                    f" sha256 {sha256} came; nothing was staged"
                )
            staged = StagedObject(name=f"{stem}{sha256}{suffix}", sha256=sha256, size=writer.size)
            with translated(f"writing {staged.name}"):
                if not self._seal(spool, staged.name):
                    self._accept(staged)
            writer.seal(staged)

    def claim(self, name: str) -> bool:
        """Create an object without bytes under this very name; False when somebody has done so before."""
        check_name(name)
        with self._spool() as spool, translated(f"claiming {name}"):
            return self._seal(spool, name)

    def size(self, name: str) -> int | None:
        """Return an object's bytes, or None where there is no object of this name."""
        check_name(name)
        try:
            with translated(f"looking up {name}"):
                if self._directory is not None:
                    found = (self._directory / name).stat()
                    return found.st_size if S_ISREG(found.st_mode) else None
                path = self._container / name
                info = path.fs.info(path.path, refresh=True)
        except ObjectMissing:
            return None
        return int(info["size"]) if info["type"] == "file" else None

    @contextmanager
    def reader(self, staged: StagedObject) -> Iterator[BinaryIO]:
        """Stream an object in constant memory; its end is not handed out unless digest and size are right."""
        check_name(staged.name)
        with translated(f"opening {staged.name}"):
            source = self._opened(staged.name)
        with io.BufferedReader(VerifiedSource(source, staged), BLOCK // 4) as reader:
            yield cast("BinaryIO", reader)

    def whole(self, name: str) -> bytes:
        """Return the bytes of a small object, held against the digest in its name: by one request, not three.

        :raises IntegrityError: it is not there, or has other bytes.
        """
        check_name(name)
        digest = _DIGEST.search(name)
        with translated(f"reading {name}"):
            if self._directory is not None:
                content = (self._directory / name).read_bytes()
            else:
                path = self._container / name
                content = path.fs.cat_file(path.path)
        found = hashlib.sha256(content).hexdigest()
        if digest is None or digest[0] != found:
            raise IntegrityError(f"staging: {name} has bytes with sha256 {found}")
        return content

    @contextmanager
    def local(self, staged: StagedObject) -> Iterator[Path]:
        """Lend a verified local file of an object, for random access. Read it, do not change it.

        Nothing is kept open while it is lent: hundreds may be.
        """
        if self._directory is not None:
            with self.reader(staged) as reader:
                while reader.read(BLOCK):
                    pass
            yield self._directory / staged.name
            return
        copies = Path(tempfile.gettempdir()) / f"o2-staged-{os.getuid()}"
        with translated(f"copying {staged.name} to this worker's disk"):
            copies.mkdir(mode=0o700, exist_ok=True)
            _clear_abandoned(copies)
            descriptor, name = tempfile.mkstemp(dir=copies)
        path = Path(name)
        try:
            with (
                os.fdopen(descriptor, "wb") as copy,
                self.reader(staged) as reader,
                translated(f"copying {staged.name} to this worker's disk"),
            ):
                shutil.copyfileobj(reader, copy, BLOCK)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def names(self, prefix: str) -> Iterator[str]:
        """Iterate over the names that begin with a prefix, sorted."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_name(folder)
        with translated(f"listing {prefix or 'everything'}"):
            if self._directory is None:
                root = self._container
                below = len(root.path.rstrip("/")) + 1
                found = [name[below:] for name in root.fs.find((root / folder).path if folder else root.path)]
            else:
                found = list(_files_below(self._directory, folder))
        yield from sorted(name for name in found if name.startswith(prefix))

    def folders(self, prefix: str) -> Iterator[str]:
        """Iterate over the folders directly below a prefix, sorted, by their last part; what is in them is not listed.

        :param prefix: a folder, with ``/`` at its end; or nothing, for the root.
        """
        name = check_name(prefix.removesuffix("/")) if prefix else ""
        try:
            with translated(f"listing {prefix or 'everything'}"):
                names = set(self._folders(name))
        except ObjectMissing:
            return
        yield from sorted(names - {SPOOL})

    def staged(self, name: str) -> StagedObject:
        """Refer to an object that was found by its name, which says what its bytes should be."""
        digest, size = _DIGEST.search(name), self.size(name)
        if digest is None or size is None:
            raise IntegrityError(f"staging: {name} is not there, or is no object of the connector's")
        return StagedObject(name=name, sha256=digest[0], size=size)

    def write_lines(self, stem: str, rows: Iterable[msgspec.Struct]) -> StagedObject:
        """Write rows as JSON Lines."""
        rest, encoder = iter(rows), msgspec.json.Encoder()
        with self.writer(stem, ".jsonl") as out:
            while some := list(islice(rest, LINES)):
                out.write(encoder.encode_lines(some))
        return out.staged

    def read_lines(self, staged: StagedObject, kind: type[Row]) -> Iterator[Row]:
        """Read rows that :meth:`write_lines` wrote."""
        decoder = msgspec.json.Decoder(kind)
        with self.reader(staged) as lines:
            for line in lines:
                try:
                    row = decoder.decode(line)
                except msgspec.DecodeError:  # of a large object lines are handed out before its digest is known
                    raise IntegrityError(f"staging: {staged.name} has a line that is no {kind.__name__}") from None
                yield row

    def url(self, name: str) -> str:
        """Return where an object lies, for a person: a URL with no credentials in it."""
        check_name(name)
        if self._directory is not None:
            return (self._directory / name).as_uri()
        path = self._container / name
        account = urlsplit(path.fs.service_client.url)
        return f"{account.scheme}://{account.netloc}{account.path.rstrip('/')}/{quote(path.path)}"

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether staging can be reached and, for a local directory, written to."""
        try:
            root = self.get_conn()
            self.size("test-connection")
        except ConnectorError as error:
            return False, str(error)
        if self._directory is not None and not os.access(self._directory, os.W_OK):
            return False, f"staging: {self._directory} may not be written by this user"
        return True, f"Staging is at {root}"

    @cached_property
    def _connection(self) -> Connection:
        from airflow.sdk import BaseHook
        from airflow.sdk.exceptions import AirflowNotFoundException

        try:
            return BaseHook.get_connection(self.staging_conn_id)
        except AirflowNotFoundException as error:
            raise StopError(
                f"staging: there is no connection {self.staging_conn_id}; make one of type fs (File) with"
                ' {"path": "/a/directory"} in its extra, or of type wasb (Azure Blob Storage)'
            ) from error

    @cached_property
    def _directory(self) -> Path | None:
        """Return the root as a local directory, or None where staging is an Azure container."""
        if named := directory_in(os.environ, self.staging_conn_id):
            return named
        if self._connection.conn_type == "wasb":
            return None
        if self._connection.conn_type != "fs":
            raise StopError(
                f"staging: connection {self.staging_conn_id} is of type {self._connection.conn_type};"
                " make it fs (File) or wasb (Azure Blob Storage)"
            )
        extra: object = self._connection.extra_dejson  # of a connection that was written as JSON it may be anything
        path = extra.get("path") if isinstance(extra, dict) else None
        if not isinstance(path, str) or not os.path.isabs(path):
            raise StopError(
                f'staging: connection {self.staging_conn_id} needs an absolute path, {{"path": "/a/directory"}},'
                " in its extra"
            )
        return Path(path)

    @cached_property
    def _container(self) -> ObjectStoragePath:
        """Return the root, where staging is an Azure container."""
        prefix = (self._connection.extra_dejson.get("prefix") or "").strip("/")
        return open_container(self._connection, check_name(prefix) if prefix else "")

    def _opened(self, name: str) -> BinaryIO:
        if self._directory is not None:
            return cast("BinaryIO", (self._directory / name).open("rb", buffering=0))
        path: Any = self._container / name
        return cast("BinaryIO", path.open("rb", block_size=BLOCK))

    def _folders(self, name: str) -> Iterator[str]:
        if self._directory is not None:
            with os.scandir(self._directory / name) as found:
                yield from (each.name for each in found if each.is_dir())
            return
        folder = self._container / name if name else self._container
        for each in folder.fs.ls(folder.path, detail=True, refresh=True):
            if each["type"] == "directory":
                yield each["name"].rstrip("/").rpartition("/")[2]

    @contextmanager
    def _spool(self) -> Iterator[Any]:
        """Open the file in which an object grows: beside a local root, so that one link moves it under its name."""
        with translated("spooling an object"):
            folder = None
            if self._directory is not None:
                folder = self._directory / SPOOL
                folder.mkdir(parents=True, exist_ok=True)
                _clear_abandoned(folder)
            spool = tempfile.NamedTemporaryFile(dir=folder, prefix="o2-spool-")  # noqa: SIM115 (closed below)
        with spool:
            yield spool

    def _seal(self, spool: Any, name: str) -> bool:
        """Give a spooled object its name, at once and exclusively; False when the name is taken."""
        spool.flush()
        if self._directory is None:
            return self._seal_remote(Path(spool.name), name)
        os.fsync(spool.fileno())
        return self._seal_local(self._directory, Path(spool.name), name)

    def _seal_local(self, root: Path, spool: Path, name: str) -> bool:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        spool.chmod(0o440)
        try:
            os.link(spool, target)
        except FileExistsError:
            return False
        finally:
            # The name is as durable as the bytes only when every folder that leads to it is.
            for folder in target.relative_to(root).parents:
                _sync(root / folder)
        return True

    def _seal_remote(self, spool: Path, name: str) -> bool:
        path = self._container / name
        try:
            # fsspec's "create" becomes If-None-Match: * on the request that makes the blob visible.
            path.fs.put_file(str(spool), path.path, mode="create", max_concurrency=PARALLEL_BLOCKS)
        except FileExistsError:
            return False
        return True

    def _accept(self, staged: StagedObject) -> None:
        """Take what lies under a name for the bytes that were to be written there, if its size says nothing else."""
        size = self.size(staged.name)
        if size is None:
            raise RetryError(f"staging: {staged.name} was refused as existing, but is not there")
        if size != staged.size:
            raise IntegrityError(
                f"staging: {staged.name} should have {staged.size} bytes, but an object of {size} bytes is there"
            )


def _files_below(root: Path, folder: str) -> Iterator[str]:
    def give_up(error: OSError) -> NoReturn:
        raise error

    with contextlib.suppress(FileNotFoundError):
        for where, folders, files in os.walk(root / folder, onerror=give_up):
            folders[:] = [name for name in folders if name != SPOOL]
            below = Path(where).relative_to(root).as_posix()
            yield from (name if below == "." else f"{below}/{name}" for name in files)


def _clear_abandoned(spools: Path) -> None:
    """Remove what killed workers left: parts of messages must not lie about for good."""
    for path in spools.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
