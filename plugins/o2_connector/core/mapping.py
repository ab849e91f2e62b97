"""Mapping: which mailbox, if any, gets a copy of an item, for every participant, beyond doubt.

The order is Microsoft's (docs of the O2 Network connector): the mapping file first; where it names no valid Microsoft
365 user, the *User's Email address* property of the item; where that is none either, the item is not imported. Here it
is parked, by name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from o2_connector.core.errors import StopError
from o2_connector.core.outcomes import Cause, Rule
from o2_connector.core.parties import is_smtp_address
from o2_connector.core.phones import masked, normalise

PHONE_HEADING, MAILBOX_HEADING = "ExternalUserId", "O365UserMailbox"  # Microsoft's own template
_COLUMNS = ["number", "mailbox", "file", "line"]
_MOST_FAULTS = 100  # in one message; the count tells of the rest


@dataclass(frozen=True, kw_only=True, slots=True)
class PhoneBook:
    """Hold all mapping files as one table, one row for each number.

    :param rows: columns ``number`` (E.164), ``mailbox`` (lower case), ``file``, ``line``.
    """

    rows: pd.DataFrame

    def frozen(self) -> bytes:
        """Return the table as canonical CSV: the same rows give the same bytes."""
        return self.rows.to_csv(index=False, lineterminator="\n").encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """Hold who gets what.

    :param deliveries: columns ``row`` (of the item), ``mailbox`` (object id), ``rule``.
    :param parked: columns ``row``, ``cause``.
    """

    deliveries: pd.DataFrame
    parked: pd.DataFrame


def read_phone_book(files: Iterable[tuple[str, bytes]], region: str) -> PhoneBook:
    """Read all mapping files together.

    :param files: names and contents.
    :raises StopError: naming every fault at once, with file, line and remedy, and no number in full.
    """
    faults: list[str] = []
    tables = [_read_file(name, content, region, faults) for name, content in files]
    rows = pd.concat(tables, ignore_index=True) if tables else _no_rows()
    faults.extend(_contradictions(rows))
    if faults:
        shown = "\n".join(faults[:_MOST_FAULTS])
        rest = len(faults) - _MOST_FAULTS
        more = f"\n… and {rest} more" if rest > 0 else ""
        raise StopError(f"The mapping cannot be used; nothing was imported. Mend these and run again:\n{shown}{more}")
    return PhoneBook(rows=rows.drop_duplicates("number").sort_values("number", ignore_index=True))


def with_candidates(participants: pd.DataFrame, book: PhoneBook, region: str) -> pd.DataFrame:
    """Add to each participant the addresses that may be theirs, best first.

    :param participants: columns ``row``, ``phone``, ``email``.
    :returns: the same with ``mapped`` and ``captured``: lower-case addresses, or missing.
    """
    distinct = participants["phone"].unique()
    numbers = {phone: normalise(phone, region) for phone in distinct}
    found = participants["phone"].map(numbers)
    by_number = book.rows.set_index("number")["mailbox"]
    # Checked before it is put in lower case: the Kelvin sign's is a plain "k", and would be another's address.
    email = participants["email"].where(participants["email"].map(is_smtp_address).astype(bool))
    return participants.assign(
        mapped=found.map(by_number).astype("object"), captured=email.str.lower().astype("object")
    )


def addresses(candidates: pd.DataFrame) -> set[str]:
    """Return every address that the directory must be asked for."""
    return {*candidates["mapped"].dropna().unique(), *candidates["captured"].dropna().unique()}


def decide(rows: int, candidates: pd.DataFrame, mailboxes: Mapping[str, str]) -> Decisions:
    """Decide for every item who gets it.

    :param rows: how many items there are; they are numbered from 0.
    :param candidates: from :func:`with_candidates`.
    :param mailboxes: object id by lower-case address, of the mailboxes that exist and can be reached.
    """
    by_mapping = candidates["mapped"].map(mailboxes).astype("object")
    by_email = candidates["captured"].map(mailboxes).astype("object")
    decided = candidates.assign(
        mailbox=by_mapping.where(by_mapping.notna(), by_email),
        rule=by_mapping.notna().map({True: Rule.MAPPING, False: Rule.EMAIL}),
        named=candidates["mapped"].notna() | candidates["captured"].notna(),
    )
    # Two participants may be one mailbox: one delivery, explained by the stronger rule.
    deliveries = (
        decided.dropna(subset=["mailbox"])
        .sort_values(["row", "rule"], key=lambda column: column.eq(Rule.EMAIL) if column.name == "rule" else column)
        .drop_duplicates(["row", "mailbox"])[["row", "mailbox", "rule"]]
        .reset_index(drop=True)
    )
    named = decided.groupby("row")["named"].any().reindex(range(rows), fill_value=False).rename_axis("row")
    parked = named[~named.index.isin(deliveries["row"])]
    causes = parked.map({True: Cause.UNKNOWN_MAILBOX, False: Cause.NO_ADDRESS})
    return Decisions(
        deliveries=deliveries,
        parked=pd.DataFrame({"row": causes.index, "cause": causes.to_numpy()}).sort_values("row", ignore_index=True),
    )


def rows_without_mailbox(
    book: PhoneBook, candidates: pd.DataFrame, mailboxes: Mapping[str, str]
) -> Iterator[tuple[str, int]]:
    """Yield file and line of every row that these participants met and that leads to no mailbox.

    Such a participant falls through to their e-mail property, as Microsoft's connector has it; whoever keeps the file
    must be told, or somebody's copies are missed in silence.
    """
    met = set(candidates["mapped"].dropna().unique()) - set(mailboxes)
    lost = book.rows[book.rows["mailbox"].isin(met)].sort_values(["file", "line"])
    yield from zip(lost["file"].tolist(), lost["line"].tolist(), strict=True)


def _read_file(name: str, content: bytes, region: str, faults: list[str]) -> pd.DataFrame:
    try:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        headings = [heading.strip() for heading in next(lines, [])]
        table = [(lines.line_num, cells) for cells in lines if any(cell.strip() for cell in cells)]
    except (UnicodeDecodeError, csv.Error):
        faults.append(f"{name}: this is no comma-separated text in UTF-8; save it as “CSV UTF-8 (comma delimited)”")
        return _no_rows()
    absent = [heading for heading in (PHONE_HEADING, MAILBOX_HEADING) if heading not in headings]
    if absent:
        faults.append(f"{name}:1: no column {' and '.join(absent)}; the first line must name them, as Microsoft's does")
        return _no_rows()
    twice = [heading for heading in (PHONE_HEADING, MAILBOX_HEADING) if headings.count(heading) > 1]
    if twice:
        faults.append(f"{name}:1: more than one column {' and '.join(twice)}; keep the one that is right")
        return _no_rows()
    phone_at, mailbox_at = headings.index(PHONE_HEADING), headings.index(MAILBOX_HEADING)
    rows = []
    for line, cells in table:
        if len(cells) != len(headings):
            faults.append(
                f"{name}:{line}: {len(cells)} cells under {len(headings)} headings; mend the commas or quotes"
            )
            continue
        phone, mailbox = cells[phone_at].strip(), cells[mailbox_at].strip()
        number = normalise(phone, region)
        if number is None:
            faults.append(
                f"{name}:{line}: {PHONE_HEADING} ({masked(phone)}) is no subscriber's number;"
                " write it like +447700900123"
            )
        if not is_smtp_address(mailbox):
            faults.append(f"{name}:{line}: {MAILBOX_HEADING} is no e-mail address; write it like alex@example.com")
        rows.append((number, mailbox.lower(), name, line))
    return pd.DataFrame(rows, columns=_COLUMNS) if rows else _no_rows()


def _contradictions(rows: pd.DataFrame) -> list[str]:
    distinct = rows.drop_duplicates(["number", "mailbox"])
    twice = distinct[distinct.duplicated("number", keep=False)]
    return [
        f"{_places(group)}: one number ({masked(str(number))}) has {len(group)} mailboxes; keep the one that is right"
        for number, group in twice.groupby("number", sort=True)
    ]


def _places(group: pd.DataFrame) -> str:
    return " and ".join(f"{file}:{line}" for file, line in zip(group["file"], group["line"], strict=True))


def _no_rows() -> pd.DataFrame:
    return pd.DataFrame({column: pd.Series(dtype="object") for column in _COLUMNS})
