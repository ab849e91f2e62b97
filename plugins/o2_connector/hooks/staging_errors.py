"""Translate what a disk or Azure refuses into what the caller of staging should do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from o2_connector.core.errors import ConnectorError, IntegrityError, RetryError, StopError


class ObjectMissing(IntegrityError):
    """Say that an object that a manifest names is not there."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise what went wrong outside as what the caller should do about it."""
    try:
        yield
    except ConnectorError:
        raise
    except OSError as error:
        raise_for_disk(error, doing)
    except ValueError as error:
        raise StopError(f"staging: {doing} failed; correct the staging connection") from error
    except _azure_errors() as error:
        _raise_for_azure(error, doing)


def raise_for_disk(error: OSError, doing: str) -> NoReturn:
    """Sort what an operating system refuses by what heals it."""
    code = errno.errorcode.get(error.errno or 0, type(error).__name__)
    if isinstance(error, FileNotFoundError):
        raise ObjectMissing(f"staging: {doing} failed: it is not there") from error
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EOPNOTSUPP):
        raise StopError(
            f"staging: {doing} failed ({code}); give the worker's user the right to write there, on a file system"
            " that knows hard links"
        ) from error
    raise RetryError(f"staging: {doing} failed ({code})") from error


def _azure_errors() -> tuple[type[Exception], ...]:
    # Looked up only while an exception passes: importing this module, or working on a directory, loads no Azure.
    from azure.core.exceptions import AzureError

    return (AzureError,)


def _raise_for_azure(error: Exception, doing: str) -> NoReturn:
    """Sort Azure's answers: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes."""
    from azure.core.exceptions import ClientAuthenticationError

    status = getattr(error, "status_code", None)
    code = getattr(error, "error_code", None) or type(error).__name__
    code = getattr(code, "value", code)
    said = f"staging: {doing} failed: {status or 'no answer'} {code}"
    if status in (401, 403) or isinstance(error, ClientAuthenticationError):
        raise StopError(
            f"{said}; give the connection's identity the role Storage Blob Data Contributor on the container,"
            " and let the account's firewall admit this worker"
        ) from error
    # A writer of the same bytes that finishes first takes the blocks of a large object with it.
    if status is None or status in (408, 409, 429) or status >= 500 or code == "InvalidBlockList":
        raise RetryError(said) from error
    raise StopError(f"{said}; correct the staging connection, and see that the container exists") from error
