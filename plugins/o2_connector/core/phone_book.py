"""Phone book: all mapping files as one table that says whose a number is at any time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from zoneinfo import ZoneInfo

import pandas as pd

from o2_connector.core.errors import IntegrityError, StopError
from o2_connector.core.mapping_files import Column, Finding, MappingRow, Severity, read_mapping_files
from o2_connector.core.phones import masked

ALWAYS, FOREVER = -(2**62), 2**62  # a period's open ends, in milliseconds since 1970

_TYPES = {"number": "str", "mailbox": "str", "valid_from": "int64", "valid_to": "int64", "file": "str", "line": "int64"}
_MOST_ERRORS = 100  # in one message; the count tells of the rest
_MOST_PLACES = 20  # in one finding


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PhoneBook:
    """Hold all mapping files as one table, in which a number has one mailbox at a time at the most.

    :param rows: columns ``number`` (E.164), ``mailbox`` (lower case), ``valid_from`` and ``valid_to`` (half open, in
        milliseconds since 1970, UTC; :data:`ALWAYS`, :data:`FOREVER`), ``file``, ``line``; sorted by number and
        ``valid_from``.
    :param findings: the notes and warnings on the files.
    """

    rows: pd.DataFrame
    findings: tuple[Finding, ...] = ()

    def frozen(self) -> bytes:
        """Return the table as canonical CSV: the same rows give the same bytes. An open end is an empty cell."""
        columns = [self.rows[name].tolist() for name in _TYPES]
        for at, open_end in ((2, ALWAYS), (3, FOREVER)):
            columns[at] = ["" if moment == open_end else moment for moment in columns[at]]
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(_TYPES)
        lines.writerows(zip(*columns, strict=True))
        return text.getvalue().encode()


def thawed(content: bytes) -> PhoneBook:
    """Return the book whose table was frozen.

    :raises IntegrityError: when it has other columns.
    """
    lines = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    if next(lines, None) != list(_TYPES):
        raise IntegrityError("The frozen mapping has not the columns of one: it was altered, or is of another version.")
    return PhoneBook(
        rows=_table(
            (number, mailbox, int(begin or ALWAYS), int(end or FOREVER), file, int(line))
            for number, mailbox, begin, end, file, line in lines
        )
    )


def read_phone_book(files: Iterable[tuple[str, bytes]], region: str, zone: ZoneInfo) -> PhoneBook:
    """Read all mapping files together.

    :param files: names and contents.
    :param region: ISO 3166 code of the country that a national number belongs to.
    :param zone: whose midnights begin and end a period.
    :raises StopError: naming every error at once, with file, line and remedy, and no number in full.
    """
    book, findings = check(files, region, zone)
    if book is not None:
        return book
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    shown = "\n".join(map(str, errors[:_MOST_ERRORS]))
    more = f"\n… and {len(errors) - _MOST_ERRORS} more" if len(errors) > _MOST_ERRORS else ""
    raise StopError(f"The mapping cannot be used; nothing was imported. Mend these and run again:\n{shown}{more}")


def check(files: Iterable[tuple[str, bytes]], region: str, zone: ZoneInfo) -> tuple[PhoneBook | None, list[Finding]]:
    """Return the book, None where there is an error, and all findings, by file and line."""
    return bind(*read_mapping_files(files, region, zone))


def bind(rows: Iterable[MappingRow], findings: Iterable[Finding]) -> tuple[PhoneBook | None, list[Finding]]:
    """Make a book of the files' rows; see :func:`check`.

    :param findings: what was found when the files were read.
    """
    found = list(findings)
    table = _table(_disjoint(sorted(rows, key=attrgetter("number")), found))
    found.sort(key=lambda finding: (finding.file, finding.line or 0))
    if any(finding.severity is Severity.ERROR for finding in found):
        return None, found
    return PhoneBook(rows=table, findings=tuple(found)), found


_Row = tuple[str, str, int, int, str, int]  # of the table
_Period = tuple[int, int, MappingRow]


def _table(rows: Iterable[_Row]) -> pd.DataFrame:
    columns = list(zip(*rows, strict=True)) or [()] * len(_TYPES)
    return pd.DataFrame(
        {name: pd.Series(column, dtype=kind) for (name, kind), column in zip(_TYPES.items(), columns, strict=True)}
    )


def _disjoint(rows: Iterable[MappingRow], findings: list[Finding]) -> Iterator[_Row]:
    """Yield the table's rows: of rows with the same number and mailbox at once, the later is cut or left out.

    :param rows: sorted by number.
    """
    for number, group in groupby(rows, key=attrgetter("number")):
        periods = [_period(row) for row in group]
        if len(periods) == 1:
            begin, end, row = periods[0]
            yield number, row.mailbox, begin, end, row.file, row.line
            continue
        periods.sort(key=lambda period: (period[0], period[2].file, period[2].line))
        for cluster in _clusters(periods):
            if len({row.mailbox for _, _, row in cluster}) > 1:
                findings.append(_contradiction(cluster))
                continue
            taken, holder = ALWAYS, cluster[0][2]
            for begin, end, row in cluster:
                if row is not holder:
                    findings.append(_repeat(row, holder))
                if end > taken:
                    yield number, row.mailbox, max(begin, taken), end, row.file, row.line
                    taken, holder = end, row


def _period(row: MappingRow) -> _Period:
    return (
        ALWAYS if row.valid_from is None else row.valid_from,
        FOREVER if row.valid_to is None else row.valid_to,
        row,
    )


def _clusters(periods: Sequence[_Period]) -> Iterator[Sequence[_Period]]:
    """Share a number's periods, in order of their beginnings, out into those that hang together."""
    first, taken = 0, periods[0][1]
    for at, (begin, end, _) in enumerate(periods):
        if begin >= taken:
            yield periods[first:at]
            first = at
        taken = max(taken, end)
    yield periods[first:]


def _contradiction(cluster: Sequence[_Period]) -> Finding:
    first, *others = sorted((cluster[at][2] for at in _at_odds(cluster)), key=attrgetter("file", "line"))
    places = [f"{row.file}:{row.line}" for row in others[:_MOST_PLACES]]
    if len(others) > _MOST_PLACES:
        places.append(f"{len(others) - _MOST_PLACES} places more")
    mailboxes = len({row.mailbox for row in (first, *others)})
    return Finding(
        file=first.file,
        line=first.line,
        severity=Severity.ERROR,
        what=f"one number ({masked(first.number)}) has {mailboxes} mailboxes at once: here and in {', '.join(places)}",
        remedy=f"keep the one that is right, or say by {Column.VALID_FROM} and {Column.VALID_TO} whose it was when",
    )


def _at_odds(cluster: Sequence[_Period]) -> set[int]:
    """Return which of a cluster's periods overlap one with another mailbox."""
    found = set()
    # Up: the latest end so far, and the latest one of any other mailbox than that one's.
    latest, other = ("", ALWAYS), ("", ALWAYS)
    for at, (begin, end, row) in enumerate(cluster):
        if (other if row.mailbox == latest[0] else latest)[1] > begin:
            found.add(at)
        if row.mailbox == latest[0]:
            latest = (row.mailbox, max(end, latest[1]))
        elif end > latest[1]:
            latest, other = (row.mailbox, end), latest
        elif end > other[1]:
            other = (row.mailbox, end)
    # Down: the next beginning, and the next one of any other mailbox than that one's.
    following, other = ("", FOREVER), ("", FOREVER)
    for at, (begin, end, row) in reversed(list(enumerate(cluster))):
        if (other if row.mailbox == following[0] else following)[1] < end:
            found.add(at)
        other = other if row.mailbox == following[0] else following
        following = (row.mailbox, begin)
    return found


def _repeat(row: MappingRow, holder: MappingRow) -> Finding:
    return Finding(
        file=row.file,
        line=row.line,
        severity=Severity.NOTE,
        what=f"{holder.file}:{holder.line} says the same of this number ({masked(row.number)}) already",
        remedy="no harm is done; remove one of them, so that a change is made in one place",
    )
