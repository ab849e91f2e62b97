"""Layout: where things lie in staging.

Every name ends in the digest of its bytes (the hook adds it), so a retry either finds its own bytes or writes them,
and an object is never overwritten. Only owners' objects have no bytes: that a name could be created says it all.

    attachments/<first two digits>/<sha256>
    mappings/<sha256>.csv
    owners/<shard>/<number>.owner                         who may write to a shard's mailboxes; also .sign-<n>, .done
    windows/<window>/export/<sha256>.json                 the source's frozen list of batches
    windows/<window>/raw/<batch>.<sha256>.jsonl           a batch, byte for byte
    windows/<window>/raw/<batch>.missing.<sha256>.jsonl   attachments that could not be had
    windows/<window>/converted/<batch>.<sha256>.eml       EMLs, one after the other
    windows/<window>/converted/<batch>.<sha256>.…jsonl    index, Graph messages, participants, rejects
    windows/<window>/runs/<run>/details.<sha256>.jsonl    parked items, and mapping rows that lead to no mailbox
    windows/<window>/runs/<run>/shards/<nnn>.<sha256>.jsonl            a shard's deliveries
    windows/<window>/runs/<run>/shards/<nnn>.<sha256>/receipts.….jsonl  what became of them
    windows/<window>/runs/<run>/report.<sha256>.json      the book, and .csv
"""

from __future__ import annotations

import hashlib
import re
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


def window_stem(window: Window) -> str:
    """Return what the names of all objects of a window begin with."""
    return f"windows/{window.name}/"


def owner_stem(shard: int) -> str:
    """Return what the names of a shard's owners begin with."""
    return f"owners/{shard:03d}/"


def export_stem(window: Window) -> str:
    """Return the stem of the frozen list of batches."""
    return f"{window_stem(window)}export/"


def raw_stem(window: Window, batch_id: str) -> str:
    """Return the stem of a batch as it came."""
    return f"{window_stem(window)}raw/{_part(batch_id)}."


def converted_stem(window: Window, batch_id: str) -> str:
    """Return the stem of what a batch was converted to."""
    return f"{window_stem(window)}converted/{_part(batch_id)}."


def runs_stem(window: Window) -> str:
    """Return what the names of everything that runs did over a window begin with."""
    return f"{window_stem(window)}runs/"


def run_stem(window: Window, run_id: str) -> str:
    """Return the stem of what one run decided and did; readable, and unique even where run ids differ in one sign."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", run_id)[:80]
    return f"{runs_stem(window)}{readable}.{hashlib.sha256(run_id.encode()).hexdigest()[:8]}/"


def shard_stem(window: Window, run_id: str, shard: int) -> str:
    """Return the stem of a shard's deliveries."""
    return f"{run_stem(window, run_id)}shards/{shard:03d}."


def receipts_stem(deliveries_name: str) -> str:
    """Return the stem of the receipts for a deliveries object: a run that decides anew begins a new book."""
    return f"{deliveries_name.removesuffix('.jsonl')}/receipts."


def holds_receipts_of(shard: int, name: str) -> bool:
    """Tell whether an object holds receipts of this shard, of whichever run and decision."""
    return re.search(rf"/shards/{shard:03d}\.[0-9a-f]{{64}}/receipts\.", name) is not None


def _part(name: str) -> str:
    # Ids come from outside: quoted they cannot climb out of their folder, cut they fit every file system
    # ("=" is in no quoted name, so that none is another's short form).
    quoted = quote(name, safe="").replace(".", "%2E")
    return quoted if len(quoted) <= 100 else f"{quoted[:80]}={hashlib.sha256(name.encode()).hexdigest()[:16]}"
