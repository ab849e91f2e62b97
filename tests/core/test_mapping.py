"""Who gets a copy: the mapping file, then the e-mail property, and only where a mailbox exists; else it is parked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2_connector.core.mapping import CAUSES, Decisions, rows_of_another, rows_without_mailbox
from o2_connector.core.outcomes import Cause, Rule
from o2_connector.core.parties import is_smtp_address
from o2_connector.core.phone_book import read_phone_book
from o2_connector.core.phones import normalise
from tests.core.people import HEAD, ZONE, Person, book, candidates_of, decided, deliveries_of, known

ALEX, KIM, LEE = "+447700900321", "+447700900456", "+447700900789"
DIRECTORY: Mapping[str, str | Cause] = {
    "alex@example.com": "A",
    "awilber@example.com": "A",
    "kim@example.com": "K",
    "guest@example.com": Cause.GUEST,
    "deleted@example.com": Cause.SOFT_DELETED,
    "unlicensed@example.com": Cause.UNLICENSED,
}


def at(day: str) -> int:
    """Return a moment in London, in milliseconds since 1970."""
    return int(datetime.fromisoformat(day).replace(tzinfo=ZONE).timestamp() * 1000)


def parked_of(decisions: Decisions) -> dict[int, Cause]:
    causes = [CAUSES[place] for place in decisions.parked["cause"].tolist()]
    return dict(zip(decisions.parked["row"].tolist(), causes, strict=True))


def waiting_of(decisions: Decisions, items: Sequence[Sequence[Person]]) -> dict[int, list[str]]:
    people = [person[0] for item in items for person in item]
    waiting: dict[int, list[str]] = {}
    for row, person in zip(decisions.waiting["row"], decisions.waiting["person"], strict=True):
        waiting.setdefault(row, []).append(people[person])
    return waiting


@pytest.mark.parametrize(
    ("mapped", "captured", "outcome"),
    [
        # 1. The mapping file wins.
        pytest.param("kim@example.com", "alex@example.com", ("K", Rule.MAPPING), id="mapping over property"),
        pytest.param("kim@example.com", "", ("K", Rule.MAPPING), id="mapping alone"),
        pytest.param("awilber@example.com", "alex@example.com", ("A", Rule.MAPPING), id="both, one mailbox"),
        # 2. Where it names no valid mailbox, the e-mail property.
        pytest.param("", "alex@example.com", ("A", Rule.EMAIL), id="property alone"),
        pytest.param("", "awilber@example.com", ("A", Rule.EMAIL), id="property is an alias"),
        pytest.param("gone@example.com", "alex@example.com", ("A", Rule.EMAIL), id="mapped address is nobody's"),
        pytest.param("guest@example.com", "alex@example.com", ("A", Rule.EMAIL), id="mapped user is a guest"),
        pytest.param("deleted@example.com", "alex@example.com", ("A", Rule.EMAIL), id="mapped user was deleted"),
        pytest.param("", "Alex@Example.COM", ("A", Rule.EMAIL), id="property in capitals"),
        # 3. Neither: nobody, and why.
        pytest.param("gone@example.com", "left@example.com", Cause.NO_USER, id="both are nobody's"),
        pytest.param("gone@example.com", "", Cause.NO_USER, id="mapped is nobody's, no property"),
        pytest.param("", "left@example.com", Cause.NO_USER, id="property is nobody's"),
        pytest.param("gone@example.com", "deleted@example.com", Cause.SOFT_DELETED, id="the cause that says most"),
        pytest.param("unlicensed@example.com", "", Cause.UNLICENSED, id="mapped user has no licence"),
        pytest.param("", "guest@example.com", Cause.GUEST, id="property is a guest's"),
        pytest.param("", "", Cause.NO_ADDRESS, id="nothing"),
        pytest.param("", "not an address", Cause.NO_ADDRESS, id="property is no address"),
        pytest.param("", "\u212aim@example.com", Cause.NO_ADDRESS, id="property that only looks like Kim's"),
        pytest.param("", "nan", Cause.NO_ADDRESS, id="property is a word"),
    ],
)
def test_the_rules_in_their_order(mapped: str, captured: str, outcome: tuple[str, Rule] | Cause) -> None:
    phones = book(f"{ALEX},{mapped}") if mapped else book()

    decisions = decided([[("07700 900321", captured, True)]], phones, DIRECTORY)

    if isinstance(outcome, Cause):
        assert (deliveries_of(decisions), parked_of(decisions)) == ({}, {0: outcome})
    else:
        mailbox, rule = outcome
        assert (deliveries_of(decisions), parked_of(decisions)) == ({(0, mailbox): rule}, {})


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        pytest.param("2026-05-31T23:59:59.999", "A", id="before it changed hands"),
        pytest.param("2026-06-01T00:00", Cause.NO_ROW_THEN, id="in nobody's hands, from the very midnight"),
        pytest.param("2026-06-30T23:59:59.999", Cause.NO_ROW_THEN, id="in nobody's hands, to the last moment"),
        pytest.param("2026-07-01T00:00", "K", id="after it changed hands"),
        pytest.param("2030-01-01T00:00", "K", id="without an end"),
        pytest.param("1990-01-01T00:00", "A", id="without a beginning"),
    ],
)
def test_a_number_that_changes_hands_is_whose_it_was_when_the_item_was_sent(sent: str, outcome: str | Cause) -> None:
    phones = book(f"{ALEX},alex@example.com,,2026-06-01", f"{ALEX},kim@example.com,2026-07-01,")

    decisions = decided([[(ALEX, "", True)]], phones, DIRECTORY, sent=[at(sent)])

    if isinstance(outcome, Cause):
        assert parked_of(decisions) == {0: outcome}
    else:
        assert deliveries_of(decisions) == {(0, outcome): Rule.MAPPING}


def test_a_row_that_is_not_valid_then_leaves_the_e_mail_property_to_decide() -> None:
    phones = book(f"{ALEX},kim@example.com,2026-07-01,")

    decisions = decided([[(ALEX, "alex@example.com", True)]], phones, DIRECTORY, sent=[at("2026-06-30T12:00")])

    assert deliveries_of(decisions) == {(0, "A"): Rule.EMAIL}


def test_a_delivery_names_the_row_that_decided() -> None:
    phones = book(
        f"{KIM},kim@example.com", f"{ALEX},alex@example.com,,2026-06-01", f"{ALEX},kim@example.com,2026-06-01,"
    )

    decisions = decided([[(ALEX, "", True)], [(ALEX, "", True)]], phones, DIRECTORY, sent=[0, at("2026-06-01")])

    lines = phones.rows["line"].iloc[decisions.deliveries["book_row"]].tolist()
    assert lines == [3, 4]


def test_everyone_who_took_part_and_maps_gets_a_copy() -> None:
    items = [
        [(ALEX, "", False), (KIM, "", True), (LEE, "lee@example.org", True)],
        [("60777", "", False), (ALEX, "", True)],
    ]

    decisions = decided(items, book(f"{ALEX},alex@example.com", f"{KIM},kim@example.com"), DIRECTORY)

    assert deliveries_of(decisions) == {(0, "A"): Rule.MAPPING, (0, "K"): Rule.MAPPING, (1, "A"): Rule.MAPPING}
    assert parked_of(decisions) == {}


def test_two_participants_of_one_mailbox_get_one_copy_by_the_stronger_rule() -> None:
    items = [[(KIM, "awilber@example.com", False), (ALEX, "", True)]]

    decisions = decided(items, book(f"{ALEX},alex@example.com"), DIRECTORY)

    assert deliveries_of(decisions) == {(0, "A"): Rule.MAPPING}


def test_no_items_are_no_decisions() -> None:
    decisions = decided([], book(), DIRECTORY)

    assert (deliveries_of(decisions), parked_of(decisions), len(decisions.waiting)) == ({}, {}, 0)


def test_a_short_code_is_nobodys_number() -> None:
    decisions = decided([[("60777", "", True)]], book("+447700960777,kim@example.com"), DIRECTORY)

    assert (deliveries_of(decisions), parked_of(decisions)) == ({}, {0: Cause.NO_ADDRESS})


def test_the_directory_is_asked_for_every_address_once_and_for_no_row_that_nobody_met() -> None:
    items = [[(ALEX, "Alex@example.com", True)], [(ALEX, "alex@example.com", True), (KIM, "none", False)]]

    candidates = candidates_of(items, book(f"{ALEX},awilber@example.com", f"{LEE},lee@example.com"))

    assert candidates.addresses() == {"alex@example.com", "awilber@example.com"}


# The last rules, where they are switched on


def test_the_directorys_number_decides_where_neither_file_nor_property_do() -> None:
    items = [[(ALEX, "", True)], [(KIM, "alex@example.com", True)], [(LEE, "", True)]]

    decisions = decided(items, book(), DIRECTORY, by_number={ALEX: "A", KIM: "K", LEE: Cause.SEVERAL_HOLDERS})

    assert deliveries_of(decisions) == {(0, "A"): Rule.DIRECTORY, (1, "A"): Rule.EMAIL}
    assert parked_of(decisions) == {2: Cause.SEVERAL_HOLDERS}


def test_the_catch_all_mailbox_gets_what_nobody_gets_and_nothing_else() -> None:
    items = [[(ALEX, "", True)], [(KIM, "", True)], [(LEE, "left@example.com", True), (ALEX, "", False)]]

    decisions = decided(items, book(f"{KIM},kim@example.com"), DIRECTORY, catch_all="C")

    assert deliveries_of(decisions) == {(0, "C"): Rule.CATCH_ALL, (1, "K"): Rule.MAPPING, (2, "C"): Rule.CATCH_ALL}
    assert parked_of(decisions) == {}
    assert waiting_of(decisions, items) == {0: [ALEX], 2: [LEE, ALEX]}


# For whom an item waits


@pytest.mark.parametrize(
    ("item", "whom"),
    [
        pytest.param([(ALEX, "", True), (LEE, "", False)], [], id="what went out waits for nobody at the far end"),
        pytest.param([(ALEX, "", False), (LEE, "", True)], [LEE], id="who received what came in is ours"),
        pytest.param([(LEE, "", True), (ALEX, "", False)], [LEE], id="who sent what went out is ours"),
        pytest.param(
            [(ALEX, "", True), (LEE, "lee@example.com", False)], [LEE], id="who has an e-mail property is ours"
        ),
        pytest.param([(ALEX, "", True), (KIM, "", False)], [KIM], id="who has a mapping row is ours"),
        pytest.param(
            [(LEE, "", False), (ALEX, "", True), ("60777", "", True)], [], id="a group's other members may be anybody"
        ),
        pytest.param(
            [(ALEX, "", False), (LEE, "", True), ("60777", "", True)],
            [LEE, "60777"],
            id="a group of which nobody is served",
        ),
        pytest.param(
            [(LEE, "", False), ("60777", "", True)], [LEE, "60777"], id="what nobody gets waits for everybody"
        ),
    ],
)
def test_an_item_waits_for_those_of_the_organisation_who_have_no_mailbox(item: list[Person], whom: list[str]) -> None:
    phones = book(f"{ALEX},alex@example.com", f"{KIM},gone@example.com")

    decisions = decided([item], phones, DIRECTORY)

    assert waiting_of(decisions, [item]) == ({0: whom} if whom else {})


# The model: slow, obvious, a participant at a time

phones_written = st.sampled_from(["07700 900321", ALEX, "447700900456", KIM, "0044 7700 900789", "60777", "O2UK", "NA"])
addresses_written = st.sampled_from(["alex@example.com", "kim@example.com", "lee@example.org", "gone@example.com"])
emails_written = addresses_written | st.sampled_from(["", "nan", "x@", "ALEX@EXAMPLE.COM", "\u212aim@example.com"])
entries = st.sampled_from(["A", "B", "C", Cause.GUEST, Cause.NO_USER, Cause.SOFT_DELETED, Cause.DISABLED])
midnights = st.sampled_from(["2026-01-01", "2026-03-29", "2026-03-30", "2026-06-01", "2026-10-25"])
moments = midnights.map(at).flatmap(lambda moment: st.sampled_from([moment - 1, moment, moment + 1]))


@st.composite
def histories(draw: st.DrawFn) -> dict[str, list[tuple[str | None, str | None, str]]]:
    """Draw for some numbers who had them from when to when, without contradiction."""
    found = {}
    for number in draw(st.sets(st.sampled_from([ALEX, KIM, LEE]))):
        ends = sorted(draw(st.sets(midnights, max_size=3)))
        spans = list(zip([None, *ends], [*ends, None], strict=True))
        kept = [span for span in spans if draw(st.booleans())] or spans[:1]
        found[number] = [(begin, end, draw(addresses_written)) for begin, end in kept]
    return found


@settings(max_examples=1000, deadline=None)
@given(
    histories(),
    st.lists(
        st.tuples(moments, st.lists(st.tuples(phones_written, emails_written, st.booleans()), min_size=1, max_size=4)),
        max_size=5,
    ),
    st.dictionaries(addresses_written, entries),
    st.dictionaries(st.sampled_from([ALEX, KIM, LEE]), entries),
    st.none() | st.sampled_from("AZ"),
)
def test_a_thousand_random_mappings_decide_as_the_slow_and_obvious_way_does(
    history: dict[str, list[tuple[str | None, str | None, str]]],
    drawn: list[tuple[int, list[Person]]],
    directory: dict[str, str | Cause],
    by_number: dict[str, str | Cause],
    catch_all: str | None,
) -> None:
    phones = book(
        *(f"{number},{box},{begin or ''},{end or ''}" for number, rows in history.items() for begin, end, box in rows)
    )
    items = [people for _, people in drawn]
    expected: dict[tuple[int, str], Rule] = {}
    parked: dict[int, Cause] = {}
    for row, (sent, people) in enumerate(drawn):
        causes = []
        for phone, email, _ in people:
            mailbox, rule, why = the_slow_way(phone, email, sent, history, directory, by_number)
            if mailbox is None:
                causes.append(why)
            elif list(Rule).index(expected.get((row, mailbox), Rule.CATCH_ALL)) > list(Rule).index(rule):
                expected[row, mailbox] = rule
        if not any(at_row == row for at_row, _ in expected):
            if catch_all:
                expected[row, catch_all] = Rule.CATCH_ALL
            else:
                parked[row] = min(causes, key=CAUSES.index)

    decisions = decided(
        items, phones, directory, sent=[sent for sent, _ in drawn], by_number=by_number, catch_all=catch_all
    )

    assert deliveries_of(decisions) == expected
    assert parked_of(decisions) == parked


def the_slow_way(
    phone: str,
    email: str,
    sent: int,
    history: Mapping[str, Sequence[tuple[str | None, str | None, str]]],
    directory: Mapping[str, str | Cause],
    by_number: Mapping[str, str | Cause],
) -> tuple[str | None, Rule, Cause]:
    """Go from rule to rule; where none decides, tell the cause that says most."""
    number = normalise(phone, "GB")
    causes = [Cause.NO_ADDRESS]
    asked: list[tuple[Rule, str | Cause]] = []
    if number in history:
        causes.append(Cause.NO_ROW_THEN)
        for begin, end, box in history[number]:
            if (begin is None or at(begin) <= sent) and (end is None or sent < at(end)):
                asked.append((Rule.MAPPING, directory.get(box, Cause.NO_USER)))
                causes.remove(Cause.NO_ROW_THEN)
    if is_smtp_address(email):
        asked.append((Rule.EMAIL, directory.get(email.lower(), Cause.NO_USER)))
    if number in by_number:
        asked.append((Rule.DIRECTORY, by_number[number]))
    for rule, said in asked:
        if not isinstance(said, Cause):
            return said, rule, Cause.NO_ADDRESS
        causes.append(said)
    return None, Rule.CATCH_ALL, min(causes, key=CAUSES.index)


# What whoever keeps the files must be told


def test_a_row_that_leads_to_no_mailbox_is_told_with_the_cause_once_somebody_met_it() -> None:
    phones = book(f"{ALEX},gone@example.com", f"{KIM},guest@example.com", f"{LEE},gone@example.com")
    candidates = candidates_of([[(ALEX, "", True)], [(KIM, "alex@example.com", True)]], phones)

    told = list(rows_without_mailbox(candidates, known({**DIRECTORY, "gone@example.com": Cause.NO_USER})))

    assert told == [("a.csv", 2, Cause.NO_USER), ("a.csv", 3, Cause.GUEST)]


def test_a_row_whose_number_the_directory_has_at_another_user_is_told() -> None:
    phones = book(f"{ALEX},alex@example.com", f"{KIM},kim@example.com")
    candidates = candidates_of([[(ALEX, "", True), (KIM, "", False)]], phones)
    directory = known(DIRECTORY)
    for address, numbers in (
        ("alex@example.com", ("+447700900999",)),
        ("kim@example.com", (KIM, ALEX)),
    ):
        entry = directory[address]
        directory[address] = type(entry)(address=address, mailbox=entry.mailbox, phones=numbers, asked=0)

    assert list(rows_of_another(candidates, directory)) == [("a.csv", 2)]


def test_no_files_are_an_empty_book() -> None:
    phones = read_phone_book([("a.csv", HEAD.encode())], "GB", ZONE)

    assert deliveries_of(decided([[(ALEX, "alex@example.com", True)]], phones, DIRECTORY)) == {(0, "A"): Rule.EMAIL}
