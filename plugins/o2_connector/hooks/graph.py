"""Talk to the Microsoft Graph of one tenant: its directory, and the archive folder of its mailboxes.

The hook says what the archive asks of them; how Graph is asked is `graph_requests`, how its directory is read
`graph_directory`, and how attachments get into a message `graph_upload`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import Any

import requests
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from o2_connector.core.errors import ConnectorError, ItemError, RetryError, StopError
from o2_connector.core.graph_errors import Verdict, failure
from o2_connector.core.naming import ITEM_PROPERTY, UNFINISHED_CATEGORY
from o2_connector.hooks.graph_directory import choose_users, distinct_addresses, probe_mailboxes
from o2_connector.hooks.graph_login import Access, read_access
from o2_connector.hooks.graph_requests import Answer, Call, GraphRequests, literal, post, quoted
from o2_connector.hooks.graph_upload import SESSION_LIMIT, Attachment, attach, compose
from o2_connector.hooks.transport import backoff


def create_call(mailbox_id: str, folder_id: str, message: Mapping[str, Any]) -> Call:
    """Describe the creation of a message in a folder."""
    return post(f"/users/{quoted(mailbox_id)}/mailFolders/{quoted(folder_id)}/messages", message)


def item_id_of(message: Mapping[str, Any]) -> str | None:
    """Return the item that a message is of, from its named property, or None where it bears none."""
    for entry in message.get("singleValueExtendedProperties") or ():
        if str(entry.get("id")).casefold() == ITEM_PROPERTY.casefold():  # Graph gives the GUID back in its own case
            return str(entry.get("value"))
    return None


class GraphHook(BaseHook):
    """Read the directory of a Microsoft 365 tenant and write to its mailboxes' archive folder.

    A 429, a 503 and their like are obeyed and waited out within `patience_seconds`; then :class:`RetryError` leaves it
    to the task's own retries.

    :param graph_conn_id: login is the application's client id; password its client secret. The extra holds
        ``tenant_id``; ``cloud`` (worldwide, gcc_high, dod or china); instead of a secret ``certificate_file``, with
        the password as its passphrase, or ``federated_token_file``; ``graph_url``, ``authority`` and ``ca_file`` for
        another Graph than Microsoft's.
    :param patience_seconds: how long one request is tried.
    :param settle_seconds: how long to wait after an answer was lost until the mailbox is asked what came of it; a
        write that timed out may still land.
    :param sleep: for tests.
    :param clock: for tests; seconds, from any start.
    """

    conn_name_attr = "graph_conn_id"
    default_conn_name = "o2_graph"
    conn_type = "o2_graph"
    hook_name = "Microsoft 365 archive"

    def __init__(
        self,
        *,
        graph_conn_id: str = default_conn_name,
        patience_seconds: float = 600.0,
        settle_seconds: float = 90.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.graph_conn_id = graph_conn_id
        self.patience_seconds = patience_seconds
        self.settle_seconds = settle_seconds
        self._sleep = sleep
        self._clock = clock
        self._making = threading.Lock()

    @cached_property
    def access(self) -> Access:
        """Return the connection's fields, checked."""
        try:
            connection = self.get_connection(self.graph_conn_id)
        except AirflowNotFoundException as error:
            raise StopError(f"there is no connection {self.graph_conn_id}; add it, see README") from error
        return read_access(connection)

    @cached_property
    def _graph(self) -> GraphRequests:
        return GraphRequests(
            self.access,
            patience_seconds=self.patience_seconds,
            settle_seconds=self.settle_seconds,
            sleep=self._sleep,
            clock=self._clock,
        )

    @property
    def graph(self) -> GraphRequests:
        """Return the conversation with this tenant's Graph; threads may share it."""
        with self._making:  # since Python 3.12 a cached property is no longer made under a lock
            return self._graph

    def get_conn(self) -> requests.Session:
        """Return the session that Graph is asked through; threads may share it."""
        return self.graph.session

    def test_connection(self) -> tuple[bool, str]:
        """Try to get a token."""
        try:
            self.graph.login.token()
        except ConnectorError as error:
            return False, str(error)
        return True, "token ok"

    # The directory

    def find_mailboxes(self, addresses: Iterable[str]) -> dict[str, str]:
        """Return the id of the mailbox's user by each asked address that leads to one, lower-cased.

        The id is Entra's object id, which outlives every change of address.

        An address leads to the user that has it as a proxy address, else as user principal name, else as mail. One
        that leads to two users of the same rank leads to none: nothing goes to a mailbox by guess. Whether its mailbox
        can be opened has no say in which user it is: a mailbox that Graph refuses is returned all the same, so that
        its items fail there with the cause and never go to somebody else.
        """
        asked = distinct_addresses(addresses)
        chosen = choose_users(self.graph, asked)
        opened, refused = probe_mailboxes(self.graph, set(chosen.values()))
        if refused:
            self.log.warning("Graph refuses %d mailboxes: they lie outside of the application's scope", len(refused))
        mailboxes = {address: user_id for address, user_id in chosen.items() if user_id in opened | refused}
        self.log.info("%d of %d addresses lead to a mailbox", len(mailboxes), len(asked))
        return mailboxes

    # The archive folder

    def ensure_folder(self, mailbox_id: str, name: str) -> str:
        """Return the id of the folder of this name below the mailbox's root, made where it is missing.

        Exchange compares folder names without regard to case. A create that is answered by 5xx may have worked.
        """
        what = "the archive folder was looked for"
        path = f"/users/{quoted(mailbox_id)}/mailFolders/msgfolderroot/childFolders"
        deadline = self.graph.deadline()
        for attempt in itertools.count():
            for folder in self.graph.listed(f"{path}?includeHiddenFolders=true&$select=id,displayName&$top=100", what):
                if str(folder.get("displayName")).casefold() == name.casefold():
                    return str(folder["id"])
            answer = self.graph.send(post(path, {"displayName": name}), deadline)
            if answer.ok and (folder_id := _id_of(answer)):
                return folder_id
            # A folder that exists, or may: the list knows, as often as time allows
            if not (answer.ok or answer.verdict is Verdict.SUCCESS_LIKE or answer.effect_unknown):
                raise answer.failure("the archive folder was made")
            if not self.graph.wait(backoff(attempt), deadline):
                break
        raise RetryError("the archive folder can neither be made nor found")

    def archived_items(self, mailbox_id: str, folder_id: str, *, mine: Collection[str]) -> dict[str, str]:
        """Return the items that a folder holds, each with the id of its message.

        A message without all of its attachments is no item. Of the caller's own a killed import left it, so it is
        removed; of any other it stays, for another run may be about to finish it.

        :param mine: the items that the caller delivers, and nobody else at the same time.
        """
        path = (
            f"/users/{quoted(mailbox_id)}/mailFolders/{quoted(folder_id)}/messages"
            f"?$select=id,categories&$expand=singleValueExtendedProperties($filter={quoted(_property_is())})&$top=1000"
        )
        items: dict[str, str] = {}
        unfinished: list[str] = []
        for message in self.graph.listed(path, "the archive folder was listed"):
            item_id = item_id_of(message)
            if item_id is None:
                continue  # the user put it there
            if UNFINISHED_CATEGORY in (message.get("categories") or ()):
                if item_id in mine:
                    unfinished.append(str(message["id"]))
            else:
                items.setdefault(item_id, str(message["id"]))
        self._remove_unfinished(mailbox_id, unfinished)  # after the listing: a removal would shift its pages
        return items

    def find_item(self, mailbox_id: str, item_id: str) -> str | None:
        """Return the id of an item's message wherever in the mailbox it lies, or None.

        What a killed import left of it without all of its attachments is removed and not returned.
        """
        has_value = f"{_property_is('ep/id')} and ep/value eq '{literal(item_id)}'"
        path = (
            f"/users/{quoted(mailbox_id)}/messages?$select=id,categories"
            f"&$filter={quoted(f'singleValueExtendedProperties/any(ep: {has_value})')}"
        )
        found: list[str] = []
        unfinished: list[str] = []
        for message in self.graph.listed(path, "an item was looked for"):
            torn = UNFINISHED_CATEGORY in (message.get("categories") or ())
            (unfinished if torn else found).append(str(message["id"]))
        self._remove_unfinished(mailbox_id, unfinished)
        return found[0] if found else None

    # The message

    def create_message(
        self, mailbox_id: str, folder_id: str, message: Mapping[str, Any], attachments: Sequence[Attachment]
    ) -> str:
        """Create a message with all of its attachments and return its id; or leave nothing of it, and raise.

        An answer that is lost is settled by asking the mailbox. When this raises :class:`RetryError` the message may
        be there nevertheless: ask :meth:`find_item` before it is created again.

        :param message: Graph's JSON without attachments; it bears `ITEM_PROPERTY`.
        """
        item_id = item_id_of(message)
        if item_id is None:
            raise ItemError("the message does not say which item it is of")
        if any(attachment.size > SESSION_LIMIT for attachment in attachments):
            raise ItemError("an attachment is larger than the 150 MB that Graph takes")
        body, following = compose(message, attachments)
        message_id = self._create(mailbox_id, item_id, create_call(mailbox_id, folder_id, body))
        if not following:
            return message_id
        try:
            for already, attachment in enumerate(following, start=len(attachments) - len(following)):
                attach(self.graph, _message_path(mailbox_id, message_id), attachment, already)
            self._finish(mailbox_id, message_id, message)
        except Exception:  # also when the attachment's bytes cannot be had
            self._remove_after_failure(mailbox_id, message_id)
            raise
        return message_id

    def _create(self, mailbox_id: str, item_id: str, call: Call) -> str:
        deadline = self.graph.deadline()
        while True:
            answer = self.graph.send(call, deadline)
            if answer.ok and (message_id := _id_of(answer)):
                return message_id
            if not (answer.ok or answer.effect_unknown):
                if answer.status == HTTPStatus.NOT_FOUND and answer.verdict is Verdict.ITEM:
                    # The item is new, so what was not found is the folder: somebody removed it
                    raise failure("a message was created", status=answer.status, code="ErrorFolderNotFound")
                raise answer.failure("a message was created")
            self.graph.settle()
            if (found := self.find_item(mailbox_id, item_id)) is not None:
                return found
            if self.graph.is_past(deadline):
                raise RetryError("a message was created: the answer was lost, and the message is not there")

    def _finish(self, mailbox_id: str, message_id: str, message: Mapping[str, Any]) -> None:
        categories = {"categories": list(message.get("categories", ()))}
        call = Call(method="PATCH", path=_message_path(mailbox_id, message_id), body=categories, repeatable=True)
        answer = self.graph.send(call, self.graph.deadline())
        if not answer.ok:
            raise answer.failure("a message was marked as complete")

    def _remove_unfinished(self, mailbox_id: str, message_ids: Sequence[str]) -> None:
        for message_id in message_ids:
            self._remove(mailbox_id, message_id)
        if message_ids:
            self.log.warning("Removed %d messages that a killed import had left unfinished", len(message_ids))

    def _remove_after_failure(self, mailbox_id: str, message_id: str) -> None:
        try:
            self._remove(mailbox_id, message_id)
        except ConnectorError as error:  # the cause of the failure counts for more; the category says the rest
            self.log.warning("An unfinished message could not be removed: %s", error)

    def _remove(self, mailbox_id: str, message_id: str) -> None:
        path = _message_path(mailbox_id, message_id)
        answer = self.graph.send(post(f"{path}/permanentDelete", repeatable=True), self.graph.deadline())
        if not answer.ok and answer.status != HTTPStatus.NOT_FOUND and answer.verdict is not Verdict.TRANSIENT:
            answer = self.graph.send(Call(method="DELETE", path=path, repeatable=True), self.graph.deadline())
        if not answer.ok and answer.status != HTTPStatus.NOT_FOUND:
            raise answer.failure("an unfinished message was removed")


def _id_of(answer: Answer) -> str | None:
    value = answer.fields.get("id")
    return value if isinstance(value, str) and value else None


def _property_is(name: str = "id") -> str:
    return f"{name} eq '{ITEM_PROPERTY}'"


def _message_path(mailbox_id: str, message_id: str) -> str:
    return f"/users/{quoted(mailbox_id)}/messages/{quoted(message_id)}"
