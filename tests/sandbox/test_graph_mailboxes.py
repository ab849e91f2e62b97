"""Folders, attachments, upload sessions, users and what the page shows."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.sandbox.graph_client import ANNA, BEN, DENIED, GUEST, HOST, Clock, client, code_of, file, message, tenant

FOLDERS = f"/v1.0/users/{ANNA.id}/mailFolders"
MESSAGES = f"/v1.0/users/{ANNA.id}/messages"
MEGABYTE = 1 << 20


@pytest.fixture
def graph() -> TestClient:
    return client(tenant())


@pytest.fixture
def posted(graph: TestClient) -> str:
    """The path of a message that is no draft."""
    return f"{MESSAGES}/{graph.post(MESSAGES, json=message()).json()['id']}"


def test_a_folder_is_made_and_found_by_name_without_regard_to_case(graph: TestClient) -> None:
    made = graph.post(FOLDERS, json={"displayName": "Anna's archive"})

    found = graph.get(FOLDERS, params={"$filter": "displayName eq 'anna''s Archive'"}).json()

    assert made.status_code == 201
    assert [folder["id"] for folder in found["value"]] == [made.json()["id"]]


def test_a_second_folder_of_the_name_in_any_case_is_a_conflict(graph: TestClient) -> None:
    graph.post(FOLDERS, json={"displayName": "SMS"})

    assert code_of(graph.post(FOLDERS, json={"displayName": "sms"})) == (409, "ErrorFolderExists")
    assert code_of(graph.post(FOLDERS, json={"displayName": "INBOX"})) == (409, "ErrorFolderExists")
    assert graph.post(f"{FOLDERS}/archive/childFolders", json={"displayName": "SMS"}).status_code == 201


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"displayName": "SMS", "totalItemCount": 0}, "ErrorInvalidPropertySet"),
        ({"displayName": "SMS", "colour": "red"}, "RequestBodyRead"),
        ({"isHidden": True}, "ErrorInvalidRequest"),
    ],
)
def test_a_folder_has_no_other_writable_property_than_name_and_hidden(
    graph: TestClient, body: dict[str, Any], code: str
) -> None:
    assert code_of(graph.post(FOLDERS, json=body)) == (400, code)


def test_hidden_folders_are_listed_only_on_request(graph: TestClient) -> None:
    graph.post(FOLDERS, json={"displayName": "Quiet", "isHidden": True})

    plain = graph.get(f"{FOLDERS}?$top=100").json()["value"]
    whole = graph.get(f"{FOLDERS}?$top=100&includeHiddenFolders=true").json()["value"]

    assert "Quiet" not in {folder["displayName"] for folder in plain}
    assert "Quiet" in {folder["displayName"] for folder in whole}


def test_folders_come_ten_to_a_page(graph: TestClient) -> None:
    for number in range(15):
        graph.post(f"{FOLDERS}/archive/childFolders", json={"displayName": f"Year {number}"})

    first = graph.get(f"{FOLDERS}/archive/childFolders").json()
    second = graph.get(first["@odata.nextLink"]).json()

    assert (len(first["value"]), len(second["value"]), "@odata.nextLink" in second) == (10, 5, False)


def test_counts_of_a_folder_follow_its_messages(graph: TestClient) -> None:
    graph.post(f"{FOLDERS}/inbox/messages", json=message())
    graph.post(
        f"{FOLDERS}/inbox/messages",
        json=message(singleValueExtendedProperties=[{"id": "Integer 0x0E07", "value": "0"}]),
    )

    inbox = graph.get(f"{FOLDERS}/Inbox?$select=totalItemCount,unreadItemCount").json()

    assert (inbox["totalItemCount"], inbox["unreadItemCount"]) == (2, 1)
    assert "displayName" not in inbox


@pytest.mark.parametrize(
    ("user", "status", "code"),
    [
        (GUEST.id, 404, "MailboxNotEnabledForRESTAPI"),
        (DENIED.id, 403, "ErrorAccessDenied"),
        ("nobody@example.com", 404, "ErrorInvalidUser"),
    ],
)
def test_a_mailbox_that_cannot_be_opened_says_why(graph: TestClient, user: str, status: int, code: str) -> None:
    assert code_of(graph.get(f"/v1.0/users/{user}/mailFolders/inbox?$select=id")) == (status, code)


# Attachments


def test_attachments_posted_with_the_message_read_back_byte_for_byte(graph: TestClient) -> None:
    picture = file(content=base64.b64encode(b"\x89PNG picture").decode(), isInline=True, contentId="one")
    sound = file("call.mp3", base64.b64encode(b"ID3 sound").decode(), contentType="audio/mpeg")
    made = graph.post(MESSAGES, json=message(attachments=[picture, sound])).json()

    listed = graph.get(f"{MESSAGES}/{made['id']}/attachments").json()["value"]
    content = graph.get(f"{MESSAGES}/{made['id']}/attachments/{listed[1]['id']}/$value")

    assert made["hasAttachments"] is True
    assert [(item["name"], item["size"], item["isInline"], item["contentId"]) for item in listed] == [
        ("photo.png", 12, True, "one"),
        ("call.mp3", 9, False, None),
    ]
    assert base64.b64decode(listed[0]["contentBytes"]) == b"\x89PNG picture"
    assert (content.content, content.headers["content-type"]) == (b"ID3 sound", "audio/mpeg")


def test_a_message_with_inline_pictures_only_has_no_attachments(graph: TestClient) -> None:
    made = graph.post(MESSAGES, json=message(attachments=[file(isInline=True)])).json()

    assert made["hasAttachments"] is False


def test_the_content_id_cannot_be_selected_from_the_base_type(graph: TestClient, posted: str) -> None:
    graph.post(f"{posted}/attachments", json=file())

    assert code_of(graph.get(f"{posted}/attachments?$select=contentId")) == (400, "RequestBroker--ParseUri")
    assert "contentBytes" not in graph.get(f"{posted}/attachments?$select=name").json()["value"][0]


def test_a_small_file_is_added_to_a_message_and_taken_away(graph: TestClient, posted: str) -> None:
    added = graph.post(f"{posted}/attachments", json=file())

    assert added.status_code == 201
    assert graph.get(posted).json()["hasAttachments"] is True
    assert graph.delete(f"{posted}/attachments/{added.json()['id']}").status_code == 204
    assert graph.get(f"{posted}/attachments").json()["value"] == []


def session(graph: TestClient, path: str, size: int, kind: str = "file", **more: Any) -> Any:
    item = {"attachmentType": kind, "name": "call.mp3", "size": size, "contentType": "audio/mpeg", **more}
    return graph.post(f"{path}/attachments/createUploadSession", json={"AttachmentItem": item})


def put(graph: TestClient, url: str, content: bytes, first: int, total: int, **headers: str) -> Any:
    graph.headers.pop("Authorization", None)
    span = f"bytes {first}-{first + len(content) - 1}/{total}"
    return graph.put(url, content=content, headers={"Content-Range": span, **headers})


def test_a_large_file_goes_up_in_order_and_ends_with_its_location(graph: TestClient, posted: str) -> None:
    authorization = graph.headers["Authorization"]
    content = bytes(range(256)) * 4 * 4096  # 4 MiB
    opened = session(graph, posted, len(content))
    url = opened.json()["uploadUrl"]

    first = put(graph, url, content[: 3 * MEGABYTE], 0, len(content))
    state = graph.get(url)
    last = put(graph, url, content[3 * MEGABYTE :], 3 * MEGABYTE, len(content))

    assert (opened.status_code, opened.json()["nextExpectedRanges"]) == (201, ["0-"])
    assert (first.status_code, first.json()["nextExpectedRanges"]) == (200, [str(3 * MEGABYTE)])
    assert state.json()["nextExpectedRanges"] == [str(3 * MEGABYTE)]
    assert (last.status_code, last.content) == (201, b"")
    stored = graph.get(f"{last.headers['Location']}/$value", headers={"Authorization": authorization})
    assert stored.content == content


def test_a_large_picture_goes_up_as_part_of_the_body(graph: TestClient, posted: str) -> None:
    authorization = graph.headers["Authorization"]
    opened = session(graph, posted, 3 * MEGABYTE, isInline=True, contentId="one@archive.example.com")

    put(graph, opened.json()["uploadUrl"], bytes(3 * MEGABYTE), 0, 3 * MEGABYTE)

    headers = {"Authorization": authorization}
    listed = graph.get(f"{posted}/attachments", headers=headers).json()["value"]
    assert [(each["isInline"], each["contentId"], each["size"]) for each in listed] == [
        (True, "one@archive.example.com", 3 * MEGABYTE)
    ]
    assert graph.get(posted, headers=headers).json()["hasAttachments"] is False


@pytest.mark.parametrize(
    ("size", "kind", "status", "code"),
    [
        (3 * MEGABYTE - 1, "file", 400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize"),
        (150 * MEGABYTE + 1, "file", 400, "ErrorAttachmentSizeLimitExceeded"),
        (4 * MEGABYTE, "item", 405, "ErrorAttachmentSessionIsSupportedOnlyForFileAttachments"),
    ],
)
def test_an_upload_session_is_for_files_of_three_to_a_hundred_and_fifty_megabytes(
    graph: TestClient, posted: str, size: int, kind: str, status: int, code: str
) -> None:
    assert code_of(session(graph, posted, size, kind)) == (status, code)


def test_an_upload_url_refuses_a_token_a_gap_and_too_long_a_piece(graph: TestClient, posted: str) -> None:
    total = 12 * MEGABYTE
    url = session(graph, posted, total).json()["uploadUrl"]

    assert put(graph, url, b"x", 0, total, Authorization="Bearer x").status_code == 401
    assert put(graph, url, b"x", 5, total).status_code == 416
    assert put(graph, url, bytes(4 * MEGABYTE + 1), 0, total).status_code == 413
    assert put(graph, url, b"x", 0, total + 1).status_code == 400


def test_an_upload_that_is_given_up_is_gone(graph: TestClient, posted: str) -> None:
    url = session(graph, posted, 4 * MEGABYTE).json()["uploadUrl"]
    graph.headers.pop("Authorization")

    assert graph.delete(url).status_code == 204
    assert graph.get(url).status_code == 404


def test_an_upload_stops_where_the_message_would_be_too_large() -> None:
    graph = client(tenant(message_bytes=4 * MEGABYTE))
    path = f"{MESSAGES}/{graph.post(MESSAGES, json=message()).json()['id']}"
    url = session(graph, path, 8 * MEGABYTE).json()["uploadUrl"]

    assert put(graph, url, bytes(3 * MEGABYTE), 0, 8 * MEGABYTE).status_code == 200
    response = put(graph, url, bytes(3 * MEGABYTE), 3 * MEGABYTE, 8 * MEGABYTE)
    assert code_of(response) == (413, "ErrorMessageSizeExceeded")


# Users


def test_a_user_is_found_by_id_and_principal_name_and_by_nothing_else(graph: TestClient) -> None:
    assert graph.get(f"/v1.0/users/{ANNA.id}").json()["userPrincipalName"] == "anna@example.com"
    assert graph.get("/v1.0/users/ANNA@example.com").json()["id"] == ANNA.id
    assert graph.get(f"/v1.0/users/{GUEST.user_principal_name.replace('#', '%23')}").json()["id"] == GUEST.id
    assert code_of(graph.get("/v1.0/users/a.adams@example.com")) == (404, "Request_ResourceNotFound")


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("proxyAddresses/any(p:p eq 'smtp:A.Adams@example.com')", [ANNA.id]),
        ("proxyAddresses/any(x:startsWith(x,'smtp:ben@'))", [BEN.id]),
        ("mail eq 'BEN@example.com'", [BEN.id]),
        ("userPrincipalName eq 'anna@example.com'", [ANNA.id]),
        ("displayName eq 'Ben O''Brien'", [BEN.id]),
        ("startswith(displayName,'anna') or mail in ('ben@example.com')", [ANNA.id, BEN.id]),
        ("userType eq 'Guest' and accountEnabled eq true", [GUEST.id]),
    ],
)
def test_users_are_filtered(graph: TestClient, condition: str, ids: list[str]) -> None:
    found = graph.get("/v1.0/users", params={"$filter": condition, "$select": "id"}).json()["value"]

    assert [user["id"] for user in found] == ids


@pytest.mark.parametrize("path", ["/v1.0/users", "/v1.0/users/delta"])
def test_users_come_in_pages_and_select_what_is_asked(graph: TestClient, path: str) -> None:
    users, link = [], f"{path}?$top=2&$select=id,proxyAddresses"
    while link:
        page = graph.get(link).json()
        users += page["value"]
        link = page.get("@odata.nextLink")

    assert len(users) == 5
    assert users[0] == {"id": ANNA.id, "proxyAddresses": list(ANNA.proxy_addresses)}
    assert ("@odata.deltaLink" in page) == path.endswith("delta")


def test_the_default_properties_of_a_user_do_not_include_the_addresses(graph: TestClient) -> None:
    user = graph.get(f"/v1.0/users/{ANNA.id}").json()

    assert "proxyAddresses" not in user
    assert user["mobilePhone"] == "+44 7700 900001"


def test_an_unknown_property_of_a_user_and_too_large_a_page_are_refused(graph: TestClient) -> None:
    assert code_of(graph.get("/v1.0/users?$select=colour")) == (400, "BadRequest")
    assert code_of(graph.get("/v1.0/users?$top=1000")) == (400, "Request_UnsupportedQuery")


# Pages


def test_the_pages_escape_what_messages_say_and_allow_no_script() -> None:
    graph = client(tenant(clock=Clock()))
    graph.post(f"{FOLDERS}", json={"displayName": "O2 <Archive>"})
    folder = graph.get(FOLDERS, params={"$filter": "displayName eq 'O2 <Archive>'"}).json()["value"][0]["id"]
    hostile = message(subject="<script>alert(1)</script>", body={"contentType": "text", "content": "<b>bold?</b>"})
    made = graph.post(f"{FOLDERS}/{folder}/messages", json=hostile, headers={"Prefer": 'IdType="ImmutableId"'}).json()
    graph.headers.pop("Authorization")

    pages = [
        graph.get("/mailboxes"),
        graph.get(f"/mailboxes/{ANNA.id}"),
        graph.get(f"/mailboxes/{ANNA.id}/messages/{made['id']}"),
    ]

    assert [page.status_code for page in pages] == [200, 200, 200]
    assert "O2 &lt;Archive&gt;" in pages[1].text
    assert "&lt;b&gt;bold?&lt;/b&gt;" in pages[2].text
    for page in pages:
        assert "<script" not in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")


def test_an_html_body_is_shown_in_a_frame_without_rights(graph: TestClient) -> None:
    made = graph.post(MESSAGES, json=message(), headers={"Prefer": 'IdType="ImmutableId"'}).json()

    page = graph.get(f"/mailboxes/{ANNA.id}/messages/{made['id']}")
    body = graph.get(f"/mailboxes/{ANNA.id}/messages/{made['id']}/body")

    assert 'sandbox=""' in page.text
    assert body.text.endswith("<p>Are you coming?</p>")
    assert "sandbox" in body.headers["content-security-policy"]


def test_pictures_and_sounds_are_shown_and_everything_else_is_saved(graph: TestClient) -> None:
    files = [
        file(),
        file("note.html", "PGI+", contentType="text/html"),
        file("call.wav", "UklGRg==", contentType="audio/wav"),
        file("call.amr", "IyFBTVI=", contentType="audio/amr"),
    ]
    made = graph.post(MESSAGES, json=message(attachments=files), headers={"Prefer": 'IdType="ImmutableId"'}).json()
    page = f"/mailboxes/{ANNA.id}/messages/{made['id']}"
    listed = graph.get(f"{MESSAGES}/{made['id']}/attachments", headers={"Prefer": 'IdType="ImmutableId"'}).json()

    shown = graph.get(page).text
    picture, note, *_ = (graph.get(f"{page}/attachments/{item['id']}") for item in listed["value"])

    assert f'<img src="{page}/attachments/{listed["value"][0]["id"]}"' in shown
    assert shown.count("<audio controls") == 1
    assert (picture.headers["content-type"], picture.headers["content-disposition"][:6]) == ("image/png", "inline")
    assert note.headers["content-type"] == "application/octet-stream"
    assert note.headers["content-disposition"].startswith("attachment")


def test_a_page_that_does_not_exist_says_so(graph: TestClient) -> None:
    assert graph.get("/mailboxes/nobody").status_code == 404
    assert graph.get(f"/mailboxes/{ANNA.id}/messages/nonsense").status_code == 404
    assert f"https://{HOST}" not in graph.get("/mailboxes").text
