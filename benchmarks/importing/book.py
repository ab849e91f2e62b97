"""Stage a book of deliveries as the tasks before the import do: packs of Graph messages, and who gets which."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random

import msgspec

from benchmarks.importing.tenant import BUCKETS
from o2_connector.core.conversion import packed_message
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.items import Item, captured
from o2_connector.core.layout import converted_stem, run_stem, shard_stem
from o2_connector.core.ledger import Delivery, delivery_lines
from o2_connector.core.manifest import Shard, StagedObject
from o2_connector.core.outcomes import Rule
from o2_connector.core.rendering import Rendering, render
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook
from sandbox.world import World

START = datetime(2026, 11, 1, tzinfo=UTC)
WINDOW = Window(start=START, end=START + timedelta(days=30))
RUN_ID = "manual__bench-import"
BATCH = 500
"""Items in a batch, and so messages in a pack; the sandbox's TeleMessage site makes them as long."""
A_DAY = 20_000
PROFILE = Profile(region="GB")


def texts(count: int, corpus: Path | None = None) -> Iterator[tuple[Item, Rendering]]:
    """Yield text messages of a world, rendered: the first of them that have no attachment."""
    world = World(1, 100, A_DAY, "Europe/London", corpus)
    plain = (item for item in world.items_of(WINDOW.start, WINDOW.end) if not item.get("attachments"))
    for each in islice(plain, count):
        record = captured(msgspec.json.encode(each))
        yield record.item, render(record, PROFILE, {})


def shuffled(counts: Mapping[str, int]) -> list[str]:
    """Name for each message the mailbox that gets it; the mailboxes come mixed, as they do in a day."""
    order = [mailbox for mailbox, count in counts.items() for _ in range(count)]
    Random(1).shuffle(order)  # noqa: S311 - the same book every time
    return order


def stage_book(staging: StagingHook, counts: Mapping[str, int], corpus: Path | None = None) -> Shard:
    """Stage so many text messages for each mailbox, as one shard of all buckets; memory does not grow with them.

    :param counts: how many, by the id of the mailbox's user.
    """
    order = shuffled(counts)
    packs: list[StagedObject] = []
    with tempfile.NamedTemporaryFile(prefix="o2-book-") as scratch, sqlite3.connect(scratch.name) as rows:
        rows.execute("PRAGMA synchronous = OFF")
        rows.execute("CREATE TABLE rows (mailbox TEXT, sent INTEGER, delivery BLOB)")
        numbered = enumerate(texts(len(order), corpus))
        while batch := list(islice(numbered, BATCH)):
            stem = f"{converted_stem(WINDOW, f'b{len(packs):06d}')}messages."
            with staging.writer(stem, ".jsonl") as pack:
                for number, (item, rendering) in batch:
                    offset = pack.tell()
                    pack.write(packed_message(rendering))
                    delivery = Delivery(
                        item=number,
                        item_id=item.item_id,
                        key=rendering.key,
                        mailbox=order[number],
                        sent=rendering.sent,
                        pack=len(packs),
                        offset=offset,
                        length=pack.tell() - offset,
                        rule=Rule.EMAIL,
                    )
                    row = (delivery.mailbox, delivery.sent, msgspec.json.encode(delivery))
                    rows.execute("INSERT INTO rows VALUES (?, ?, ?)", row)
            packs.append(pack.staged)
        found = rows.execute("SELECT delivery FROM rows ORDER BY mailbox, sent")
        deliveries = (msgspec.json.decode(row, type=Delivery) for (row,) in found)
        with staging.writer(shard_stem(run_stem(WINDOW, RUN_ID), BUCKETS.start, BUCKETS.stop - 1), ".jsonl") as out:
            for line in delivery_lines(tuple(packs), deliveries):
                out.write(line)
    return Shard(
        window=WINDOW,
        first=BUCKETS.start,
        last=BUCKETS.stop - 1,
        mailboxes=len(counts),
        count=len(order),
        deliveries=out.staged,
        dry_run=False,
    )


def write_messages(file: Path, folders: Mapping[str, str], each: int, corpus: Path | None = None) -> None:
    """Write the same text messages for the peers: a line each, with the mailbox and the folder it goes to."""
    order = shuffled(dict.fromkeys(folders, each))
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    with file.open("wb") as lines:
        for mailbox, (_, rendering) in zip(order, texts(len(order), corpus), strict=True):
            message = decoder.decode(packed_message(rendering))["message"]
            line = {"mailbox": mailbox, "folder": folders[mailbox], "message": message}
            lines.write(msgspec.json.encode(line) + b"\n")
