"""Make the blocks of docs/mapping-files.md anew: every file as it is, and what the linter reads and finds in it.

``PYTHONPATH=plugins .venv/bin/python docs/mapping-files/make.py`` puts them between the page's marks, each of which
names the files that are read together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill
from zoneinfo import ZoneInfo

from o2_connector.core.mapping_files import MappingRow, read_mapping_files
from o2_connector.core.phone_book import bind

HERE = Path(__file__).parent
PAGE = HERE.parent / "mapping-files.md"
REGION, ZONE = "GB", ZoneInfo("Europe/London")

MARK = re.compile(r"(<!-- ([a-z0-9 .-]+\.csv) -->\n).*?(<!-- end -->)", re.DOTALL)
HIDDEN = re.compile(r"[\u00a0\u00ad\u200b-\u200f\u202a-\u202f\u2060-\u2069\u212a\ufeff]")
ENDS = {"\r\n": "CRLF", "\n": "LF", "\r": "CR"}


def main() -> None:
    """Write the page's blocks."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARK.sub(lambda found: found[1] + block(found[2].split()) + found[3], page), encoding="utf-8")


def block(names: list[str]) -> str:
    """Return the files, the rows that were read and the findings, to be shown in the page."""
    files = [(name, (HERE / name).read_bytes()) for name in names]
    rows, found = read_mapping_files(files, REGION, ZONE)
    _, findings = bind(rows, found)
    shown = [f"`{name}` ({kind(content)})\n\n```text\n{''.join(lines(content))}```\n" for name, content in files]
    if rows:
        shown.append("Read:\n\n```text\n" + "".join(map(told, rows)) + "```\n")
    told_findings = "".join(f"{fill(str(each), 118, subsequent_indent='    ')}\n" for each in findings)
    shown.append(f"Found:\n\n```text\n{told_findings or 'nothing'}\n```\n".replace("\n\n```\n", "\n```\n"))
    return "\n" + "\n".join(shown) + "\n"


def kind(content: bytes) -> str:
    """Say how the bytes are to be read."""
    encoding = "UTF-8"
    if content.startswith(b"\xff\xfe"):
        encoding = "UTF-16 with mark"
    elif is_binary(content):
        encoding = "binary"
    elif content.startswith(b"\xef\xbb\xbf"):
        encoding = "UTF-8 with mark"
    elif not is_utf8(content):
        encoding = "Windows-1252"
    ends = next((f", {name}" for end, name in ENDS.items() if end in text_of(content)), "")
    return f"{encoding}{'' if encoding == 'binary' else ends}, {len(content)} bytes"


def lines(content: bytes) -> Iterator[str]:
    """Yield the lines of a file, numbered, with what cannot be seen made visible; the first bytes of a binary one."""
    if is_binary(content):
        yield f"{content[:24].hex(' ')} …\n"
        return
    for number, line in enumerate(re.split("\r\n|\n|\r", text_of(content).removesuffix("\n").removesuffix("\r")), 1):
        visible = HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", line).replace("\t", "⇥")
        yield f"{number:>2}  {visible}".rstrip() + "\n"


def told(row: MappingRow) -> str:
    """Return a row as it was read."""
    begin = f"  from {moment(row.valid_from)}" if row.valid_from is not None else ""
    end = f"  to {moment(row.valid_to)}" if row.valid_to is not None else ""
    return f"{row.file}:{row.line}  {row.number}  {row.mailbox}{begin}{end}\n"


def moment(milliseconds: int) -> str:
    """Return an instant in UTC."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M}Z"


def is_binary(content: bytes) -> bool:
    """Tell whether there is no text to show."""
    return b"\0" in content and not content.startswith(b"\xff\xfe")


def is_utf8(content: bytes) -> bool:
    """Tell whether the bytes are UTF-8."""
    return "\\x" not in text_of(content)


def text_of(content: bytes) -> str:
    """Return the text, bytes that are not UTF-8 as escapes."""
    if content.startswith(b"\xff\xfe"):
        return content.decode("utf-16")
    return content.decode("utf-8-sig", errors="backslashreplace")


if __name__ == "__main__":
    main()
