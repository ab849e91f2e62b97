"""A tenant to test against and a client that is logged in to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.testclient import TestClient

from sandbox.directory import User
from sandbox.graph import Tenant, graph_app

TENANT_ID = "7e57a000-0000-4000-8000-000000000001"
CLIENT_ID = "7e57a000-0000-4000-8000-000000000002"
SECRET = "drama-secret"
HOST = "localhost:8443"
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}
ITEM_ID = "String {6E7DA4C2-5D8A-4C3B-9E1F-0A1B2C3D4E5F} Name ItemId"

ANNA = User(
    id="0a000000-0000-4000-8000-00000000000a",
    user_principal_name="anna@example.com",
    mail="anna@example.com",
    display_name="Anna Adams",
    proxy_addresses=("SMTP:anna@example.com", "smtp:a.adams@example.com"),
    mobile_phone="+44 7700 900001",
)
BEN = User(
    id="0b000000-0000-4000-8000-00000000000b",
    user_principal_name="ben@example.com",
    mail="ben@example.com",
    display_name="Ben O'Brien",
    proxy_addresses=("SMTP:ben@example.com",),
)
GUEST = User(
    id="0c000000-0000-4000-8000-00000000000c",
    user_principal_name="guest_example.org#EXT#@example.com",
    mail="guest@example.org",
    display_name="Guest",
    user_type="Guest",
    licensed=False,
    mailbox="none",
)
FULL = User(
    id="0d000000-0000-4000-8000-00000000000d",
    user_principal_name="full@example.com",
    mail="full@example.com",
    display_name="Full",
    mailbox="full",
)
DENIED = User(
    id="0e000000-0000-4000-8000-00000000000e",
    user_principal_name="denied@example.com",
    mail="denied@example.com",
    display_name="Denied",
    mailbox="denied",
)
USERS = (ANNA, BEN, GUEST, FULL, DENIED)


class Clock:
    """Stand still until told to go on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **span: float) -> None:
        self.now += timedelta(**span)


def tenant(**settings: Any) -> Tenant:
    return Tenant(USERS, TENANT_ID, CLIENT_ID, SECRET, **settings)


def client(of: Tenant, *, logged_in: bool = True) -> TestClient:
    made = TestClient(graph_app(of), base_url=f"https://{HOST}")
    if logged_in:
        made.headers["Authorization"] = f"Bearer {of.give_token(of.application.roles, of.clock())}"
    return made


def sign_in(**changes: str) -> dict[str, str]:
    form = {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
        "scope": f"https://{HOST}/.default",
    }
    return {key: value for key, value in {**form, **changes}.items() if value}


def message(**changes: Any) -> dict[str, Any]:
    """An archived SMS the way an importer posts it; a change to None takes the property away."""
    whole = {
        "subject": "SMS with +44 7700 900002",
        "body": {"contentType": "html", "content": "<p>Are you coming?</p>"},
        "from": person("447700900002@sms.example.com", "+44 7700 900002"),
        "sender": person("447700900002@sms.example.com", "+44 7700 900002"),
        "toRecipients": [person("anna@example.com", "Anna Adams")],
        "internetMessageId": "<item-1@archive.example.com>",
        "singleValueExtendedProperties": [
            {"id": "Integer 0x0E07", "value": "1"},
            {"id": "SystemTime 0x0039", "value": "2024-05-15T12:00:00Z"},
            {"id": "SystemTime 0x0E06", "value": "2024-05-15T12:00:05Z"},
            {"id": ITEM_ID, "value": "ab12"},
        ],
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def person(address: str, name: str) -> dict[str, Any]:
    return {"emailAddress": {"name": name, "address": address}}


def file(name: str = "photo.png", content: str = "iVBORw==", **changes: Any) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": name,
        "contentType": "image/png",
        "contentBytes": content,
        **changes,
    }


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]
