"""Directory check: which rows of the mapping files lead to no mailbox, or have a number that is another user's."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from o2_connector.commands.connections import STAGING, is_there
from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.mapping import Candidates, rows_of_another, rows_without_mailbox
from o2_connector.core.mapping_files import Column, Finding, MappingRow, Severity
from o2_connector.core.outcomes import Cause, remedy
from o2_connector.core.phone_book import PhoneBook
from o2_connector.core.settings import Settings
from o2_connector.engine.directory import find_mailboxes
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook

PATIENCE_SECONDS = 30.0
"""How long a person waits for one request to Graph."""


def ask_directory(addresses: Collection[str], settings: Settings) -> Mapping[str, DirectoryEntry]:
    """Ask of each address whose mailbox it leads to; what a run believes is believed here, and remembered for runs.

    Without staging nothing is remembered, and nobody knows whether an import asks the same mailboxes now: each mailbox
    is asked for one thing, once, and Graph may let that or one of the import's requests wait for a moment.

    :raises ConnectorError: when the directory cannot be asked.
    """
    at, graph = datetime.now(UTC), GraphHook(patience_seconds=PATIENCE_SECONDS)
    if not is_there(STAGING, os.environ):
        return graph.find_mailboxes(addresses, asked=int(at.timestamp() * 1000)).entries
    remember = timedelta(hours=settings.directory_hours)
    return find_mailboxes(StagingHook(), graph, addresses, remember=remember, at=at)


def directory_findings(
    rows: Sequence[MappingRow],
    directory: Mapping[str, DirectoryEntry],
    labels: Mapping[str, Mapping[Column, str]],
) -> Iterator[Finding]:
    """Yield a warning for each row of which a run would say the same, if somebody with its number were in an item.

    :param directory: by address, for each of the rows.
    :param labels: by file the columns' names.
    """
    candidates = _all_met(rows)
    for file, line, cause in rows_without_mailbox(candidates, directory):
        yield _warning(file, line, labels[file].get(Column.MAILBOX), cause)
    for file, line in rows_of_another(candidates, directory):
        yield _warning(file, line, labels[file].get(Column.NUMBER), Cause.OTHER_HOLDER)


def _all_met(rows: Sequence[MappingRow]) -> Candidates:
    """Return the rows as those that participants have met, each of them."""
    columns = ("number", "mailbox", "file", "line")
    return Candidates(
        table=pd.DataFrame({"book_row": np.arange(len(rows))}),
        book=PhoneBook(rows=pd.DataFrame({name: [getattr(row, name) for row in rows] for name in columns})),
        numbers=[],
        emails=[],
        known=np.empty(0, dtype=bool),
    )


def _warning(file: str, line: int, column: str | None, cause: Cause) -> Finding:
    return Finding(
        file=file, line=line, column=column, severity=Severity.WARNING, what=str(cause), remedy=remedy(cause)
    )
