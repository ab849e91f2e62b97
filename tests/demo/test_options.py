"""The demo's options."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from demo.options import OptionError, Options, settle

NOW = datetime(2026, 11, 22, 0, 30, tzinfo=UTC)


def settled(
    *, zone: str = "Europe/London", day: str | None = None, corpus: str | None = None, items: int = 7
) -> Options:
    return settle(items=items, users=3, seed=1, zone=zone, day=day, corpus=corpus, now=NOW)


def test_the_day_is_the_last_complete_one_where_the_phones_are() -> None:
    assert settled(zone="Europe/London").day == date(2026, 11, 21)
    assert settled(zone="America/New_York").day == date(2026, 11, 20)


def test_a_day_on_which_the_clocks_change_is_as_long_as_it_is() -> None:
    start, end = settled(day="2026-10-25").window

    assert start == datetime(2026, 10, 24, 23, tzinfo=UTC)
    assert end - start == timedelta(hours=25)


def test_a_corpus_has_as_many_items_as_texts(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl.gz"
    with gzip.open(file, "wt") as lines:
        lines.write('{"sender": "a", "text": "1"}\n{"sender": "b", "text": "2"}\n')

    assert settled(corpus=str(file)).items == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"day": "2026-11-22"}, "not over yet"),
        ({"day": "yesterday"}, "no date"),
        ({"zone": "London"}, "no time zone"),
        ({"corpus": "/nowhere/texts.jsonl"}, "no file"),
        ({"items": -1}, "no less than 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(asked: dict[str, str], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        settled(**asked)  # type: ignore[arg-type]
