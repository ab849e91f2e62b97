"""A number has one spelling, and nothing becomes a number that it is not."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from o2_connector.core.errors import StopError
from o2_connector.core.phones import _parsed, masked, normalise, normalise_each

ALEX = "+447700900123"
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
COUNTRY_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
# What most numbers are written like.
PLAIN = [
    "+447700900123",
    "447700900123",
    "07700 900123",
    "07700900123",
    "0044 7700 900123",
    "+44 7700 900123",
    "+44 (0)7700 900123",
]


@pytest.fixture
def parsings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the library is asked to parse from now on."""
    parse, asked = phonenumbers.parse, []

    def noted(phone: str, region: str) -> phonenumbers.PhoneNumber:
        asked.append(phone)
        return parse(phone, region)

    monkeypatch.setattr(phonenumbers, "parse", noted)
    _parsed.cache_clear()
    return asked


def forms(number: phonenumbers.PhoneNumber, region: str) -> Iterator[str]:
    """Yield the ways that a number is written in, seen from a region."""
    code, national = number.country_code, phonenumbers.national_significant_number(number)
    trunk = PhoneMetadata.metadata_for_region(region).national_prefix or "0"
    yield phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    yield phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    yield phonenumbers.format_out_of_country_calling_number(number, region)
    yield f"+{code}{national}"
    yield f"{code}{national}"
    yield f"00{code}{national}"
    yield f"+{code} ({trunk}){national}"
    yield f"{code}{trunk}{national}"
    yield f"{trunk}{national}"
    yield national


def alterations(written: str, chance: random.Random) -> Iterator[str]:
    """Yield a spelling, and others that differ from it by a digit."""
    place = chance.randrange(len(written))
    yield written
    yield written + digits(chance, 1)
    yield written[:-1]
    yield f"0{written}"
    yield written[:place] + digits(chance, 1) + written[place + 1 :]


def digits(chance: random.Random, count: int) -> str:
    """Return so many digits."""
    return "".join(chance.choices("0123456789", k=count))


@pytest.mark.parametrize(
    "written",
    [
        "+447700900123",
        "447700900123",
        "00447700900123",
        "07700900123",
        "7700900123",  # Excel drops the nought
        "07700 900123",
        "07700-900-123",
        "(07700) 900 123",
        "07700.900.123",
        "+44 7700 900123",
        "+44 (0)7700 900123",
        "+44 07700 900123",
        "0044 (0) 7700 900123",
        "(+44) 7700 900123",
        "44 7700 900 123",
        "\t+44\u00a07700\u2011900123\r\n",
        "٠٧٧٠٠٩٠٠١٢٣",
    ],
)
def test_every_spelling_of_a_number_is_the_same_number(written: str) -> None:
    assert normalise(written, "GB") == ALEX


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("020 7946 0000", "+442079460000"),
        ("+1 202 555 0123", "+12025550123"),
        ("0012025550123", "+12025550123"),
        ("+39 (0)6 1234 5678", "+390612345678"),  # Italy keeps its nought
        ("33612345678", "+33612345678"),  # too long for a British number
    ],
)
def test_other_numbers_are_themselves(written: str, number: str) -> None:
    assert normalise(written, "GB") == number


def test_a_national_number_belongs_to_the_region() -> None:
    assert normalise("06 12 34 56 00", "FR") == "+33612345600"
    assert normalise("06.12.34.56.00", "FR") == "+33612345600"


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("60777", id="short code"),
        pytest.param("118118", id="short code of six"),
        pytest.param("999", id="emergency"),
        pytest.param("+60777", id="short code with a plus"),
        pytest.param("O2UK", id="alphanumeric"),
        pytest.param("M&S 0770 0900123", id="alphanumeric with a number in it"),
        pytest.param("", id="nothing"),
        pytest.param(" ", id="space"),
        pytest.param("+", id="plus"),
        pytest.param("Anonymous", id="withheld in words"),
        pytest.param("0", id="withheld as nought"),
        pytest.param("00000000", id="withheld as noughts"),
        pytest.param("-1", id="withheld as minus one"),
        pytest.param("4.47701E+11", id="Excel's scientific notation"),
        pytest.param("4,47701E+11", id="Excel's scientific notation with a comma"),
        pytest.param("7700900123.0", id="a decimal, else a number in Kazakhstan"),
        pytest.param("7700900123.5", id="a decimal with a fraction"),
        pytest.param("447700900123.0", id="a decimal with the country"),
        pytest.param("7,700,900,123", id="thousands"),
        pytest.param("#########", id="too narrow a column"),
        pytest.param("7700900123 1", id="a digit too many"),
        pytest.param("7700900123/1", id="an extension"),
        pytest.param("07700 900123 (2)", id="a second phone"),
        pytest.param("07700 900123 x4", id="an extension in letters"),
        pytest.param("07700 900123 / 07700 900124", id="two numbers"),
        pytest.param("+447700900123;+447700900124", id="two numbers with a semicolon"),
        pytest.param("+447700900123+447700900124", id="two numbers run together"),
        pytest.param("290 4123 5", id="a local number, else one in St Helena"),
        pytest.param("+4477009001234", id="too long"),
        pytest.param("+44770090", id="too short"),
        pytest.param("alex@example.com", id="an address"),
        pytest.param("1" * 5000, id="endless"),
        pytest.param("0" * 5000, id="endless noughts"),
        pytest.param("07700" + " " * 250 + "900123", id="two ends of a line"),
        pytest.param("20000000000", id="a country and noughts"),
    ],
)
def test_what_is_no_subscribers_number_is_none(written: str) -> None:
    assert normalise(written, "GB") is None


@given(st.text(st.sampled_from("0123456789+ ().-/\u2011\u00a0"), max_size=22))
def test_no_digit_is_added_dropped_or_moved(written: str) -> None:
    number = normalise(written, "GB")

    if number is not None:
        parsed = phonenumbers.parse(number)
        digits = re.sub(r"\D", "", written)
        before, subscriber, after = digits.rpartition(str(parsed.national_number))
        assert subscriber
        assert not after
        # What stands before the subscriber: noughts that say "long distance" or "abroad", and the country.
        country = str(parsed.country_code).strip("0")  # Egypt's is 20
        assert before.strip("0") in ({"", "44"} if parsed.country_code == 44 else {country})


@given(st.text(max_size=30))
def test_a_number_is_the_number_of_itself(written: str) -> None:
    number = normalise(written, "GB")

    assert number is None or normalise(number, "GB") == number


@pytest.mark.parametrize("region", REGIONS)
def test_a_number_of_any_region_is_read_as_the_library_reads_it(region: str) -> None:
    chance = random.Random(region)
    examples = [
        number for kind in PhoneNumberType.values() if (number := phonenumbers.example_number_for_type(region, kind))
    ]
    cases = [
        (altered, home)
        for number in examples
        for written in forms(number, region)
        for altered in alterations(written, chance)
        for home in (region, "GB", chance.choice(REGIONS))
    ]

    assert examples
    assert [case for case in cases if normalise(*case) != _parsed(*case)] == []


@pytest.mark.parametrize(
    "code", [code for code in COUNTRY_CODES if phonenumbers.example_number_for_non_geo_entity(code)]
)
def test_a_number_of_no_region_is_read_as_the_library_reads_it(code: int) -> None:
    chance = random.Random(code)
    number = phonenumbers.example_number_for_non_geo_entity(code)
    cases = [
        (altered, home)
        for home in ("GB", "US", "IT", chance.choice(REGIONS))
        for written in forms(number, home)
        for altered in alterations(written, chance)
    ]

    assert [case for case in cases if normalise(*case) != _parsed(*case)] == []


@settings(max_examples=3000, derandomize=True, deadline=None)
@given(
    abroad=st.sampled_from(["", "", "+", "00", "011", "+0", "810", "++"]),
    code=st.just("") | st.sampled_from(COUNTRY_CODES).map(str),
    trunk=st.sampled_from(["", "0", "(0)", "00", "1", "8"]),
    national=st.text(st.sampled_from("0123456789"), max_size=18)
    | st.text(st.sampled_from("0123456789 ()-./+"), max_size=22),
    region=st.sampled_from(REGIONS),
    is_its_own=st.booleans(),
)
def test_any_digits_are_read_as_the_library_reads_them(
    abroad: str, code: str, trunk: str, national: str, region: str, is_its_own: bool
) -> None:
    if is_its_own:
        code = str(phonenumbers.country_code_for_region(region))

    written = f"{abroad}{code}{trunk}{national}"

    assert normalise(written, region) == _parsed(written, region)


@pytest.mark.parametrize("region", REGIONS)
def test_what_a_region_dials_first_is_read_as_the_library_reads_it(region: str) -> None:
    chance = random.Random(region)
    metadata = PhoneMetadata.metadata_for_region(region)
    # Every run of digits in the rule is something that it may look for at the beginning.
    beginnings = ["", *re.findall(r"[0-9]+", metadata.national_prefix_for_parsing or "")]
    lengths = [*metadata.general_desc.possible_length, *metadata.general_desc.possible_length_local_only]
    code = str(metadata.country_code)
    cases = [
        (
            before + (chance.choice(beginnings) + digits(chance, max(lengths) + 1))[: chance.choice(lengths) + more],
            region,
        )
        for before in ("", code, f"+{code}", f"00{code}", f"{code}0", "0")
        for more in (0, 0, 0, 1, -1, 2)
        for _ in range(4)
    ]

    assert [case for case in cases if normalise(*case) != _parsed(*case)] == []


@pytest.mark.parametrize("written", [*PLAIN, "7700900123", "33612345678", "07700.900.123", "(07700) 900-123"])
def test_a_plain_number_is_read_without_the_parser(written: str, parsings: list[str]) -> None:
    assert normalise(written, "GB") is not None
    assert not parsings


@pytest.mark.parametrize("region", REGIONS)
def test_an_international_number_is_read_without_the_parser(region: str, parsings: list[str]) -> None:
    number = phonenumbers.example_number(region)
    plain = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    spaced = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)

    assert normalise(plain, "GB") == normalise(plain, region) == normalise(spaced, "GB") == plain
    assert not parsings


def test_what_is_not_plain_is_parsed(parsings: list[str]) -> None:
    assert normalise("\t+44\u00a07700\u2011900123", "GB") == ALEX
    assert len(parsings) == 1


def test_many_plain_numbers_are_read_without_the_parser(parsings: list[str]) -> None:
    assert normalise_each(PLAIN, "GB") == [ALEX] * len(PLAIN)
    assert not parsings


def test_many_spellings_are_read_in_their_order() -> None:
    phones = [*PLAIN, "60777", "HMRC", "\t07700 900123", "020 7946 0000"]

    assert normalise_each(phones, "GB") == [ALEX] * len(PLAIN) + [None, None, ALEX, "+442079460000"]
    assert normalise_each(iter(phones), "GB") == [normalise(phone, "GB") for phone in phones]


@pytest.mark.parametrize(
    "written",
    [
        "60777",
        "+60777",
        "118 118",
        "116123",
        "999",
        "112",
        "٩٩٩",
        "O2",
        "M&S",
        "HMRC",
        " O2 UK\n",
        "3",
        "3UK",
        "Vodafone-UK",
        "Private GP",
        "Vodafone GB1",
        "",
        " ",
        "+",
        "0",
        "000",
        "00000000",
        "-1",
        "Anonymous",
        "WITHHELD",
        "unknown",
        "<unknown>",
        "private",
        "Private number",
        "Number withheld",
        "No Caller ID",
        "anonymous@anonymous.invalid",
        "+anonymous@anonymous.invalid",
        "sip:anonymous@anonymous.invalid",
        "alex@example.com",
        "a@b.example",
        "4.47701E+11",
        "60777.0",
        "+4477009001234",
        "07700 900123 x4",
        "*100#",
        "#########",
        "HM\0RC",
    ],
)
def test_a_short_code_a_sender_and_a_withheld_number_are_nobodys(written: str) -> None:
    assert normalise(written, "GB") is None
    assert normalise_each([written], "GB") == [None]


@pytest.mark.parametrize("region", ["UK", "gb", "", "44"])
def test_a_region_that_is_none_stops_instead_of_making_every_number_nobodys(region: str) -> None:
    with pytest.raises(StopError, match="ISO 3166"):
        normalise("07700 900123", region)
    with pytest.raises(StopError, match="ISO 3166"):
        normalise_each([], region)


def test_a_masked_number_cannot_be_dialled() -> None:
    assert masked("+447700900123") == "…123"
    assert masked("999") == "…"
    assert masked("") == "…"
