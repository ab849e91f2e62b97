"""Map: decide which mailboxes get each item."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.sdk import BaseOperator

from o2_connector.core.conversion import IndexRow
from o2_connector.core.errors import StopError
from o2_connector.core.layout import BUCKETS, MAPPING_STEM, bucket_of, bucket_range, run_stem, shard_stem
from o2_connector.core.ledger import Delivery, delivery_lines
from o2_connector.core.manifest import ConvertedBatch, ConvertedGroup, Decision, Shard, StagedObject, from_xcom, to_xcom
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.core.report import Detail
from o2_connector.engine.ownership import asking
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook

if TYPE_CHECKING:
    import pandas as pd
    from airflow.sdk import Context

    from o2_connector.core.mapping import Decisions

TASKS = 16  # import tasks

_PARTICIPANT_TYPES: dict[Hashable, type] = {"row": int, "phone": str, "email": str}


class MapMailboxesOperator(BaseOperator):
    """Join participants against the mapping files and the directory.

    Returns a list of :class:`Shard`, and pushes a :class:`Decision` as ``decision``. The mapping is read once and
    frozen in staging, so that all of the run is decided by the same rows.

    :param groups: a list of :class:`ConvertedGroup`. (templated)
    :param mappings: folder whose CSV files are, together, the mapping. (templated)
    :param region: ISO 3166 code of the country that national numbers belong to. (templated)
    :param tasks: over how many import tasks the mailboxes are shared out, 1 to 64; it may change from run to run.
    """

    template_fields: Sequence[str] = ("groups", "mappings", "region")

    def __init__(self, *, groups: Any, mappings: str, region: str, tasks: int = TASKS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 1 <= tasks <= BUCKETS:
            raise ValueError(f"tasks is {tasks}: the mailboxes can be shared out over 1 to {BUCKETS} import tasks")
        self.groups = groups
        self.mappings = mappings
        self.region = region
        self.tasks = tasks

    def execute(self, context: Context) -> Any:
        """Read, ask the directory, decide, share out."""
        from o2_connector.core.mapping import addresses, decide, read_phone_book, rows_without_mailbox, with_candidates

        groups = [from_xcom(group, ConvertedGroup) for group in self.groups]
        batches = [batch for group in groups for batch in group.batches]
        window, staging = groups[0].window, StagingHook()
        files = list(mapping_files(Path(self.mappings)))
        book = read_phone_book(files, self.region)
        self.log.info("The mapping has %d rows in %d files", len(book.rows), len(files))
        with staging.writer(MAPPING_STEM, ".csv") as frozen:
            frozen.write(book.frozen())
        items, participants = read_items(staging, batches)
        candidates = with_candidates(participants, book, self.region)
        # An import of another run may have all the requests under way that Graph allows a mailbox
        mailboxes = GraphHook().find_mailboxes(addresses(candidates), asking=partial(asking, staging))
        decisions = decide(len(items), candidates, mailboxes)
        lost_rows = list(rows_without_mailbox(book, candidates, mailboxes))
        if lost_rows:
            self.log.warning("%d mapping rows lead to no mailbox; the report names them", len(lost_rows))
        shards = [
            Shard(
                window=window,
                first=first,
                last=last,
                mailboxes=len({row.mailbox for row in rows}),
                count=len(rows),
                deliveries=_write_deliveries(
                    staging, shard_stem(window, context["run_id"], first, last), batches, rows
                ),
                dry_run=bool(context["params"].get("dry_run")),
            )
            for (first, last), rows in sorted(share_out(deliveries(items, decisions), self.tasks).items())
        ]
        decision = Decision(
            window=window,
            mapping=frozen.staged,
            items=len(items),
            items_parked=len(decisions.parked),
            details=staging.write_lines(
                f"{run_stem(window, context['run_id'])}details.", [*_lost(lost_rows), *_parked(items, decisions)]
            ),
            shards=tuple(shards),
        )
        self.log.info(
            "%d items: %d deliveries to %d mailboxes in %d shards, %d items parked",
            decision.items,
            sum(shard.count for shard in shards),
            sum(shard.mailboxes for shard in shards),
            len(shards),
            decision.items_parked,
        )
        context["ti"].xcom_push(key="decision", value=to_xcom(decision))
        return to_xcom(shards)


def mapping_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every mapping file.

    :raises StopError: where the folder is not there: nobody said that there is no mapping.
    """
    if not folder.is_dir():
        raise StopError(f"The folder of mapping files, {folder}, does not exist here: mount it into every worker.")
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".csv" and path.is_file():
            yield path.name, path.read_bytes()


def read_items(staging: StagingHook, batches: Sequence[ConvertedBatch]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every batch's index and participants, as tables of references.

    :returns: items (a row each: item_id, key, sent, record, attached, causes, batch, offset, length), and participants
        (row of the item in that table, phone, email).
    """
    import pandas as pd

    columns: dict[str, list[Any]] = {
        name: [] for name in ("item_id", "key", "sent", "record", "attached", "causes", "batch", "offset", "length")
    }
    people = []
    decoder = msgspec.json.Decoder(IndexRow)
    for number, batch in enumerate(batches):
        first = len(columns["item_id"])
        with staging.reader(batch.index) as lines:
            for line in lines:
                row = decoder.decode(line)
                values = (row.item_id, row.key, row.sent, row.record, row.attached, row.causes, number, *row.message)
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
        with staging.reader(batch.participants) as lines:
            table = pd.read_csv(lines, dtype=_PARTICIPANT_TYPES, keep_default_na=False)
        table["row"] += first
        people.append(table)
    return pd.DataFrame(columns), pd.concat(people, ignore_index=True)


def deliveries(items: pd.DataFrame, decisions: Decisions) -> Iterator[Delivery]:
    """Yield every delivery, in the items' order.

    The source may send an item again. The same record is archived once; another record of the same id is a
    contradiction that a person must settle, and never silently takes the first one's place.
    """
    again = items.duplicated("key")
    conflicting = again & (items["record"] != items.groupby("key")["record"].transform("first"))
    table = decisions.deliveries.join(items.assign(again=again, conflicting=conflicting), on="row")
    names = ("row", "item_id", "key", "mailbox", "sent", "attached", "causes", "batch", "offset", "length", "rule")
    values = (table[name].tolist() for name in (*names, "again", "conflicting"))
    for row, item_id, key, mailbox, sent, attached, causes, batch, offset, length, rule, repeats, conflicts in zip(
        *values, strict=True
    ):
        settled = None
        if conflicts:
            settled = (Outcome.FAILED, Cause.CONFLICTING_ITEM)
        elif repeats:
            settled = (Outcome.SKIPPED, Cause.SAME_ITEM_AGAIN)
        yield Delivery(
            item=row,
            item_id=item_id,
            key=key,
            mailbox=mailbox,
            sent=sent,
            pack=batch,
            offset=offset,
            length=length,
            attached=attached,
            rule=rule,
            causes=causes,
            settled=settled,
        )


def share_out(rows: Iterable[Delivery], tasks: int) -> dict[tuple[int, int], list[Delivery]]:
    """Share deliveries out over ranges of buckets; within each mailbox by mailbox, oldest first."""
    ranges = [(first, last) for first, last in (bucket_range(number, tasks) for number in range(tasks))]
    range_of = [each for each in ranges for _ in range(each[0], each[1] + 1)]
    shards: dict[tuple[int, int], list[Delivery]] = {}
    for row in rows:
        shards.setdefault(range_of[bucket_of(row.mailbox)], []).append(row)
    for each in shards.values():
        each.sort(key=lambda row: (row.mailbox, row.sent))
    return shards


def _write_deliveries(
    staging: StagingHook, stem: str, batches: Sequence[ConvertedBatch], rows: Sequence[Delivery]
) -> StagedObject:
    with staging.writer(stem, ".jsonl") as out:
        for line in delivery_lines(tuple(batch.messages for batch in batches), rows):
            out.write(line)
    return out.staged


def _parked(items: pd.DataFrame, decisions: Decisions) -> Iterator[Detail]:
    item_ids = items["item_id"].iloc[decisions.parked["row"]].tolist()
    for item_id, cause in zip(item_ids, decisions.parked["cause"].tolist(), strict=True):
        yield Detail(item_id=item_id, outcome="parked", cause=cause)


def _lost(rows: Iterable[tuple[str, int]]) -> Iterator[Detail]:
    for file, line in rows:
        yield Detail(item_id=None, outcome="mapping", cause=Cause.ROW_WITHOUT_MAILBOX, place=f"{file}:{line}")
