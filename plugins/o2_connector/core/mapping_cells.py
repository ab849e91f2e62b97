"""Mapping cells: a number, an address or a day as people, spreadsheets and contact apps leave it in a cell.

A cell is either read, where it can have been one thing only, or has a fault, which names what was done to it. A fault
holds no address, and of a number the last three digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from o2_connector.core.parties import is_smtp_address
from o2_connector.core.phones import E164, masked, normalise


class Fault(NamedTuple):
    """Say what is wrong with a cell or a file, and what to do about it."""

    what: str
    remedy: str


SAVE_AS = "open it in Excel and save it as “CSV UTF-8 (Comma delimited)”"

# Come along when a number is copied from a contact app or a web page: no width, or the direction of the text.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_WIDTHS = re.compile("[\u2000-\u200a\u202f\u205f\u3000]")  # blanks that no telephone number is written with
_QUOTES = '"\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019'
_FORMULA = re.compile(r'="([^"]*)"')
_SCHEME = re.compile(r"(tel|mailto|smtp):", re.IGNORECASE)

_EMPTY = re.compile("")
_FORMULA_FAILED = re.compile(
    r"#(REF!|N/A|VALUE!|NAME\?|DIV/0!|NULL!|NUM!|SPILL!|CALC!|FIELD!|BLOCKED!|GETTING_DATA)", re.IGNORECASE
)
_TOO_NARROW = re.compile("#+")
_IS_FORMULA = re.compile("=.*", re.DOTALL)
_NARROW = "a spreadsheet's column was too narrow to show it"
_AS_TEXT = "in Excel, format the column as Text before you enter or paste"
_LIKE_NUMBER = "write it like +447700900123"
_LIKE_ADDRESS = "write it like alex@example.com"
_LIKE_DAY = "write it like 2026-11-01"

_SUBSCRIBER = r"\+?[0-9][0-9 ()./-]{5,}[0-9]"
# What a cell is in place of a number, an address, a day: the first that fits it all is told.
_NO_NUMBER = (
    (_EMPTY, Fault("the cell is empty", f"{_LIKE_NUMBER}, or remove the row")),
    (_FORMULA_FAILED, Fault("a formula failed here", f"mend it in the spreadsheet, or {_LIKE_NUMBER}")),
    (_TOO_NARROW, Fault(_NARROW, "widen the column, and save the file again")),
    (
        re.compile(r"[+-]?[0-9]+([.,][0-9]*)?E\+?[0-9]+", re.IGNORECASE),
        Fault(
            "a spreadsheet rounded the number, as in 4.47E+11, and its digits are lost",
            f"{_AS_TEXT}; enter the number again, from where it came",
        ),
    ),
    (
        re.compile(r"\+?[0-9]{7,}[.,][0-9]*"),
        Fault("a spreadsheet or a program made a decimal of the number", f"{_LIKE_NUMBER}; {_AS_TEXT}"),
    ),
    (
        re.compile(r"[0-9]{1,3}(,[0-9]{3})+"),
        Fault("a spreadsheet put separators of thousands into the number", f"{_LIKE_NUMBER}; {_AS_TEXT}"),
    ),
    (_IS_FORMULA, Fault("the cell is a formula", f"{_LIKE_NUMBER}; {_AS_TEXT}")),
    (
        re.compile(r"[0-9]{1,2}/[0-9]{1,2}/([0-9]{4}|[0-9]{2})"),
        Fault("this is a date", "see whether columns are swapped"),
    ),
    (
        re.compile(rf"{_SUBSCRIBER}\s*[;,|/&\n]\s*({_SUBSCRIBER}|[0-9]{{1,3}}$).*|\+[0-9 ]+\+.*", re.DOTALL),
        Fault("the cell has more than one number", "give each number a row of its own"),
    ),
    (
        re.compile(r".*[0-9)]\s*(;\s*ext\s*=|,?\s*(ext(ension|n)?\.?|x|#)\s*)[0-9]+\s*", re.IGNORECASE),
        Fault("the number has an extension", "write the number without it"),
    ),
    (re.compile(".*@.*", re.DOTALL), Fault("the cell has an address", "see whether the columns are swapped")),
    (
        re.compile(r".*[^\W\d_].*", re.DOTALL),
        Fault("this is a name or a word, and no subscriber's number", f"{_LIKE_NUMBER}, or remove the row"),
    ),
    (
        re.compile(r"\+?([0-9][ -]*){1,6}"),
        Fault("this is a short code, and no subscriber's number", f"{_LIKE_NUMBER}, or remove the row"),
    ),
    (re.compile(".*", re.DOTALL), Fault("this is no subscriber's number", _LIKE_NUMBER)),
)
_NO_ADDRESS = (
    (_EMPTY, Fault("the cell is empty", f"{_LIKE_ADDRESS}, or remove the row")),
    (_FORMULA_FAILED, Fault("a formula failed here", f"mend it in the spreadsheet, or {_LIKE_ADDRESS}")),
    (_TOO_NARROW, Fault(_NARROW, "widen the column, and save the file again")),
    (
        re.compile("/o=.*", re.IGNORECASE | re.DOTALL),
        Fault("this is Exchange's internal address of the mailbox", _LIKE_ADDRESS),
    ),
    (
        re.compile(".*@.*@.*", re.DOTALL),
        Fault("the cell has more than one address", "keep the one that gets the copies"),
    ),
    (
        re.compile(".*<.*@.*>.*", re.DOTALL),
        Fault("the cell has a name beside the address", f"{_LIKE_ADDRESS}, without the name"),
    ),
    (re.compile("['=].*@.*", re.DOTALL), Fault("the cell begins with a sign of a spreadsheet's", _LIKE_ADDRESS)),
    (re.compile(_SUBSCRIBER), Fault("the cell has a number", "see whether the columns are swapped")),
    (re.compile(r".*\s.*@.*|.*@.*\s.*", re.DOTALL), Fault("the address has a blank in it", _LIKE_ADDRESS)),
    (
        re.compile(r".*[^\x00-\x7f].*", re.DOTALL),
        Fault("this has a character that no mailbox's address has, however alike it looks", "type the address anew"),
    ),
    (re.compile(".*", re.DOTALL), Fault("this is no e-mail address", _LIKE_ADDRESS)),
)
_NO_DAY = (
    (_FORMULA_FAILED, Fault("a formula failed here", f"mend it in the spreadsheet, or {_LIKE_DAY}")),
    (_TOO_NARROW, Fault(_NARROW, "widen the column, and save the file again")),
    (
        re.compile(r"[0-9]{1,2}([/. -])[0-9]{1,2}\1([0-9]{4}|[0-9]{2})(\s.*)?"),
        Fault(
            "this date is ambiguous: some read the day first, some the month",
            f"{_LIKE_DAY}; in Excel, give the column the custom format yyyy-mm-dd and save the file again",
        ),
    ),
    (
        re.compile(r"[0-9]{5}([.,][0-9]+)?"),
        Fault(
            "this is a spreadsheet's count of days, and no date",
            f"{_LIKE_DAY}; in Excel, give the column the custom format yyyy-mm-dd and save the file again",
        ),
    ),
    (
        re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ].*"),
        Fault("this has a time of day, and a period begins and ends at midnight", _LIKE_DAY),
    ),
    (re.compile(".*", re.DOTALL), Fault("this is no date", f"{_LIKE_DAY}, or leave it empty")),
)
# Digits enough for a number, which nobody would take for one: a date, or two numbers that end differently.
_NOT_ONE = re.compile(r"\s*([0-9]{1,2}/[0-9]{1,2}/([0-9]{4}|[0-9]{2})|.*[0-9] ?/ ?[0-9]{1,3})\s*")
_JUDGED = 300  # characters; whatever a longer cell is, it is none of what it should be
_LAST_DIGITS = re.compile(r"[0-9]{3}\Z")
_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})([T ]00:00(:00(\.0+)?)?)?")


def number_of(cell: str, region: str) -> E164 | Fault:
    """Return the subscriber's number in a cell."""
    phone = cell
    number = normalise(cell, region)
    if number is None:
        phone = cleaned(cell).strip("'")
        number = normalise(phone, region)
    if number is not None and not ("/" in phone and _NOT_ONE.fullmatch(phone)):
        return number
    fault = _fault_of(phone, _NO_NUMBER)
    return Fault(f"{fault.what} ({masked(phone)})", fault.remedy) if _LAST_DIGITS.search(phone) else fault


def mailbox_of(cell: str) -> str | Fault:
    """Return the address in a cell, in lower case."""
    if _is_address(cell):
        return cell.lower()
    address = _unquoted(cleaned(cell))
    return address.lower() if _is_address(address) else _fault_of(address, _NO_ADDRESS)


def midnight_of(cell: str, zone: ZoneInfo) -> int | Fault | None:
    """Return the instant at which a day begins, in milliseconds since 1970; None where the cell is empty."""
    text = cleaned(cell).strip("'")
    if not text:
        return None
    found = _DAY.fullmatch(text)
    if not found:
        return _fault_of(text, _NO_DAY)
    year, month, day = map(int, found.group(1, 2, 3))
    try:
        # Where midnight is skipped or comes twice, fold 0 is the first instant of the day.
        return round(datetime(year, month, day, tzinfo=zone).timestamp()) * 1000
    except ValueError:
        return Fault("the calendar has no such day", _LIKE_DAY)


def _fault_of(text: str, faults: Iterable[tuple[re.Pattern[str], Fault]]) -> Fault:
    """Return the first fault whose pattern fits; the last one's fits anything."""
    return next(fault for pattern, fault in faults if pattern.fullmatch(text[:_JUDGED]))


def bare(cell: str) -> str:
    """Return a cell without what cannot be seen, with plain blanks, and with none around it."""
    return cell.strip() if cell.isascii() else _WIDTHS.sub(" ", _UNSEEN.sub("", cell)).strip()


def cleaned(cell: str) -> str:
    """Return a cell without what spreadsheets, mail programs and contact apps put around numbers and addresses."""
    text = bare(cell)
    if formula := _FORMULA.fullmatch(text):
        text = formula[1]
    return _SCHEME.sub("", text.strip(_QUOTES).strip(), count=1).strip()


def _is_address(text: str) -> bool:
    # An apostrophe and an equals sign may begin an address (RFC 5321), but a spreadsheet's are not part of it.
    return is_smtp_address(text) and text[0] not in "'="


def _unquoted(address: str) -> str:
    return address[1:-1] if address[:1] == "'" == address[-1:] else address
