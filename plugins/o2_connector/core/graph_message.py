"""Graph message: an item as the JSON that makes a message with true dates, no draft, in one create.

Everything must be in the create: the message flags are read-only after the first save (MS-OXCMSG 2.2.1.6), and Graph
refuses to change sensitive properties of what is no draft (Mail-Advanced.ReadWrite, from 2026-12-31).
"""

from __future__ import annotations

from typing import Any

from o2_connector.core.eml import encoded_word_text
from o2_connector.core.naming import ITEM_PROPERTY
from o2_connector.core.rendering import Address, Rendering

_MAX_HEADERS = 5  # InvalidInternetMessageHeaderCollection: "… should be less than or equal to 5."
_MAX_HEADER_VALUE = 995  # characters that others have written; an EML has the header whole


def graph_message(rendering: Rendering) -> dict[str, Any]:
    """Return the body of ``POST /users/{id}/mailFolders/{id}/messages``, without attachments."""
    sent = rendering.sent_at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return {
        "subject": rendering.subject,
        "body": {"contentType": "text", "content": rendering.text},
        "from": _recipient(rendering.sender),
        "sender": _recipient(rendering.sender),
        "toRecipients": [_recipient(each) for each in rendering.recipients],
        "internetMessageId": rendering.message_id,
        "isRead": True,
        "internetMessageHeaders": [
            {"name": name, "value": value}
            for name, text in rendering.headers[:_MAX_HEADERS]
            if len(value := " ".join(encoded_word_text(text))) <= _MAX_HEADER_VALUE
        ],
        "singleValueExtendedProperties": [
            {"id": "Integer 0x0E07", "value": "1"},  # PidTagMessageFlags: read, and not unsent, so no draft
            {"id": "SystemTime 0x0039", "value": sent},  # PidTagClientSubmitTime
            {"id": "SystemTime 0x0E06", "value": sent},  # PidTagMessageDeliveryTime
            {"id": "String 0x001A", "value": "IPM.Note"},  # PidTagMessageClass
            {"id": ITEM_PROPERTY, "value": rendering.key},
        ],
    }


def _recipient(address: Address) -> dict[str, Any]:
    return {"emailAddress": {"name": address.name, "address": address.address}}
