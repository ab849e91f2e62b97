"""A reviewer reads what happened."""

from __future__ import annotations

from typing import Any

import pytest

from o2_connector.core.items import record_digest
from o2_connector.core.outcomes import Cause
from tests.core.records import line, rendering
from tests.core.test_parts import files

CALL = {"startedAt": "2026-11-21T09:30:15Z", "durationSeconds": 0}


def call(**changes: Any) -> str:
    return rendering(**{"itemType": "CALL", "text": None, "call": CALL, **changes}).text


def test_an_answered_call_says_who_called_whom_when_and_how_long() -> None:
    answered = {
        "startedAt": "2026-11-21T09:30:15+02:00",
        "endedAt": "2026-11-21T10:33:21+02:00",
        "durationSeconds": 3786,
    }

    assert call(status="ANSWERED", call=answered) == (
        "Kim Akers (+447700900456) called Alex Wilber (+447700900123).\n"
        "The call was answered.\n"
        "It began on 2026-11-21 at 07:30:15 UTC and lasted 1 hour 3 minutes 6 seconds, until 08:33:21."
    )


@pytest.mark.parametrize(("status", "became"), [("MISSED", "missed"), ("REJECTED", "rejected")])
def test_a_call_that_nobody_took_says_so(status: str, became: str) -> None:
    assert call(status=status) == (
        "Kim Akers (+447700900456) called Alex Wilber (+447700900123).\n"
        f"The call was {became}.\n"
        "It came on 2026-11-21 at 09:30:15 UTC."
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "1 second."), (60, "1 minute."), (61, "1 minute 1 second."), (7200, "2 hours."), (4_000_000, "1,111 hours 6")],
)
def test_a_call_lasts_in_words(seconds: int, said: str) -> None:
    assert f"lasted {said}" in call(status="ANSWERED", call={**CALL, "durationSeconds": seconds})


def test_a_voicemail_that_was_read_out_begins_with_its_words() -> None:
    said = rendering(itemType="VOICEMAIL", text="Ring me.", call={**CALL, "durationSeconds": 9}).text

    ends = "[The captured text ends here; it has 8 characters.]"
    people = "Kim Akers (+447700900456) left a voicemail for Alex Wilber (+447700900123)."
    assert said.startswith(f"Ring me.\n\n{ends}\n\n{people}\n")
    assert said.endswith("and lasted 9 seconds.")


def test_a_text_alone_has_nothing_added() -> None:
    assert rendering().text == "See you at ten."
    assert rendering().html is None


def test_a_group_lists_who_was_in_it() -> None:
    group = {
        "to": [{"phone": "07700 900123", "name": "Alex"}, {"phone": "60777"}],
        "thread": {"id": "g", "name": "North"},
    }

    assert rendering(**group).text == (
        "See you at ten.\n\n[Group “North”: Kim Akers (+447700900456), Alex (+447700900123), 60777]"
    )


@pytest.mark.parametrize(("action", "verb"), [("EDIT", "edits"), ("DELETE", "deletes")])
def test_an_edit_and_a_deletion_name_their_item_and_hang_on_it(action: str, verb: str) -> None:
    first = rendering(itemId="o2-first")

    change = rendering(relatesTo={"itemId": "o2-first", "action": action}, text="")

    assert change.text == f"[This {verb} item o2-first, which is archived as it was.]"
    assert change.in_reply_to == first.message_id


def test_a_picture_is_in_the_body_with_its_name_and_a_layout_is_named_there_unseen() -> None:
    mail = rendering(attachments=[*files(7, content_type="image/png"), *files(5, content_type="application/smil")])

    picture, layout = mail.parts
    assert mail.html is not None
    assert f'<img src="cid:{picture.content_id}"' in mail.html
    assert "<small>“file-0”, 7 bytes</small>" in mail.html
    assert f'<a href="cid:{layout.content_id}"></a>' in mail.html
    assert mail.text == "See you at ten.\n\n[Attached: “file-0”, 7 bytes]"


def test_no_text_or_name_can_add_to_the_html() -> None:
    hostile = '<img src=x onerror=alert(1)>"&\n<b>'
    attachment = {**files(7, content_type="image/png")[0], "fileName": hostile}

    mail = rendering(text=hostile, attachments=[attachment], **{"from": {"phone": "1", "name": hostile}})

    assert mail.html is not None
    assert mail.html.count("<img") == 1
    assert "onerror=alert(1)&gt;&quot;&amp;<br>&lt;b&gt;" in mail.html


def test_a_recording_is_named() -> None:
    assert call(status="ANSWERED", attachments=files(1234)).endswith("\n\n[Attached: “file-0”, 1,234 bytes]")


def test_what_a_sender_writes_cannot_pass_for_what_the_archive_says() -> None:
    deletion = "[This deletes item o2-5, which is archived as it was.]"
    real = rendering(text="x", relatesTo={"itemId": "o2-5", "action": "DELETE"}).text

    forged = rendering(text=f"x\n\n{deletion}").text

    assert real == f"x\n\n{deletion}"
    assert forged == f"{real}\n\n[The captured text ends here; it has 57 characters.]"


@pytest.mark.parametrize("begin", ["\u2028", "\n\u200b", "\n ", "\n\u2029\t"])
def test_a_forged_note_is_known_by_whatever_stands_before_its_bracket(begin: str) -> None:
    assert rendering(text=f"hi{begin}[Attached: “x.jpg”, 5 bytes]").text.endswith("characters.]")


def test_the_words_of_a_voicemail_end_before_the_archives() -> None:
    said = call(itemType="VOICEMAIL", text="hi\n\n+447700900123 left a voicemail for +447700900999.")

    assert "\n\n[The captured text ends here; it has 53 characters.]\n\nKim Akers" in said


def test_no_name_turns_the_number_beside_it_round() -> None:
    sender = rendering(**{"from": {"phone": "60777", "name": "Kim (+447700900456)\u202e"}}).sender

    assert sender.name == "Kim (+447700900456)\\u202e (60777)"


def test_a_text_beyond_what_a_message_takes_is_cut_and_says_where_it_is_whole() -> None:
    mail = rendering(text="é" * 1_000_000)

    assert mail.causes == (Cause.TEXT_TOO_LONG,)
    assert mail.text.startswith(
        "é" * 250_000 + "\n\n[The captured text goes on: of its 1,000,000 characters 250,000 are"
    )
    assert f"SHA-256 {record_digest(line(text='é' * 1_000_000))}]" in mail.text


def test_a_call_over_midnight_ends_on_its_day() -> None:
    times = {"startedAt": "2026-11-21T23:59:00Z", "endedAt": "2026-11-22T00:01:00Z", "durationSeconds": 120}

    assert call(status="ANSWERED", call=times).endswith("and lasted 2 minutes, until 2026-11-22 at 00:01:00.")


def test_a_phone_that_is_blank_has_words_and_an_address() -> None:
    sender = rendering(**{"from": {"phone": " "}}).sender

    assert sender == ("no number", "no_20_number@o2-archive.invalid")
