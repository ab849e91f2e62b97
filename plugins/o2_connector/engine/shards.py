"""Shards: deliveries are staged in shares of the mailboxes, one for each import task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby

from o2_connector.core.layout import bucket_of, bucket_ranges, shard_stem
from o2_connector.core.ledger import Delivery, delivery_lines
from o2_connector.core.manifest import Shard, StagedObject
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook


def share_of(mailbox: str, tasks: int) -> tuple[int, int]:
    """Return the range of buckets, of so many tasks, that a mailbox falls into."""
    return _shares(tasks)[bucket_of(mailbox)]


def write_shards(
    staging: StagingHook,
    run: str,
    window: Window,
    packs: tuple[StagedObject, ...],
    rows: Iterable[Delivery],
    *,
    tasks: int,
    dry_run: bool = False,
) -> list[Shard]:
    """Stage deliveries, share by share.

    :param run: the stem of the run that makes them.
    :param packs: what the rows refer to.
    :param rows: by share, within it mailbox by mailbox, within each oldest first.
    :param tasks: over how many import tasks the mailboxes are shared out, 1 to 64; it may change from run to run.
    """
    shares: dict[str, tuple[int, int]] = {}
    shards = []
    for (first, last), share in groupby(rows, key=lambda row: _share(row.mailbox, tasks, shares)):
        counted = _Counted(share)
        with staging.writer(shard_stem(run, first, last), ".jsonl") as out:
            for line in delivery_lines(packs, counted):
                out.write(line)
        shards.append(
            Shard(
                window=window,
                first=first,
                last=last,
                mailboxes=len(counted.mailboxes),
                count=counted.count,
                deliveries=out.staged,
                dry_run=dry_run,
            )
        )
    return shards


@lru_cache
def _shares(tasks: int) -> tuple[tuple[int, int], ...]:
    return tuple((first, last) for first, last in bucket_ranges(tasks) for _ in range(first, last + 1))


def _share(mailbox: str, tasks: int, known: dict[str, tuple[int, int]]) -> tuple[int, int]:
    if mailbox not in known:
        known[mailbox] = share_of(mailbox, tasks)
    return known[mailbox]


class _Counted:
    """Count what passes."""

    def __init__(self, rows: Iterable[Delivery]) -> None:
        self._rows = rows
        self.count = 0
        self.mailboxes: set[str] = set()

    def __iter__(self) -> Iterator[Delivery]:
        for row in self._rows:
            self.count += 1
            self.mailboxes.add(row.mailbox)
            yield row
