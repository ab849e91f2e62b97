"""The sandbox's TeleMessage site, asked as a client asks it: over TLS, with requests."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from requests.exceptions import ChunkedEncodingError

from sandbox.faults import Faults
from sandbox.server import Sandbox, running
from sandbox.telemessage import Site

WINDOW = {"network": "O2", "from": "2026-03-03T00:00:00Z", "to": "2026-03-04T00:00:00Z"}
BEGIN, END = datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
PLAIN = {"Accept-Encoding": "identity"}


class Client(requests.Session):
    """Speak to the site with its certificate authority and, once logged in, a token."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.trust_env = False  # or the environment's REQUESTS_CA_BUNDLE would win over `verify`
        self.verify = str(sandbox.ca_file)
        self.base = f"{sandbox.telemessage_url}/rest/archive"
        self.site = sandbox.telemessage

    def log_in(self) -> None:
        credentials = {"username": self.site.username, "password": self.site.password}
        token = self.post(f"{self.base}/login", json=credentials).json()["accessToken"]
        self.headers["Authorization"] = f"Bearer {token}"

    def export(self, **window: str) -> requests.Response:
        return self.post(f"{self.base}/exports", json={**WINDOW, **window})

    def batch_url(self, number: int = 0) -> str:
        export = self.export().json()
        return f"{self.base}/exports/{export['exportId']}/batches/{export['batches'][number]['batchId']}"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=70, batch_size=30) as sandbox:
        yield sandbox


@pytest.fixture
def stranger(sandbox: Sandbox) -> Iterator[Client]:
    with Client(sandbox) as client:
        yield client
    sandbox.telemessage.faults.clear()


@pytest.fixture
def client(stranger: Client) -> Client:
    stranger.log_in()
    return stranger


def attachment(sandbox: Sandbox, at_least: int = 0) -> dict[str, Any]:
    """Return what an item says of one of its attachments."""
    return next(
        file
        for item in sandbox.world.items_of(BEGIN, END)
        for file in item.get("attachments", ())
        if file["byteCount"] >= at_least
    )


def test_a_wrong_password_is_refused(stranger: Client) -> None:
    answer = stranger.post(f"{stranger.base}/login", json={"username": stranger.site.username, "password": "x"})

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_token_says_when_it_expires_and_does(stranger: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    site = stranger.site
    credentials = {"username": site.username, "password": site.password}
    given = stranger.post(f"{stranger.base}/login", json=credentials).json()
    stranger.headers["Authorization"] = f"Bearer {given['accessToken']}"

    before = stranger.export()
    monkeypatch.setattr(site, "clock", lambda: datetime.now(UTC) + timedelta(seconds=given["expiresIn"]))
    after = stranger.export()

    assert given["expiresIn"] == 3600
    assert (before.status_code, after.status_code, after.headers["WWW-Authenticate"]) == (200, 401, "Bearer")


@pytest.mark.parametrize("authorization", [None, "Bearer of-nobody", "Basic YTpi"])
def test_without_a_good_token_nothing_is_shown(stranger: Client, sandbox: Sandbox, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    export = sandbox.telemessage.export(BEGIN, END)

    answers = [
        stranger.post(f"{stranger.base}/exports", json=WINDOW, headers=headers),
        stranger.get(f"{stranger.base}/exports/{export['exportId']}/batches/b00000", headers=headers),
        stranger.get(f"{stranger.base}/attachments/{attachment(sandbox)['attachmentId']}", headers=headers),
    ]

    assert [(answer.status_code, answer.headers["WWW-Authenticate"]) for answer in answers] == [(401, "Bearer")] * 3


def test_an_export_lists_batches_whose_bytes_are_as_announced(client: Client, sandbox: Sandbox) -> None:
    export = client.export().json()

    lines: list[bytes] = []
    for batch in export["batches"]:
        answer = client.get(f"{client.base}/exports/{export['exportId']}/batches/{batch['batchId']}")
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        assert int(answer.headers["X-Item-Count"]) == batch["itemCount"]
        assert len(answer.content) == batch["byteCount"]
        assert hashlib.sha256(answer.content).hexdigest() == batch["sha256"]
        lines += answer.content.split(b"\n")[:-1]

    assert [batch["itemCount"] for batch in export["batches"]] == [30, 30, 10]
    assert export["itemCount"] == 70
    assert [json.loads(line) for line in lines] == list(sandbox.world.items_of(BEGIN, END))


def test_the_same_window_is_the_same_export_however_it_is_written(client: Client) -> None:
    again = {"from": "2026-03-03T05:30:00.000000+05:30", "to": "2026-03-03t23:00:00.0-01:00"}

    first, second, third = client.export(), client.export(), client.export(**again)

    assert first.json() == second.json() == third.json()


def test_a_window_with_nothing_in_it_has_no_batches(client: Client) -> None:
    export = client.export(to="2026-03-03T00:00:00.000001Z").json()

    assert (export["itemCount"], export["batches"]) == (0, [])


def test_a_window_that_is_not_closed_is_to_be_asked_for_later(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.site, "clock", lambda: END - timedelta(seconds=90))
    client.log_in()

    early = client.export()
    monkeypatch.setattr(client.site, "clock", lambda: END)
    in_time = client.export()

    assert (early.status_code, early.headers["Retry-After"], in_time.status_code) == (409, "90", 200)


@pytest.mark.parametrize(
    ("window", "status"),
    [
        ({"from": WINDOW["to"]}, 422),
        ({"from": "2026-03-04T00:00:01Z"}, 422),
        ({"from": "2026-02-01T00:00:00Z"}, 200),
        ({"from": "2026-01-31T23:59:59Z"}, 422),
        ({"from": "2026-03-03T00:00:00"}, 400),
        ({"from": "2026-03-03"}, 400),
        ({"from": "2026-02-30T00:00:00Z"}, 400),
        ({"network": "O3"}, 400),
    ],
)
def test_windows_that_the_contract_does_not_know_are_refused(
    client: Client, window: dict[str, str], status: int
) -> None:
    assert client.export(**window).status_code == status


@pytest.mark.parametrize("body", ["", "[]", "{", '{"network": "O2", "from": 1, "to": 2}'])
def test_a_body_that_is_no_window_is_refused(client: Client, body: str) -> None:
    assert client.post(f"{client.base}/exports", data=body).status_code == 400


@pytest.mark.parametrize(
    "path", ["exports/x/batches/b00000", "exports/{}/batches/b00003", "exports/{}/batches/0", "attachments/x"]
)
def test_what_there_is_not_is_not_found(client: Client, path: str) -> None:
    export_id = client.export().json()["exportId"]

    assert client.get(f"{client.base}/{path.format(export_id)}").status_code == 404


def test_a_site_that_was_restarted_still_has_the_batches_of_its_exports(sandbox: Sandbox) -> None:
    before = sandbox.telemessage
    restarted = Site(world=sandbox.world, username="a", password="b")
    export_id = before.export(BEGIN, END)["exportId"]

    assert restarted.batch(export_id, "b00001") == before.batch(export_id, "b00001")


@pytest.mark.parametrize(
    ("headers", "zipped"),
    [
        ({"Accept-Encoding": "gzip, deflate"}, True),
        ({"Accept-Encoding": "br;q=1, GZIP;q=0.5"}, True),
        ({"Accept-Encoding": "gzip;q=0"}, False),
        ({"Accept-Encoding": "identity"}, False),
        ({"Accept-Encoding": "gzip", "Range": "bytes=0-"}, False),
    ],
)
def test_a_batch_is_compressed_when_asked_and_whole(client: Client, headers: dict[str, str], zipped: bool) -> None:
    whole = client.get(client.batch_url(), headers=PLAIN)

    answer = client.get(client.batch_url(), headers=headers)

    assert (answer.headers.get("Content-Encoding") == "gzip") is zipped
    assert answer.content == whole.content
    assert (answer.headers["ETag"] != whole.headers["ETag"]) is zipped


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=10-19", 206, slice(10, 20)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-10", 206, slice(-10, None)),
        ("bytes=10-99999999", 206, slice(10, None)),
        ("bytes=99999999-", 416, slice(0, 0)),
        ("bytes=-0", 416, slice(0, 0)),
        ("bytes=20-10", 200, slice(None)),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
    ],
)
@pytest.mark.parametrize("of", ["batch", "attachment"])
def test_a_range_is_answered_as_http_says(
    client: Client, sandbox: Sandbox, of: str, asked: str, status: int, part: slice
) -> None:
    url = client.batch_url() if of == "batch" else f"{client.base}/attachments/{attachment(sandbox)['attachmentId']}"
    whole = client.get(url, headers=PLAIN).content

    answer = client.get(url, headers={**PLAIN, "Range": asked})

    start, stop, _ = part.indices(len(whole))
    spans = {206: f"bytes {start}-{stop - 1}/{len(whole)}", 416: f"bytes */{len(whole)}", 200: None}
    assert (answer.status_code, answer.headers.get("Content-Range")) == (status, spans[status])
    assert answer.content == whole[part]


def test_a_range_of_something_else_is_answered_with_the_whole(client: Client) -> None:
    url = client.batch_url()
    whole = client.get(url, headers=PLAIN)

    same = client.get(url, headers={**PLAIN, "Range": "bytes=5-", "If-Range": whole.headers["ETag"]})
    other = client.get(url, headers={**PLAIN, "Range": "bytes=5-", "If-Range": '"other"'})

    assert (same.status_code, same.content) == (206, whole.content[5:])
    assert (other.status_code, other.content) == (200, whole.content)


def test_what_has_not_changed_is_not_sent_again(client: Client) -> None:
    etag = client.get(client.batch_url()).headers["ETag"]

    answer = client.get(client.batch_url(), headers={"If-None-Match": etag})

    assert (answer.status_code, answer.content) == (304, b"")


def test_an_attachment_is_the_bytes_that_its_item_announces(client: Client, sandbox: Sandbox) -> None:
    file = attachment(sandbox, at_least=3_000_000)

    answer = client.get(f"{client.base}/attachments/{file['attachmentId']}")

    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert (len(answer.content), hashlib.sha256(answer.content).hexdigest()) == (file["byteCount"], file["sha256"])


def test_a_long_recording_may_be_had_in_parts_though_each_breaks_off(client: Client, sandbox: Sandbox) -> None:
    file = attachment(sandbox, at_least=36_000_000)
    url = f"{client.base}/attachments/{file['attachmentId']}"
    client.site.faults.add("cut", share=0.6, times=2, path="/attachments/")

    got = bytearray()
    lengths = []
    while len(got) < file["byteCount"]:
        with (
            suppress(ChunkedEncodingError),
            client.get(url, headers={"Range": f"bytes={len(got)}-"}, stream=True) as part,
        ):
            for piece in part.iter_content(65536):
                got += piece
        lengths.append(len(got))

    assert hashlib.sha256(got).hexdigest() == file["sha256"]
    assert len(lengths) == 3
    assert 0 < lengths[0] <= 0.6 * file["byteCount"]


def test_a_long_recording_may_be_altered_in_one_byte(client: Client, sandbox: Sandbox) -> None:
    file = attachment(sandbox, at_least=10_000_000)
    url = f"{client.base}/attachments/{file['attachmentId']}"
    right = client.get(url).content
    client.site.faults.add("wrong_digest", path="/attachments/")

    wrong = client.get(url).content

    assert len(wrong) == len(right) == file["byteCount"]
    assert sum(one != other for one, other in zip(wrong, right, strict=True)) == 1


def test_an_attachment_of_no_bytes_is_served_and_cannot_be_altered(client: Client, sandbox: Sandbox) -> None:
    files = [file for item in sandbox.world.items_of(BEGIN, END) for file in item.get("attachments", ())]
    empty = next(file for file in files if not file["byteCount"])
    url = f"{client.base}/attachments/{empty['attachmentId']}"
    client.site.faults.add("wrong_digest", path="/attachments/")

    whole, part = client.get(url), client.get(url, headers={"Range": "bytes=0-"})

    assert (whole.status_code, whole.content, whole.headers["Content-Length"]) == (200, b"", "0")
    assert whole.headers["ETag"] == f'"{empty["sha256"]}"'
    assert (part.status_code, part.headers["Content-Range"]) == (416, "bytes */0")
    assert client.site.faults.take("wrong_digest", "/attachments/") is not None  # it waits for one that it can strike


def test_a_cut_answer_breaks_off_and_a_range_gives_the_rest(client: Client) -> None:
    url = client.batch_url()
    whole = client.get(url, headers=PLAIN).content
    client.site.faults.add("cut", share=0.25, path="/batches/")

    pieces: list[bytes] = []
    with client.get(url, headers=PLAIN, stream=True) as answer, pytest.raises(ChunkedEncodingError):
        pieces.extend(answer.iter_content(1000))
    got = b"".join(pieces)
    rest = client.get(url, headers={**PLAIN, "Range": f"bytes={len(got)}-"})

    assert 0 < len(got) <= len(whole) // 4
    assert rest.status_code == 206
    assert got + rest.content == whole


def test_a_status_is_answered_as_often_as_ordered(client: Client) -> None:
    client.site.faults.add("status", times=2, path="/exports$", status=429, retry_after=7)

    answers = [client.export() for _ in range(3)]

    assert [(answer.status_code, answer.headers.get("Retry-After")) for answer in answers] == [
        (429, "7"),
        (429, "7"),
        (200, None),
    ]


def test_a_wrong_digest_is_other_bytes_of_the_same_length(client: Client) -> None:
    url = client.batch_url()
    right = client.get(url).content
    client.site.faults.add("wrong_digest")

    wrong = client.get(url).content

    assert wrong != right
    assert len(wrong) == len(right)
    assert client.get(url).content == right


def test_an_expired_token_stays_expired_until_the_next_login(client: Client) -> None:
    client.site.faults.add("expired_token")

    refused = [client.export().status_code for _ in range(2)]
    client.log_in()

    assert refused == [401, 401]
    assert client.export().status_code == 200


def test_an_attachment_may_be_gone(client: Client, sandbox: Sandbox) -> None:
    client.site.faults.add("gone")

    answer = client.get(f"{client.base}/attachments/{attachment(sandbox)['attachmentId']}")

    assert answer.status_code == 410


def test_an_answer_may_be_slow(client: Client) -> None:
    client.site.faults.add("slow", seconds=0.3)
    began = time.monotonic()

    client.export()

    assert time.monotonic() - began >= 0.3


def test_another_process_puts_faults_in_and_clears_them(stranger: Client) -> None:
    url = stranger.base.replace("/rest/archive", "/_sandbox/faults")

    put = stranger.post(url, json={"kind": "status", "times": 5, "path": "login", "status": 500})
    struck = stranger.post(f"{stranger.base}/login", json={})
    cleared = stranger.delete(url)
    spared = stranger.post(f"{stranger.base}/login", json={})

    assert [answer.status_code for answer in (put, struck, cleared, spared)] == [204, 500, 204, 400]


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"kind": "cut", "path": "("}', '{"kind": "cut", "times": "x"}'])
def test_a_fault_that_cannot_be_is_refused(stranger: Client, body: str) -> None:
    answer = stranger.post(stranger.base.replace("/rest/archive", "/_sandbox/faults"), data=body)

    assert answer.status_code == 400


def test_a_rate_strikes_its_share_and_the_same_one_for_the_same_seed() -> None:
    def strikes(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add("status", times=1000, rate=0.25)
        return [faults.take("status", "/") is not None for _ in range(1000)]

    assert 200 < sum(strikes(1)) < 300
    assert strikes(1) == strikes(1) != strikes(2)


def test_a_day_with_more_than_its_batches_hold_is_listed_without_a_gap(tmp_path: Path) -> None:
    with running(tmp_path, items=1000, batch_size=100) as sandbox, Client(sandbox) as client:
        client.log_in()
        export = client.export(**{"from": "2026-02-28T12:00:00Z"}).json()
        url = f"{client.base}/exports/{export['exportId']}/batches"
        items = [
            msgspec.json.decode(line)["itemId"]
            for batch in export["batches"]
            for line in client.get(f"{url}/{batch['batchId']}").content.splitlines()
        ]

    window = datetime(2026, 2, 28, 12, tzinfo=UTC), END
    assert export["itemCount"] == len(items) > 3000
    assert items == [item["itemId"] for item in sandbox.world.items_of(*window)]
