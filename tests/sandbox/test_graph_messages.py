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


def test_the_preview_of_a_html_body_is_its_text(graph: TestClient) -> None:
    page = '<html><body>\n<div dir="auto">Fish &amp; chips &lt;3 &#x2713;&quot;</div>\n</body></html>'

    made = created(graph, body={"contentType": "html", "content": page})

    assert made["bodyPreview"] == 'Fish & chips <3 \u2713"'


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
        *(
            (
                {"singleValueExtendedProperties": [{"id": kind, "value": value}]},
                400,
                "ErrorInvalidExtendedPropertyValue",
            )
            for kind, value in [
                ("Binary 0x0071", "AQ="),
                ("Binary 0x0071", "not base64"),
                ("Binary 0x0071", "AQ==\n"),
                ("Boolean 0x3016", "1"),
                ("Boolean 0x3016", ""),
                ("Integer 0x0E07", "1_0"),
                ("Integer 0x0E07", "\u0661"),
                ("String 0x001A", ""),
                ("String 0x001A", "IPM.Note."),
                ("String 0x001A", "IPM.Nöte"),
                ("String 0x001A", "IPM." + "x" * 252),
            ]
        ),
        ({"singleValueExtendedProperties": [{"id": "Boolean 0x3016", "value": True}]}, 400, "RequestBodyRead"),
        ({"attachments": [{"name": "a", "contentBytes": "aGk="}]}, 422, "UnprocessableType"),
        ({"attachments": [file(content="not base64")]}, 400, "RequestBodyRead"),
        ({"attachments": [file(isInline="yes")]}, 400, "RequestBodyRead"),
        ({"ccRecipients": [person("+447700900001", "x")]}, 400, "ErrorInvalidRecipients"),
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


FACTS_ID = ITEM_ID.replace("ItemId", "Facts")
FACTS = "\n".join(f"X-O2-Fact-{number}: what was captured, naïve ß \U0001f3d7" for number in range(100))


def index_of(guid: bytes, child: bytes = b"") -> str:
    """Make a conversation index: its header, and the block of a reply (MS-OXOMSG 2.2.1.3)."""
    return base64.b64encode(b"\x01" + bytes(5) + guid + child).decode()


def of_conversation(index: str, tracking: str = "true", **changes: Any) -> dict[str, Any]:
    properties = [{"id": "Binary 0x0071", "value": index}, {"id": "Boolean 0x3016", "value": tracking}]
    return {**changes, "singleValueExtendedProperties": properties}


def test_what_an_archived_item_consists_of_reads_back_as_it_was_posted(graph: TestClient) -> None:
    given = {
        "Binary 0x71": index_of(b"0123456789abcdef", b"12345"),
        "String 0x70": "SMS with +44 7700 900002",
        "Boolean 0x3016": "true",
        "String 0x1a": "IPM.Note.O2Network.MMS",
        FACTS_ID.replace("{6E7DA4C2-5D8A-4C3B-9E1F-0A1B2C3D4E5F}", "{6e7da4c2-5d8a-4c3b-9e1f-0a1b2c3d4e5f}"): FACTS,
    }
    body = {"contentType": "html", "content": '<p>Look<img src="cid:part-1@archive.example.com"></p>'}
    picture = file(isInline=True, contentId="part-1@archive.example.com")
    nothing = file("text_0.txt", "", contentType="text/plain", isInline=True, contentId="part-2@archive.example.com")
    made = created(
        graph,
        body=body,
        ccRecipients=[person("447700900003@sms.example.com", "Cy (+44 7700 900003)")],
        singleValueExtendedProperties=[{"id": name, "value": value} for name, value in given.items()],
        attachments=[picture, nothing],
    )
    names = " or ".join(f"id eq '{name}'" for name in given)
    expand = f"attachments,singleValueExtendedProperties($filter={names})"

    read = graph.get(f"{MESSAGES}/{made['id']}", params={"$expand": expand}).json()

    assert {each["id"]: each["value"] for each in read["singleValueExtendedProperties"]} == given
    assert read["body"] == body
    assert read["ccRecipients"] == [person("447700900003@sms.example.com", "Cy (+44 7700 900003)")]
    assert read["conversationIndex"] == given["Binary 0x71"]
    assert [
        (each["name"], each["isInline"], each["contentId"], each["contentBytes"], each["size"])
        for each in read["attachments"]
    ] == [
        ("photo.png", True, "part-1@archive.example.com", "iVBORw==", 4),
        ("text_0.txt", True, "part-2@archive.example.com", "", 0),
    ]
    assert read["hasAttachments"] is False


def test_a_list_cuts_long_texts_and_the_message_itself_does_not(graph: TestClient) -> None:
    made = created(graph, singleValueExtendedProperties=[{"id": FACTS_ID, "value": FACTS}])
    expand = {"$expand": f"singleValueExtendedProperties($filter=id eq '{FACTS_ID}')"}

    listed = graph.get(INBOX, params=expand).json()["value"][0]
    read = graph.get(f"{INBOX}/{made['id']}", params=expand).json()

    assert len(FACTS) > 4000
    assert listed["singleValueExtendedProperties"][0]["value"] == FACTS[:255]
    assert read["singleValueExtendedProperties"][0]["value"] == FACTS


@pytest.mark.parametrize("value", ["one line", FACTS, "ß" * 200, "a\nb"], ids=["short", "long", "unfolded", "lines"])
def test_a_named_text_of_any_length_is_found_without_regard_to_case(graph: TestClient, value: str) -> None:
    created(graph, singleValueExtendedProperties=[{"id": FACTS_ID, "value": value}])
    condition = "singleValueExtendedProperties/any(ep: ep/id eq '{}' and ep/value eq '{}')"

    found, other = (
        graph.get(INBOX, params={"$filter": condition.format(FACTS_ID, wanted)}).json()["value"]
        for wanted in (value.upper(), value + "x")
    )

    assert (len(found), other) == (1, [])


def test_messages_are_found_by_their_class_whatever_its_case(graph: TestClient) -> None:
    for kind in ("IPM.Note.O2Network.SMS", "IPM.Note.O2Network.SMS", "IPM.Note.O2Network.Call", None):
        created(graph, singleValueExtendedProperties=kind and [{"id": "String 0x001A", "value": kind}])
    condition = "singleValueExtendedProperties/any(ep: ep/id eq 'String 0x001A' and ep/value eq '{}')"

    counts = [
        len(graph.get(MESSAGES, params={"$filter": condition.format(kind)}).json()["value"])
        for kind in ("IPM.Note.O2Network.SMS", "ipm.note.o2network.call", "IPM.Note", "IPM.Note.O2Network")
    ]

    assert counts == [2, 1, 1, 0]


def test_messages_whose_indexes_have_one_guid_are_one_conversation_whatever_their_subjects(graph: TestClient) -> None:
    one, other = b"0123456789abcdef", b"0123456789abcdeX"

    conversations = [
        created(graph, **of_conversation(index_of(guid, child), subject=subject))["conversationId"]
        for guid, child, subject in [
            (one, b"", "a"),
            (one, b"12345", "b"),
            (one, b"1234567890", "a"),
            (other, b"", "a"),
        ]
    ]

    assert len(set(conversations[:3])) == 1
    assert conversations[3] not in conversations[:3]


@pytest.mark.parametrize(
    ("index", "tracking"),
    [
        (index_of(b"0123456789abcdef"), "false"),
        (index_of(b"0123456789abcde"), "true"),  # a byte too short
        (base64.b64encode(b"\x02" + bytes(21)).decode(), "true"),  # not the first byte that a header has
        ("", "true"),
    ],
)
def test_without_an_index_to_go_by_the_topic_makes_the_conversation(
    graph: TestClient, index: str, tracking: str
) -> None:
    indexed = of_conversation(index, tracking, subject="Subject")
    topic = [{"id": "String 0x0070", "value": "SUBJECT"}]

    conversations = [
        created(graph, **changes)["conversationId"]
        for changes in (
            indexed,
            {"subject": "Subject", "singleValueExtendedProperties": None},
            {"subject": "Another", "singleValueExtendedProperties": topic},
            {"subject": "Another", "singleValueExtendedProperties": None},
        )
    ]

    assert len(set(conversations[:3])) == 1
    assert conversations[3] != conversations[0]


def test_a_conversation_can_be_asked_for(graph: TestClient) -> None:
    made = created(graph, **of_conversation(index_of(b"0123456789abcdef")))
    created(graph)

    found = graph.get(MESSAGES, params={"$filter": f"conversationId eq '{made['conversationId']}'"}).json()["value"]

    assert [message["id"] for message in found] == [graph.get(f"{MESSAGES}/{made['id']}").json()["id"]]


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
