"""Import: put each delivery into its mailbox, once."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.sdk import BaseOperator

from o2_connector.core.errors import ItemError, MailboxError, RetryError
from o2_connector.core.layout import attachment_name, receipts_stem
from o2_connector.core.ledger import (
    Deliveries,
    Delivery,
    Packed,
    Receipt,
    latest,
    read_deliveries,
    read_receipts,
    receipt_line,
)
from o2_connector.core.manifest import Shard, StagedObject, from_xcom, to_xcom
from o2_connector.core.naming import FOLDER_NAME
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.hooks.graph import Attachment, GraphHook
from o2_connector.hooks.staging import StagingHook

if TYPE_CHECKING:
    from airflow.sdk import Context

MAILBOXES = 12  # at a time; within a mailbox one message after the other, oldest first
SEGMENT = 500  # receipts in an object
SEGMENT_SECONDS = 10.0  # what a killed task may forget; the mailbox remembers

Numbered = tuple[int, Delivery]


class ImportToMailboxesOperator(BaseOperator):
    """Write the deliveries of one shard into their mailboxes.

    Receipts go to staging while the work goes on. Before the first create in a mailbox its folder is listed, and what
    is there is skipped, so a task that was killed goes on where it was, and a day that runs again writes nothing.
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

    def execute(self, context: Context) -> Any:
        """Deliver mailbox by mailbox, several at a time."""
        shard = from_xcom(self.shard, Shard)
        if shard.dry_run:
            self.log.info("Dry run: %d deliveries to %d mailboxes are not made", shard.count, shard.mailboxes)
            return to_xcom(shard)
        staging, graph = StagingHook(), GraphHook(settle_seconds=self.settle_seconds)
        with staging.reader(shard.deliveries) as lines:
            book = read_deliveries(lines)
        receipts = receipts_of(staging, shard.deliveries)
        open_rows = [
            (number, row)
            for number, row in enumerate(book.rows)
            if number not in receipts or receipts[number].outcome is Outcome.FAILED
        ]
        self.log.info("%d deliveries, %d of them settled before", len(book.rows), len(book.rows) - len(open_rows))
        with ExitStack() as stack:
            packs = Packs(staging, book, stack)
            stem = receipts_stem(shard.deliveries.name)
            deliver = Postman(graph, staging, packs).deliver
            counts, pending = work(open_rows, deliver, lambda rows: write_receipts(staging, stem, rows))
        self.log.info("%s", ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no change")
        if pending:
            raise RetryError(
                f"{len(pending)} of {shard.mailboxes} mailboxes could not be finished; the first: {pending[0]}",
                retry_after=pending[0].retry_after,
            ) from pending[0]
        return to_xcom(shard)


class Packs:
    """Lend the messages of the packs that a shard refers to, each pack opened once."""

    def __init__(self, staging: StagingHook, book: Deliveries, stack: ExitStack) -> None:
        self._paths: dict[int, Path] = {
            pack: stack.enter_context(staging.local(book.packs[pack]))
            for pack in sorted({row.pack for row in book.rows})
        }
        self._decoder = msgspec.json.Decoder(Packed)

    def message(self, row: Delivery) -> Packed:
        """Return the message of a delivery."""
        with self._paths[row.pack].open("rb") as pack:
            pack.seek(row.offset)
            return self._decoder.decode(pack.read(row.length))


class Postman:
    """Deliver to one mailbox at a time, in as many threads as call."""

    def __init__(self, graph: GraphHook, staging: StagingHook, packs: Packs) -> None:
        self._graph = graph
        self._staging = staging
        self._packs = packs

    def deliver(self, rows: Sequence[Numbered]) -> Iterator[Receipt]:
        """Yield a receipt for each of a mailbox's deliveries.

        :raises RetryError: where the rest must wait.
        """
        settled = [(number, row) for number, row in rows if row.settled]
        for number, row in settled:
            yield _receipt(number, row, *(row.settled or ()))
        rest = [(number, row) for number, row in rows if not row.settled]
        if not rest:
            return
        mailbox = rest[0][1].mailbox
        try:
            folder = self._graph.ensure_folder(mailbox, FOLDER_NAME)
            there = self._graph.archived_items(mailbox, folder)
            while rest:
                number, row = rest[0]
                yield self._deliver_one(number, row, folder, there)
                rest.pop(0)
        except (MailboxError, ItemError) as error:  # the latter where even the folder is refused
            cause = error.cause if isinstance(error, MailboxError) else error.fault
            for number, row in rest:
                yield _receipt(number, row, Outcome.FAILED, cause)

    def _deliver_one(self, number: int, row: Delivery, folder: str, there: dict[str, str]) -> Receipt:
        if row.key in there:
            return _receipt(number, row, Outcome.SKIPPED, Cause.ALREADY_THERE, there[row.key])
        packed = self._packs.message(row)
        try:
            message = self._graph.create_message(
                row.mailbox, folder, msgspec.json.decode(packed.message), self._attachments(packed)
            )
        except ItemError as error:
            return _receipt(number, row, Outcome.FAILED, error.fault)
        if packed.causes:
            return _receipt(number, row, Outcome.PARTIALLY_IMPORTED, "; ".join(packed.causes), message)
        return _receipt(number, row, Outcome.IMPORTED, None, message)

    def _attachments(self, packed: Packed) -> list[Attachment]:
        return [
            Attachment(
                name=part.name,
                content_type=part.content_type,
                size=part.size,
                content_id=None,
                is_inline=False,
                open=partial(
                    self._staging.reader,
                    StagedObject(name=attachment_name(part.sha256), sha256=part.sha256, size=part.size),
                ),
            )
            for part in packed.parts
        ]


def work(
    rows: Sequence[Numbered],
    deliver: Callable[[Sequence[Numbered]], Iterable[Receipt]],
    keep: Callable[[Sequence[Receipt]], None],
) -> tuple[Counter[Outcome], list[RetryError]]:
    """Deliver mailbox by mailbox, several at a time, and keep receipts as they come.

    :returns: how many of each outcome, and for each mailbox that could not be finished why.
    :raises StopError: and whatever else concerns more than one mailbox, when the receipts of what was done are kept.
    """
    mailboxes = [list(group) for _, group in groupby(rows, key=lambda numbered: numbered[1].mailbox)]
    answers: queue.SimpleQueue[Receipt | BaseException | None] = queue.SimpleQueue()
    halt = threading.Event()

    def run(mailbox: Sequence[Numbered]) -> None:
        try:
            for receipt in deliver(mailbox):
                answers.put(receipt)
                if halt.is_set():
                    break
        except BaseException as error:  # noqa: BLE001  judged where the receipts are kept
            answers.put(error)
        answers.put(None)

    counts: Counter[Outcome] = Counter()
    pending: list[RetryError] = []
    fatal: list[BaseException] = []
    segment: list[Receipt] = []
    begun = time.monotonic()
    with ThreadPoolExecutor(MAILBOXES) as pool:
        try:
            left = {pool.submit(run, mailbox) for mailbox in mailboxes}
            open_mailboxes = len(left)
            while open_mailboxes:
                match answers.get():
                    case None:
                        open_mailboxes -= 1
                    case Receipt() as receipt:
                        counts[receipt.outcome] += 1
                        segment.append(receipt)
                    case RetryError() as error:
                        pending.append(error)
                    case BaseException() as error:
                        # One that concerns every mailbox: those under way come to the end of their message.
                        fatal.append(error)
                        halt.set()
                        open_mailboxes -= sum(future.cancel() for future in left)
                if len(segment) >= SEGMENT or (segment and time.monotonic() - begun > SEGMENT_SECONDS):
                    keep(segment)
                    segment, begun = [], time.monotonic()
        finally:
            halt.set()
    if segment:
        keep(segment)
    if fatal:
        raise fatal[0]
    return counts, pending


def receipts_of(staging: StagingHook, deliveries: StagedObject) -> dict[int, Receipt]:
    """Return what became of a shard's deliveries so far, by the delivery's number."""

    def each() -> Iterator[Receipt]:
        for name in staging.names(receipts_stem(deliveries.name)):
            with staging.reader(staged_by_name(staging, name)) as lines:
                yield from read_receipts(lines)

    return latest(each())


def staged_by_name(staging: StagingHook, name: str) -> StagedObject:
    """Refer to an object that was found by listing; its name holds its digest."""
    return StagedObject(name=name, sha256=name.rsplit(".", 2)[-2], size=staging.size(name) or 0)


def write_receipts(staging: StagingHook, stem: str, receipts: Sequence[Receipt]) -> None:
    """Write receipts as one object."""
    with staging.writer(stem, ".jsonl") as out:
        for receipt in receipts:
            out.write(receipt_line(receipt))


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
