"""Outcomes: what became of a delivery, and why, in the terms of Microsoft's connector log."""

from __future__ import annotations

import re
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
    DIRECTORY = "directory's number"
    CATCH_ALL = "catch-all mailbox"


class Cause(StrEnum):
    """Say why an item or a delivery is not where it should be; Graph's own codes stand beside these."""

    NO_ADDRESS = "no mapping row and no e-mail property"
    NO_ROW_THEN = "no mapping row of the number is valid at the item's time"
    NO_USER = "no Microsoft 365 user has this address"
    SEVERAL_USERS = "more than one Microsoft 365 user has this address"
    SEVERAL_HOLDERS = "more than one Microsoft 365 user has this number in the directory"
    GUEST = "the user is a guest, whose mailbox is elsewhere"
    DISABLED = "the user's account is disabled and has no mailbox that can be reached"
    UNLICENSED = "the user has no licence for a mailbox"
    ON_PREMISES = "the user's mailbox is not in Exchange Online"
    SOFT_DELETED = "the user was deleted"
    OTHER_HOLDER = "the directory has the row's number at another user; the row was followed"
    ALREADY_THERE = "the mailbox has the item already"
    SAME_ITEM_AGAIN = "the source sent the same item more than once in this window"
    CONFLICTING_ITEM = "the source sent two different records with this item id; only the first is archived"
    ATTACHMENT_GONE = "an attachment is no longer kept by TeleMessage"
    ATTACHMENT_ALTERED = "an attachment's bytes did not match the digest in its record"
    TOO_MANY_ATTACHMENTS = "the item has more than the 250 attachments that a message takes; the others are in staging"
    TEXT_TOO_LONG = "the item's text is too long for a message; it is whole in its staged record"
    ATTACHMENT_TOO_LARGE = "an attachment does not fit the tenant's limit for a message; it is kept in staging"


_REMEDIES = {
    Cause.NO_ADDRESS: "add the participant's number to a mapping file",
    Cause.NO_ROW_THEN: "correct ValidFrom and ValidTo of the number's rows, or add the row of who had it then",
    Cause.NO_USER: "correct the address in the mapping file, or at TeleMessage where the e-mail property has it",
    Cause.SEVERAL_USERS: "take the address from all users but one, or name another address of the user",
    Cause.SEVERAL_HOLDERS: "correct the directory, or add the number to a mapping file",
    Cause.GUEST: "map the number to a mailbox of this tenant",
    Cause.DISABLED: "give the user a mailbox again, or map the number to another mailbox",
    Cause.UNLICENSED: "give the user a licence with Exchange Online, or map the number to another mailbox",
    Cause.ON_PREMISES: "move the mailbox to Exchange Online, or map the number to another mailbox",
    Cause.SOFT_DELETED: "restore the user, or map the number to another mailbox",
    Cause.OTHER_HOLDER: "correct whichever is wrong, the row or the directory",
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


# A cause as it stands alone or among several: whole, for one may have the words of another.
_ONE_OF_SEVERAL = re.compile(
    f"(?:^|(?<=; ))(?:{'|'.join(re.escape(each) for each in sorted(Cause, key=len, reverse=True))})(?=; |$)"
)


def remedy(cause: str) -> str:
    """Return what an operator can do about a cause, or about several with semicolons between; of others nothing."""
    return "; ".join(dict.fromkeys(_REMEDIES[Cause(each)] for each in _ONE_OF_SEVERAL.findall(cause)))
