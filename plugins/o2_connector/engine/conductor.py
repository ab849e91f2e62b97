"""Conductor: deliver a shard's open deliveries as fast as Graph's limits allow, and no faster.

One thread conducts: it fills batches across mailboxes, decides what goes next, and has each answer judged by itself
(:mod:`o2_connector.engine.judge`). Others only send. So nothing here is shared but the queue on which they report, and
the count of what each mailbox was asked.
"""

from __future__ import annotations

import heapq
import queue
import time
from collections import deque
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from itertools import count

from o2_connector.core.errors import RetryError
from o2_connector.core.graph_errors import Verdict
from o2_connector.core.ledger import Delivery
from o2_connector.core.outcomes import Outcome
from o2_connector.engine.journal import Journal
from o2_connector.engine.judge import Judge, put_back
from o2_connector.engine.lanes import FARTHEST, Job, Kind, Lane, Task
from o2_connector.engine.messages import Messages
from o2_connector.engine.ownership import Ownership
from o2_connector.engine.paces import Paces
from o2_connector.engine.progress import Progress
from o2_connector.engine.senders import BATCHES, LARGE, Answered, Event, Intended, Made, Refused, Senders, Unsent
from o2_connector.engine.worklist import Todo, Worklist
from o2_connector.hooks.graph_requests import BATCH_LIMIT, Answer, GraphRequests
from o2_connector.hooks.transport import backoff

LANES = 256
"""Mailboxes at a time that are not kept waiting: enough to fill every batch, few enough that a killed import leaves
few deliveries in doubt."""

MOST_LANES = 1024
"""Mailboxes at a time, those that are kept waiting included."""

ROOM = 3_600_000
"""Bytes of the messages in a batch: with what is around them it stays below the 4 MB of a request."""

IN_FLIGHT = 16 * 1024 * 1024
"""Bytes of messages in all batches at a time: what memory they take, some five times this, does not depend on the day.

Measured with pictures (benchmarks/importing/large.py): twice as much is not faster and takes 150 MiB.
"""

BACKLOG = 20_000
"""Receipts that are not durable yet, beyond which nothing more is sent."""

RESTING = 5.0
"""Seconds of waiting from which a mailbox makes place for another."""

LOST_IN_A_ROW = 3
"""Batches without an answer, none answered between them, after which everything waits: it is the line, or Graph."""

_PAGE = 200
_NEVER = float("inf")
_LOOK_AGAIN = 1.0  # seconds; how often what is waited for without a date is looked at
_AT_ONCE = 0.05  # seconds, after a large message was quicker


class Conductor:
    """Deliver everything that a worklist has open.

    :param graph: asked through, at most `BATCHES` times at once.
    :param settle_seconds: how long to wait, after an answer was lost, before the mailbox is asked what came of it.
    :param patience_seconds: how long one delivery, or one mailbox, is tried before it is left to the task's next try.
    """

    def __init__(
        self,
        *,
        graph: GraphRequests,
        worklist: Worklist,
        messages: Messages,
        paces: Paces,
        ownership: Ownership,
        progress: Progress,
        settle_seconds: float,
        patience_seconds: float,
    ) -> None:
        self._graph = graph
        self._worklist = worklist
        self._paces = paces
        self._ownership = ownership
        self._progress = progress
        self._settle_seconds = settle_seconds
        self._patience_seconds = patience_seconds
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._senders = Senders(
            graph=graph, messages=messages, paces=paces, ownership=ownership, report=self._events.put
        )
        self._todos: deque[Todo] = deque()
        self._lanes: set[Lane] = set()
        self._resting: set[Lane] = set()
        self._queue: deque[Lane] = deque()
        self._wakes: list[tuple[float, int, Lane]] = []
        self._want_large: deque[Lane] = deque()
        self._intending: dict[int, tuple[Lane, Task]] = {}
        self._unintended: list[tuple[int, Delivery]] = []
        self._at_large: set[Lane] = set()
        self._batches = self._bytes = 0
        self._lost = 0
        self._pause = self._trouble_since = 0.0
        self._settled_at = _NEVER
        self._fatal: BaseException | None = None
        self._halted = False
        self.pending: list[RetryError] = []

    def intended(self, numbers: Sequence[int]) -> None:
        """Take note, from the journal's thread, that intents are durable."""
        self._events.put(Intended(numbers=numbers))

    def run(self, journal: Journal) -> None:
        """Deliver; what failed for good has a receipt then, and what must wait is in `pending`.

        :raises StopError: and whatever else concerns every mailbox, when what was under way is answered and received.
        """
        self._journal = journal
        self._judge = Judge(
            graph=self._graph,
            worklist=self._worklist,
            journal=journal,
            paces=self._paces,
            progress=self._progress,
            settle_seconds=self._settle_seconds,
            patience_seconds=self._patience_seconds,
            pending=self.pending,
            stop=self._stop,
        )
        self._todos.extend(self._worklist.mailboxes())
        self._settled_at = time.monotonic() + self._settle_seconds
        try:
            with self._senders:
                try:
                    self._conduct()
                finally:
                    self._halt()
        finally:
            # Also when the task is told to end: what was under way is answered now, and what arrived gets its receipt.
            while not self._events.empty():
                self._heed(self._events.get())
        if self._fatal is not None:
            raise self._fatal

    def _conduct(self) -> None:
        while (self._admit() or self._lanes) and not self._halted:
            self._look_around()
            self._dispatch()
            self._intend()
            self._hear(self._patience())
            self._progress.tell(len(self._resting))

    def _look_around(self) -> None:
        if self._journal.failed is not None:
            self._stop(self._journal.failed)
        try:
            self._ownership.check()
        except RetryError as error:
            self._stop(error)

    def _stop(self, error: BaseException) -> None:
        """Send nothing more, for a reason that concerns every mailbox."""
        self._fatal = self._fatal or error
        self._halt()

    def _halt(self) -> None:
        self._halted = True
        self._senders.halt()

    # What goes next

    def _admit(self) -> bool:
        """Open lanes while there is place; return whether there is any mailbox left outside."""
        while self._todos and len(self._lanes) < MOST_LANES and len(self._lanes) - len(self._resting) < LANES:
            lane = Lane(todo=self._todos.popleft())
            self._lanes.add(lane)
            self._refill(lane)
            self._place(lane)
        return bool(self._todos)

    def _place(self, lane: Lane) -> None:
        """Queue a lane to be looked at, or close it when nothing is left to do."""
        if lane.is_finished:
            self._close(lane)
        elif not lane.queued and not self._halted:
            lane.queued = True
            self._resting.discard(lane)
            self._queue.append(lane)

    def _close(self, lane: Lane) -> None:
        if lane not in self._lanes:
            return  # a lane that was closed may still stand in the queue
        if lane.cause is not None:
            for task, doubtful in self._rest_of(lane):
                self._judge.receive(lane, task, Outcome.FAILED, lane.cause, doubtful=doubtful)
        elif lane.left is not None:
            self.pending.append(lane.left)
        self._lanes.discard(lane)
        self._resting.discard(lane)

    def _rest_of(self, lane: Lane) -> Iterator[tuple[Task, bool]]:
        """Yield what a lane still has, and the worklist of it, each with whether it is in doubt."""
        pages = (
            (self._worklist.open_rows, lane.fetched, lane.more),
            (self._worklist.doubtful_rows, lane.doubts_fetched, lane.more_doubts),
        )
        for doubtful, (waiting, (page, after, more)) in enumerate(zip(lane.drain(), pages, strict=True)):
            yield from ((task, bool(doubtful)) for task in waiting)
            while more and (rows := page(lane.mailbox, after, _PAGE)):
                yield from ((Task(number=number, row=row), bool(doubtful)) for number, row in rows)
                after = rows[-1][0]

    def _dispatch(self) -> None:
        now = time.monotonic()
        while self._wakes and self._wakes[0][0] <= now:
            lane = heapq.heappop(self._wakes)[2]
            if lane in self._lanes:
                self._place(lane)
        if now < self._pause or self._journal.backlog > BACKLOG:
            return
        while not self._halted and self._queue and self._batches < BATCHES and self._bytes < IN_FLIGHT:
            if not (jobs := self._fill(now)):
                break
            self._batches += 1
            self._senders.send(jobs)

    def _fill(self, now: float) -> list[Job]:
        """Take requests from the queued lanes, in turn, until a batch is full."""
        jobs: list[Job] = []
        room = ROOM
        for _ in range(len(self._queue)):
            lane = self._queue.popleft()
            lane.queued = False
            while len(jobs) < BATCH_LIMIT:
                job = self._next(lane, now)
                if not isinstance(job, Job):
                    self._wait(lane, job, now)
                    break
                if lane.alone and jobs:
                    self._put_first(lane)
                    return jobs
                if job.size > ROOM or job.kind is Kind.REMOVE or self._needs_cleaning(job):
                    if not self._begin_large(job):
                        break
                elif job.size <= room:
                    if not self._begin(job):
                        self._wait(lane, now + _AT_ONCE, now)
                        break
                    room -= job.size
                    jobs.append(job)
                    if lane.alone:
                        self._place(lane)
                        return jobs
                else:
                    self._put_first(lane)
                    return jobs
            else:
                self._place(lane)
                return jobs
        return jobs

    def _put_first(self, lane: Lane) -> None:
        """Queue a lane again whose next request has no room in this batch."""
        lane.queued = True
        self._queue.appendleft(lane)

    def _next(self, lane: Lane, now: float) -> Job | float:
        """Return a lane's next request, or when to look again; never means: when something happens to it."""
        if lane.is_closed:
            return _NEVER
        if lane.setup is not None:
            return _NEVER if lane.under_way else self._paced(lane.setup, now)
        if not self._paces.free(lane.mailbox):
            return _NEVER
        lane.drop_settled()
        self._refill(lane)
        if lane.more_doubts and now >= self._settled_at and not lane.later:
            self._recall(lane, now)
        if (job := lane.job(now)) is not None:
            return self._paced(job, now)
        if lane.awaiting and not lane.starved:
            lane.starved, lane.ahead = True, min(2 * lane.ahead, FARTHEST)
        return min(lane.due_ask(), self._settled_at if lane.more_doubts else _NEVER)

    def _paced(self, job: Job, now: float) -> Job | float:
        if job.size > ROOM:
            # Each of its requests is held back by itself, but while one is, it has one of a few threads. What is larger
            # than a request goes up as it is, most of it, and not as base64.
            at = self._paces.room_at(job.lane.mailbox, job.delivery.row.length + job.delivery.row.attached)
        else:
            at = self._paces.ready_at(job.lane.mailbox, job.size)
        if at <= time.monotonic():
            return job
        return now + _LOOK_AGAIN if at == _NEVER else at

    def _wait(self, lane: Lane, until: float, now: float) -> None:
        if lane.is_finished:
            self._close(lane)
        elif until < _NEVER:
            heapq.heappush(self._wakes, (until, next(_ticket), lane))
            if until - now > RESTING:
                self._resting.add(lane)

    def _refill(self, lane: Lane) -> None:
        """Have the intents of a lane's next deliveries written."""
        if not lane.more or len(lane.ready) + lane.awaiting > lane.ahead // 2:
            return
        rows = self._worklist.open_rows(lane.mailbox, lane.fetched, lane.ahead)
        lane.more = len(rows) == lane.ahead
        if not rows:
            return
        lane.fetched = rows[-1][0]
        lane.awaiting += len(rows)
        lane.starved = False
        self._intending |= {number: (lane, Task(number=number, row=row)) for number, row in rows}
        self._unintended += rows

    def _intend(self) -> None:
        """Hand over what all lanes want written, at once, so that it becomes one segment."""
        if self._unintended and not self._halted:
            self._journal.intend(self._unintended)
            self._unintended = []

    def _recall(self, lane: Lane, now: float) -> None:
        """Queue what an earlier import left in doubt, to be asked for now."""
        rows = self._worklist.doubtful_rows(lane.mailbox, lane.doubts_fetched, _PAGE)
        lane.more_doubts = len(rows) == _PAGE
        if rows:
            lane.doubts_fetched = rows[-1][0]
        for number, row in rows:
            lane.ask_later(now, Task(number=number, row=row))

    def _begin(self, job: Job) -> bool:
        lane = job.lane
        if not self._paces.begin_if_ready(lane.mailbox, job.size):
            return False
        lane.take(job)
        lane.under_way += 1
        self._bytes += job.size
        self._paces.take(lane.mailbox)
        return True

    def _end(self, job: Job) -> None:
        job.lane.under_way -= 1
        self._bytes -= job.size
        self._paces.end(job.lane.mailbox, job.size)
        self._paces.give_back(job.lane.mailbox)

    def _needs_cleaning(self, job: Job) -> bool:
        return job.kind is Kind.CREATE and job.task is not None and job.task.row.key in job.lane.leftovers

    def _begin_large(self, job: Job) -> bool:
        """Begin a message that takes several requests, or queue its lane until there is a thread for it.

        A mailbox has one at a time: more would only share its bytes, and take the threads of other mailboxes.
        """
        lane = job.lane
        if lane in self._at_large:
            return False  # looked at again when that is done
        if len(self._at_large) == LARGE:
            self._want_large.append(lane)
            return False
        lane.take(job)
        lane.under_way += 1
        self._at_large.add(lane)
        self._paces.take(lane.mailbox)
        self._senders.make(job)
        return True

    # What happened

    def _patience(self) -> float:
        """Return how long to wait for something to happen."""
        now = time.monotonic()
        if self._pause > now:
            return min(_LOOK_AGAIN, self._pause - now)
        return max(0.0, min(_LOOK_AGAIN, self._wakes[0][0] - now)) if self._wakes else _LOOK_AGAIN

    def _hear(self, seconds: float) -> None:
        """Wait for something to happen, and judge it; what it set free goes before the next is heard."""
        try:
            self._heed(self._events.get(timeout=seconds))
        except queue.Empty:
            return

    def _heed(self, event: Event) -> None:
        """Free what an event frees, have its answers judged, and queue the lanes that it concerns."""
        match event:
            case Intended():
                for number in event.numbers:
                    lane, task = self._intending.pop(number)
                    lane.awaiting -= 1
                    lane.make_ready(task)
                    self._place(lane)
            case Refused():
                self._progress.refused += 1
            case Made():
                self._at_large.discard(event.job.lane)
                event.job.lane.under_way -= 1
                self._paces.give_back(event.job.lane.mailbox)
                self._judge.made(event.job, event.result)
                while self._want_large:  # before the mailbox that just had its turn
                    self._place(self._want_large.popleft())
                self._place(event.job.lane)
            case Unsent():
                self._batches -= 1
                for job in event.jobs:
                    self._end(job)
                    put_back(job)
                if isinstance(event.error, RetryError):
                    self._hold_all(event.error)
                else:
                    self._stop(event.error)
                self._place_all(event.jobs)
            case Answered():
                self._batches -= 1
                for job in event.jobs:
                    self._end(job)
                self._judge_whole(event.whole)
                alone = event.whole.ok or len(event.jobs) == 1
                if event.whole.ok and any(answer.status == HTTPStatus.UNAUTHORIZED for answer in event.answers):
                    self._graph.login.forget()  # revoked between the batch and its parts
                for job, answer in zip(event.jobs, event.answers, strict=True):
                    self._judge.answered(job, answer, alone=alone, whole=not event.whole.ok)
                self._place_all(event.jobs)

    def _place_all(self, jobs: Sequence[Job]) -> None:
        for lane in {job.lane: None for job in jobs}:
            self._place(lane)

    def _judge_whole(self, whole: Answer) -> None:
        """See whether everything has to wait: Graph says so for the application, or nothing comes back any more."""
        if whole.ok:
            self._lost, self._trouble_since = 0, 0.0
        elif whole.verdict is Verdict.TRANSIENT:
            self._lost += 1
            self._progress.refused += whole.status == HTTPStatus.TOO_MANY_REQUESTS
            if not whole.effect_unknown or self._lost >= LOST_IN_A_ROW:
                self._hold_all(RetryError(str(whole.failure("a batch was sent")), retry_after=whole.retry_after))

    def _hold_all(self, error: RetryError) -> None:
        now = time.monotonic()
        self._trouble_since = self._trouble_since or now
        wait = backoff(self._lost, retry_after=error.retry_after)
        if now + wait - self._trouble_since > self._patience_seconds:
            self._stop(error)
        self._pause = max(self._pause, now + wait)


_ticket = count()
