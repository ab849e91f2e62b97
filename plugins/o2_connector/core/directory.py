"""Directory: the organisation's mailboxes as far as Microsoft Graph can reach them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Mailbox:
    """Name one mailbox.

    :param id: the user's object id in Entra, which outlives every change of address.
    :param address: the primary SMTP address, lower-case.
    """

    id: str
    address: str
