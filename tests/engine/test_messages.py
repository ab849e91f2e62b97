"""Messages are lent as they were packed, with their attachments as they were staged."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from o2_connector.core.layout import attachment_stem
from o2_connector.core.ledger import Delivery, Packed, PackedPart
from o2_connector.core.manifest import StagedObject
from o2_connector.core.outcomes import Rule
from o2_connector.engine.messages import Messages
from o2_connector.hooks.staging import StagingHook

KEY = "0a1b2c"
MESSAGE = msgspec.Raw(msgspec.json.encode({"subject": "MMS", "key": KEY}))


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StagingHook:
    connection = {"conn_type": "fs", "extra": {"path": str(tmp_path / "staging")}}
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", msgspec.json.encode(connection).decode())
    return StagingHook()


def pack(staging: StagingHook, files: Sequence[tuple[bytes, str | None]]) -> tuple[StagedObject, Delivery]:
    """Stage a pack of one message with so many files, each with the name by which the body knows it."""
    parts = []
    for number, (content, content_id) in enumerate(files):
        digest = hashlib.sha256(content).hexdigest()
        with staging.writer(attachment_stem(digest)) as out:
            out.write(content)
        parts.append(
            PackedPart(
                name=f"{number}.jpg",
                content_type="image/jpeg",
                size=len(content),
                sha256=digest,
                content_id=content_id,
            )
        )
    with staging.writer("packs/", ".jsonl") as out:
        out.write(msgspec.json.encode(Packed(message=MESSAGE, parts=tuple(parts))))
    return out.staged, Delivery(
        item=0, item_id="i", key=KEY, mailbox="m", sent=0, pack=0, offset=0, length=out.staged.size, rule=Rule.MAPPING
    )


def test_what_belongs_to_the_body_is_inline_and_what_does_not_is_not(staging: StagingHook) -> None:
    packed, row = pack(staging, [(b"picture", "0@example.com"), (b"recording", None)])

    with Messages(staging, [packed]) as messages:
        body = msgspec.json.decode(messages.body_of(row))
        files = messages.attachments(messages.of(row))

    assert [(file["isInline"], file.get("contentId")) for file in body["attachments"]] == [
        (True, "0@example.com"),
        (False, None),
    ]
    assert [file.content_id for file in files] == ["0@example.com", None]


def test_attachments_go_with_the_create_as_they_were_staged_empty_ones_too(staging: StagingHook) -> None:
    contents = [b"\0\xff", b"", b"three"]
    packed, row = pack(staging, [(content, None) for content in contents])

    with Messages(staging, [packed]) as messages:
        body = msgspec.json.decode(messages.body_of(row))

    assert body["subject"] == "MMS"
    assert [base64.b64decode(file["contentBytes"]) for file in body["attachments"]] == contents
    assert body["attachments"][1]["contentBytes"] == ""
