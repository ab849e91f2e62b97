"""Participants, phone books and directories for tests of the mapping, in a few words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from o2_connector.core.conversion import IndexRow
from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.identity import item_key
from o2_connector.core.mapping import RULES, Candidates, Decisions, decide, find_candidates
from o2_connector.core.outcomes import Cause, Rule
from o2_connector.core.phone_book import PhoneBook, read_phone_book
from o2_connector.core.tables import Items, gathered

ZONE = ZoneInfo("Europe/London")
HEAD = "ExternalUserId,O365UserMailbox,ValidFrom,ValidTo\n"
Person = tuple[str, str, bool]
"""Phone, e-mail property, and whether the network captured the item at this end."""


def book(*rows: str) -> PhoneBook:
    """Read a mapping file of these rows; two cells are enough."""
    lines = "".join(f"{row}{',' * (3 - row.count(','))}\n" for row in rows)
    return read_phone_book([("a.csv", (HEAD + lines).encode())], "GB", ZONE)


def known(mailboxes: Mapping[str, str | Cause]) -> dict[str, DirectoryEntry]:
    """Make a directory: by address the mailbox's id, or why there is none."""
    return {
        address: DirectoryEntry(address=address, cause=said, asked=0)
        if isinstance(said, Cause)
        else DirectoryEntry(address=address, mailbox=said, asked=0)
        for address, said in mailboxes.items()
    }


def candidates_of(items: Sequence[Sequence[Person]], phones: PhoneBook, sent: Sequence[int] = ()) -> Candidates:
    """Find the candidates of some items' participants."""
    times = np.array(sent or [0] * len(items), dtype=np.int64)
    return find_candidates(gathered(items), times, phones, "GB")


def decided(
    items: Sequence[Sequence[Person]],
    phones: PhoneBook,
    directory: Mapping[str, str | Cause],
    *,
    sent: Sequence[int] = (),
    by_number: Mapping[str, str | Cause] | None = None,
    catch_all: str | None = None,
) -> Decisions:
    """Decide; an address that the directory does not hold is nobody's."""
    candidates = candidates_of(items, phones, sent)
    whole = {**dict.fromkeys(candidates.addresses(), Cause.NO_USER), **directory}
    return decide(len(items), candidates, known(whole), known(by_number or {}), catch_all)


def deliveries_of(decisions: Decisions) -> dict[tuple[int, str], Rule]:
    """Return the rule by item and mailbox."""
    table = decisions.deliveries
    columns = (table[name].tolist() for name in ("row", "mailbox", "rule"))
    rows = [(row, decisions.mailboxes[box], RULES[rule]) for row, box, rule in zip(*columns, strict=True)]
    assert len(rows) == len({row[:2] for row in rows}), "an item twice in one mailbox"
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    return {(row, box): rule for row, box, rule in rows}


def item_row(name: str, **changes: Any) -> IndexRow:
    """Return an item's line of the index."""
    fields = {
        "item_id": name,
        "key": item_key(name),
        "sent": 0,
        "record": hashlib.sha256(name.encode()).hexdigest(),
        "eml": (0, 1),
        "eml_sha256": "0" * 64,
        "message": (0, 1),
    }
    return IndexRow(**{**fields, **changes})


def items_of(count: int) -> Items:
    """Return so many items."""
    items = Items()
    items.extend([item_row(f"i-{number}", sent=number) for number in range(count)], [0] * count)
    return items
