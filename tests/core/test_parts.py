"""Attachments go where a reader expects them, and those that cannot are named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core.conversion_profile import Profile
from o2_connector.core.graph_message import graph_message
from o2_connector.core.items import captured
from o2_connector.core.outcomes import Cause
from o2_connector.core.parts import MOST_PARTS
from o2_connector.core.rendering import Rendering, render
from tests.core.records import line

MB = 1024 * 1024


def files(*sizes: int, content_type: str = "audio/amr") -> list[dict[str, Any]]:
    return [
        {
            "attachmentId": f"a-{number}",
            "fileName": f"file-{number}",
            "contentType": content_type,
            "byteCount": size,
            "sha256": f"{number:064x}",
        }
        for number, size in enumerate(sizes)
    ]


def rendered(attachments: list[dict[str, Any]], megabytes: int = 35, **changes: Any) -> Rendering:
    profile = Profile(region="GB", message_megabytes=megabytes)
    return render(captured(line(attachments=attachments, **changes)), profile, {})


@pytest.mark.parametrize(
    ("content_type", "size", "is_shown", "is_hidden"),
    [
        ("image/jpeg", 9, True, False),
        ("IMAGE/PNG; name=x", 9, True, False),
        ("image/heic", 9, False, False),
        ("image/svg+xml", 9, False, False),
        ("text/html", 9, False, False),
        ("audio/amr", 9, False, False),
        ("application/smil", 9, False, True),
        ("image/png", 0, False, True),
        ("audio/amr", 0, False, True),
    ],
)
def test_pictures_are_shown_and_layouts_and_empty_files_are_out_of_sight(
    content_type: str, size: int, is_shown: bool, is_hidden: bool
) -> None:
    (part,) = rendered(files(size, content_type=content_type)).parts

    assert (part.is_shown, part.is_hidden) == (is_shown, is_hidden)
    assert (part.content_id is not None) is (is_shown or is_hidden)


@given(st.lists(st.integers(0, 40 * MB), max_size=6), st.integers(1, 150))
def test_what_is_there_fits_and_what_is_not_is_named(sizes: list[int], megabytes: int) -> None:
    mail = rendered(files(*sizes), megabytes)

    names = {part.name for part in mail.parts}
    assert sum(part.size for part in mail.parts) < megabytes * MB
    for number, size in enumerate(sizes):
        assert (f"file-{number}" in names) is not (f"Not in this e-mail: “file-{number}”, {size:,} bytes" in mail.text)
        assert f"file-{number}" in names or f"{number:064x}" in mail.text
    assert mail.causes == ((Cause.ATTACHMENT_TOO_LARGE,) if len(names) < len(sizes) else ())


def test_small_files_go_with_a_large_one_that_cannot() -> None:
    mail = rendered(files(10, 36 * MB, 20))

    assert [part.size for part in mail.parts] == [10, 20]
    staged = f"attachments/00/{1:064x}"
    assert (
        f"It does not fit this organisation's limit for a message.\nSHA-256: {1:064x}\nIn staging: {staged}]"
        in mail.text
    )


@pytest.mark.parametrize(("megabytes", "fits"), [(35, False), (36, False), (37, True), (150, True)])
def test_the_limit_is_the_organisations(megabytes: int, fits: bool) -> None:
    assert bool(rendered(files(36 * MB), megabytes).parts) is fits


def test_a_recording_of_150_million_bytes_goes_into_a_tenant_that_takes_it() -> None:
    assert rendered(files(150_000_000), 150).causes == ()


def test_no_message_has_more_attachments_than_exchange_takes() -> None:
    mail = rendered(files(*[1] * (MOST_PARTS + 1)))

    assert len(mail.parts) == MOST_PARTS
    assert mail.causes == (Cause.TOO_MANY_ATTACHMENTS,)
    assert "A message takes no more attachments than there are here." in mail.text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 20_000),
        ({"text": '"' * 200_000}, 200_000),
        ({"text": "\0" * 40_000}, 200_000),
        ({"to": [{"phone": f"0770090{number:04d}"} for number in range(1000)]}, 1_000_000),
        ({"zz": "x" * 200_000}, 200_000),
    ],
)
def test_the_body_and_the_people_count_towards_the_limit(changes: dict[str, Any], expected: int) -> None:
    def whole(size: int) -> int:
        mail = rendered(files(size, content_type="image/png"), 5, **changes)
        return len(json.dumps(graph_message(mail))) + sum(part.size for part in mail.parts)

    low, high = 0, 5 * MB  # the largest picture that is still taken
    while high - low > 1:
        middle = (low + high) // 2
        taken = rendered(files(middle, content_type="image/png"), 5, **changes).parts
        low, high = (middle, high) if taken else (low, middle)

    assert whole(low) <= 5 * MB
    assert low > 5 * MB - 64 * 1024 - 20 * expected


@pytest.mark.parametrize(
    ("content_type", "sent"),
    [
        ("text/plain; charset=UTF-16", "text/plain; charset=UTF-16"),
        ('text/vcard;charset="iso-8859-1"; profile=x', "text/vcard; charset=iso-8859-1"),
        ("text/plain; charset=a b", "text/plain"),
        ('text/plain; name="x; charset=utf-16"; charset=utf-8', "text/plain; charset=utf-8"),
        ('text/plain; title="; charset=utf-7;"', "text/plain"),
        ("audio/amr; charset=utf-8", "audio/amr"),
    ],
)
def test_a_text_file_keeps_its_character_set(content_type: str, sent: str) -> None:
    assert [part.content_type for part in rendered(files(9, content_type=content_type)).parts] == [sent]
