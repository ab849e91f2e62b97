"""Reach the Microsoft Graph of one tenant: its connection, and its directory.

How Graph is asked is `graph_requests`, how its directory is read `graph_directory`, what a mailbox is asked
`graph_mail`, and how attachments get into a message `graph_upload`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from functools import cached_property

import requests
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from o2_connector.core.errors import ConnectorError, StopError
from o2_connector.hooks.graph_directory import Asking, Found, find_addresses, find_numbers
from o2_connector.hooks.graph_login import Access, read_access
from o2_connector.hooks.graph_permissions import mail_permissions, read_one_user
from o2_connector.hooks.graph_requests import GraphRequests
from o2_connector.hooks.transport import for_the_form


class GraphHook(BaseHook):
    """Lead to a Microsoft 365 tenant, and read its directory.

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
    hook_name = "Microsoft 365 archive (Graph)"

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
        """Log in and read one user, each once, for a person is waiting; say in words what the application may do."""
        try:
            token = self.graph.login.token()
            read_one_user(self.graph)
        except ConnectorError as error:
            return False, for_the_form(error, self.graph_conn_id)
        return True, f"The login and Graph accept the application, and it may read users. {mail_permissions(token)}"

    # The directory

    @property
    def tenant(self) -> str:
        """Return what tells this application at this tenant's Graph from every other: what one may see is its own."""
        return f"{self.access.authority} {self.access.graph_url} {self.access.client_id}"

    def find_mailboxes(
        self,
        addresses: Collection[str],
        *,
        asked: int,
        asking: Asking = nullcontext,
        some_open: bool = False,
    ) -> Found:
        """Say of each address whose mailbox it leads to, or why to none.

        A mailbox is named by its user's object id, which outlives every change of address. An address leads to the
        user that has it as a proxy address, else as user principal name, else as mail. One that leads to two users of
        the same rank leads to none: nothing goes to a mailbox by guess. Whether its mailbox can be opened has no say
        in which user it is: a mailbox that Graph refuses is returned all the same, so that its items fail there with
        the cause and never go to somebody else.

        :param addresses: lower case.
        :param asked: the time, in milliseconds since 1970, UTC.
        :param asking: given the users' ids; its block lasts while each of their mailboxes is asked one thing.
        :param some_open: whether some mailbox is known to open, so that a refusal is the application's scope.
        :raises StopError: when Graph refuses every one of several mailboxes and none is known to open.
        """
        return self._told(find_addresses(self.graph, addresses, asked=asked, asking=asking, some_open=some_open))

    def find_by_number(self, numbers: Collection[str], *, asked: int, asking: Asking = nullcontext) -> Found:
        """Say of each number that users have in the directory whose mailbox it leads to, or why to none.

        A number that two users have leads to nobody. Those that nobody has are not in the answer.

        :param numbers: as E.164.
        :param asked: the time, in milliseconds since 1970, UTC.
        :param asking: as for :meth:`find_mailboxes`.
        """
        return self._told(find_numbers(self.graph, numbers, asked=asked, asking=asking))

    def _told(self, found: Found) -> Found:
        if found.refused:
            self.log.warning(
                "Graph refuses %d mailboxes: they lie outside of the application's scope", len(found.refused)
            )
        return found
