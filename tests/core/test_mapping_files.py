"""A mapping file is read as it was meant, or said to be wrong where it is wrong; nothing in it is guessed."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core.errors import StopError
from o2_connector.core.mapping_files import ALIASES, Column, Finding, MappingRow, Severity, read_mapping_file

ROOT = Path(__file__).resolve().parents[2]
LONDON = ZoneInfo("Europe/London")
HEAD = "ExternalUserId,O365UserMailbox\n"
DATED = "ExternalUserId,O365UserMailbox,ValidFrom,ValidTo\n"
ALEX, SAM, KIM = "+447700900321", "+447700900456", "+447700900789"


def read(content: str | bytes, zone: ZoneInfo = LONDON) -> tuple[list[MappingRow], list[Finding]]:
    return read_mapping_file("a.csv", content.encode() if isinstance(content, str) else content, "GB", zone)


def pairs(content: str | bytes) -> list[tuple[str, str]]:
    rows, findings = read(content)
    assert [each for each in findings if each.severity is not Severity.NOTE] == []
    return [(row.number, row.mailbox) for row in rows]


def told(content: str | bytes) -> list[str]:
    _, findings = read(content)
    return [str(finding) for finding in findings]


def millis(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]


def test_a_row_says_whose_a_number_is_from_when_until_when_and_where_that_stands() -> None:
    rows, findings = read(f"{DATED}{ALEX},Alex@Example.com,2026-06-01,2026-11-01\n")

    assert findings == []
    assert rows == [
        MappingRow(
            number=ALEX,  # type: ignore[arg-type]
            mailbox="alex@example.com",
            valid_from=millis(2026, 5, 31, 23),
            valid_to=millis(2026, 11, 1),
            file="a.csv",
            line=2,
        )
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"{HEAD}{ALEX},alex@example.com\n", id="plain"),
        pytest.param(f"{HEAD}{ALEX},alex@example.com", id="no end of the last line"),
        pytest.param(f"\ufeff{HEAD}{ALEX},alex@example.com\n", id="byte order mark"),
        pytest.param(f"{HEAD}{ALEX},alex@example.com\n".replace("\n", "\r\n"), id="CRLF"),
        pytest.param(f"{HEAD}{ALEX},alex@example.com\n".replace("\n", "\r"), id="CR"),
        pytest.param(f"{HEAD}{ALEX},alex@example.com\n".encode("utf-16"), id="UTF-16 LE"),
        pytest.param(b"\xfe\xff" + f"{HEAD}{ALEX},alex@example.com\n".encode("utf-16-be"), id="UTF-16 BE"),
        pytest.param(f"{HEAD}{ALEX},alex@example.com\n".replace(",", ";"), id="semicolons"),
        pytest.param(f"{HEAD}{ALEX},alex@example.com\n".replace(",", "\t"), id="tabs"),
        pytest.param(f"sep=;\r\n{HEAD}{ALEX},alex@example.com\n".replace(",", ";"), id="sep, semicolons"),
        pytest.param(f"sep=,\r\n{HEAD}{ALEX},alex@example.com\n", id="sep, commas"),
        pytest.param(f'{HEAD}"{ALEX}","alex@example.com"\n', id="quotes"),
        pytest.param(f"\n,,\n{HEAD}\n{ALEX},alex@example.com\n,\n\n ,\u00a0\n", id="blank rows"),
        pytest.param(f"{HEAD}{ALEX},alex@example.com,,,\n", id="empty cells too many"),
        pytest.param(f"{DATED}{ALEX},alex@example.com\n", id="no cells for the period"),
        pytest.param(f"{DATED}{ALEX},alex@example.com,\n", id="no cell for its end"),
        pytest.param(
            f"Name;a,ExternalUserId,O365UserMailbox\nx,{ALEX},alex@example.com\n", id="a semicolon in a heading"
        ),
        pytest.param(f'N,M\xfcller,Phone,Email\n"Zo\xeb",,{ALEX},alex@example.com\n'.encode("cp1252"), id="code page"),
        pytest.param(f"N,Phone,Email\n\x81\x8d,{ALEX},alex@example.com\n".encode("latin-1"), id="no code page's"),
    ],
)
def test_any_way_of_writing_a_table_is_the_same_table(content: str | bytes) -> None:
    assert pairs(content) == [(ALEX, "alex@example.com")]


def test_a_file_as_spreadsheets_write_it_is_read() -> None:
    text = (
        f'\ufeffDepartment, O365UserMailbox ,ExternalUserId\r\n"Sales, North", alex@example.com ,{ALEX}\r\n,,\r\n\r\n'
    )

    assert pairs(text) == [(ALEX, "alex@example.com")]


@pytest.mark.parametrize("number", ALIASES[Column.NUMBER])
def test_every_heading_of_the_number_is_known(number: str) -> None:
    assert pairs(f"{number},{Column.MAILBOX}\n{ALEX},alex@example.com\n") == [(ALEX, "alex@example.com")]


@pytest.mark.parametrize("mailbox", ALIASES[Column.MAILBOX])
def test_every_heading_of_the_mailbox_is_known(mailbox: str) -> None:
    assert pairs(f"{Column.NUMBER},{mailbox}\n{ALEX},alex@example.com\n") == [(ALEX, "alex@example.com")]


@pytest.mark.parametrize("begin", ALIASES[Column.VALID_FROM])
@pytest.mark.parametrize("end", ALIASES[Column.VALID_TO])
def test_every_heading_of_the_period_is_known(begin: str, end: str) -> None:
    (row,), _ = read(f"{end},{begin},Phone,Email\n2026-12-01,2026-11-01,{ALEX},alex@example.com\n")

    assert (row.valid_from, row.valid_to) == (millis(2026, 11, 1), millis(2026, 12, 1))


@pytest.mark.parametrize(
    "heading", ["mobile number", "MOBILE_NUMBER", "\ufeffMobile-Number ", "Mobile\u00a0\u2010 number"]
)
def test_capitals_blanks_underscores_and_dashes_make_no_other_heading(heading: str) -> None:
    assert pairs(f"{heading},E-mail\n{ALEX},alex@example.com\n") == [(ALEX, "alex@example.com")]


def test_the_readme_of_the_folder_names_every_heading() -> None:
    named = {name.lower() for name in re.findall("`([A-Za-z0-9]+)`", (ROOT / "include/mappings/README.md").read_text())}

    assert {alias for aliases in ALIASES.values() for alias in aliases} <= named


def test_the_example_of_the_folder_is_right() -> None:
    rows, findings = read((ROOT / "include/mappings/example.csv.txt").read_bytes())

    assert (len(rows), findings) == (3, [])


@pytest.mark.parametrize(
    "cell",
    [
        "07700 900321",
        "447700900321",  # without the plus
        "7700900321",  # without the nought
        '"=""+447700900321"""',
        '="+447700900321"',
        "'+447700900321",
        "\u2019+447700900321",
        "\u202a+44 7700 900321\u202c",
        "\u2068+44\u00a07700\u00a0900321\u2069",
        "+44\u200b7700\u202f900\u200b321",
        "\ufeff+447700900321",
        "“+447700900321”",
        '"""+447700900321"""',
        "tel:+44-7700-900321",
        '"+447700900321\n"',
    ],
)
def test_what_came_along_with_a_number_is_taken_off(cell: str) -> None:
    assert pairs(f"{HEAD}{cell},alex@example.com\n") == [(ALEX, "alex@example.com")]


@pytest.mark.parametrize(
    "cell",
    [
        "Alex@EXAMPLE.com",
        "\u200balex@example.com\u00a0",
        '="alex@example.com"',
        "mailto:alex@example.com",
        "SMTP:alex@example.com",
        "“alex@example.com”",
        "'alex@example.com'",
        '"""alex@example.com"""',
    ],
)
def test_what_came_along_with_an_address_is_taken_off(cell: str) -> None:
    assert pairs(f"{HEAD}{ALEX},{cell}\n") == [(ALEX, "alex@example.com")]


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("", "the cell is empty"),
        ("60777", "this is a short code, and no subscriber's number (…777)"),
        ("999", "this is a short code, and no subscriber's number (…)"),
        ("O2UK", "this is a name or a word, and no subscriber's number"),
        ("Anonymous", "this is a name or a word, and no subscriber's number"),
        ("4.47701E+11", "a spreadsheet rounded the number, as in 4.47E+11, and its digits are lost"),
        ('"4,47701E+11"', "a spreadsheet rounded the number, as in 4.47E+11, and its digits are lost"),
        ("4E+11", "a spreadsheet rounded the number, as in 4.47E+11, and its digits are lost"),
        ("447700900321.0", "a spreadsheet or a program made a decimal of the number"),
        ("7700900321.", "a spreadsheet or a program made a decimal of the number"),
        ('"447700900321,00"', "a spreadsheet or a program made a decimal of the number"),
        ('"7,700,900,321"', "a spreadsheet put separators of thousands into the number (…321)"),
        ("#REF!", "a formula failed here"),
        ("#N/A", "a formula failed here"),
        ("#VALUE!", "a formula failed here"),
        ("#####", "a spreadsheet's column was too narrow to show it"),
        ("=A1", "the cell is a formula"),
        ("+447700900321;ext=12", "the number has an extension"),
        ("07700 900321 x12", "the number has an extension"),
        ("020 7946 0000 ext. 12", "the number has an extension"),
        ("020 7946 0000 #12", "the number has an extension"),
        ("07700 900321 / 07700 900456", "the cell has more than one number (…456)"),
        ('"+447700900321\n+447700900456"', "the cell has more than one number (…456)"),
        ("+447700900321+447700900456", "the cell has more than one number (…456)"),
        ("alex@example.com", "the cell has an address"),
        ("+4477009003210", "this is no subscriber's number (…210)"),
        ("00000000", "this is no subscriber's number (…000)"),
        ("ExternalUserId", "this is a name or a word, and no subscriber's number"),
    ],
)
def test_a_cell_that_is_no_number_is_told_by_what_it_is(cell: str, fault: str) -> None:
    (found,) = told(f"{HEAD}{cell},alex@example.com\n")

    assert found.startswith(f"a.csv:2 column A (ExternalUserId): error: {fault}; ")


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("", "the cell is empty"),
        ("alex", "this is no e-mail address"),
        ("alex@example", "this is no e-mail address"),
        ("#N/A", "a formula failed here"),
        ("########", "a spreadsheet's column was too narrow to show it"),
        ("\u212aim@example.com", "this has a character that no mailbox's address has, however alike it looks"),
        ("zo\u00eb@example.com", "this has a character that no mailbox's address has, however alike it looks"),
        ("al ex@example.com", "the address has a blank in it"),
        ("Alex Wilber <alex@example.com>", "the cell has a name beside the address"),
        ("alex@example.com; sam@example.com", "the cell has more than one address"),
        ('"alex@example.com\nsam@example.com"', "the cell has more than one address"),
        ("/o=ExchangeLabs/ou=x/cn=Recipients/cn=alex", "this is Exchange's internal address of the mailbox"),
        ("07700 900321", "the cell has a number"),
        ("'alex@example.com", "the cell begins with a sign of a spreadsheet's"),
        ("=alex@example.com", "the cell begins with a sign of a spreadsheet's"),
    ],
)
def test_a_cell_that_is_no_address_is_told_by_what_it_is(cell: str, fault: str) -> None:
    (found,) = told(f"{HEAD}{ALEX},{cell}\n")

    assert found.startswith(f"a.csv:2 column B (O365UserMailbox): error: {fault}; ")


@pytest.mark.parametrize(
    "cell",
    [
        *("2026-11-01", " 2026-11-01 ", "2026-11-01 00:00", "2026-11-01 00:00:00", "2026-11-01T00:00:00.000"),
        *("'2026-11-01", '="2026-11-01"', "\u200b2026-11-01"),
    ],
)
def test_a_day_is_read_as_the_midnight_at_which_it_begins(cell: str) -> None:
    (row,), _ = read(f"{DATED}{ALEX},alex@example.com,{cell},\n")

    assert (row.valid_from, row.valid_to) == (millis(2026, 11, 1), None)


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("Europe/London", "2026-03-29", (2026, 3, 29)),  # the day's clocks change at one
        ("Europe/London", "2026-03-30", (2026, 3, 29, 23)),
        ("America/New_York", "2026-11-01", (2026, 11, 1, 4)),
        ("Asia/Beirut", "2026-03-29", (2026, 3, 28, 22)),  # goes from midnight to one
        ("America/Havana", "2026-11-01", (2026, 11, 1, 4)),  # goes from one to midnight, which comes twice
        ("Europe/London", "9999-12-31", (9999, 12, 31)),
    ],
)
def test_a_day_begins_at_its_first_instant_in_the_zone(zone: str, day: str, first: tuple[int, ...]) -> None:
    (row,), _ = read(f"{DATED}{ALEX},alex@example.com,{day},\n", ZoneInfo(zone))

    assert row.valid_from == millis(*first)


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        *(
            (cell, "this date is ambiguous")
            for cell in ("01/11/2026", "1/11/26", "31/12/2026", "1.11.2026", "01-11-2026")
        ),
        ("01/11/2026 00:00", "this date is ambiguous"),
        ("46327", "this is a spreadsheet's count of days, and no date"),
        ("46327.5", "this is a spreadsheet's count of days, and no date"),
        ("2026-11-01 09:30", "this has a time of day"),
        ("2026-11-01T00:00:00Z", "this has a time of day"),
        ("2026-11-31", "the calendar has no such day"),
        ("0000-01-01", "the calendar has no such day"),
        ("2026/11/01", "this is no date"),
        ("20261101", "this is no date"),
        ("1 Nov 2026", "this is no date"),
        ("tomorrow", "this is no date"),
        ("########", "a spreadsheet's column was too narrow to show it"),
        ("#REF!", "a formula failed here"),
    ],
)
@pytest.mark.parametrize(("cells", "column"), [("{},", "C (ValidFrom)"), (",{}", "D (ValidTo)")])
def test_a_cell_that_is_no_day_is_told_by_what_it_is(cell: str, fault: str, cells: str, column: str) -> None:
    (found,) = told(f"{DATED}{ALEX},alex@example.com,{cells.format(cell)}\n")

    assert found.startswith(f"a.csv:2 column {column}: error: {fault}")


@pytest.mark.parametrize("end", ["2026-11-01", "2026-10-31"])
def test_a_period_without_a_day_is_an_error(end: str) -> None:
    (found,) = told(f"{DATED}{ALEX},alex@example.com,2026-11-01,{end}\n")

    assert found.startswith("a.csv:2 column D (ValidTo): error: the period ends before its first day is over; ")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "a.csv: error: the file is empty"),
        ("\ufeff\r\n,,\r\n", "a.csv: error: the file is empty"),
        ("ExternalUserId,Box\n", "a.csv:1: error: no column O365UserMailbox"),
        ("\nLogin|Box\n", "a.csv:2: error: no column ExternalUserId and O365UserMailbox"),
        (f"sep=;\n{HEAD}", "a.csv:2: error: each line is one cell; "),
        (f'"{HEAD.strip()}"\n"{ALEX},alex@example.com"\n', "a.csv:1: error: each line is one cell; "),
        (f"{ALEX},alex@example.com\n", "a.csv:1: error: the first line is a row, and no headings"),
        ("Phone,Mobile,Email\n", "a.csv:1: error: columns A (Phone) and B (Mobile) both mean ExternalUserId"),
        ("Phone,Email,UPN\n", "a.csv:1: error: columns B (Email) and C (UPN) both mean O365UserMailbox"),
        ("Phone,Email,To,Until\n", "a.csv:1: error: columns C (To) and D (Until) both mean ValidTo"),
        (f"{HEAD}{ALEX}\n", "a.csv:2: error: 1 cell under 2 headings; mend the commas"),
        (f"{HEAD}\n{ALEX}\n", "a.csv:3: error: 1 cell under 2 headings; mend the commas"),
        (f"{HEAD}{ALEX},alex@example.com,kim@example.com\n", "a.csv:2: error: 3 cells under 2 headings"),
        (f"{DATED}{ALEX},alex@example.com,2026-11-01\n", "a.csv:2: error: 3 cells under 4 headings"),
        (
            f"{HEAD.replace(',', ';')}{ALEX},alex@example.com\n",
            "a.csv:2: error: 1 cell under 2 headings; mend the semi",
        ),
        ("PK\x03\x04\x14\x00", "a.csv: error: this is an Excel workbook (.xlsx) or another zip file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "a.csv: error: this is an Excel workbook of the old kind (.xls)"),
        ("\r\n <HTML><table>", "a.csv: error: this is a web page or XML"),
        ("<table border=1>", "a.csv: error: this is a web page or XML"),
        ('<?xml version="1.0"?>', "a.csv: error: this is a web page or XML"),
        (f"{HEAD}{ALEX}\0,alex@example.com\n", "a.csv: error: this has NUL bytes"),
        (HEAD.encode("utf-16-le"), "a.csv: error: this has NUL bytes"),
        (HEAD.encode("utf-16") + b"\x00", "a.csv: error: this begins as UTF-16 and breaks off"),
        (HEAD, "a.csv: warning: there is no row under the headings"),
    ],
)
def test_a_file_that_is_no_table_is_told_by_what_it_is(text: str | bytes, fault: str) -> None:
    (found,) = told(text)

    assert found.startswith(fault)


def test_a_cell_that_is_read_has_to_be_unicode_where_the_rest_need_not_be() -> None:
    text = f"Name,Phone,Email\nZo\xeb,{ALEX},zo\xeb@example.com\nZo\xeb,+44\xa07700900456,zoe@example.com\n"

    _, *found = told(text.encode("cp1252"))

    assert [each.partition(";")[0] for each in found] == [
        "a.csv:2 column C (Email): error: this has a character that is not in UTF-8, so which one it is nobody knows",
        "a.csv:3 column B (Phone): error: this has a character that is not in UTF-8, so which one it is nobody knows",
    ]


def test_what_is_not_read_is_noted_for_it_may_be_a_period_misspelt() -> None:
    rows, findings = read(f"Name,Phone,Email,ValidTil,\nAlex,{ALEX},alex@example.com,2026-11-01,\n")

    assert rows[0].valid_to is None
    assert [str(each) for each in findings] == [
        "a.csv:1: note: columns not read: A, D; a period's headings are ValidFrom and ValidTo"
    ]


def test_columns_after_z_are_named_as_a_spreadsheet_names_them() -> None:
    headings = "".join(f"c{number}," for number in range(27)) + "Phone,Email"

    _, found = told(f"{headings}\n{',' * 27}60777,alex@example.com\n")

    assert found.startswith("a.csv:2 column AB (Phone): error: ")


BROKEN = "a quote opens here that does not close at the end of its cell"


@pytest.mark.parametrize(
    ("lines", "broken", "read_lines"),
    [
        pytest.param([f'"{ALEX},a@example.com', f"{SAM},s@example.com"], [2], [3], id="never closed"),
        pytest.param([f'"{ALEX},a@example.com', f'"{SAM}",s@example.com'], [2], [3], id="closed by another's"),
        pytest.param([f'{ALEX},a@example.com,"x', f'{SAM},s@example.com,y"'], [2], [3], id="a row in a note"),
        pytest.param([f'{ALEX},a@example.com,"6" screen', f"{SAM},s@example.com,"], [2], [3], id="in a note"),
        pytest.param([f'{ALEX},a@example.com,"a', 'b","c', f"{SAM},s@example.com,"], [3], [4], id="after two lines"),
        pytest.param([f'{ALEX},a@example.com,6" screen', f"{SAM},s@example.com,"], [], [2, 3], id="not in front"),
        pytest.param([f'{ALEX},a@example.com,"6"" screen"', f"{SAM},s@example.com,"], [], [2, 3], id="doubled"),
        pytest.param([f'{ALEX},a@example.com,"a', "", 'b"', f"{SAM},s@example.com,"], [], [2, 5], id="over lines"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_quote_that_is_not_closed_is_told_by_its_line_and_swallows_no_row(
    lines: list[str], broken: list[int], read_lines: list[int], end: str
) -> None:
    rows, findings = read(end.join(["ExternalUserId,O365UserMailbox,Note", *lines]))

    assert [each.line for each in findings if each.severity is Severity.ERROR and each.what == BROKEN] == broken
    assert len([each for each in findings if each.severity is Severity.ERROR]) == len(broken)
    assert [row.line for row in rows] == read_lines


def test_all_that_is_not_right_in_a_file_is_told_at_once_from_its_first_line_to_its_last() -> None:
    found = told(f'{DATED}60777,alex,1/2/2026,2/1/2026\n"{ALEX}\n{ALEX},alex@example.com,,\n{ALEX}\nx,,,\n')

    assert [re.match(r"a\.csv:\d( column \w)?", each)[0] for each in found] == [  # type: ignore[index]
        *("a.csv:2 column A", "a.csv:2 column B", "a.csv:2 column C", "a.csv:2 column D"),
        *("a.csv:3", "a.csv:5", "a.csv:6 column A", "a.csv:6 column B"),
    ]


def test_a_row_with_a_fault_is_not_among_the_rows() -> None:
    rows, _ = read(
        f"{DATED}{ALEX},alex,,\n60777,sam@example.com,,\n{SAM},sam@example.com,x,\n{KIM},kim@example.com,,\n"
    )

    assert [row.line for row in rows] == [5]


def test_a_region_that_is_none_stops() -> None:
    with pytest.raises(StopError, match="ISO 3166"):
        read_mapping_file("a.csv", f"{HEAD}{ALEX},alex@example.com\n".encode(), "UK", LONDON)


cells = st.sampled_from(
    [
        *(
            "+447700900321",
            "07700 900321",
            "447700900321.0",
            "+447700900321;ext=7",
            "07700900321/07700900456",
            "4.4E+11",
        ),
        *("alex@secret.example", "Alex Wilber <alex@secret.example>", "'alex@secret.example", "alex@secret.example "),
        *("ExternalUserId", "O365UserMailbox", "ValidFrom", "2026-11-01", "1/11/2026", "", '"', "\u202a", "\xeb", "\n"),
    ]
)


@given(st.lists(st.lists(cells, max_size=5), max_size=6), st.sampled_from(",;\t"), st.sampled_from(["utf-8", "utf-16"]))
def test_no_finding_holds_a_number_in_full_or_any_of_an_address(
    table: list[list[str]], delimiter: str, encoding: str
) -> None:
    text = "\n".join(delimiter.join(row) for row in table)

    for prefix in ("", HEAD.replace(",", delimiter)):
        found = "".join(told((prefix + text).encode(encoding))).replace("+447700900123", "")
        assert not re.search(r"7700|[0-9]{4}(?<!2026)(?<!3166)|secret|wilber", found, re.IGNORECASE)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.booleans())
def test_whatever_the_bytes_are_they_are_read_or_told(content: bytes, has_headings: bool) -> None:
    rows, findings = read((HEAD.encode() if has_headings else b"") + content)

    assert rows or findings
    assert not any("\n" in str(each) or "\r" in str(each) for each in findings)


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("01/11/2026", "this is a date"),
        ("1/2/26", "this is a date"),
        ("016977 2123/4", "the cell has more than one number"),
        ("07700 900123/24", "the cell has more than one number"),
    ],
)
def test_digits_that_nobody_takes_for_one_number_are_none(cell: str, what: str) -> None:
    rows, (found,) = read_mapping_file(
        "a.csv", f"ExternalUserId,O365UserMailbox\n{cell},a@example.com\n".encode(), "GB", ZoneInfo("Europe/London")
    )

    assert rows == []
    assert found.what.startswith(what)


def test_a_row_that_an_open_quote_swallows_is_told_although_its_mailbox_is_not_clean() -> None:
    text = (
        "Number,Mailbox,Note\n"
        '07700900123,a@example.com,"oops\n'
        "07700900124,Bee <b@example.com>,\n"
        '"\n'
        "07700900125,c@example.com,\n"
    )

    _, findings = read_mapping_file("a.csv", text.encode(), "GB", ZoneInfo("Europe/London"))

    assert [each.line for each in findings if "quote" in each.what] != []
