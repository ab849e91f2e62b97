"""Measure the conversion of a file of lines in one go: what memory it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.converting.ours import convert_lines
from benchmarks.importing.client import serve


def prepare(task: dict[str, Any]) -> Callable[[], int]:
    """Make ready to convert the lines of a file."""
    count: int = task["count"]

    def job() -> int:
        with Path(task["file"]).open("rb") as lines:
            convert_lines(lines, count, {})
        return count

    return job


if __name__ == "__main__":
    serve(prepare)
