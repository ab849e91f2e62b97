"""A person who is nowhere to be told of: planted in captured items, mapping files and the directory, and looked for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from quopri import encodestring
from typing import Any
from urllib.parse import quote, quote_plus

from sandbox.directory import User
from sandbox.world import World

NAME = "Zéphyrine Quillfeather"
NUMBER = "+447700900871"
EMAIL = "zephyrine.quillfeather@example.com"
MAILBOX = "quillfeather.z@example.com"
CATCH_ALL = "unclaimed.quillfeather@example.com"
TEXT = "Grubblesnatch: the Wexcombe figures, before the market opens"
FILE = "Grubblesnatch Wexcombe.txt"
THREAD = "Wexcombe deal"
SPELLINGS = (NUMBER, "447700900871", "07700 900871", "0044 (0)7700 900-871", "07700.900.871")

ECHO = f"Cannot send '{TEXT}' of {NAME} <{EMAIL}>, {NUMBER}, to {MAILBOX} ({FILE})"
"""What a site says that quotes what it was sent."""

USER = User(
    id="5a1e5a1e-0871-4000-8000-000000000871",
    user_principal_name=MAILBOX,
    mail=EMAIL,
    display_name=NAME,
    proxy_addresses=(f"SMTP:{MAILBOX}", f"smtp:{CATCH_ALL}"),
    mobile_phone=NUMBER,
)

# A part of a value is told as soon as one of its words is.
_WORDS = ("Zéphyrine", "Zephyrine", "Quillfeather", "Grubblesnatch", "Wexcombe")
# All but the last digits, however they are set apart, is told as well; the last three are how a log names a number.
_DIGITS = re.compile(r"[\s().%+-]{0,2}".join("77009008"))


class PlantedWorld(World):
    """Send every second item to or from this person.

    :ivar spoil: what else becomes of an item, by its place in the window.
    """

    spoil: Callable[[int, dict[str, Any]], dict[str, Any]] = staticmethod(lambda _, item: item)

    def items_of(self, *window: Any) -> Iterator[dict[str, Any]]:
        for place, item in enumerate(super().items_of(*window)):
            yield self.spoil(place, planted(place, item) if place % 2 else item)


def planted(place: int, item: dict[str, Any]) -> dict[str, Any]:
    """Let this person take part in an item, in one of the spellings that the network has for a number."""
    person = {"phone": SPELLINGS[place % 3], "name": NAME, "email": EMAIL if place % 4 == 1 else None}
    changed = {**item, "from": person, "thread": {"id": "t1", **(item.get("thread") or {}), "name": THREAD}}
    if item.get("text"):
        changed["text"] = TEXT
    if item.get("attachments"):
        changed["attachments"] = [{**each, "fileName": FILE} for each in item["attachments"]]
    return changed


def forms(value: str) -> Iterator[str]:
    """Yield a value as it is, and as what stands between a person and a log may have written it."""
    data = value.encode()
    yield from (value, json.dumps(value)[1:-1], repr(data)[2:-1], quote(value, safe=""), quote_plus(value))
    yield encodestring(data).decode()
    yield data.hex()
    for shift in range(3):  # in the middle of something, base64 has three ways to write it
        coded = base64.b64encode(bytes(shift) + data)[(shift * 8 + 5) // 6 : -4].decode()
        yield from (coded, coded.translate(str.maketrans("+/", "-_")))
    for spelling in {value, value.casefold()}:
        for digest in (hashlib.md5, hashlib.sha1, hashlib.sha256):
            yield digest(spelling.encode()).hexdigest()


_FORMS = sorted(
    {
        form.casefold()
        for value in (*_WORDS, NAME, EMAIL, MAILBOX, CATCH_ALL, TEXT, FILE, THREAD, *SPELLINGS)
        for form in forms(value)
        if len(form) >= 6
    }
)


def found(text: str) -> list[str]:
    """Return what a text tells of this person, as it tells it."""
    folded = text.casefold()
    return [form for form in _FORMS if form in folded] + _DIGITS.findall(folded)
