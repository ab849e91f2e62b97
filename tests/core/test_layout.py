"""Names in staging stay in their folders and apart, whatever the ids from outside are."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core import layout
from o2_connector.core.window import Window

WINDOW = Window(start=datetime(2026, 11, 21, tzinfo=UTC), end=datetime(2026, 11, 22, tzinfo=UTC))
HOME = "windows/20261121T000000Z--20261122T000000Z/"
batch_ids = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=300) | st.text(
    st.sampled_from("./\\%=:~2EF"), min_size=1, max_size=150
)


def test_names_are_these() -> None:
    assert layout.export_stem(WINDOW) == f"{HOME}export/"
    assert layout.raw_stem(WINDOW, "b1") == f"{HOME}raw/b1."
    assert layout.converted_stem(WINDOW, "b1") == f"{HOME}converted/b1."
    assert layout.attachment_object("ab" + "0" * 62, 7).name == "attachments/ab/ab" + "0" * 62
    assert layout.shard_stem(layout.run_stem(WINDOW, "manual__1"), 4, 7).startswith(f"{HOME}runs/manual__1.")
    assert layout.shard_stem(layout.run_stem(WINDOW, "manual__1"), 4, 7).endswith("/shards/04-07.")
    assert layout.receipts_stem("a/shards/04-07.abc.jsonl") == "a/shards/04-07.abc/receipts."
    assert layout.intents_stem("a/shards/04-07.abc.jsonl") == "a/shards/04-07.abc/intents."
    assert layout.segment_stem("a/intents.", "5f", 3) == "a/intents.5f.000003."
    assert layout.owner_stem(7, 12) == "owners/07/00000012/"


def test_a_mailbox_is_in_the_same_bucket_for_ever() -> None:
    assert [layout.bucket_of(mailbox) for mailbox in ("a", "b", "c")] == [50, 15, 11]


@pytest.mark.parametrize("tasks", range(1, 65))
def test_any_number_of_tasks_takes_every_bucket_once(tasks: int) -> None:
    ranges = layout.bucket_ranges(tasks)

    assert len(ranges) == tasks
    assert [bucket for first, last in ranges for bucket in range(first, last + 1)] == list(range(64))


def test_a_segment_is_known_by_its_name() -> None:
    deliveries = f"{layout.shard_stem(layout.run_stem(WINDOW, 'manual__1'), 4, 7)}{'a' * 64}.jsonl"
    name = f"{layout.segment_stem(layout.intents_stem(deliveries), '5f', 3)}{'b' * 64}.jsonl"

    segment = layout.segment_of(name)

    assert segment == layout.Segment(
        name=name, book=f"{deliveries.removesuffix('.jsonl')}/", first=4, last=7, intents=True, journal="5f"
    )


def test_what_is_no_segment_is_not_taken_for_one() -> None:
    deliveries = f"{layout.shard_stem(layout.run_stem(WINDOW, 'manual__1'), 4, 7)}{'a' * 64}.jsonl"

    for name in (deliveries, layout.receipts_stem(deliveries), f"{layout.run_stem(WINDOW, 'r')}report.{'b' * 64}.json"):
        assert layout.segment_of(name) is None


@pytest.mark.parametrize(
    "batch_id", ["..", ".", "../../attachments/x", "/etc/passwd", "a/b", "a\\b", "C:", "\0", "%2E%2E"]
)
def test_a_hostile_batch_id_cannot_climb(batch_id: str) -> None:
    name = layout.raw_stem(WINDOW, batch_id).removeprefix(f"{HOME}raw/")

    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_%-.~=")
    assert name.count(".") == 1


@given(batch_ids)
def test_any_batch_id_is_one_short_part_of_a_path(batch_id: str) -> None:
    stem = layout.converted_stem(WINDOW, batch_id)

    assert stem.startswith(f"{HOME}converted/")
    name = stem.removeprefix(f"{HOME}converted/")
    assert name.isascii()
    assert name.index(".") == len(name) - 1 <= 100
    assert not set(name) & set('/\\:*?"<>| \0')


@given(batch_ids, batch_ids)
def test_two_batches_never_share_a_name(first: str, second: str) -> None:
    assert (layout.raw_stem(WINDOW, first) == layout.raw_stem(WINDOW, second)) is (first == second)


def test_a_long_batch_id_cannot_be_another_by_its_short_form() -> None:
    long = "b" * 300
    short_form = layout.raw_stem(WINDOW, long).removeprefix(f"{HOME}raw/").removesuffix(".")

    assert layout.raw_stem(WINDOW, short_form) != layout.raw_stem(WINDOW, long)


def test_runs_that_differ_in_one_sign_are_apart() -> None:
    run_ids = [
        "manual__2026-11-22T00:00:00+00:00",
        "manual__2026-11-22T00:00:00-00:00",
        "manual__2026",
        "x" * 200,
        "x" * 201,
    ]

    stems = [layout.run_stem(WINDOW, run_id) for run_id in run_ids]

    assert not any(one.startswith(other) for one, other in combinations(stems, 2))
    assert all(stem.startswith(f"{HOME}runs/") and stem.count("/") == HOME.count("/") + 2 for stem in stems)
    assert all(".." not in layout.run_stem(WINDOW, run_id) for run_id in ("../..", ".", "a/../b"))


@pytest.mark.parametrize(
    ("stem", "suffix", "kind"),
    [
        (layout.raw_stem(WINDOW, "b.1"), ".jsonl", "raw"),
        (f"{layout.raw_stem(WINDOW, 'b.1')}missing.", ".jsonl", "missing"),
        (layout.converted_stem(WINDOW, "b.1"), ".eml", "emls"),
        (f"{layout.converted_stem(WINDOW, 'b.1')}index.", ".jsonl", "index"),
        (f"{layout.converted_stem(WINDOW, 'b.1')}participants.", ".csv", "participants"),
    ],
)
def test_a_batchs_object_says_by_its_name_what_it_is(stem: str, suffix: str, kind: str) -> None:
    name = f"{stem}{'0' * 64}{suffix}"

    assert layout.batch_object_of(name) == layout.BatchObject(name=name, batch="b%2E1", kind=kind)
    assert name.startswith(layout.batches_stems(WINDOW))


def test_what_is_no_batchs_object_is_none() -> None:
    assert layout.batch_object_of(f"{layout.export_stem(WINDOW)}{'0' * 64}.json") is None
    assert layout.batch_object_of(f"{layout.raw_stem(WINDOW, 'b')}jsonl") is None
