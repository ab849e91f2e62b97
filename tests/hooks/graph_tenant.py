"""A tenant whose Graph and whose login answer by script, and what the tests of the Graph rooms put into it."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

from o2_connector.core.naming import ITEM_PROPERTY
from o2_connector.hooks.graph_requests import Gate
from o2_connector.hooks.graph_upload import Attachment
from tests.hooks.tls_site import Reply, Request, Script, next_reply

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
SECRET = "correct~horse~battery"
PATIENCE = 600.0
SETTLE = 90.0
BOX = "aaaaaaaa-0000-0000-0000-000000000001"
FOLDER = "folder/+=1"  # ids hold what must be quoted
MESSAGES = f"/users/{BOX}/mailFolders/folder%2F%2B%3D1/messages"
MESSAGE = f"/users/{BOX}/messages/m1"
BIG = bytes(range(256)) * 10_000  # 2.56 MB: two do not fit into one request
HUGE = bytes(range(251)) * 31_400  # 7.9 MB: three chunks
POST_MOST = 3_145_632  # bytes that fit one request of 4 MiB, as base64 with name and type around it


class Tenant:
    """Answer by script: for each endpoint a list of replies or functions, of which the last one stays.

    Paths are those below the service root where that is.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.scripts: dict[tuple[str, str], list[Reply | Script]] = {}
        self.lock = threading.Lock()
        self.url = ""
        self.on("GET", r".*/\.well-known/openid-configuration", self.describe)
        self.on("POST", r".*/oauth2/v2\.0/token", self.grant)

    def on(self, method: str, path: str, *replies: Reply | Script) -> None:
        """Let the replies, in turn, answer what matches; what is said last counts."""
        self.scripts.pop((method, path), None)
        self.scripts = {(method, path): list(replies), **self.scripts}

    def describe(self, _: Request) -> Reply:
        root = f"{self.url}/{TENANT}"
        body = {"token_endpoint": f"{root}/oauth2/v2.0/token", "authorization_endpoint": f"{root}/authorize"}
        return Reply(body=body | {"issuer": root})

    def grant(self, _: Request) -> Reply:
        return Reply(body={"token_type": "Bearer", "expires_in": 3599, "access_token": f"token-{len(self.logins)}"})

    def refuse(self, code: int, name: str = "invalid_client") -> None:
        body = {"error": name, "error_description": f"AADSTS{code}: app of {SECRET}", "error_codes": [code]}
        self.on("POST", r".*/oauth2/v2\.0/token", Reply(status=401, body=body))

    @property
    def logins(self) -> list[Request]:
        return self.asked("POST", r".*/oauth2/v2\.0/token")

    def asked(self, method: str, path: str) -> list[Request]:
        return [one for one in self.requests if one.method == method and re.fullmatch(path, below_root(one))]

    def paths(self) -> list[str]:
        """Return what Graph was asked, in its order."""
        return [below_root(request) for request in self.requests if request.path.startswith("/v1.0/")]

    def answer(self, request: Request) -> Reply:
        with self.lock:
            self.requests.append(request)
            for (method, path), script in self.scripts.items():
                if method == request.method and re.fullmatch(path, below_root(request)):
                    return next_reply(script, request)
        return error(501, "notScripted")


def below_root(request: Request) -> str:
    return request.path.removeprefix("/v1.0")


def error(status: int, code: str, **headers: str) -> Reply:
    body = {"error": {"code": code, "message": "about secret@example.com", "innerError": {"request-id": "r"}}}
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status=status, body=body, headers={"request-id": "r-1", **named})


def created(message_id: str = "m1") -> Reply:
    return Reply(status=201, body={"id": message_id})


def listed(*entries: dict[str, Any], following: str | None = None) -> Reply:
    return Reply(body={"value": list(entries), **({"@odata.nextLink": following} if following else {})})


def message(key: str = "0a1b", **more: Any) -> dict[str, Any]:
    return {"subject": "SMS", "singleValueExtendedProperties": [{"id": ITEM_PROPERTY, "value": key}], **more}


def attachment(content: bytes = b"picture", *, name: str = "a.jpg", size: int | None = None) -> Attachment:
    def opened() -> AbstractContextManager[BinaryIO]:
        return io.BytesIO(content)

    return Attachment(
        name=name,
        content_type="image/jpeg",
        size=len(content) if size is None else size,
        content_id=None,
        open=opened,
    )


class Upload:
    """Let a tenant take an attachment's parts as Outlook does; `faults` say what happens at each part instead."""

    def __init__(self, tenant: Tenant, *faults: Reply | Script | None) -> None:
        self.tenant = tenant
        self.data = b""
        self.faults = list(faults)
        self.opened = 0
        tenant.on("POST", f"{MESSAGE}/attachments/createUploadSession", self.open)
        tenant.on("PUT", "/upload/.*", self.put)
        tenant.on("GET", "/upload/.*", lambda _: self.state())
        tenant.on("GET", rf"{MESSAGE}/attachments\?.*", listed())

    def open(self, request: Request) -> Reply:
        self.opened += 1
        self.data = b""
        self.size = request.json["AttachmentItem"]["size"]
        return Reply(status=201, body={"uploadUrl": f"{self.tenant.url}/upload/{self.opened}?authtoken=key"})

    def put(self, request: Request) -> Reply:
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            return fault(request) if callable(fault) else fault
        return self.take(request)

    def take(self, request: Request) -> Reply:
        first, last, size = map(int, re.findall(r"\d+", request.headers["content-range"]))
        if (first, size) != (len(self.data), self.size) or len(request.body) != last - first + 1:
            return error(416, "invalidRange")
        self.data += request.body
        return Reply(status=201) if len(self.data) == self.size else self.state()

    def state(self) -> Reply:
        return Reply(body={"nextExpectedRanges": [str(len(self.data))]})

    def take_and_lose(self, request: Request) -> Reply:
        self.take(request)
        return Reply(lost=True)


def whole(key: str = "0a1b", received: str = "2026-11-21T12:00:01Z") -> dict[str, Any]:
    """Return a message as the archive writes it: no draft, with its own dates."""
    address = {"emailAddress": {"name": "+44 7700 900123", "address": "447700900123@o2.example.com"}}
    return {
        "subject": "SMS with +44 7700 900123",
        "body": {"contentType": "text", "content": "Hello"},
        "from": address,
        "toRecipients": [address],
        "categories": ["O2"],
        "singleValueExtendedProperties": [
            {"id": "Integer 0x0E07", "value": "1"},
            {"id": "SystemTime 0x0039", "value": "2026-11-21T12:00:00Z"},
            {"id": "SystemTime 0x0E06", "value": received},
            {"id": ITEM_PROPERTY, "value": key},
        ],
    }


def gate_into(events: list[Any]) -> Gate:
    """Return a gate that records when it is entered, with how many bytes, and when it is left."""

    @contextmanager
    def gate(size: int) -> Iterator[None]:
        events.append(("in", size))
        try:
            yield
        finally:
            events.append("out")

    return gate
