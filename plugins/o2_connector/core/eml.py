"""EML: an item as an RFC 5322 message. The same item gives the same bytes on any machine, day and Python.

The standard library's generator is not used: how it folds and encodes differs from one Python to the next, these bytes
are evidence with a digest, and it takes fifty times as long (``make bench-convert``). Bodies and attachments are
base64, so the message is 7-bit clean and every octet of the capture comes back as it was.

    multipart/mixed              where there are attachments that do not belong to the body
      multipart/related          where others belong to it: pictures, and what is kept out of sight
        multipart/alternative
          text/plain             alone where the above is not wanted
          text/html
        image/… (inline)
      audio/… (attachment)
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import quote

from o2_connector.core.conversation import as_text
from o2_connector.core.facts import MONTHS
from o2_connector.core.parties import Address
from o2_connector.core.parts import Part
from o2_connector.core.rendering import Rendering

OpenPart: TypeAlias = Callable[[Part], Iterable[bytes]]

_LINE = 78  # characters (RFC 5322, 2.1.1)
_LINE_OF_WORDS = 76  # the same of a line with encoded words (RFC 2047, 2)
_LINE_OCTETS = 57  # of which base64 makes
_LINE_CHARACTERS = 76  # the longest line RFC 2045 (6.8) allows
_BLOCK = struct.Struct(f"{_LINE_CHARACTERS}s" * 64)
_WORD_OCTETS = 33  # so that an encoded word, =?utf-8?b?…?=, beside a header's name stays within RFC 2047's 76 (2)
_TOKEN_CHARACTERS = 400  # that stand unbroken on a line; RFC 5322 (2.1.1) forbids lines of more than 998
_QUOTED_CHARACTERS = 66  # of a display name, on one line
_CACHED = 1 << 12  # headers too long for one line: mostly people, who come again and again
_REMEMBERED = 300  # characters of such a header, so that memory has an end
_PLAIN_NAME = re.compile(r"[ !#-\[\]-~]{1,60}")
_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_TEXT = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
_HTML = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"


def eml_chunks(rendering: Rendering, open_part: OpenPart) -> Iterator[bytes]:
    """Yield an EML piece by piece, attachments streamed.

    :param open_part: gives an attachment's bytes in pieces of any size.
    """
    head = _head(rendering)
    if not rendering.parts:
        yield head + _TEXT + _text_lines(rendering.text)
        return
    yield head
    attached = [part for part in rendering.parts if part.content_id is None]
    if attached:
        yield from _multipart(
            b"mixed", b"m", rendering.key, [_body(rendering, open_part), *_parts(attached, open_part)]
        )
    else:
        yield from _body(rendering, open_part)


def on_wire(text: str) -> str:
    """Return an unstructured header's text as it goes on the wire, before it is folded at its spaces."""
    return text if _is_plain(text) else " ".join(_wire_words(text))


def header_block(lines: Sequence[str]) -> str:
    """Return unstructured header fields, each ended by CR LF, folded and encoded where they have to be."""
    block = "\r\n".join(lines) + "\r\n"
    # The short way, for most: texts that are their own words; only those too long for a line are folded.
    if not _is_plain(block) or " \r\n" in block:
        return "".join([_header(*line.split(": ", 1)) for line in lines])
    if max(map(len, lines)) <= _LINE:
        return block
    folded = [line if len(line) <= _LINE else _folded_header(*line.split(": ", 1))[:-2] for line in lines]
    return "\r\n".join(folded) + "\r\n"


def _head(rendering: Rendering) -> bytes:
    block = "".join(
        [
            f"Date: {_date(rendering.sent_at)}\r\n",
            address_header("From", (rendering.sender,)),
            address_header("To", rendering.to),
            address_header("Cc", rendering.cc) if rendering.cc else "",
            _header("Subject", rendering.subject),
            f"Message-ID: {rendering.message_id}\r\n",
            _references(rendering),
            _header("Thread-Topic", rendering.subject),
            f"Thread-Index: {as_text(rendering.conversation_index)}\r\n",
            header_block(rendering.facts + rendering.interop),
            "MIME-Version: 1.0\r\n",
        ]
    )
    return block.encode("ascii")


def _references(rendering: Rendering) -> str:
    if rendering.in_reply_to is None:
        return f"References: {rendering.reference}\r\n"
    related = rendering.in_reply_to
    return f"In-Reply-To: {related}\r\nReferences: {rendering.reference}\r\n {related}\r\n"


def _date(moment: datetime) -> str:
    """Return a moment in UTC as RFC 5322 (3.3) has it."""
    clock = moment.isoformat()[11:19]
    return f"{_DAYS[moment.weekday()]}, {moment.day:02d} {MONTHS[moment.month - 1]} {moment.year:04d} {clock} +0000"


def _is_plain(text: str) -> bool:
    """Tell whether a text is its own words on the wire: ASCII that single spaces part."""
    return text.isascii() and "=?" not in text and "  " not in text and text[:1] != " " and text[-1:] != " "


def _header(name: str, text: str) -> str:
    """Return one unstructured header field."""
    if text and len(name) + 2 + len(text) <= _LINE and _is_plain(text):
        return f"{name}: {text}\r\n"
    return _folded_header(name, text)


def _folded_header(name: str, text: str) -> str:
    return _remembered_header(name, text) if len(text) <= _REMEMBERED else _folded(name, _wire_words(text))


@lru_cache(_CACHED)
def _remembered_header(name: str, text: str) -> str:
    return _folded(name, _wire_words(text))


def _wire_words(text: str) -> list[str]:
    """Return the words of an ASCII text, where unfolding gives them back; else RFC 2047's."""
    words = text.split(" ")
    if _is_plain(text) and text and max(map(len, words)) <= _TOKEN_CHARACTERS:
        return words
    return _encoded_words(text)


def address_header(name: str, addresses: tuple[Address, ...]) -> str:
    """Return a header field of addresses, ended by CR LF, folded and encoded where it has to be."""
    if len(addresses) == 1 and len(addresses[0].name) <= _REMEMBERED:
        return _remembered_address(name, addresses[0])
    pieces: list[str] = []
    for address in addresses:
        if pieces:
            pieces[-1] += ","
        pieces.extend(_mailbox(address))
    return _folded(name, pieces)


@lru_cache(_CACHED)
def _remembered_address(name: str, address: Address) -> str:
    return _folded(name, _mailbox(address))


def _folded(name: str, pieces: list[str]) -> str:
    """Fold between pieces wherever the line would pass the limit."""
    limit = _LINE_OF_WORDS if any(piece.startswith("=?") for piece in pieces) else _LINE
    lines, line = [], f"{name}:"
    for piece in pieces:
        if len(line) + 1 + len(piece) > limit and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {piece}"
    return "\r\n".join([*lines, line]) + "\r\n"


def _mailbox(address: Address) -> list[str]:
    escaped = address.name.replace("\\", "\\\\").replace('"', '\\"')
    if escaped.isascii() and "=?" not in escaped and len(escaped) <= _QUOTED_CHARACTERS:
        return [f'"{escaped}"', f"<{address.address}>"]
    return [*_encoded_words(address.name), f"<{address.address}>"]


def _encoded_words(text: str) -> list[str]:
    words, chunk = [], b""
    for character in text:
        octets = character.encode()
        if len(chunk) + len(octets) > _WORD_OCTETS:
            words.append(chunk)
            chunk = b""
        chunk += octets
    return [f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in [*words, chunk]]


def _body(rendering: Rendering, open_part: OpenPart) -> Iterator[bytes]:
    """Yield text and HTML, and with them what belongs to the body."""
    inline = [part for part in rendering.parts if part.content_id is not None]
    text = _TEXT + _text_lines(rendering.text)
    if rendering.html is None:
        yield text
        return
    words = _multipart(b"alternative", b"a", rendering.key, [[text], [_HTML + _text_lines(rendering.html)]])
    related = b'related; type="multipart/alternative"'
    yield from _multipart(related, b"r", rendering.key, [words, *_parts(inline, open_part)])


def _multipart(kind: bytes, level: bytes, key: str, entities: Sequence[Iterable[bytes]]) -> Iterator[bytes]:
    # "_" and "=_" occur in no base64, so the boundary cannot stand in a part; nor is one level's another's beginning.
    boundary = b"=_o2_%b_%b" % (level, key.encode())
    yield b'Content-Type: multipart/%b;\r\n boundary="%b"\r\n\r\n' % (kind, boundary)
    for entity in entities:
        yield b"--%b\r\n" % boundary
        yield from entity
    yield b"--%b--\r\n" % boundary


def _parts(parts: Iterable[Part], open_part: OpenPart) -> list[Iterator[bytes]]:
    return [_part(part, open_part) for part in parts]


def _part(part: Part, open_part: OpenPart) -> Iterator[bytes]:
    yield _part_head(part)
    yield from base64_stream(open_part(part))


def _part_head(part: Part) -> bytes:
    # A short plain name stands as it is, for old readers; RFC 2231 for any other: readers differ over backslashes, and
    # all of them decode what looks like an encoded word.
    if _PLAIN_NAME.fullmatch(part.name) and "=?" not in part.name:
        name = f'filename="{part.name}"'
    else:
        name = _rfc2231("filename", part.name)
    place = f"Content-ID: <{part.content_id}>\r\n" if part.content_id else ""
    return (
        f"Content-Type: {part.content_type}\r\n"
        f"Content-Disposition: {'inline' if part.content_id else 'attachment'};\r\n {name}\r\n"
        f"{place}Content-Transfer-Encoding: base64\r\n\r\n"
    ).encode("ascii")


def _rfc2231(parameter: str, value: str) -> str:
    encoded = quote(value, safe="")
    pieces, at = [], 0
    while at < len(encoded):
        cut = at + 50
        while cut < len(encoded) and "%" in encoded[cut - 2 : cut]:  # never inside a %XX
            cut -= 1
        pieces.append(encoded[at:cut])
        at = cut
    return ";\r\n ".join(
        f"{parameter}*{number}*={'utf-8' + chr(39) * 2 if not number else ''}{piece}"
        for number, piece in enumerate(pieces)
    )


def _text_lines(text: str) -> bytes:
    # RFC 2045 (6.8): line ends become CR LF before text is encoded.
    return _base64_lines(text.replace("\n", "\r\n").encode())


def base64_stream(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield bytes as lines of base64 (RFC 2045, 6.8), each ended by CR LF."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        whole = len(rest) - len(rest) % _LINE_OCTETS
        if whole:
            yield _base64_lines(rest[:whole])
            rest = rest[whole:]
    if rest:
        yield _base64_lines(rest)


def _base64_lines(octets: bytes) -> bytes:
    encoded = base64.b64encode(octets)
    whole = len(encoded) - len(encoded) % _BLOCK.size
    lines = [line for block in _BLOCK.iter_unpack(encoded[:whole]) for line in block]  # twice as fast as slices
    lines += [encoded[at : at + _LINE_CHARACTERS] for at in range(whole, len(encoded), _LINE_CHARACTERS)]
    return b"\r\n".join([*lines, b""])
