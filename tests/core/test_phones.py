"""A number has one spelling, and nothing becomes a number that it is not."""

from __future__ import annotations

import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2_connector.core.errors import StopError
from o2_connector.core.phones import masked, normalise

ALEX = "+447700900123"


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


@pytest.mark.parametrize("region", ["UK", "gb", "", "44"])
def test_a_region_that_is_none_stops_instead_of_making_every_number_nobodys(region: str) -> None:
    with pytest.raises(StopError, match="ISO 3166"):
        normalise("07700 900123", region)


def test_a_masked_number_cannot_be_dialled() -> None:
    assert masked("+447700900123") == "…123"
    assert masked("999") == "…"
    assert masked("") == "…"
