"""An item's names are for ever: these literals are in mailboxes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core import naming
from o2_connector.core.identity import item_key, message_id, thread_reference

anything = st.text(st.characters(exclude_categories=()))


def test_the_names_of_an_item_never_change() -> None:
    assert item_key("o2-1") == "b64f6b88062a4c226895c288fef049c91375e6ae"
    assert item_key("é\U0001f600") == "fcd67b8ad7f3397888015bf1f18ed7119e65c9f9"
    assert message_id("o2-1") == "<b64f6b88062a4c226895c288fef049c91375e6ae@o2-archive.invalid>"
    assert (
        thread_reference(("messages", "", "+447700900123"))
        == "<ecbe3683c30b4e8aee36191cca037bb69ab7b1a6@o2-archive.invalid>"
    )


def test_what_the_archive_is_called_in_a_mailbox_never_changes() -> None:
    assert naming.FOLDER_NAME == "O2 SMS and Voice Network Archiver"
    assert naming.ITEM_PROPERTY == "String {6c8506a9-35bf-4f49-bd52-b7fc0c4af2b9} Name O2ItemId"
    assert naming.UNFINISHED_CATEGORY == "O2 archive: attachments still to come"


def test_ids_that_differ_only_in_case_are_two_items() -> None:
    assert item_key("O2-A") != item_key("o2-a")


def test_an_item_and_a_conversation_never_share_a_name() -> None:
    assert message_id("o2-1") != thread_reference(("o2-1",))


@given(anything, anything)
def test_two_ids_are_two_items(first: str, second: str) -> None:
    assert (item_key(first) == item_key(second)) is (first == second)


@given(st.lists(anything, max_size=4), st.lists(anything, max_size=4))
def test_two_lists_of_parts_are_two_conversations(first: list[str], second: list[str]) -> None:
    assert (thread_reference(tuple(first)) == thread_reference(tuple(second))) is (first == second)


def test_parts_never_run_together() -> None:
    assert thread_reference(("ab", "c")) != thread_reference(("a", "bc"))
    assert thread_reference(("a", "")) != thread_reference(("a",))
    assert thread_reference(("a1:b",)) != thread_reference(("a", "b"))
