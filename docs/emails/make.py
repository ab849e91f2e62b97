"""Make the pictures and texts of docs/emails.md anew.

``PYTHONPATH=plugins .venv/bin/python docs/emails/make.py`` converts the captured records in ``records.jsonl`` as the
convert task does, writes each e-mail's text, headers and parts into the page, gives the EMLs to Thunderbird as a
folder, and photographs the folder and each message. With ``--text`` it leaves the pictures as they are; they need
Debian's ``thunderbird xvfb imagemagick fonts-noto-color-emoji``.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import MIMEPart
from pathlib import Path

from thunderbird import thunderbird

from o2_connector.core.conversion import Converted, convert_batch
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.eml import eml_chunks
from o2_connector.core.items import parse_item
from o2_connector.core.naming import FOLDER_NAME
from o2_connector.core.outcomes import Cause
from o2_connector.core.parts import Part

HERE = Path(__file__).parent
PAGE = HERE.parent / "emails.md"
RECORDS = HERE / "records.jsonl"
MEDIA = {
    hashlib.sha256(content).hexdigest(): content for content in (p.read_bytes() for p in (HERE / "media").iterdir())
}
PROFILE = Profile(region="GB")

# In the order of the records.
NAMES = (
    "sms",
    "reply",
    "edit",
    "deletion",
    "group-picture",
    "group-reply",
    "call-recorded",
    "call-missed",
    "voicemail",
    "stub-too-large",
    "stub-gone",
    "escapes",
    "failed",
)
WIDTH = 860


def main() -> None:
    """Write the page's blocks, and the pictures unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", action="store_true", help="write the texts and headers alone")
    arguments = parser.parse_args()
    converted = dict(zip(NAMES, examples(), strict=True))
    emls = {name: b"".join(eml_chunks(each.rendering, open_part)) for name, each in converted.items()}
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_blocks(page, {name: block(eml) for name, eml in emls.items()}), encoding="utf-8")
    if arguments.text:
        return
    with thunderbird(b"".join(map(mbox_entry, emls.values())), folder=FOLDER_NAME, width=WIDTH) as client:
        client.photograph_list(HERE / "folder.png", width=1310, height=500)
        for name, each in converted.items():
            client.photograph_message(HERE / f"{name}.png", each.rendering.message_id.strip("<>"))


def examples() -> list[Converted]:
    """Convert the records; a file that is not in ``media`` and would fit a message is no longer at the source."""
    lines = RECORDS.read_bytes().splitlines()
    files = [each.file for line in lines for each in parse_item(line).attachments]
    missing = {
        file: Cause.ATTACHMENT_GONE for file in files if file[1] not in MEDIA and file[2] < PROFILE.message_bytes
    }
    batch = convert_batch(lines, batch_id="examples", profile=PROFILE, missing=missing)
    return [each for each in batch if isinstance(each, Converted)]


def open_part(part: Part) -> Iterator[bytes]:
    """Give an attachment's bytes."""
    yield MEDIA[part.sha256]


def mbox_entry(eml: bytes) -> bytes:
    """Return an EML as an mbox holds it; no line of its can begin with "From ", for all its bodies are base64."""
    return b"From - Tue Nov 17 00:00:00 2026\r\n" + eml + b"\r\n"


def block(eml: bytes) -> str:
    """Return the plain text, the headers (unfolded and decoded) and the parts of an EML, to be shown in the page."""
    message = message_from_bytes(eml, policy=policy.default)
    body = message.get_body(("plain",))
    text = body.get_content() if body else ""
    headers = "".join(
        f"{name}: {value}\n" for name, value in message.items() if not name.startswith(("Content", "MIME"))
    )
    blocks = [text.rstrip() + "\n", headers]
    if message.is_multipart():
        blocks.append("".join(outline(message, depth=0)))
    return "\n".join(f"```text\n{each}```\n" for each in blocks)


def outline(part: MIMEPart, depth: int) -> Iterator[str]:
    """Yield a line for a part and for each within it."""
    words = [part.get_content_type()]
    if disposition := part.get_content_disposition():
        words.append(f"{disposition}, “{part.get_filename()}”, {len(part.get_payload(decode=True)):,} bytes")
    yield f"{'  ' * depth}{'  '.join(words)}\n"
    for each in part.iter_parts():
        yield from outline(each, depth + 1)


def with_blocks(page: str, blocks: dict[str, str]) -> str:
    """Return the page with each block between its two marks.

    :raises ValueError: naming the block that has no place in it, or several.
    """
    for name, content in blocks.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end {name} -->")
        if not end or begin in after:
            raise ValueError(f"the page has not one place for {name}")
        page = f"{before}{begin}\n{content}\n{end}{after}"
    return page


if __name__ == "__main__":
    main()
