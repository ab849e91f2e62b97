"""The way to what is in a mailbox: folders, messages, attachments."""

from __future__ import annotations

from sandbox.graph import shapes
from sandbox.graph.answers import count_answer, mail_query, no_method
from sandbox.graph.attachments import serve_attachments
from sandbox.graph.folders import create_folder, list_folders, one_folder, remove_folder, shown_folders
from sandbox.graph.messages import create_message, list_messages, matching, message_answer, one_message
from sandbox.graph.refusals import access_denied, item_not_found, not_served
from sandbox.graph.store import Folder, Mailbox
from sandbox.graph.tenant import READ_MAIL, WRITE_MAIL, Answer, Call, Tenant


def serve(tenant: Tenant, mailbox: Mailbox, call: Call) -> Answer:
    """Answer a request for something in a mailbox; the rights come before everything else."""
    if not call.roles & (READ_MAIL if call.method == "GET" else WRITE_MAIL):
        raise access_denied()
    parts = call.parts
    kind = parts[2].lower()
    if kind == "messages":
        return _messages(tenant, mailbox, call, None, parts[3:])
    if kind == "mailfolders":
        return _folders(tenant, mailbox, call, mailbox.root, parts[3:])
    raise not_served(parts[2])


def is_mail(parts: tuple[str, ...]) -> bool:
    """Say whether a path under `/users/{id}` leads into the mailbox."""
    return len(parts) > 2 and parts[2].lower() in {"messages", "mailfolders"}


def _folders(tenant: Tenant, mailbox: Mailbox, call: Call, parent: Folder, parts: tuple[str, ...]) -> Answer:
    if not parts:
        if call.method == "POST":
            return create_folder(mailbox, call, parent)
        return list_folders(mailbox, call, parent)
    if parts[0] == "$count":
        return count_answer(len(shown_folders(parent, call.query)))
    folder = mailbox.folder(parts[0])
    if len(parts) == 1:
        return one_folder(mailbox, call, folder)
    if parts[1].lower() == "messages":
        return _messages(tenant, mailbox, call, folder, parts[2:])
    if parts[1].lower() == "childfolders":
        return _folders(tenant, mailbox, call, folder, parts[2:])
    if parts[1].lower().removeprefix("microsoft.graph.") == "permanentdelete" and call.method == "POST":
        return remove_folder(mailbox, folder)
    raise not_served(parts[1])


def _messages(tenant: Tenant, mailbox: Mailbox, call: Call, folder: Folder | None, parts: tuple[str, ...]) -> Answer:
    if not parts:
        if call.method == "POST":
            return create_message(tenant, mailbox, call, folder or mailbox.well_known["drafts"], in_folder=bool(folder))
        if call.method != "GET":
            raise no_method(call)
        return list_messages(tenant, mailbox, call, folder)
    if parts[0] == "$count":
        query = mail_query(call.query)
        return count_answer(len(matching(mailbox, query, folder)))
    message = mailbox.message(parts[0])
    if folder is not None and message.folder is not folder:
        raise item_not_found()
    if len(parts) == 1:
        return one_message(tenant, mailbox, call, message)
    action = parts[1].lower().removeprefix("microsoft.graph.")
    if action == "attachments":
        return serve_attachments(tenant, mailbox, call, message, parts[2:])
    if call.method != "POST" or len(parts) > 2:
        raise not_served(parts[1])
    if action == "move":
        given = shapes.decode(call.body, shapes.Destination, "message")
        mailbox.move(message, mailbox.folder(given.destinationId))
        return message_answer(tenant, mailbox, call, message, 201, None)
    if action == "permanentdelete":
        mailbox.remove(message)
        return Answer(204)
    raise not_served(parts[1])
