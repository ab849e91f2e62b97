"""Journal: write a shard's ledger while the import goes on: a killed import leaves behind what it may have done.

An intent is durable before Graph is asked, and a receipt soon after it has answered. Both go to staging in segments, as
many rows at a time as there are: nothing waits for a write of its own. Intents and receipts each have a thread, so that
the many receipts never keep the few intents that the import waits for. A segment that could not be written is written
again; where the failed write took effect after all, rows are there twice, and mean what they mean once.
"""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Generic, TypeVar

from o2_connector.core.errors import ConnectorError, RetryError
from o2_connector.core.layout import intents_stem, receipts_stem, segment_stem
from o2_connector.core.ledger import Delivery, Intent, Receipt
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.transport import backoff

INTENTS_SECONDS = 0.5
"""The shortest time between the beginnings of two segments of intents."""

RECEIPTS = 5_000
"""So many receipts are written without waiting for more."""

RECEIPTS_SECONDS = 5.0
"""The longest that a receipt waits for more. What a killed import forgets is in doubt, by its intent."""

UNWRITTEN = 50_000
"""Receipts that are kept in memory; who brings more waits until some are written."""

PATIENCE_SECONDS = 120.0
"""How long staging may refuse to take the ledger before the import has to stop."""

CLOSING_SECONDS = 30.0
"""How long the last receipts are tried when the import ends: Airflow kills a task a minute after it was told to end."""

Row = TypeVar("Row", Intent, Receipt)

_log = logging.getLogger("airflow.task")


class Journal:
    """Write the ledger of one import; a context manager.

    A journal intends a delivery once at the most, and never after a receipt for it: so a later import knows which
    intents are answered, whatever the clocks say. See :mod:`o2_connector.engine.worklist`.

    :param deliveries_name: name of the shard's deliveries object.
    :param on_intended: called, from the journal's thread, with the numbers of deliveries whose intents are durable.
    """

    def __init__(
        self,
        staging: StagingHook,
        deliveries_name: str,
        *,
        on_intended: Callable[[Sequence[int]], object],
        patience_seconds: float = PATIENCE_SECONDS,
        closing_seconds: float = CLOSING_SECONDS,
    ) -> None:
        name = secrets.token_hex(8)
        self._closing_seconds = closing_seconds
        self._intents: _Segments[Intent] = _Segments(
            staging,
            lambda number: segment_stem(intents_stem(deliveries_name), name, number),
            on_written=lambda rows: on_intended([row.delivery for row in rows]),
            pause_seconds=INTENTS_SECONDS,
            patience_seconds=patience_seconds,
        )
        self._receipts: _Segments[Receipt] = _Segments(
            staging,
            lambda number: segment_stem(receipts_stem(deliveries_name), name, number),
            full=RECEIPTS,
            gather_seconds=RECEIPTS_SECONDS,
            patience_seconds=patience_seconds,
        )

    def intend(self, rows: Iterable[tuple[int, Delivery]]) -> None:
        """Have intents written; Graph may be asked when their numbers were called back, and not before."""
        self._intents.add([Intent(delivery=number, item_id=row.item_id, mailbox=row.mailbox) for number, row in rows])

    def receive(self, receipt: Receipt) -> None:
        """Have a receipt written, some time soon."""
        self._receipts.add([receipt])

    def flush(self) -> None:
        """Make every receipt durable that was received until now.

        :raises ConnectorError: what stopped the journal, when it could not.
        """
        self._receipts.flush()

    @property
    def backlog(self) -> int:
        """Return how many receipts are not durable yet."""
        return self._receipts.backlog

    @property
    def failed(self) -> BaseException | None:
        """Return what stopped the journal for good: nothing more may be sent then."""
        return self._receipts.failed or self._intents.failed

    def __enter__(self) -> Journal:
        self._intents.start()
        self._receipts.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._intents.end(0.0)  # nobody sends on the strength of those that are not written yet
        self._receipts.end(self._closing_seconds)
        self._intents.join()
        self._receipts.join()
        self._receipts.try_again()
        if self.backlog:
            lost = f"{self.backlog} receipts could not be written; the next import asks the mailboxes instead"
            if error is None:
                raise RetryError(lost) from self._receipts.failed
            _log.error("%s: %s", lost, self._receipts.failed)


class _Segments(Generic[Row]):
    """Write rows to segments, from a thread of its own.

    :param stem_of: returns the stem of a segment's name by its number.
    :param on_written: called with the rows of a segment when it is durable.
    :param full: this many rows are written without waiting for more.
    :param gather_seconds: how long a row waits for more.
    :param pause_seconds: the shortest time between the beginnings of two segments.
    """

    def __init__(
        self,
        staging: StagingHook,
        stem_of: Callable[[int], str],
        *,
        on_written: Callable[[Sequence[Row]], object] = lambda _: None,
        full: int = 1,
        gather_seconds: float = 0.0,
        pause_seconds: float = 0.0,
        patience_seconds: float,
    ) -> None:
        self._staging = staging
        self._stem_of = stem_of
        self._on_written: Callable[[Sequence[Row]], object] = on_written
        self._full = full
        self._gather_seconds = gather_seconds
        self._pause_seconds = pause_seconds
        self._patience_seconds = patience_seconds
        self._changed = threading.Condition()
        self._waiting: list[Row] = []
        self._since = 0.0  # when the first of those began to wait
        self._begun = -math.inf  # when the last segment was begun
        self._number = self._added = self._written = self._hurry = 0
        self._until = math.inf
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self.failed: BaseException | None = None

    @property
    def backlog(self) -> int:
        """Return how many rows are not durable yet."""
        return self._added - self._written

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def add(self, rows: Sequence[Row]) -> None:
        """Take rows, when there is room for them."""
        with self._changed:
            self._changed.wait_for(lambda: self.backlog < UNWRITTEN or self.failed)
            if self.failed and self.backlog >= UNWRITTEN:
                raise self.failed
            first = not self._waiting
            if first:
                self._since = time.monotonic()
            self._waiting.extend(rows)
            self._added += len(rows)
            if first or len(self._waiting) >= self._full:
                self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything is durable that was taken until now."""
        with self._changed:
            self._hurry = target = self._added
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._written >= target or self.failed)
            if self.failed and self._written < target:
                raise self.failed

    def end(self, seconds: float) -> None:
        """Begin no segment after so many seconds, and none when nothing is waiting."""
        with self._changed:
            self._until = time.monotonic() + seconds
            self._hurry = self._added
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def try_again(self) -> None:
        """Try once more, after the end, what could not be written."""
        if self._waiting:
            with contextlib.suppress(ConnectorError):
                self._staging.write_lines(self._stem_of(self._number + 1), self._waiting)
                self._settle(len(self._waiting))

    def _work(self) -> None:
        try:
            while rows := self._next():
                self._number += 1
                self._write(self._stem_of(self._number), rows)
                self._settle(len(rows))
                self._on_written(rows)
        except BaseException as error:  # noqa: BLE001  who waits for this thread must learn of it
            with self._changed:
                self.failed = error
                self._changed.notify_all()

    def _next(self) -> list[Row]:
        """Wait for rows and for the time to write them; return none at the end."""
        with self._changed:
            while True:
                now = time.monotonic()
                if now >= self._until or (self._until < math.inf and not self._waiting):
                    return []
                is_due = len(self._waiting) >= self._full or self._hurry > self._written
                due = max(self._begun + self._pause_seconds, now if is_due else self._since + self._gather_seconds)
                if self._waiting and due <= now:
                    self._begun = self._since = now
                    return list(self._waiting)
                self._changed.wait(due - now if self._waiting else None)

    def _write(self, stem: str, rows: Sequence[Row]) -> None:
        begun, attempt = time.monotonic(), 0
        while True:
            try:
                self._staging.write_lines(stem, rows)
            except RetryError as error:
                wait = backoff(attempt, retry_after=error.retry_after)
                if time.monotonic() + wait > min(begun + self._patience_seconds, self._until):
                    raise
                _log.warning("The ledger could not be written, it is tried again: %s", error)
                attempt += 1
                self._rest(wait)
            else:
                return

    def _rest(self, seconds: float) -> None:
        """Wait, but try at once when the end has come."""
        with self._changed:
            until = self._until
            self._changed.wait_for(lambda: self._until != until, seconds)

    def _settle(self, count: int) -> None:
        with self._changed:
            del self._waiting[:count]
            self._written += count
            self._changed.notify_all()
