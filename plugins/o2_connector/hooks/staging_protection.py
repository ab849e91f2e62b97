"""What keeps the objects of staging from being changed or removed, by whoever is not this connector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from o2_connector.hooks.staging_errors import translated

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_REFUSED = frozenset({403, 409})  # BlobImmutableDueToPolicy is 409; a right to delete that is missing 403


@dataclass(frozen=True, kw_only=True, slots=True)
class Protection:
    """Say what a container says of itself ("Get Container Properties").

    :param policy: whether it has an immutability policy, unlocked or locked.
    :param hold: whether it has a legal hold.
    :param versions: whether it keeps every version of an object.
    :param kept: whether an object's version has a policy of its own, which new ones get by the container's default.
    """

    policy: bool
    hold: bool
    versions: bool
    kept: bool


def protection_of(root: ObjectStoragePath, name: str) -> Protection:
    """Ask a container what protects it, and an object in it."""
    fs: Any = root.fs
    with translated("asking what protects the container"):
        container = _wait(fs, fs.service_client.get_container_client(_place(root, name)[0]).get_container_properties)
        blob = _wait(fs, _blob(root, name).get_blob_properties)
    return Protection(
        policy=bool(container.has_immutability_policy),
        hold=bool(container.has_legal_hold),
        versions=bool(container.immutable_storage_with_versioning_enabled),
        kept=bool(blob.immutability_policy and blob.immutability_policy.policy_mode),
    )


def refuses_overwrite(root: ObjectStoragePath, name: str, data: bytes) -> bool:
    """Try to put other bytes under an object's name if nothing lies there; tell whether that is refused."""
    with translated("putting other bytes under a name"):
        return _refuses(lambda: _wait(root.fs, _blob(root, name).upload_blob, data, overwrite=False))


def refuses_removal(root: ObjectStoragePath, name: str) -> bool:
    """Try to remove an object, and tell whether that is refused."""
    with translated("removing an object"):
        return _refuses(lambda: _wait(root.fs, _blob(root, name).delete_blob))


def _refuses(attempt: Callable[[], object]) -> bool:
    from azure.core.exceptions import HttpResponseError

    try:
        attempt()
    except HttpResponseError as error:
        if error.status_code in _REFUSED:
            return True
        raise
    return False


def _blob(root: ObjectStoragePath, name: str) -> Any:
    fs: Any = root.fs
    return fs.service_client.get_blob_client(*_place(root, name))


def _place(root: ObjectStoragePath, name: str) -> tuple[str, str]:
    fs: Any = root.fs
    container, path, _ = fs.split_path((root / name).path)
    return container, path


def _wait(fs: Any, ask: Any, *given: Any, **options: Any) -> Any:
    from fsspec.asyn import sync  # type: ignore[import-untyped]

    return sync(fs.loop, ask, *given, **options)
