"""People: whom a window's items wait for, for those who may see numbers and addresses."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from o2_connector.core.outcomes import remedy
from o2_connector.core.parked import Waiting
from o2_connector.core.report import csv_cell

HEAD = (
    *("Item id", "Outcome", "Cause", "Waiting since (UTC)", "Sent (UTC)"),
    *("Number", "E-mail property", "Captured at this end", "Remedy"),
)


def people_csv(entries: Iterable[Waiting]) -> bytes:
    """Return a line for each item and person that it waits for, with the mark by which a spreadsheet knows UTF-8."""
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow(HEAD)
    lines.writerows([csv_cell(value) for value in row] for row in _rows(entries))
    return text.getvalue().encode("utf-8-sig")


def _rows(entries: Iterable[Waiting]) -> Iterator[tuple[str, ...]]:
    for each in entries:
        for person in each.people:
            yield (
                *(each.item_id, "parked" if each.is_parked else "waiting", each.why),
                *(_time(each.parked), _time(each.sent)),
                *(person.phone, person.email, "yes" if person.side else "no", remedy(each.why)),
            )


def _time(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}"
