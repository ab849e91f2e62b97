"""Who gets a copy: the mapping file, then the e-mail property, and only where a mailbox exists; else it is parked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2_connector.core.errors import StopError
from o2_connector.core.mapping import Decisions, PhoneBook, addresses, decide, read_phone_book, with_candidates
from o2_connector.core.outcomes import Cause, Rule
from o2_connector.core.parties import is_smtp_address
from o2_connector.core.phones import normalise

HEAD = "ExternalUserId,O365UserMailbox\n"
ALEX, KIM, LEE = "+447700900321", "+447700900456", "+447700900789"
Person = tuple[int, str, str]


def book(*rows: str) -> PhoneBook:
    return read_phone_book([("a.csv", (HEAD + "".join(f"{row}\n" for row in rows)).encode())], "GB")


def table(people: Sequence[Person]) -> pd.DataFrame:
    frame = pd.DataFrame(people, columns=["row", "phone", "email"])
    return frame.astype({"row": "int64", "phone": "str", "email": "str"})


def decided(
    people: Sequence[Person], phones: PhoneBook, mailboxes: Mapping[str, str]
) -> tuple[set[tuple[int, str, Rule]], dict[int, Cause]]:
    decisions: Decisions = decide(
        max((row for row, _, _ in people), default=-1) + 1, with_candidates(table(people), phones, "GB"), mailboxes
    )
    rows = decisions.deliveries[["row", "mailbox", "rule"]].itertuples(index=False, name=None)
    parked = decisions.parked[["row", "cause"]].itertuples(index=False, name=None)
    found = list(rows)
    assert len(found) == len({(row, mailbox) for row, mailbox, _ in found}), "an item twice in one mailbox"
    return set(found), dict(parked)


DIRECTORY = {"alex@example.com": "A", "awilber@example.com": "A", "kim@example.com": "K"}


@pytest.mark.parametrize(
    ("mapped", "captured", "outcome"),
    [
        # 1. The mapping file wins.
        pytest.param("kim@example.com", "alex@example.com", ("K", Rule.MAPPING), id="mapping over property"),
        pytest.param("kim@example.com", "", ("K", Rule.MAPPING), id="mapping alone"),
        pytest.param("awilber@example.com", "alex@example.com", ("A", Rule.MAPPING), id="both, one mailbox"),
        # 2. Where it names no valid mailbox, the e-mail property.
        pytest.param("", "alex@example.com", ("A", Rule.EMAIL), id="property alone"),
        pytest.param("gone@example.com", "alex@example.com", ("A", Rule.EMAIL), id="mapped mailbox is gone"),
        pytest.param("", "Alex@Example.COM", ("A", Rule.EMAIL), id="property in capitals"),
        # 3. Neither: nobody.
        pytest.param("gone@example.com", "left@example.com", Cause.UNKNOWN_MAILBOX, id="both are gone"),
        pytest.param("gone@example.com", "", Cause.UNKNOWN_MAILBOX, id="mapped is gone, no property"),
        pytest.param("", "left@example.com", Cause.UNKNOWN_MAILBOX, id="property is gone"),
        pytest.param("", "", Cause.NO_ADDRESS, id="nothing"),
        pytest.param("", "not an address", Cause.NO_ADDRESS, id="property is no address"),
        pytest.param("", "\u212aim@example.com", Cause.NO_ADDRESS, id="property that only looks like Kim's"),
        pytest.param("", "nan", Cause.NO_ADDRESS, id="property is a word"),
    ],
)
def test_the_rules_in_their_order(mapped: str, captured: str, outcome: tuple[str, Rule] | Cause) -> None:
    phones = book(f"{ALEX},{mapped}") if mapped else book()

    deliveries, parked = decided([(0, "07700 900321", captured)], phones, DIRECTORY)

    if isinstance(outcome, Cause):
        assert (deliveries, parked) == (set(), {0: outcome})
    else:
        assert (deliveries, parked) == ({(0, *outcome)}, {})


def test_everyone_who_took_part_and_maps_gets_a_copy() -> None:
    people = [(0, ALEX, ""), (0, KIM, ""), (0, LEE, "lee@example.org"), (1, "60777", ""), (1, ALEX, "")]

    deliveries, parked = decided(people, book(f"{ALEX},alex@example.com", f"{KIM},kim@example.com"), DIRECTORY)

    assert deliveries == {(0, "A", Rule.MAPPING), (0, "K", Rule.MAPPING), (1, "A", Rule.MAPPING)}
    assert parked == {}


def test_two_participants_of_one_mailbox_get_one_copy_by_the_stronger_rule() -> None:
    people = [(0, KIM, "awilber@example.com"), (0, ALEX, "")]

    deliveries, _ = decided(people, book(f"{ALEX},alex@example.com"), DIRECTORY)

    assert deliveries == {(0, "A", Rule.MAPPING)}


def test_an_item_with_no_participant_row_at_all_is_parked() -> None:
    decisions = decide(3, with_candidates(table([(1, ALEX, "alex@example.com")]), book(), "GB"), DIRECTORY)

    assert decisions.parked["row"].tolist() == [0, 2]
    assert decisions.parked["cause"].tolist() == [Cause.NO_ADDRESS] * 2


def test_no_items_are_no_decisions() -> None:
    assert decided([], book(), DIRECTORY) == (set(), {})


def test_a_short_code_is_nobodys_number() -> None:
    deliveries, parked = decided([(0, "60777", "")], book("+447700960777,kim@example.com"), DIRECTORY)

    assert (deliveries, parked) == (set(), {0: Cause.NO_ADDRESS})


def test_the_directory_is_asked_for_every_address_once() -> None:
    people = [(0, ALEX, "Alex@example.com"), (1, ALEX, "alex@example.com"), (1, KIM, "none")]

    found = addresses(with_candidates(table(people), book(f"{ALEX},awilber@example.com"), "GB"))

    assert found == {"alex@example.com", "awilber@example.com"}


phones_written = st.sampled_from(["07700 900321", ALEX, "447700900456", KIM, "0044 7700 900789", "60777", "O2UK", "NA"])
mailboxes_written = st.sampled_from(["alex@example.com", "Kim@example.com", "lee@example.org", "gone@example.com"])
emails_written = mailboxes_written | st.sampled_from(["", "nan", "x@", "ALEX@EXAMPLE.COM", "\u212aim@example.com"])


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from([ALEX, KIM, LEE]), mailboxes_written),
    st.lists(st.lists(st.tuples(phones_written, emails_written), max_size=4), max_size=5),
    st.dictionaries(mailboxes_written.map(str.lower), st.sampled_from("ABC")),
)
def test_the_join_decides_as_the_slow_and_obvious_way_does(
    mapping: dict[str, str], items: list[list[tuple[str, str]]], directory: dict[str, str]
) -> None:
    people = [(row, phone, email) for row, item in enumerate(items) for phone, email in item]
    expected: dict[tuple[int, str], Rule] = {}
    parked: dict[int, Cause] = {}
    for row, item in enumerate(items):
        named = False
        for phone, email in item:
            number = normalise(phone, "GB")
            first = mapping.get(number, "").lower() if number else ""
            second = email.lower() if is_smtp_address(email) else ""
            named = named or bool(first or second)
            if first in directory:
                expected[row, directory[first]] = Rule.MAPPING
            elif second in directory:
                expected.setdefault((row, directory[second]), Rule.EMAIL)
        if not any(at == row for at, _ in expected):
            parked[row] = Cause.UNKNOWN_MAILBOX if named else Cause.NO_ADDRESS

    candidates = with_candidates(table(people), book(*(f"{phone},{box}" for phone, box in mapping.items())), "GB")
    decisions = decide(len(items), candidates, directory)

    found = list(decisions.deliveries[["row", "mailbox", "rule"]].itertuples(index=False, name=None))
    assert sorted(found) == sorted((row, mailbox, rule) for (row, mailbox), rule in expected.items())
    assert dict(zip(decisions.parked["row"], decisions.parked["cause"], strict=True)) == parked


def faults_of(*files: tuple[str, str | bytes]) -> list[str]:
    contents = [(name, text if isinstance(text, bytes) else text.encode()) for name, text in files]
    with pytest.raises(StopError) as caught:
        read_phone_book(contents, "GB")
    head, *faults = str(caught.value).splitlines()
    told = "".join(faults).replace("write it like +447700900123", "").replace("write it like alex@example.com", "")
    assert not any(personal in told for personal in ("7700", "900321", "900456", "900789", "@", "60777"))
    assert head == "The mapping cannot be used; nothing was imported. Mend these and run again:"
    return faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "a.csv:1: no column ExternalUserId and O365UserMailbox"),
        ("ExternalUserId,Mailbox\n", "a.csv:1: no column O365UserMailbox"),
        ("ExternalUserId;O365UserMailbox\n", "a.csv:1: no column ExternalUserId and O365UserMailbox"),
        ("ExternalUserId,O365UserMailbox,O365UserMailbox\n", "a.csv:1: more than one column O365UserMailbox"),
        (f"{HEAD}60777,alex@example.com\n", "a.csv:2: ExternalUserId (…777) is no subscriber's number"),
        (f"{HEAD},alex@example.com\n", "a.csv:2: ExternalUserId (…) is no subscriber's number"),
        (f"{HEAD}4.47701E+11,alex@example.com\n", "a.csv:2: ExternalUserId (…+11) is no subscriber's number"),
        (f"{HEAD}{ALEX},alex\n", "a.csv:2: O365UserMailbox is no e-mail address"),
        (f"{HEAD}{ALEX},\n", "a.csv:2: O365UserMailbox is no e-mail address"),
        (f"{HEAD}{ALEX},\u212aim@example.com\n", "a.csv:2: O365UserMailbox is no e-mail address"),
        (f"{HEAD}\n{ALEX}\n", "a.csv:3: 1 cells under 2 headings"),
        (f"{HEAD}{ALEX},alex@example.com,kim@example.com\n", "a.csv:2: 3 cells under 2 headings"),
        (f'{HEAD}"{ALEX},alex@example.com\n', "a.csv: this is no comma-separated text in UTF-8"),
        ((HEAD + "x").encode("utf-16"), "a.csv: this is no comma-separated text in UTF-8"),
        (HEAD.encode() + b"\xe9", "a.csv: this is no comma-separated text in UTF-8"),
    ],
)
def test_a_fault_in_a_file_is_named_with_its_line(text: str | bytes, fault: str) -> None:
    (found,) = faults_of(("a.csv", text))

    assert found.startswith(fault)


def test_all_faults_of_all_files_are_told_at_once() -> None:
    found = faults_of(
        ("a.csv", f"{HEAD}60777,alex\n{ALEX},alex@example.com\n"),
        ("b.csv", "x\n"),
        ("c.csv", f"{HEAD}07700 900321,kim@example.com\n"),
    )

    assert [fault.split(": ")[0] for fault in found] == ["a.csv:2", "a.csv:2", "b.csv:1", "a.csv:3 and c.csv:2"]


def test_a_thousand_faults_are_counted_not_told() -> None:
    found = faults_of(("a.csv", HEAD + "60777,x\n" * 1000))

    assert len(found) == 101
    assert found[-1] == "… and 1900 more"


def test_one_number_with_two_mailboxes_contradicts_itself_over_any_number_of_files() -> None:
    found = faults_of(
        ("a.csv", f"{HEAD}{ALEX},alex@example.com\n{KIM},kim@example.com\n"),
        ("b.csv", f"{HEAD}07700 900321,kim@example.com\n"),
        ("c.csv", f"{HEAD}0044 7700 900321,lee@example.org\n447700900456,alex@example.com\n"),
    )

    assert found == [
        "a.csv:2 and b.csv:2 and c.csv:2: one number (…321) has 3 mailboxes; keep the one that is right",
        "a.csv:3 and c.csv:3: one number (…456) has 2 mailboxes; keep the one that is right",
    ]


def test_the_same_row_again_is_no_contradiction() -> None:
    files = [
        ("a.csv", f"{HEAD}{ALEX},alex@example.com\n".encode()),
        ("b.csv", f"{HEAD}07700 900321,Alex@Example.com\n07700 900321,alex@example.com\n".encode()),
    ]

    phones = read_phone_book(files, "GB")

    assert phones.rows[["number", "mailbox"]].to_numpy().tolist() == [[ALEX, "alex@example.com"]]


def test_a_file_as_spreadsheets_write_it_is_read() -> None:
    text = (
        f'\ufeffDepartment, O365UserMailbox ,ExternalUserId\r\n"Sales, North", alex@example.com ,{ALEX}\r\n,,\r\n\r\n'
    )

    phones = read_phone_book([("a.csv", text.encode())], "GB")

    assert phones.rows.to_numpy().tolist() == [[ALEX, "alex@example.com", "a.csv", 2]]


def test_no_files_are_an_empty_book() -> None:
    assert decided([(0, ALEX, "alex@example.com")], read_phone_book([], "GB"), DIRECTORY)[0] == {(0, "A", Rule.EMAIL)}


def test_the_same_rows_freeze_to_the_same_bytes_in_any_order() -> None:
    rows = [f"{ALEX},alex@example.com", f"{KIM},kim@example.com"]

    frozen = book(*rows).frozen()

    assert (
        frozen
        == b"number,mailbox,file,line\n+447700900321,alex@example.com,a.csv,2\n+447700900456,kim@example.com,a.csv,3\n"
    )
    assert [line.split(b",")[:2] for line in book(*reversed(rows)).frozen().splitlines()] == [
        line.split(b",")[:2] for line in frozen.splitlines()
    ]
