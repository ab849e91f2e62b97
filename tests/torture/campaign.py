"""A seed: windows that slide, runs that overlap, workers that die, users who tidy up; then the end, and a count."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from o2_connector.core import pacing
from o2_connector.core.layout import segment_of
from o2_connector.core.ledger import Receipt
from o2_connector.core.manifest import Shard
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.hooks.staging import StagingHook
from sandbox.people import organisation
from tests.torture.checker import Found, Place, inspect, key_of, without_receipt
from tests.torture.doors import Doors
from tests.torture.worker import DONE, LATER, Worker, attend, draw_blow, start
from tests.torture.world import Decision, World

USERS = 25
MAILBOXES = 8
NAMED = 5
"""Complaints of a kind that are printed."""

ENOUGH = 5
"""Failed workers after which a seed is given up: something is broken."""

TASKS = (1, 3, 5, 16, 16, 40, 64)
"""Numbers of shares that runs part the mailboxes into."""

TOGETHER = 6
"""Workers at once in the end."""

ROUNDS = 15
"""Times that what is open is run, without kills, before it counts as never coming to an end."""

QUIET_SECONDS = 0.3
"""Seconds after which Graph has answered what a killed worker had asked; until then that counts as in flight."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Say what came of a seed.

    :param asking: kills after the worker had written an intent.
    :param failed: workers that ended as no worker should, hung ones, and shards that never came to an end.
    """

    seed: int
    kills: int
    asking: int
    runs: int
    deliveries: int
    found: Found
    without_receipt: list[str]
    breaches: list[str]
    failed: list[str]
    seconds: float

    @property
    def wrong(self) -> dict[str, int]:
        """Count what is not as it should be, by kind."""
        found = self.found
        return {
            "lost": len(found.lost),
            "doubled": len(found.doubled),
            "unfinished": len(found.unfinished),
            "wrong_mailbox": len(found.wrong_mailbox),
            "altered": len(found.altered),
            "without_receipt": len(self.without_receipt),
            "breaches": len(self.breaches),
            "failed": len(self.failed),
        }

    @property
    def complaints(self) -> list[str]:
        """Name what is not as it should be, of each kind the first."""
        lists = {
            **vars(self.found),
            "without_receipt": self.without_receipt,
            "breaches": self.breaches,
            "failed": self.failed,
        }
        return [f"{kind}: {each}" for kind, names in lists.items() for each in names[:NAMED]]


def torment(seed: int, kills: int, doors: Doors, folder: Path, on_kill: Callable[[int], object]) -> Result:
    """Deliver a seed's items under kills, finish without any, and count.

    :param folder: a new one, for staging and the workers' log.
    """
    begun = time.monotonic()
    (folder / "tmp").mkdir(parents=True)
    os.environ["AIRFLOW_CONN_O2_STAGING"] = json.dumps({"conn_type": "fs", "extra": {"path": str(folder / "staging")}})
    doors.clean(requests_seconds=pacing.REQUESTS_SECONDS, upload_seconds=pacing.BYTES_SECONDS)
    doors.begin_faults()
    campaign = Campaign(seed, doors, folder)
    while campaign.kills < kills and len(campaign.failed) < ENOUGH:
        before = campaign.kills
        campaign.step(kills - campaign.kills)
        on_kill(campaign.kills - before)
    campaign.finish()
    time.sleep(QUIET_SECONDS)
    breaches = [json.dumps(breach) for breach in doors.breaches()]
    return Result(
        seed=seed,
        kills=campaign.kills,
        asking=campaign.asking,
        runs=campaign.runs,
        deliveries=sum(len(item.mailboxes) for item in campaign.world.items),
        found=inspect(campaign.world.items, campaign.gone, doors.tally(), doors.messages()),
        without_receipt=without_receipt(campaign.staging, campaign.shards),
        breaches=breaches,
        failed=campaign.failed,
        seconds=time.monotonic() - begun,
    )


class Campaign:
    """Hold what a seed has done so far."""

    def __init__(self, seed: int, doors: Doors, folder: Path) -> None:
        self._random = Random(f"campaign {seed}")
        self._doors = doors
        self._folder = folder
        self._seed = seed
        users = [user.id for user in organisation(1, USERS)[0] if user.mailbox == "ok"]
        self.staging = StagingHook()
        self.world = World(seed, self._random.sample(users, MAILBOXES), self.staging)
        self.shards: list[Shard] = []
        self._open: list[Shard] = []
        self._slots = 0
        self._receipted: set[tuple[str, str]] = set()
        self._read: set[str] = set()
        self.gone: set[Place] = set()
        self.kills = self.asking = self.runs = 0
        self.failed: list[str] = []

    def step(self, left: int) -> None:
        """Run a worker or two, most of which are killed; then a user may tidy up."""
        if not self._open or self._random.random() < 0.2:
            self._decide()
        targets = [self._random.choice(self._open if self._random.random() < 0.9 else self.shards)]
        if left > 1 and self._random.random() < 0.4:
            targets.append(self._beside(targets[0]))
        self._run(targets, kill=0.93)
        if self._random.random() < 0.3:
            self._tidy_up()

    def finish(self) -> None:
        """Work through every book without kills, and once more through some that are finished."""
        self._run(self._random.sample(self.shards, min(TOGETHER, len(self.shards))), kill=0)
        for _ in range(ROUNDS if len(self.failed) < ENOUGH else 0):
            for place in range(0, len(self._open), TOGETHER):
                self._run(self._open[place : place + TOGETHER], kill=0)
        self.failed += [f"never finished: {shard.deliveries.name}" for shard in self._open]

    def _decide(self) -> None:
        """Let a run decide: about what is new, or once more about what others have decided, in other portions."""
        random = self._random
        slots = self._slots
        if not slots or random.random() < 0.6:
            first, self._slots = max(0, slots - 2), slots + 2
            beyond = self._slots
        else:
            first = random.randrange(max(0, slots - 6), slots)
            beyond = min(slots, first + random.randint(1, 5))
        decision: Decision = self.world.decide(
            first, beyond, tasks=random.choice(TASKS), pack=random.choice((1, 7, 500)), random=random
        )
        self.shards += decision.shards
        self._open += decision.shards

    def _beside(self, shard: Shard) -> Shard:
        """Return what a second worker does meanwhile: the same, or what meets it in a mailbox."""
        meeting = [each for each in self.shards if each.first <= shard.last and shard.first <= each.last]
        return shard if self._random.random() < 0.5 else self._random.choice(meeting)

    def _run(self, shards: Sequence[Shard], *, kill: float) -> None:
        workers: list[Worker] = []
        for shard in shards:
            self.runs += 1
            blow = draw_blow(self._random) if self._random.random() < kill else None
            workers.append(start(shard, blow, seed=f"{self._seed}/{self.runs}", folder=self._folder))
        hung = attend(workers)
        self.failed += [f"hung: worker {each.pid} at {each.shard.deliveries.name}" for each in hung]
        for worker in workers:
            if worker in hung:
                continue
            if worker.killed:
                self.kills += 1
                self.asking += worker.heard["I"] > 0
            elif worker.ended == DONE:
                self._open = [shard for shard in self._open if shard != worker.shard]
            elif worker.ended != LATER:
                self.failed.append(f"worker {worker.pid} ended with {worker.ended} at {worker.shard.deliveries.name}")

    def _tidy_up(self) -> None:
        """Move or delete messages as their user would; for good only what has a receipt, which stands for ever."""
        time.sleep(QUIET_SECONDS)
        messages = self._doors.messages()
        self._doors.end_faults()
        for message in self._random.sample(messages, min(2, len(messages))):
            place = (str(key_of(message)), str(message["userId"]))
            act = self._random.choice(("move", "delete", "purge"))
            if act == "move" or message["categories"]:
                self._doors.move(message, "inbox")
            elif act == "purge" and place in self._places_with_receipt():
                self._doors.purge(message)
                self.gone.add(place)
            else:
                self._doors.delete(message)
        self._doors.begin_faults()

    def _places_with_receipt(self) -> set[Place]:
        for name in self.staging.names("windows/"):
            segment = segment_of(name)
            if segment is None or segment.intents or name in self._read:
                continue
            self._read.add(name)
            self._receipted.update(
                (receipt.item_id, receipt.mailbox)
                for receipt in self.staging.read_lines(self.staging.staged(name), Receipt)
                if receipt.outcome in (Outcome.IMPORTED, Outcome.PARTIALLY_IMPORTED)
                or receipt.cause == Cause.ALREADY_THERE
            )
        keys = {item.item_id: item.key for item in self.world.items}
        return {(keys[item_id], mailbox) for item_id, mailbox in self._receipted}
