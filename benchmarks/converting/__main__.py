"""Measure the conversion on one core, beside the standard library's EmailMessage and MIMEText on the same items.

    make bench-convert

Times are the processor's, of this process alone, so that a neighbour on the machine costs little; each round does
everything once, with nothing remembered of the round before, and medians count. What the peers make is read back, and
the run counts only if it says what ours says.
"""
# ruff: noqa: T201 (prints for a person)

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.converting.captures import TEXTS, WINDOW, Captures, all_new, mix, texts, write_many
from benchmarks.converting.ours import BATCH, PROFILE, Unsound, decoded, eml, forget, message, rendered, whole
from benchmarks.converting.peers import Said, check, email_message, mime_text, said
from demo.airflow_settings import STAGING
from o2_connector.core.items import Captured
from o2_connector.core.layout import attachment_stem, raw_stem
from o2_connector.core.manifest import StagedBatch, StagedGroup, StagedObject, to_xcom
from o2_connector.hooks.staging import StagingHook
from sandbox.process import ROOT

ROUNDS = 5
STRETCH, SAMPLE = 1_000, 50
"""Peers make so many texts at the end of every stretch, just after us, in each round."""
NEW = 2_500
"""Texts all of whose participants are new ones."""
SMALL, LARGE = 10_000, 1_000_000
WRONG = 0.01
"""Share of its e-mails that a peer may get wrong: Python 3.11's EmailMessage encodes a comma between two addresses."""
RECORDING = 150_000_000
PATIENCE = 900
PEERS = {"EmailMessage": email_message, "MIMEText": mime_text}


@dataclass(kw_only=True)
class Clock:
    """Hold the seconds of the processor that each job took, round by round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def time(self, name: str, job: Callable[[], object]) -> None:
        """Do a job with nothing remembered, and note what it took."""
        forget()
        gc.collect()
        self.begin_round(name)
        self.add(name, job)

    def begin_round(self, *names: str) -> None:
        """Begin to add up what jobs take, part by part."""
        for name in names:
            self.seconds.setdefault(name, []).append(0.0)

    def add(self, name: str, job: Callable[[], object]) -> None:
        """Do a part of a job, and add what it took to the round's."""
        begun = time.process_time()
        job()
        self.seconds[name][-1] += time.process_time() - begun

    def median(self, name: str) -> float:
        """Return what a job takes."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """Return how many times as long the one takes as the other, by the median of the rounds' own ratios."""
        return statistics.median(one / two for one, two in zip(self.seconds[name], self.seconds[other], strict=True))


def main() -> int:
    """Run all parts on one core; print a table and, as the last line, the same as JSON."""
    parser = argparse.ArgumentParser(prog="make bench-convert", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--corpus", type=Path, help="texts to use: sender and text in JSON Lines, may be .gz")
    corpus: Path | None = parser.parse_args().corpus
    begun, processor = time.perf_counter(), time.process_time()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        plain = texts(corpus)
        told: dict[str, Any] = {"corpus": corpus is not None}
        told |= of_texts(plain, "of the corpus" if corpus else "of the sandbox, for want of a CORPUS")
        told |= of_mix(mix(PROFILE.message_bytes))
        told["share_of_core"] = round((time.process_time() - processor) / (time.perf_counter() - begun), 2)
        with tempfile.TemporaryDirectory(prefix="o2-bench-") as folder:
            os.environ["AIRFLOW_HOME"] = str(Path(folder) / "airflow")
            os.environ[STAGING] = json.dumps({"conn_type": "fs", "extra": {"path": str(Path(folder) / "staging")}})
            told |= with_disk(plain)
            told |= memory(Path(folder), plain.lines)
            told |= recording()
    except Unsound as unsound:
        print(f"This run does not count: {unsound}", file=sys.stderr)
        return 1
    told["seconds"] = round(time.perf_counter() - begun)
    print(json.dumps(told))
    return 0


# The parts ------------------------------------------------------------------------------------------------------------


def of_texts(plain: Captures, whose: str) -> dict[str, Any]:
    """Part 1: texts, step by step and as a whole, and peers on some of them all along."""
    clock, new = Clock(), all_new(plain.lines[:NEW])
    items = [decoded(line) for line in plain.lines]
    renderings = [rendered(each) for each in items]
    sampled = [at for at in range(len(items)) if at % STRETCH >= STRETCH - SAMPLE]
    dues, wrong = _checked(Captures(lines=tuple(plain.lines[at] for at in sampled), media={}))
    emls = sum(len(eml(each, {})) for each in items)
    sampled_emls = sum(len(eml(items[at], {})) for at in sampled)
    messages = sum(len(message(each)) for each in renderings)
    gc.freeze()
    for _ in range(ROUNDS):
        clock.time("decode", lambda: _do(decoded, plain.lines))
        _beside_peers(clock, items, dues)
        clock.time("message", lambda: _do(message, renderings))
        clock.time("together", lambda: _do(_from_line, plain.lines))
        clock.time("all", lambda: whole(plain.lines, {}))
        clock.time("new", lambda: whole(new, {}))
    gc.unfreeze()
    count, captured = len(items), sum(map(len, plain.lines))
    print(f"1  {count:,} texts {whose}, one core, the processor's time, medians of {ROUNDS} rounds")
    print("                                               items/s   µs/item      MB/s")
    _row("decode and validate", count, clock.median("decode"), captured)
    _row("render and write the EML", count, clock.median("rest") + clock.median("ours"), emls)
    _row("decode, validate, convert: line to EML", count, clock.median("together"), emls)
    _row("make the Graph message", count, clock.median("message"), messages)
    _row("all that the convert task does, from memory", count, clock.median("all"), emls)
    _row(f"the same, {2 * NEW:,} participants each of them once", NEW, clock.median("new"), emls * NEW // count)
    print(f"   {len(dues):,} of them, all along: from the parsed item to the EML's bytes")
    _row("ours", len(dues), clock.median("ours"), sampled_emls)
    _peers(clock, len(dues), sampled_emls, wrong)
    return {
        "items": count,
        "items_per_second": round(count / clock.median("together")),
        "items_per_second_best_round": round(count / min(clock.seconds["together"])),
        "mb_per_second": round(emls / clock.median("together") / 1e6, 1),
        "task_items_per_second": round(count / clock.median("all")),
        "task_items_per_second_best_round": round(count / min(clock.seconds["all"])),
        "task_items_per_second_all_new": round(NEW / clock.median("new")),
        "decode_per_second": round(count / clock.median("decode")),
        "eml_per_second": round(len(dues) / clock.median("ours")),
        "eml_mb_per_second": round(sampled_emls / clock.median("ours") / 1e6, 1),
        "message_per_second": round(count / clock.median("message")),
        "ratio_emailmessage": round(clock.ratio("EmailMessage", "ours"), 1),
        "ratio_mimetext": round(clock.ratio("MIMEText", "ours"), 1),
        "wrong_emailmessage": wrong["EmailMessage"],
    }


def _beside_peers(clock: Clock, items: Sequence[Captured], dues: Sequence[Said]) -> None:
    """Make the EMLs of all items, in order; after each stretch peers make those of its end again."""
    forget()
    gc.collect()
    clock.begin_round("rest", "ours", *PEERS)
    ours = partial(eml, media={})
    for number, at in enumerate(range(0, len(items), STRETCH)):
        stretch = items[at : at + STRETCH]
        clock.add("rest", partial(_do, ours, stretch[:-SAMPLE]))
        clock.add("ours", partial(_do, ours, stretch[-SAMPLE:]))
        for name, peer in PEERS.items():
            clock.add(name, partial(_do, peer, dues[number * SAMPLE : (number + 1) * SAMPLE]))


def of_mix(mixed: Captures) -> dict[str, Any]:
    """Part 2: every shape, with real pictures and recordings in memory."""
    clock = Clock()
    items = [decoded(line) for line in mixed.lines]
    dues, wrong = _checked(mixed)
    emls = sum(len(eml(each, mixed.media)) for each in items)
    gc.freeze()
    for _ in range(ROUNDS):
        clock.time("all", lambda: whole(mixed.lines, mixed.media))
        clock.time("ours", lambda: _do(partial(eml, media=mixed.media), items))
        for name, peer in PEERS.items():
            clock.time(name, partial(_do, peer, dues))
    gc.unfreeze()
    count, attached = len(items), sum(len(item.attached) for item in dues)
    print(f"2  {count:,} items of the sandbox's mix, {attached} attachments of {emls / 1e6:.0f} MB as e-mail")
    print("                                               items/s   µs/item      MB/s")
    _row("all that the convert task does, from memory", count, clock.median("all"), emls)
    _row("render and write the EML", count, clock.median("ours"), emls)
    _peers(clock, count, emls, wrong)
    return {
        "mix_task_items_per_second": round(count / clock.median("all")),
        "mix_task_mb_per_second": round(emls / clock.median("all") / 1e6, 1),
        "mix_ratio_emailmessage": round(clock.ratio("EmailMessage", "ours"), 1),
        "mix_ratio_mimetext": round(clock.ratio("MIMEText", "ours"), 1),
        "mix_wrong_emailmessage": wrong["EmailMessage"],
    }


def with_disk(plain: Captures) -> dict[str, Any]:
    """Part 3: the texts again, as the task has them: read from staging on the disk and written to it."""
    staging = StagingHook()
    batches = [_staged(staging, f"b{at:06d}", plain.lines[at : at + BATCH]) for at in range(0, TEXTS, BATCH)]
    took = _run("staged", {"first": _group(batches[:1]), "group": _group(batches[1:])})
    count = took["messages"]
    print(
        f"3  {count:,} of the texts, from staging on the disk and back, {took['seconds'] / count * 1e6:.0f} µs an item"
    )
    print(f"     by the clock, {took['cpu_seconds'] / count * 1e6:.0f} µs of the processor")
    return {"items_per_second_with_disk": round(count / took["seconds"])}


def memory(folder: Path, lines: Sequence[bytes]) -> dict[str, Any]:
    """Part 4: peak memory for a small and a large batch, of which a fifth comes from ever new phones."""
    told: dict[str, Any] = {}
    file = folder / "many.jsonl"
    print("4  peak memory, a batch streamed from a file")
    for size, count in (("small", SMALL), ("large", LARGE)):
        write_many(file, lines, count)
        took = _run("many", {"file": str(file), "count": count})
        told |= {f"peak_mib_{size}": took["peak_mib"], "base_mib": took["base_mib"]}
        told[f"items_per_second_{size}"] = round(count / took["cpu_seconds"])
        print(
            f"     {count:>9,} items: {took['peak_mib']:.0f} MiB, of which {took['base_mib']:.0f} before the first"
            f" ({took['cpu_seconds']:.1f} s)"
        )
    file.unlink()
    return told


def recording() -> dict[str, Any]:
    """Part 5: peak memory for one large recording, from staging on the disk and back."""
    staging = StagingHook()
    groups = {}
    for name, size in (("first", 100_000), ("group", RECORDING)):
        with staging.writer("scratch/") as out:  # for the digest, which is part of an attachment's name
            for octets in _noise(size):
                out.write(octets)
        with staging.writer(attachment_stem(out.staged.sha256)) as attachment, staging.reader(out.staged) as octets_of:
            while octets := octets_of.read(1 << 20):
                attachment.write(octets)
        groups[name] = _group([_staged(staging, name, (_call(name, out.staged),))])
    took = _run("staged", groups)
    above = took["peak_mib"] - took["base_mib"]
    print(f"5  a recording of {RECORDING / 1e6:.0f} MB: {above:.1f} MiB above {took['base_mib']:.0f} before,")
    print(f"     {RECORDING / took['seconds'] / 1e6:.0f} MB a second by the clock")
    return {"peak_mib_recording": round(above, 1), "recording_seconds": round(took["seconds"], 2)}


# What the parts share -------------------------------------------------------------------------------------------------


def _checked(captures: Captures) -> tuple[list[Said], Counter[str]]:
    """Return what the e-mails say, and how many each peer gets wrong; every way's are read back.

    :raises Unsound: ours is wrong, or a peer is so often that the fault must be in what it was given.
    """
    dues = []
    wrong: Counter[str] = Counter()
    for line in captures.lines:
        item = decoded(line)
        made = eml(item, captures.media)
        due = said(made, rendered(item), captures.media)
        check(made, due)
        for name, peer in PEERS.items():
            try:
                check(peer(due), due)
            except Unsound as unsound:
                wrong[name] += 1
                if wrong[name] > len(captures.lines) * WRONG:
                    raise Unsound(f"{name} gets more than {WRONG:.0%} wrong, the last: {unsound}") from unsound
        dues.append(due)
    return dues, wrong


def _from_line(line: bytes) -> bytes:
    return eml(decoded(line), {})


def _do(job: Callable[[Any], object], things: Iterable[Any]) -> None:
    deque(map(job, things), maxlen=0)


def _row(what: str, count: int, seconds: float, octets: int) -> None:
    print(f"     {what:<45} {count / seconds:>9,.0f} {seconds / count * 1e6:>9,.1f} {octets / seconds / 1e6:>9,.1f}")


def _peers(clock: Clock, count: int, octets: int, wrong: Counter[str]) -> None:
    for name in PEERS:
        fault = f" ({wrong[name]} wrong)" if wrong[name] else ""
        _row(f"{name}: {clock.ratio(name, 'ours'):.1f} times as long{fault}", count, clock.median(name), octets)


def _run(module: str, task: dict[str, Any]) -> dict[str, Any]:
    """Run one measured process; return what it took."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.converting.{module}"],
        cwd=ROOT,
        input=json.dumps(task),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode:
        raise Unsound(f"{module} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    took: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return took


def _staged(staging: StagingHook, batch_id: str, lines: Sequence[bytes]) -> StagedBatch:
    with staging.writer(raw_stem(WINDOW, batch_id), ".jsonl") as raw:
        raw.write(b"".join(lines))
    return StagedBatch(batch_id=batch_id, items=len(lines), promised=len(lines), raw=raw.staged)


def _group(batches: Sequence[StagedBatch]) -> Any:
    return to_xcom(StagedGroup(window=WINDOW, batches=tuple(batches)))


def _noise(size: int) -> Iterator[bytes]:
    for number, at in enumerate(range(0, size, 1 << 20)):
        yield (sha256(str(number).encode()).digest() * (1 << 15))[: size - at]


def _call(name: str, recording: StagedObject) -> bytes:
    return msgspec.json.encode(
        {
            "itemId": f"o2-bench-{name}",
            "itemType": "CALL",
            "network": "O2",
            "direction": "INBOUND",
            "status": "ANSWERED",
            "sentAt": "2026-11-02T10:00:00Z",
            "archivedAt": "2026-11-02T12:30:00Z",
            "from": {"phone": "+447700900123"},
            "to": [{"phone": "+442079460123"}],
            "call": {"startedAt": "2026-11-02T10:00:00Z", "durationSeconds": 9000},
            "attachments": [
                {
                    "attachmentId": f"o2-bench-{name}-a0",
                    "fileName": "recording.wav",
                    "contentType": "audio/wav",
                    "byteCount": recording.size,
                    "sha256": recording.sha256,
                }
            ],
        }
    )


if __name__ == "__main__":
    sys.exit(main())
