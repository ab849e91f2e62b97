"""Asking: put questions to many mailboxes, within Graph's limits, and never while an import writes to one of them.

Graph counts what an application asks a mailbox, whichever of its processes asks, and an import uses all that a mailbox
may be asked at a time. So whoever asks owns the mailbox's bucket like an import, counts on where the owner before
stopped, and tells the next one. Unlike an import it is in no hurry: it keeps buckets for a short turn only, so that a
run that comes meanwhile waits for a minute at most, and has the buckets back afterwards. All that it writes to staging
are these turns.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from o2_connector.core.errors import RetryError
from o2_connector.core.graph_errors import Verdict
from o2_connector.core.layout import BUCKETS, bucket_of
from o2_connector.core.pacing import CONCURRENT
from o2_connector.engine.ownership import POLL_SECONDS, Ownership, owned
from o2_connector.engine.paces import Paces
from o2_connector.hooks.graph_requests import BATCH_LIMIT, Answer, Call, GraphRequests
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.transport import backoff

BATCHES = 8
"""Batches at a time."""

TOGETHER = 16
"""Buckets that are owned at a time."""

TURN_SECONDS = 45.0
"""How long a turn is: whoever waits for an owner has ten minutes' patience."""

OWNER_SECONDS = 240.0
"""How long an owner is waited for; one that was killed counts as gone after three minutes."""

PATIENCE_SECONDS = 120.0
"""Seconds that a mailbox is tried that does not answer."""

Questions: TypeAlias = Generator[Sequence[Call], Sequence[Answer], None]
"""Yields up to four requests to one mailbox, and is sent their answers; ends when nothing more is to be asked."""


@dataclass(kw_only=True, eq=False)
class _Talk:
    """Hold the conversation with one mailbox.

    :param open: requests without an answer yet, by their place.
    :param under_way: places of those that are sent.
    :param troubled: since when the mailbox does not answer; `stumbles` is how often in a row.
    :param not_before: when it may be asked again.
    """

    mailbox: str
    questions: Questions
    open: dict[int, Call] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    under_way: set[int] = field(default_factory=set)
    troubled: float | None = None
    stumbles: int = 0
    not_before: float = 0.0
    begun: bool = False
    over: bool = False

    def go_on(self) -> None:
        """Have the next questions, where the last ones are answered."""
        if self.over or self.open:
            return
        try:
            if not self.begun:
                self.begun, calls = True, next(self.questions)
            else:
                calls = self.questions.send([self.answers[place] for place in sorted(self.answers)])
        except StopIteration:
            self.over = True
            return
        self.answers = {}
        self.open = dict(enumerate(calls))

    def hear(self, place: int, answer: Answer) -> float | None:
        """Take an answer; return for how long the mailbox is to be left alone, where it is to be asked again."""
        self.under_way.discard(place)
        now = time.monotonic()
        pause = backoff(self.stumbles, retry_after=answer.retry_after)
        if answer.verdict is Verdict.TRANSIENT and now + pause - (self.troubled or now) < PATIENCE_SECONDS:
            self.troubled = self.troubled or now
            self.stumbles += now >= self.not_before  # once, of what was asked together
            self.not_before = max(self.not_before, now + pause)
            return pause
        if answer.verdict is not Verdict.TRANSIENT:
            self.troubled, self.stumbles = None, 0
        self.answers[place] = answer
        del self.open[place]
        return None


class Asking:
    """Put questions to mailboxes.

    :param busy: told of mailboxes that could not be asked, since a run writes to them, and why.
    :param turn_seconds: after which no question is begun any more, for others wait for the buckets.
    :param owner_seconds: how long a bucket's owner is waited for.
    """

    def __init__(
        self,
        staging: StagingHook,
        graph: GraphRequests,
        busy: Callable[[Collection[str], RetryError], None],
        *,
        turn_seconds: float = TURN_SECONDS,
        owner_seconds: float = OWNER_SECONDS,
    ) -> None:
        self._staging = staging
        self._graph = graph
        self._busy = busy
        self._turn_seconds = turn_seconds
        self._owner_seconds = owner_seconds

    def ask(self, questions: Mapping[str, Questions]) -> None:
        """Ask every mailbox, in turns of some buckets.

        :param questions: by mailbox.
        """
        share = BUCKETS // TOGETHER
        talks: defaultdict[int, list[_Talk]] = defaultdict(list)
        for mailbox, each in questions.items():
            talks[bucket_of(mailbox) % share].append(_Talk(mailbox=mailbox, questions=each))
        turns = deque((some, 0.0) for some in talks.values())  # who is busy is waited for when the others are done
        while turns:
            some, patience = turns.popleft()
            try:
                self._turn(some, patience)
            except RetryError as error:
                if patience < self._owner_seconds:
                    turns.append((some, self._owner_seconds))
                else:
                    self._busy([talk.mailbox for talk in some if not talk.over], error)
                continue
            if left := [talk for talk in some if not talk.over]:
                turns.append((left, patience))
                if len(turns) == 1:
                    time.sleep(2 * POLL_SECONDS)  # whoever waits for these buckets looks for them so often

    def _turn(self, talks: Sequence[_Talk], patience_seconds: float) -> None:
        """Own the mailboxes' buckets for a while, and ask.

        :raises RetryError: when somebody else owns one, and still does after so long.
        """
        paces = Paces()
        buckets = {bucket_of(talk.mailbox) for talk in talks}
        for talk in talks:
            talk.under_way.clear()  # what a turn that was lost had sent is asked again
        with (
            owned(self._staging, buckets, paces, patience_seconds=patience_seconds) as ownership,
            ThreadPoolExecutor(BATCHES, "question") as pool,
        ):
            end = time.monotonic() + self._turn_seconds
            graph = self._graph.gated(lambda _: _checked(ownership))
            sent: dict[Future[list[Answer]], list[tuple[_Talk, int]]] = {}
            while True:
                for talk in talks:
                    talk.go_on()
                talks = [talk for talk in talks if not talk.over]
                if time.monotonic() < end:
                    while len(sent) < BATCHES and (batch := _next(talks, paces)):
                        sent[pool.submit(_send, graph, paces, batch)] = batch
                if not sent:
                    if time.monotonic() >= end or not talks:
                        return
                    time.sleep(0.05)  # all are held back for a while
                    continue
                for future in wait(sent, timeout=0.5, return_when=FIRST_COMPLETED).done:
                    for (talk, place), answer in zip(sent.pop(future), future.result(), strict=True):
                        if pause := talk.hear(place, answer):
                            paces.hold(talk.mailbox, pause)


def _send(graph: GraphRequests, paces: Paces, batch: Sequence[tuple[_Talk, int]]) -> list[Answer]:
    """Send requests as a batch, once, whatever comes of it."""
    try:
        return graph.batch_once([talk.open[place] for talk, place in batch])[0]
    finally:
        for talk, _ in batch:
            paces.end(talk.mailbox, 0)


def _next(talks: Sequence[_Talk], paces: Paces) -> list[tuple[_Talk, int]]:
    """Return requests for a batch, of several mailboxes; each is counted as sent."""
    batch: list[tuple[_Talk, int]] = []
    now = time.monotonic()
    for talk in talks:
        for place in talk.open.keys() - talk.under_way if now >= talk.not_before else ():
            if len(batch) == BATCH_LIMIT or len(talk.under_way) == CONCURRENT:
                break
            if not paces.begin_if_ready(talk.mailbox, 0):
                break
            talk.under_way.add(place)
            batch.append((talk, place))
    return batch


@contextmanager
def _checked(ownership: Ownership) -> Iterator[None]:
    ownership.check()
    yield
