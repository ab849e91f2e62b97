"""What a person sees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from demo.airflow_client import TaskRun
from demo.screen import Row, Screen, cells, duration, shown, summarise

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def run(task: str, state: str | None, *, index: int = -1, tries: int = 1, seconds: float | None = None) -> TaskRun:
    return TaskRun(
        task=task,
        map_index=index,
        state=state,
        try_number=tries,
        started=NOON if state else None,
        ended=NOON + timedelta(seconds=seconds) if seconds is not None else None,
    )


def test_a_mapped_task_is_summed_up_by_what_needs_attention_first() -> None:
    runs = [run("convert", "success", index=0, seconds=2), run("convert", "up_for_retry", index=1, tries=2, seconds=1)]

    (row,) = summarise(["convert"], runs, NOON + timedelta(seconds=5))

    assert row == Row(task="convert", state="will try again", finished=1, total=2, seconds=5.0, retries=1)


def test_a_finished_task_says_how_long_it_took_and_one_without_instances_waits() -> None:
    first, second = summarise(["extract", "convert"], [run("extract", "success", seconds=2)], NOON + timedelta(hours=1))

    assert (first.state, first.seconds) == ("done", 2.0)
    assert (second.state, second.seconds) == ("waiting", None)


@pytest.mark.parametrize("hostile", ["\x1b[2Jgone", "a\nb", "right\u202eleft", "\x9b31m", "a\u2028b"])
def test_a_text_cannot_steer_the_terminal(hostile: str) -> None:
    text = shown(hostile, 80)

    assert text.isprintable()
    assert "\u202e" not in text


def test_a_long_text_is_cut_by_columns_and_not_by_code_points() -> None:
    assert shown("界" * 10, 9) == "界" * 4 + "…"
    assert cells("e\u0301") == 1
    assert shown("short", 9) == "short"


def test_without_a_terminal_a_line_is_written_only_when_something_has_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen(live=False)
    waiting = Row(task="convert", state="waiting", finished=0, total=0, seconds=None, retries=0)
    going = Row(task="convert", state="running", finished=1, total=4, seconds=2.0, retries=0)

    for row in (waiting, going, going):
        screen.tasks([row], 61)

    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert printed.split() == ["01:01", "convert", "running", "1", "of", "4", "2.0", "s"]
    assert "\x1b" not in printed


def test_durations_read_as_a_person_says_them() -> None:
    assert duration(4.21) == "4.2 s"
    assert duration(99.99) == "1 min 39 s"
    assert duration(185) == "3 min 05 s"
