"""How a connection of type wasb is read, and how the container that it names is opened."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from o2_connector.core.errors import StopError
from o2_connector.hooks.staging_errors import translated

if TYPE_CHECKING:
    from airflow.sdk import Connection, ObjectStoragePath

DEFAULT_CONTAINER = "o2-archive"

_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}", re.ASCII)


def storage_account(connection: Connection) -> dict[str, Any]:
    """Return what adlfs needs to know of the storage account where only host and login of the connection say it."""
    extra = connection.extra_dejson
    host = (connection.host or "").rpartition("//")[2].partition("/")[0]
    options: dict[str, Any] = {}
    if not extra.get("account_name"):
        # With a tenant the login is a client id, and the account is the first label of its host.
        options["account_name"] = host.partition(".")[0] or connection.login
    if "." in host and not extra.get("account_host"):
        options["account_host"] = host
    return options


def open_container(connection: Connection, prefix: str) -> ObjectStoragePath:
    """Return the container, made where it is missing, or what lies below a prefix in it."""
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach, get_fs

    conn_id = connection.conn_id
    container = connection.extra_dejson.get("container") or DEFAULT_CONTAINER
    if not _CONTAINER.fullmatch(container):
        raise StopError(
            f"staging: {container!r} in connection {conn_id} is no name for an Azure container;"
            " it takes 3 to 63 lower-case letters, digits and single hyphens"
        )
    # It writes the headers of every request at INFO; the Azure provider's own hook silences it in the same way.
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
    with translated(f"opening container {container}"):
        # Airflow keeps a file system by connection id as long as a process lives; this one knows the connection
        # as it is now, with what adlfs cannot find in it by itself.
        store = attach("abfs", conn_id)
        store.fs = get_fs("abfs", conn_id, storage_account(connection))
        if not store.fs.exists(container):
            _make_container(store.fs, container)
    return ObjectStoragePath(f"abfs://{conn_id}@{container}/{prefix}".rstrip("/"))


def _make_container(fs: Any, container: str) -> None:
    from azure.core.exceptions import ResourceExistsError

    try:
        fs.mkdir(container)
    except ValueError as error:
        # adlfs calls every refusal a bad name and keeps what Azure said as the cause.
        if error.__cause__ is None:
            raise
        if not isinstance(error.__cause__, ResourceExistsError):
            raise error.__cause__ from None
