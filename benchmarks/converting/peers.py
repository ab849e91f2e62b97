"""The standard library's two ways to make an e-mail, given what ours says: they have nothing to find out themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.parser import BytesParser
from email.utils import format_datetime, formataddr, getaddresses
from hashlib import sha256
from typing import Any, cast

from benchmarks.converting.ours import Unsound
from o2_connector.core.rendering import Rendering

_COMPAT32 = policy.compat32.clone(linesep="\r\n", max_line_length=78)
_PARSER = BytesParser(policy=policy.SMTP)
_PEOPLE = {"from", "to", "cc"}
_OF_MIME = {"mime-version", "content-type", "content-transfer-encoding"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Attached:
    """Hold an attachment; `content_id` is that of one which belongs to the body."""

    name: str
    kind: tuple[str, str]
    content_id: str | None
    octets: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """Hold what an e-mail says.

    :param headers: in order, each as EmailMessage takes it: addresses, a time, or text.
    :param lines: the same as MIMEText takes them: text.
    """

    headers: tuple[tuple[str, tuple[Address, ...] | datetime | str], ...]
    lines: tuple[tuple[str, str], ...]
    text: str
    html: str | None
    attached: tuple[Attached, ...]


def said(eml: bytes, rendering: Rendering, media: Mapping[str, bytes]) -> Said:
    """Return what one of our e-mails says: addresses and bodies from the rendering, other headers read from the EML."""
    people = {"from": (rendering.sender,), "to": rendering.to, "cc": rendering.cc}
    headers: list[tuple[str, tuple[Address, ...] | datetime | str]] = []
    for name, value in _PARSER.parsebytes(eml, headersonly=True).items():
        if name.lower() in people:
            everybody = people[name.lower()]
            headers.append((name, tuple(Address(each.name, addr_spec=each.address) for each in everybody)))
        elif name.lower() == "date":
            headers.append((name, rendering.sent_at))
        elif name.lower() not in _OF_MIME:
            headers.append((name, str(value)))
    return Said(
        headers=tuple(headers),
        lines=tuple((name, _as_line(value)) for name, value in headers),
        text=rendering.text,
        html=rendering.html,
        attached=tuple(
            Attached(
                name=part.name,
                kind=(part.content_type.split("/")[0], part.content_type.split("/")[1]),
                content_id=part.content_id and f"<{part.content_id}>",
                octets=media[part.sha256],
            )
            for part in rendering.parts
        ),
    )


def email_message(said: Said) -> bytes:
    """Make it with EmailMessage, policy SMTP, base64 bodies like ours; the content manager's own way is slower."""
    message = EmailMessage(policy=policy.SMTP)
    for name, value in said.headers:
        message[name] = value
    message.set_content(said.text, cte="base64")
    if said.html is not None:
        message.add_alternative(said.html, subtype="html", cte="base64")
    body = message if said.html is None else cast("EmailMessage", message.get_payload(1))
    for each in said.attached:
        if each.content_id is not None:
            body.add_related(each.octets, *each.kind, filename=each.name, cid=each.content_id, disposition="inline")
    for each in said.attached:
        if each.content_id is None:
            message.add_attachment(each.octets, *each.kind, filename=each.name)
    return message.as_bytes()


def mime_text(said: Said) -> bytes:
    """Make it with MIMEText and, where it has parts, with what goes with it."""
    message: MIMEBase = MIMEText(said.text, "plain", "utf-8")
    if said.html is not None:
        message = _around("alternative", message, [MIMEText(said.html, "html", "utf-8")])
    if inline := [_mime_part(each, "inline") for each in said.attached if each.content_id is not None]:
        message = _around("related", message, inline)
    if others := [_mime_part(each, "attachment") for each in said.attached if each.content_id is None]:
        message = _around("mixed", message, others)
    for name, value in said.lines:
        message[name] = value
    return message.as_bytes(policy=_COMPAT32)


def check(eml: bytes, said: Said) -> None:
    """Read an e-mail and hold it against what it should say.

    :raises Unsound: naming the header or part that is another.
    """
    message = _PARSER.parsebytes(eml)
    found = [
        (name.lower(), _people(raw) if name.lower() in _PEOPLE else _read(value))
        for (name, value), (_, raw) in zip(message.items(), message.raw_items(), strict=True)
        if name.lower() not in _OF_MIME
    ]
    due = [(name.lower(), _due(value)) for name, value in said.headers]
    for (name, value), (due_name, due_value) in zip(sorted(found), sorted(due), strict=True):
        if (name, value) != (due_name, due_value):
            raise Unsound(f"{due_name} reads {value!r} where {due_value!r} is due")
    for kind, text in (("plain", said.text), ("html", said.html)):
        body = message.get_body((kind,))
        if (body and _lines(body.get_content())) != (None if text is None else _lines(text)):
            raise Unsound(f"the {kind} text is another")
    parts = sorted(
        (part.get_filename() or "", sha256(part.get_payload(decode=True)).digest())  # type: ignore[arg-type]
        for part in message.walk()
        if part.get_filename() is not None
    )
    if parts != sorted((each.name, sha256(each.octets).digest()) for each in said.attached):
        raise Unsound("the attachments are others")


def _around(kind: str, body: MIMEBase, parts: list[Any]) -> MIMEBase:
    message = MIMEMultipart(kind)
    for each in (body, *parts):
        message.attach(each)
    return message


def _mime_part(each: Attached, disposition: str) -> MIMEBase:
    from email.encoders import encode_base64

    part = MIMEBase(*each.kind)
    part.set_payload(each.octets)
    encode_base64(part)
    part.add_header("Content-Disposition", disposition, filename=each.name)
    if each.content_id is not None:
        part["Content-ID"] = each.content_id
    return part


def _as_line(value: tuple[Address, ...] | datetime | str) -> str:
    if isinstance(value, datetime):
        return format_datetime(value)
    if isinstance(value, str):
        return value
    return ", ".join(formataddr((each.display_name, each.addr_spec)) for each in value)


def _people(raw: str) -> list[tuple[str, str]]:
    # Python 3.11's own `addresses` have blanks too many where a name is several encoded words.
    people = getaddresses([raw.replace("\r\n", "")])
    return [(str(make_header(decode_header(name))), address) for name, address in people]


def _read(value: Any) -> Any:
    return value.datetime if hasattr(value, "datetime") else str(value).strip()


def _due(value: tuple[Address, ...] | datetime | str) -> Any:
    if isinstance(value, datetime):
        return value.replace(microsecond=0)
    return value.strip() if isinstance(value, str) else [(each.display_name, each.addr_spec) for each in value]


def _lines(text: str) -> str:
    # EmailMessage ends every text with a line's end; all three write CR LF or LF as it suits them.
    return text.replace("\r\n", "\n").removesuffix("\n")
