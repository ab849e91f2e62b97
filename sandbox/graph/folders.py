"""Mail folders: list, make, rename, delete."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from msgspec import UNSET

from sandbox.graph import shapes
from sandbox.graph.answers import check_names, json_answer, mail_query, no_method, page_answer
from sandbox.graph.odata import dig, holds
from sandbox.graph.refusals import Refused
from sandbox.graph.store import READ, Folder, Mailbox
from sandbox.graph.tenant import Answer, Call

FOLDER_FIELDS: Final = frozenset(
    {"childFolderCount", "displayName", "id", "isHidden", "parentFolderId", "totalItemCount", "unreadItemCount"}
)


def create_folder(mailbox: Mailbox, call: Call, parent: Folder) -> Answer:
    """Make a folder; "displayName and isHidden are the only writable properties" (mailfolder-post-childfolders.md)."""
    given = shapes.decode(call.body, shapes.MailFolder, "mailFolder")
    for name in ("id", "parentFolderId", "childFolderCount", "totalItemCount", "unreadItemCount"):
        if getattr(given, name) is not UNSET:
            raise Refused(400, "ErrorInvalidPropertySet", f"Set action is invalid for property '{name}'.")
    if not given.displayName or not given.displayName.strip():
        raise Refused(400, "ErrorInvalidRequest", "The required property 'displayName' is missing.")
    hidden = given.isHidden is not UNSET and bool(given.isHidden)
    folder = mailbox.add_folder(given.displayName, parent, hidden=hidden)
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/mailFolders/$entity"
    return json_answer(call, 201, {"@odata.context": context, **_folder_view(mailbox, folder, None)})


def shown_folders(parent: Folder, query: str) -> list[Folder]:
    """Return the folders that a listing shows: hidden ones only with includeHiddenFolders=true (mailfolder.md)."""
    hidden_too = "includehiddenfolders=true" in query.lower()
    return [child for child in parent.children if hidden_too or not child.hidden]


def list_folders(mailbox: Mailbox, call: Call, parent: Folder) -> Answer:
    """List the folders in a folder."""
    if call.method != "GET":
        raise no_method(call)
    query = mail_query(call.query)
    check_names(query, FOLDER_FIELDS, "mailFolder")
    folders = shown_folders(parent, call.query)
    views = [_folder_view(mailbox, folder, None) for folder in folders]
    if query.filter is not None:
        node = query.filter
        views = [view for view in views if holds(node, partial(dig, view))]
    for name, descending in reversed(query.order):
        views.sort(key=lambda view: str(view[name]).casefold(), reverse=descending)
    names = query.select
    return page_answer(
        call,
        query,
        f"https://{call.host}/v1.0/$metadata#{mailbox.base}/mailFolders",
        views,
        lambda view: view if names is None else {key: view[key] for key in ("id", *names)},
    )


def one_folder(mailbox: Mailbox, call: Call, folder: Folder) -> Answer:
    """Read, rename or delete one folder; well-known ones stay."""
    if call.method == "GET":
        query = mail_query(call.query)
        check_names(query, FOLDER_FIELDS, "mailFolder")
    elif call.method == "PATCH":
        given = shapes.decode(call.body, shapes.MailFolder, "mailFolder")
        if folder.well_known or not given.displayName or given.isHidden is not UNSET:
            raise Refused(400, "ErrorInvalidPropertySet", "Set action is invalid for property.")
        same = given.displayName.casefold()
        if folder.parent and any(c.name.casefold() == same for c in folder.parent.children if c is not folder):
            raise Refused(409, "ErrorFolderExists", "A folder with the specified name already exists.")
        folder.name = given.displayName
        query = mail_query("")
    elif call.method == "DELETE":
        return remove_folder(mailbox, folder)
    else:
        raise no_method(call)
    context = f"https://{call.host}/v1.0/$metadata#{mailbox.base}/mailFolders/$entity"
    return json_answer(call, 200, {"@odata.context": context, **_folder_view(mailbox, folder, query.select)})


def remove_folder(mailbox: Mailbox, folder: Folder) -> Answer:
    """Remove a folder with all that is in it: DELETE, and permanentDelete (mailfolder-permanentdelete.md)."""
    if folder.well_known:
        raise Refused(403, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
    mailbox.remove_folder(folder)
    return Answer(204)


def _folder_view(mailbox: Mailbox, folder: Folder, names: tuple[str, ...] | None) -> dict[str, Any]:
    parent = folder.parent or folder
    view = {
        "id": folder.id,
        "displayName": folder.name,
        "parentFolderId": parent.id,
        "childFolderCount": sum(not child.hidden for child in folder.children),
        "unreadItemCount": sum(not message.flags & READ for message in folder.messages.values()),
        "totalItemCount": len(folder.messages),
        "isHidden": folder.hidden,
    }
    return view if names is None else {name: view[name] for name in ("id", *names)}
