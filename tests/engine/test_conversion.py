"""A batch is converted as the organisation wants it, and what is wrong with it is told by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from o2_connector.core.conversion import IndexRow, Missing
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import attachment_stem, raw_stem
from o2_connector.core.ledger import Packed
from o2_connector.core.manifest import StagedBatch
from o2_connector.core.outcomes import Cause
from o2_connector.core.rebuild import read_eml, rebuild
from o2_connector.engine.conversion import convert
from o2_connector.hooks.staging import StagingHook
from tests.core.records import line
from tests.engine.books import WINDOW

PICTURE = b"a picture" * 20_000
DIGEST = hashlib.sha256(PICTURE).hexdigest()
ATTACHMENT = {
    "attachmentId": "a-1",
    "fileName": "a.png",
    "contentType": "image/png",
    "byteCount": len(PICTURE),
    "sha256": DIGEST,
}


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StagingHook:
    monkeypatch.setenv("AIRFLOW_CONN_O2_STAGING", json.dumps({"conn_type": "fs", "extra": {"path": str(tmp_path)}}))
    return StagingHook()


def staged(staging: StagingHook, *lines: bytes, missing: tuple[Missing, ...] = ()) -> StagedBatch:
    stem = raw_stem(WINDOW, "b1")
    with staging.writer(stem, ".jsonl") as raw:
        raw.write(b"".join(lines))
    with staging.writer(attachment_stem(DIGEST)) as file:
        file.write(PICTURE)
    absent = staging.write_lines(f"{stem}missing.", missing) if missing else None
    return StagedBatch(batch_id="b1", items=len(lines), promised=len(lines), raw=raw.staged, missing=absent)


def test_the_index_says_where_each_e_mail_and_message_lies(staging: StagingHook) -> None:
    lines = [line(itemId="o2-1"), b"{}\n", line(itemId="o2-2", itemType="MMS", attachments=[ATTACHMENT])]

    made = convert(staging, WINDOW, staged(staging, *lines), Profile(region="GB"))

    with staging.reader(made.emls) as octets:
        emls = octets.read()
    with staging.reader(made.messages) as octets:
        messages = octets.read()
    rows = list(staging.read_lines(made.index, IndexRow))
    assert (made.converted, made.rejected) == (2, 1)
    assert [row.item_id for row in rows] == ["o2-1", "o2-2"]
    assert [row.attached for row in rows] == [0, len(PICTURE)]
    for row in rows:
        eml = emls[row.eml[0] : sum(row.eml)]
        packed = msgspec.json.decode(messages[row.message[0] : sum(row.message)], type=Packed)
        assert hashlib.sha256(eml).hexdigest() == row.eml_sha256
        assert rebuild(read_eml(eml)).digest == row.record
        assert row.key.encode() in bytes(packed.message)
    assert (len(emls), len(messages)) == (sum(rows[-1].eml), sum(rows[-1].message))


def test_the_organisations_class_and_limit_are_in_the_messages(staging: StagingHook) -> None:
    large = {**ATTACHMENT, "byteCount": 2 * 1024 * 1024}
    profile = Profile(region="GB", message_class="IPM.Note.Archive", message_megabytes=1)

    made = convert(staging, WINDOW, staged(staging, line(attachments=[large])), profile)

    (row,) = staging.read_lines(made.index, IndexRow)
    with staging.reader(made.messages) as octets:
        assert b'"IPM.Note.Archive.SMS"' in octets.read()
    assert row.causes == (Cause.ATTACHMENT_TOO_LARGE,)


def test_an_attachment_that_was_altered_in_staging_is_told_with_its_batch_and_item(
    staging: StagingHook, tmp_path: Path
) -> None:
    batch = staged(staging, line(itemId="o2-7", attachments=[ATTACHMENT]))
    path = tmp_path / f"{attachment_stem(DIGEST)}{DIGEST}"
    path.chmod(0o600)
    path.write_bytes(PICTURE.replace(b"a", b"b", 1))

    with pytest.raises(IntegrityError, match=r"batch b1, item o2-7: .*attachments/"):
        convert(staging, WINDOW, batch, Profile(region="GB"))


def test_an_attachment_that_could_not_be_staged_is_left_out(staging: StagingHook) -> None:
    missing = Missing(file=("a-1", DIGEST, len(PICTURE)), cause=Cause.ATTACHMENT_GONE)
    batch = staged(staging, line(attachments=[ATTACHMENT]), missing=(missing,))

    made = convert(staging, WINDOW, batch, Profile(region="GB"))

    (row,) = staging.read_lines(made.index, IndexRow)
    assert (row.causes, row.attached) == ((Cause.ATTACHMENT_GONE,), 0)
