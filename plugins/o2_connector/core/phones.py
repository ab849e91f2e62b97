"""Phone numbers: one spelling for each subscriber, and nothing mistaken for one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NewType

import phonenumbers

E164 = NewType("E164", str)

_SHORT_CODE_DIGITS = 7  # Ofcom's short codes have 5 or 6 digits; no subscriber number in the world has fewer than 7


@lru_cache(maxsize=1 << 16)
def normalise(phone: str, region: str) -> E164 | None:
    """Return a subscriber's number as E.164, or None for a short code, an alphanumeric sender or a withheld number.

    :param phone: as written anywhere: +44 7700 900123, 0044…, 07700 900123, +44 (0)7700…, 447700900123.
    :param region: ISO 3166 code of the country that a national number belongs to.
    """
    if re.search(r"[^\d\s+()./\u2010-\u2015\u00a0-]", phone):
        return None
    digits = re.sub(r"\D", "", phone)
    if len(digits) < _SHORT_CODE_DIGITS:
        return None
    candidates = [phone] if phone.lstrip().startswith("+") else [phone, f"+{digits}"]
    for candidate in candidates:
        try:
            number = phonenumbers.parse(candidate.replace("(0)", ""), region)
        except phonenumbers.NumberParseException:
            continue
        # "Possible", not "valid": numbering plans change faster than libraries do.
        if phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE:
            return E164(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return None


def masked(phone: str) -> str:
    """Return a number that a person can recognise in their own file and nobody can dial: all but the last 3 hidden."""
    return "…" + phone[-3:] if len(phone) > 3 else "…"
