"""Lint: what is wrong with an EML's own bytes by RFC 5322, 2045, 2046, 2047 and 2231.

Narrower than they are: every body is base64, every encoded word is UTF-8 in base64, every date is in UTC, and nothing
stands before the first part and after the last.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote_to_bytes

_TOKEN = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]+"
_QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'
_WORD = r"=\?utf-8\?b\?(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\?="
_ATOMS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_MAILBOX = rf"(?:{_QUOTED}|{_WORD}(?: {_WORD})*) <(?=[^@]{{1,64}}@)(?![^>]{{255,}}>){_ATOMS}@{_ATOMS}>"
# RFC 5322: 3.3 (Date), 3.4 (addresses), 3.6.4 (identifiers).
_GRAMMAR = {
    "Date": r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000",
    "From": _MAILBOX,
    "To": f"{_MAILBOX}(, {_MAILBOX})*",
    "Cc": f"{_MAILBOX}(, {_MAILBOX})*",
    "Message-ID": f"<{_ATOMS}@{_ATOMS}>",
    "In-Reply-To": f"<{_ATOMS}@{_ATOMS}>",
    "References": f"<{_ATOMS}@{_ATOMS}>( <{_ATOMS}@{_ATOMS}>)*",
    "MIME-Version": r"1\.0",
    "Content-ID": f"<{_ATOMS}@{_ATOMS}>",
    "Content-Type": rf"{_TOKEN}/{_TOKEN}(; {_TOKEN}=({_TOKEN}|{_QUOTED}))*",
    "Content-Disposition": rf"(inline|attachment)(; {_TOKEN}=({_TOKEN}|{_QUOTED}))*",
    "Content-Transfer-Encoding": "base64",
}
_REQUIRED = {"Date", "From", "To", "Subject", "Message-ID", "References", "MIME-Version"}
_OF_PARTS = {"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID"}
_EXTENDED = re.compile(rf"; ({_TOKEN})\*(\d+)\*=((?:%[0-9A-F]{{2}}|[!#$&+.^_`{{|}}~0-9A-Za-z'-])*)(?=;|$)")


def faults(eml: bytes) -> list[str]:
    """Return what is wrong, a sentence each."""
    return [*_of_octets(eml), *_of_entity(eml, "message", ())]


def _of_octets(eml: bytes) -> Iterator[str]:
    if strange := re.search(rb"[^ -~\r\n]", eml):
        yield f"octet {strange[0].hex()} is no printable US-ASCII"
    if not eml.count(b"\r\n") == eml.count(b"\r") == eml.count(b"\n"):
        yield "a line does not end in CR LF"
    if not eml.endswith(b"\r\n"):
        yield "the last line has no end"
    if max(map(len, eml.split(b"\r\n"))) > 998:
        yield "a line has more than 998 characters (RFC 5322, 2.1.1)"


def _of_entity(content: bytes, place: str, around: tuple[str, ...]) -> Iterator[str]:
    """Look at a message or a part, with the line end that belongs to the delimiter after it.

    :param around: the boundaries of the multiparts that it lies in.
    """
    head, empty_line, body = content.partition(b"\r\n\r\n")
    if not empty_line:
        yield f"{place}: no empty line ends the header"
        return
    lines = head.decode("latin-1").split("\r\n")
    fields = re.findall(r"^([!-9;-~]+): (.*(?:\n[ \t].*)*)$", "\n".join(lines), re.MULTILINE)
    if sum(value.count("\n") + 1 for _, value in fields) != len(lines):
        yield f"{place}: a header line is neither a field's nor its continuation"
    yield from (f"{place}: {fault}" for line in lines for fault in _of_header_line(line))
    values = {name: value.replace("\n", "") for name, value in fields}
    yield from (f"{place}: {fault}" for fault in _of_fields([name for name, _ in fields], values, bool(around)))
    content_type = values.get("Content-Type", "")
    if boundary := re.search('; boundary="([^"]*)"', content_type):
        yield from _of_multipart(body, f"{place}/{content_type.partition(';')[0]}", boundary[1], around)
    else:
        yield from (f"{place}: {fault}" for fault in _of_leaf(body, values))


def _of_header_line(line: str) -> Iterator[str]:
    if len(line) <= 76 and "=?" not in line and line.strip():
        return
    if not line.strip():
        yield "a line of white space ends the header for some readers"
    # What has no blank after its first word cannot be folded.
    if len(line) > 78 and " " in re.sub(r"^([!-9;-~]+:)? *", "", line).strip():
        yield f"a line of {len(line)} characters could be folded: {line}"
    for quoted in re.findall(_QUOTED, line):
        # RFC 2047 (5) forbids encoded words here, and every reader decodes what looks like one.
        if "=?" in quoted:
            yield f"what looks like an encoded word is quoted: {line}"
    # Nor are there any in addresses, which may hold such signs.
    words = [word for word in re.sub(f"{_QUOTED}|<{_ATOMS}@{_ATOMS}>", "", line).split() if "=?" in word]
    if words and len(line) > 76:
        yield f"a line with encoded words is longer than 76 characters (RFC 2047, 2): {line}"
    yield from (fault for word in words for fault in _of_encoded_word(word))


@lru_cache(1 << 16)
def _of_encoded_word(word: str) -> tuple[str, ...]:
    if not re.fullmatch(_WORD, word) or len(word) > 75:
        return (f"no encoded word (RFC 2047, 2): {word}",)
    try:
        base64.b64decode(word.split("?")[3], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return (f"an encoded word does not hold whole characters (RFC 2047, 5): {word}",)
    return ()


def _of_fields(names: list[str], values: dict[str, str], is_part: bool) -> Iterator[str]:
    if len(names) != len(set(names)):
        yield "a field comes twice"
    if is_part and not set(names) <= _OF_PARTS:
        yield f"a part has fields of a message: {set(names) - _OF_PARTS}"
    if not is_part and (missing := _REQUIRED - set(names)):
        yield f"fields are missing: {missing}"
    for name, value in values.items():
        if name in _GRAMMAR and not re.fullmatch(_GRAMMAR[name], value):
            yield f"{name} is not lawful: {value}"
    for name in ("Content-Type", "Content-Disposition"):
        yield from _of_extended_parameters(values.get(name, ""))


def _of_extended_parameters(value: str) -> Iterator[str]:
    """Look at parameters in sections (RFC 2231, 3 and 4)."""
    sections = _EXTENDED.findall(value)
    if len(sections) != value.count("*="):
        yield f"a parameter's section is not lawful: {value}"
    if not sections:
        return
    if [(name, number) for name, number, _ in sections] != [(sections[0][0], str(at)) for at in range(len(sections))]:
        yield f"a parameter's sections are not in order: {value}"
    charset, _, text = "".join(section for _, _, section in sections).partition("''")
    try:
        unquote_to_bytes(text).decode(charset)
    except (LookupError, UnicodeDecodeError):
        yield f"a parameter does not decode: {value}"


def _of_multipart(body: bytes, place: str, boundary: str, around: tuple[str, ...]) -> Iterator[str]:
    if not re.fullmatch(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", boundary):
        yield f"{place}: the boundary is not lawful (RFC 2046, 5.1.1): {boundary}"
    if any(boundary.startswith(other) or other.startswith(boundary) for other in around):
        yield f"{place}: one boundary begins like another"
    delimiter = re.compile(rb"^--" + re.escape(boundary.encode()) + rb"(--)?\r\n", re.MULTILINE)
    before, *rest = delimiter.split(body)
    closes, parts = rest[::2], rest[1::2]
    if before or not parts or parts[-1] or closes != [None] * (len(closes) - 1) + [b"--"]:
        yield f"{place}: delimiters are not in order, or text stands outside them"
    if body.count(boundary.encode()) != len(closes):
        yield f"{place}: the boundary stands in a part"
    for number, part in enumerate(parts[:-1], start=1):
        yield from _of_entity(part, f"{place}/{number}", (*around, boundary))


def _of_leaf(body: bytes, values: dict[str, str]) -> Iterator[str]:
    content_type = values.get("Content-Type", "")
    if content_type.startswith(("multipart/", "message/")) or "Content-Transfer-Encoding" not in values:
        yield f"{content_type or 'a part'} cannot be, or is not, base64 (RFC 2045, 6.4)"
    if not re.fullmatch(rb"(?:[A-Za-z0-9+/]{76}\r\n)*(?:[A-Za-z0-9+/=]{4,76}\r\n)?", body):
        yield "base64 is not in lines of 76 characters, but for the last (RFC 2045, 6.8)"
    try:
        octets = base64.b64decode(body.replace(b"\r\n", b""), validate=True)
        if "Content-Disposition" not in values and re.search(r"\r(?!\n)|(?<!\r)\n", octets.decode()):
            yield "a text's lines do not end in CR LF (RFC 2045, 6.8)"
    except (binascii.Error, UnicodeDecodeError) as error:
        yield f"a body does not decode: {error}"
