"""Rendering: what an item says as an e-mail, before it takes the form of an EML or of a Graph message.

Both forms are made from the same :class:`Rendering`, so they cannot say different things.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from o2_connector.core.conversation import conversation_index, conversation_of
from o2_connector.core.conversion_profile import Profile
from o2_connector.core.facts import Lines, facts_of, facts_on_left_out, interop_of
from o2_connector.core.identity import DOMAIN, item_key, message_id
from o2_connector.core.items import Captured, File, ItemType
from o2_connector.core.outcomes import Cause
from o2_connector.core.parties import Address, party_of, to_and_cc
from o2_connector.core.parts import LeftOut, Part, parts_of
from o2_connector.core.wording import Said, html_body, notes_on, plain_body, said_in

# Bytes of a message's limit that are kept for what it has beside text, facts and attachments, and for each of its
# people and attachments. A character of the text may take twelve, in UTF-16 and escaped as HTML; one of the facts four.
_ASIDE = 64 * 1024
_PERSON = 2048
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_CLASSES = {ItemType.SMS: "SMS", ItemType.MMS: "MMS", ItemType.CALL: "Call", ItemType.VOICEMAIL: "Voicemail"}


class Rendering(msgspec.Struct, frozen=True, kw_only=True):
    """Hold everything that the e-mail says.

    :param reference: Message-ID of the conversation's root.
    :param in_reply_to: Message-ID of the item that this one edits or deletes.
    :param sent_at: in UTC.
    :param sent: the same in whole milliseconds since 1970.
    :param text: the body as plain text, its lines ended by line feeds.
    :param html: the same as HTML, where that shows more, or hides what is to be out of sight.
    :param facts: our own headers, in order.
    :param interop: the headers of SMS Backup+, in order.
    :param conversation_index: PidTagConversationIndex.
    :param causes: why parts of the item are not in it.
    """

    key: str
    message_id: str
    reference: str
    in_reply_to: str | None
    sent_at: datetime
    sent: int
    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    subject: str
    text: str
    html: str | None
    facts: Lines
    interop: Lines
    parts: tuple[Part, ...]
    conversation_index: bytes
    message_class: str
    causes: tuple[Cause, ...]


def render(captured: Captured, profile: Profile, missing: Mapping[File, Cause]) -> Rendering:
    """Render an item.

    :param missing: why, for each of the files that could not be staged.
    """
    item = captured.item
    key = item_key(item.item_id)
    sent_at = item.sent_at.astimezone(UTC)
    sent = (sent_at - _EPOCH) // _MILLISECOND
    sender = party_of(item.from_, profile.region)
    recipients = tuple([party_of(each, profile.region) for each in item.to])
    parties = (sender, *recipients)
    to, cc = to_and_cc(item, recipients)
    conversation = conversation_of(item, tuple(sorted({party.number for party in parties})))
    said = said_in(item.text)
    facts = facts_of(captured, parties, said)
    parts: tuple[Part, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    if item.attachments:
        aside = (
            _ASIDE
            + _PERSON * (len(parties) + len(item.attachments))
            + 4 * sum(map(len, facts))
            + 12 * len(said.text or "")
        )
        parts, left_out = parts_of(item, key, max(profile.message_bytes - aside, 0), missing)
    notes = notes_on(captured, said, parties, left_out)
    has_inline = bool(parts) and any(part.content_id for part in parts)
    return Rendering(
        key=key,
        message_id=f"<{key}@{DOMAIN}>",
        reference=conversation.reference,
        in_reply_to=message_id(item.relates_to.item_id) if item.relates_to else None,
        sent_at=sent_at,
        sent=sent,
        sender=sender.address,
        to=to,
        cc=cc,
        subject=conversation.subject,
        text=plain_body(said.text, notes, parts),
        html=html_body(said.text, notes, parts) if has_inline else None,
        facts=facts + facts_on_left_out(left_out) if left_out else facts,
        interop=interop_of(item, parties, conversation, sent),
        parts=parts,
        conversation_index=conversation_index(conversation, sent, key),
        message_class=f"{profile.message_class}.{_CLASSES[item.item_type]}",
        causes=_causes(said, left_out) if left_out or said.cut_from else (),
    )


def _causes(said: Said, left_out: tuple[LeftOut, ...]) -> tuple[Cause, ...]:
    causes = [each.cause for each in left_out]
    if said.cut_from:
        causes.append(Cause.TEXT_TOO_LONG)
    return tuple(dict.fromkeys(causes))
