"""Mapping files: the admins' CSV files as rows, with a finding for everything that is not right in them.

What spreadsheets, portals and contact apps do to numbers, dates and text on the way is undone where it can have been
one thing only, and named where it cannot: nothing here is ever guessed. ``docs/mapping-files.md`` shows it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, partial
from itertools import accumulate, islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from o2_connector.core.mapping_cells import SAVE_AS, Fault, bare, cleaned, mailbox_of, midnight_of, number_of
from o2_connector.core.parties import is_smtp_address
from o2_connector.core.phones import E164


class Severity(StrEnum):
    """Say whether the mapping can be used in spite of a finding."""

    ERROR = "error"  # it cannot
    WARNING = "warning"  # it can, but hardly as its author thinks
    NOTE = "note"  # it can


class Column(StrEnum):
    """Name the columns that mean something: Microsoft's template for the O2 Network connector, and a period."""

    NUMBER = "ExternalUserId"
    MAILBOX = "O365UserMailbox"
    VALID_FROM = "ValidFrom"
    VALID_TO = "ValidTo"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Say what is not right, where, and what to do about it. It holds no address, and no number in full.

    :param line: from 1, as a text editor counts; None where it is the whole file.
    :param column: the spreadsheet's letter and the heading as written: ``A (ExternalUserId)``.
    """

    file: str
    line: int | None = None
    column: str | None = None
    severity: Severity
    what: str
    remedy: str

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        column = f" column {self.column}" if self.column else ""
        return f"{self.file}{line}{column}: {self.severity}: {self.what}; {self.remedy}"


class MappingRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Say which mailbox a number's copies go to, from when, until when.

    :param mailbox: an SMTP address in lower case.
    :param valid_from: the first millisecond since 1970 (UTC) of the period; None where it has no beginning.
    :param valid_to: the first one after it; None where it has no end.
    :param line: the row's first line in the file.
    """

    number: E164
    mailbox: str
    valid_from: int | None
    valid_to: int | None
    file: str
    line: int


class _Layout(NamedTuple):
    """Hold how a file is laid out.

    :param width: how many headings there are.
    :param places: where the columns are, in the order of :class:`Column`; beyond the others where it
        is not in the file.
    :param labels: the columns as findings name them.
    :param first: where in the file's lines the rows begin.
    :param is_unicode: else only its ASCII can be trusted.
    """

    delimiter: str
    width: int
    places: tuple[int, ...]
    labels: dict[Column, str]
    first: int
    is_unicode: bool


# As compared: in lower case, without blanks, underscores and dashes. The README of include/mappings lists them.
ALIASES = {
    Column.NUMBER: (
        *("externaluserid", "phone", "phonenumber", "mobile", "mobilenumber", "mobilephone", "msisdn", "number"),
    ),
    Column.MAILBOX: (
        *("o365usermailbox", "microsoft365usermailbox", "mailbox", "email", "emailaddress", "userprincipalname", "upn"),
    ),
    Column.VALID_FROM: ("validfrom", "from", "startdate"),
    Column.VALID_TO: ("validto", "to", "until", "enddate"),
}
_MEANING = {alias: column for column, aliases in ALIASES.items() for alias in aliases}
_APART = re.compile(r"[\s_\u2010-\u2015-]+")
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SEP = re.compile(r"sep=([,;\t])[\r\n]*", re.IGNORECASE)  # a first line that only Excel knows
_HEADINGS = f"{Column.NUMBER},{Column.MAILBOX}"

_KINDS = {
    b"PK\x03\x04": "this is an Excel workbook (.xlsx) or another zip file under a wrong name",
    b"\xd0\xcf\x11\xe0": "this is an Excel workbook of the old kind (.xls) under a wrong name",
}
_MARKUP = re.compile(r"\s*<(!doctype|html|head|meta|table|\?xml)\b", re.IGNORECASE)
_NOT_UNICODE = Fault("this has a character that is not in UTF-8, so which one it is nobody knows", SAVE_AS)
_NO_PERIOD = Fault(
    "the period ends before its first day is over",
    f"{Column.VALID_TO} is the first day on which the row does not hold any more: mend it or {Column.VALID_FROM}",
)


def is_mapping_file(name: str) -> bool:
    """Tell whether a file of this name is a part of the mapping: ``*.csv`` in capitals or not, none hidden.

    A hidden one is another program's: macOS keeps a ``._phones.csv`` beside a ``phones.csv``, Excel a ``~$phones.csv``.
    """
    return name.lower().endswith(".csv") and not name.startswith((".", "~$"))


def read_mapping_files(
    files: Iterable[tuple[str, bytes]], region: str, zone: ZoneInfo
) -> tuple[list[MappingRow], list[Finding]]:
    """Read all mapping files; see :func:`read_mapping_file`."""
    rows: list[MappingRow] = []
    findings: list[Finding] = []
    for name, content in files:
        more_rows, more_findings = read_mapping_file(name, content, region, zone)
        rows += more_rows
        findings += more_findings
    return rows, findings


def read_mapping_file(name: str, content: bytes, region: str, zone: ZoneInfo) -> tuple[list[MappingRow], list[Finding]]:
    """Return a file's rows that have no fault, and what is not right in it, from its first line to its last.

    :param region: ISO 3166 code of the country that a national number belongs to.
    :param zone: whose midnights begin and end a period.
    :raises StopError: when there is no such region.
    """
    text, is_unicode, fault = _decoded(content)
    if fault:
        return [], [Finding(file=name, severity=Severity.ERROR, what=fault.what, remedy=fault.remedy)]
    findings: list[Finding] = []
    lines = list(io.StringIO(text, newline=""))
    layout = _layout(name, lines, is_unicode, findings)
    if layout is None:
        return [], findings
    rows: list[MappingRow] = []
    midnight = lru_cache(maxsize=None)(partial(midnight_of, zone=zone))
    for line, cells in _records(name, lines, layout, findings):
        read = _read_row(name, line, cells, layout, region, midnight)
        if isinstance(read, MappingRow):
            rows.append(read)
            continue
        findings.extend(
            Finding(
                file=name,
                line=line,
                column=layout.labels[column] if column else None,
                severity=Severity.ERROR,
                what=what,
                remedy=remedy,
            )
            for column, (what, remedy) in read
        )
    if not rows and not any(finding.severity is Severity.ERROR for finding in findings):
        findings.append(
            Finding(
                file=name,
                severity=Severity.WARNING,
                what="there is no row under the headings",
                remedy="add the rows, or leave it so where no mapping is meant",
            )
        )
    return rows, sorted(findings, key=lambda finding: finding.line or 0)


def labels_of(name: str, content: bytes) -> Mapping[Column, str]:
    """Return the columns of a file as findings name them; none of a file that nobody can read."""
    text, is_unicode, fault = _decoded(content)
    layout = None if fault else _layout(name, list(io.StringIO(text, newline="")), is_unicode, [])
    return layout.labels if layout else {}


def _decoded(content: bytes) -> tuple[str, bool, Fault | None]:
    """Return the text, whether all of it is certain, and the fault that makes the file no text."""
    for start, kind in _KINDS.items():
        if content.startswith(start):
            return "", True, Fault(kind, SAVE_AS)
    is_unicode = True
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = content.decode("utf-16")
        else:
            text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.encoding.startswith("utf-16"):
            return "", False, Fault("this begins as UTF-16 and breaks off", f"get it again, or {SAVE_AS}")
        # Excel's plain “CSV (Comma delimited)” has the machine's own code page, and every code page has ASCII as it is.
        text, is_unicode = content.removeprefix(b"\xef\xbb\xbf").decode("cp1252", errors="replace"), False
    if "\0" in text:
        return (
            "",
            False,
            Fault(
                "this has NUL bytes: it is damaged, no text, or UTF-16 without its mark", f"get it again, or {SAVE_AS}"
            ),
        )
    if _MARKUP.match(text):
        return "", False, Fault("this is a web page or XML, which portals export under any name", SAVE_AS)
    return text, is_unicode, None


def _layout(name: str, lines: list[str], is_unicode: bool, findings: list[Finding]) -> _Layout | None:
    """Find headings and delimiter; None, with findings, where nobody could without a guess."""
    first = next((at for at, line in enumerate(lines) if bare(line).strip(',;" \t')), None)
    if first is None:
        what, remedy = "the file is empty", f"begin it with the headings {_HEADINGS}, or remove it"
        findings.append(Finding(file=name, severity=Severity.ERROR, what=what, remedy=remedy))
        return None
    delimiters = list(_DELIMITERS)
    if told := _SEP.fullmatch(lines[first]):
        first, delimiters = first + 1, [told[1]]
    tries = [(delimiter, *_headings(lines, first, delimiter)) for delimiter in delimiters]
    delimiter, headings, rows_begin = max(tries, key=lambda each: (len(_meanings(each[1])), len(each[1])))
    places: dict[Column, list[int]] = {}
    for at, heading in enumerate(headings):
        if meaning := _meaning(heading):
            places.setdefault(meaning, []).append(at)
    faults = [(Severity.ERROR, *fault) for fault in _heading_faults(headings, places)]
    unread = [_letters(at) for at, heading in enumerate(headings) if bare(heading) and not _meaning(heading)]
    if unread and not faults:
        # A heading misspelt would else be a period that is not kept, in silence.
        what = f"column{'s' * (len(unread) > 1)} not read: {', '.join(unread)}"
        remedy = f"a period's headings are {Column.VALID_FROM} and {Column.VALID_TO}"
        faults = [(Severity.NOTE, what, remedy)]
    findings.extend(
        Finding(file=name, line=first + 1, severity=severity, what=what, remedy=remedy)
        for severity, what, remedy in faults
    )
    if any(severity is Severity.ERROR for severity, _, _ in faults):
        return None
    return _Layout(
        delimiter=delimiter,
        width=len(headings),
        places=tuple(places.get(column, [len(headings)])[0] for column in Column),
        labels={column: _label(headings, at) for column, (at, *_) in places.items()},
        first=rows_begin,
        is_unicode=is_unicode,
    )


def _heading_faults(headings: list[str], places: dict[Column, list[int]]) -> Iterator[Fault]:
    absent = [column for column in (Column.NUMBER, Column.MAILBOX) if column not in places]
    if absent and any(len(_meanings(re.split("[,;\t]", heading))) > 1 for heading in headings):
        yield Fault("each line is one cell", "remove the quotes around the lines, or a wrong sep= above them")
    elif absent and any(is_smtp_address(cleaned(heading)) for heading in headings):
        yield Fault("the first line is a row, and no headings", f"put a line {_HEADINGS} above it")
    elif absent:
        yield Fault(f"no column {' and '.join(absent)}", f"name the columns in the first line: {_HEADINGS}")
    for column, several in places.items():
        if len(several) > 1:
            labels = " and ".join(_label(headings, at) for at in several)
            yield Fault(f"columns {labels} both mean {column}", "keep the right one, and rename or remove the other")


def _headings(lines: list[str], first: int, delimiter: str) -> tuple[list[str], int]:
    """Return the headings that a delimiter makes of the lines, and where the lines after them begin."""
    reader = csv.reader(islice(lines, first, None), delimiter=delimiter, strict=True)
    try:
        return next(reader, []), first + reader.line_num
    except csv.Error:
        return [], first


def _meaning(heading: str) -> Column | None:
    return _MEANING.get(_APART.sub("", cleaned(heading)).lower())


def _meanings(headings: list[str]) -> set[Column]:
    return {meaning for heading in headings if (meaning := _meaning(heading))}


def _label(headings: list[str], at: int) -> str:
    return f"{_letters(at)} ({' '.join(bare(headings[at]).split())})"


def _letters(at: int) -> str:
    """Name a column as spreadsheets do: A to Z, AA and so on."""
    before, last = divmod(at, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + last)


def _records(name: str, lines: list[str], layout: _Layout, findings: list[Finding]) -> Iterator[tuple[int, list[str]]]:
    """Yield every row's first line, from 1, and its cells; after a broken quote, go on in the line below it."""
    first = layout.first
    while first < len(lines):
        reader = csv.reader(_from(lines, first), delimiter=layout.delimiter, strict=True)
        begin = end = first
        is_whole = True
        try:
            for cells in reader:
                begin, end = end, first + reader.line_num
                if end - begin > 1 and _holds_a_row(cells, layout):
                    is_whole = False
                    break
                yield begin + 1, cells
                begin = end
        except csv.Error:
            is_whole = False
        if is_whole:
            return
        opens = begin + _broken_quote(lines[begin : first + reader.line_num], layout.delimiter)
        findings.append(
            Finding(
                file=name,
                line=opens + 1,
                severity=Severity.ERROR,
                what="a quote opens here that does not close at the end of its cell",
                remedy="close it there, or remove it; one that belongs to the text is written twice, in a quoted cell",
            )
        )
        first = opens + 1


def _from(lines: list[str], first: int) -> Iterator[str]:
    for at in range(first, len(lines)):  # islice would count from the beginning again after every broken quote
        yield lines[at]


def _holds_a_row(cells: list[str], layout: _Layout) -> bool:
    """Tell whether a line within a cell is a row, which nobody meant to quote."""
    number_at, mailbox_at = layout.places[:2]
    parts = (line.split(layout.delimiter) for cell in cells for line in cell.splitlines()[1:])
    return any(len(part) > max(number_at, mailbox_at) and "@" in part[mailbox_at] for part in parts)


def _broken_quote(lines: list[str], delimiter: str) -> int:
    """Return the line in which the quote opens that is not closed as it should be, or else that goes on over lines."""
    text = "".join(lines)
    end_of = re.compile(rf'"(?>(?:[^"]|"")*)"(?=[{delimiter}\r\n]|\Z)|(?!")[^{delimiter}\r\n]*')
    at, over_lines = 0, None
    while at <= len(text):
        found = end_of.match(text, at)
        if found is None:
            over_lines = at
            break
        if over_lines is None and re.search("[\r\n]", found[0]):
            over_lines = at
        at = found.end() + 1
    ends = accumulate(map(len, lines))
    return sum(1 for end in ends if end <= (over_lines or 0))


def _read_row(
    name: str,
    line: int,
    cells: list[str],
    layout: _Layout,
    region: str,
    midnight: Callable[[str], int | Fault | None],
) -> MappingRow | list[tuple[Column | None, Fault]]:
    """Return the row, or its faults: none where it is blank."""
    if not any(map(bare, cells)):
        return []
    fitted = cells if len(cells) == layout.width else _fitted(cells, layout)
    if fitted is None:
        what = f"{len(cells)} cell{'s' * (len(cells) != 1)} under {layout.width} headings"
        return [(None, Fault(what, f"mend the {_DELIMITERS[layout.delimiter]} or the quotes of this line"))]
    fitted.append("")  # stands in for a column that the file does not have
    written = [fitted[at] for at in layout.places]
    if not layout.is_unicode and not all(map(str.isascii, written)):
        return [(column, _NOT_UNICODE) for column, cell in zip(Column, written, strict=True) if not cell.isascii()]
    number, mailbox = number_of(written[0], region), mailbox_of(written[1])
    begin, end = midnight(written[2]), midnight(written[3])
    if isinstance(number, Fault) or isinstance(mailbox, Fault) or isinstance(begin, Fault) or isinstance(end, Fault):
        values = zip(Column, (number, mailbox, begin, end), strict=True)
        return [(column, value) for column, value in values if isinstance(value, Fault)]
    if begin is not None and end is not None and end <= begin:
        return [(Column.VALID_TO, _NO_PERIOD)]
    return MappingRow(number=number, mailbox=mailbox, valid_from=begin, valid_to=end, file=name, line=line)


def _fitted(cells: list[str], layout: _Layout) -> list[str] | None:
    """Return a cell for each heading, or None where it is not certain which is whose.

    Excel writes delimiters too many where a cell beside the table was used once, and leaves those of empty last columns
    out, some rows at a time (stata.com/support/faqs/data-management/how-excel-writes-empty-cells). A row that is too
    short is taken where it has a number and a mailbox and no date: a date may have slipped into its neighbour's column.
    """
    if len(cells) > layout.width:
        return None if any(map(bare, cells[layout.width :])) else cells[: layout.width]
    number_at, mailbox_at, *days_at = layout.places
    if max(number_at, mailbox_at) >= len(cells) or any(at < len(cells) and bare(cells[at]) for at in days_at):
        return None
    return cells + [""] * (layout.width - len(cells))
