"""Phone numbers: one spelling for each subscriber, and nothing mistaken for one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NewType

import phonenumbers

from o2_connector.core.errors import StopError

E164 = NewType("E164", str)

_SUBSCRIBER_DIGITS = 7  # Ofcom's short codes have 5 or 6 digits; no subscriber number in the world has fewer than 7
# The digits that people write numbers with: Arabic-Indic, Eastern Arabic-Indic, Devanagari and full-width ones. Not all
# that Unicode has, of which each Python knows more than the one before: a number means the same to all of them.
_DIGITS = {zero + digit: ord("0") + digit for zero in (0x660, 0x6F0, 0x966, 0xFF10) for digit in range(10)}
_DECIMAL = re.compile(r"\s*\+?[0-9]{7,}\.[0-9]*\s*")  # a spreadsheet's: 7700900123.0 is not +7 700 900 1230


@lru_cache(maxsize=1 << 12)
def normalise(phone: str, region: str) -> E164 | None:
    """Return a subscriber's number as E.164, or None for a short code, an alphanumeric sender or a withheld number.

    :param phone: as written anywhere: +44 7700 900123, 0044…, 07700 900123, +44 (0)7700…, 447700900123.
    :param region: ISO 3166 code of the country that a national number belongs to.
    :raises StopError: when there is no such region: every national number would be nobody's.
    """
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise StopError(f"{region!r} is no region of telephone numbers: name the country by ISO 3166, like GB.")
    phone = phone.translate(_DIGITS)
    if re.search(r"[^0-9\s+()./\u2010-\u2015\u00a0-]", phone) or _DECIMAL.fullmatch(phone):
        return None
    digits = re.sub(r"[^0-9]", "", phone)
    if len(digits) < _SUBSCRIBER_DIGITS or set(digits) == {"0"}:
        return None
    number, length = _parse(phone, region)
    # Only a bare run of digits that is too long for this country can be another country's without its plus.
    if length == phonenumbers.ValidationResult.TOO_LONG and phone.strip().isdecimal():
        number, length = _parse(f"+{digits}", region)
    # "Possible", not "valid": numbering plans change faster than libraries do.
    if number is None or not number.national_number or length != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return E164(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def masked(phone: str) -> str:
    """Return a number that a person can recognise in their own file and nobody can dial: all but the last 3 hidden."""
    return "…" + phone[-3:] if len(phone) > 3 else "…"


def _parse(phone: str, region: str) -> tuple[phonenumbers.PhoneNumber | None, int | None]:
    try:
        number = phonenumbers.parse(phone, region)
    except phonenumbers.NumberParseException:
        return None, None
    return number, phonenumbers.is_possible_number_with_reason(number)
