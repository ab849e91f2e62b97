"""Rules: find who gets a window's items, or parked ones, by the mapping files and the directory as they are now."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import chain
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.errors import StopError
from o2_connector.core.layout import MAPPING_STEM, mapping_object
from o2_connector.core.ledger import Delivery
from o2_connector.core.manifest import StagedObject
from o2_connector.core.mapping import (
    RULES,
    Candidates,
    Decisions,
    decide,
    find_candidates,
    rows_of_another,
    rows_without_mailbox,
)
from o2_connector.core.mapping_files import Severity
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.core.phone_book import PhoneBook, read_phone_book
from o2_connector.core.report import Detail
from o2_connector.core.tables import Items, Participants
from o2_connector.engine.directory import find_by_number, find_mailboxes
from o2_connector.engine.mapping_folder import read_settled, unread
from o2_connector.engine.shards import share_of
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook

MOST_FINDINGS = 50
"""Warnings and notes on the mapping files that a run's log tells."""

_LEVELS = {Severity.ERROR: logging.ERROR, Severity.WARNING: logging.WARNING, Severity.NOTE: logging.INFO}

_log = logging.getLogger("airflow.task")

_NO_MAPPING = mapping_object(sha256(read_phone_book((), "GB", ZoneInfo("UTC")).frozen()).hexdigest())

_AT_ONCE = 1 << 14  # deliveries whose columns become Python's numbers together


@dataclass(frozen=True, kw_only=True, slots=True)
class MappingRules:
    """Say by what rules mailboxes are found.

    :param folder: whose CSV files are, together, the mapping.
    :param region: ISO 3166 code of the country that national numbers belong to.
    :param zone: at whose midnights the periods of mapping rows begin and end.
    :param remember: how long what the directory said of an address is taken for true.
    :param by_number: whether the directory's own numbers are the last rule.
    :param catch_all: address of the mailbox that gets what nobody gets.
    """

    folder: Path
    region: str
    zone: ZoneInfo
    remember: timedelta
    by_number: bool = False
    catch_all: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Keep what the directory said, for whoever asks years later.

    :param number: E.164, where it was asked for a number.
    """

    entry: DirectoryEntry
    number: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """Hold what was decided, and all that it went by.

    :param directory: what the directory said of addresses.
    :param by_number: what it said of numbers, where they count.
    :param catch_all: object id of the mailbox that gets what nobody gets, where there is one.
    """

    candidates: Candidates
    directory: dict[str, DirectoryEntry]
    by_number: dict[str, DirectoryEntry]
    decisions: Decisions
    catch_all: str | None

    @property
    def book(self) -> PhoneBook:
        """Return the mapping."""
        return self.candidates.book


def read_book(staging: StagingHook, rules: MappingRules) -> tuple[PhoneBook, StagedObject]:
    """Read the mapping, once, and freeze it. What is no error, and still not as it should be, is logged.

    :raises StopError: when it contradicts itself, naming every fault at once.
    """
    files = read_settled(rules.folder)
    if not files and any(name != _NO_MAPPING for name in staging.names(MAPPING_STEM)):
        raise StopError(
            f"The folder of mapping files, {rules.folder}, holds none, and earlier runs had some; nothing was imported."
            " Mount the right one; where no mapping is meant any more, put a file with the headings alone into it."
        )
    book = read_phone_book(files, rules.region, rules.zone)
    findings = [*book.findings, *unread(rules.folder)]
    for finding in findings[:MOST_FINDINGS]:
        _log.log(_LEVELS[finding.severity], "%s", finding)
    if len(findings) > MOST_FINDINGS:
        _log.info("… and %d more: `make check-mapping` tells all", len(findings) - MOST_FINDINGS)
    with staging.writer(MAPPING_STEM, ".csv") as frozen:
        frozen.write(book.frozen())
    return book, frozen.staged


def rule(
    staging: StagingHook,
    rules: MappingRules,
    book: PhoneBook,
    items: Items,
    participants: Participants,
    *,
    at: datetime,
    uncaught: np.ndarray | None = None,
) -> Ruling:
    """Decide who gets each item.

    :param uncaught: which items the catch-all mailbox may get; without it all.
    :raises StopError: when the catch-all mailbox is none.
    """
    candidates = find_candidates(participants, np.frombuffer(items.sent, dtype=np.int64), book, rules.region)
    graph = GraphHook()
    caught = {rules.catch_all.strip().lower()} if rules.catch_all else set()
    directory = find_mailboxes(staging, graph, candidates.addresses() | caught, remember=rules.remember, at=at)
    by_number: dict[str, DirectoryEntry] = {}
    if rules.by_number:
        by_number = find_by_number(staging, graph, candidates.numbers, at=at)
    catch_all = _catch_all(directory, caught)
    decisions = decide(len(items), candidates, directory, by_number, catch_all=catch_all, uncaught=uncaught)
    return Ruling(
        candidates=candidates, directory=directory, by_number=by_number, decisions=decisions, catch_all=catch_all
    )


def keep_said(staging: StagingHook, run: str, ruling: Ruling) -> StagedObject:
    """Keep what the directory said.

    :param run: the stem of the run.
    """
    of_addresses = (Said(entry=ruling.directory[address]) for address in sorted(ruling.directory))
    of_numbers = (Said(number=number, entry=ruling.by_number[number]) for number in sorted(ruling.by_number))
    return staging.write_lines(f"{run}directory.", chain(of_addresses, of_numbers))


def ruled_deliveries(items: Items, ruling: Ruling, *, repeats: Mapping[int, bool], tasks: int) -> Iterator[Delivery]:
    """Yield every delivery, in the order of :func:`o2_connector.engine.shards.write_shards`.

    The source may send an item again. The same record is archived once; another record of the same id is a
    contradiction that a person must settle, and never silently takes the first one's place.

    :param repeats: see :meth:`o2_connector.core.tables.Items.repeats`.
    """
    mailboxes, table = ruling.decisions.mailboxes, ruling.decisions.deliveries
    row, mailbox = table["row"].to_numpy(), table["mailbox"].to_numpy()
    shares = np.array([share_of(each, tasks)[0] for each in mailboxes], dtype=np.int64)
    order = np.lexsort((np.frombuffer(items.sent, dtype=np.int64)[row], mailbox, shares[mailbox]))
    lines = places_of(ruling.book)
    columns = [row, mailbox, table["rule"].to_numpy(), table["book_row"].to_numpy()]
    for start in range(0, len(order), _AT_ONCE):
        some = order[start : start + _AT_ONCE]
        rows = zip(*(column[some].tolist() for column in columns), items.places(row[some]), strict=True)
        for number, to, by, line, (sent, pack, offset, length) in rows:
            settled = None
            if number in repeats:
                conflicts = repeats[number]
                settled = (
                    (Outcome.FAILED, Cause.CONFLICTING_ITEM) if conflicts else (Outcome.SKIPPED, Cause.SAME_ITEM_AGAIN)
                )
            yield Delivery(
                item=number,
                item_id=items.item_id(number),
                key=items.key(number),
                mailbox=mailboxes[to],
                sent=sent,
                pack=pack,
                offset=offset,
                length=length,
                attached=items.attached(number),
                rule=RULES[by],
                place=lines[line] if by == 0 else None,
                causes=items.causes(number),
                settled=settled,
            )


def places_of(book: PhoneBook) -> list[str]:
    """Return file and line of each row of the book."""
    return [f"{file}:{line}" for file, line in zip(book.rows["file"].tolist(), book.rows["line"].tolist(), strict=True)]


def row_details(ruling: Ruling) -> Iterator[Detail]:
    """Yield every mapping row that needs a person: it leads to no mailbox, or the directory says otherwise."""
    for file, line, cause in rows_without_mailbox(ruling.candidates, ruling.directory):
        yield Detail(item_id=None, outcome="mapping", cause=cause, place=f"{file}:{line}")
    for file, line in rows_of_another(ruling.candidates, ruling.directory):
        yield Detail(item_id=None, outcome="mapping", cause=Cause.OTHER_HOLDER, place=f"{file}:{line}")


def _catch_all(directory: dict[str, DirectoryEntry], caught: set[str]) -> str | None:
    for address in caught:
        entry = directory[address]
        if entry.mailbox is None:
            raise StopError(
                f"The catch-all mailbox leads nowhere ({entry.cause}); nothing was imported. Correct O2_CATCH_ALL,"
                " or leave it empty."
            )
        return entry.mailbox
    return None
