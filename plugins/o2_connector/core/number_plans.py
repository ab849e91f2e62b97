"""Number plans: what `phonenumbers` makes of plain digits, without its parser, which takes twenty times as long.

Each step is the library's own over the library's own metadata (`phonenumberutil.py`: `parse`, what it calls, and
`is_possible_number_with_reason`); what falls away is looking for letters, extensions and other scripts. It answers only
with a number. Where there is none, or a plan rewrites what was dialled, the library has to be asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import cast

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberDesc

from o2_connector.core.errors import StopError

MOST_DIGITS = 17  # that a national number has, for the library; so nothing read here is ever too long for it to parse
_NOTHING = "(?!)"  # matches nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberPlan:
    """Hold how national numbers are written under a country code.

    :param code: the country code's digits.
    :param trunk: what is dialled before a national number within the country.
    :param rewriting: the group of the trunk that, where it is met, rewrites the number; 0 when there is none.
    :param valid: the national numbers that are in use.
    :param possible: how many digits a national number has.
    :param too_long: how many it has not, being more.
    """

    code: str
    trunk: re.Pattern[str]
    rewriting: int
    valid: re.Pattern[str]
    possible: frozenset[int]
    too_long: frozenset[int]

    def without_trunk(self, national: str) -> str | None:
        """Return a national number without its trunk prefix, or None when the plan rewrites it."""
        found = self.trunk.match(national)
        if found is None:
            return national
        if self.rewriting and found[self.rewriting] is not None:
            return None
        rest = national[found.end() :]
        return national if self.valid.fullmatch(national) and not self.valid.fullmatch(rest) else rest

    def settled(self, national: str) -> str | None:
        """Return the same where enough is left without the prefix, else the number as it was: it may be no prefix."""
        rest = self.without_trunk(national)
        return rest if rest is None or len(rest) in self.possible or len(rest) in self.too_long else national

    def e164(self, national: str | None) -> str | None:
        """Return a settled number as E.164 when it is a possible one."""
        if national is None or len(national) not in self.possible or not national.strip("0"):
            return None
        return f"+{self.code}{national}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """Hold how numbers are dialled in a region.

    :param abroad: what is dialled before a country code.
    :param own: the region's plan.
    :param main: the plan that says what is possible under the country code: Guernsey's is Great Britain's.
    """

    abroad: re.Pattern[str]
    own: NumberPlan
    main: NumberPlan

    def dialled(self, digits: str, *, is_bare: bool) -> str | None:
        """Return as E.164 what the region dials.

        :param digits: at most :data:`MOST_DIGITS`.
        :param is_bare: whether they were written as one run. Only then what is too long for the region may be another
            country's without its plus.
        """
        found = self.abroad.match(digits)
        if found:
            return international(digits[found.end() :])
        national = self._with_country(digits) if digits.startswith(self.own.code) else self.own.settled(digits)
        if is_bare and national is not None and len(national) in self.main.too_long:
            return international(digits)
        return self.main.e164(national)

    def _with_country(self, digits: str) -> str | None:
        """Settle digits that begin with the country code, or happen to."""
        own = self.own
        national = own.without_trunk(digits[len(own.code) :])
        if national is None:
            return None
        if len(digits) in own.too_long or (own.valid.fullmatch(national) and not own.valid.fullmatch(digits)):
            return self.main.settled(national)
        return own.settled(digits)


def international(digits: str) -> str | None:
    """Return as E.164 what follows a plus: a country code and a national number, at most :data:`MOST_DIGITS`."""
    plan = _plan_abroad(digits[:3])
    return plan.e164(plan.settled(digits[len(plan.code) :])) if plan is not None else None


@cache
def region_of(code: str) -> Region:
    """Return a region.

    :param code: by ISO 3166.
    :raises StopError: when there is no such region: every national number would be nobody's.
    """
    metadata = PhoneMetadata.metadata_for_region(code) if code in phonenumbers.SUPPORTED_REGIONS else None
    if metadata is None or metadata.country_code is None:
        raise StopError(f"{code!r} is no region of telephone numbers: name the country by ISO 3166, like GB.")
    return Region(
        abroad=re.compile(metadata.international_prefix or _NOTHING),
        own=_plan(metadata, metadata.country_code),
        main=_main_plan(metadata.country_code),
    )


@cache
def _plan_abroad(digits: str) -> NumberPlan | None:
    """Return the plan of the country code that the first three digits of a number begin with."""
    if digits.startswith("0"):
        return None
    codes = (int(digits[:length]) for length in range(1, len(digits) + 1))
    return next((_main_plan(code) for code in codes if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), None)


@cache
def _main_plan(country_code: int) -> NumberPlan:
    region = phonenumbers.region_code_for_country_code(country_code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(country_code, region)
    return _plan(cast("PhoneMetadata", metadata), country_code)  # no country code is without


def _plan(metadata: PhoneMetadata, country_code: int) -> NumberPlan:
    trunk = re.compile(metadata.national_prefix_for_parsing or _NOTHING)
    general = cast("PhoneNumberDesc", metadata.general_desc)  # nor is any metadata without this
    return NumberPlan(
        code=str(country_code),
        trunk=trunk,
        rewriting=trunk.groups if metadata.national_prefix_transform_rule else 0,
        valid=re.compile(general.national_number_pattern or _NOTHING),
        possible=frozenset(general.possible_length),
        too_long=frozenset(range(max(general.possible_length) + 1, MOST_DIGITS + 1)),
    )
