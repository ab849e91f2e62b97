"""Profile: what an organisation decides about how its items are converted."""

from __future__ import annotations

import re
from dataclasses import dataclass

from o2_connector.core.errors import StopError

MESSAGE_CLASS = "IPM.Note.O2Network"
MESSAGE_MEGABYTES = 35
"""Exchange Online's limit of a message where nobody changed it (Microsoft Graph, "Create an upload session")."""

LARGEST_MEGABYTES = 150
"""To what it can be raised (the same page)."""

# MS-OXCMSG 2.2.1.3: printable ASCII, at most 255 characters, no period at either end, none beside another. Below
# IPM.Note, because a mail client shows a class that it does not know like the nearest above it that it does.
_CLASS = re.compile(r"IPM\.Note(\.[A-Za-z0-9_-]+)*", re.IGNORECASE | re.ASCII)
_LONGEST_CLASS = 240  # leaves room for the item's type


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Hold an organisation's choices.

    :param region: ISO 3166 code of the country that national numbers belong to.
    :param message_class: what the messages' class begins with; the item's type follows (``.SMS``).
    :param message_megabytes: the tenant's limit of a message, of 1,048,576 bytes each.
    :raises StopError: where a choice cannot be.
    """

    region: str
    message_class: str = MESSAGE_CLASS
    message_megabytes: int = MESSAGE_MEGABYTES

    def __post_init__(self) -> None:
        """Refuse what no message could have."""
        if not _CLASS.fullmatch(self.message_class) or len(self.message_class) > _LONGEST_CLASS:
            raise StopError(
                "The message class must be IPM.Note, or begin with IPM.Note. and have letters, digits, hyphens and"
                f" underscores between its periods, {_LONGEST_CLASS} characters at most: mend O2_MESSAGE_CLASS."
            )
        if not 1 <= self.message_megabytes <= LARGEST_MEGABYTES:
            raise StopError(
                f"A message's limit is {self.message_megabytes} MB, but must be from 1 to {LARGEST_MEGABYTES}:"
                " set O2_MESSAGE_LIMIT_MB to the tenant's limit."
            )

    @property
    def message_bytes(self) -> int:
        """Return the limit of a message in bytes."""
        return self.message_megabytes * 1024 * 1024
