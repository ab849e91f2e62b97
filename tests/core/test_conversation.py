"""A thread is one conversation everywhere, whatever becomes of its people's names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core.conversation import conversation_index, conversation_of
from o2_connector.core.items import parse_item
from tests.core.records import line, rendering

KIM, ALEX = {"phone": "07700 900456", "name": "Kim Akers"}, {"phone": "+447700900123", "name": "Alex Wilber"}
NEW_YEAR = datetime(2000, 1, 1, tzinfo=UTC)
CONVERSATION = conversation_of(parse_item(line()), ("+447700900123", "+447700900456"))


def milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def thread(**changes: Any) -> tuple[str, str, bytes]:
    rendered = rendering(**changes)
    return rendered.reference, rendered.subject, rendered.conversation_index[:22]


def test_question_and_answer_are_one_conversation() -> None:
    assert thread(**{"from": KIM, "to": [ALEX]}) == thread(**{"from": ALEX, "to": [KIM], "direction": "OUTBOUND"})


def test_a_new_name_or_spelling_or_address_changes_nothing() -> None:
    other = {"phone": "+44 7700 900456", "name": "Kim Smith", "email": "kim@example.com"}

    assert thread(**{"from": KIM, "to": [ALEX]}) == thread(**{"from": other, "to": [ALEX]})


def test_texts_and_pictures_are_one_conversation_and_calls_another() -> None:
    assert thread(itemType="SMS") == thread(itemType="MMS")
    assert thread(itemType="CALL") == thread(itemType="VOICEMAIL")
    assert thread(itemType="SMS")[0] != thread(itemType="CALL")[0]


def test_two_groups_of_the_same_people_are_two_conversations_whatever_they_are_called() -> None:
    group = [ALEX, {"phone": "07700 900789"}]

    first = thread(to=group, thread={"id": "g-1", "name": "North"})

    assert first == thread(to=group, thread={"id": "g-1", "name": "South"})
    assert first[0] != thread(to=group, thread={"id": "g-2", "name": "North"})[0]


def test_the_index_has_the_header_and_one_child() -> None:
    index = rendering().conversation_index

    assert len(index) == 27
    assert index[0] == 1
    high = int.from_bytes(index[1:6], "big") << 24
    assert datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=high // 10) <= NEW_YEAR


@given(st.lists(st.integers(0, 56 * 365 * 86_400), min_size=2))
def test_children_stand_in_the_order_of_their_times(seconds: list[int]) -> None:
    moments = [NEW_YEAR + timedelta(seconds=each) for each in sorted(seconds)]

    indexes = [conversation_index(CONVERSATION, milliseconds(moment), "0" * 40) for moment in moments]

    assert indexes == sorted(indexes)


def test_any_time_has_a_child_in_its_order() -> None:
    years = [1602, 1999, 2000, 2001, 2002, 2056, 2057, 2058, 9998]
    ends = [datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) for year in years]

    indexes = [conversation_index(CONVERSATION, milliseconds(end), "0" * 40) for end in ends]

    assert {len(index) for index in indexes} == {27}
    assert indexes == sorted(indexes)


def test_a_child_tells_its_time_as_outlook_does() -> None:
    # MS-OXOMSG 2.2.1.3: beyond 1.7 years the delta code is 1 and the 23 least significant bits of FILETIME are dropped.
    moment = datetime(2026, 11, 21, 9, 30, 15, tzinfo=UTC)

    index = conversation_index(CONVERSATION, milliseconds(moment), "0" * 40)

    begin = int.from_bytes(index[1:6], "big") << 24
    child = int.from_bytes(index[22:26], "big")
    assert child >> 31 == 1
    told = begin + ((child & 0x7FFF_FFFF) << 23)
    sent = (moment - datetime(1601, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10
    assert 0 <= sent - told < 1 << 23
