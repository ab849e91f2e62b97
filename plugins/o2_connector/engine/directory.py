"""The directory: whose mailbox an address or a number leads to, as Graph says it now or said it lately.

What Graph said of addresses that lead to a mailbox is kept in staging and believed for a while. What leads to none is
asked again each time: whoever was given a mailbox must not wait for it, and they are few. So is a mailbox that Graph
refuses to open: that it is in the application's scope now is worth knowing. Numbers are asked each time, all at once.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec

from o2_connector.core.directory import DirectoryEntry
from o2_connector.core.errors import IntegrityError
from o2_connector.core.layout import directory_day, directory_stem
from o2_connector.core.outcomes import Cause
from o2_connector.engine.ownership import asking
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.graph_directory import is_address
from o2_connector.hooks.staging import StagingHook

AHEAD = timedelta(minutes=15)
"""By how much another worker's clock may be ahead; what seems to be said later than that is not believed."""

_log = logging.getLogger("airflow.task")


def find_mailboxes(
    staging: StagingHook, hook: GraphHook, addresses: Collection[str], *, remember: timedelta, at: datetime
) -> dict[str, DirectoryEntry]:
    """Say of each address whose mailbox it leads to, or why to none; lower-cased, without blanks around it.

    :param remember: for how long what Graph said of a mailbox is believed; nought: not at all.
    :param at: now.
    :raises StopError: when the directory may not be read, or Graph opens no mailbox at all.
    :raises RetryError: when Graph, or an import of another run that writes to one of the mailboxes, keeps us waiting.
    """
    at = at.astimezone(UTC)
    asked = _milliseconds(at)
    wanted = {address.strip().lower() for address in addresses}
    entries = {
        address: DirectoryEntry(address=address, cause=Cause.NO_USER, asked=asked)
        for address in wanted
        if not is_address(address)
    }
    remembered = _remembered(staging, hook.tenant, wanted, remember, at) if remember else {}
    unknown = wanted - entries.keys() - remembered.keys()
    entries |= remembered
    requests = 0
    if unknown:
        # An import of another run may have all the requests under way that Graph allows a mailbox
        found = hook.find_mailboxes(unknown, asked=asked, asking=partial(asking, staging), some_open=bool(remembered))
        entries |= found.entries
        requests = found.requests
        opened = [
            entry
            for entry in found.entries.values()
            if entry.mailbox is not None and entry.mailbox not in found.refused
        ]
        if remember and opened:
            staging.write_lines(directory_stem(hook.tenant, at), opened)
    _log.info(
        "%d addresses: %d remembered, %d asked with %d requests; %d lead to a mailbox",
        len(wanted),
        len(remembered),
        len(unknown),
        requests,
        sum(entry.mailbox is not None for entry in entries.values()),
    )
    return entries


def find_by_number(
    staging: StagingHook, hook: GraphHook, numbers: Collection[str], *, at: datetime
) -> dict[str, DirectoryEntry]:
    """Say of each number that users have in the directory whose mailbox it leads to, or why to none.

    A number that two users have leads to nobody. Those that nobody has are not in the answer; an entry's address is
    the number.

    :param numbers: as E.164.
    :param at: now.
    :raises StopError: when the directory may not be read.
    :raises RetryError: as :func:`find_mailboxes`.
    """
    if not numbers:
        return {}
    found = hook.find_by_number(numbers, asked=_milliseconds(at.astimezone(UTC)), asking=partial(asking, staging))
    entries = dict(found.entries)
    _log.info(
        "%d numbers: %d are in the directory, asked with %d requests; %d lead to a mailbox",
        len(set(numbers)),
        len(entries),
        found.requests,
        sum(entry.mailbox is not None for entry in entries.values()),
    )
    return entries


def _remembered(
    staging: StagingHook, tenant: str, addresses: Collection[str], remember: timedelta, at: datetime
) -> dict[str, DirectoryEntry]:
    """Return what Graph said of these addresses, as far as it is believed still; of each what it said last."""
    after, until = _milliseconds(at - remember), _milliseconds(at + AHEAD)
    known: dict[str, DirectoryEntry] = {}
    for name in _names(staging, tenant, at - remember, at + AHEAD):
        for entry in _entries(staging, name):
            before = known.get(entry.address)
            if (
                entry.address in addresses
                and entry.mailbox is not None
                and after < entry.asked <= until
                and (before is None or before.asked < entry.asked)
            ):
                known[entry.address] = entry
    return known


def _names(staging: StagingHook, tenant: str, first: datetime, last: datetime) -> Iterator[str]:
    """Yield the names of the objects of a span of time; the folders of other days are not listed."""
    for number in range((last.date() - first.date()).days + 1):
        prefix = directory_day(tenant, first.date() + timedelta(days=number))
        yield from (name for name in staging.names(prefix) if name >= directory_stem(tenant, first))


def _entries(staging: StagingHook, name: str) -> list[DirectoryEntry]:
    """Return an object's entries, once its digest is right; none where it cannot be read: Graph is asked again."""
    try:
        return list(staging.read_lines(staging.staged(name), DirectoryEntry))
    except IntegrityError as error:
        _log.warning("The directory is asked again, for what it said cannot be read: %s", error)
    except msgspec.DecodeError:  # its words might quote an address
        _log.warning("The directory is asked again, for what it said cannot be read: %s holds something else", name)
    return []


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
