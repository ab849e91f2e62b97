"""Import: put each delivery into its mailbox, once."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from airflow.sdk import BaseOperator

from o2_connector.core.errors import ItemError, MailboxError, RetryError
from o2_connector.core.layout import attachment_object, receipts_stem
from o2_connector.core.ledger import Delivery, Packed, Receipt, read_deliveries
from o2_connector.core.manifest import Shard, StagedObject, from_xcom
from o2_connector.core.naming import FOLDER_NAME
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_upload import Attachment
from o2_connector.hooks.staging import StagingHook
from o2_connector.operators.ownership import Ownership, owned
from o2_connector.operators.receipts import delivered_before, receipts_of

if TYPE_CHECKING:
    from airflow.sdk import Context

MAILBOXES = 12  # at a time; within a mailbox one message after the other, oldest first
SEGMENT = 500  # receipts in an object
SEGMENT_SECONDS = 10.0  # what a killed task may forget; the mailbox remembers

TROUBLES = 3  # deliveries of one mailbox that have to wait, after which the mailbox waits


class Ended:
    """Say that a mailbox is finished with."""


Numbered: TypeAlias = tuple[int, Delivery]
Answer: TypeAlias = Receipt | BaseException | Ended
Keep: TypeAlias = Callable[[Sequence[Receipt]], object]


class ImportToMailboxesOperator(BaseOperator):
    """Write the deliveries of one shard into their mailboxes.

    Receipts go to staging while the work goes on, and are looked at first: what a run over this window delivered is not
    delivered again. While anything is open the task owns the shard: no other run writes to its mailboxes. Before the
    first create in a mailbox its folder is listed, and what is there is skipped: a task that was killed goes on where
    it was.

    A failure of one item or one mailbox is a receipt; what may pass by itself is left without one and tried again by
    the task's retries, after everything else was delivered.

    :param shard: a :class:`Shard`. (templated)
    :param settle_seconds: how long to wait, after an answer was lost, before the mailbox is asked what came of it.
    """

    template_fields: Sequence[str] = ("shard",)

    def __init__(self, *, shard: Any, settle_seconds: float = 90.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard
        self.settle_seconds = settle_seconds

    def execute(self, context: Context) -> None:
        """Deliver mailbox by mailbox, several at a time."""
        shard = from_xcom(self.shard, Shard)
        if shard.dry_run:
            self.log.info("Dry run: %d deliveries to %d mailboxes are not made", shard.count, shard.mailboxes)
            return
        staging = StagingHook()
        with staging.reader(shard.deliveries) as lines:
            book = read_deliveries(lines)
        settled, rows = settle(book.rows, receipts_of(staging, shard), delivered_before(staging, shard))
        self.log.info("%d deliveries, %d of them settled before", len(book.rows), len(book.rows) - len(rows))
        keep: Keep = partial(staging.write_lines, receipts_stem(shard.deliveries.name))
        counts, pending = Counter[Outcome](), list[RetryError]()
        if rows:
            with owned(staging, shard.shard) as ownership:
                # Looked at again: whoever owned the shard until now may have delivered some of these.
                settled, rows = settle(book.rows, receipts_of(staging, shard), delivered_before(staging, shard))
                graph = GraphHook(settle_seconds=self.settle_seconds, sleep=ownership.sleep)
                with ExitStack() as stack:
                    messages = Messages(staging, book.packs, rows, stack)
                    counts, pending = work(rows, Importer(graph, staging, messages, ownership).deliver, keep)
        if settled:
            keep(settled)
            counts.update(receipt.outcome for receipt in settled)
        self.log.info("%s", ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no change")
        if pending:
            raise RetryError(
                f"{len(pending)} of {shard.mailboxes} mailboxes could not be finished; the first: {pending[0]}",
                retry_after=pending[0].retry_after,
            ) from pending[0]


def settle(
    rows: Sequence[Delivery], receipts: Mapping[int, Receipt], before: Mapping[tuple[str, str], Receipt]
) -> tuple[list[Receipt], list[Numbered]]:
    """Part the deliveries for which no mailbox needs to be asked from those that are still to be made.

    :param receipts: of these deliveries; a failure is tried again.
    :param before: of other decisions over the same window.
    :returns: new receipts, and the deliveries that are open.
    """
    settled: list[Receipt] = []
    rest: list[Numbered] = []
    for number, row in enumerate(rows):
        if number in receipts and receipts[number].outcome is not Outcome.FAILED:
            continue
        if row.settled:
            settled.append(_receipt(number, row, *row.settled))
        elif known := before.get((row.item_id, row.mailbox)):
            settled.append(_arrived(number, row, known.message, Outcome.SKIPPED, Cause.ALREADY_THERE))
        else:
            rest.append((number, row))
    return settled, rest


class Messages:
    """Lend the messages that open deliveries refer to, each pack of them opened once."""

    def __init__(
        self, staging: StagingHook, packs: Sequence[StagedObject], rows: Sequence[Numbered], stack: ExitStack
    ) -> None:
        needed = sorted({row.pack for _, row in rows})
        self._paths = {pack: stack.enter_context(staging.local(packs[pack])) for pack in needed}
        self._decoder = msgspec.json.Decoder(Packed)

    def of(self, row: Delivery) -> Packed:
        """Return the message of a delivery."""
        with self._paths[row.pack].open("rb") as pack:
            pack.seek(row.offset)
            return self._decoder.decode(pack.read(row.length))


class Importer:
    """Deliver to one mailbox at a time, in as many threads as call."""

    def __init__(self, graph: GraphHook, staging: StagingHook, messages: Messages, ownership: Ownership) -> None:
        self._ownership = ownership
        self._graph = graph
        self._staging = staging
        self._messages = messages

    def deliver(self, rows: Sequence[Numbered]) -> Iterator[Receipt]:
        """Yield receipts for a mailbox's deliveries, oldest first.

        :raises RetryError: when some of them must wait; the others were made, unless the mailbox as a whole is in
            trouble.
        """
        mailbox = rows[0][1].mailbox
        rest = deque(rows)
        waiting: list[RetryError] = []
        try:
            folder = self._graph.ensure_folder(mailbox, FOLDER_NAME)
            there = self._graph.archived_items(mailbox, folder, mine={row.key for _, row in rows})
            while rest and len(waiting) < TROUBLES:
                try:
                    yield self._deliver_one(*rest[0], folder, there)
                except RetryError as error:
                    waiting.append(error)
                rest.popleft()
        except (MailboxError, ItemError) as error:  # the latter where even the folder is refused
            cause = error.cause if isinstance(error, MailboxError) else error.fault
            for number, row in rest:
                yield _receipt(number, row, Outcome.FAILED, cause)
        if waiting:
            raise waiting[0]

    def _deliver_one(self, number: int, row: Delivery, folder: str, there: Mapping[str, str]) -> Receipt:
        if row.key in there:
            return _arrived(number, row, there[row.key], Outcome.SKIPPED, Cause.ALREADY_THERE)
        packed = self._messages.of(row)
        self._ownership.check()
        try:
            message = self._graph.create_message(
                row.mailbox, folder, msgspec.json.decode(packed.message), self._attachments(packed)
            )
        except ItemError as error:
            return _receipt(number, row, Outcome.FAILED, error.fault)
        return _arrived(number, row, message, Outcome.IMPORTED)

    def _attachments(self, packed: Packed) -> list[Attachment]:
        return [
            Attachment(
                name=part.name,
                content_type=part.content_type,
                size=part.size,
                content_id=None,
                is_inline=False,
                open=partial(self._staging.reader, attachment_object(part.sha256, part.size)),
            )
            for part in packed.parts
        ]


def work(
    rows: Sequence[Numbered],
    deliver: Callable[[Sequence[Numbered]], Iterable[Receipt]],
    keep: Keep,
) -> tuple[Counter[Outcome], list[RetryError]]:
    """Deliver mailbox by mailbox, several at a time, and keep receipts as they come.

    :returns: how many of each outcome, and for each mailbox that could not be finished why.
    :raises StopError: and whatever else concerns more than one mailbox, when the receipts of what was done are kept.
    """
    mailboxes = [list(group) for _, group in groupby(rows, key=lambda numbered: numbered[1].mailbox)]
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    halt = threading.Event()

    def run(mailbox: Sequence[Numbered]) -> None:
        try:
            for receipt in () if halt.is_set() else deliver(mailbox):
                answers.put(receipt)
                if halt.is_set():
                    break
        except BaseException as error:  # noqa: BLE001  judged where the receipts are kept
            answers.put(error)
        answers.put(Ended())

    counts: Counter[Outcome] = Counter()
    pending: list[RetryError] = []
    fatal: list[BaseException] = []
    segment: list[Receipt] = []
    begun = time.monotonic()
    with ThreadPoolExecutor(MAILBOXES) as pool:
        try:
            futures = {pool.submit(run, mailbox) for mailbox in mailboxes}
            working = len(futures)
            while working:
                match _next(answers):
                    case Ended():
                        working -= 1
                    case Receipt() as receipt:
                        counts[receipt.outcome] += 1
                        segment.append(receipt)
                    case RetryError() as error:
                        pending.append(error)
                    case BaseException() as error:
                        # One that concerns every mailbox: those under way come to the end of their message.
                        fatal.append(error)
                        halt.set()
                        cancelled = {future for future in futures if future.cancel()}
                        futures -= cancelled
                        working -= len(cancelled)
                if len(segment) >= SEGMENT or (segment and time.monotonic() - begun > SEGMENT_SECONDS):
                    keep(segment)
                    segment, begun = [], time.monotonic()
        finally:
            # Also when receipts cannot be kept, or the task is told to end: no mailbox is begun after that.
            halt.set()
            pool.shutdown(wait=True, cancel_futures=True)
    if segment:
        keep(segment)
    if fatal:
        raise fatal[0]
    return counts, pending


def _next(answers: queue.SimpleQueue[Answer]) -> Answer | None:
    """Return the next answer, or nothing when it is time to look at the clock."""
    try:
        return answers.get(timeout=1.0)
    except queue.Empty:
        return None


def _arrived(number: int, row: Delivery, message: str | None, outcome: Outcome, cause: Cause | None = None) -> Receipt:
    """Say that an item is in the mailbox, now or already; without all of its parts it stays partial either way."""
    if row.causes:
        return _receipt(number, row, Outcome.PARTIALLY_IMPORTED, "; ".join(row.causes), message)
    return _receipt(number, row, outcome, cause, message)


def _receipt(number: int, row: Delivery, outcome: Outcome, cause: str | None, message: str | None = None) -> Receipt:
    return Receipt(
        delivery=number,
        item_id=row.item_id,
        mailbox=row.mailbox,
        outcome=outcome,
        at=time.time_ns() // 1_000_000,
        cause=cause,
        message=message,
    )
