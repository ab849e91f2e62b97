r"""Escapes: what no mail can carry is made visible, in a way that can be undone.

A control character or half a surrogate pair becomes what JSON writes for it: a bell becomes the six characters
``\u0007``. A backslash that stands before ``u`` and four hex digits of its own becomes ``\u005c``, so that every shown
text stands for exactly one captured text, and :func:`captured_text` gives it back.
"""

from __future__ import annotations

import re

# Neither UTF-8 (surrogates) nor XML 1.0 (2.2) has these, and Exchange keeps mail as XML here and there.
_NEVER = r"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"
_ESCAPE_LIKE = r"\\(?=u[0-9a-fA-F]{4})"
_IN_BODY = re.compile(f"[{_NEVER}]|{_ESCAPE_LIKE}")
# What turns the direction of all that follows it on its line (Unicode UAX 9) would turn a number round, too.
_TURNS = r"\u202a-\u202e\u2066-\u2069"
_IN_LINE = re.compile(f"[{_NEVER}{_TURNS}\t\n\u2028\u2029]|{_ESCAPE_LIKE}")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def visible(text: str) -> str:
    """Return text for a body: tabs and line feeds stay as they are."""
    return text if _is_plain(text) else _IN_BODY.sub(_escape, text)


def one_line(text: str) -> str:
    """Return text for a header, a name or a row: all of it on one line."""
    return text if _is_plain(text) else _IN_LINE.sub(_escape, text)


def captured_text(shown: str) -> str:
    """Return the text that :func:`visible` or :func:`one_line` was given."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), shown)


def _is_plain(text: str) -> bool:
    return text.isprintable() and "\\u" not in text


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
