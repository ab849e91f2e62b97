"""Staging: that it is written once, read back, listed, and that what lies there stays.

Nothing in staging is ever removed, so each preflight leaves one object of some bytes below ``preflight/``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from uuid import uuid4

from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import preflight_stem
from o2_connector.core.manifest import StagedObject
from o2_connector.core.preflight import Area, Found, error, ok, warning
from o2_connector.engine.preflight.checks import Check
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.staging_protection import protection_of, refuses_overwrite, refuses_removal

_PROTECT = (
    "set a time-based retention policy on the container, for as long as evidence has to be kept, and lock it: nothing"
    " here is ever changed or removed, so it accepts everything"
)


def staging_checks(staging: StagingHook, at: datetime) -> list[Check]:
    """Return what is checked of staging.

    :param at: now, UTC.
    """
    return _Staging(staging, at).checks()


class _Staging:
    """Try an object.

    :param at: now, UTC.
    """

    def __init__(self, staging: StagingHook, at: datetime) -> None:
        self._staging = staging
        self._stem = preflight_stem(at)
        self._content = f"preflight {at.isoformat()} {uuid4()}\n".encode()
        self._object = StagedObject(name="", sha256="", size=0)

    def checks(self) -> list[Check]:
        """Return the checks, in their order."""

        def check(name: str, title: str, run: Callable[[], Iterator[Found]], *needs: str) -> Check:
            return Check(name=f"staging.{name}", area=Area.STAGING, title=title, run=run, needs=needs)

        return [
            check("write", "writing", self._write, "staging.connection"),
            check("read", "reading back", self._read, "staging.write"),
            check("list", "listing", self._list, "staging.write"),
            check("write_once", "writing once", self._write_once, "staging.write"),
            check("keep", "what protects it", self._keep, "staging.write"),
        ]

    def _write(self) -> Iterator[Found]:
        with self._staging.writer(self._stem, ".txt") as out:
            out.write(self._content)
        self._object = out.staged
        yield ok("an object is written")

    def _read(self) -> Iterator[Found]:
        with self._staging.reader(self._object) as source:  # which stops at a wrong digest
            source.read()
        yield ok("its bytes come back, by their digest")

    def _list(self) -> Iterator[Found]:
        if self._object.name not in self._staging.names(self._stem):
            raise IntegrityError("an object that was just written is not listed: no other kind of storage will do")
        yield ok("it is listed at once")

    def _write_once(self) -> Iterator[Found]:
        if self._staging.claim(self._object.name):
            yield error("a name that is taken can be taken again", "use Azure Blob Storage, or a local file system")
            return
        if self._is_container and not refuses_overwrite(self._staging.get_conn(), self._object.name, b"other"):
            yield error("an object is overwritten by a conditional put", "use Azure Blob Storage itself, no gateway")
            return
        yield ok("a name that is taken is refused")

    def _keep(self) -> Iterator[Found]:
        if not self._is_container:
            yield warning(
                "staging is a directory: whoever may write there may also change and remove what lies there",
                "use an Azure container with an immutability policy where this is evidence",
            )
            return
        root = self._staging.get_conn()
        protection = protection_of(root, self._object.name)
        if protection.policy or protection.hold:
            if refuses_removal(root, self._object.name):
                yield ok("the container has an immutability policy or a legal hold, and refuses to remove an object")
            else:
                yield error(
                    "the container has an immutability policy or a legal hold, and still lets an object be removed",
                    "look at the policy's period: it must not be over at once",
                )
        elif protection.kept:
            yield ok("the container keeps every version of an object, each by a policy")
        elif protection.versions:
            yield warning("the container keeps versions, but no policy keeps them from being removed", _PROTECT)
        else:
            yield warning("the container has no immutability policy: objects can be removed", _PROTECT)

    @property
    def _is_container(self) -> bool:
        return self._staging.get_conn().protocol != "file"
