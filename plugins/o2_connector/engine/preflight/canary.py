"""Canary: the mailbox that is tried, and what was made in it.

Made is what the import makes, by the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec

from o2_connector.core.errors import RetryError
from o2_connector.core.graph_errors import NO_ANSWER
from o2_connector.core.graph_message import graph_message
from o2_connector.core.layout import bucket_of
from o2_connector.core.preflight_samples import Sample, sample
from o2_connector.core.rendering import Rendering
from o2_connector.engine.ownership import Rhythm, owned
from o2_connector.engine.paces import Paces
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_mail import create_call, id_of
from o2_connector.hooks.graph_requests import Answer, GraphRequests, get, quoted
from o2_connector.hooks.staging import StagingHook

REPLIES, REFERENCES, MESSAGE_CLASS = "String 0x1042", "String 0x1039", "String 0x001A"

_LOOKS = 3


class Canary:
    """Lend a mailbox; what one check makes the next ones look at.

    :param hook: leads to the tenant.
    :param message_class: what the messages' class begins with.
    :param rhythm: of the signs by which imports know that the mailbox is in use.
    """

    def __init__(self, hook: GraphHook, message_class: str, rhythm: Rhythm) -> None:
        self.hook = hook
        self.mailbox = ""
        self.folder = ""
        self.made: dict[Sample, str] = {}
        self.read: Mapping[str, Any] = {}
        self.properties: Mapping[str, str] = {}
        self.changed = Answer(status=NO_ANSWER)
        self._class = message_class
        self._rhythm = rhythm
        self._paces = Paces()
        self._owning = ExitStack()

    @property
    def graph(self) -> GraphRequests:
        """Return the conversation with Graph, in which this mailbox's limits are kept."""
        return self.hook.graph.gated(self._gate)

    def rendering(self, which: Sample) -> Rendering:
        """Return what a sample says."""
        return sample(which, self._class)

    def own(self, staging: StagingHook) -> None:
        """Keep imports from writing to the mailbox until it is left.

        :raises RetryError: when one still writes there after a while, in which one that was killed is taken for dead.
        """
        patience = self._rhythm.dead_seconds * 4 / 3
        buckets = [bucket_of(self.mailbox)]
        self._owning.enter_context(owned(staging, buckets, self._paces, rhythm=self._rhythm, patience_seconds=patience))

    def leave(self) -> None:
        """Let imports write to the mailbox again."""
        self._owning.close()

    def create(self, which: Sample, folder: str, body: Mapping[str, Any] | None = None) -> str:
        """Create a sample as an import does, in a batch, and return its id."""
        message = graph_message(self.rendering(which)) if body is None else body
        answer = self.graph.batch([create_call(self.mailbox, folder, msgspec.Raw(msgspec.json.encode(message)))])[0]
        message_id = id_of(answer)
        if not answer.ok:
            raise answer.failure("a message was created")
        if message_id is None:
            raise RetryError("a message was created: Graph's answer has no id")
        self.made[which] = message_id
        return message_id

    def path(self, message_id: str) -> str:
        """Return a message's path."""
        return f"/users/{quoted(self.mailbox)}/messages/{quoted(message_id)}"

    def ask(self, what: str, path: str) -> Mapping[str, Any]:
        """Read something; not every server knows at once what was made a moment ago."""
        answer = self.graph.send(get(path), self.graph.deadline())
        for _ in range(_LOOKS):
            if answer.status != HTTPStatus.NOT_FOUND:
                break
            self.graph.sleep(1.0)
            answer = self.graph.send(get(path), self.graph.deadline())
        if not answer.ok:
            raise answer.failure(what)
        return answer.fields

    @contextmanager
    def _gate(self, size: int) -> Iterator[None]:
        """Hold a request back until the mailbox may be asked; a batch counts once, for all of them together are few."""
        while not self._paces.begin_if_ready(self.mailbox, size):
            self.hook.graph.sleep(1.0)
        try:
            yield
        finally:
            self._paces.end(self.mailbox, size)


def expanding(condition: str) -> str:
    """Return the part of a query by which named properties are shown."""
    return f"$expand=singleValueExtendedProperties($filter={quoted(condition)})"


def normal(property_id: str) -> str:
    """Return a property's id in one spelling: Graph gives tags back without zeros, and GUIDs in its own case."""
    kind, _, rest = property_id.casefold().partition(" 0x")
    return f"{kind} 0x{rest.lstrip('0')}" if rest else kind


def instant(value: Any) -> datetime | None:
    """Return a time of Graph's, or None where it is none."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None
