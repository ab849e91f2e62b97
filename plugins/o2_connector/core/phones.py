"""Phone numbers: one spelling for each subscriber, and nothing mistaken for one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NewType, cast

import phonenumbers

from o2_connector.core.number_plans import MOST_DIGITS, Region, international, region_of

E164 = NewType("E164", str)

_SUBSCRIBER_DIGITS = 7  # Ofcom's short codes have 5 or 6 digits; no subscriber number in the world has fewer than 7
# The digits that people write numbers with: Arabic-Indic, Eastern Arabic-Indic, Devanagari and full-width ones. Not all
# that Unicode has, of which each Python knows more than the one before: a number means the same to all of them.
_DIGITS = {zero + digit: ord("0") + digit for zero in (0x660, 0x6F0, 0x966, 0xFF10) for digit in range(10)}
_DECIMAL = re.compile(r"\s*\+?[0-9]{7,}\.[0-9]*\s*")  # a spreadsheet's: 7700900123.0 is not +7 700 900 1230
# What plain spellings have between their digits. All of ASCII is named: translating is slow where a table has gaps.
_SEPARATORS = {sign: None if chr(sign) in " ()-./" else sign for sign in range(128)}
_PLAIN_LENGTH = 40  # characters; the library refuses more than 250


def normalise(phone: str, region: str) -> E164 | None:
    """Return a subscriber's number as E.164, or None for a short code, an alphanumeric sender or a withheld number.

    :param phone: as written anywhere: +44 7700 900123, 0044…, 07700 900123, +44 (0)7700…, 447700900123.
    :param region: ISO 3166 code of the country that a national number belongs to.
    :raises StopError: when there is no such region: every national number would be nobody's.
    """
    number = _read(phone, region_of(region)) or _parsed(phone, region)
    return E164(number) if number is not None else None


def normalise_each(phones: Iterable[str], region: str) -> list[E164 | None]:
    """Return for each of many spellings what :func:`normalise` says of it.

    :raises StopError: when there is no such region.
    """
    home = region_of(region)
    # Cast as a whole: to call E164 for each takes as long as a step of the reading.
    return cast("list[E164 | None]", [_read(phone, home) or _parsed(phone, region) for phone in phones])


def masked(phone: str) -> str:
    """Return a number that a person can recognise in their own file and nobody can dial: all but the last 3 hidden."""
    return "…" + phone[-3:] if len(phone) > 3 else "…"


def _read(phone: str, home: Region) -> str | None:
    """Return the number of a plain spelling, digits and the commonest signs between; None when it takes the parser."""
    if not phone.isascii() or len(phone) > _PLAIN_LENGTH:
        return None
    signs = phone.replace(" ", "")
    digits = signs.removeprefix("+")
    if not digits.isdigit():
        signs = signs.translate(_SEPARATORS)
        digits = signs.removeprefix("+")
        if not digits.isdigit() or ("." in phone and _DECIMAL.fullmatch(phone)):
            return None
    if not _SUBSCRIBER_DIGITS <= len(digits) <= MOST_DIGITS:
        return None
    if len(digits) < len(signs):
        return international(digits)
    return home.dialled(digits, is_bare=len(digits) == len(phone))


@lru_cache(maxsize=1 << 12)
def _parsed(phone: str, region: str) -> str | None:
    """Return the number of any spelling, as the library's parser has it; only this is dear enough to be remembered."""
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
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _parse(phone: str, region: str) -> tuple[phonenumbers.PhoneNumber | None, int | None]:
    try:
        number = phonenumbers.parse(phone, region)
    except phonenumbers.NumberParseException:
        return None, None
    return number, phonenumbers.is_possible_number_with_reason(number)
