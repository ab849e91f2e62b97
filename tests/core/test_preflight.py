"""What a preflight says, and what it leaves unsaid."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from o2_connector.core.preflight import Area, Finding, OpenPoint, Preflight, State, discreet
from o2_connector.core.preflight_samples import SIZES, Sample, sample, sample_bytes, sample_keys

KNOWN = {"acme-archive", "Pa$$word (1)", "C0FFEE", "o2"}
FINDING = Finding(check="staging.write", area=Area.STAGING, state=State.ERROR, what="it is full", remedy="empty it")
POINT = OpenPoint(point="folder.case", assumed="409", observed="201", as_assumed=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the login refuses the application: AADSTS7000215; make a new one", None),
        ("grant Mail.ReadWrite, Mail-Advanced.ReadWrite.All and User.Read.All", None),
        ("look it up at https://login.microsoftonline.com/error", None),
        ("a message was created: 403 ErrorAccessDenied", None),
        ("staging: writing preflight/20261129T101500Z. failed: 409 BlobImmutableDueToPolicy", None),
        ("TeleMessage answers HTTP 502", None),
        ("no such user: alex.wilber@example.com", "no such user: …"),
        ("at https://acme.example.com:8443/rest?x=1 nothing answers", "at … nothing answers"),
        ("cannot reach archive.acme.example", "cannot reach …"),
        ("cannot reach acmestorage.blob.core.windows.net:443", "cannot reach …"),
        ("mailbox aaaaaaaa-0000-4000-8000-00000000000a is full", "mailbox … is full"),
        ("AAAAAAAA00004000800000000000000A", "…"),
        ("certificate_file /etc/acme/key.pem cannot be read", "certificate_file … cannot be read"),
        ("number +44 7700 900123 and 07700900456", "number … and …"),
        ("token eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiIsImtpZCI6InNhbmRib3gifQ", "token …"),
        ("container ACME-archive has it", "container … has it"),
        ("with Pa$$word (1) and c0ffee", "with … and …"),
        ("connection o2_graph stays", None),
        ("two\nlines\tof it", "two lines of it"),
    ],
)
def test_what_others_said_is_told_without_whose_it_is(text: str, shown: str | None) -> None:
    assert discreet(text, KNOWN) == (text if shown is None else shown)


def test_a_finding_is_a_line_with_its_remedy() -> None:
    assert str(FINDING) == "staging: error: it is full; empty it"
    assert str(msgspec.structs.replace(FINDING, remedy=None)) == "staging: error: it is full"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "open point: folder.case: not as assumed: 201; assumed: 409"),
        ({"as_assumed": True}, "open point: folder.case: as assumed: 201; assumed: 409"),
        ({"as_assumed": None}, "open point: folder.case: to be read: 201; assumed: 409"),
        ({"observed": None, "why": "left out"}, "open point: folder.case: not observed (left out); assumed: 409"),
    ],
)
def test_an_open_point_is_a_line(changes: dict[str, object], said: str) -> None:
    assert str(msgspec.structs.replace(POINT, **changes)) == said


def test_all_of_it_is_counted_and_becomes_json() -> None:
    found = Preflight(
        made=datetime(2026, 11, 29, tzinfo=UTC), converter="2", cloud="dod", findings=[FINDING], open_points=[POINT]
    )

    assert found.errors == [FINDING]
    assert found.counts == {"ok": 0, "warning": 0, "error": 1, "not checked": 0}
    told = msgspec.json.decode(found.as_json())
    assert told["counts"] == found.counts
    assert told["findings"][0]["area"] == "staging"
    assert told["open_points"][0] == {
        "point": "folder.case",
        "assumed": "409",
        "observed": "201",
        "as_assumed": False,
    }


def test_samples_are_found_by_the_same_keys_for_ever() -> None:
    """What a preflight of another version left must be found by this one."""
    assert dict(zip(Sample, sample_keys(), strict=True)) == {
        Sample.TEXT: "0b1ee9a279f869112d53c0b74a8bacc3c77be757",
        Sample.REPLY: "54c319954ae60434c25df9f2c9041f5a81349c45",
        Sample.LARGE: "2c032370f970d4895642807ed5194ee6d7c4cdc5",
        Sample.INBOX: "9b30941ce0cbc3adf7836caee797d6097b212ad8",
        Sample.SENT_ITEMS: "c1047134d8733008c7a5ada71d567f4e0ca49b36",
        Sample.LONG_PROPERTY: "cdf69807eb4f13dc2ea5f45de95dfa6152c728ea",
    }


@pytest.mark.parametrize("which", Sample)
def test_a_sample_is_an_item_of_its_own(which: Sample) -> None:
    rendering = sample(which, "IPM.Note.O2Network")

    assert rendering.key == dict(zip(Sample, sample_keys(), strict=True))[which]
    assert [part.size for part in rendering.parts] == list(SIZES if which is Sample.LARGE else ())
    assert (rendering.in_reply_to is not None) == (which is Sample.REPLY)


def test_the_reply_belongs_to_the_texts_conversation() -> None:
    text, reply = (sample(which, "IPM.Note") for which in (Sample.TEXT, Sample.REPLY))

    assert (text.subject, text.reference) == (reply.subject, reply.reference)
    assert text.sender != reply.sender


def test_an_attachments_bytes_are_as_many_as_its_record_says() -> None:
    assert [len(sample_bytes(size)) for size in SIZES] == list(SIZES)
