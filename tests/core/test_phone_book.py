"""The phone book: one mailbox at a time for each number, over all files, and the same bytes from the same rows."""

from __future__ import annotations

from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2_connector.core.errors import IntegrityError, StopError
from o2_connector.core.mapping_files import MappingRow, Severity
from o2_connector.core.phone_book import ALWAYS, FOREVER, PhoneBook, bind, check, read_phone_book, thawed

LONDON = ZoneInfo("Europe/London")
HEAD = "ExternalUserId,O365UserMailbox\n"
DATED = "ExternalUserId,O365UserMailbox,ValidFrom,ValidTo\n"
ALEX, KIM = "+447700900321", "+447700900456"
DAY = 86_400_000
NOVEMBER = 1_793_491_200_000  # 2026-11-01T00:00Z

File = tuple[str, str]


def book(*files: File) -> PhoneBook:
    return read_phone_book([(name, text.encode()) for name, text in files], "GB", LONDON)


def table(phones: PhoneBook) -> list[tuple[object, ...]]:
    return list(phones.rows.itertuples(index=False, name=None))


def errors_of(*files: File) -> list[str]:
    with pytest.raises(StopError) as caught:
        book(*files)
    head, *errors = str(caught.value).splitlines()
    assert head == "The mapping cannot be used; nothing was imported. Mend these and run again:"
    return errors


def test_a_row_holds_always_where_it_says_nothing_else() -> None:
    phones = book(("a.csv", f"{DATED}{KIM},kim@example.com,,\n{ALEX},alex@example.com,2026-11-01,2026-11-02\n"))

    assert table(phones) == [
        (ALEX, "alex@example.com", NOVEMBER, NOVEMBER + DAY, "a.csv", 3),
        (KIM, "kim@example.com", ALWAYS, FOREVER, "a.csv", 2),
    ]
    assert phones.findings == ()


def test_no_files_are_an_empty_book_of_the_same_columns() -> None:
    empty, full = book(), book(("a.csv", f"{HEAD}{ALEX},alex@example.com\n"))

    assert len(empty.rows) == 0
    assert empty.rows.dtypes.to_dict() == full.rows.dtypes.to_dict()


def test_a_number_may_have_one_mailbox_after_the_other_and_none_between() -> None:
    phones = book(
        ("a.csv", f"{DATED}{ALEX},alex@example.com,,2026-11-01\n{ALEX},kim@example.com,2026-11-03,\n"),
        ("b.csv", f"{DATED}{ALEX},lee@example.com,2026-11-01,2026-11-02\n"),
    )

    assert [row[1:4] for row in table(phones)] == [
        ("alex@example.com", ALWAYS, NOVEMBER),
        ("lee@example.com", NOVEMBER, NOVEMBER + DAY),
        ("kim@example.com", NOVEMBER + 2 * DAY, FOREVER),
    ]
    assert phones.findings == ()


def test_all_errors_of_all_files_are_told_at_once_by_file_and_line() -> None:
    found = errors_of(
        ("c.csv", f"{HEAD}07700 900321,kim@example.com\n"),
        ("a.csv", f"{HEAD}60777,alex\n{ALEX},alex@example.com\n"),
        ("b.csv", "x\n"),
    )

    assert [each.split(": ")[0] for each in found] == [
        "a.csv:2 column A (ExternalUserId)",
        "a.csv:2 column B (O365UserMailbox)",
        "a.csv:3",
        "b.csv:1",
    ]


def test_a_thousand_errors_are_counted_not_told() -> None:
    found = errors_of(("a.csv", HEAD + "60777,x\n" * 1000))

    assert len(found) == 101
    assert found[-1] == "… and 1900 more"


def test_one_number_with_several_mailboxes_contradicts_itself_over_any_number_of_files() -> None:
    found = errors_of(
        ("a.csv", f"{HEAD}{ALEX},alex@example.com\n{KIM},kim@example.com\n"),
        ("b.csv", f"{HEAD}07700 900321,kim@example.com\n"),
        ("c.csv", f"{HEAD}0044 7700 900321,lee@example.org\n447700900456,alex@example.com\n"),
    )

    assert [each.partition(";")[0] for each in found] == [
        "a.csv:2: error: one number (…321) has 3 mailboxes at once: here and in b.csv:2, c.csv:2",
        "a.csv:3: error: one number (…456) has 2 mailboxes at once: here and in c.csv:3",
    ]


def test_a_contradiction_names_the_rows_that_take_part_and_no_others() -> None:
    rows = (
        f"{ALEX},alex@example.com,2026-01-01,2026-03-01",
        f"{ALEX},alex@example.com,2026-02-01,2026-05-01",
        f"{ALEX},kim@example.com,2026-04-01,2026-06-01",
        f"{ALEX},lee@example.com,2026-06-01,",
    )

    (found,) = errors_of(("a.csv", DATED + "\n".join(rows)))

    assert found.startswith("a.csv:3: error: one number (…321) has 2 mailboxes at once: here and in a.csv:4; ")


def test_a_contradiction_of_many_rows_names_twenty_of_the_others() -> None:
    (found,) = errors_of(("a.csv", HEAD + "".join(f"{ALEX},u{number}@example.com\n" for number in range(50))))

    assert found.startswith("a.csv:2: error: one number (…321) has 50 mailboxes at once: here and in a.csv:3, ")
    assert "a.csv:22, 29 places more; " in found


def test_the_same_row_again_is_noted_and_no_contradiction() -> None:
    phones = book(
        ("b.csv", f"{HEAD}07700 900321,Alex@Example.com\n07700 900321,alex@example.com\n"),
        ("a.csv", f"{HEAD}{ALEX},alex@example.com\n"),
    )

    assert table(phones) == [(ALEX, "alex@example.com", ALWAYS, FOREVER, "a.csv", 2)]
    assert [str(each).partition(";")[0] for each in phones.findings] == [
        "b.csv:2: note: a.csv:2 says the same of this number (…321) already",
        "b.csv:3: note: a.csv:2 says the same of this number (…321) already",
    ]


def test_of_periods_of_one_mailbox_that_overlap_the_later_begins_where_the_earlier_ends() -> None:
    rows = (
        f"{ALEX},alex@example.com,2026-11-02,2026-11-05",
        f"{ALEX},alex@example.com,2026-11-01,2026-11-03",
        f"{ALEX},alex@example.com,2026-11-02,2026-11-03",
        f"{ALEX},alex@example.com,2026-11-05,",
    )

    phones = book(("a.csv", DATED + "\n".join(rows)))

    assert [row[2:] for row in table(phones)] == [
        (NOVEMBER, NOVEMBER + 2 * DAY, "a.csv", 3),
        (NOVEMBER + 2 * DAY, NOVEMBER + 4 * DAY, "a.csv", 2),
        (NOVEMBER + 4 * DAY, FOREVER, "a.csv", 5),
    ]
    assert [(each.line, each.what.split()[0]) for each in phones.findings] == [(2, "a.csv:3"), (4, "a.csv:2")]


moments = st.none() | st.integers(0, 12)
row_written = st.builds(
    lambda number, mailbox, begin, length, line: MappingRow(
        number=number,
        mailbox=mailbox,
        valid_from=begin,
        valid_to=None if length is None else (begin or 0) + length + 1,
        file="a.csv",
        line=line,
    ),
    st.sampled_from([ALEX, KIM]),
    st.sampled_from(["alex@example.com", "kim@example.com", "lee@example.com"]),
    moments,
    moments,
    st.integers(2, 9),
)


rows_written = st.lists(row_written, max_size=7, unique_by=lambda row: row.line)


def holds(row: MappingRow, moment: int) -> bool:
    return (row.valid_from is None or row.valid_from <= moment) and (row.valid_to is None or moment < row.valid_to)


@settings(max_examples=80, deadline=None)
@given(rows_written)
def test_the_book_says_what_the_rows_say_at_every_moment_or_they_contradict_each_other(rows: list[MappingRow]) -> None:
    said = {
        (number, moment): {row.mailbox for row in rows if row.number == number and holds(row, moment)}
        for number in (ALEX, KIM)
        for moment in range(-2, 30)
    }
    at_odds = {
        (row.file, row.line)
        for row in rows
        for (number, moment), mailboxes in said.items()
        if row.number == number and holds(row, moment) and len(mailboxes) > 1
    }

    phones, findings = bind(rows, [])

    if phones is None:
        errors = [each for each in findings if each.severity is Severity.ERROR]
        assert at_odds >= {(each.file, each.line) for each in errors} != set()
        named = {word.strip(",") for each in errors for word in each.what.split() if ".csv" in word}
        assert named | {f"{each.file}:{each.line}" for each in errors} == {f"{file}:{line}" for file, line in at_odds}
        return
    assert not at_odds
    for (number, moment), mailboxes in said.items():
        found = [row for row in table(phones) if row[0] == number and row[2] <= moment < row[3]]  # type: ignore[operator]
        assert [row[1] for row in found] == list(mailboxes)


@settings(max_examples=80, deadline=None)
@given(rows_written, st.randoms(use_true_random=False))
def test_the_same_rows_freeze_to_the_same_bytes_in_any_order(rows: list[MappingRow], random: Random) -> None:
    phones, _ = bind(rows, [])

    again, _ = bind(random.sample(rows, len(rows)), [])

    if phones is not None and again is not None:
        assert again.frozen() == phones.frozen()
        assert thawed(phones.frozen()).rows.equals(phones.rows)
    assert (phones is None) == (again is None)


def test_a_frozen_book_is_read_by_people_and_an_open_end_is_an_empty_cell() -> None:
    phones = book(("a, b.csv", f"{DATED}{ALEX},alex@example.com,,2026-11-01\n{KIM},kim@example.com,2026-11-01,\n"))

    frozen = phones.frozen()

    assert frozen.decode() == (
        "number,mailbox,valid_from,valid_to,file,line\n"
        f'{ALEX},alex@example.com,,{NOVEMBER},"a, b.csv",2\n'
        f'{KIM},kim@example.com,{NOVEMBER},,"a, b.csv",3\n'
    )
    assert thawed(frozen).rows.equals(phones.rows)


def test_an_empty_book_freezes_and_thaws() -> None:
    assert thawed(book().frozen()).rows.equals(book().rows)


@pytest.mark.parametrize("content", [b"", b"number,mailbox,file,line\n"])
def test_what_is_no_frozen_book_is_not_thawed(content: bytes) -> None:
    with pytest.raises(IntegrityError):
        thawed(content)


def test_a_check_gives_the_book_and_all_findings_where_there_is_no_error() -> None:
    phones, findings = check(
        [("a.csv", HEAD.encode()), ("b.csv", f"{HEAD}{ALEX},a@example.com\n".encode())], "GB", LONDON
    )

    assert phones is not None
    assert phones.findings == tuple(findings)
    assert [(each.file, each.severity) for each in findings] == [("a.csv", Severity.WARNING)]
