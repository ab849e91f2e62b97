"""Chain: add a book to the chain in staging, and read the chain; see :mod:`o2_connector.core.chain`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import sha256
from threading import Lock

import msgspec

from o2_connector.core.chain import Link, Sealed
from o2_connector.core.errors import ConnectorError, IntegrityError
from o2_connector.core.layout import (
    CHAIN,
    PACKED,
    REPLAYS,
    WINDOWS,
    link_of,
    link_stem,
    packed_stem,
    packed_up_to,
    run_stem,
)
from o2_connector.core.manifest import ConvertedBatch, Decision, StagedBatch, StagedObject
from o2_connector.core.report import Report
from o2_connector.hooks.staging import StagingHook

_log = logging.getLogger("airflow.task")

PARALLEL = 8
"""Links that are read at the same time."""

PACK_EVERY = 32
"""Links that are added until all of them are packed anew."""

_RECENT = 32
"""How many numbers back a link may lie that nothing names yet: far more than runs end while one link is added."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """Hold a book that was closed, and where it lies.

    :param started_at: when its run began, UTC.
    """

    report: Report
    started_at: datetime
    json: StagedObject
    csv: StagedObject


@dataclass(kw_only=True)
class Chain:
    """Read the chain, each link once: links never change.

    :param links: those that were read, by digest, in the order in which they were added.
    :param altered: names of those whose bytes are not what their digest says.
    """

    staging: StagingHook
    links: dict[str, Link] = field(default_factory=dict)
    altered: tuple[str, ...] = ()
    _one_at_a_time: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    def refresh(self) -> dict[str, Link]:
        """Read what was added since; return all links. Who asks meanwhile waits, and need not read the same."""
        with self._one_at_a_time:
            return self._refresh()

    def _refresh(self) -> dict[str, Link]:
        there = {digest: name for _, digest, name in _names(self.staging)}
        new = [name for digest, name in there.items() if digest not in self.links]
        with ThreadPoolExecutor(PARALLEL) as pool:
            read = dict(zip(new, pool.map(partial(_read, self.staging), new), strict=True))
        found = {digest: self.links.get(digest) or read[name] for digest, name in there.items()}
        self.altered = tuple(there[digest] for digest, link in found.items() if link is None)
        self.links = {digest: link for digest, link in found.items() if link}
        return self.links


def links_of(staging: StagingHook) -> dict[str, Link]:
    """Return the links whose bytes are right, by digest, in the order in which they were added.

    Most come from the last pack, where their digests are right or they are not theirs: who asks whether a link's own
    object has these bytes asks :class:`Chain`.
    """
    packed = {digest: link for digest, line in _packed(staging).items() if (link := _link(line))}
    return Chain(staging=staging, links=packed).refresh()


def close(staging: StagingHook, closed: Closed, sealed: Iterable[str]) -> StagedObject:
    """Add a book to the chain.

    :param sealed: the names of all that it goes by, besides what lies in its run's folder.
    :returns: the link.
    """
    report = closed.report
    stem = run_stem(report.window, report.run_id, REPLAYS if report.replay else WINDOWS)
    own = (name for name in staging.names(stem) if not name.startswith(f"{stem}seal."))
    seal = staging.write_lines(f"{stem}seal.", (Sealed(name=name) for name in sorted({*own, *sealed})))
    number, previous = _end(staging)
    link = Link(
        number=number,
        previous=previous,
        window=report.window,
        run_id=report.run_id,
        replay=report.replay,
        dry_run=report.dry_run,
        started_at=closed.started_at,
        completed_at=report.completed_at,
        balanced=report.balanced,
        counts=report.counts,
        waiting=report.waiting,
        oldest_waiting=min((each.since for each in report.details if each.since is not None), default=None),
        report=closed.json,
        log=closed.csv,
        seal=seal,
    )
    added = staging.write_lines(link_stem(number), [link])
    try:
        _pack(staging, number)
    except ConnectorError as error:  # the book is closed all the same, and the next one packs
        _log.warning("The chain's links cannot be packed: %s", error)
    return added


def staged_names(
    export: StagedObject | None,
    staged: Sequence[StagedBatch],
    converted: Sequence[ConvertedBatch],
    decision: Decision | None,
) -> Iterator[str]:
    """Yield the names of what a book goes by that lies outside of its run's folder."""
    objects = [export, decision.mapping if decision else None]
    for batch in staged:
        objects += [batch.raw, batch.missing]
    for each in converted:
        objects += [each.emls, each.index, each.messages, each.participants, each.rejects]
    yield from (each.name for each in objects if each)


def _end(staging: StagingHook) -> tuple[int, tuple[str, ...]]:
    """Return the number for the next link, and the digests of the last ones."""
    names = list(_names(staging))
    highest = max((number for number, _, _ in names), default=0)
    recent = {digest: name for number, digest, name in names if number > highest - _RECENT}
    with ThreadPoolExecutor(PARALLEL) as pool:
        read = [link for link in pool.map(partial(_read, staging), recent.values()) if link]
    return highest + 1, tuple(sorted(recent.keys() - {digest for link in read for digest in link.previous}))


def _pack(staging: StagingHook, number: int) -> None:
    """Repeat all links in one object, where many were added since the last such one.

    :param number: of the link that was added last.
    """
    last = _last_pack(staging)
    if number - (packed_up_to(last) if last else 0) < PACK_EVERY:
        return
    packed = _packed(staging)
    there = {digest: name for _, digest, name in _names(staging)}
    new = [name for digest, name in there.items() if digest not in packed]
    with ThreadPoolExecutor(PARALLEL) as pool:
        read = dict(zip(new, pool.map(partial(_line, staging), new), strict=True))
    with staging.writer(packed_stem(number), ".jsonl") as out:
        for digest, name in there.items():
            out.write(packed.get(digest) or read[name] or b"")


def _packed(staging: StagingHook) -> dict[str, bytes]:
    """Return the lines of the last pack, by digest: a link is one line, so each shows by its digest whose it is."""
    last = _last_pack(staging)
    try:
        lines = staging.whole(last).splitlines(keepends=True) if last else []
    except IntegrityError:  # without it links are read one by one
        return {}
    return {sha256(line).hexdigest(): line for line in lines}


def _last_pack(staging: StagingHook) -> str | None:
    return max(staging.names(PACKED), key=packed_up_to, default=None)


def _names(staging: StagingHook) -> Iterator[tuple[int, str, str]]:
    """Yield number, digest and name of each link, in the order in which they were added."""
    for name in staging.names(CHAIN):
        if found := link_of(name):
            yield *found, name


def _read(staging: StagingHook, name: str) -> Link | None:
    """Return a link, or None where its bytes are not what its digest says: the chain goes on with its digest."""
    line = _line(staging, name)
    return _link(line) if line else None


def _line(staging: StagingHook, name: str) -> bytes | None:
    try:
        return staging.whole(name)
    except IntegrityError:
        return None


def _link(line: bytes) -> Link | None:
    try:
        return msgspec.json.decode(line, type=Link)
    except msgspec.DecodeError:
        return None
