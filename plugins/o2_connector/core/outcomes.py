"""Outcomes: what became of a delivery, and why, in the terms of Microsoft's connector log."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """Say what became of a delivery."""

    IMPORTED = "imported"
    PARTIALLY_IMPORTED = "partially imported"
    SKIPPED = "skipped"
    FAILED = "failed"


class Rule(StrEnum):
    """Say which rule gave a participant their mailbox."""

    MAPPING = "mapping file"
    EMAIL = "e-mail property"


class Cause(StrEnum):
    """Say why an item or a delivery is not where it should be; Graph's own codes stand beside these."""

    NO_ADDRESS = "no mapping row and no e-mail property"
    UNKNOWN_MAILBOX = "no Microsoft 365 mailbox of the mapped or captured addresses"
    ROW_WITHOUT_MAILBOX = "the mapping row leads to no Microsoft 365 mailbox; the e-mail property was used, or nothing"
    ALREADY_THERE = "the mailbox has the item already"
    SAME_ITEM_AGAIN = "the source sent the same item more than once in this window"
    CONFLICTING_ITEM = "the source sent two different records with this item id; only the first is archived"
    ATTACHMENT_GONE = "an attachment is no longer kept by TeleMessage"
    ATTACHMENT_ALTERED = "an attachment's bytes did not match the digest in its record"
    TOO_MANY_ATTACHMENTS = "the item has more than the 250 attachments that a message takes; the others are in staging"
    TEXT_TOO_LONG = "the item's text is too long for a message; it is whole in its staged record"
    ATTACHMENT_TOO_LARGE = "an attachment does not fit the tenant's limit for a message; it is kept in staging"


_REMEDIES = {
    Cause.NO_ADDRESS: "add the participant's number to a mapping file and run the window again",
    Cause.UNKNOWN_MAILBOX: "correct the mapping row, or give the user a mailbox, and run the window again",
    Cause.ROW_WITHOUT_MAILBOX: "correct the row, or give the user a mailbox, and run the window again",
    Cause.ALREADY_THERE: "nothing to do",
    Cause.SAME_ITEM_AGAIN: "nothing to do",
    Cause.CONFLICTING_ITEM: "ask TeleMessage which record is right; both are staged",
    Cause.ATTACHMENT_GONE: "ask TeleMessage for the attachment; everything else of the item is archived",
    Cause.ATTACHMENT_ALTERED: "ask TeleMessage to export the attachment again; everything else is archived",
    Cause.TOO_MANY_ATTACHMENTS: "nothing to do, the e-mail names the staged objects",
    Cause.TEXT_TOO_LONG: "nothing to do, the e-mail names the staged record's digest",
    Cause.ATTACHMENT_TOO_LARGE: "nothing to do, the e-mail names the staged object; where the tenant allows larger"
    " messages, raise O2_MESSAGE_LIMIT_MB (at most 150) before later windows",
}


def remedy(cause: str) -> str:
    """Return what an operator can do about a cause, or about several in one text."""
    return "; ".join(dict.fromkeys(_REMEDIES[each] for each in Cause if each in cause))
