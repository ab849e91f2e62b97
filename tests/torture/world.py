"""What is to be delivered: a seed's items, slot after slot, and the books that decisions make of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec

from o2_connector.core.conversion import packed_message
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.items import captured
from o2_connector.core.layout import attachment_stem, converted_stem, run_stem
from o2_connector.core.ledger import Delivery
from o2_connector.core.manifest import Shard, StagedObject
from o2_connector.core.outcomes import Cause, Outcome, Rule
from o2_connector.core.rendering import render
from o2_connector.core.window import Window
from o2_connector.engine.shards import share_of, write_shards
from o2_connector.hooks.staging import StagingHook
from sandbox.people import other_number, our_number

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
SLOT = timedelta(hours=3)
ITEMS = 12
"""Items in a slot."""

LARGE_EVERY = 4
"""Slots from one that has large attachments to the next."""

INLINE = 20_000
FOLLOWING = 1_500_000
BY_SESSION = 3_300_000
"""Bytes of attachments: one that goes with the create; two of these do not, the second follows; an upload session."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """Hold an item that was captured, and who is to have it.

    :param digests: of its attachments, sorted.
    """

    item_id: str
    key: str
    sent: datetime
    mailboxes: tuple[str, ...]
    message_id: str
    text: str
    digests: tuple[str, ...]
    attached: int
    packed: bytes
    causes: tuple[Cause, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Hold what one run decided: the shards of its book."""

    window: Window
    shards: tuple[Shard, ...]


class World:
    """Know the items of a seed; a slot's are made, and their attachments staged, when it is first asked for."""

    def __init__(self, seed: int, mailboxes: Sequence[str], staging: StagingHook) -> None:
        self._seed = seed
        self._mailboxes = tuple(mailboxes)
        self._staging = staging
        self._slots: dict[int, tuple[Sent, ...]] = {}
        self._runs = 0

    @property
    def items(self) -> Iterable[Sent]:
        """Return every item that any decision was about."""
        return [item for slot in self._slots.values() for item in slot]

    def decide(self, first: int, beyond: int, *, tasks: int, pack: int, random: Random) -> Decision:
        """Make and stage the book of a run of its own over a window of slots.

        :param tasks: how many shares the mailboxes are parted into.
        :param pack: items in a pack.
        """
        self._runs += 1
        run_id = f"manual__{self._runs}"
        window = Window(start=BEGIN + first * SLOT, end=BEGIN + beyond * SLOT)
        items = [item for slot in range(first, beyond) for item in self._slot(slot)]
        packs = tuple(
            self._stage_pack(window, number, items[number * pack : (number + 1) * pack])
            for number in range(-(-len(items) // pack))
        )
        rows = sorted(
            _deliveries(items, pack, random), key=lambda row: (share_of(row.mailbox, tasks), row.mailbox, row.sent)
        )
        shards = write_shards(self._staging, run_stem(window, run_id), window, packs, rows, tasks=tasks)
        return Decision(window=window, shards=tuple(shards))

    def _slot(self, slot: int) -> tuple[Sent, ...]:
        if slot not in self._slots:
            random = Random(f"{self._seed}/{slot}")
            self._slots[slot] = tuple(self._item(slot, number, random) for number in range(ITEMS))
        return self._slots[slot]

    def _item(self, slot: int, number: int, random: Random) -> Sent:
        sizes: tuple[int, ...] = ()
        if number in (1, 2):
            sizes = (random.randrange(1, INLINE),) * number
        elif number == 3 and slot % LARGE_EVERY == 0:
            sizes = (BY_SESSION,)
        elif number == 4 and slot % LARGE_EVERY == 2:
            sizes = (FOLLOWING, FOLLOWING)
        contents = [random.randbytes(size) for size in sizes]
        sent = BEGIN + slot * SLOT + timedelta(minutes=number, milliseconds=random.randrange(60_000))
        record: dict[str, object] = {
            "itemId": f"o2-{self._seed}-{slot}-{number}",
            "itemType": "MMS" if contents else "SMS",
            "network": "O2",
            "direction": "INBOUND",
            "status": "DELIVERED",
            "sentAt": sent.isoformat(),
            "archivedAt": sent.isoformat(),
            "from": {"phone": other_number(random.randrange(400))},
            "to": [{"phone": our_number(random.randrange(800))}],
            "text": f"Item {number} of slot {slot}. " + "All is well here. " * random.randrange(12),
            "attachments": [self._stage_attachment(place, content) for place, content in enumerate(contents)],
        }
        rendering = render(captured(msgspec.json.encode(record)), Profile(region="GB"), {})
        copies = 1 if max(sizes, default=0) > INLINE else random.choice((1, 1, 1, 2, 3))
        return Sent(
            item_id=str(record["itemId"]),
            key=rendering.key,
            sent=sent,
            mailboxes=tuple(random.sample(self._mailboxes, copies)),
            message_id=rendering.message_id,
            text=rendering.html or rendering.text,
            digests=tuple(sorted(part.sha256 for part in rendering.parts)),
            attached=sum(sizes),
            packed=packed_message(rendering),
            # What TeleMessage keeps no longer is missing for good: the rest is delivered.
            causes=(Cause.ATTACHMENT_GONE,) if number == 5 else (),
        )

    def _stage_attachment(self, place: int, content: bytes) -> dict[str, object]:
        sha256 = hashlib.sha256(content).hexdigest()
        with self._staging.writer(attachment_stem(sha256), expect_sha256=sha256) as out:
            out.write(content)
        return {
            "attachmentId": f"a-{sha256[:12]}",
            "fileName": f"picture-{place}.jpg",
            "contentType": "image/jpeg",
            "byteCount": len(content),
            "sha256": sha256,
        }

    def _stage_pack(self, window: Window, number: int, items: Sequence[Sent]) -> StagedObject:
        with self._staging.writer(f"{converted_stem(window, f'pack-{number}')}messages.", ".jsonl") as out:
            for item in items:
                out.write(item.packed)
        return out.staged


def _deliveries(items: Sequence[Sent], pack: int, random: Random) -> Iterable[Delivery]:
    offset = 0
    for number, item in enumerate(items):
        offset = 0 if number % pack == 0 else offset
        for mailbox in item.mailboxes:
            row = Delivery(
                item=number,
                item_id=item.item_id,
                key=item.key,
                mailbox=mailbox,
                sent=int(item.sent.timestamp() * 1000),
                pack=number // pack,
                offset=offset,
                length=len(item.packed),
                attached=item.attached,
                rule=Rule.MAPPING,
                causes=item.causes,
            )
            yield row
            if random.random() < 0.04:  # the source sent it again: no mailbox is asked, and it proves nothing
                yield msgspec.structs.replace(row, settled=(Outcome.SKIPPED, Cause.SAME_ITEM_AGAIN))
        offset += len(item.packed)
