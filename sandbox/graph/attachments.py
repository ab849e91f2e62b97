"""Attachments and upload sessions."""

from __future__ import annotations

import re
from typing import Any, Final

from sandbox.graph import shapes
from sandbox.graph.answers import MAX_PAGE, count_answer, json_answer, mail_query, no_method, page_answer, too_large
from sandbox.graph.messages import MAX_ATTACHMENTS
from sandbox.graph.odata import Query
from sandbox.graph.refusals import Refused, not_served
from sandbox.graph.store import Attachment, Mailbox, StoredMessage
from sandbox.graph.tenant import Answer, Call, Tenant, Upload
from sandbox.graph.views import attachment_view, chosen

MEGABYTE: Final = 1024 * 1024
MIN_UPLOAD: Final = 3 * MEGABYTE
MAX_UPLOAD: Final = 150 * MEGABYTE
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def serve_attachments(
    tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage, parts: tuple[str, ...]
) -> Answer:
    """Answer a request for the attachments of a message."""
    if not parts:
        if call.method == "POST":
            return _add_attachment(tenant, mailbox, call, message)
        return _list_attachments(tenant, mailbox, call, message)
    if parts[0] == "$count":
        return count_answer(len(message.attachments))
    if parts[0].lower().removeprefix("microsoft.graph.") == "createuploadsession":
        return _create_upload(tenant, mailbox, call, message)
    attachment = mailbox.attachment(message, parts[0])
    if len(parts) == 2 and parts[1] == "$value" and call.method == "GET":
        kind = attachment.content_type or "application/octet-stream"
        return Answer(200, tenant.contents.get(attachment.digest), {}, kind)
    if len(parts) > 1:
        raise not_served(parts[1])
    if call.method == "DELETE":
        message.attachments = tuple(kept for kept in message.attachments if kept is not attachment)
        mailbox.touch(message, call.now)
        return Answer(204)
    if call.method != "GET":
        raise no_method(call)
    message_id = mailbox.message_id(message, immutable=call.immutable)
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/messages('{message_id}')/attachments/$entity"
    view = attachment_view(tenant, mailbox, message, attachment, call)
    return json_answer(call, 200, {"@odata.context": context, **view})


def _list_attachments(tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage) -> Answer:
    if call.method != "GET":
        raise no_method(call)
    query = mail_query(call.query)
    views = [attachment_view(tenant, mailbox, message, attachment, call) for attachment in message.attachments]
    message_id = mailbox.message_id(message, immutable=call.immutable)
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/messages('{message_id}')/attachments"
    names = query.select
    whole = query if query.top else Query(top=MAX_PAGE, others=query.others, count=query.count)
    return page_answer(call, whole, context, views, lambda view: view if names is None else chosen(view, names))


def _room_for(tenant: Tenant, mailbox: Mailbox, message: StoredMessage, size: int) -> None:
    if mailbox.user.mailbox == "full":
        raise Refused(507, "ErrorQuotaExceeded", "Mailbox has exceeded maximum mailbox size.")
    if len(message.attachments) >= MAX_ATTACHMENTS:
        raise Refused(400, "ErrorInvalidRequest", f"A message holds {MAX_ATTACHMENTS} attachments at most.")
    if message.size + size > tenant.message_bytes:
        raise too_large()


def _attach(
    tenant: Tenant, mailbox: Mailbox, message: StoredMessage, file: shapes.FileAttachment, call: Call
) -> Attachment:
    content = file.contentBytes or b""
    number = max((attachment.number for attachment in message.attachments), default=0) + 1
    attachment = Attachment(number, file, tenant.contents.put(content), int(call.now.timestamp()))
    message.attachments += (attachment,)
    mailbox.touch(message, call.now)
    return attachment


def _add_attachment(tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage) -> Answer:
    """Add a file below 3 MB (the request's 4 MB see to that), to a draft or not: whether the rule of 2026-12-31 covers
    attachments is not documented."""
    file = shapes.file_attachment(call.body)
    _room_for(tenant, mailbox, message, len(file.contentBytes or b""))
    attachment = _attach(tenant, mailbox, message, file, call)
    message_id = mailbox.message_id(message, immutable=call.immutable)
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/messages('{message_id}')/attachments/$entity"
    view = attachment_view(tenant, mailbox, message, attachment, call)
    return json_answer(call, 201, {"@odata.context": context, **view})


def _create_upload(tenant: Tenant, mailbox: Mailbox, call: Call, message: StoredMessage) -> Answer:
    """Open an upload session for a file of 3 to 150 MB (outlook-large-attachments.md)."""
    if call.method != "POST":
        raise no_method(call)
    item = shapes.decode(call.body, shapes.UploadRequest, "attachment").AttachmentItem
    if (item.attachmentType or "").lower() != "file":
        # docs-contrib#710
        message_text = "Attachment upload sessions are supported only for file attachments."
        raise Refused(405, "ErrorAttachmentSessionIsSupportedOnlyForFileAttachments", message_text)
    if not item.name or not item.size:
        raise Refused(400, "ErrorInvalidRequest", "The attachment item needs a name and a size.")
    if item.size < MIN_UPLOAD:
        # docs#7044
        message_text = "The attachment size must not be less than the minimum size of an upload session."
        raise Refused(400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", message_text)
    if item.size > MAX_UPLOAD:
        message_text = "The attachment size exceeds the limit."
        raise Refused(400, "ErrorAttachmentSizeLimitExceeded", message_text)
    _room_for(tenant, mailbox, message, 0)
    upload = tenant.start_upload(mailbox, message, item, call)
    body = {
        "@odata.context": f"https://{call.host}/v1.0/$metadata#microsoft.graph.uploadSession",
        "uploadUrl": f"https://{call.host}/upload/{upload.key}?authtoken={upload.key[::-1]}",
        "expirationDateTime": shapes.iso(int(upload.expires.timestamp())),
        "nextExpectedRanges": ["0-"],
    }
    return json_answer(call, 201, body)


def serve_upload(tenant: Tenant, call: Call, key: str, authorization: str, content_range: str) -> Answer:
    """Answer a request to an upload URL, which is its own authority."""
    upload = tenant.uploads.get(key)
    if authorization:
        # msgraph-sdk-java#1380
        message = "The audience claim value is invalid."
        raise Refused(401, "InvalidAudienceForResource", message)
    if f"authtoken={key[::-1]}" not in call.query:
        raise Refused(401, "InvalidAuthenticationToken", "Access token is empty.")
    if upload is None or upload.expires <= call.now or upload.message.number not in upload.mailbox.messages:
        tenant.uploads.pop(key, None)
        raise Refused(404, "ErrorItemNotFound", "The upload session was not found.")
    if call.method == "DELETE":
        del tenant.uploads[key]
        return Answer(204)
    if call.method == "PUT":
        return _put_range(tenant, call, upload, content_range)
    if call.method != "GET":
        raise no_method(call)
    return json_answer(call, 200, _upload_state(upload))


def _upload_state(upload: Upload) -> dict[str, Any]:
    """Return where an upload stands: a single start value, the way Outlook writes it."""
    return {
        "expirationDateTime": shapes.iso(int(upload.expires.timestamp())),
        "nextExpectedRanges": [str(len(upload.content))],
    }


def _put_range(tenant: Tenant, call: Call, upload: Upload, content_range: str) -> Answer:
    """Take the next bytes: "You must upload bytes in a file in order" (outlook-large-attachments.md)."""
    match = _RANGE.fullmatch(content_range)
    if match is None:
        raise Refused(400, "ErrorInvalidRequest", "The Content-Range header is missing or malformed.")
    first, last, total = (int(number) for number in match.groups())
    if total != upload.item.size or last >= total or last - first + 1 != len(call.body):
        raise Refused(400, "ErrorInvalidRequest", "The Content-Range header does not fit the content or the session.")
    if first != len(upload.content):
        raise Refused(416, "ErrorInvalidRange", "The bytes of a file have to be uploaded in order.")
    if upload.message.size + last + 1 > tenant.message_bytes:
        raise too_large()
    upload.content += call.body
    if last + 1 < total:
        return json_answer(call, 200, _upload_state(upload))
    item = upload.item
    file = shapes.FileAttachment(
        name=item.name,
        contentType=item.contentType or "application/octet-stream",
        isInline=item.isInline,
        contentId=item.contentId,
        contentBytes=bytes(upload.content),
    )
    mailbox, message = upload.mailbox, upload.message
    _room_for(tenant, mailbox, message, 0)
    attachment = _attach(tenant, mailbox, message, file, call)
    del tenant.uploads[upload.key]
    message_id = mailbox.message_id(message, immutable=upload.immutable)
    attachment_id = mailbox.message_id(message, immutable=upload.immutable, attachment=attachment.number)
    place = (
        f"https://{call.host}/v1.0/Users('{mailbox.user.id}')/Messages('{message_id}')/Attachments('{attachment_id}')"
    )
    return Answer(201, b"", {"Location": place})
