"""A message posted as MIME: base64 of an RFC 5322 message, which always becomes a draft of now.

Source: docs-contrib `api-reference/v1.0/api/user-post-messages.md`, "Create a draft in MIME format". A wrong base64 is
400 ErrorMimeContentInvalidBase64String, a bare LF or an over-long header line 400 UnableToDeserializePostBody.
"""

from __future__ import annotations

import base64
import binascii
import re
from email import policy
from email.headerregistry import Address, AddressHeader
from email.message import EmailMessage
from email.parser import BytesParser

from sandbox.graph.refusals import Refused
from sandbox.graph.shapes import EmailAddress, FileAttachment, ItemBody, Message, Recipient

_BARE_LF = re.compile(rb"(?<!\r)\n")
_PARSER = BytesParser(EmailMessage, policy=policy.SMTP)
MAX_LINE = 998


def read_mime(body: bytes) -> tuple[Message, list[FileAttachment]]:
    """Decode a posted MIME message into a message and its files."""
    try:
        content = base64.b64decode(body, validate=True)
    except binascii.Error:
        message = "Invalid base64 string for MIME content."
        raise Refused(400, "ErrorMimeContentInvalidBase64String", message) from None
    head = content.partition(b"\r\n\r\n")[0]
    if _BARE_LF.search(content) or any(len(line) > MAX_LINE for line in head.split(b"\r\n")):
        raise Refused(400, "UnableToDeserializePostBody", "were unable to deserialize ")
    mail = _PARSER.parsebytes(content)
    text = mail.get_body(("html", "plain"))
    words = text.get_content() if text is not None else ""
    kind = "html" if text is not None and text.get_content_subtype() == "html" else "text"
    senders = _recipients(mail, "from")
    files = [
        FileAttachment(
            odata_type="#microsoft.graph.fileAttachment",
            name=part.get_filename() or "attachment",
            contentType=part.get_content_type(),
            contentBytes=_bytes_of(part),
            contentId=part["content-id"],
            isInline=part.get_content_disposition() == "inline",
        )
        for part in mail.iter_attachments()
    ]
    draft = Message(
        subject=str(mail["subject"] or ""),
        body=ItemBody(contentType=kind, content=words),
        from_=senders[0] if senders else None,
        sender=senders[0] if senders else None,
        toRecipients=_recipients(mail, "to"),
        ccRecipients=_recipients(mail, "cc"),
        bccRecipients=_recipients(mail, "bcc"),
        replyTo=_recipients(mail, "reply-to"),
        internetMessageId=mail["message-id"],
    )
    return draft, files


def _bytes_of(part: EmailMessage) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _recipients(mail: EmailMessage, name: str) -> list[Recipient]:
    headers = mail.get_all(name, [])
    addresses: list[Address] = [a for header in headers if isinstance(header, AddressHeader) for a in header.addresses]
    return [
        Recipient(emailAddress=EmailAddress(name=address.display_name or address.addr_spec, address=address.addr_spec))
        for address in addresses
    ]
