"""Pictures and recordings made from a key alone: the same bytes on any machine and Python, and nobody's photograph.

Nothing here goes through zlib, whose output differs between builds; PNG data is stored, JPEG data coded by hand.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

CELLS = 8
AMR_FRAME_BYTES = 13
AMR_FRAMES_PER_SECOND = 50
WAV_RATE = 8000
PIECE = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """Hold bytes that need not be in memory: a head, and then a pattern over and over, `repeated` bytes of it."""

    head: bytes
    pattern: bytes = b""
    repeated: int = 0

    @property
    def size(self) -> int:
        """Return how many bytes there are."""
        return len(self.head) + self.repeated

    def part(self, start: int, stop: int) -> bytes:
        """Make the bytes from `start` up to `stop`, and no others."""
        begin, end = (max(0, at - len(self.head)) for at in (start, min(stop, self.size)))
        if begin >= end:
            return self.head[start:stop]
        phase = begin % len(self.pattern)
        turned = self.pattern[phase:] + self.pattern[:phase]
        return self.head[start:stop] + (turned * ((end - begin) // len(turned) + 1))[: end - begin]

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Make the same bytes a mebibyte at a time."""
        for begin in range(start, stop, PIECE):
            yield self.part(begin, min(begin + PIECE, stop))


@dataclass(frozen=True, kw_only=True, slots=True)
class Media:
    """Describe bytes that can be made again at any time: `size` is pixels a side, seconds, or nothing for a text."""

    kind: str
    key: str
    size: int = 0

    @property
    def content_type(self) -> str:
        """Return the media type to announce."""
        return _MAKERS[self.kind][0]

    @property
    def suffix(self) -> str:
        """Return the file name's ending, with its dot."""
        return _MAKERS[self.kind][1]

    def made(self) -> Content:
        """Make what the bytes come from."""
        return _MAKERS[self.kind][2](self.key, self.size)

    def content(self) -> bytes:
        """Make the bytes, all at once."""
        made = self.made()
        return made.part(0, made.size)


@lru_cache(maxsize=4096)
def size_and_digest(media: Media) -> tuple[int, str]:
    """Return the length of the media's bytes and their SHA-256 in hexadecimal."""
    made = media.made()
    digest = hashlib.sha256()
    for piece in made.pieces(0, made.size):
        digest.update(piece)
    return made.size, digest.hexdigest()


def _colours(key: str) -> bytes:
    """Return 3 colour bytes and then 1 byte for each cell of a picture's mirrored left half."""
    return hashlib.shake_128(key.encode()).digest(3 + CELLS * CELLS // 2)


def _cells(key: str) -> Iterator[list[int]]:
    """Yield the picture's rows of cells, each a brightness; left and right mirror each other, as an identicon does."""
    half = CELLS // 2
    drawn = _colours(key)[3:]
    for row in range(CELLS):
        left = list(drawn[row * half : (row + 1) * half])
        yield left + left[::-1]


def _png(key: str, side: int) -> Content:
    """Make a PNG with a palette of 16 shades (https://www.w3.org/TR/png-3/), `side` pixels square, a byte for each."""
    cell = side // CELLS
    rows = bytearray()
    for cells in _cells(key):
        rows += (b"\0" + b"".join(bytes([value >> 4]) * cell for value in cells)) * cell
    colours = _colours(key)[:3]
    palette = bytes(255 - (255 - colour) * shade // 15 for shade in range(16) for colour in colours)
    header = struct.pack(">IIBBBBB", cell * CELLS, cell * CELLS, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", _stored(rows)), (b"IEND", b""))
    return Content(
        head=b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )


def _stored(data: bytearray) -> bytes:
    """Wrap data as a zlib stream of stored blocks (RFC 1950, RFC 1951 section 3.2.4)."""
    stream = bytearray(b"\x78\x01")
    for start in range(0, len(data), 0xFFFF):
        block = data[start : start + 0xFFFF]
        last = start + len(block) == len(data)
        stream += struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
    return bytes(stream) + struct.pack(">I", zlib.adler32(data))


# The luminance DC table of ITU-T T.81 Annex K.3.1, and an AC table that knows nothing but "end of block".
_DC_COUNTS = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
_QUANTISER = 8
_END_OF_BLOCK = "0"


def _jpeg(key: str, side: int) -> Content:
    """Make a baseline JPEG (ITU-T T.81) of flat 8 by 8 blocks in grey, `side` pixels square."""
    scale = max(1, side // 8 // CELLS)
    codes = _dc_codes()
    text = ""
    before = 0
    for cells in _cells(key):
        levels = [value - 128 for value in cells]
        first, later = (
            "".join(
                _coded(level - previous, codes) + _coded(0, codes) * (scale - 1)
                for previous, level in zip([start, *levels], levels, strict=False)
            )
            for start in (before, levels[-1])
        )
        text += first + later * (scale - 1)
        before = levels[-1]
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    pixels = scale * CELLS * 8
    segments = (
        (0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
        (0xDB, b"\0" + bytes([_QUANTISER]) * 64),
        (0xC0, struct.pack(">BHHBBBB", 8, pixels, pixels, 1, 1, 0x11, 0)),
        (0xC4, b"\x00" + bytes(_DC_COUNTS) + bytes(range(12))),
        (0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"),
        (0xDA, b"\x01\x01\0\0\x3f\0"),
    )
    head = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return Content(head=b"\xff\xd8" + head + scan + b"\xff\xd9")


@lru_cache(maxsize=1)
def _dc_codes() -> list[str]:
    """Return the Huffman code of each category of DC difference, as Annex C of T.81 derives it from the counts."""
    codes = []
    code = 0
    for length, count in enumerate(_DC_COUNTS, start=1):
        for _ in range(count):
            codes.append(format(code, f"0{length}b"))
            code += 1
        code <<= 1
    return codes


def _coded(difference: int, codes: list[str]) -> str:
    """Code one flat block: its DC difference (with this quantiser, of brightness itself) and its end."""
    category = abs(difference).bit_length()
    if not category:
        return codes[0] + _END_OF_BLOCK
    value = difference if difference > 0 else difference + (1 << category) - 1
    return codes[category] + format(value, f"0{category}b") + _END_OF_BLOCK


def _amr(key: str, seconds: int) -> Content:
    """Make an AMR recording (RFC 4867 section 5) in the 4.75 kbit/s mode: 650 bytes a second of rustling."""
    payload = hashlib.shake_128(key.encode()).digest(12 * AMR_FRAMES_PER_SECOND)
    second = b"".join(b"\x04" + payload[at : at + 11] + b"\0" for at in range(0, len(payload), 12))
    return Content(head=b"#!AMR\n", pattern=second, repeated=len(second) * seconds)


def _wav(key: str, seconds: int) -> Content:
    """Make a WAV recording: 16 bit, mono, 8 kHz, one dull tone."""
    length = 20 + _colours(key)[0] % 40
    wave = struct.pack(f"<{length}h", *(int(9000 * math.sin(math.tau * at / length)) for at in range(length)))
    size = 2 * WAV_RATE * seconds
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, WAV_RATE, WAV_RATE * 2, 2, 16)
    head = b"WAVE" + form + struct.pack("<4sI", b"data", size)
    return Content(head=struct.pack("<4sI", b"RIFF", len(head) + size) + head, pattern=wave, repeated=size)


def _smil(key: str, _: int) -> Content:
    """Make the slide show that a phone wraps around an MMS (OMA MMS Conformance section 8): `key` is the picture."""
    slides = (
        '<smil><head><layout><root-layout/><region id="Image"/><region id="Text"/></layout></head><body>'
        f'<par dur="5000ms"><img src="{key}" region="Image"/><text src="text.txt" region="Text"/></par></body></smil>'
    )
    return Content(head=slides.encode())


def _text(key: str, _: int) -> Content:
    return Content(head=key.encode())


_MAKERS: dict[str, tuple[str, str, Callable[[str, int], Content]]] = {
    "png": ("image/png", ".png", _png),
    "jpeg": ("image/jpeg", ".jpg", _jpeg),
    "amr": ("audio/amr", ".amr", _amr),
    "wav": ("audio/wav", ".wav", _wav),
    "smil": ("application/smil", ".smil", _smil),
    "text": ("text/plain; charset=utf-8", ".txt", _text),
}
