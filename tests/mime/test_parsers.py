"""Parsers that are not Python's find in our EMLs exactly what the rendering says.

mailparser and postal-mime are two programs of the same authors; jsmime is Mozilla's, as Proton publishes it.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from o2_connector.core.parties import Address
from o2_connector.core.rendering import Rendering
from tests.core.records import fields
from tests.mime.lint import faults
from tests.mime.mails import (
    CORPUS,
    ROOT,
    Mail,
    corpus_mails,
    full_mail,
    golden_mails,
    hostile_mails,
    random_mails,
    sandbox_mails,
)
from tests.npm import Node, installed

Reading: TypeAlias = dict[str, Any]

HERE = Path(__file__).parent
PARSERS = ("mailparser", "postal-mime", "jsmime")
SOURCES = {
    "random": random_mails,
    "hostile": hostile_mails,
    "golden": golden_mails,
    "sandbox": sandbox_mails,
    "corpus": corpus_mails,
}

# Fields with a form of their own; a parser gives what is in them elsewhere.
STRUCTURED = {
    *("date", "from", "to", "cc", "message-id", "in-reply-to", "references", "mime-version"),
    *("content-type", "content-transfer-encoding"),
}
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
# Besides blanks and formatting signs (Unicode's Zs and Cf): selectors of variants and what else looks like a blank.
UNSEEN = re.compile("[\u034f\u17b4\u17b5\u180b-\u180d\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]")
DAMAGE = {
    "another sender": (rb"(From: )=\?[^ ]*", rb'\1"Eve' + b'"'),
    "another address": (rb"alex@example\.com", rb"eve@example.com"),
    "another second": (rb"(Date: .*:)15", rb"\g<1>16"),
    "a recipient more": (rb"(MIME-Version)", rb"Bcc: eve@example.net\r\n\1"),
    "a fact less": (rb"X-O2-Status: .*\r\n", b""),
    "a fact twice": (rb"(X-O2-Status: .*\r\n)", rb"\1\1"),
    "another thread": (rb"(References: <)..", rb"\1zz"),
    "a sign of the text": (rb"(text/plain.*\r\n.*\r\n\r\n....)....", rb"\1QUJD"),
    "a sign of the HTML": (rb"(text/html.*\r\n.*\r\n\r\n....)....", rb"\1QUJD"),
    "an octet of the picture": (rb"(image/png(?:.*\r\n)+?\r\n....)....", rb"\1QUJD"),
    "another file name": (rb"%D0", rb"%D1"),
    "a part less": (rb"--(=_o2_m_.*)\r\nContent-Type: audio(?:.*\r\n)+--\1", rb"--\1"),
    "another place of the picture": (rb"(Content-ID: <)", rb"\1x"),
}
# How the lint names it, and what it is.
FLAWS = {
    "a line does not end in CR LF": (rb"\r\n", b"\n"),
    "octet e4": (rb"SMS and", b"SMS \xe4nd"),
    "octet 00": (rb"SMS and", b"SMS \0nd"),
    "the last line has no end": (rb"\r\n\Z", b""),
    "more than 998 characters": (rb"(?<=X-O2-Network: )O2", b"O" * 999),
    "could be folded": (rb"(?<=X-O2-Network: )O2", b"O2 " * 30),
    "a line of white space": (rb"(?=Cc: )", b" \r\n"),
    "neither a field's nor its continuation": (rb"(?=Cc: )", b"Cc\r\n"),
    "no empty line ends the header": (rb"(base64)\r\n(\r\n.*\r\n--=_o2_m_\S*--)", rb"\1\2"),
    "does not hold whole characters": (rb"(?<==\?utf-8\?b\?)....", b"g4OD"),
    "no encoded word": (rb"(?<==\?utf-8\?b\?)", b"QUJD" * 15),
    "a line with encoded words is longer than 76": (rb"(\?=)\r\n( <)", rb"\1\2"),
    "what looks like an encoded word is quoted": (rb'(?<=")a\.amr', b"=?utf-8?b?QQ==?="),
    "a field comes twice": (rb"(MIME-Version: .*\r\n)", rb"\1\1"),
    "a part has fields of a message": (rb"(?=Content-ID)", b"Subject: x\r\n"),
    "fields are missing": (rb"Date: .*\r\n", b""),
    "Date is not lawful": (rb"(?<= )\+0000", b"GMT"),
    "To is not lawful": (rb"<alex@example.com>", b"alex@example.com"),
    "cannot be, or is not, base64": (rb"(?<=Content-Type: )image/png", b"message/rfc822"),
    "Content-Transfer-Encoding is not lawful": (rb"base64(?=\r\n\r\n)", b"7bit"),
    "base64 is not in lines of 76": (rb"([A-Za-z0-9+/]{76})\r\n", rb"\1"),
    "a body does not decode": (rb"(text/plain.*\r\n.*\r\n\r\n)....", rb"\1=AAA"),
    "a text's lines do not end in CR LF": (rb"(text/plain.*\r\n.*\r\n\r\n)....", rb"\1QQrD"),
    "a parameter's section is not lawful": (rb"%D0", b"%d0"),
    "a parameter's sections are not in order": (rb"\*0\*=", b"*1*="),
    "a parameter does not decode": (rb"%D0%B7", b"%D0"),
    "the boundary is not lawful": (rb'boundary="=', b'boundary="@'),
    "one boundary begins like another": (rb"=_o2_r_", b"=_o2_m_"),
    "delimiters are not in order": (rb"(?<=\r\n\r\n)(?=--=_o2_m)", b"x\r\n"),
    "text stands outside them": (rb"--=_o2_m\S*--\r\n\Z", b""),
    "the boundary stands in a part": (rb"(boundary=\"(=_o2_m[^\"]*)(?:.*\r\n)+?.*text/plain)", rb"\1; x=\2"),
}
every_source = pytest.mark.parametrize("source", SOURCES)
every_parser = pytest.mark.parametrize("parser", PARSERS)


@pytest.fixture(scope="module")
def node() -> Node:
    return installed(HERE, ROOT / ".mail-parsers")


@cache
def mails(source: str) -> tuple[Mail, ...]:
    if source == "corpus" and not CORPUS.exists():
        pytest.skip("there is no corpus here")
    return tuple(SOURCES[source]())


@cache
def readings(node: Node, source: str) -> tuple[dict[str, Reading], ...]:
    return read(node, [each.eml for each in mails(source)])


def read(node: Node, emls: list[bytes]) -> tuple[dict[str, Reading], ...]:
    """Return what each parser makes of each EML."""
    told = subprocess.run(
        ["node", str(HERE / "read.mjs")],
        input=b"".join(base64.b64encode(eml) + b"\n" for eml in emls),
        stdout=subprocess.PIPE,
        cwd=node.folder,
        env=node.environment,
        check=True,
    ).stdout
    return tuple(json.loads(line) for line in told.splitlines())


def said(rendering: Rendering) -> Reading:
    """Return what a parser has to find."""
    headers = [
        ["subject", rendering.subject],
        ["thread-topic", rendering.subject],
        ["thread-index", base64.b64encode(rendering.conversation_index).decode()],
        *([name.lower(), text] for name, text in fields(rendering.facts + rendering.interop)),
    ]
    inline = [part for part in rendering.parts if part.content_id]
    return {
        "from": _people(rendering.sender),
        "to": _people(*rendering.to),
        "cc": _people(*rendering.cc),
        "date": rendering.sent_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "messageId": rendering.message_id,
        "inReplyTo": rendering.in_reply_to,
        "references": [each for each in (rendering.reference, rendering.in_reply_to) if each],
        "headers": headers,
        "text": rendering.text,
        "html": rendering.html,
        "attachments": [
            {
                "name": part.name,
                "type": part.content_type.partition(";")[0],
                "disposition": "inline" if part.content_id else "attachment",
                "contentId": f"<{part.content_id}>" if part.content_id else None,
                "sha256": part.sha256,
            }
            for part in [*inline, *(part for part in rendering.parts if part not in inline)]
        ],
    }


def _people(*addresses: Address) -> list[list[str]]:
    return [[each.name, each.address] for each in addresses]


def differences(mail: Mail, parser: str, reading: Reading) -> Iterator[str]:
    """Yield what a parser finds otherwise than the rendering says, where the fault is not known to be its own."""
    if "error" in reading:
        yield f"{mail.name}: {parser} fails: {reading['error']}"
        return
    found = reading | {"headers": [each for each in reading["headers"] if each[0] not in STRUCTURED]}
    for field, value in said(mail.rendering).items():
        seen = found.get(field)
        if seen != value and not KNOWN[parser](field, value, seen):
            yield f"{mail.name}: {parser}: {field} is {seen!a} and not {value!a}"


def of_mailparser(field: str, value: Any, seen: Any) -> bool:
    """Excuse nothing."""
    return False


def of_postal_mime(field: str, value: Any, seen: Any) -> bool:
    """Excuse three faults of postal-mime 4.0.0.

    It takes a text's first U+FEFF for a byte order mark, the text having been declared UTF-8, which has none (RFC 3629,
    6); it decodes what looks like an encoded word in a file name that RFC 2231 has already decoded; and it rewrites the
    line ends of a calendar.
    """
    if field != "attachments":
        return bool(_without(value, BYTE_ORDER_MARK) == _without(seen, BYTE_ORDER_MARK))
    return len(value) == len(seen) and all(
        _without(expected, BYTE_ORDER_MARK)
        == _without(
            found
            | ({"name": expected["name"]} if "=?" in expected["name"] else {})
            | ({"sha256": expected["sha256"]} if expected["type"] == "text/calendar" else {}),
            BYTE_ORDER_MARK,
        )
        for expected, found in zip(value, seen, strict=True)
    )


def of_jsmime(field: str, value: Any, seen: Any) -> bool:
    """Excuse two faults of jsmime's, and what it does to people on purpose.

    In headers it treats U+FEFF like postal-mime; and it looks for encoded words in addresses, where RFC 2047 (5) says
    that there are none. Of a name it shows a space for every run of blanks and for every sign that is not seen, so that
    nobody hides behind it (headerParser.js, cleanToken); and it quotes a local part that has an exclamation mark.
    """
    if field in ("from", "to", "cc"):
        return any("=?" in address for _, address in value) or _seen(value) == _seen(seen)
    return field in ("headers", "attachments") and _without(value, BYTE_ORDER_MARK) == _without(seen, BYTE_ORDER_MARK)


KNOWN: dict[str, Callable[[str, Any, Any], bool]] = {
    "mailparser": of_mailparser,
    "postal-mime": of_postal_mime,
    "jsmime": of_jsmime,
}


def _without(value: Any, sign: str) -> Any:
    return json.loads(json.dumps(value, ensure_ascii=False).replace(sign, ""))


def _seen(people: list[list[str]]) -> list[list[str]]:
    return [
        [
            "".join(sign for sign in UNSEEN.sub("", name) if unicodedata.category(sign) not in ("Zs", "Cf")),
            address.replace('"', ""),
        ]
        for name, address in people
    ]


@every_parser
@every_source
def test_a_parser_finds_what_the_rendering_says(node: Node, source: str, parser: str) -> None:
    found = [
        difference
        for each, reading in zip(mails(source), readings(node, source), strict=True)
        for difference in differences(each, parser, reading[parser])
    ]

    assert found == []


@every_source
def test_an_eml_keeps_to_the_rfcs(source: str) -> None:
    assert [f"{each.name}: {fault}" for each in mails(source) for fault in faults(each.eml)] == []


@every_parser
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_eml_is_noticed(node: Node, damage: str, parser: str) -> None:
    before = full_mail()
    assert list(differences(before, parser, damaged_readings(node)[None][parser])) == []

    assert list(differences(before, parser, damaged_readings(node)[damage][parser])) != []


@cache
def damaged_readings(node: Node) -> dict[str | None, dict[str, Reading]]:
    eml = full_mail().eml
    return dict(zip([None, *DAMAGE], read(node, [eml, *(spoilt(eml, *each) for each in DAMAGE.values())]), strict=True))


def spoilt(eml: bytes, pattern: bytes, replacement: bytes) -> bytes:
    """Return an EML with one thing changed; no damage that does none."""
    changed, count = re.subn(pattern, replacement, eml, count=1)
    assert count == 1
    assert changed != eml
    return changed


@pytest.mark.parametrize("flaw", FLAWS)
def test_the_lint_notices(flaw: str) -> None:
    eml = full_mail().eml
    assert faults(eml) == []

    assert any(flaw in fault for fault in faults(spoilt(eml, *FLAWS[flaw])))
