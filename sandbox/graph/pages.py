"""The page on which a person looks into the mailboxes: plain HTML, no script, everything escaped.

It asks for no login: the sandbox listens on one machine and holds nothing real.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import escape
from typing import Final
from urllib.parse import parse_qs, quote

from msgspec import UNSET

from sandbox.graph import shapes
from sandbox.graph.refusals import Refused
from sandbox.graph.store import READ, Attachment, Folder, Mailbox, StoredMessage, preview
from sandbox.graph.tenant import Answer, Tenant

ROOT: Final = "/mailboxes"
PAGE_SIZE: Final = 50
SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# A message's own HTML: no script, no form, no address of its own, nothing from elsewhere.
BODY_SECURITY: Final = {
    **SECURITY,
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'self'",
}
HTML: Final = "text/html; charset=utf-8"
# What browsers show and play; AMR, which phones record, they do not.
SHOWN: Final = re.compile(r"image/(?:png|jpeg|gif|webp|bmp)|audio/(?:mpeg|mp3|mp4|aac|ogg|wav|x-wav|webm|flac)")
_CID: Final = re.compile(r"""(\bsrc\s*=\s*["']?)cid:([^"'\s>]+)""", re.IGNORECASE)

STYLE: Final = """\
:root { color-scheme: light dark; --ground: #f4f5f8; --card: #fff; --ink: #1b1f2a; --soft: #626a7b; --line: #e2e5ec;
  --mark: #1f4fd8; --tint: #e9eefc; --radius: 12px }
@media (prefers-color-scheme: dark) { :root { --ground: #11141b; --card: #1a1f29; --ink: #e9ecf3; --soft: #98a1b3;
  --line: #2a313f; --mark: #8fb0ff; --tint: #222c44 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto,
  "Noto Sans", sans-serif; overflow-wrap: anywhere }
a { color: var(--mark); text-decoration: none }
a:hover { text-decoration: underline }
header, main { max-width: 60rem; margin: 0 auto; padding: 1rem }
header { display: flex; flex-wrap: wrap; gap: .25rem .6rem; align-items: baseline; color: var(--soft);
  padding-bottom: 0; font-size: .9rem }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .2rem 0 1rem }
h2 { font-size: .8rem; letter-spacing: .06em; text-transform: uppercase; color: var(--soft); margin: 1.6rem 0 .5rem }
.card { background: var(--card); border: 1px solid var(--line); border-radius: var(--radius); overflow: hidden }
.rows { list-style: none; margin: 0; padding: 0 }
.rows li + li { border-top: 1px solid var(--line) }
.rows a { display: grid; grid-template-columns: 2.5rem 1fr auto; gap: 0 .8rem; padding: .7rem 1rem; color: inherit }
.rows a:hover { background: var(--tint); text-decoration: none }
.face { grid-row: 1 / span 2; align-self: start; width: 2.5rem; height: 2.5rem; border-radius: 50%; display: grid;
  place-items: center; background: var(--tint); color: var(--mark); font-weight: 600 }
.name { font-weight: 600; min-width: 0 }
.when, .count { color: var(--soft); font-size: .85rem; white-space: nowrap; text-align: right;
  font-variant-numeric: tabular-nums }
.line { grid-column: 2 / 4; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.soft { color: var(--soft); font-size: .9rem }
.unread .name::after { content: ""; display: inline-block; width: .5rem; height: .5rem; border-radius: 50%;
  background: var(--mark); margin-left: .4rem; vertical-align: middle }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin: 0 0 1rem }
nav a { padding: .3rem .8rem; border: 1px solid var(--line); border-radius: 99px; background: var(--card);
  color: inherit; font-size: .9rem }
nav a[aria-current] { background: var(--mark); border-color: var(--mark); color: var(--card) }
nav.pages { justify-content: space-between; margin: 1rem 0 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; margin: 0; padding: .9rem 1rem }
dt { color: var(--soft) }
dd { margin: 0; min-width: 0 }
code { font: .85em/1.5 ui-monospace, "Cascadia Mono", Menlo, monospace }
iframe { display: block; width: 100%; border: 0; background: var(--card) }
.short { height: 12rem }
.medium { height: 24rem }
.tall { height: 44rem }
pre { margin: 0; padding: 1rem; white-space: pre-wrap; font: inherit }
figure { margin: 0; padding: 1rem }
figure + figure { border-top: 1px solid var(--line) }
figure img { display: block; max-width: 100%; max-height: 30rem; border-radius: 8px; margin-bottom: .5rem }
audio { display: block; width: 100%; max-width: 32rem; margin-bottom: .5rem }
.empty { padding: 2rem 1rem; text-align: center; color: var(--soft) }
details { margin-top: 1rem }
summary { cursor: pointer; color: var(--soft) }
details .card { margin-top: .5rem }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .5rem } }
"""


def serve(tenant: Tenant, parts: list[str], query: str) -> Answer:
    """Answer a request for a page, a message's body or one of its files."""
    if parts == ["style.css"]:
        return Answer(200, STYLE.encode(), {"X-Content-Type-Options": "nosniff"}, "text/css; charset=utf-8")
    if not parts or parts == [""]:
        return _page("Mailboxes", [], _mailbox_list(tenant))
    mailbox = tenant.mailbox(parts[0])
    if mailbox is None:
        return _nothing()
    try:
        if len(parts) == 1:
            return _folder_page(mailbox, parse_qs(query))
        if parts[1] != "messages" or len(parts) < 3:
            return _nothing()
        message = mailbox.message(parts[2])
        match parts[3:]:
            case []:
                return _message_page(mailbox, message)
            case ["body"]:
                return Answer(200, _body(mailbox, message).encode("utf-8", "replace"), BODY_SECURITY, HTML)
            case ["attachments", attachment_id]:
                return _file(tenant, mailbox.attachment(message, attachment_id))
    except Refused:
        return _nothing()
    return _nothing()


def _nothing() -> Answer:
    page = _page("Nothing here", [], '<div class="card empty">There is nothing at this address.</div>')
    return page._replace(status=404)


def _page(title: str, trail: list[tuple[str, str]], content: str) -> Answer:
    crumbs = "".join(f'<a href="{escape(address)}">{escape(name)}</a><span>/</span>' for name, address in trail)
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{ROOT}/style.css"></head>'
        f"<body><header>{crumbs}<span>sandbox of Microsoft 365</span></header>"
        f'<main><h1 dir="auto">{escape(title) or "(no subject)"}</h1>{content}</main></body></html>'
    )
    return Answer(200, text.encode("utf-8", "replace"), SECURITY, HTML)


def _mailbox_list(tenant: Tenant) -> str:
    rows = []
    for mailbox in sorted(tenant.mailboxes.values(), key=lambda box: box.user.display_name.casefold()):
        user = mailbox.user
        count = len(mailbox.newest_first())
        state = "" if user.mailbox == "ok" else f" · {user.mailbox}"
        rows.append(
            f'<li><a href="{ROOT}/{quote(user.id)}">{_face(user.display_name)}'
            f'<span class="name">{escape(user.display_name)}</span><span class="count">{_counted(count)}</span>'
            f'<span class="line soft">{escape(user.mail or user.user_principal_name)}{escape(state)}</span></a></li>'
        )
    return f'<ul class="card rows">{"".join(rows)}</ul>' if rows else '<div class="card empty">No mailboxes.</div>'


def _folder_page(mailbox: Mailbox, options: dict[str, list[str]]) -> Answer:
    folders = _folders_to_show(mailbox)
    folder = mailbox.folder(options["folder"][0]) if "folder" in options else folders[0]
    page = max(1, int(number) if (number := options.get("page", ["1"])[0]).isdecimal() else 1)
    home = f"{ROOT}/{quote(mailbox.user.id)}"
    tabs = "".join(
        f'<a href="{home}?folder={shown.id}"{" aria-current=page" if shown is folder else ""}>'
        f"{escape(shown.name)} · {len(shown.messages)}</a>"
        for shown in folders
    )
    messages = folder.newest_first()
    shown = messages[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    rows = "".join(_row(mailbox, message, home) for message in shown)
    listing = f'<ul class="card rows">{rows}</ul>' if rows else '<div class="card empty">No messages.</div>'
    last = max(1, -(-len(messages) // PAGE_SIZE))
    here = f"{home}?folder={folder.id}&amp;page="
    turns = (
        (f'<a href="{here}{page - 1}">Newer</a>' if page > 1 else "<span></span>")
        + f'<span class="soft">Page {page} of {last}</span>'
        + (f'<a href="{here}{page + 1}">Older</a>' if page < last else "<span></span>")
    )
    pages = f'<nav class="pages">{turns}</nav>' if last > 1 else ""
    return _page(mailbox.user.display_name, [("Mailboxes", ROOT)], f"<nav>{tabs}</nav>{listing}{pages}")


def _folders_to_show(mailbox: Mailbox) -> list[Folder]:
    """Return folders that somebody made, fullest first (an archive is one), then the others that hold something."""
    made = [folder for folder in mailbox.folders.values() if not folder.well_known]
    kept = [folder for folder in mailbox.folders.values() if folder.well_known and folder.messages]
    made.sort(key=lambda folder: -len(folder.messages))
    return [*made, *kept] or [mailbox.well_known["inbox"]]


def _row(mailbox: Mailbox, message: StoredMessage, home: str) -> str:
    content = message.content
    name, _ = _who(content.from_ or content.sender or None)
    files = f" · {len(message.attachments)} file{'s'[: len(message.attachments) > 1]}" if message.attachments else ""
    unread = "" if message.flags & READ else ' class="unread"'
    draft = "Draft · " if message.is_draft else ""
    return (
        f'<li{unread}><a href="{home}/messages/{mailbox.message_id(message, immutable=True)}">{_face(name)}'
        f'<span class="name" dir="auto">{escape(name)}</span><span class="when">{_time(message.sent)[:-7]}</span>'
        f'<span class="line" dir="auto">{draft}{escape(content.subject or "(no subject)")}</span>'
        f'<span class="line soft" dir="auto">{escape(" ".join(preview(content.body or None).split()))}{files}</span>'
        "</a></li>"
    )


def _message_page(mailbox: Mailbox, message: StoredMessage) -> Answer:
    content = message.content
    user = mailbox.user
    here = f"{ROOT}/{quote(user.id)}/messages/{mailbox.message_id(message, immutable=True)}"
    facts = [
        ("From", _people([content.from_] if content.from_ else [])),
        ("To", _people(content.toRecipients or [])),
        ("Cc", _people(content.ccRecipients or [])),
        ("Bcc", _people(content.bccRecipients or [])),
        ("Sent", _time(message.sent)),
        ("Received", _time(message.received)),
        ("Categories", escape(", ".join(content.categories or []))),
        ("State", ("draft, " if message.is_draft else "") + ("read" if message.flags & READ else "unread")),
    ]
    body = content.body or None
    text = (body.content if body else None) or ""
    if body and body.contentType == "html":
        size = "short" if len(text) < 600 else "medium" if len(text) < 6000 else "tall"
        shown = f'<iframe sandbox="" class="{size}" src="{here}/body" title="Body of the message"></iframe>'
    else:
        shown = f'<pre dir="auto">{escape(text) or "(empty)"}</pre>'
    files = "".join(_figure(mailbox, message, attachment, here) for attachment in message.attachments)
    headers = content.internetMessageHeaders or []
    singles = content.singleValueExtendedProperties
    technical = [
        ("Message-ID", content.internetMessageId or ""),
        *((header.name or "", header.value or "") for header in headers),
        *((single.id or "", single.value or "") for single in (singles if singles is not UNSET else [])),
        ("Created", _time(message.created)),
    ]
    page = (
        f'<div class="card">{_facts(facts)}</div><h2>Message</h2><div class="card">{shown}</div>'
        + (f'<h2>Files</h2><div class="card">{files}</div>' if files else "")
        + '<details><summary>Headers and properties</summary><div class="card">'
        + _facts([(name, f"<code>{escape(value)}</code>") for name, value in technical])
        + "</div></details>"
    )
    folder = f"{ROOT}/{quote(user.id)}?folder={message.folder.id}"
    trail = [("Mailboxes", ROOT), (user.display_name, f"{ROOT}/{quote(user.id)}"), (message.folder.name, folder)]
    return _page(content.subject or "(no subject)", trail, page)


def _facts(facts: list[tuple[str, str]]) -> str:
    """Return a list of facts; the names are escaped here, the values by whoever made them."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in facts if value) + "</dl>"


def _figure(mailbox: Mailbox, message: StoredMessage, attachment: Attachment, here: str) -> str:
    address = f"{here}/attachments/{mailbox.message_id(message, immutable=True, attachment=attachment.number)}"
    kind = (attachment.content_type or "").partition(";")[0].strip().lower()
    name = escape(attachment.name)
    shown = ""
    if SHOWN.fullmatch(kind):
        if kind.startswith("image/"):
            shown = f'<img src="{address}" alt="{name}">'
        elif kind.startswith("audio/"):
            shown = f'<audio controls preload="metadata" src="{address}"></audio>'
    size = f"{attachment.size / 1024:,.1f} KB" if attachment.size >= 1024 else f"{attachment.size} bytes"
    return (
        f'<figure>{shown}<figcaption><a href="{address}" dir="auto">{name}</a> '
        f'<span class="soft">{escape(kind or "unknown type")} · {size}</span></figcaption></figure>'
    )


def _body(mailbox: Mailbox, message: StoredMessage) -> str:
    """Return the HTML of a body for its frame, with the pictures that it names by content id."""
    here = f"{ROOT}/{quote(mailbox.user.id)}/messages/{mailbox.message_id(message, immutable=True)}/attachments/"
    files = {
        (attachment.content_id or "").strip("<>"): mailbox.message_id(
            message, immutable=True, attachment=attachment.number
        )
        for attachment in message.attachments
    }
    body = message.content.body
    text = (body.content if body else None) or ""
    frame = (
        '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        "<style>body{font:16px/1.5 system-ui,sans-serif;margin:1rem}</style>"
    )
    return frame + _CID.sub(lambda found: f"{found[1]}{here}{files.get(found[2], '')}", text)


def _file(tenant: Tenant, attachment: Attachment) -> Answer:
    """Return a file: pictures and sounds to be shown, all else to be saved."""
    kind = (attachment.content_type or "").partition(";")[0].strip().lower()
    shown = SHOWN.fullmatch(kind) is not None
    name = quote(attachment.name, safe="")
    headers = {
        **SECURITY,
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}",
    }
    return Answer(200, tenant.contents.get(attachment.digest), headers, kind if shown else "application/octet-stream")


def _who(recipient: shapes.Recipient | None) -> tuple[str, str]:
    email = recipient.emailAddress if recipient else None
    address = (email.address if email else None) or ""
    return (email.name if email else None) or address or "(nobody)", address


def _people(recipients: list[shapes.Recipient]) -> str:
    shown = []
    for name, address in map(_who, recipients):
        detail = f' <span class="soft">{escape(address)}</span>' if address and address != name else ""
        shown.append(f'<div dir="auto">{escape(name)}{detail}</div>')
    return "".join(shown)


def _face(name: str) -> str:
    letters = "".join(word[0] for word in name.split()[:2] if word[0].isalpha()).upper()
    digits = "".join(character for character in name if character.isdecimal())[-2:]
    return f'<span class="face" aria-hidden="true">{escape(letters or digits or "#")}</span>'


def _counted(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b %Y %H:%M:%S UTC").lstrip("0")
