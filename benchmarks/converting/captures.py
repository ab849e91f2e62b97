"""What is converted: captured records, a line each, and their attachments' bytes, all made before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from o2_connector.core.window import Window
from sandbox.world import World

START = datetime(2026, 11, 2, tzinfo=UTC)
WINDOW = Window(start=START, end=START + timedelta(days=1))
USERS = 100
TEXTS = 20_000
"""As many as the corpus has; so many of the sandbox's plain SMS where there is none."""
MIX = 500
"""One stretch of the sandbox's: every particular shape comes once, among ordinary texts."""
NEW_EVERY = 5
"""Of the million, so many in a row are of one conversation, from a phone that was not there before: 200,000 of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Captures:
    """Hold lines, and the bytes of the attachments that they name, by SHA-256."""

    lines: tuple[bytes, ...]
    media: dict[str, bytes]


def texts(corpus: Path | None) -> Captures:
    """Make texts without attachments: the corpus as the sandbox captures it, or the sandbox's own plain SMS."""
    world = World(1, USERS, TEXTS * 2, "Europe/London", corpus)
    plain = (item for item in world.items_of(WINDOW.start, WINDOW.end) if item["itemType"] == "SMS")
    return Captures(lines=tuple(map(_line, islice(plain, TEXTS))), media={})


def mix(limit: int) -> Captures:
    """Make the sandbox's mix of SMS, MMS, calls and voicemail, with its pictures and recordings.

    :param limit: bytes of the largest attachment that any message takes; a larger one is never read.
    """
    world = World(1, USERS, MIX, "Europe/London")
    items = list(world.items_of(WINDOW.start, WINDOW.end))
    media: dict[str, bytes] = {}
    for each in (each for item in items for each in item.get("attachments", ())):
        found = world.attachment(each["attachmentId"])
        if each["sha256"] not in media and each["byteCount"] <= limit and found:
            media[each["sha256"]] = found.content()
    return Captures(lines=tuple(map(_line, items)), media=media)


def all_new(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    """Make the same lines again with participants of whom each comes once."""
    count = 0
    made = []
    for line in lines:
        item = msgspec.json.decode(line)
        for each in (item["from"], *item["to"]):
            each["phone"] = nobodys_number(count)
            each["name"] = each.get("name") and f"{each['name']} {count}"
            each["email"] = each.get("email") and f"{count}.{each['email']}"
            count += 1
        made.append(_line(item))
    return tuple(made)


def write_many(file: Path, lines: Sequence[bytes], count: int) -> None:
    """Write so many lines: these again and again with other item ids, and other senders all the time."""
    items = [msgspec.json.decode(line) for line in lines]
    with file.open("wb") as out:
        for number in range(count):
            item = items[number % len(items)]
            item["itemId"] = f"o2-many-{number:07d}"
            item["from"]["phone"] = nobodys_number(number // NEW_EVERY)
            item["to"] = items[number // NEW_EVERY % len(items)]["to"]
            out.write(_line(item))


def nobodys_number(index: int) -> str:
    """Return one of a thousand million numbers that nobody can have.

    Ofcom's numbers for drama are too few. Its National Telephone Numbering Plan puts +44 4 to no use.
    """
    return f"+444{index:09d}"


def _line(item: dict[str, Any]) -> bytes:
    return msgspec.json.encode(item) + b"\n"
