"""Layout: where things lie in staging.

Every name ends in the digest of its bytes (the hook adds it), so a retry either finds its own bytes or writes them,
and an object is never overwritten. Only claims (an owner's, a mapping's on a window) have no
bytes: that a name could be created says it all.

    attachments/<first two digits>/<sha256>
    chain/<n>.<sha256>.jsonl                              the book of a run, in short, and the links before it
    looks/<n>.<window>.<sha256>                           by which mapping a window was decided on, the next after n - 1
    looks/<n>.all.<sha256>                                by which mapping all windows were looked at for newcomers
    mappings/<sha256>.csv
    directory/<day>/<tenant>.<time>.<sha256>.jsonl        what the directory said of addresses, when it was asked
    owners/<bucket>/<number>/…                            who may write to a bucket's mailboxes, owner by owner
    parked/<window>/waiting.<sha256>.jsonl                items that wait for a mailbox
    parked/<window>/gone.<sha256>.jsonl                   which of those wait no longer, and who has their copy
    preflight/<time>.<sha256>.txt                         what a preflight tried staging with
    replays/<span>/runs/<run>/…                           what replays of parked items decided and did, like windows'
    windows/<window>/export/<sha256>.json                 the source's frozen list of batches
    windows/<window>/raw/<batch>.<sha256>.jsonl           a batch, byte for byte
    windows/<window>/raw/<batch>.missing.<sha256>.jsonl   attachments that could not be had
    windows/<window>/converted/<batch>.<sha256>.eml       EMLs, one after the other
    windows/<window>/converted/<batch>.<sha256>.…jsonl    index, Graph messages, participants, rejects
    windows/<window>/runs/<run>/decision.<sha256>.json    what the mapping step decided, with all that it went by
    windows/<window>/runs/<run>/details.<sha256>.jsonl    parked items, and mapping rows that lead to no mailbox
    windows/<window>/runs/<run>/directory.<sha256>.jsonl  what the directory said
    windows/<window>/runs/<run>/numbers.<sha256>.jsonl    which numbers had how many items
    windows/<window>/runs/<run>/coverage.<sha256>.json    who was silent, and who is unknown
    windows/<window>/runs/<run>/changes.<sha256>.json     of a dry run: what another mapping would do
    windows/<window>/runs/<run>/leaving.<sha256>.jsonl    parked items that wait no longer once it is delivered
    windows/<window>/runs/<run>/shards/<first>-<last>.<sha256>.jsonl    deliveries to the mailboxes of these buckets
    windows/<window>/runs/<run>/shards/<first>-<last>.<sha256>/intents.<journal>.<n>.<sha256>.jsonl   may have been sent
    windows/<window>/runs/<run>/shards/<first>-<last>.<sha256>/receipts.<journal>.<n>.<sha256>.jsonl what became of it
    windows/<window>/runs/<run>/report.<sha256>.json      the book, and .csv
    windows/<window>/runs/<run>/seal.<sha256>.jsonl       the names of all that the book goes by
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import quote

from o2_connector.core.manifest import StagedObject
from o2_connector.core.window import Window


def attachment_stem(sha256: str) -> str:
    """Return the stem of an attachment's object; its name is this plus the digest."""
    return f"attachments/{sha256[:2]}/"


def attachment_object(sha256: str, size: int) -> StagedObject:
    """Refer to an attachment's object."""
    return StagedObject(name=attachment_stem(sha256) + sha256, sha256=sha256, size=size)


MAPPING_STEM = "mappings/"

WINDOWS = "windows/"
"""What the names of all windows' objects begin with."""

REPLAYS = "replays/"
"""What the names of all replays' objects begin with; a folder's name is the span of the replayed items' windows."""

PARKED = "parked/"
"""What the names of all that is said of parked items begin with."""

LOOKS = "looks/"
"""What the names begin with by which it is said that windows were decided on, or looked at."""

CHAIN = "chain/"
"""What the names of all links of the chain of books begin with."""

PACKED = "packed/"
"""What the names of objects begin with that repeat the chain's links, many in each."""

_PACK = re.compile(f"{PACKED}([0-9]+)\\.[0-9a-f]{{64}}\\.jsonl")

_LINK = re.compile(f"{CHAIN}([0-9]+)\\.([0-9a-f]{{64}})\\.jsonl")

_ALL = "all"
_LOOK = re.compile(f"{LOOKS}([0-9]+)\\.([^./]+)\\.([0-9a-f]{{64}})")

BUCKETS = 64
"""How many fixed parts the mailboxes fall into, for ever; an import task takes a range of them.

Who may write to a mailbox is settled bucket by bucket, so it holds whatever the numbers of tasks of two runs are.
"""


IMPORT_TASKS = 16
"""Over how many import tasks the mailboxes are shared out, unless somebody says otherwise."""


def bucket_of(mailbox: str) -> int:
    """Return the bucket that a mailbox falls into, for ever."""
    return hashlib.sha256(mailbox.encode()).digest()[0] >> 2


def bucket_ranges(tasks: int) -> list[tuple[int, int]]:
    """Return the first and the last bucket of each of so many tasks."""
    return [(BUCKETS * number // tasks, BUCKETS * (number + 1) // tasks - 1) for number in range(tasks)]


def window_stem(window: Window) -> str:
    """Return what the names of all objects of a window begin with."""
    return f"{WINDOWS}{window.name}/"


def owner_stem(bucket: int, number: int) -> str:
    """Return what the names of all that a bucket's owner leaves begin with: a folder for each owner."""
    return f"owners/{bucket:02d}/{number:08d}/"


def batches_stems(window: Window) -> tuple[str, str]:
    """Return what the names of all batches of a window begin with, as they came and as they were converted."""
    return f"{window_stem(window)}raw/", f"{window_stem(window)}converted/"


def export_stem(window: Window) -> str:
    """Return the stem of the frozen list of batches."""
    return f"{window_stem(window)}export/"


def raw_stem(window: Window, batch_id: str) -> str:
    """Return the stem of a batch as it came."""
    return f"{window_stem(window)}raw/{_part(batch_id)}."


def converted_stem(window: Window, batch_id: str) -> str:
    """Return the stem of what a batch was converted to."""
    return f"{window_stem(window)}converted/{_part(batch_id)}."


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchObject:
    """Say what the name of a batch's object says.

    :param batch: the batch's id as names have it.
    :param kind: ``raw``, ``missing``, ``emls``, ``index``, ``messages``, ``participants`` or ``rejects``.
    """

    name: str
    batch: str
    kind: str


_BATCH = re.compile(r"windows/[^/]+/(raw|converted)/([^/.]+)\.(?:([a-z]+)\.)?[0-9a-f]{64}\.[a-z]+")


def batch_object_of(name: str) -> BatchObject | None:
    """Return what the name of a batch's object says, or None where it names something else."""
    found = _BATCH.fullmatch(name)
    if found is None:
        return None
    folder, batch, kind = found.groups()
    return BatchObject(name=name, batch=batch, kind=kind or ("raw" if folder == "raw" else "emls"))


def runs_stem(window: Window, root: str = WINDOWS) -> str:
    """Return what the names of everything that runs did over a window begin with.

    :param root: :data:`WINDOWS`, or :data:`REPLAYS`.
    """
    return f"{root}{window.name}/runs/"


def run_stem(window: Window, run_id: str, root: str = WINDOWS) -> str:
    """Return the stem of what one run decided and did; readable, and unique even where run ids differ in one sign."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", run_id)[:80]
    return f"{runs_stem(window, root)}{readable}.{hashlib.sha256(run_id.encode()).hexdigest()[:8]}/"


def shard_stem(run: str, first: int, last: int) -> str:
    """Return the stem of the deliveries to the mailboxes of a range of buckets.

    :param run: the run's stem.
    """
    return f"{run}shards/{first:02d}-{last:02d}."


def window_of(name: str) -> Window | None:
    """Return the window that an object belongs to, or None where it belongs to none."""
    root, _, rest = name.partition("/")
    return Window.named(rest.partition("/")[0]) if f"{root}/" in (WINDOWS, PARKED) else None


def waiting_stem(window: str) -> str:
    """Return the stem of items of a window that wait for a mailbox.

    :param window: its name.
    """
    return f"{PARKED}{window}/waiting."


def gone_stem(window: str) -> str:
    """Return the stem of which of them wait no longer."""
    return f"{PARKED}{window}/gone."


def look_name(number: int, window: str | None, mapping: str) -> str:
    """Return the name by which it is said that a window was decided on, or all windows were looked at, by a mapping.

    :param number: how manyeth it is of all that is said so.
    :param window: the window's name, or None for all windows.
    :param mapping: the digest of the frozen mapping.
    """
    return f"{LOOKS}{number:08d}.{window or _ALL}.{mapping}"


def look_of(name: str) -> tuple[int, str | None, str] | None:
    """Return number, window and mapping, or None where the name says something else."""
    found = _LOOK.fullmatch(name)
    return (int(found[1]), None if found[2] == _ALL else found[2], found[3]) if found else None


def mapping_object(mapping: str) -> str:
    """Return the name of a frozen mapping.

    :param mapping: its digest.
    """
    return f"{MAPPING_STEM}{mapping}.csv"


def link_stem(number: int) -> str:
    """Return the stem of a link of the chain; names sort by number."""
    return f"{CHAIN}{number:08d}."


def packed_stem(number: int) -> str:
    """Return the stem of the object that repeats all links up to a number; names sort by number."""
    return f"{PACKED}{number:08d}."


def packed_up_to(name: str) -> int:
    """Return the number of the last link that such an object repeats, or 0 where the name is none's."""
    found = _PACK.fullmatch(name)
    return int(found[1]) if found else 0


def link_of(name: str) -> tuple[int, str] | None:
    """Return a link's number and digest, or None where the name says something else."""
    found = _LINK.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def receipts_stem(deliveries_name: str) -> str:
    """Return the stem of the receipts for a deliveries object: a run that decides anew begins a new book."""
    return f"{deliveries_name.removesuffix('.jsonl')}/receipts."


def intents_stem(deliveries_name: str) -> str:
    """Return the stem of the intents for a deliveries object."""
    return f"{deliveries_name.removesuffix('.jsonl')}/intents."


def segment_stem(stem: str, journal: str, number: int) -> str:
    """Return the stem of a segment of receipts or intents: which journal wrote it, and as its how manyeth."""
    return f"{stem}{journal}.{number:06d}."


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Say what a segment's name says.

    :param book: what the names of all segments for the same deliveries object begin with.
    :param first: the first bucket of its deliveries.
    :param last: the last one.
    :param journal: which journal wrote it.
    """

    name: str
    book: str
    first: int
    last: int
    intents: bool
    journal: str


_SEGMENT = re.compile(
    r"(.*/shards/([0-9]{2})-([0-9]{2})\.[0-9a-f]{64}/)(receipts|intents)\.([0-9a-z]+)\.[0-9]+\.[0-9a-f]{64}\.jsonl"
)


def segment_of(name: str) -> Segment | None:
    """Return what the name of a segment of receipts or intents says, or None where it names something else."""
    found = _SEGMENT.fullmatch(name)
    if found is None:
        return None
    book, first, last, kind, journal = found.groups()
    return Segment(name=name, book=book, first=int(first), last=int(last), intents=kind == "intents", journal=journal)


def _part(name: str) -> str:
    # Ids come from outside: quoted they cannot climb out of their folder, cut they fit every file system
    # ("=" is in no quoted name, so that none is another's short form).
    quoted = quote(name, safe="").replace(".", "%2E")
    return quoted if len(quoted) <= 100 else f"{quoted[:80]}={hashlib.sha256(name.encode()).hexdigest()[:16]}"


def preflight_stem(at: datetime) -> str:
    """Return the stem of the object with which a preflight tries staging.

    :param at: UTC.
    """
    return f"preflight/{at:%Y%m%dT%H%M%SZ}."


def directory_day(tenant: str, day: date) -> str:
    """Return what the names of all that a tenant's directory was asked on a day begin with: a folder for each day.

    :param tenant: anything that tells it from others.
    """
    return f"directory/{day:%Y-%m-%d}/{hashlib.sha256(tenant.encode()).hexdigest()[:8]}."


def directory_stem(tenant: str, asked: datetime) -> str:
    """Return the stem of what a tenant's directory said, when it was asked at a time: names sort by it.

    :param asked: UTC.
    """
    return f"{directory_day(tenant, asked.date())}{asked:%H%M%S}."
