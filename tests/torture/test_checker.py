"""The checker of the torture finds each thing that can go wrong, and nothing where all is well."""

from __future__ import annotations

from typing import Any

import pytest

from o2_connector.core.naming import ITEM_PROPERTY, UNFINISHED_CATEGORY
from tests.torture.checker import inspect
from tests.torture.world import BEGIN, Sent

ITEM = Sent(
    item_id="i-1",
    key="k1",
    sent=BEGIN,
    mailboxes=("m-1", "m-2"),
    message_id="<k1@example.com>",
    text="Hello",
    digests=("aa", "bb"),
    attached=2,
    packed=b"",
    causes=(),
)


def message(mailbox: str = "m-1", **changes: Any) -> dict[str, Any]:
    return {
        "userId": mailbox,
        "categories": [],
        "singleValueExtendedProperties": [{"id": ITEM_PROPERTY.upper(), "value": "k1"}],
        "attachments": [{"sha256": "bb"}, {"sha256": "aa"}],
        "body": {"content": "Hello"},
        "internetMessageId": "<k1@example.com>",
        "sentDateTime": "2026-11-01T00:00:00Z",
        "isDraft": False,
        **changes,
    }


def tally(**held: int) -> dict[str, Any]:
    """Say how many messages of the item each mailbox has."""
    return {
        name.replace("_", "-"): {"messages": count, "values": {ITEM_PROPERTY: {"k1": count}}}
        for name, count in held.items()
    }


def wrong(*arguments: Any) -> dict[str, int]:
    return {kind: len(names) for kind, names in vars(inspect([ITEM], *arguments)).items() if names}


def test_nothing_is_wrong_when_each_mailbox_holds_each_item_once() -> None:
    assert wrong((), tally(m_1=1, m_2=1), [message("m-1"), message("m-2")]) == {}


def test_a_message_in_the_deleted_items_is_counted_although_it_is_not_listed() -> None:
    assert wrong((), tally(m_1=1, m_2=1), [message("m-1")]) == {}


def test_an_item_that_a_mailbox_has_not_is_lost() -> None:
    assert wrong((), tally(m_1=1), [message()]) == {"lost": 1}


def test_each_copy_too_many_is_counted() -> None:
    assert wrong((), tally(m_1=3, m_2=1), [message()]) == {"doubled": 2}


def test_what_its_user_deleted_for_good_is_not_missed_but_must_not_come_back() -> None:
    assert wrong({("k1", "m-2")}, tally(m_1=1), []) == {}
    assert wrong({("k1", "m-2")}, tally(m_1=1, m_2=1), []) == {"doubled": 1}


def test_an_item_in_a_mailbox_that_it_is_not_for_is_found() -> None:
    assert wrong((), tally(m_1=1, m_2=1, m_3=1), []) == {"wrong_mailbox": 1}


def test_a_message_of_no_item_is_found() -> None:
    held = tally(m_1=1, m_2=1)
    held["m-1"]["messages"] = 2

    assert wrong((), held, []) == {"wrong_mailbox": 1}


def test_a_message_whose_attachments_are_still_to_come_is_found() -> None:
    assert wrong((), tally(m_1=1, m_2=1), [message(categories=[UNFINISHED_CATEGORY])]) == {"unfinished": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"attachments": [{"sha256": "aa"}]},
        {"attachments": [{"sha256": "aa"}, {"sha256": "bb"}, {"sha256": "bb"}]},
        {"body": {"content": "Hello!"}},
        {"internetMessageId": "<k2@example.com>"},
        {"sentDateTime": "2026-11-01T01:00:00Z"},
        {"isDraft": True},
    ],
    ids=["attachment missing", "attachment twice", "text", "message id", "time", "draft"],
)
def test_a_message_that_does_not_say_what_was_captured_is_found(changes: dict[str, Any]) -> None:
    assert wrong((), tally(m_1=1, m_2=1), [message(**changes)]) == {"altered": 1}
