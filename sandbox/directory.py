"""The organisation's users as Microsoft Graph knows them: a noun that the site and the tenant share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """Name one directory user, with the address book entries that a look-up may go by.

    `proxy_addresses` are spelt as Entra spells them: `SMTP:` before the primary address, `smtp:` before an alias.
    `mailbox` is what opening the mailbox meets: `ok`; `none` (unlicensed, guest or on premises: 404
    MailboxNotEnabledForRESTAPI); `full` (a create answers ErrorQuotaExceeded); `denied` (outside the application's
    scope: 403 ErrorAccessDenied). `licensed` says whether the user has a plan of Exchange Online, `synced` whether it
    comes from a directory on premises; neither has a say in what opening the mailbox meets. A `deleted` user is in no
    list but that of deleted ones, and has no mailbox.
    """

    id: str
    user_principal_name: str
    mail: str | None
    display_name: str
    proxy_addresses: tuple[str, ...] = ()
    mobile_phone: str | None = None
    business_phones: tuple[str, ...] = ()
    user_type: str = "Member"
    account_enabled: bool = True
    licensed: bool = True
    synced: bool = False
    deleted: bool = False
    mailbox: Literal["ok", "none", "full", "denied"] = "ok"

    @property
    def has_mailbox(self) -> bool:
        """Tell whether there is a mailbox here."""
        return self.mailbox != "none" and not self.deleted
