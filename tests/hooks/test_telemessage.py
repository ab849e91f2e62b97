"""The hook keeps its promises against a site that answers by script, and against the sandbox's."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import socket
import threading
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from o2_connector.core.errors import ItemError, RetryError, StopError
from o2_connector.core.source import AlteredError, AttachmentGone, Batch
from o2_connector.hooks.telemessage import CHUNK, STALLS, TRIES, TeleMessageHook
from sandbox.server import Sandbox, running
from sandbox.tls import Certificates
from tests.hooks.tls_site import Reply, Request, Script, Time, next_reply, serving

PASSWORD = "correct-horse-battery"
START = datetime(2026, 11, 21, tzinfo=UTC)
END = START + timedelta(days=1)
CONTENT = bytes(range(256)) * 1024  # 256 KiB
ROOT = "/rest/archive"


class Site:
    """Reply by script: a list of answers or functions for each endpoint, of which the last one stays."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.scripts: dict[str, list[Reply | Script]] = {"login": [grant]}
        self.lock = threading.Lock()
        self.url = ""

    def on(self, endpoint: str, *replies: Reply | Script) -> None:
        self.scripts[endpoint] = list(replies)

    def asked(self, endpoint: str) -> list[Request]:
        return [request for request in self.requests if request.path.startswith(f"{ROOT}/{endpoint}")]

    def answer(self, request: Request) -> Reply:
        with self.lock:
            self.requests.append(request)
            for endpoint, script in self.scripts.items():
                if request.path.startswith(f"{ROOT}/{endpoint}"):
                    return next_reply(script, request)
        return Reply(status=404)


def grant(_: Request, *, token: str = "token", expires_in: int = 3600) -> Reply:
    return Reply(body=json.dumps({"accessToken": token, "expiresIn": expires_in}).encode())


def tokens(*, expires_in: int = 3600) -> Script:
    numbers = iter(range(1, 1000))
    return lambda request: grant(request, token=f"token-{next(numbers)}", expires_in=expires_in)


def file(content: bytes = CONTENT, *, etag: str = '"v1"', cut: int | None = None, chunked: bool = False) -> Script:
    """Serve a file as the contract says, Range and If-Range included."""

    def script(request: Request) -> Reply:
        start = 0
        if (match := re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))) and request.headers.get(
            "if-range", etag
        ) == etag:
            start = int(match[1])
        if start >= len(content) > 0:
            return Reply(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        return Reply(
            status=206 if start else 200,
            headers={"ETag": etag, **span},
            body=content[start:],
            cut=cut,
            chunked=chunked,
        )

    return script


def plain(content: bytes = CONTENT, *, cut: int | None = None) -> Reply:
    """Serve a file as a site does that knows no Range."""
    return Reply(body=content, cut=cut)


def export(*batches: dict[str, Any]) -> Reply:
    total = sum(batch["itemCount"] for batch in batches)
    return Reply(body=json.dumps({"exportId": "e1", "itemCount": total, "batches": batches}).encode())


def batch_of(content: bytes = CONTENT, *, batch_id: str = "b1", size: int | None = None) -> Batch:
    return Batch(
        batch_id=batch_id,
        item_count=1,
        size=len(content) if size is None else size,
        sha256=hashlib.sha256(content).hexdigest(),
    )


@pytest.fixture
def site(tls: Certificates) -> Iterator[Site]:
    site = Site()
    with serving(site.answer, tls) as site.url:
        yield site


Connect = Callable[..., TeleMessageHook]


@pytest.fixture
def connect(tls: Certificates, moment: Time, no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return a function that makes a hook on a connection."""

    def connect(host: str | None, *, ca_file: Path | None = tls.authority, **changes: Any) -> TeleMessageHook:
        extra = {"ca_file": str(ca_file)} if ca_file else {}
        connection = {"conn_type": "o2_telemessage", "host": host, "login": "archive@example.com", "extra": extra}
        connection |= {"password": PASSWORD, **changes}
        monkeypatch.setenv("AIRFLOW_CONN_O2_TELEMESSAGE", json.dumps(connection))
        return TeleMessageHook(sleep=moment.sleep, clock=moment.clock)

    return connect


@pytest.fixture
def hook(site: Site, connect: Connect) -> TeleMessageHook:
    return connect(site.url)


def read(hook: TeleMessageHook, batch: Batch) -> bytes:
    return b"".join(hook.read_batch("e1", batch))


# The window


def test_a_window_is_frozen_in_utc_for_the_o2_network(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports", export({"batchId": "b1", "itemCount": 3, "byteCount": 9, "sha256": "a" * 64}))
    zone = timezone(timedelta(hours=1))

    result = hook.freeze_export(datetime(2026, 7, 1, tzinfo=zone), datetime(2026, 7, 2, 0, 0, 0, 500000, tzinfo=zone))

    asked = site.asked("exports")
    assert json.loads(asked[0].body) == {
        "network": "O2",
        "from": "2026-06-30T23:00:00Z",
        "to": "2026-07-01T23:00:00.500000Z",
    }
    assert (asked[0].method, asked[0].path) == ("POST", "/rest/archive/exports")
    assert (result.export_id, result.item_count) == ("e1", 3)
    assert result.batches == (Batch(batch_id="b1", item_count=3, size=9, sha256="a" * 64),)


def test_a_window_without_a_time_zone_is_not_asked_for(site: Site, hook: TeleMessageHook) -> None:
    with pytest.raises(StopError, match="time zone"):
        hook.freeze_export(START, END.replace(tzinfo=None))

    assert not site.requests


def test_a_window_that_is_not_closed_is_left_to_the_tasks_retries(site: Site, hook: TeleMessageHook, moment) -> None:
    site.on("exports", Reply(status=409, headers={"Retry-After": "900"}))

    with pytest.raises(RetryError, match="not closed") as caught:
        hook.freeze_export(START, END)

    assert caught.value.retry_after == 900
    assert len(site.asked("exports")) == 1
    assert moment.waits == []


def test_a_window_that_telemessage_does_not_take_stops(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports", Reply(status=422))

    with pytest.raises(StopError, match="31 days"):
        hook.freeze_export(START, END)


# The login


def test_one_login_serves_many_requests(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", file())
    site.on("attachments", file())

    read(hook, batch_of())
    b"".join(hook.read_attachment("a1", size=len(CONTENT), sha256=batch_of().sha256))

    (login,) = site.asked("login")
    assert json.loads(login.body) == {"username": "archive@example.com", "password": PASSWORD}
    assert site.asked("exports")[0].headers["authorization"] == "Bearer token"
    assert site.asked("attachments")[0].headers["authorization"] == "Bearer token"


def test_a_wrong_password_stops_and_is_tried_once(site: Site, hook: TeleMessageHook) -> None:
    site.on("login", Reply(status=401))

    with pytest.raises(StopError, match="wrong user name or password, or a suspended account"):
        hook.freeze_export(START, END)

    assert len(site.requests) == 1


def test_a_token_is_renewed_shortly_before_it_runs_out(site: Site, hook: TeleMessageHook, moment: Time) -> None:
    site.on("login", tokens(expires_in=600))
    site.on("exports", export())
    hook.freeze_export(START, END)
    moment.now += 530
    hook.freeze_export(START, END)
    moment.now += 20

    hook.freeze_export(START, END)

    used = [request.headers["authorization"] for request in site.asked("exports")]
    assert used == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_a_token_of_a_few_seconds_is_used_before_it_is_renewed(site: Site, hook: TeleMessageHook, moment: Time) -> None:
    site.on("login", tokens(expires_in=10))
    site.on("exports", export())
    hook.freeze_export(START, END)
    moment.now += 8

    hook.freeze_export(START, END)

    assert len(site.asked("login")) == 1


def test_a_token_that_is_refused_in_the_middle_is_renewed_once(site: Site, hook: TeleMessageHook) -> None:
    site.on("login", tokens())
    site.on("exports/e1", file(cut=100_000), Reply(status=401), file())

    assert read(hook, batch_of()) == CONTENT

    used = [request.headers["authorization"] for request in site.asked("exports")]
    assert used == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]
    assert [request.headers.get("range") for request in site.asked("exports")] == [None, *["bytes=100000-"] * 2]


def test_a_new_token_that_is_refused_stops_without_another_login(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports", Reply(status=401))

    with pytest.raises(StopError, match="just issued"):
        hook.freeze_export(START, END)

    assert len(site.asked("login")) == len(site.asked("exports")) == 1


def test_a_renewed_token_that_is_refused_stops(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports", export(), Reply(status=401))
    hook.freeze_export(START, END)

    with pytest.raises(StopError, match="just issued"):
        hook.freeze_export(START, END)

    assert len(site.asked("login")) == 2
    assert len(site.asked("exports")) == 3


def test_readers_in_several_threads_share_one_login(site: Site, hook: TeleMessageHook) -> None:
    site.on("attachments", file(b"picture"))
    sha256 = hashlib.sha256(b"picture").hexdigest()

    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda n: b"".join(hook.read_attachment(f"a{n}", size=7, sha256=sha256)), range(8)))

    assert read == [b"picture"] * 8
    assert len(site.asked("login")) == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<html>", RetryError),
        (b"{}", StopError),
        (b'{"accessToken": "t", "expiresIn": 0}', StopError),
        (b'{"accessToken": "opensesame\\n", "expiresIn": 60}', StopError),
    ],
)
def test_a_login_that_breaks_the_contract_is_told_without_the_token(
    site: Site, hook: TeleMessageHook, body: bytes, error: type[Exception]
) -> None:
    site.on("login", Reply(body=body))

    with pytest.raises(error, match="login") as caught:
        hook.freeze_export(START, END)

    assert "opensesame" not in "".join(traceback.format_exception(caught.value))


# What passes by itself


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_outage_is_waited_for(site: Site, hook: TeleMessageHook, moment: Time, status: int) -> None:
    site.on("exports", *[Reply(status=status)] * (TRIES - 1), export())

    assert hook.freeze_export(START, END).export_id == "e1"

    assert len(moment.waits) == TRIES - 1
    assert all(earlier < later for earlier, later in pairwise(moment.waits))


def test_an_outage_at_the_login_is_waited_for(site: Site, hook: TeleMessageHook) -> None:
    site.on("login", Reply(status=503), grant)
    site.on("exports", export())

    assert hook.freeze_export(START, END).export_id == "e1"


def test_an_outage_that_stays_is_left_to_the_tasks_retries(site: Site, hook: TeleMessageHook, moment: Time) -> None:
    site.on("exports", Reply(status=503, headers={"Retry-After": "7.5"}))

    with pytest.raises(RetryError, match="HTTP 503") as caught:
        hook.freeze_export(START, END)

    assert len(site.asked("exports")) == TRIES
    assert len(moment.waits) == TRIES - 1
    assert all(wait >= 7.5 for wait in moment.waits)
    assert caught.value.retry_after == 7.5


def test_a_retry_after_that_is_a_date_is_obeyed(site: Site, hook: TeleMessageHook, moment: Time) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    site.on("exports", Reply(status=429, headers={"Retry-After": then}), export())

    hook.freeze_export(START, END)

    (wait,) = moment.waits
    assert 30 < wait <= 40


def test_a_long_retry_after_is_not_slept_through_in_a_task(site: Site, hook: TeleMessageHook, moment: Time) -> None:
    site.on("exports", Reply(status=429, headers={"Retry-After": "3600"}))

    with pytest.raises(RetryError) as caught:
        hook.freeze_export(START, END)

    assert caught.value.retry_after == 3600
    assert moment.waits == []
    assert len(site.asked("exports")) == 1


def test_an_answer_that_breaks_off_is_asked_for_again(site: Site, hook: TeleMessageHook) -> None:
    whole = export()
    site.on("exports", Reply(body=whole.body, cut=5), whole)

    assert hook.freeze_export(START, END).export_id == "e1"


def test_a_site_that_cannot_be_reached_is_left_to_the_tasks_retries(connect: Connect, moment: Time) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    hook = connect("localhost", port=port)

    with pytest.raises(RetryError, match="cannot be reached"):
        hook.freeze_export(START, END)

    assert len(moment.waits) == TRIES - 1


# What does not pass by itself


@pytest.mark.parametrize(("status", "remedy"), [(400, "host"), (403, "right"), (404, "host"), (204, "host")])
def test_an_answer_that_the_contract_does_not_know_stops(
    site: Site, hook: TeleMessageHook, status: int, remedy: str
) -> None:
    site.on("exports", Reply(status=status))

    with pytest.raises(StopError, match=f"HTTP {status}.*{remedy}"):
        hook.freeze_export(START, END)

    assert len(site.asked("exports")) == 1


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirected_login_does_not_hand_on_the_password(site: Site, hook: TeleMessageHook, status: int) -> None:
    site.on("login", Reply(status=status, headers={"Location": f"{site.url}{ROOT}/elsewhere"}))

    with pytest.raises(StopError, match="redirects"):
        hook.freeze_export(START, END)

    assert [request.path for request in site.requests] == [f"{ROOT}/login"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_batch_that_is_unknown_by_now_stops_and_says_what_to_do(
    site: Site, hook: TeleMessageHook, status: int
) -> None:
    site.on("exports/e1", Reply(status=status))

    with pytest.raises(StopError, match="clear the extract task"):
        read(hook, batch_of())


# The bytes


@pytest.mark.parametrize("chunked", [False, True])
def test_a_batch_comes_byte_for_byte(site: Site, hook: TeleMessageHook, chunked: bool) -> None:
    site.on("exports/e1", file(chunked=chunked))

    assert read(hook, batch_of()) == CONTENT

    (asked,) = site.asked("exports")
    assert asked.path == "/rest/archive/exports/e1/batches/b1"
    assert "range" not in asked.headers


def test_an_empty_batch_is_no_bytes(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", file(b""))

    assert read(hook, batch_of(b"")) == b""


@pytest.mark.parametrize("chunked", [False, True])
def test_a_broken_connection_is_resumed_at_the_very_byte(site: Site, hook: TeleMessageHook, chunked: bool) -> None:
    cuts = [file(cut=70_001, chunked=chunked), file(cut=3, chunked=chunked), file(cut=0, chunked=chunked)]
    site.on("exports/e1", *cuts, file(chunked=chunked))

    assert read(hook, batch_of()) == CONTENT

    asked = [(request.headers.get("range"), request.headers.get("if-range")) for request in site.asked("exports")]
    assert asked == [
        (None, None),
        ("bytes=70001-", '"v1"'),
        ("bytes=70004-", '"v1"'),
        ("bytes=70004-", '"v1"'),
    ]


def test_bytes_are_always_asked_for_uncompressed(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", file(cut=70_000), file())

    read(hook, batch_of())

    assert [request.headers["accept-encoding"] for request in site.asked("exports")] == ["identity"] * 2


def test_bytes_that_come_compressed_stop(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", Reply(body=CONTENT, headers={"Content-Encoding": "gzip"}))

    with pytest.raises(StopError, match="compress"):
        read(hook, batch_of())


def test_a_site_that_ignores_range_is_read_past_what_is_there(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", plain(cut=100_001), plain(cut=170_000), plain(cut=50), plain())

    assert read(hook, batch_of()) == CONTENT


def test_a_file_of_another_etag_but_the_same_bytes_is_read_on(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", file(etag='"node-1"', cut=100_000), file(etag='"node-2"'))

    assert read(hook, batch_of()) == CONTENT


def test_a_weak_etag_is_no_condition(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", file(etag='W/"v1"', cut=100_000), file(etag='W/"v1"'))

    assert read(hook, batch_of()) == CONTENT

    assert "if-range" not in site.asked("exports")[1].headers


def test_a_part_that_starts_early_is_read_past_what_is_there(site: Site, hook: TeleMessageHook) -> None:
    span = {"Content-Range": f"bytes 65536-{len(CONTENT) - 1}/{len(CONTENT)}"}
    site.on("exports/e1", file(cut=100_000), Reply(status=206, headers=span, body=CONTENT[65536:]))

    assert read(hook, batch_of()) == CONTENT


@pytest.mark.parametrize(
    "span", [{"Content-Range": f"bytes 100001-{len(CONTENT) - 1}/{len(CONTENT)}"}, {}, {"Content-Range": "items 1-2"}]
)
def test_a_part_that_does_not_join_is_not_taken(site: Site, hook: TeleMessageHook, span: dict[str, str]) -> None:
    site.on("exports/e1", file(cut=100_000), Reply(status=206, headers=span, body=CONTENT[100_000:]))

    with pytest.raises(RetryError, match=r"left out bytes|does not say which"):
        read(hook, batch_of())


def test_altered_bytes_are_what_a_retry_may_heal() -> None:
    assert issubclass(AlteredError, RetryError)


def test_bytes_of_another_digest_are_to_be_asked_for_again(site: Site, hook: TeleMessageHook) -> None:
    altered = CONTENT[:-1] + b"\x00"
    site.on("exports/e1", file(altered))

    with pytest.raises(AlteredError, match=r"batch b1.*digest"):
        read(hook, batch_of())


def test_bytes_that_changed_between_two_connections_are_found_out(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", file(cut=100_000), plain(bytes(len(CONTENT))))

    with pytest.raises(AlteredError, match="digest"):
        read(hook, batch_of())


def test_a_file_that_is_too_long_is_never_handed_out_beyond_its_size(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", file(CONTENT + b"x"))
    received = bytearray()

    with pytest.raises(AlteredError, match="longer"):
        list(map(received.extend, hook.read_batch("e1", batch_of())))

    assert CONTENT.startswith(received)


def test_a_file_that_is_too_short_is_to_be_asked_for_again(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", file(CONTENT[:100_000]))

    with pytest.raises(AlteredError, match="shorter"):
        read(hook, batch_of())


@pytest.mark.parametrize(
    "stuck",
    [
        pytest.param(lambda request: plain(cut=1000), id="cut at the same byte, Range ignored"),
        pytest.param(lambda request: Reply(), id="a whole answer of no bytes"),
        pytest.param(file(cut=0), id="cut before the first byte"),
        pytest.param(file(cut=10), id="a few bytes at a time"),
        pytest.param(plain(CONTENT[:70_000]), id="a whole answer that is always too short"),
    ],
)
def test_a_reading_that_gets_nowhere_ends(site: Site, hook: TeleMessageHook, moment: Time, stuck: Script) -> None:
    site.on("exports/e1", stuck)

    with pytest.raises(RetryError, match=r"batch b1 keeps breaking at byte \d+ of 262144") as caught:
        read(hook, batch_of())

    assert not isinstance(caught.value, AlteredError)  # nothing is set aside for an outage
    assert len(site.asked("exports")) <= STALLS + 2
    assert len(moment.waits) == len(site.asked("exports")) - 1


def test_a_reading_that_gets_on_outlasts_any_number_of_breaks(site: Site, hook: TeleMessageHook) -> None:
    content = CONTENT * 4
    site.on("exports/e1", file(content, cut=CHUNK))

    assert read(hook, batch_of(content)) == content

    assert len(site.asked("exports")) == len(content) // CHUNK > STALLS + 2


def test_a_batch_larger_than_memory_needs_a_few_chunks_of_it(site: Site, hook: TeleMessageHook) -> None:
    content = CONTENT * 128  # 32 MiB; the site holds it, so only what is added while reading counts
    site.on("exports/e1", Reply(body=content))
    chunks = hook.read_batch("e1", batch_of(content))
    first = len(next(chunks))
    tracemalloc.start()

    rest = sum(len(chunk) for chunk in chunks)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert first + rest == len(content)
    assert peak < 16 * CHUNK  # the site writes in this process too, and buffers as it likes


def test_a_reading_that_is_given_up_leaves_the_hook_usable(site: Site, hook: TeleMessageHook) -> None:
    site.on("exports/e1", file())
    abandoned = hook.read_batch("e1", batch_of())
    next(abandoned)
    abandoned.close()

    assert read(hook, batch_of()) == CONTENT


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("../login", "..%2Flogin"),
        ("a b", "a%20b"),
        ("a?b=c#d", "a%3Fb%3Dc%23d"),
        ("..%2f..", "..%252f.."),
        ("\N{SNOWMAN}", "%E2%98%83"),
    ],
)
def test_an_id_stays_one_segment_of_the_path(site: Site, hook: TeleMessageHook, name: str, segment: str) -> None:
    site.on("exports", file(b"text"))
    site.on("attachments", file(b"picture"))

    list(hook.read_batch(name, batch_of(b"text", batch_id=name)))
    list(hook.read_attachment(name, size=7, sha256=hashlib.sha256(b"picture").hexdigest()))

    assert site.asked("exports")[0].path == f"{ROOT}/exports/{segment}/batches/{segment}"
    assert site.asked("attachments")[0].path == f"{ROOT}/attachments/{segment}"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_an_id_that_no_url_can_carry_is_not_sent(site: Site, hook: TeleMessageHook, name: str) -> None:
    with pytest.raises(StopError):
        read(hook, batch_of(batch_id=name))
    with pytest.raises(ItemError):
        hook.read_attachment(name, size=1, sha256="a" * 64)

    assert not site.requests


# Attachments


def test_an_attachment_is_resumed_and_checked_as_a_batch_is(site: Site, hook: TeleMessageHook) -> None:
    site.on("attachments", file(cut=100_000), file(), file(CONTENT[::-1]))
    wanted = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest().upper()}

    assert b"".join(hook.read_attachment("a1", **wanted)) == CONTENT
    with pytest.raises(AlteredError, match=r"attachment a1.*digest"):
        list(hook.read_attachment("a1", **wanted))

    assert [request.headers.get("range") for request in site.asked("attachments")] == [None, "bytes=100000-", None]


def test_an_attachment_that_is_no_longer_kept_is_told_apart(site: Site, hook: TeleMessageHook) -> None:
    site.on("attachments", Reply(status=410))

    with pytest.raises(AttachmentGone, match="attachment a1 is no longer kept"):
        list(hook.read_attachment("a1", size=1, sha256="a" * 64))


def test_an_attachment_that_is_unknown_concerns_its_item_alone(site: Site, hook: TeleMessageHook) -> None:
    site.on("attachments", Reply(status=404))

    with pytest.raises(ItemError, match="attachment a1 is unknown") as caught:
        list(hook.read_attachment("a1", size=1, sha256="a" * 64))

    assert not isinstance(caught.value, AttachmentGone)


# The connection


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "http://archive.example.com"},
        {"host": None},
        {"login": None},
        {"password": ""},
        {"schema": "http"},
        {"extra": {"ca_file": "/nowhere/ca.pem"}},
    ],
)
def test_a_connection_that_cannot_serve_stops_before_anything_is_sent(
    site: Site, connect: Connect, changes: dict[str, Any]
) -> None:
    hook = connect(**{"host": site.url, **changes})

    with pytest.raises(StopError):
        hook.freeze_export(START, END)

    assert not site.requests


def test_a_connection_is_read_when_it_is_first_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_O2_TELEMESSAGE", raising=False)

    assert TeleMessageHook().telemessage_conn_id == TeleMessageHook.default_conn_name == "o2_telemessage"


def test_a_missing_connection_stops_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_O2_TELEMESSAGE", raising=False)
    hook = TeleMessageHook()

    with pytest.raises(StopError, match="no connection o2_telemessage; add it") as caught:
        hook.freeze_export(START, END)

    assert hook.test_connection() == (False, str(caught.value))


def test_the_session_is_made_once(hook: TeleMessageHook) -> None:
    assert hook.get_conn() is hook.get_conn()


def test_the_test_button_says_how_the_login_went(site: Site, hook: TeleMessageHook) -> None:
    site.on("login", grant, Reply(status=401))

    assert hook.test_connection() == (
        True,
        (
            "TeleMessage accepts the login; its certificate verifies by the ca_file. Nothing was read: whether the"
            " account may export the archive shows with the first window."
        ),
    )
    assert hook.test_connection() == (
        False,
        "TeleMessage refuses the login of this connection: wrong user name or password, or a suspended account",
    )


def test_the_test_button_lets_nobody_wait_for_further_tries(site: Site, hook: TeleMessageHook, moment: Time) -> None:
    site.on("login", Reply(status=503, headers={"Retry-After": "30"}))

    passed, message = hook.test_connection()

    assert not passed
    assert message.startswith("login: TeleMessage answers HTTP 503; try again, and if it stays so, check the host")
    assert (len(site.asked("login")), moment.waits) == (1, [])


def test_a_certificate_of_an_unknown_authority_stops_at_once(site: Site, connect: Connect, moment: Time) -> None:
    hook = connect(site.url, ca_file=None)

    with pytest.raises(StopError, match="ca_file"):
        hook.freeze_export(START, END)

    assert not site.requests
    assert moment.waits == []


def test_a_certificate_of_another_name_stops(site: Site, connect: Connect) -> None:
    hook = connect(site.url.replace("localhost", "127.1"))

    with pytest.raises(StopError, match="does not verify"):
        hook.freeze_export(START, END)


def test_requests_own_bundles_are_not_trusted(
    site: Site, connect: Connect, tls: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls.authority))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tls.authority))
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(tls.authority))
    hook = connect(site.url, ca_file=None)

    with pytest.raises(StopError, match="does not verify"):
        hook.freeze_export(START, END)


def test_the_ca_file_serves_whatever_bundle_the_environment_names(
    site: Site, hook: TeleMessageHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")

    assert hook.test_connection()[0]


def test_without_a_ca_file_the_systems_store_is_trusted(
    site: Site, connect: Connect, tls: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
    hook = connect(site.url, ca_file=None)

    assert hook.test_connection()[0]


def test_a_netrc_does_not_replace_the_token(
    site: Site, hook: TeleMessageHook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    site.on("exports", export())

    hook.freeze_export(START, END)

    assert site.asked("exports")[0].headers["authorization"] == "Bearer token"


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """Run a proxy that tunnels, and yield its URL and the targets that it was asked for."""
    targets: list[str] = []

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        target.close()

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        target = head.split(b" ")[1].decode()
        targets.append(target)
        upstream = socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2])))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=pump, args=(upstream, client), daemon=True).start()
        pump(client, upstream)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", targets
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_the_systems_proxy_is_used_and_the_site_behind_it_verified(
    site: Site, connect: Connect, proxy: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, targets = proxy
    monkeypatch.setenv("HTTPS_PROXY", url)

    refused = connect(site.url, ca_file=None).test_connection()
    accepted = connect(site.url).test_connection()

    assert not refused[0]
    assert "does not verify" in refused[1]
    assert accepted[0]
    assert targets == [site.url.removeprefix("https://")] * 2


def test_a_malformed_proxys_password_reaches_no_traceback(
    hook: TeleMessageHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://user:s3cret/pw@proxy.example.com:3128")

    with pytest.raises(StopError, match="the host or the proxy is not valid") as raised:
        hook.freeze_export(START, END)

    assert "s3cret" not in "".join(traceback.format_exception(raised.value))


def test_a_host_that_needs_no_proxy_is_asked_directly(
    site: Site, hook: TeleMessageHook, proxy: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, targets = proxy
    monkeypatch.setenv("HTTPS_PROXY", url)
    monkeypatch.setenv("NO_PROXY", "localhost")

    assert hook.test_connection()[0]

    assert targets == []


# What leaks


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([Reply(status=500, body=b"+447700900123 said hello")], id="outage"),
        pytest.param([Reply(status=403, body=b"+447700900123 said hello")], id="refusal"),
        pytest.param([Reply(status=401, body=b"+447700900123 said hello")], id="token refused"),
        pytest.param([plain(b"+447700900123 said hello")], id="other bytes"),
        pytest.param([Reply(body=b"+447700900123 said hello", cut=10)], id="broken"),
    ],
)
def test_nothing_secret_or_personal_is_in_errors_or_logs(
    site: Site, hook: TeleMessageHook, answers: list[Reply], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site.on("login", tokens())
    site.on("exports/e1", *answers)

    with pytest.raises((RetryError, StopError)) as caught:
        read(hook, batch_of())

    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "batch b1" in told
    for secret in (PASSWORD, "token-1", "447700900123", "said hello", "archive@example.com"):
        assert secret not in told


def test_a_token_is_masked_in_whatever_is_logged_later(site: Site, hook: TeleMessageHook) -> None:
    from airflow.sdk.log import redact

    site.on("login", lambda request: grant(request, token="a-token-that-was-logged"))

    hook.test_connection()

    assert "a-token-that-was-logged" not in str(redact("Bearer a-token-that-was-logged"))


# Against the sandbox


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=60, batch_size=25) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(world: Sandbox) -> Sandbox:
    world.telemessage.faults.clear()
    return world


@pytest.fixture
def reader(sandbox: Sandbox, connect: Connect) -> TeleMessageHook:
    return connect(sandbox.telemessage_url, ca_file=sandbox.ca_file, login=sandbox.username, password=sandbox.password)


@pytest.fixture
def day() -> tuple[datetime, datetime]:
    start = datetime(2026, 6, 1, tzinfo=ZoneInfo("Europe/London"))
    return start, start + timedelta(days=1)


def test_a_day_is_read_whole_through_all_that_goes_wrong(
    sandbox: Sandbox, reader: TeleMessageHook, day: tuple[datetime, datetime]
) -> None:
    faults = sandbox.telemessage.faults
    faults.add("status", path="login", status=503)
    faults.add("status", path="exports$", status=429, retry_after=2)
    faults.add("cut", path="batches", times=3, share=0.4)
    faults.add("status", path="batches", times=2, status=500)
    faults.add("expired_token", path="batches")
    faults.add("cut", path="attachments", times=2, share=0.9)

    export = reader.freeze_export(*day)
    items = [
        json.loads(line)
        for batch in export.batches
        for line in b"".join(reader.read_batch(export.export_id, batch)).splitlines()
    ]
    attachments = [attachment for item in items for attachment in item.get("attachments", [])]
    sizes = [
        sum(map(len, reader.read_attachment(a["attachmentId"], size=a["byteCount"], sha256=a["sha256"])))
        for a in attachments
    ]

    assert [batch.item_count for batch in export.batches] == [25, 25, 10]
    assert [item["itemId"] for item in items] == [item["itemId"] for item in sandbox.world.items_of(*day)]
    assert sizes == [attachment["byteCount"] for attachment in attachments] != []
    left = [(kind, path) for kind in ("status", "cut", "expired_token") for path in ("login", "batches", "attachments")]
    assert [fault for fault in left if faults.take(*fault) is not None] == []


def test_a_window_frozen_twice_is_the_same(reader: TeleMessageHook, day: tuple[datetime, datetime]) -> None:
    assert reader.freeze_export(*day) == reader.freeze_export(*day)


def test_a_day_that_is_not_over_is_left_to_the_tasks_retries(reader: TeleMessageHook) -> None:
    now = datetime.now(UTC)

    with pytest.raises(RetryError, match="not closed") as caught:
        reader.freeze_export(now - timedelta(hours=1), now + timedelta(hours=1))

    assert caught.value.retry_after == pytest.approx(3600, abs=60)


def test_a_window_of_more_than_a_month_stops(reader: TeleMessageHook, day: tuple[datetime, datetime]) -> None:
    with pytest.raises(StopError, match="31 days"):
        reader.freeze_export(day[0], day[0] + timedelta(days=32))


def test_a_batch_that_was_altered_on_its_way_is_right_the_next_time(
    sandbox: Sandbox, reader: TeleMessageHook, day: tuple[datetime, datetime]
) -> None:
    export = reader.freeze_export(*day)
    sandbox.telemessage.faults.add("wrong_digest", path="batches")

    with pytest.raises(AlteredError, match="digest"):
        list(reader.read_batch(export.export_id, export.batches[0]))

    assert b"".join(reader.read_batch(export.export_id, export.batches[0])).count(b"\n") == 25


def test_an_attachment_that_the_site_dropped_is_gone(
    sandbox: Sandbox, reader: TeleMessageHook, day: tuple[datetime, datetime]
) -> None:
    attachment = next(item["attachments"][0] for item in sandbox.world.items_of(*day) if item.get("attachments"))
    sandbox.telemessage.faults.add("gone", path="attachments")

    with pytest.raises(AttachmentGone):
        list(reader.read_attachment(attachment["attachmentId"], size=1, sha256=attachment["sha256"]))
