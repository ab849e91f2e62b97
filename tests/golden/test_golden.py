"""Every shape of item has its e-mail and its Graph message, byte for byte, beside it.

``GOLDEN_WRITE=1 pytest tests/golden`` writes them anew, but only where the converter's version says that its bytes have
changed on purpose; the diff is the review. An attachment whose bytes are in no file here is one that TeleMessage no
longer keeps, unless no message could hold it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from o2_connector.core.conversion import Converted, convert_batch
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.eml import eml_chunks
from o2_connector.core.facts import CONVERTER_VERSION
from o2_connector.core.graph_message import graph_message
from o2_connector.core.items import parse_item
from o2_connector.core.outcomes import Cause
from o2_connector.core.parts import Part

HERE = Path(__file__).parent
SHAPES = sorted(path.stem for path in HERE.glob("*.json") if not path.name.endswith(".graph.json"))
BYTES = {
    hashlib.sha256(content).hexdigest(): content
    for content in (
        path.read_bytes() for path in sorted(HERE.iterdir()) if path.suffix in {".png", ".smil", ".txt", ".amr"}
    )
}
VERSION = f"X-O2-Converter: {CONVERTER_VERSION}".encode()


def convert(shape: str) -> Converted:
    line = (HERE / f"{shape}.json").read_bytes()
    profile = Profile(region="GB")
    missing = {
        each.file: Cause.ATTACHMENT_GONE
        for each in parse_item(line).attachments
        if each.sha256 not in BYTES and each.byte_count < profile.message_bytes
    }
    (converted,) = convert_batch([line], batch_id="b1", profile=profile, missing=missing)
    assert isinstance(converted, Converted)
    return converted


def open_part(part: Part) -> Iterator[bytes]:
    content = BYTES[part.sha256]
    yield from (content[at : at + 100] for at in range(0, len(content), 100))


def agree(path: Path, content: bytes) -> None:
    if os.environ.get("GOLDEN_WRITE"):
        changed = path.exists() and path.read_bytes() != content
        if changed and VERSION in path.read_bytes():
            pytest.fail(f"{path.name} changes, and the converter's version does not: raise CONVERTER_VERSION")
        path.write_bytes(content)
    assert path.read_bytes() == content


@pytest.mark.parametrize("shape", SHAPES)
def test_an_item_becomes_the_same_bytes_on_any_machine_and_day(shape: str) -> None:
    rendering = convert(shape).rendering

    agree(HERE / f"{shape}.eml", b"".join(eml_chunks(rendering, open_part)))


@pytest.mark.parametrize("shape", SHAPES)
def test_an_item_becomes_the_same_graph_message(shape: str) -> None:
    message = graph_message(convert(shape).rendering)

    agree(HERE / f"{shape}.graph.json", (json.dumps(message, ensure_ascii=False, indent=2) + "\n").encode())


def test_no_golden_file_is_left_without_its_item() -> None:
    outputs = {path.name.removesuffix(".eml").removesuffix(".graph.json") for path in HERE.glob("*.eml")}
    outputs |= {path.name.removesuffix(".graph.json") for path in HERE.glob("*.graph.json")}

    assert outputs == set(SHAPES)


def test_another_process_in_another_zone_and_locale_makes_the_same_bytes() -> None:
    script = "import sys; sys.path[:0] = sys.argv[1:]; from tests.golden.test_golden import digest; print(digest())"
    command = [sys.executable, "-c", script, str(HERE.parents[1]), str(HERE.parents[1] / "plugins")]
    elsewhere = {"TZ": "Pacific/Apia", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7", "PYTHONUTF8": "0"}

    told = subprocess.run(command, env={**os.environ, **elsewhere}, capture_output=True, text=True, check=True)

    assert told.stdout.strip() == digest()


def digest() -> str:
    """Return one digest of all shapes' e-mails and Graph messages."""
    renderings = [convert(shape).rendering for shape in SHAPES]
    emls = b"".join(b"".join(eml_chunks(each, open_part)) for each in renderings)
    messages = json.dumps([graph_message(each) for each in renderings]).encode()
    return hashlib.sha256(emls + messages).hexdigest()
