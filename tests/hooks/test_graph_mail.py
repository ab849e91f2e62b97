"""What a mailbox is asked, how its answers are read, and that a message is there with all of its attachments or not."""

from __future__ import annotations

import base64
import dataclasses
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, BinaryIO
from urllib.parse import unquote

import msgspec
import pytest

from o2_connector.core.errors import IntegrityError, ItemError, MailboxError, RetryError
from o2_connector.core.naming import FOLDER_NAME, ITEM_PROPERTY, UNFINISHED_CATEGORY
from o2_connector.hooks.graph_mail import (
    Found,
    archived,
    archived_call,
    create_call,
    create_large,
    folder_call,
    folder_failure,
    folder_named,
    folders_call,
    found_messages,
    id_of,
    item_call,
    remove,
)
from o2_connector.hooks.graph_requests import Answer, Call, GraphRequests, get, quoted
from o2_connector.hooks.graph_upload import REQUEST_LIMIT, Attachment
from sandbox.server import Sandbox
from tests.hooks.graph_tenant import (
    BIG,
    BOX,
    FOLDER,
    HUGE,
    MESSAGE,
    MESSAGES,
    Tenant,
    Upload,
    attachment,
    created,
    error,
    message,
    whole,
)
from tests.hooks.tls_site import LOST, Reply, Time

NOON = 1_795_262_400_000  # 2026-11-21T12:00:00Z
REMOVAL = f"{MESSAGE}/permanentDelete"
Kept = Callable[[], list[dict[str, Any]]]


def answer(*entries: dict[str, Any]) -> Answer:
    return Answer(status=200, content=msgspec.json.encode({"value": list(entries)}))


def shown(message_id: str, key: str, *, categories: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a message of the archive as a list shows it: Graph gives a property's GUID in a case of its own choice."""
    prop = ITEM_PROPERTY.replace("6c8506a9", "6C8506A9")
    assert prop != ITEM_PROPERTY
    return {
        "id": message_id,
        "categories": list(categories),
        "singleValueExtendedProperties": [{"id": prop, "value": key}],
    }


# The folder


def test_the_folders_below_the_root_are_asked_for_hidden_ones_too() -> None:
    call = folders_call("some/body")

    assert (call.method, call.repeatable) == ("GET", True)
    assert call.path.startswith("/users/some%2Fbody/mailFolders/msgfolderroot/childFolders?")
    assert "includeHiddenFolders=true" in call.path


def test_a_folder_is_made_below_the_root_and_never_twice_in_doubt() -> None:
    call = folder_call("some/body", FOLDER_NAME)

    assert (call.method, call.repeatable) == ("POST", False)
    assert call.path == "/users/some%2Fbody/mailFolders/msgfolderroot/childFolders"
    assert call.body == {"displayName": FOLDER_NAME}


@pytest.mark.parametrize("name", [FOLDER_NAME, FOLDER_NAME.upper(), FOLDER_NAME.lower()])
def test_a_folder_is_known_by_its_name_whatever_its_case(name: str) -> None:
    folders = answer({"id": "f0", "displayName": "Other"}, {"id": "f1", "displayName": name})

    assert folder_named(folders, FOLDER_NAME) == "f1"


def test_a_folder_that_is_not_on_a_page_is_not_taken_for_one_that_is() -> None:
    page = answer({"id": "f0", "displayName": f"{FOLDER_NAME} 2"}, {"id": "f1"}, {"id": "f2", "displayName": None})

    assert folder_named(page, FOLDER_NAME) is None


def test_a_list_of_folders_that_is_none_is_not_taken_for_an_empty_one() -> None:
    with pytest.raises(RetryError, match="no list"):
        folder_named(Answer(status=200, content=msgspec.json.encode({"surprise": True})), FOLDER_NAME)


# The items


def test_a_span_is_listed_with_a_second_of_slack_on_both_sides() -> None:
    call = archived_call(BOX, FOLDER, NOON + 250, NOON + 1_900)

    asked = unquote(call.path)
    assert (call.method, call.repeatable) == ("GET", True)
    assert call.path.startswith(f"{MESSAGES}?")
    assert "$filter=receivedDateTime ge 2026-11-21T11:59:59Z and receivedDateTime le 2026-11-21T12:00:03Z&" in asked
    assert f"$expand=singleValueExtendedProperties($filter=id eq '{ITEM_PROPERTY}')" in asked
    assert "$select=id,categories" in asked
    assert "$top=1000" in asked


def test_the_archives_messages_are_told_from_the_users_own() -> None:
    others = {"id": "theirs", "singleValueExtendedProperties": [{"id": "String 0x1035", "value": "i2"}]}

    found = archived(answer(shown("m1", "i1"), {"id": "user's own"}, others))

    assert found == [Found(key="i1", message_id="m1", unfinished=False)]


def test_a_message_without_all_of_its_attachments_is_told_apart() -> None:
    torn = shown("m1", "i1", categories=("SMS", UNFINISHED_CATEGORY))

    found = archived(answer(torn, shown("m2", "i2", categories=("SMS",)), shown("m3", "i1")))

    assert [(one.key, one.message_id, one.unfinished) for one in found] == [
        ("i1", "m1", True),
        ("i2", "m2", False),
        ("i1", "m3", False),
    ]


def test_a_listing_that_is_none_is_not_taken_for_an_empty_folder() -> None:
    with pytest.raises(RetryError, match="no list"):
        archived(Answer(status=200, content=msgspec.json.encode({"surprise": True})))


def test_an_item_is_looked_for_in_the_whole_mailbox() -> None:
    call = item_call(BOX, "o'clock & co")

    condition = f"singleValueExtendedProperties/any(ep: ep/id eq '{ITEM_PROPERTY}' and ep/value eq 'o''clock & co')"
    assert (call.method, call.repeatable) == ("GET", True)
    assert call.path.startswith(f"/users/{BOX}/messages?")
    assert unquote(call.path.partition("$filter=")[2]) == condition
    assert "&" not in call.path.partition("$filter=")[2]


def test_what_is_found_of_an_item_is_the_items_whether_finished_or_not() -> None:
    entries = [{"id": "m1", "categories": [UNFINISHED_CATEGORY]}, {"id": "m2", "categories": ["SMS"]}, {"id": "m3"}]

    assert found_messages(answer(*entries), "i1") == [
        Found(key="i1", message_id="m1", unfinished=True),
        Found(key="i1", message_id="m2", unfinished=False),
        Found(key="i1", message_id="m3", unfinished=False),
    ]


def test_a_look_up_that_is_no_list_is_not_taken_for_nothing_found() -> None:
    with pytest.raises(RetryError, match="no list"):
        found_messages(Answer(status=200, content=msgspec.json.encode({"surprise": True})), "i1")


# The create


def test_a_create_goes_into_its_folder_and_never_twice_in_doubt() -> None:
    raw = msgspec.Raw(b'{"subject":"SMS"}')

    call = create_call(BOX, FOLDER, raw)

    assert (call.method, call.path, call.repeatable) == ("POST", MESSAGES, False)
    assert call.body is raw


@pytest.mark.parametrize(
    ("body", "made"),
    [({"id": "m1"}, "m1"), ({"id": ""}, None), ({"id": 7}, None), ({}, None), (None, None), ([], None)],
)
def test_an_answer_without_an_id_made_nothing_that_is_known(body: Any, made: str | None) -> None:
    assert id_of(Answer(status=201, content=msgspec.json.encode(body))) == made


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (507, "ErrorQuotaExceeded", "ErrorQuotaExceeded"),
        (404, "MailboxNotEnabledForRESTAPI", "MailboxNotEnabledForRESTAPI"),
        (404, "ErrorItemNotFound", "ErrorFolderNotFound"),  # all that a new message needs is its folder
    ],
)
def test_a_mailbox_that_takes_nothing_is_told_with_its_cause(status: int, code: str, cause: str) -> None:
    failure = folder_failure(Answer(status=status, code=code), "a message was created")

    assert isinstance(failure, MailboxError)
    assert failure.cause == cause


def test_a_refused_message_is_its_items_fault() -> None:
    failure = folder_failure(Answer(status=400, code="ErrorInvalidRecipients"), "a message was created")

    assert isinstance(failure, ItemError)
    assert failure.fault == "ErrorInvalidRecipients"


def test_a_throttled_create_says_when_to_come_back() -> None:
    failure = folder_failure(Answer(status=429, code="ApplicationThrottled", retry_after=20), "a message was created")

    assert isinstance(failure, RetryError)
    assert failure.retry_after == 20


# A message request by request


@pytest.fixture
def takes(tenant: Tenant) -> Tenant:
    """Let the tenant take a message, what follows it, and its removal."""
    Upload(tenant)
    tenant.on("POST", MESSAGES, created())
    tenant.on("POST", f"{MESSAGE}/attachments", Reply(status=201, body={"id": "a"}))
    tenant.on("PATCH", MESSAGE, Reply(body={"id": "m1"}))
    tenant.on("POST", REMOVAL, Reply(status=204))
    return tenant


def test_a_small_message_is_one_request_with_its_attachments(takes: Tenant, graph: GraphRequests) -> None:
    picture = attachment(b"\x00\xff", name="a.jpg")

    assert create_large(graph, BOX, FOLDER, message(categories=["SMS"]), [picture]) == "m1"

    assert takes.paths() == [MESSAGES]
    (request,) = takes.asked("POST", MESSAGES)
    assert request.json == {
        **message(categories=["SMS"]),
        "attachments": [
            {
                "@odata.type": "#microsoft.graph.fileAttachment",
                "name": "a.jpg",
                "contentType": "image/jpeg",
                "contentBytes": "AP8=",
                "isInline": False,
            }
        ],
    }


@pytest.mark.parametrize("reply", [LOST, error(500, "x"), error(502, "x"), error(504, "x"), error(503, "x"), Reply()])
def test_a_create_whose_answer_was_lost_is_left_to_be_asked_for(
    takes: Tenant, graph: GraphRequests, moment: Time, reply: Reply
) -> None:
    takes.on("POST", MESSAGES, reply)

    with pytest.raises(RetryError, match="answer was lost"):
        create_large(graph, BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])

    assert takes.paths() == [MESSAGES]
    assert moment.waits == []


def test_a_throttled_create_is_sent_again_without_asking(takes: Tenant, graph: GraphRequests, moment: Time) -> None:
    takes.on("POST", MESSAGES, error(429, "ApplicationThrottled", Retry_After="20"), created())

    assert create_large(graph, BOX, FOLDER, message(), []) == "m1"
    assert moment.waits == [20]


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (error(400, "ErrorInvalidRecipients"), ItemError, "ErrorInvalidRecipients"),
        (error(404, "ErrorItemNotFound"), MailboxError, "ErrorFolderNotFound"),
        (error(429, "ApplicationThrottled", Retry_After="3600"), RetryError, "429"),
    ],
)
def test_a_create_that_was_refused_is_told_as_such(
    takes: Tenant, graph: GraphRequests, reply: Reply, kind: type[Exception], words: str
) -> None:
    takes.on("POST", MESSAGES, reply)

    with pytest.raises(kind, match=words):
        create_large(graph, BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])

    assert takes.paths() == [MESSAGES]


def test_what_does_not_fit_follows_and_the_message_is_marked_until_it_is_there(
    takes: Tenant, graph: GraphRequests
) -> None:
    files = [attachment(BIG, name="first"), attachment(BIG, name="second"), attachment(b"small", name="third")]

    create_large(graph, BOX, FOLDER, message(categories=["SMS"]), files)

    create, attach, finish = takes.requests[-3:]
    assert len(takes.paths()) == 3
    assert [one["name"] for one in create.json["attachments"]] == ["first", "third"]
    assert create.json["categories"] == ["SMS", UNFINISHED_CATEGORY]
    assert attach.json["name"] == "second"
    assert base64.b64decode(attach.json["contentBytes"]) == BIG
    assert (finish.method, finish.json) == ("PATCH", {"categories": ["SMS"]})


def test_an_attachment_that_graph_never_takes_is_known_before_anything_is_sent(
    tenant: Tenant, graph: GraphRequests
) -> None:
    with pytest.raises(ItemError, match="150 MB"):
        create_large(graph, BOX, FOLDER, message(), [attachment(size=150 * 1024 * 1024 + 1)])

    assert not tenant.requests


@pytest.mark.parametrize("files", [[], [attachment(b"")]])
def test_a_message_goes_while_it_fits_one_request_and_is_refused_before_anything_is_sent_when_not(
    takes: Tenant, graph: GraphRequests, files: list[Attachment]
) -> None:
    marks: dict[str, Any] = {"categories": [UNFINISHED_CATEGORY]} if files else {}
    room = REQUEST_LIMIT - len(msgspec.json.encode(message(body={"content": ""}, **marks)))

    create_large(graph, BOX, FOLDER, message(body={"content": "x" * room}), files)
    (request,) = takes.asked("POST", MESSAGES)
    takes.requests.clear()
    with pytest.raises(ItemError, match="larger than the 4 MB of a request"):
        create_large(graph, BOX, FOLDER, message(body={"content": "x" * (room + 1)}), files)

    assert len(request.body) == REQUEST_LIMIT
    assert not takes.requests


def test_an_attachment_whose_name_fits_no_request_is_known_before_anything_is_sent(
    tenant: Tenant, graph: GraphRequests
) -> None:
    with pytest.raises(ItemError, match="name or type"):
        create_large(graph, BOX, FOLDER, message(), [attachment(name="x" * REQUEST_LIMIT)])

    assert not tenant.requests


def test_many_long_names_do_not_make_a_create_that_fits_no_request(takes: Tenant, graph: GraphRequests) -> None:
    files = [attachment(name=f"{number}{'x' * 400_000}") for number in range(12)]

    create_large(graph, BOX, FOLDER, message(), files)

    (create,) = takes.asked("POST", MESSAGES)
    following = takes.asked("POST", f"{MESSAGE}/attachments")
    assert len(create.json["attachments"]) + len(following) == 12
    assert len(create.body) <= REQUEST_LIMIT


def test_a_message_whose_attachment_is_refused_is_removed(takes: Tenant, graph: GraphRequests) -> None:
    takes.on("POST", f"{MESSAGE}/attachments", error(400, "malwareDetected"))

    with pytest.raises(ItemError) as caught:
        create_large(graph, BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])

    assert caught.value.fault == "malwareDetected"
    assert takes.paths()[-1] == REMOVAL
    assert not takes.asked("PATCH", ".*")


def test_a_message_that_cannot_be_marked_as_complete_is_removed(takes: Tenant, graph: GraphRequests) -> None:
    takes.on("PATCH", MESSAGE, error(403, "ErrorAccessDenied"))

    with pytest.raises(MailboxError, match="marked as complete"):
        create_large(graph, BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])

    assert takes.paths()[-1] == REMOVAL


def test_a_message_that_is_gone_before_it_is_complete_is_left_to_retries(takes: Tenant, graph: GraphRequests) -> None:
    takes.on("PATCH", MESSAGE, error(404, "ErrorItemNotFound"))

    with pytest.raises(RetryError, match="not there"):
        create_large(graph, BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])


def test_a_mark_whose_removal_got_no_answer_is_removed_again(takes: Tenant, graph: GraphRequests) -> None:
    takes.on("PATCH", MESSAGE, LOST, error(504, "x"), Reply(body={"id": "m1"}))

    assert create_large(graph, BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)]) == "m1"
    assert len(takes.asked("PATCH", MESSAGE)) == 3


@pytest.mark.parametrize("wrong", [-1, +1])
@pytest.mark.parametrize("content", [BIG, HUGE])
def test_an_attachment_of_another_size_than_recorded_leaves_no_message(
    takes: Tenant, graph: GraphRequests, content: bytes, wrong: int
) -> None:
    files = [attachment(BIG), attachment(content, size=len(content) + wrong)]

    with pytest.raises(IntegrityError, match="attachment is"):
        create_large(graph, BOX, FOLDER, message(), files)

    assert takes.paths()[-1] == REMOVAL


def test_an_attachment_whose_bytes_cannot_be_had_leaves_no_message(takes: Tenant, graph: GraphRequests) -> None:
    def broken() -> AbstractContextManager[BinaryIO]:
        raise ConnectionError

    last = dataclasses.replace(attachment(BIG), open=broken)

    with pytest.raises(ConnectionError):
        create_large(graph, BOX, FOLDER, message(), [attachment(BIG), last])

    assert takes.paths()[-1] == REMOVAL


def test_a_removal_that_fails_does_not_hide_why(
    takes: Tenant, graph: GraphRequests, caplog: pytest.LogCaptureFixture
) -> None:
    takes.on("POST", f"{MESSAGE}/attachments", error(413, "ErrorMessageSizeExceeded"))
    takes.on("POST", REMOVAL, error(400, "BadRequest"))
    takes.on("DELETE", MESSAGE, error(403, "ErrorAccessDenied"))

    with caplog.at_level(logging.WARNING), pytest.raises(ItemError, match="ErrorMessageSizeExceeded"):
        create_large(graph, BOX, FOLDER, message(), [attachment(BIG), attachment(BIG)])

    assert "could not be removed" in caplog.text


# The removal


def test_an_unfinished_message_is_deleted_for_good(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", f"/users/{BOX}/messages/m%2F1/permanentDelete", Reply(status=204))

    remove(graph, BOX, "m/1")

    assert tenant.paths() == [f"/users/{BOX}/messages/m%2F1/permanentDelete"]


def test_where_a_message_cannot_be_deleted_for_good_it_is_deleted(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", REMOVAL, error(400, "BadRequest"))
    tenant.on("DELETE", MESSAGE, Reply(status=204))

    remove(graph, BOX, "m1")

    assert tenant.paths() == [REMOVAL, MESSAGE]


def test_a_message_that_is_gone_already_is_removed(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", REMOVAL, error(404, "ErrorItemNotFound"))

    remove(graph, BOX, "m1")

    assert tenant.paths() == [REMOVAL]


def test_a_message_that_is_gone_when_it_is_deleted_is_removed(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", REMOVAL, error(400, "BadRequest"))
    tenant.on("DELETE", MESSAGE, error(404, "ErrorItemNotFound"))

    remove(graph, BOX, "m1")

    assert tenant.paths() == [REMOVAL, MESSAGE]


def test_a_removal_without_an_answer_is_sent_again(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", REMOVAL, LOST, error(503, "ErrorServerBusy"), Reply(status=204))

    remove(graph, BOX, "m1")

    assert tenant.paths() == [REMOVAL] * 3


def test_a_removal_that_has_no_answer_in_time_is_left_to_retries(tenant: Tenant, graph: GraphRequests) -> None:
    tenant.on("POST", REMOVAL, error(429, "ApplicationThrottled", Retry_After="3600"))

    with pytest.raises(RetryError, match="unfinished message was removed"):
        remove(graph, BOX, "m1")

    assert tenant.paths() == [REMOVAL]


# The sandbox


def test_a_message_is_archived_and_found_again(
    sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str], kept: Kept
) -> None:
    folder_id = make_folder(box)

    message_id = create_large(sandbox_graph, box, folder_id, whole(), [attachment(b"picture")])

    there = Found(key="0a1b", message_id=message_id, unfinished=False)
    calls = [folders_call(box), archived_call(box, folder_id, NOON, NOON), item_call(box, "0a1b")]
    folders, listing, asked, unknown = sandbox_graph.batch([*calls, item_call(box, "0a1c")])
    assert folder_named(folders, FOLDER_NAME.upper()) == folder_id
    assert archived(listing) == found_messages(asked, "0a1b") == [there]
    assert found_messages(unknown, "0a1c") == []
    (one,) = kept()
    assert (one["isDraft"], one["folder"], one["sentDateTime"]) == (False, FOLDER_NAME, "2026-11-21T12:00:00Z")
    assert [file["size"] for file in one["attachments"]] == [7]


def test_a_span_is_listed_and_nothing_of_other_days(
    sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str]
) -> None:
    folder_id = make_folder(box)
    times = [f"2026-11-21T{time}Z" for time in ("11:59:58", "11:59:59", "12:00:00", "12:00:01", "12:00:03", "12:00:04")]
    sandbox_graph.batch([create_call(box, folder_id, whole(time, received=time)) for time in times])

    listing = sandbox_graph.send_once(archived_call(box, folder_id, NOON + 250, NOON + 1_900))

    assert {found.key for found in archived(listing)} == set(times[1:-1])


def test_a_folder_of_more_than_a_page_is_listed_in_full(
    sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str]
) -> None:
    folder_id = make_folder(box)
    keys = [f"{number:040x}" for number in range(1001)]
    for start in range(0, len(keys), 20):
        sandbox_graph.batch([create_call(box, folder_id, whole(key)) for key in keys[start : start + 20]])

    first = sandbox_graph.send_once(archived_call(box, folder_id, NOON, NOON))
    last = sandbox_graph.send_once(get(sandbox_graph.below_root(first.fields["@odata.nextLink"])))

    assert {found.key for found in [*archived(first), *archived(last)]} == set(keys)
    assert "@odata.nextLink" not in last.fields


@pytest.mark.parametrize("how", ["504", "cut"])
def test_a_lost_answer_is_not_followed_by_a_second_message(
    graph_sandbox: Sandbox,
    sandbox_graph: GraphRequests,
    box: str,
    make_folder: Callable[[str], str],
    kept: Kept,
    how: str,
) -> None:
    folder_id = make_folder(box)
    graph_sandbox.graph.faults.add("executed_but_lost", path="/messages$", how=how)

    with pytest.raises(RetryError, match="answer was lost"):
        create_large(sandbox_graph, box, folder_id, whole(), [])

    found = found_messages(sandbox_graph.send_once(item_call(box, "0a1b")), "0a1b")
    assert [one.message_id for one in found] == [one["id"] for one in kept()]
    assert len(found) == 1


def test_an_import_killed_between_two_attachments_leaves_a_message_that_says_so_and_can_be_removed(
    sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str], kept: Kept
) -> None:
    folder_id = make_folder(box)

    def killed() -> AbstractContextManager[BinaryIO]:
        raise KeyboardInterrupt

    last = dataclasses.replace(attachment(BIG), open=killed)
    with pytest.raises(KeyboardInterrupt):
        create_large(sandbox_graph, box, folder_id, whole(), [attachment(BIG), last])

    (torn,) = kept()
    left = Found(key="0a1b", message_id=torn["id"], unfinished=True)
    listing, asked = sandbox_graph.batch([archived_call(box, folder_id, NOON, NOON), item_call(box, "0a1b")])
    assert archived(listing) == found_messages(asked, "0a1b") == [left]
    remove(sandbox_graph, box, torn["id"])
    assert kept() == []


def test_a_message_too_large_for_its_mailbox_leaves_nothing(
    graph_sandbox: Sandbox,
    sandbox_graph: GraphRequests,
    box: str,
    make_folder: Callable[[str], str],
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder_id = make_folder(box)
    monkeypatch.setattr(graph_sandbox.graph, "message_bytes", 6_000_000)

    with pytest.raises(ItemError, match="ErrorMessageSizeExceeded"):
        create_large(sandbox_graph, box, folder_id, whole(), [attachment(BIG), attachment(HUGE)])

    assert kept() == []


def test_a_full_mailbox_is_told_by_its_cause(
    graph_sandbox: Sandbox, sandbox_graph: GraphRequests, make_folder: Callable[[str], str]
) -> None:
    full = next(user.id for user in graph_sandbox.world.directory if user.mailbox == "full")

    with pytest.raises(MailboxError) as caught:
        create_large(sandbox_graph, full, make_folder(full), whole(), [])

    assert caught.value.cause == "ErrorQuotaExceeded"


@pytest.mark.parametrize("last", [b"x", HUGE])
def test_a_message_holds_250_attachments_and_of_one_with_more_nothing_is_left(
    sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str], kept: Kept, last: bytes
) -> None:
    folder_id = make_folder(box)
    files = [attachment(b"%d" % number) for number in range(249)]

    create_large(sandbox_graph, box, folder_id, whole(), [*files, attachment(last)])
    with pytest.raises(ItemError):
        create_large(sandbox_graph, box, folder_id, whole("0c2d"), [*files, attachment(b"y"), attachment(last)])

    assert [len(each["attachments"]) for each in kept()] == [250]


def test_a_folder_that_somebody_removed_is_named_as_the_cause(
    sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str]
) -> None:
    folder_id = make_folder(box)
    sandbox_graph.send_once(Call(method="DELETE", path=f"/users/{box}/mailFolders/{quoted(folder_id)}"))

    with pytest.raises(MailboxError) as caught:
        create_large(sandbox_graph, box, folder_id, whole(), [])

    assert caught.value.cause == "ErrorFolderNotFound"
