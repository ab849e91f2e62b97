"""Directory: the organisation's mailboxes, as far as Microsoft Graph knows them."""

from __future__ import annotations

import msgspec

from o2_connector.core.outcomes import Cause


class DirectoryEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Say what the directory says of one address.

    :param address: lower case.
    :param mailbox: object id of the user whose mailbox the address leads to; None where it leads to none.
    :param cause: why it leads to none.
    :param phones: the user's numbers as E.164 (``mobilePhone``, then ``businessPhones``).
    :param asked: when Graph said so, in milliseconds since 1970, UTC.
    """

    address: str
    mailbox: str | None = None
    cause: Cause | None = None
    phones: tuple[str, ...] = ()
    asked: int
