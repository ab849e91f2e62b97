"""Books to import: what map writes, for tests that need no more of the line than that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import msgspec

from o2_connector.core.conversion import packed_message
from o2_connector.core.conversion_profile import MESSAGE_MEGABYTES, Profile
from o2_connector.core.identity import item_key
from o2_connector.core.items import captured
from o2_connector.core.layout import attachment_stem, converted_stem, run_stem, shard_stem
from o2_connector.core.ledger import Delivery, delivery_lines
from o2_connector.core.manifest import Shard
from o2_connector.core.outcomes import Rule
from o2_connector.core.rendering import Rendering, render
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook

DAY = datetime(2026, 11, 20, tzinfo=UTC)
WINDOW = Window(start=DAY, end=DAY + timedelta(days=1))


def record(number: int, attachments: Sequence[bytes] = (), text: str = "") -> bytes:
    """Return a captured record, a minute after the one before."""
    sent = (DAY + timedelta(minutes=number)).isoformat()
    return msgspec.json.encode(
        {
            "itemId": f"i-{number}",
            "itemType": "MMS" if attachments else "SMS",
            "network": "O2",
            "direction": "INBOUND",
            "status": "DELIVERED",
            "sentAt": sent,
            "archivedAt": sent,
            "from": {"phone": "+447700900123"},
            "to": [{"phone": "+447700900456"}],
            "text": text or f"Number {number}.",
            "attachments": [
                {
                    "attachmentId": f"a-{number}-{place}",
                    "fileName": f"{place}.jpg",
                    "contentType": "image/jpeg",
                    "byteCount": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
                for place, content in enumerate(attachments)
            ],
        }
    )


def stage(
    staging: StagingHook,
    rows: Iterable[tuple[int, str]],
    *,
    attachments: Mapping[int, Sequence[bytes]] = MappingProxyType({}),
    bodies: Mapping[int, int] = MappingProxyType({}),
    message_megabytes: int = MESSAGE_MEGABYTES,
    run_id: str = "manual__1",
    window: Window = WINDOW,
) -> Shard:
    """Stage a book: (number of an item, mailbox) for each delivery.

    :param attachments: of some items, by number.
    :param bodies: how many characters the messages of some items have, by number, whatever conversion makes of such.
    """
    ordered = sorted(rows, key=lambda row: (row[1], row[0]))
    profile = Profile(region="GB", message_megabytes=message_megabytes)
    renderings: dict[int, Rendering] = {}
    places: dict[int, tuple[int, int]] = {}
    with staging.writer(f"{converted_stem(window, run_id)}messages.", ".jsonl") as pack:
        for number in sorted({number for number, _ in ordered}):
            for content in attachments.get(number, ()):
                with staging.writer(attachment_stem(hashlib.sha256(content).hexdigest())) as out:
                    out.write(content)
            renderings[number] = render(captured(record(number, attachments.get(number, ()))), profile, {})
            offset = pack.tell()
            packed = packed_message(renderings[number])
            pack.write(_lengthened(packed, bodies[number]) if number in bodies else packed)
            places[number] = offset, pack.tell() - offset
    deliveries = [
        Delivery(
            item=number,
            item_id=f"i-{number}",
            key=item_key(f"i-{number}"),
            mailbox=mailbox,
            sent=int((DAY + timedelta(minutes=number)).timestamp() * 1000),
            pack=0,
            offset=places[number][0],
            length=places[number][1],
            attached=sum(part.size for part in renderings[number].parts),
            rule=Rule.MAPPING,
            causes=renderings[number].causes,
        )
        for number, mailbox in ordered
    ]
    with staging.writer(shard_stem(run_stem(window, run_id), 0, 63), ".jsonl") as out:
        for part in delivery_lines((pack.staged,), deliveries):
            out.write(part)
    return Shard(
        window=window,
        first=0,
        last=63,
        mailboxes=len({mailbox for _, mailbox in ordered}),
        count=len(ordered),
        deliveries=out.staged,
        dry_run=False,
    )


def _lengthened(packed: bytes, characters: int) -> bytes:
    line = msgspec.json.decode(packed)
    body = line["message"]["body"]
    body["content"] = f"{body['content']}\n".ljust(characters, "x")
    return msgspec.json.encode(line) + b"\n"
