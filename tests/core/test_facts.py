"""What is known of an item stands in headers, for us and for SMS Backup+."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.records import FULL, fields, rendering

CALL = {"startedAt": "2026-11-21T09:30:15Z", "durationSeconds": 62}


def test_every_fact_of_a_full_record_has_a_header() -> None:
    facts = dict(fields(rendering(**FULL).facts))

    assert facts["X-O2-Sent-At"] == "2026-11-21T09:30:15.250000+00:00"
    assert facts["X-O2-From"] == '{"phone": "07700 900456", "name": "Kim Akers"}'
    assert facts["X-O2-To"] == '[{"phone": "+447700900123", "email": "alex@example.com", "name": "Alex Wilber"}]'
    assert facts["X-O2-Thread"] == '{"id": "t-1", "name": "Team"}'
    assert (facts["X-O2-Duration-Seconds"], facts["X-O2-Edits-Item"]) == ("60", "o2-0")
    assert '"fileName": "a.png"' in facts["X-O2-Attachments"]
    assert facts["X-O2-Text-Length"] == "15"


def test_a_time_keeps_the_offset_that_it_was_captured_with() -> None:
    assert (
        dict(fields(rendering(sentAt="2026-11-21T15:00:15+05:30").facts))["X-O2-Sent-At"] == "2026-11-21T15:00:15+05:30"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "SMS 1 0"),
        ({"direction": "OUTBOUND", "status": "SENT"}, "SMS 2 -1"),
        ({"direction": "OUTBOUND", "status": "FAILED"}, "SMS 5 64"),
        ({"itemType": "MMS"}, "MMS 132 None"),
        ({"itemType": "MMS", "direction": "OUTBOUND"}, "MMS 128 None"),
        ({"itemType": "CALL", "status": "ANSWERED"}, "CALLLOG 1 None"),
        ({"itemType": "CALL", "status": "ANSWERED", "direction": "OUTBOUND"}, "CALLLOG 2 None"),
        ({"itemType": "CALL", "status": "MISSED"}, "CALLLOG 3 None"),
        ({"itemType": "CALL", "status": "REJECTED"}, "CALLLOG 5 None"),
        ({"itemType": "VOICEMAIL"}, "CALLLOG 4 None"),
    ],
)
def test_sms_backup_finds_its_own_kinds(changes: dict[str, Any], expected: str) -> None:
    interop = dict(fields(rendering(**changes).interop))

    found = [interop.get(f"X-smssync-{name}") for name in ("datatype", "type", "status")]

    assert " ".join(map(str, found)) == expected


def test_sms_backup_finds_the_other_side_the_time_and_the_duration() -> None:
    came_in = dict(fields(rendering().interop))
    group = [{"phone": "07700 900123"}, {"phone": "07700 900789"}]
    went_out = dict(fields(rendering(direction="OUTBOUND", to=group).interop))

    assert came_in["X-smssync-address"] == "+447700900456"
    assert went_out["X-smssync-address"] == "+447700900123~+447700900789"
    assert came_in["X-smssync-date"] == "1795253415250"
    assert came_in["X-smssync-backup-time"] == "21 Nov 2026 10:00:02 GMT"
    assert dict(fields(rendering(itemType="CALL", call=CALL).interop))["X-smssync-duration"] == "62"


def test_a_thread_has_a_number_of_31_bits_that_all_its_messages_share() -> None:
    numbers = {dict(fields(rendering(itemId=item_id).interop))["X-smssync-thread"] for item_id in ("a", "b")}

    assert len(numbers) == 1
    assert 0 <= int(numbers.pop()) < 2**31


def test_what_a_record_does_not_have_has_no_header() -> None:
    names = {name for name, _ in fields(rendering(text=None).facts)}

    assert not names & {"X-O2-Thread", "X-O2-Started-At", "X-O2-Attachments", "X-O2-Text-Length", "X-O2-Other-Fields"}
