"""What no mail can carry is shown, and can be undone."""

from __future__ import annotations

import pytest
from hypothesis import given

from o2_connector.core.escapes import captured_text, one_line, visible
from tests.core.records import texts


@given(texts)
def test_every_text_comes_back_from_what_is_shown(text: str) -> None:
    assert captured_text(visible(text)) == text
    assert captured_text(one_line(text)) == text


@given(texts)
def test_what_is_shown_can_be_mailed(text: str) -> None:
    shown = visible(text)

    assert shown.encode().decode() == shown
    assert all(sign >= " " or sign in "\t\n" for sign in shown)
    assert len(one_line(text).splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bell\a", "bell\\u0007"),
        ("\ud83d half", "\\ud83d half"),
        ("\\u0041", "\\u005cu0041"),
        ("C:\\users", "C:\\users"),
        ("\\\\u0041", "\\\\u005cu0041"),
        ("\\\0", "\\\\u0000"),
        ("\u0085", "\\u0085"),
        ("\uffff", "\\uffff"),
        ("a\tb\n\U0001f600", "a\tb\n\U0001f600"),
    ],
)
def test_the_form_is_jsons(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_line_has_no_second_one() -> None:
    assert one_line("a\nb\u2028c\td\u202e") == "a\\u000ab\\u2028c\\u0009d\\u202e"
