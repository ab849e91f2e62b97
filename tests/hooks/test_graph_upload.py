"""An attachment arrives whole, once, in as few requests as take it, whatever happens on the way."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import logging
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import requests

from o2_connector.core.errors import IntegrityError, ItemError, RetryError
from o2_connector.core.naming import UNFINISHED_CATEGORY
from o2_connector.hooks.graph_mail import create_large
from o2_connector.hooks.graph_requests import GraphRequests
from o2_connector.hooks.graph_upload import (
    CHUNK,
    INLINE_LIMIT,
    REQUEST_LIMIT,
    SESSION_LIMIT,
    Attachment,
    attach,
    compose,
    file_attachment,
)
from sandbox.server import Sandbox
from tests.hooks.graph_tenant import (
    BIG,
    HUGE,
    MESSAGE,
    PATIENCE,
    POST_MOST,
    SETTLE,
    Tenant,
    Upload,
    attachment,
    error,
    gate_into,
    listed,
    message,
    whole,
)
from tests.hooks.tls_site import LOST, Reply, Request, Time

ATTACHMENTS = f"{MESSAGE}/attachments"
SESSION = f"{ATTACHMENTS}/createUploadSession"
Kept = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def upload(tenant: Tenant) -> Upload:
    """Return where the parts of an attachment arrive."""
    return Upload(tenant)


class Zeros(io.RawIOBase):
    """Give so many zeros, and know the most that was ever asked for at once."""

    def __init__(self, size: int) -> None:
        self.left, self.most = size, 0

    def read(self, size: int = -1) -> bytes:
        self.most = max(self.most, size if size >= 0 else self.left)
        given = min(size, self.left) if size >= 0 else self.left
        self.left -= given
        return bytes(given)


class Taken(requests.adapters.HTTPAdapter):
    """Take an upload in place of the network, and keep none of it."""

    size = 0

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        if request.method == "POST":
            response.status_code, body = 201, {"uploadUrl": "https://graph.example.com/upload"}
        else:
            self.size += len(request.body or b"")
            response.status_code, body = 200, {"nextExpectedRanges": [str(self.size)]}
        response._content = msgspec.json.encode(body)
        return response


# With the create


def test_what_fits_goes_with_the_create_and_what_does_not_follows_in_its_order() -> None:
    files = [attachment(bytes(size), name=str(size)) for size in (2_000_000, 700_000, 600_000, 700_001)]

    body, following = compose(message(categories=["SMS"]), files)

    assert [one["name"] for one in body["attachments"]] == ["2000000", "600000"]
    assert [one.name for one in following] == ["700000", "700001"]
    assert body["categories"] == ["SMS", UNFINISHED_CATEGORY]


def test_a_message_that_is_whole_from_the_first_is_not_marked() -> None:
    given = message(categories=["SMS"])

    body, following = compose(given, [attachment()])

    assert (body["categories"], following) == (["SMS"], ())
    assert compose(given, []) == (given, ())
    assert "attachments" not in given


def test_a_create_with_attachments_stays_below_four_megabytes() -> None:
    text = message(body={"contentType": "text", "content": "x" * 600_000})

    body, following = compose(text, [attachment(bytes(INLINE_LIMIT - 600_000 - 1000))])

    assert (len(body["attachments"]), following) == (1, ())
    assert len(msgspec.json.encode(body)) < 4_000_000


@pytest.mark.parametrize("wrong", [-1, +1])
def test_an_attachment_of_another_size_than_recorded_is_not_sent_on(wrong: int) -> None:
    with pytest.raises(IntegrityError, match="attachment is"):
        file_attachment(attachment(b"picture", size=7 + wrong))


def test_an_attachment_that_belongs_to_the_body_is_inline_and_known_by_its_content_id() -> None:
    shown = dataclasses.replace(attachment(), content_id="logo@example.com")

    encoded, other = file_attachment(shown), file_attachment(attachment())

    assert (encoded["contentId"], encoded["isInline"]) == ("logo@example.com", True)
    assert (other.get("contentId"), other["isInline"]) == (None, False)


# In parts


def test_a_large_attachment_goes_up_in_parts_without_the_token(
    tenant: Tenant, graph: GraphRequests, upload: Upload
) -> None:
    attach(graph, MESSAGE, attachment(HUGE), 0)

    assert upload.data == HUGE
    parts = tenant.asked("PUT", ".*")
    assert max(len(request.body) for request in parts) == CHUNK
    assert not any("authorization" in request.headers for request in parts)
    (opened,) = tenant.asked("POST", SESSION)
    assert opened.json["AttachmentItem"] == {
        "attachmentType": "file",
        "name": "a.jpg",
        "size": len(HUGE),
        "contentType": "image/jpeg",
        "isInline": False,
    }


def test_a_large_attachment_that_belongs_to_the_body_is_inline_too(
    tenant: Tenant, graph: GraphRequests, upload: Upload
) -> None:
    shown = dataclasses.replace(attachment(HUGE), content_id="photo@example.com")

    attach(graph, MESSAGE, shown, 0)

    (opened,) = tenant.asked("POST", SESSION)
    item = opened.json["AttachmentItem"]
    assert (item["contentId"], item["isInline"]) == ("photo@example.com", True)


def test_an_attachment_of_150_mib_is_never_in_memory_at_once(graph: GraphRequests) -> None:
    source, taken = Zeros(SESSION_LIMIT), Taken()
    graph.session.mount("https://", taken)
    recording = dataclasses.replace(attachment(size=SESSION_LIMIT), open=lambda: source)

    tracemalloc.start()
    attach(graph, MESSAGE, recording, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert taken.size == SESSION_LIMIT
    assert source.most == CHUNK
    assert peak < 3 * CHUNK


def test_waiting_for_a_mailboxes_limits_takes_none_of_a_parts_patience(
    graph: GraphRequests, upload: Upload, moment: Time
) -> None:
    @contextmanager
    def held_back(size: int) -> Iterator[None]:
        if size:
            moment.sleep(2 * PATIENCE)
        yield

    upload.faults = [None, error(503, "ErrorServerBusy", Retry_After="1")]

    attach(graph.gated(held_back), MESSAGE, attachment(HUGE), 0)

    assert upload.data == HUGE


def test_a_session_serves_what_does_not_fit_one_request(tenant: Tenant, graph: GraphRequests, upload: Upload) -> None:
    tenant.on("POST", ATTACHMENTS, Reply(status=201, body={"id": "a"}))

    attach(graph, MESSAGE, attachment(bytes(POST_MOST)), 0)
    attach(graph, MESSAGE, attachment(bytes(POST_MOST + 1)), 1)

    (posted,) = tenant.asked("POST", ATTACHMENTS)
    assert REQUEST_LIMIT - 4 < len(posted.body) <= REQUEST_LIMIT
    assert len(base64.b64decode(posted.json["contentBytes"])) == POST_MOST
    assert len(upload.data) == POST_MOST + 1


@pytest.mark.parametrize("fault", [LOST, error(503, "ErrorServerBusy", Retry_After="1"), error(429, "x")])
def test_a_part_that_did_not_arrive_is_sent_again(graph: GraphRequests, upload: Upload, fault: Reply) -> None:
    upload.faults = [None, fault]

    attach(graph, MESSAGE, attachment(HUGE), 0)

    assert upload.data == HUGE
    assert upload.opened == 1


def test_a_part_that_arrived_although_its_answer_was_lost_is_not_sent_again(
    tenant: Tenant, graph: GraphRequests, upload: Upload
) -> None:
    upload.faults = [upload.take_and_lose]

    attach(graph, MESSAGE, attachment(HUGE), 0)

    assert upload.data == HUGE
    assert len(tenant.asked("PUT", ".*")) == 3


def test_a_part_that_arrived_in_part_goes_on_where_graph_says(graph: GraphRequests, upload: Upload) -> None:
    def take_some(request: Request) -> Reply:
        upload.data += request.body[:1000]
        return upload.state()

    upload.faults = [None, take_some]

    attach(graph, MESSAGE, attachment(HUGE), 0)

    assert upload.data == HUGE
    assert upload.opened == 1


def test_a_session_that_ended_starts_over(graph: GraphRequests, upload: Upload) -> None:
    upload.faults = [None, error(404, "ErrorItemNotFound")]

    attach(graph, MESSAGE, attachment(HUGE), 0)

    assert upload.data == HUGE
    assert upload.opened == 2


def test_a_last_part_whose_answer_was_lost_is_not_attached_twice(
    tenant: Tenant, graph: GraphRequests, upload: Upload, moment: Time
) -> None:
    upload.faults = [None, None, upload.take_and_lose]
    tenant.on("GET", "/upload/.*", error(404, "ErrorItemNotFound"))
    tenant.on("GET", rf"{ATTACHMENTS}\?.*", listed({"id": "a"}))

    attach(graph, MESSAGE, attachment(HUGE), 0)

    assert upload.opened == 1
    assert SETTLE in moment.waits


def test_a_session_that_never_moves_ends(graph: GraphRequests, upload: Upload) -> None:
    upload.faults = [Reply(body={"nextExpectedRanges": ["0"]})] * 9

    with pytest.raises(RetryError, match="sessions"):
        attach(graph, MESSAGE, attachment(HUGE), 0)


def test_a_part_that_is_refused_is_told_as_such(graph: GraphRequests, upload: Upload) -> None:
    upload.faults = [error(413, "ErrorMessageSizeExceeded")]

    with pytest.raises(ItemError, match="ErrorMessageSizeExceeded"):
        attach(graph, MESSAGE, attachment(HUGE), 0)


def test_a_part_that_has_no_answer_in_time_is_left_to_retries(graph: GraphRequests, upload: Upload) -> None:
    upload.faults = [error(429, "x", Retry_After="3600")]

    with pytest.raises(RetryError, match="part of an attachment") as caught:
        attach(graph, MESSAGE, attachment(HUGE), 0)

    assert caught.value.retry_after == 3600


def test_a_session_at_no_https_address_is_not_used(tenant: Tenant, graph: GraphRequests, upload: Upload) -> None:
    tenant.on("POST", SESSION, Reply(status=201, body={"uploadUrl": "http://example.com"}))

    with pytest.raises(RetryError, match="https"):
        attach(graph, MESSAGE, attachment(HUGE), 0)


@pytest.mark.parametrize("wrong", [-1, +1])
def test_a_large_attachment_of_another_size_than_recorded_is_found_out(
    graph: GraphRequests, upload: Upload, wrong: int
) -> None:
    with pytest.raises(IntegrityError, match="attachment is"):
        attach(graph, MESSAGE, attachment(HUGE, size=len(HUGE) + wrong), 0)


def test_an_upload_leaves_no_key_in_the_log(
    graph: GraphRequests, upload: Upload, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    attach(graph, MESSAGE, attachment(HUGE), 0)

    assert upload.data == HUGE
    assert "authtoken" not in caplog.text


def test_every_request_of_an_upload_passes_the_gate_with_its_bytes(
    tenant: Tenant, graph: GraphRequests, upload: Upload
) -> None:
    events: list[Any] = []
    upload.faults = [LOST]  # then the state is asked for, and the part sent again

    attach(graph.gated(gate_into(events)), MESSAGE, attachment(HUGE), 0)

    (opened,) = tenant.asked("POST", SESSION)
    rest = len(HUGE) - 2 * CHUNK
    assert events[::2] == [("in", size) for size in (len(opened.body), CHUNK, 0, CHUNK, CHUNK, rest)]
    assert events[1::2] == ["out"] * 6
    assert upload.data == HUGE


# By one request


@pytest.fixture
def second() -> Attachment:
    """Return an attachment that is posted to a message which has one already."""
    return attachment(BIG)


def test_a_posted_attachment_whose_answer_was_lost_is_not_posted_twice(
    tenant: Tenant, graph: GraphRequests, moment: Time, second: Attachment
) -> None:
    tenant.on("POST", ATTACHMENTS, LOST)
    tenant.on("GET", rf"{ATTACHMENTS}\?.*", listed({"id": "a"}, {"id": "b"}))

    attach(graph, MESSAGE, second, 1)

    assert len(tenant.asked("POST", ATTACHMENTS)) == 1
    assert moment.waits == [SETTLE]


def test_a_posted_attachment_that_is_not_there_is_posted_again(
    tenant: Tenant, graph: GraphRequests, second: Attachment
) -> None:
    tenant.on("POST", ATTACHMENTS, LOST, Reply(status=201))
    tenant.on("GET", rf"{ATTACHMENTS}\?.*", listed({"id": "a"}))

    attach(graph, MESSAGE, second, 1)

    assert len(tenant.asked("POST", ATTACHMENTS)) == 2


def test_an_attachment_whose_answer_is_lost_again_and_again_ends(
    tenant: Tenant, graph: GraphRequests, second: Attachment
) -> None:
    tenant.on("POST", ATTACHMENTS, LOST)
    tenant.on("GET", rf"{ATTACHMENTS}\?.*", listed({"id": "a"}))

    with pytest.raises(RetryError, match="AnswerLost"):
        attach(graph, MESSAGE, second, 1)

    assert tenant.requests[-1].method == "GET"  # the mailbox had the last word


def test_a_message_that_a_server_does_not_know_yet_is_tried_again(
    tenant: Tenant, graph: GraphRequests, moment: Time, second: Attachment
) -> None:
    unknown = error(404, "ErrorItemNotFound")
    tenant.on("POST", ATTACHMENTS, unknown, unknown, Reply(status=201))

    attach(graph, MESSAGE, second, 1)

    assert moment.waits == [0.75, 1.5]


def test_a_message_that_is_gone_for_good_is_left_to_retries(
    tenant: Tenant, graph: GraphRequests, second: Attachment
) -> None:
    tenant.on("POST", ATTACHMENTS, error(404, "ErrorItemNotFound"))

    with pytest.raises(RetryError, match="not there"):
        attach(graph, MESSAGE, second, 1)


def test_an_attachment_that_is_refused_is_told_as_such(
    tenant: Tenant, graph: GraphRequests, second: Attachment
) -> None:
    tenant.on("POST", ATTACHMENTS, error(400, "malwareDetected"))

    with pytest.raises(ItemError, match="malwareDetected"):
        attach(graph, MESSAGE, second, 1)

    assert len(tenant.asked("POST", ATTACHMENTS)) == 1


# The sandbox


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_attachments_of_every_size_arrive_as_they_are(
    graph_sandbox: Sandbox, sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str], kept: Kept
) -> None:
    folder_id = make_folder(box)
    contents = [b"", b"small", BIG, bytes(POST_MOST), bytes(3 * 1024 * 1024), HUGE]
    graph_sandbox.graph.faults.add("attachment_404", times=2, path="/attachments$")

    create_large(sandbox_graph, box, folder_id, whole(), [attachment(one) for one in contents])

    (one,) = kept()
    assert sorted(file["sha256"] for file in one["attachments"]) == sorted(map(digest, contents))
    assert (one["isDraft"], one["categories"]) == (False, ["O2"])


def test_an_empty_attachment_follows_a_create_that_has_no_room_left(
    sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str], kept: Kept
) -> None:
    folder_id = make_folder(box)
    long = {**whole(), "body": {"contentType": "text", "content": "x" * INLINE_LIMIT}}

    create_large(sandbox_graph, box, folder_id, long, [attachment(b""), attachment(b"")])

    (one,) = kept()
    assert [file["size"] for file in one["attachments"]] == [0, 0]


def test_what_belongs_to_the_body_is_inline_whichever_way_it_goes(
    sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str], kept: Kept
) -> None:
    folder_id = make_folder(box)
    contents = {"create@example.com": BIG, "post@example.com": BIG[::-1], "session@example.com": HUGE, None: b""}
    files = [dataclasses.replace(attachment(content), content_id=name) for name, content in contents.items()]

    create_large(sandbox_graph, box, folder_id, whole(), files)

    (one,) = kept()
    assert {file["contentId"]: (file["isInline"], file["sha256"]) for file in one["attachments"]} == {
        name: (name is not None, digest(content)) for name, content in contents.items()
    }


def test_an_attachment_whose_answer_was_lost_is_there_once(
    graph_sandbox: Sandbox, sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str], kept: Kept
) -> None:
    folder_id = make_folder(box)
    graph_sandbox.graph.faults.add("executed_but_lost", path="/attachments$")

    create_large(sandbox_graph, box, folder_id, whole(), [attachment(BIG), attachment(BIG)])

    (one,) = kept()
    assert len(one["attachments"]) == 2


def test_a_part_that_fails_in_the_sandbox_is_resumed(
    graph_sandbox: Sandbox, sandbox_graph: GraphRequests, box: str, make_folder: Callable[[str], str], kept: Kept
) -> None:
    folder_id = make_folder(box)
    graph_sandbox.graph.faults.add("cut", path="^/upload")
    graph_sandbox.graph.faults.add("status", path="^/upload", status=503, code="ErrorServerBusy")

    create_large(sandbox_graph, box, folder_id, whole(), [attachment(HUGE)])

    (one,) = kept()
    assert [file["sha256"] for file in one["attachments"]] == [digest(HUGE)]
