"""Senders: the threads that send what the conductor decides, and report what came back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import TypeAlias

import msgspec

from o2_connector.core.errors import RetryError
from o2_connector.core.naming import FOLDER_NAME
from o2_connector.engine.lanes import Job, Kind
from o2_connector.engine.messages import Messages
from o2_connector.engine.ownership import Ownership
from o2_connector.engine.paces import Paces
from o2_connector.hooks.graph_mail import (
    archived_call,
    create_call,
    create_large,
    folder_call,
    folders_call,
    item_call,
    remove,
)
from o2_connector.hooks.graph_requests import Answer, Call, GraphRequests, get
from o2_connector.hooks.transport import THREADS

LARGE = 4
"""Messages at a time whose attachments do not fit one request; each has a thread, and one of its mailbox's slots."""

BATCHES = THREADS - LARGE
"""Batches at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """Report a batch that was sent; the answer of the whole stands beside those of its parts."""

    jobs: Sequence[Job]
    answers: Sequence[Answer]
    whole: Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsent:
    """Report a batch that could not be made, or must not."""

    jobs: Sequence[Job]
    error: BaseException


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """Report a message that was made request by request: its id, or why there is none."""

    job: Job
    result: str | BaseException


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Report that Graph refused a request of a message that is made request by request, for the time being."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Intended:
    """Report deliveries whose intent is durable."""

    numbers: Sequence[int]


Event: TypeAlias = Answered | Unsent | Made | Refused | Intended


class Senders:
    """Send batches, and messages that take several requests, each in a thread; a context that waits for all of them.

    :param report: told of everything that was sent, from the threads.
    """

    def __init__(
        self,
        *,
        graph: GraphRequests,
        messages: Messages,
        paces: Paces,
        ownership: Ownership,
        report: Callable[[Event], None],
    ) -> None:
        self._graph = graph
        # Asked as late as can be: before that a thread may have waited for a pack, a token or another's turn
        self._batch_graph = graph.gated(self._owned)
        self._messages = messages
        self._paces = paces
        self._ownership = ownership
        self._report = report
        self._halted = False
        self._batches = ThreadPoolExecutor(BATCHES, "batch")
        self._large = ThreadPoolExecutor(LARGE, "large")

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the threads."""
        self._batches.shutdown()
        self._large.shutdown()

    def send(self, jobs: Sequence[Job]) -> None:
        """Send requests as a batch: once, whatever comes of it."""
        self._batches.submit(self._send, jobs)

    def make(self, job: Job) -> None:
        """Make a message request by request."""
        self._large.submit(self._make, job)

    def halt(self) -> None:
        """Begin no request any more that a message under way still needs."""
        self._halted = True

    def _send(self, jobs: Sequence[Job]) -> None:
        try:
            calls = [self._call(job) for job in jobs]
            answers, whole = self._batch_graph.batch_once(calls)
        except BaseException as error:  # noqa: BLE001  judged by the conductor
            self._report(Unsent(jobs=jobs, error=error))
        else:
            self._report(Answered(jobs=jobs, answers=answers, whole=whole))

    def _call(self, job: Job) -> Call:
        mailbox, folder, todo = job.lane.mailbox, job.folder, job.lane.todo
        if job.page is not None:
            return get(job.page)
        match job.kind:
            case Kind.FOLDERS:
                return folders_call(mailbox)
            case Kind.FOLDER:
                return folder_call(mailbox, FOLDER_NAME)
            case Kind.LOOK:
                return archived_call(mailbox, folder, todo.first_sent, todo.last_sent)
            case Kind.ASK:
                return item_call(mailbox, job.delivery.row.key)
            case _:
                return create_call(mailbox, folder, self._messages.body_of(job.delivery.row))

    def _make(self, job: Job) -> None:
        lane = job.lane
        graph = self._graph.gated(
            lambda size: self._gate(lane.mailbox, size),
            heard=lambda answer: self._heed(lane.mailbox, answer),
            sleep=self._rest,
        )
        made = ""
        try:
            if job.message is not None:
                remove(graph, lane.mailbox, job.message)
            else:
                row = job.delivery.row
                for message_id in lane.leftovers.get(row.key, ()):
                    remove(graph, lane.mailbox, message_id)
                packed = self._messages.of(row)
                message = msgspec.json.decode(packed.message)
                made = create_large(graph, lane.mailbox, job.folder, message, self._messages.attachments(packed))
        except BaseException as error:  # noqa: BLE001  judged by the conductor
            self._report(Made(job=job, result=error))
        else:
            self._report(Made(job=job, result=made))

    @contextmanager
    def _owned(self, _: int) -> Iterator[None]:
        self._ownership.check()
        yield

    def _heed(self, mailbox: str, answer: Answer) -> None:
        """Let nobody ask a mailbox before Graph wants it asked again."""
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._report(Refused())
        if not answer.ok and answer.retry_after:
            self._paces.hold(mailbox, answer.retry_after)

    def _rest(self, seconds: float) -> None:
        """Wait, but not when everything ends."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._go_on()
            time.sleep(min(left, 1.0))

    def _go_on(self) -> None:
        if self._halted:
            raise RetryError("the import is ending")
        self._ownership.check()

    @contextmanager
    def _gate(self, mailbox: str, size: int) -> Iterator[None]:
        """Hold a request of a large message back until its mailbox may be asked."""
        self._go_on()
        while not self._paces.begin_if_ready(mailbox, size):
            self._rest(min(max(self._paces.ready_at(mailbox, size) - time.monotonic(), 0.01), 1.0))
        try:
            self._go_on()
            yield
        finally:
            self._paces.end(mailbox, size)
