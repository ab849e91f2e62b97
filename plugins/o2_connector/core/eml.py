"""EML: an item as an RFC 5322 message. The same item gives the same bytes on any machine, day and Python.

The standard library's generator is not used for the headers: how it folds and encodes differs from one Python to the
next, and these bytes are evidence with a digest. Bodies and attachments are base64, so the message is 7-bit clean and
every octet of the capture comes back as it was.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from email.utils import format_datetime
from typing import TypeAlias
from urllib.parse import quote

from o2_connector.core.rendering import Address, Part, Rendering

OpenPart: TypeAlias = Callable[[Part], Iterable[bytes]]

_LINE_OCTETS = 57  # 57 octets are 76 characters of base64, the longest line RFC 2045 (6.8) allows
_WORD_OCTETS = 33  # so that an encoded word, =?utf-8?b?…?=, beside a header's name stays within RFC 2047's 76 (2)
_TOKEN_CHARACTERS = 400  # that stand unbroken on a line; RFC 5322 (2.1.1) forbids lines of more than 998
_QUOTED_CHARACTERS = 66  # of a display name, on one line


def eml_chunks(rendering: Rendering, open_part: OpenPart) -> Iterator[bytes]:
    """Yield an EML piece by piece, attachments streamed.

    :param open_part: gives an attachment's bytes in pieces of any size.
    """
    yield _head(rendering)
    body = _base64_lines(rendering.text.encode())
    if not rendering.parts:
        yield b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body
        return
    # "_" and "=_" occur in no base64, so the boundary cannot stand in a part.
    boundary = f"=_o2_{rendering.key}".encode()
    yield b'Content-Type: multipart/mixed;\r\n boundary="' + boundary + b'"\r\n\r\n--' + boundary + b"\r\n"
    yield b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body
    for part in rendering.parts:
        yield b"--" + boundary + b"\r\n" + _part_head(part)
        yield from _base64_stream(open_part(part))
    yield b"--" + boundary + b"--\r\n"


def encoded_word_text(text: str) -> list[str]:
    """Return an unstructured header's text as it goes on the wire, to be joined by spaces.

    The words of an ASCII text, where single spaces part them and unfolding gives them back; else RFC 2047's.
    """
    words = text.split(" ")
    if text.isascii() and "=?" not in text and all(0 < len(word) <= _TOKEN_CHARACTERS for word in words):
        return words
    return _encoded_words(text)


def _head(rendering: Rendering) -> bytes:
    lines = [
        _header("Date", [format_datetime(rendering.sent_at)]),
        _header("From", _mailbox(rendering.sender)),
        _header("To", _mailboxes(rendering.recipients)),
        _header("Subject", encoded_word_text(rendering.subject)),
        _header("Message-ID", [rendering.message_id]),
        _header("References", [rendering.reference]),
        *(_header(name, encoded_word_text(value)) for name, value in rendering.headers),
        "MIME-Version: 1.0\r\n",
    ]
    return "".join(lines).encode("ascii")


def _header(name: str, pieces: list[str]) -> str:
    """Fold between pieces wherever the line would pass RFC 5322's 78 characters."""
    lines, line = [], f"{name}:"
    for piece in pieces:
        if len(line) + 1 + len(piece) > 78 and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {piece}"
    return "\r\n".join([*lines, line]) + "\r\n"


def _mailboxes(addresses: tuple[Address, ...]) -> list[str]:
    pieces: list[str] = []
    for address in addresses:
        if pieces:
            pieces[-1] += ","
        pieces.extend(_mailbox(address))
    return pieces


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


def _part_head(part: Part) -> bytes:
    # A short plain name stands as it is, for old readers; RFC 2231 for any other, for readers differ over backslashes.
    if part.name.isascii() and part.name.isprintable() and len(part.name) <= 60 and not set(part.name) & set('"\\'):
        name = f'filename="{part.name}"'
    else:
        name = _rfc2231("filename", part.name)
    return (
        f"Content-Type: {part.content_type}\r\n"
        f"Content-Disposition: attachment;\r\n {name}\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n"
    ).encode("ascii")


def _rfc2231(parameter: str, value: str) -> str:
    encoded = quote(value, safe="")
    pieces, rest = [], encoded
    while rest:
        cut = 50
        while cut < len(rest) and "%" in rest[cut - 2 : cut]:  # never inside a %XX
            cut -= 1
        pieces.append(rest[:cut])
        rest = rest[cut:]
    return ";\r\n ".join(
        f"{parameter}*{number}*={'utf-8' + chr(39) * 2 if not number else ''}{piece}"
        for number, piece in enumerate(pieces)
    )


def _base64_stream(chunks: Iterable[bytes]) -> Iterator[bytes]:
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
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")
