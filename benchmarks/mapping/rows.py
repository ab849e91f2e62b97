"""The row-by-row ways of the same decision: loops over dictionaries, and pandas' `apply` with a function a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
import phonenumbers

from benchmarks.mapping.step import ZONE
from o2_connector.core.outcomes import Rule
from o2_connector.core.parties import is_smtp_address
from o2_connector.core.phone_book import ALWAYS, FOREVER
from o2_connector.core.phones import normalise

Periods = Mapping[str, Sequence[tuple[int, int, str]]]
"""By number: begin, end, address."""

Delivery = tuple[int, str, Rule]
Normalise = Callable[[str], str | None]


def quick(phone: str) -> str | None:
    """Normalise a number by the connector's own function."""
    return normalise(phone, "GB")


def library(phone: str) -> str | None:
    """Normalise a number as one does with phonenumbers, the library that the connector's function agrees with."""
    try:
        number = phonenumbers.parse(phone, "GB")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def periods_in(folder: Path, number_of: Normalise) -> Periods:
    """Read the mapping files row after row."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as text:
            for row in csv.DictReader(text):
                number, address = number_of(row["ExternalUserId"]), row["O365UserMailbox"]
                if number and is_smtp_address(address):
                    begin, end = _moment(row["ValidFrom"], ALWAYS), _moment(row["ValidTo"], FOREVER)
                    found.setdefault(number, []).append((begin, end, address.lower()))
    return found


def looped(
    table: bytes, sent: Sequence[int], periods: Periods, directory: Mapping[str, str], number_of: Normalise
) -> set[Delivery]:
    """Decide row after row, as one writes it without pandas."""
    rows = ((int(row["row"]), row["phone"], row["email"]) for row in csv.DictReader(io.StringIO(table.decode())))
    return _strongest(
        (row, *_decide(number_of(phone), email, sent[row], periods, directory)) for row, phone, email in rows
    )


def applied(
    table: bytes, sent: Sequence[int], periods: Periods, directory: Mapping[str, str], number_of: Normalise
) -> set[Delivery]:
    """Decide row after row, as one writes it with pandas."""
    frame = pd.read_csv(io.BytesIO(table), dtype={"phone": str, "email": str}, keep_default_na=False)

    def decide(row: pd.Series) -> tuple[str | None, Rule]:
        return _decide(number_of(row["phone"]), row["email"], sent[row["row"]], periods, directory)

    decided = frame.apply(decide, axis=1)
    return _strongest((row, *each) for row, each in zip(frame["row"].tolist(), decided.tolist(), strict=True))


def _decide(
    number: str | None, email: str, sent: int, periods: Periods, directory: Mapping[str, str]
) -> tuple[str | None, Rule]:
    for begin, end, address in periods.get(number, ()) if number else ():
        if begin <= sent < end and address in directory:
            return directory[address], Rule.MAPPING
    if is_smtp_address(email):
        return directory.get(email.lower()), Rule.EMAIL
    return None, Rule.EMAIL


def _strongest(rows: Iterator[tuple[int, str | None, Rule]]) -> set[Delivery]:
    found: dict[tuple[int, str], Rule] = {}
    for row, mailbox, rule in rows:
        if mailbox is not None and found.get((row, mailbox)) is not Rule.MAPPING:
            found[row, mailbox] = rule
    return {(row, mailbox, rule) for (row, mailbox), rule in found.items()}


def _moment(day: str, otherwise: int) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=ZONE).timestamp() * 1000) if day else otherwise
