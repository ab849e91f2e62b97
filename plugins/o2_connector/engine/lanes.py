"""Lanes: a lane is one mailbox's queue of work, oldest first.

First its folder is found or made, and looked into; then its deliveries go, up to four requests at a time. A delivery
whose answer was lost is asked for when a while has passed, and the others go on meanwhile.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

from o2_connector.core.errors import RetryError
from o2_connector.core.ledger import Delivery
from o2_connector.engine.worklist import Todo

AHEAD, FARTHEST = 32, 1024
"""How many of a lane's deliveries are intended ahead of being sent; doubled whenever a lane had to wait for them."""

_SMALL = 600  # bytes of a request without a message
_AROUND = 400  # bytes of a batch's JSON around each message, and of an attachment's


class Kind(Enum):
    """Say what a request does, in the words of an error."""

    FOLDERS = "the archive folder was looked for"
    FOLDER = "the archive folder was made"
    LOOK = "the archive folder was listed"
    ASK = "an item was looked for"
    CREATE = "a message was created"
    REMOVE = "an unfinished message was removed"


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """Hold a delivery under way.

    :param troubled: since when it goes wrong, by the engine's clock.
    :param page: of the list of its messages, that is still to be asked for.
    :param torn: ids of its unfinished messages on the pages before.
    """

    number: int
    row: Delivery
    troubled: float | None = None
    page: str | None = None
    torn: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """Hold one request to be sent for a lane.

    :param size: bytes, about.
    :param page: path of a list's next page.
    :param message: id of the message to be removed.
    :param folder: the lane's folder when it was sent, and `era` how often that had been found.
    """

    lane: Lane
    kind: Kind
    size: int = _SMALL
    task: Task | None = None
    page: str | None = None
    message: str | None = None
    folder: str = ""
    era: int = 0

    @property
    def delivery(self) -> Task:
        """Return the delivery that the request is about; one of the folder is about none."""
        if self.task is None:
            raise ValueError(f"a request for {self.kind} is about no delivery")
        return self.task


@dataclass(slots=True, kw_only=True, eq=False)
class Lane:
    """Hold what is still to be done for one mailbox.

    :param setup: the request that must be answered before any delivery goes.
    :param era: how often the folder was found; it may be lost once.
    :param looked: whether the folder was looked into.
    :param pages: of lists, that were asked for.
    :param ready: deliveries whose intent is durable, by number: a heap.
    :param later: deliveries in doubt, by the time to ask for them: a heap.
    :param awaiting: deliveries whose intent is being written.
    :param fetched: number of the last delivery taken from the worklist; `doubts_fetched` likewise.
    :param under_way: requests without an answer yet.
    :param settled: deliveries that the folder turned out to hold.
    :param whole: keys of the items that the folder holds whole.
    :param leftovers: ids of unfinished messages by item key.
    :param litter: ids of unfinished messages of items that are there whole.
    :param alone: how many requests go in batches of their own yet: one of them spoilt a whole batch.
    :param troubled: since when the mailbox refuses everything for a while; `stumbles` is how often in a row.
    :param cause: why the mailbox takes nothing at all.
    :param left: why it is left to the task's next try.
    """

    todo: Todo
    folder: str | None = None
    setup: Job | None = None
    era: int = 0
    looked: bool = False
    pages: set[str] = field(default_factory=set)
    ready: list[tuple[int, Task]] = field(default_factory=list)
    later: list[tuple[float, int, Task]] = field(default_factory=list)
    awaiting: int = 0
    ahead: int = AHEAD
    starved: bool = False
    more: bool = True
    fetched: int = -1
    more_doubts: bool = True
    doubts_fetched: int = -1
    under_way: int = 0
    settled: set[int] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    leftovers: dict[str, list[str]] = field(default_factory=dict)
    litter: list[str] = field(default_factory=list)
    alone: int = 0
    troubled: float | None = None
    stumbles: int = 0
    cause: str | None = None
    left: RetryError | None = None
    queued: bool = False

    def __post_init__(self) -> None:
        self.more, self.more_doubts = self.todo.open > 0, self.todo.doubtful > 0
        self.find_folder()

    @property
    def mailbox(self) -> str:
        """Return the user's object id."""
        return self.todo.mailbox

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing more is sent for it."""
        return self.cause is not None or self.left is not None

    @property
    def is_finished(self) -> bool:
        """Tell whether nothing is to be done or waited for any more."""
        if self.under_way or self.awaiting:
            return False
        return self.is_closed or not (
            self.setup or self.ready or self.later or self.more or self.more_doubts or self.litter
        )

    def find_folder(self) -> None:
        """Begin with the folder, at first, or when it is gone or may have been made."""
        self.folder = None
        self.pages.clear()
        self.setup = Job(lane=self, kind=Kind.FOLDERS)

    def make_ready(self, task: Task) -> None:
        """Queue a delivery whose intent is durable."""
        if task.number not in self.settled:
            heapq.heappush(self.ready, (task.number, task))

    def ask_later(self, due: float, task: Task) -> None:
        """Queue a delivery in doubt."""
        if task.number not in self.settled:
            heapq.heappush(self.later, (due, next(_ticket), task))

    def due_ask(self) -> float:
        """Return when the next delivery in doubt is to be asked for; never where there is none."""
        return self.later[0][0] if self.later else float("inf")

    def job(self, now: float) -> Job | None:
        """Return the next request about a delivery, left in its queue until :meth:`take`."""
        if self.due_ask() <= now:
            task = self.later[0][2]
            return Job(lane=self, kind=Kind.ASK, task=task, page=task.page)
        if self.ready:
            task = self.ready[0][1]
            return Job(lane=self, kind=Kind.CREATE, size=weight(task.row), task=task)
        if self.litter:
            return Job(lane=self, kind=Kind.REMOVE, message=self.litter[0])
        return None

    def take(self, job: Job) -> None:
        """Take a request out of its queue, to be sent."""
        job.folder, job.era = self.folder or "", self.era
        if job.kind is Kind.REMOVE:
            self.litter.pop(0)
        elif job.kind is Kind.ASK:
            heapq.heappop(self.later)
        elif job.kind is Kind.CREATE:
            heapq.heappop(self.ready)

    def drain(self) -> tuple[list[Task], list[Task]]:
        """Take out every delivery that waits here: those to be sent, and those in doubt."""
        waiting, doubtful = [task for _, task in self.ready], [task for _, _, task in self.later]
        self.ready, self.later = [], []
        return [task for task in waiting if task.number not in self.settled], [
            task for task in doubtful if task.number not in self.settled
        ]

    def drop_settled(self) -> None:
        """Let go what the folder turned out to hold, as far as its turn has come."""
        if self.settled:
            while self.ready and self.ready[0][0] in self.settled:
                heapq.heappop(self.ready)
            while self.later and self.later[0][2].number in self.settled:
                heapq.heappop(self.later)


def weight(row: Delivery) -> int:
    """Return about how many bytes the create of a delivery has; its attachments travel as base64."""
    return row.length + _AROUND + (row.attached + 2) // 3 * 4


_ticket = count()
