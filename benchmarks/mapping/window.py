"""A window to decide on: a mapping file, items and their participants, and a directory that has told all already."""

from __future__ import annotations

import csv
import hashlib
import io
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import msgspec

from o2_connector.core.conversion import PARTICIPANTS_HEAD, IndexRow
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.facts import CONVERTER_VERSION
from o2_connector.core.identity import item_key
from o2_connector.core.layout import converted_stem, directory_stem
from o2_connector.core.manifest import ConvertedBatch, StagedObject
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook

START = datetime(2026, 11, 1, tzinfo=UTC)
WINDOW = Window(start=START, end=START + timedelta(days=1))
BATCH = 500
"""Items in a batch; the sandbox's TeleMessage site makes them as long."""
STRANGERS = 50_000
GROUP_EVERY, GROUP = 10, 4
"""Every so many-th item is a group's, of so many; all others are between two."""
ALONE_EVERY = 50
"""Every so many-th item is between strangers alone, and is parked."""
MOVED_EVERY = 20
"""Every so many-th row's number was somebody else's before."""

_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True)
class Made:
    """Refer to what was made.

    :param participants: how many rows they are.
    """

    batches: tuple[ConvertedBatch, ...]
    items: int
    participants: int


def number(place: int, *, ours: bool) -> str:
    """Return a made-up mobile number in E.164."""
    return f"+447{'9' if ours else '8'}{place:08d}"


def spelled(e164: str, way: int) -> str:
    """Spell a number in one of the three ways in which the network does."""
    return (e164, e164[1:], f"0{e164[3:7]} {e164[7:]}")[way]


def address(place: int) -> str:
    """Return the address of who has a number."""
    return f"user.{place:06d}@example.com"


def write_mapping(file: Path, rows: int) -> None:
    """Write a mapping file of so many rows, as admins do."""
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow(("ExternalUserId", "O365UserMailbox", "ValidFrom", "ValidTo"))
    place = 0
    while rows > 0:
        moved = place % MOVED_EVERY == 0 and rows > 1
        if moved:
            lines.writerow((spelled(number(place, ours=True), place % 3), address(place + 1), "", "2026-06-01"))
        lines.writerow(
            (spelled(number(place, ours=True), place % 3), address(place), "2026-06-01" if moved else "", "")
        )
        rows -= 1 + moved
        place += 1
    file.write_text(text.getvalue())


def stage(staging: StagingHook, participants: int, rows: int) -> Made:
    """Stage the participants' batches as the convert task does."""
    random = Random(1)  # noqa: S311 - the same window every time
    batches: list[ConvertedBatch] = []
    items = left = 0
    left = participants
    while left > 0:
        index, people = io.BytesIO(), io.BytesIO()
        people.write(PARTICIPANTS_HEAD)
        count = 0
        while count < BATCH and left > 1:
            size = min(GROUP if items % GROUP_EVERY == 0 else 2, left)
            index.write(_index_row(items, count))
            people.write(_people(random, count, size, rows, alone=items % ALONE_EVERY == 0))
            count, items, left = count + 1, items + 1, left - size
        batches.append(_batch(staging, len(batches), count, index.getvalue(), people.getvalue()))
        left = left if left > 1 else 0
    return Made(batches=tuple(batches), items=items, participants=participants)


def remember(staging: StagingHook, tenant: str, rows: int, at: datetime) -> None:
    """Stage what the directory said of every address."""
    asked = int(at.timestamp() * 1000)
    entries = (
        DirectoryEntry(
            address=address(place),
            mailbox=str(uuid.UUID(bytes=hashlib.sha256(address(place).encode()).digest()[:16])),
            asked=asked,
        )
        for place in range(rows + 1)
    )
    staging.write_lines(directory_stem(tenant, at), entries)


def _index_row(item: int, place: int) -> bytes:
    name = f"o2-4f21c8-20261101-{item:07d}"
    row = IndexRow(
        item_id=name,
        key=item_key(name),
        sent=int(START.timestamp() * 1000) + item * 150,
        record=hashlib.sha256(name.encode()).hexdigest(),
        eml=(place * 2000, 2000),
        eml_sha256=hashlib.sha256(name.encode()).hexdigest(),
        message=(place * 1500, 1500),
    )
    return _ENCODER.encode(row) + b"\n"


def _people(random: Random, row: int, size: int, rows: int, *, alone: bool) -> bytes:
    outbound = random.random() < 0.5
    lines = []
    for place in range(size):
        ours = not alone and place == (0 if outbound else 1)
        who = random.randrange(rows * 9 // 10 if ours else STRANGERS)
        phone = spelled(number(who, ours=ours), random.randrange(3))
        email = address(who) if ours and who % 2 else ""
        side = (place == 0) == outbound
        lines.append(f"{row},{phone},{email},{int(side)}\n")
    return "".join(lines).encode()


def _batch(staging: StagingHook, place: int, count: int, index: bytes, people: bytes) -> ConvertedBatch:
    stem = converted_stem(WINDOW, f"b{place:06d}")
    nowhere = StagedObject(name=f"{stem}messages.{'0' * 64}.jsonl", sha256="0" * 64, size=count * 1500)
    return ConvertedBatch(
        batch_id=f"b{place:06d}",
        raw=nowhere,
        missing=None,
        converter=CONVERTER_VERSION,
        profile=Profile(region="GB"),
        items=count,
        converted=count,
        rejected=0,
        emls=nowhere,
        index=_write(staging, f"{stem}index.", ".jsonl", index),
        messages=nowhere,
        participants=_write(staging, f"{stem}participants.", ".csv", people),
    )


def _write(staging: StagingHook, stem: str, suffix: str, content: bytes) -> StagedObject:
    with staging.writer(stem, suffix) as out:
        out.write(content)
    return out.staged
