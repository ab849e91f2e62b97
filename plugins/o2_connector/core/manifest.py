"""What passes between tasks through XCom: references, counts and digests. Never content, numbers or addresses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedObject:
    """Refer to one write-once object in staging.

    :param name: path below the staging root, with ``/`` between its parts.
    :param sha256: digest of its bytes, 64 lower-case hex digits.
    :param size: bytes.
    """

    name: str
    sha256: str
    size: int
