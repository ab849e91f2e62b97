"""Creating, reading and changing messages: each test one rule of Graph's (sandbox/GRAPH.md names the sources)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from starlette.testclient import TestClient

from sandbox.graph import Tenant
from tests.sandbox.graph_client import (
    ANNA,
    BEN,
    FULL,
    IMMUTABLE,
    ITEM_ID,
    Clock,
    client,
    code_of,
    file,
    message,
    person,
    tenant,
)

MESSAGES = f"/v1.0/users/{ANNA.id}/messages"
INBOX = f"/v1.0/users/{ANNA.id}/mailFolders/inbox/messages"


@pytest.fixture
def graph() -> TestClient:
    return client(tenant(clock=Clock()))


def created(graph: TestClient, where: str = INBOX, **changes: Any) -> dict[str, Any]:
    response = graph.post(where, json=message(**changes), headers=IMMUTABLE)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def test_a_message_whose_flags_lack_the_unsent_bit_is_no_draft_and_keeps_its_dates(graph: TestClient) -> None:
    made = created(graph)

    assert (made["isDraft"], made["isRead"]) == (False, True)
    assert made["sentDateTime"] == "2024-05-15T12:00:00Z"
    assert made["receivedDateTime"] == "2024-05-15T12:00:05Z"
    assert made["createdDateTime"] == "2026-11-22T12:00:00Z"


@pytest.mark.parametrize(
    ("flags", "draft", "read"), [("0", False, False), ("1", False, True), ("4", False, False), ("9", True, True)]
)
def test_the_flags_decide_what_is_a_draft_and_what_is_read(
    graph: TestClient, flags: str, draft: bool, read: bool
) -> None:
    made = created(graph, isRead=not read, singleValueExtendedProperties=[{"id": "Integer 0x0E07", "value": flags}])

    assert (made["isDraft"], made["isRead"]) == (draft, read)


def test_without_flags_a_message_is_a_draft_of_now_whatever_the_json_says(graph: TestClient) -> None:
    made = created(
        graph,
        isDraft=False,
        sentDateTime="2024-05-15T12:00:00Z",
        receivedDateTime="2024-05-15T12:00:00Z",
        singleValueExtendedProperties=None,
    )

    assert made["isDraft"] is True
    assert made["sentDateTime"] == made["receivedDateTime"] == "2026-11-22T12:00:00Z"


def test_a_message_posted_to_the_mailbox_goes_to_drafts(graph: TestClient) -> None:
    created(graph, MESSAGES)

    folder = graph.get(f"/v1.0/users/{ANNA.id}/mailFolders/drafts").json()
    assert folder["totalItemCount"] == 1


def test_a_message_reads_back_as_it_was_posted(graph: TestClient) -> None:
    posted = message(body={"contentType": "text", "content": "emoji \U0001f9ea, control \u0001, rtl \u05e9"})
    made = graph.post(INBOX, json=posted).json()

    read = graph.get(f"{MESSAGES}/{made['id']}").json()
    assert read["body"] == posted["body"]
    assert read["from"] == posted["from"]
    assert read["toRecipients"] == posted["toRecipients"]
    assert read["internetMessageId"] == posted["internetMessageId"]
    assert read["bodyPreview"] == posted["body"]["content"]


def test_the_same_message_id_twice_makes_two_messages(graph: TestClient) -> None:
    created(graph)
    created(graph)

    found = graph.get(MESSAGES, params={"$filter": "internetMessageId eq '<item-1@archive.example.com>'"}).json()
    assert len(found["value"]) == 2


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"colour": "red"}, 400, "RequestBodyRead"),
        ({"body": {"contentType": "html", "text": "x"}}, 400, "RequestBodyRead"),
        ({"toRecipients": [{"name": "x", "address": "a@example.com"}]}, 400, "RequestBodyRead"),
        ({"subject": 5}, 400, "RequestBodyRead"),
        ({"importance": "urgent"}, 400, "RequestBodyRead"),
        ({"id": "AAMk"}, 400, "ErrorInvalidPropertySet"),
        ({"hasAttachments": True}, 400, "ErrorInvalidPropertySet"),
        ({"createdDateTime": "2024-05-15T12:00:00Z"}, 400, "ErrorInvalidPropertySet"),
        ({"subject": "x" * 256}, 400, "ErrorPropertyValidationFailure"),
        ({"toRecipients": [person("+447700900001", "x")]}, 400, "ErrorInvalidRecipients"),
        ({"from": {"emailAddress": {"name": "only a name"}}}, 400, "ErrorInvalidRecipients"),
        ({"internetMessageHeaders": []}, 400, "InvalidInternetMessageHeaderCollection"),
        (
            {"internetMessageHeaders": [{"name": f"x-{n}", "value": "v"} for n in range(6)]},
            400,
            "InvalidInternetMessageHeaderCollection",
        ),
        ({"internetMessageHeaders": [{"name": "References", "value": "v"}]}, 400, "InvalidInternetMessageHeader"),
        ({"singleValueExtendedProperties": [{"id": "Integer 3591", "value": "1"}]}, 400, "ErrorInvalidProperty"),
        (
            {"singleValueExtendedProperties": [{"id": "Integer 0x0E07", "value": "read"}]},
            400,
            "ErrorInvalidExtendedPropertyValue",
        ),
        (
            {"singleValueExtendedProperties": [{"id": "SystemTime 0x0039", "value": "15 May 2024"}]},
            400,
            "ErrorInvalidExtendedPropertyValue",
        ),
        ({"attachments": [{"name": "a", "contentBytes": "aGk="}]}, 422, "UnprocessableType"),
        ({"attachments": [file(colour="red")]}, 400, "RequestBodyRead"),
    ],
)
def test_what_graph_refuses_is_refused_with_its_code_and_nothing_is_stored(
    graph: TestClient, changes: dict[str, Any], status: int, code: str
) -> None:
    response = graph.post(INBOX, json=message(**changes))

    assert code_of(response) == (status, code)
    assert graph.get(f"{INBOX}/$count").text == "0"


def test_an_unknown_property_is_named_with_its_type(graph: TestClient) -> None:
    response = graph.post(INBOX, json=message(toRecipients=[{"emailAddress": {"adress": "x"}}]))

    assert response.json()["error"]["message"] == (
        "The property 'adress' does not exist on type 'microsoft.graph.emailAddress'. Make sure to only use property "
        "names that are defined by the type or mark the type as open type."
    )


def test_annotations_that_sdks_write_are_accepted(graph: TestClient) -> None:
    annotated = {"@odata.type": "#microsoft.graph.message", "categories@odata.type": "#Collection(String)"}

    assert created(graph, **annotated)["isDraft"] is False


def test_a_body_that_is_no_json_is_refused(graph: TestClient) -> None:
    response = graph.post(INBOX, content=b"{", headers={"Content-Type": "application/json"})

    assert code_of(response) == (400, "BadRequest")


def test_a_request_above_four_megabytes_is_refused(graph: TestClient) -> None:
    response = graph.post(INBOX, json=message(body={"contentType": "text", "content": "x" * (4 << 20)}))

    assert code_of(response) == (413, "BadRequest")
    assert response.json()["error"]["message"] == "The maximum request length supported is 4MB."


def test_a_message_above_the_limit_of_the_tenant_is_refused() -> None:
    graph = client(tenant(message_bytes=10))

    response = graph.post(INBOX, json=message(attachments=[file(content="aGVsbG8gd29ybGQ=")]))

    assert code_of(response) == (413, "ErrorMessageSizeExceeded")


def test_a_full_mailbox_refuses_every_message() -> None:
    response = client(tenant()).post(f"/v1.0/users/{FULL.id}/messages", json=message())

    assert code_of(response) == (507, "ErrorQuotaExceeded")


def test_each_new_header_name_takes_a_named_property_and_the_quota_ends_them() -> None:
    graph = client(tenant(named_properties=2))
    created(graph, internetMessageHeaders=[{"name": "x-item", "value": "1"}])
    created(graph, internetMessageHeaders=[{"name": "X-Item", "value": "2"}])

    response = graph.post(INBOX, json=message(internetMessageHeaders=[{"name": "x-another", "value": "1"}]))

    assert code_of(response) == (403, "ErrorQuotaExceeded")
    assert response.json()["error"]["message"] == "Cannot get ID from name."


def test_a_folder_takes_no_more_than_its_limit_of_items() -> None:
    graph = client(tenant(folder_items=1))
    created(graph)

    assert code_of(graph.post(INBOX, json=message())) == (507, "ErrorMessagePerFolderCountReceiveQuotaExceeded")


def test_headers_are_read_only_where_they_are_selected(graph: TestClient) -> None:
    headers = [{"name": "x-item", "value": "1"}]
    made = created(graph, internetMessageHeaders=headers)

    assert "internetMessageHeaders" not in graph.get(f"{MESSAGES}/{made['id']}").json()
    selected = graph.get(f"{MESSAGES}/{made['id']}?$select=internetMessageHeaders").json()
    assert selected["internetMessageHeaders"] == headers
    assert "subject" not in selected


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        (f"singleValueExtendedProperties/any(ep: ep/id eq '{ITEM_ID}' and ep/value eq 'AB12')", 1),
        (f"singleValueExtendedProperties/any(ep: ep/id eq '{ITEM_ID.lower()}' and ep/value eq 'ab12')", 0),
        (f"singleValueExtendedProperties/any(ep: ep/id eq '{ITEM_ID}' and ep/value eq 'other')", 0),
        (
            "singleValueExtendedProperties/any(e: e/id eq 'SystemTime 0x0E06' and e/value eq '2024-05-15T12:00:05Z')",
            1,
        ),
        ("internetMessageId eq '<item-1@archive.example.com>' and isDraft eq false", 1),
        ("internetMessageId eq '<item-1@archive.example.com>' and isDraft eq true", 0),
        ("subject eq 'sms with +44 7700 900002' and receivedDateTime ge 2024-05-15T12:00:05Z", 1),
        ("from/emailAddress/address eq '447700900002@sms.example.com'", 1),
        ("startswith(subject, 'MMS') or not (isRead eq true)", 0),
        ("receivedDateTime lt 2024-05-15T12:00:05Z", 0),
        ("receivedDateTime le 2024-05-15T12:00:05Z", 1),
        ("receivedDateTime gt 2024-05-15T12:00:05Z", 0),
        ("receivedDateTime gt 2024-05-15T12:00:04.999Z and receivedDateTime lt 2024-05-15T12:00:05.001Z", 1),
        ("receivedDateTime ge 2024-05-15T12:00:05Z and receivedDateTime le 2024-05-15T12:00:05Z", 1),
        ("receivedDateTime ge 2024-05-15T12:00:06Z and receivedDateTime le 2024-05-15T12:00:04Z", 0),
        ("receivedDateTime ge 2024-05-15T12:00:05Z and isRead eq false", 0),
        ("receivedDateTime ge 2024-05-15T12:00:06Z or receivedDateTime le 2024-05-15T12:00:05Z", 1),
        ("not (receivedDateTime ge 2024-05-15T12:00:05Z)", 0),
    ],
)
def test_a_filter_finds_what_it_describes(graph: TestClient, condition: str, count: int) -> None:
    created(graph)

    for where in (MESSAGES, INBOX):
        assert len(graph.get(where, params={"$filter": condition}).json()["value"]) == count


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("$filter=colour eq 'red'", "RequestBroker--ParseUri"),
        ("$select=colour", "RequestBroker--ParseUri"),
        ("$filter=subject eq 'x", "BadRequest"),
        ("$top=1001", "RequestBroker--ParseUri"),
        ("$filter=isRead eq true&$orderby=receivedDateTime", "InefficientFilter"),
        ("$expand=singleValueExtendedProperties", "ErrorInvalidUrlQuery"),
    ],
)
def test_a_query_that_graph_does_not_take_is_refused(graph: TestClient, query: str, code: str) -> None:
    assert code_of(graph.get(f"{MESSAGES}?{query}")) == (400, code)


def test_extended_properties_come_back_only_when_they_are_expanded_by_id(graph: TestClient) -> None:
    made = created(graph)
    wanted = f"singleValueExtendedProperties($filter=id eq '{ITEM_ID}' or id eq 'Integer 0x0E07')"

    expanded = graph.get(f"{MESSAGES}/{made['id']}", params={"$expand": wanted}).json()

    values = {item["id"].partition(" ")[2]: item["value"] for item in expanded["singleValueExtendedProperties"]}
    assert values == {"{6e7da4c2-5d8a-4c3b-9e1f-0a1b2c3d4e5f} Name ItemId": "ab12", "0xe07": "1"}
    assert "singleValueExtendedProperties" not in made


def test_a_list_comes_in_pages_of_ten_and_links_to_the_next(graph: TestClient) -> None:
    for number in range(23):
        created(graph, internetMessageId=f"<{number}@archive.example.com>")

    pages, link = [], f"{INBOX}?$select=internetMessageId&$count=true"
    while link:
        page = graph.get(link).json()
        assert page["@odata.count"] == 23
        pages.append([item["internetMessageId"] for item in page["value"]])
        link = page.get("@odata.nextLink")

    assert [len(page) for page in pages] == [10, 10, 3]
    assert len({name for page in pages for name in page}) == 23


def test_without_the_preference_an_id_changes_when_the_message_moves(graph: TestClient) -> None:
    made = graph.post(INBOX, json=message()).json()

    moved = graph.post(f"{MESSAGES}/{made['id']}/move", json={"destinationId": "archive"}).json()

    assert moved["id"] != made["id"]
    assert code_of(graph.get(f"{MESSAGES}/{made['id']}")) == (404, "ErrorItemNotFound")


def test_with_the_preference_an_id_outlives_moves(graph: TestClient) -> None:
    made = created(graph)

    moved = graph.post(f"{MESSAGES}/{made['id']}/move", json={"destinationId": "archive"}, headers=IMMUTABLE)

    assert moved.json()["id"] == made["id"]
    assert moved.headers["Preference-Applied"] == 'IdType="ImmutableId"'
    assert moved.json()["parentFolderId"] != made["parentFolderId"]


def test_a_deleted_message_lies_in_deleted_items_and_is_still_found_in_the_mailbox(graph: TestClient) -> None:
    made = created(graph)

    assert graph.delete(f"{MESSAGES}/{made['id']}").status_code == 204

    assert graph.get(f"/v1.0/users/{ANNA.id}/mailFolders/deleteditems/messages/$count").text == "1"
    assert len(graph.get(MESSAGES, params={"$filter": "isDraft eq false"}).json()["value"]) == 1


def test_a_message_deleted_for_good_is_gone(graph: TestClient) -> None:
    made = created(graph)

    assert graph.post(f"{MESSAGES}/{made['id']}/permanentDelete").status_code == 204

    assert code_of(graph.get(f"{MESSAGES}/{made['id']}")) == (404, "ErrorItemNotFound")
    assert not graph.get(MESSAGES, params={"$filter": f"internetMessageId eq '{made['internetMessageId']}'"}).json()[
        "value"
    ]


def test_an_id_of_another_mailbox_names_nothing_and_a_wrong_one_is_malformed(graph: TestClient) -> None:
    made = created(graph)

    assert code_of(graph.get(f"/v1.0/users/{BEN.id}/messages/{made['id']}")) == (404, "ErrorItemNotFound")
    assert code_of(graph.get(f"{MESSAGES}/nonsense")) == (400, "ErrorInvalidIdMalformed")


@pytest.mark.parametrize("change", [{"subject": "other"}, {"toRecipients": []}, {"body": {"content": "other"}}])
def test_a_sensitive_property_of_a_sent_message_needs_the_newer_permission(change: dict[str, Any]) -> None:
    without = client(tenant())
    newer = client(tenant(roles=frozenset({"Mail.ReadWrite", "Mail-Advanced.ReadWrite.All"})))

    refused = without.patch(f"{MESSAGES}/{created(without)['id']}", json=change)
    allowed = newer.patch(f"{MESSAGES}/{created(newer)['id']}", json=change)

    assert code_of(refused) == (403, "ErrorAccessDenied")
    assert allowed.status_code == 200


def test_a_draft_may_be_changed_and_a_sent_message_may_be_categorised(graph: TestClient) -> None:
    draft = created(graph, singleValueExtendedProperties=None)
    sent = created(graph)

    changed = graph.patch(f"{MESSAGES}/{draft['id']}", json={"subject": "other"})
    categorised = graph.patch(f"{MESSAGES}/{sent['id']}", json={"categories": ["SMS"], "isRead": False})

    assert changed.json()["subject"] == "other"
    assert categorised.json()["categories"] == ["SMS"]
    assert categorised.json()["isRead"] is False
    assert categorised.json()["changeKey"] != sent["changeKey"]


def test_the_draft_bit_cannot_be_cleared_afterwards(graph: TestClient) -> None:
    draft = created(graph, singleValueExtendedProperties=None)
    clearing = {"isDraft": False, "singleValueExtendedProperties": [{"id": "Integer 0x0E07", "value": "1"}]}

    assert graph.patch(f"{MESSAGES}/{draft['id']}", json=clearing).json()["isDraft"] is True


def test_a_mime_message_becomes_a_draft_of_now(graph: TestClient) -> None:
    mime = b"From: a@example.com\r\nTo: b@example.com\r\nDate: Wed, 15 May 2024 12:00:00 +0000\r\n\r\nhi\r\n"

    response = graph.post(MESSAGES, content=base64.b64encode(mime), headers={"Content-Type": "text/plain"})

    assert response.status_code == 201
    assert response.json()["isDraft"] is True
    assert response.json()["receivedDateTime"] == "2026-11-22T12:00:00Z"
    assert response.json()["toRecipients"][0]["emailAddress"]["address"] == "b@example.com"


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"not base64!", "ErrorMimeContentInvalidBase64String"), (b"QTogYgpDOiBkCg==", "UnableToDeserializePostBody")],
)
def test_mime_that_graph_cannot_read_is_refused(graph: TestClient, content: bytes, code: str) -> None:
    response = graph.post(MESSAGES, content=content, headers={"Content-Type": "text/plain"})

    assert code_of(response) == (400, code)


def test_what_is_stored_can_be_read_by_programs_line_by_line(graph: TestClient) -> None:
    created(graph, attachments=[file(content="aGk=")])
    deleted = created(graph)
    graph.delete(f"{MESSAGES}/{deleted['id']}")

    lines = graph.get("/_sandbox/messages").text.splitlines()

    assert len(lines) == 1
    assert '"sha256":"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"' in lines[0]
    assert '"userPrincipalName":"anna@example.com"' in lines[0]


def test_a_reset_empties_the_mailboxes_and_keeps_the_tokens() -> None:
    whole: Tenant = tenant()
    graph = client(whole)
    created(graph)

    assert graph.post("/_sandbox/reset").status_code == 204

    assert graph.get(f"{INBOX}/$count").text == "0"
