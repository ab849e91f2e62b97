"""Identity: the names by which an item is the same item everywhere and for ever."""

from __future__ import annotations

import hashlib

DOMAIN = "o2-archive.invalid"  # RFC 2606: .invalid never resolves, so no reply leaves the organisation

# The salts are versions. They are in every mailbox that has ever been written to: change one and everything is
# imported a second time.
_ITEM_SALT = "o2-item-v1"
_THREAD_SALT = "o2-thread-v1"


def item_key(item_id: str) -> str:
    """Return the key of an item: 40 hex digits.

    Exchange compares the values of named properties without regard to case, and TeleMessage's ids need not differ in
    more than that: the mailbox is asked for this key, never for the id itself.
    """
    return _digest(_ITEM_SALT, item_id)


def message_id(item_id: str) -> str:
    """Return the Message-ID of an item's e-mail, with its angle brackets (RFC 5322, 3.6.4)."""
    return f"<{item_key(item_id)}@{DOMAIN}>"


def thread_key(parts: tuple[str, ...]) -> str:
    """Return the key of a conversation: 40 hex digits.

    :param parts: what makes it this conversation: a kind, a group's id, the numbers; never a name, for names change.
    """
    return _digest(_THREAD_SALT, *parts)


def thread_reference(parts: tuple[str, ...]) -> str:
    """Return the Message-ID of a conversation's root, which no message has: every message of it refers to it."""
    return f"<{thread_key(parts)}@{DOMAIN}>"


def _digest(*parts: str) -> str:
    # Each part with its length, so that no two lists of parts run together to the same bytes.
    text = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
