"""Preflight: what was found before anything is archived, in sentences that may be sent to anybody.

Findings are made of our own words, counts, statuses and codes. What others said, an error's text, goes through
:func:`discreet` first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

FOLDER_NAME = "O2 archive preflight (a test, removes itself)"
"""The mail folder in which the canary mailbox is tried; nothing of the archive ever lies there."""

FORMAT = 1
"""The version of the JSON form."""


class Area(StrEnum):
    """Say which system a check is about."""

    TELEMESSAGE = "TeleMessage"
    GRAPH = "Microsoft Graph"
    STAGING = "staging"
    MAPPING = "mapping"
    CANARY = "canary mailbox"


class State(StrEnum):
    """Say what came of a check."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    NOT_CHECKED = "not checked"


class Found(NamedTuple):
    """Hold what a check says: a sentence, and what to do."""

    state: State
    what: str
    remedy: str | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Say what a check found.

    :param check: its name, for ever the same.
    """

    check: str
    area: Area
    state: State
    what: str
    remedy: str | None = None

    def __str__(self) -> str:
        return f"{self.area}: {self.state}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")


class OpenPoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Say what a real tenant does where the documentation is silent or contradicts itself.

    :param point: its name, for ever the same.
    :param assumed: what this connector goes by.
    :param observed: what was seen; None where it could not be.
    :param as_assumed: whether the two agree; None where that is for a reader to say.
    :param why: why nothing was observed.
    """

    point: str
    assumed: str
    observed: str | None = None
    as_assumed: bool | None = None
    why: str | None = None

    def __str__(self) -> str:
        agrees = {True: "as assumed", False: "not as assumed", None: "to be read"}[self.as_assumed]
        observed = f"not observed ({self.why})" if self.observed is None else f"{agrees}: {self.observed}"
        return f"open point: {self.point}: {observed}; assumed: {self.assumed}"


class Preflight(msgspec.Struct, frozen=True, kw_only=True):
    """Hold all that was found.

    :param converter: the version of what messages are made by.
    :param cloud: which of Microsoft's, or another Graph.
    """

    format: int = FORMAT
    made: datetime
    converter: str
    cloud: str
    findings: Sequence[Finding]
    open_points: Sequence[OpenPoint]

    @property
    def counts(self) -> dict[str, int]:
        """Count the findings by state."""
        counted = Counter(finding.state for finding in self.findings)
        return {state.value: counted[state] for state in State}

    @property
    def errors(self) -> list[Finding]:
        """Return what has to be mended."""
        return [finding for finding in self.findings if finding.state is State.ERROR]

    def as_json(self) -> bytes:
        """Return everything as JSON, for programs."""
        return msgspec.json.format(msgspec.json.encode({**msgspec.structs.asdict(self), "counts": self.counts}))


def ok(what: str) -> Found:
    """Say that all is well."""
    return Found(State.OK, what)


def warning(what: str, remedy: str) -> Found:
    """Say that it works, and should be otherwise."""
    return Found(State.WARNING, what, remedy)


def error(what: str, remedy: str) -> Found:
    """Say that an archive could not work like this."""
    return Found(State.ERROR, what, remedy)


def not_checked(what: str, remedy: str | None = None) -> Found:
    """Say that nothing is known."""
    return Found(State.NOT_CHECKED, what, remedy)


HIDDEN = "…"

_SHORTEST = 3  # of a value that is looked for in a text: what is shorter is in any word
_TELLING = re.compile(
    r"(?!https://login\.microsoftonline\.com/error\b)https?://\S+"
    r"|[^\s'\"<>(]+@[^\s'\"<>)]+"
    r"|\{?[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?"
    r"|(?<![\w:/])/[^\s/'\"]+(?:/[^\s/'\"]+)+"
    r"|(?-i:(?<![\w./-])(?!login\.microsoftonline\.com/error)(?:[a-z0-9_-]+\.)+[a-z]{2,}(?::[0-9]+)?(?![\w(]))"
    r"|(?<![A-Za-z0-9])\+?[0-9](?:[ .()-]?[0-9]){8,}"
    r"|[A-Za-z0-9+/_=-]{40,}",
    re.IGNORECASE,
)


def discreet(text: str, known: Collection[str]) -> str:
    """Return a text on one line without anything that tells whose it is.

    :param known: values that must not be shown: of connections, of settings, addresses.
    """
    telling = [re.escape(value) for value in sorted(known, key=len, reverse=True) if len(value) >= _SHORTEST]
    if telling:
        text = re.sub("|".join(telling), HIDDEN, text, flags=re.IGNORECASE)
    return _TELLING.sub(HIDDEN, " ".join(text.split()))
