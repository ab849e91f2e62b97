"""Graph message: an item as the JSON that makes a message with true dates, no draft, in one create.

Everything must be in the create: the message flags are read-only after the first save (MS-OXCMSG 2.2.1.6), and Graph
refuses to change sensitive properties of what is no draft (Mail-Advanced.ReadWrite, from 2026-12-31).
"""

from __future__ import annotations

from typing import Any

from o2_connector.core.conversation import as_text
from o2_connector.core.eml import on_wire
from o2_connector.core.facts import FIRST
from o2_connector.core.naming import FACTS_PROPERTY, ITEM_PROPERTY
from o2_connector.core.parties import Address
from o2_connector.core.rendering import Rendering

_MAX_HEADER_VALUE = 995  # characters that others have written; the facts' property has it whole


def graph_message(rendering: Rendering) -> dict[str, Any]:
    """Return the body of ``POST /users/{id}/mailFolders/{id}/messages``, without attachments."""
    sent = f"{rendering.sent_at.isoformat(timespec='milliseconds')[:23]}Z"
    sender = _recipient(rendering.sender)
    html = rendering.html
    references = [rendering.reference]
    replies = []
    if rendering.in_reply_to:
        references.append(rendering.in_reply_to)
        replies = [{"id": "String 0x1042", "value": rendering.in_reply_to}]  # PidTagInReplyToId
    return {
        "subject": rendering.subject,
        "body": {
            "contentType": "text" if html is None else "html",
            "content": rendering.text if html is None else html,
        },
        "from": sender,
        "sender": sender,
        "toRecipients": [_recipient(each) for each in rendering.to],
        "ccRecipients": [_recipient(each) for each in rendering.cc],
        "internetMessageId": rendering.message_id,
        "isRead": True,
        "internetMessageHeaders": [
            {"name": name, "value": value}
            for name, _, text in [line.partition(": ") for line in rendering.facts[:FIRST]]
            if len(value := on_wire(text)) <= _MAX_HEADER_VALUE
        ],
        "singleValueExtendedProperties": [
            {"id": "Integer 0x0E07", "value": "1"},  # PidTagMessageFlags: read, and not unsent, so no draft
            {"id": "SystemTime 0x0039", "value": sent},  # PidTagClientSubmitTime
            {"id": "SystemTime 0x0E06", "value": sent},  # PidTagMessageDeliveryTime
            {"id": "String 0x001A", "value": rendering.message_class},  # PidTagMessageClass
            {"id": "String 0x1039", "value": " ".join(references)},  # PidTagInternetReferences
            *replies,
            {"id": "String 0x0070", "value": rendering.subject},  # PidTagConversationTopic
            {"id": "Binary 0x0071", "value": as_text(rendering.conversation_index)},  # PidTagConversationIndex
            # PidTagConversationIndexTracking (MS-OXOMSG 2.2.1.4): the conversation is the one that the index names
            {"id": "Boolean 0x3016", "value": "true"},
            {"id": ITEM_PROPERTY, "value": rendering.key},
            {"id": FACTS_PROPERTY, "value": "\n".join(rendering.facts)},
        ],
    }


def _recipient(address: Address) -> dict[str, Any]:
    return {"emailAddress": {"name": address.name, "address": address.address}}
