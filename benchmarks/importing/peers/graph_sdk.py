"""Peer: msgraph-sdk, four creates at a time for each mailbox and all mailboxes at once.

Its models are made before the clock runs, its first answer is read before that too (it imports thousands of modules),
and its token is given, not asked for. Its HTTP client may open as many connections as there are creates under way,
where the SDK's own has a hundred.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from kiota_abstractions.authentication import (
    AccessTokenProvider,
    AllowedHostsValidator,
    BaseBearerTokenAuthenticationProvider,
)
from kiota_serialization_json.json_parse_node import JsonParseNode
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.body_type import BodyType
from msgraph.generated.models.email_address import EmailAddress
from msgraph.generated.models.internet_message_header import InternetMessageHeader
from msgraph.generated.models.item_body import ItemBody
from msgraph.generated.models.message import Message
from msgraph.generated.models.recipient import Recipient
from msgraph.generated.models.single_value_legacy_extended_property import SingleValueLegacyExtendedProperty
from msgraph_core import GraphClientFactory

from benchmarks.importing.client import CONCURRENT, by_mailbox, serve


class GivenToken(AccessTokenProvider):
    """Give the token that the benchmark got."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get_authorization_token(self, uri: str, additional_authentication_context: Any = None) -> str:
        """Return the token, whatever it is for."""
        return self._token

    def get_allowed_hosts_validator(self) -> AllowedHostsValidator:
        """Admit every host."""
        return AllowedHostsValidator([])


def model(message: dict[str, Any]) -> Message:
    """Make the SDK's message of Graph's JSON."""
    return Message(
        subject=message["subject"],
        body=ItemBody(content_type=BodyType(message["body"]["contentType"]), content=message["body"]["content"]),
        from_=recipient(message["from"]),
        sender=recipient(message["sender"]),
        to_recipients=[recipient(each) for each in message["toRecipients"]],
        internet_message_id=message["internetMessageId"],
        is_read=message["isRead"],
        internet_message_headers=[InternetMessageHeader(**each) for each in message["internetMessageHeaders"]],
        single_value_extended_properties=[
            SingleValueLegacyExtendedProperty(**each) for each in message["singleValueExtendedProperties"]
        ],
    )


def recipient(given: dict[str, Any]) -> Recipient:
    """Make the SDK's recipient of Graph's JSON."""
    return Recipient(email_address=EmailAddress(**given["emailAddress"]))


def prepare(task: dict[str, Any]) -> Callable[[], int]:
    """Make ready to create every message through the SDK."""
    messages = {
        where: [model(message) for message in of_mailbox] for where, of_mailbox in by_mailbox(task["messages"]).items()
    }
    JsonParseNode({"subject": "An answer"}).get_object_value(Message)

    async def whole() -> int:
        client = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=task["ca_file"]),
            trust_env=False,
            timeout=100,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )
        adapter = GraphRequestAdapter(
            BaseBearerTokenAuthenticationProvider(GivenToken(task["token"])),
            client=GraphClientFactory.create_with_default_middleware(client=client, host=task["graph_url"]),
        )
        adapter.base_url = task["graph_url"]
        graph = GraphServiceClient(request_adapter=adapter)

        async def worker(mailbox: str, folder: str, waiting: Iterator[Message]) -> int:
            made = 0
            for message in waiting:
                place = graph.users.by_user_id(mailbox).mail_folders.by_mail_folder_id(folder)
                await place.messages.post(message)
                made += 1
            return made

        workers = []
        for (mailbox, folder), of_mailbox in messages.items():
            waiting = iter(of_mailbox)
            workers += [worker(mailbox, folder, waiting) for _ in range(CONCURRENT)]
        async with client:
            return sum(await asyncio.gather(*workers))

    return lambda: asyncio.run(whole())


if __name__ == "__main__":
    serve(prepare)
