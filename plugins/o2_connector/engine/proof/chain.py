"""Proof of the chain: that no book was altered or taken away, whichever window it is of."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from o2_connector.core.chain import Link, Sealed, before, gaps_of
from o2_connector.core.errors import IntegrityError, StopError
from o2_connector.core.layout import CHAIN, REPLAYS, WINDOWS, link_of, link_stem
from o2_connector.core.manifest import StagedObject
from o2_connector.core.plurals import many
from o2_connector.engine.chain import Chain
from o2_connector.engine.proof.asked import stem_of
from o2_connector.engine.proof.result import Fault, Proof, Result
from o2_connector.hooks.staging import StagingHook

RESTORE = "Restore it from a copy of staging; what changed it, and when, the storage's own log can tell"

_HEAD = re.compile(f"(?:{CHAIN}[0-9]+\\.)?([0-9a-f]{{64}})(?:\\.jsonl)?")
_REPORT = re.compile(r"((?:windows|replays)/[^/]+/runs/[^/]+/)report\.[0-9a-f]{64}\.(?:json|csv)")


def head_of(text: str) -> str:
    """Return the digest of a link that is named by its digest, or as a task's log names it.

    :raises StopError: when it is none.
    """
    found = _HEAD.fullmatch(text)
    if found is None:
        raise StopError(
            f"{text!r} names no link of the chain: give its SHA-256, or its whole name as reconcile's log has it behind"
            " `Chain:`"
        )
    return found[1]


def prove_chain(chain: Chain, heads: Collection[str]) -> Result:
    """Read every link, and look whether the reports, logs and seals that they name are there.

    :param heads: digests of links that a log or XCom has named.
    """
    links, staging = chain.refresh(), chain.staging
    there = {name for root in (WINDOWS, REPLAYS) for name in staging.names(root)}
    named = {each.name for link in links.values() for each in (link.report, link.log, link.seal)}
    faults = [
        *_links(links, chain.altered, heads),
        *_renamed(staging, links),
        *(
            Fault(place=name, what="a link of the chain names it, and it is not there", remedy=RESTORE)
            for name in sorted(named - there)
        ),
        *_unnamed_reports(staging, links, sorted(there - named)),
    ]
    held = f"{len(named & there):,} of {len(named):,} reports, logs and seals that are named are there"
    proved = "; ".join([*_sound(links, heads), held]) if links else ""
    return Result(proof=Proof.CHAIN, proved=proved, faults=tuple(faults))


def _links(links: Mapping[str, Link], altered: Sequence[str], heads: Collection[str]) -> Iterator[Fault]:
    """Yield what is wrong with the links themselves."""
    for name in altered:
        yield Fault(place=name, what="its bytes are not what its digest says", remedy=RESTORE)
    bad = {digest for _, digest in filter(None, map(link_of, altered))}
    lost = "Restore chain/ from a copy of staging: what it names in turn cannot be known without it"
    after = {digest: link for link in links.values() for digest in link.previous}
    for digest in sorted(gaps_of(links).missing - bad):
        yield Fault(
            place=f"link {digest}",
            what=f"it was taken away: {link_stem(after[digest].number)}… names it as the one before",
            remedy=lost,
        )
    for digest in sorted({*heads} - links.keys() - bad - after.keys()):
        yield Fault(place=f"link {digest}", what="it was in the chain, and is not there", remedy=lost)
    for digest, link in links.items():
        numbers = [links[each].number for each in link.previous if each in links]
        if len(numbers) == len(link.previous) and link.number != max(numbers, default=0) + 1:
            yield Fault(
                place=f"{link_stem(link.number)}{digest}.jsonl",
                what="its number does not follow those of the links that it names: it was made by hand",
                remedy="Look who wrote it: the storage's own log can tell",
            )


def _renamed(staging: StagingHook, links: Mapping[str, Link]) -> Iterator[Fault]:
    """Yield links whose names have another number than they say: the next one's would not follow."""
    for name in staging.names(CHAIN):
        number, digest = link_of(name) or (0, "")
        if digest in links and links[digest].number != number:
            yield Fault(
                place=name,
                what="its name has another number than it says: it was renamed, or copied",
                remedy=f"Its name is {link_stem(links[digest].number)}{digest}.jsonl: see that it is there, and alone",
            )


def _unnamed_reports(staging: StagingHook, links: Mapping[str, Link], names: Sequence[str]) -> Iterator[Fault]:
    """Yield reports that no link names, but for those of a try that was killed: the next one's seal names these."""
    seals: defaultdict[str, list[StagedObject]] = defaultdict(list)
    for link in links.values():
        seals[stem_of(link)].append(link.seal)
    for name in names:
        found = _REPORT.fullmatch(name)
        if found is None:
            continue
        if any(name in _sealed(staging, seal) for seal in seals[found[1]]):
            continue
        yield Fault(
            place=name,
            what="no link of the chain names it",
            remedy="If its run's reconcile is at work or was killed, let it end, or clear it. Else it was written by"
            " hand, or its link was taken away",
        )


def _sealed(staging: StagingHook, seal: StagedObject) -> set[str]:
    try:
        return {each.name for each in staging.read_lines(seal, Sealed)}
    except IntegrityError:  # the seal itself is found by itself
        return set()


def _sound(links: Mapping[str, Link], heads: Collection[str]) -> Iterator[str]:
    """Yield what is so of the links."""
    ends = ", ".join(sorted(f"{link_stem(links[last].number)}{last}.jsonl" for last in gaps_of(links).last))
    yield f"{many(len(links), 'link')}, each as its digest says, ending at {ends}"
    if found := [head for head in heads if head in links]:
        held = len(set().union(*(before(links, head) for head in found)))
        yield f"{many(held, 'link')} up to what was given as its head"
