"""The e-mails that the parsers are given: what anybody could write, what people wrote, every shape that there is."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from o2_connector.core.conversion_profile import Profile
from o2_connector.core.eml import eml_chunks
from o2_connector.core.items import captured
from o2_connector.core.outcomes import Cause
from o2_connector.core.rendering import Rendering, render
from sandbox.world import World
from tests.core.records import RECORD, line
from tests.golden.test_golden import BYTES, SHAPES
from tests.golden.test_golden import HERE as GOLDEN

ROOT = Path(__file__).parents[2]
CORPUS = Path(os.environ.get("CORPUS") or ROOT.parent / "shared" / "data" / "real-sms.jsonl.gz")

_PROFILE = Profile(region="GB")
_RANDOM = 1500
_CORPUS_STEP = 13  # of 20,000 texts that leaves 1,539
_WORLD_ITEMS = 240  # each particular shape once, and ordinary ones
_DAY = datetime(2026, 11, 21, tzinfo=UTC)
_NOT_IN_IDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TEXTS = (
    "",
    " ",
    " led and followed by blanks  ",
    "two  blanks,\ta tab",
    "\N{ZERO WIDTH NO-BREAK SPACE}a mark first",
    "a\N{ZERO WIDTH NO-BREAK SPACE} mark within, \N{ZERO WIDTH NO-BREAK SPACE}",
    "=?utf-8?b?QQ==?=",
    "=?utf-8?q?=41?= =?utf-8?q?=42?=",
    "a =?us-ascii?Q?b?= c",
    "=?",
    "utf-8''%41",
    "100%41 %zz",
    'She said "no" \\ "yes"\\',
    "<eve@example.net>, Eve <eve@example.net>; Group: eve@example.net;",
    "(a comment) (and (another",
    "a@b, c",
    "../../etc/passwd; name=x",
    "x\r\nBcc: eve@example.net\r\n\r\nbody",
    "one\r\ntwo\r\n",
    "one\rtwo\nthree\r\n",
    "\n\n.\n..\nFrom here\n--=_o2_\n",
    "nul \0, bell \a, escape \x1b, delete \x7f, next line \x85, \u2028 \u2029, \ufffe \uffff",
    "half \ud83d half \ude00",
    "\\u0041 \\\\u0041 \\u005c \\ud83d",
    "<b>&amp;</b><script>alert(1)</script>\n<img src=cid:x>",
    "e\u0301 \u202eright to left\u202c \u200dA\u0300\u0323 \U000e0001",
)
# Four octets a character at every place in an encoded word, a parameter's section and a line of base64; and long ones.
_LONG_TEXTS = (
    *("a" * count + "\U0001f600" * 40 for count in range(12)),
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 " * 12,
    "x" * 2000,
    "word " * 400,
    "\u00e9" * 1000,
)
_SIGNS = (
    *((0x20, 0x7F), (0x61, 0x7B), (0x00, 0xA1), (0xA0, 0x250), (0x370, 0x530), (0x590, 0x700), (0x900, 0x980)),
    *((0x2000, 0x2070), (0x4E00, 0x9FA5), (0xD800, 0xE000), (0xFE00, 0x10000), (0x1F300, 0x1FAFF), (0xE0000, 0xE0200)),
    *((0x0, 0x110000), (0x22, 0x2D)),
)
_MOMENTS = (
    *("2026-11-21T09:30:15Z", "2026-11-21T23:30:15.123456+05:30", "1602-01-01T00:00:00+14:00"),
    "9998-12-31T23:59:59-12:00",
)
_CONTENT_TYPES = (
    *("text/plain", "text/plain; charset=utf-16", "text/html", "text/calendar", "text/vcard", "text/rfc822-headers"),
    *("application/smil", "application/octet-stream", "image/png", "image/svg+xml", "IMAGE/JPEG; name=x"),
    *("message/rfc822", "message/delivery-status", "multipart/mixed; boundary=x", "application/ms-tnef", "no type"),
)
_CONTENTS = (
    b"",
    b"\0\xff\xfe",
    b"plain \xc3\xa9\nand\r\nlines\r",
    b"From: eve@example.net\r\nSubject: x\r\n\r\n<b>body</b>\r\n--=_o2_m--\r\n",
    bytes(range(256)) * 300,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    """Hold an item's e-mail in both forms."""

    name: str
    rendering: Rendering
    eml: bytes


def mail(name: str, record: bytes, contents: Mapping[str, Callable[[], bytes]]) -> Mail:
    """Return a record's e-mail.

    :param contents: make attachments' bytes, by digest; one that is not here is one that TeleMessage no longer keeps.
    """
    read = captured(record)
    missing = {each.file: Cause.ATTACHMENT_GONE for each in read.item.attachments if each.sha256 not in contents}
    rendering = render(read, _PROFILE, missing)
    chunks = eml_chunks(rendering, lambda part: [contents[part.sha256]()])
    return Mail(name=name, rendering=rendering, eml=b"".join(chunks))


def full_mail() -> Mail:
    """Return an e-mail that has everything: people of every kind, signs of any script, a picture, a sound."""
    pixels, sound = b"picture" * 20, b"sound"
    record = line(
        itemType="MMS",
        text="Grüße aus Łódź, the picture is from there: " * 3,
        to=[{"phone": "07700900123", "email": "alex@example.com"}, {"phone": "07700900789", "name": "山田"}],
        attachments=[_attachment("image/png", "зображення.png", pixels), _attachment("audio/amr", "a.amr", sound)],
        **{"from": {"phone": "07700900456", "name": "Łukasz"}},
    )
    return mail("full", record, _ready(pixels, sound))


def random_mails() -> Iterator[Mail]:
    """Make records of all kinds; the same ones in every run, as not even Hypothesis's seeded draws are."""
    random = Random(5)
    for number in range(_RANDOM):
        contents = [
            random.choice(_CONTENTS) + random.randbytes(random.randrange(99)) for _ in range(random.randrange(4))
        ]
        yield mail(f"record {number}", json.dumps(_record(random, contents)).encode(), _ready(*contents))


def _record(random: Random, contents: list[bytes]) -> dict[str, Any]:
    action = random.choice(["EDIT", "DELETE", None, None])
    return {
        **RECORD,
        "itemId": _identifier(random),
        "itemType": random.choice(["SMS", "MMS", "CALL", "VOICEMAIL"]),
        "direction": random.choice(["INBOUND", "OUTBOUND"]),
        "status": random.choice(["SENT", "DELIVERED", "READ", "FAILED", "ANSWERED", "MISSED", "REJECTED"]),
        "sentAt": random.choice(_MOMENTS),
        "archivedAt": random.choice(_MOMENTS),
        "from": _participant(random),
        "to": [_participant(random) for _ in range(random.choice([1, 1, 2, 3, 12]))],
        "text": random.choice([None, _text(random), _text(random)]),
        "thread": random.choice([None, {"id": _text(random), "name": _text(random)}]),
        "call": {"startedAt": random.choice(_MOMENTS), "durationSeconds": random.randrange(90_000)},
        "relatesTo": action and {"itemId": _identifier(random), "action": action},
        "attachments": [
            _attachment(random.choice([*_CONTENT_TYPES, _text(random)]), _text(random), each) for each in contents
        ],
        "of a later version": _text(random),
    }


def _participant(random: Random) -> dict[str, Any]:
    digits = f"07700900{random.randrange(1000):03}"
    local = "".join(random.choices("abcdefghijklmnop0123456789!#$%&'*+/=?^_`{|}~-", k=random.randrange(1, 20)))
    return {
        "phone": random.choice([digits, f"+44{digits[1:]}", _text(random) or "60777"]),
        "email": random.choice([None, f"{local}@example.com", _text(random)]),
        "name": random.choice([None, _text(random), _text(random)]),
    }


def _identifier(random: Random) -> str:
    return (_NOT_IN_IDS.sub("", _text(random)) or "o2-1")[:400]


def _text(random: Random) -> str:
    """Make a text: words of some script, signs of any, or hostile ones; mostly short."""
    first, beyond = random.choice(_SIGNS)
    signs = [chr(random.randrange(first, beyond)) for _ in range(random.choice([0, 1, 5, 9, 20, 40]))]
    text = "".join(sign if random.random() < 0.8 else " " for sign in signs)
    if random.random() < 0.3:
        text += random.choice(_TEXTS)
    return text * 50 if random.random() < 0.02 else text


def hostile_mails() -> Iterator[Mail]:
    """Put hostile texts wherever a phone can put one, and attach whatever could be taken for a part of the e-mail."""
    for number, text in enumerate(_TEXTS + _LONG_TEXTS):
        record = line(
            itemId=f"o2-{number}{_NOT_IN_IDS.sub('', text)}"[:400],
            itemType="MMS",
            text=text,
            thread={"id": text, "name": text},
            to=[{"phone": "07700900123", "name": text}, {"phone": text or "1", "name": "Kim"}],
            attachments=[_attachment("image/png", text, b"picture"), _attachment("audio/amr", text, b"sound")],
            **{"from": {"phone": "07700900456", "name": text}},
        )
        yield mail(f"text {text[:40]!a}", record, _ready(b"picture", b"sound"))
    for content_type in _CONTENT_TYPES:
        for content in _CONTENTS:
            record = line(itemType="MMS", text="Look!", attachments=[_attachment(content_type, "a.bin", content)])
            yield mail(f"{content_type} {content[:20]!a}", record, _ready(content))


def golden_mails() -> Iterator[Mail]:
    """Take the shapes that have golden files."""
    for shape in SHAPES:
        yield mail(shape, (GOLDEN / f"{shape}.json").read_bytes(), _ready(*BYTES.values()))


def sandbox_mails() -> Iterator[Mail]:
    """Take a day of the sandbox, with its pictures and recordings."""
    yield from _of_world(World(1, 25, _WORLD_ITEMS, "Europe/London"), 1)


def corpus_mails() -> Iterator[Mail]:
    """Take what people wrote, where the corpus is; the environment's CORPUS says where, as for ``make demo``."""
    yield from _of_world(World(1, 25, 0, "Europe/London", corpus=CORPUS), _CORPUS_STEP)


def _of_world(world: World, step: int) -> Iterator[Mail]:
    for item in islice(world.items_of(_DAY, _DAY + timedelta(days=1)), 0, None, step):
        contents = {}
        for each in item.get("attachments", ()):
            media = world.attachment(each["attachmentId"])
            assert media is not None
            contents[each["sha256"]] = media.content
        yield mail(item["itemId"], json.dumps(item).encode(), contents)


def _ready(*contents: bytes) -> dict[str, Callable[[], bytes]]:
    return {hashlib.sha256(content).hexdigest(): partial(bytes, content) for content in contents}


def _attachment(content_type: str, name: str, content: bytes) -> dict[str, Any]:
    return {
        "attachmentId": "a-1",
        "fileName": name,
        "contentType": content_type,
        "byteCount": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
