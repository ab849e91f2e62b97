"""Parts: where an item's attachments go in its e-mail, and which have to stay out of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from o2_connector.core.escapes import one_line
from o2_connector.core.identity import DOMAIN
from o2_connector.core.items import Attachment, File, Item
from o2_connector.core.outcomes import Cause

MOST_PARTS = 250
"""Attachments that Exchange Online takes in a message (Exchange Online limits, "Message limits")."""

# What every mail client shows in a body. Others, like HEIC, are attachments like any file.
_PICTURES = {"image/jpeg", "image/png", "image/gif", "image/bmp", "image/webp"}
_LAYOUTS = {"application/smil", "application/smil+xml"}  # how a phone lays an MMS out
# RFC 6838 (4.2); and neither of the kinds that RFC 2045 (6.4) forbids to be base64.
_CONTENT_TYPE = re.compile(
    r"(?!multipart/|message/)[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(?=\s*(;|\Z))",
    re.IGNORECASE | re.ASCII,
)
_PARAMETER = re.compile(r'\s*;\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)')
_CHARSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class Part(NamedTuple):
    """Describe an attachment of the e-mail; its bytes lie in staging under their digest.

    :param content_id: of one that belongs to the body, without angle brackets.
    :param is_shown: whether the body shows it.
    """

    name: str
    content_type: str
    size: int
    sha256: str
    content_id: str | None
    is_shown: bool

    @property
    def is_hidden(self) -> bool:
        """Tell whether it is kept out of sight: it belongs to the body, and the body does not show it."""
        return self.content_id is not None and not self.is_shown


class LeftOut(NamedTuple):
    """Name an attachment that is not in the e-mail, and why."""

    attachment: Attachment
    cause: Cause


def parts_of(
    item: Item, key: str, room: int, missing: Mapping[File, Cause]
) -> tuple[tuple[Part, ...], tuple[LeftOut, ...]]:
    """Return the attachments that are in the e-mail, and those that are not, each in the record's order.

    :param key: of the item.
    :param room: bytes that the tenant's limit leaves for attachments. They are taken in order, while they fit.
    :param missing: why, for each file that could not be staged.
    """
    here: list[Part] = []
    left_out: list[LeftOut] = []
    for number, each in enumerate(item.attachments, start=1):
        if each.file in missing:
            left_out.append(LeftOut(each, missing[each.file]))
        elif len(here) == MOST_PARTS:
            left_out.append(LeftOut(each, Cause.TOO_MANY_ATTACHMENTS))
        elif each.byte_count > room:
            left_out.append(LeftOut(each, Cause.ATTACHMENT_TOO_LARGE))
        else:
            room -= each.byte_count
            here.append(_part(each, f"{number}.{key}@{DOMAIN}"))
    return tuple(here), tuple(left_out)


def _as_part(content_type: str, charset: str | None, *, hidden: bool) -> str:
    if hidden and content_type.startswith("text/"):
        return "application/octet-stream"  # an inline text is the message itself to its readers, even an empty one
    return f"{content_type}; charset={charset}" if charset and content_type.startswith("text/") else content_type


def _charset(content_type: str, at: int) -> str | None:
    """Return the charset parameter's value, where it has one of a plain name."""
    while parameter := _PARAMETER.match(content_type, at):
        if parameter[1].lower() == "charset":
            value = parameter[2].strip().strip('"')
            return value if _CHARSET.fullmatch(value) else None
        at = parameter.end()
    return None


def _part(attachment: Attachment, content_id: str) -> Part:
    found = _CONTENT_TYPE.match(attachment.content_type.strip())
    content_type = found[0].lower() if found else "application/octet-stream"
    charset = _charset(attachment.content_type.strip(), found.end()) if found else None
    shown = content_type in _PICTURES and attachment.byte_count > 0
    hidden = content_type in _LAYOUTS or attachment.byte_count == 0
    return Part(
        name=one_line(attachment.file_name) if attachment.file_name.strip() else "attachment",
        content_type=_as_part(content_type, charset, hidden=hidden),
        size=attachment.byte_count,
        sha256=attachment.sha256,
        content_id=content_id if shown or hidden else None,
        is_shown=shown,
    )
