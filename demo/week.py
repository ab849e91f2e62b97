"""A week as an operator lives it: ``python -m demo.week``, which ``make week`` calls.

Seven days of the sandbox in a real Airflow: two that go well, one that TeleMessage refuses, one that is late, one on
which nothing was captured, one that nobody archives, and one with a mailbox that takes nothing. Then somebody is given
a mailbox, and what waited for them is delivered. The archive page's pictures, the notices that were sent and what
``o2-archive status`` says are left in a folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from email import message_from_bytes, policy
from functools import cached_property
from pathlib import Path
from typing import Any

import requests

from demo import mailboxes
from demo.airflow_client import REPLAY
from demo.airflow_settings import Where, free_port
from demo.options import ROOT, Options, settle
from demo.parts import Interrupted, PartError, Signals
from demo.runs import new_run
from demo.screen import Screen, now
from demo.story import DemoError, Scene, follow, start, wait_for

DEADLINE_HOURS = 0.02
"""Seconds enough for a day that goes well, and too few for the one that Graph holds up."""

SLOW_SECONDS = 6.0

OVER = ("success", "failed")

REFUSED = {"kind": "status", "path": "/login$", "times": 1000, "status": 401}
FULL = {"kind": "status", "times": 100_000, "status": 507, "code": "ErrorQuotaExceeded"}


@dataclass(kw_only=True)
class Week:
    """Hold what runs, and play day after day."""

    scene: Scene

    def archive(self, days_ago: int, what: str) -> None:
        """Archive one day, whatever comes of it."""
        day = self.scene.options.day - timedelta(days=days_ago)
        self.scene.screen.heading(f"{day}: {what}")
        follow(self.scene, self.scene.airflow.trigger(replace(self.scene.options, day=day)))

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Let TeleMessage take no login."""
        with self._fault(self._sandbox["telemessage"]["url"], REFUSED):
            yield

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let one mailbox take nothing."""
        mailbox, _ = next(iter(mailboxes.look(self._sandbox, keep_texts=False).copies))
        with self._fault(self._graph, {**FULL, "path": f"/users/{mailbox}/.*messages$"}):
            yield

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Let Graph take its time."""
        self._ask("PUT", f"{self._graph}/_sandbox/latency", {"seconds": SLOW_SECONDS})
        yield
        self._ask("PUT", f"{self._graph}/_sandbox/latency", {"seconds": 0})

    def enrol(self) -> None:
        """Give somebody a mailbox for whom items wait, and let the replay find out."""
        self.scene.screen.heading("Somebody is added to the mapping files, and what waited is delivered")
        somebody = mailboxes.somebody_parked(self.scene.options)
        if somebody is None:
            raise DemoError("Nobody waits: play the week with more items.")
        folder = Path(self.scene.environ["O2_MAPPINGS"])
        (folder / "new.csv").write_text(f"Phone,Mailbox\n{','.join(somebody)}\n")
        run_id = self.scene.airflow.replay()
        wait_for("The replay", lambda: self.scene.airflow.run_state(run_id, REPLAY) in OVER, self.scene.parts)

    @property
    def _sandbox(self) -> dict[str, Any]:
        if self.scene.sandbox is None:
            raise DemoError("The week is played in the sandbox: unset the connections to TeleMessage and Graph.")
        return self.scene.sandbox

    @property
    def _graph(self) -> str:
        return str(self._sandbox["graph"]["url"]).removesuffix("/v1.0")

    @contextmanager
    def _fault(self, site: str, fault: dict[str, Any]) -> Iterator[None]:
        self._ask("POST", f"{site}/_sandbox/faults", fault)
        yield
        self._ask("DELETE", f"{site}/_sandbox/faults", None)

    @cached_property
    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env, session.verify = False, str(self._sandbox["ca_file"])
        return session

    def _ask(self, method: str, url: str, body: Any) -> None:
        self._session.request(method, url, json=body, timeout=30).raise_for_status()


def play(week: Week) -> None:
    """Play the days, in their order."""
    week.archive(6, "goes well")
    week.archive(5, "goes well")
    with week.refused():
        week.archive(4, "TeleMessage refuses the login")
    with week.slow():
        week.archive(3, "Graph is slow, the day is late")
    week.archive(2, "nothing was captured")
    with week.full():
        week.archive(0, "a mailbox takes nothing; the day before is left out")
    week.enrol()


def notices(folder: Path) -> Iterator[str]:
    """Yield the notices that were sent, as they read."""
    for file in sorted(folder.glob("*.eml")):
        mail = message_from_bytes(file.read_bytes(), policy=policy.default)
        body = mail.get_body(("plain", "html"))
        yield f"{mail['Subject']}\n\n{body.get_content().strip() if body else ''}\n"


def keep(scene: Scene, folder: Path, pictures: Callable[[str, Path], None]) -> None:
    """Leave the pictures, the notices and the status in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).parent / "o2-archive"), "status"]
    said = subprocess.run(command, env=scene.environ, cwd=ROOT, capture_output=True, text=True, check=False)
    (folder / "status.txt").write_text(said.stdout + said.stderr)
    (folder / "notices.txt").write_text("\n".join(notices(scene.where.folder / "sandbox" / "mails")))
    scene.screen.heading("o2-archive status")
    for line in said.stdout.splitlines():
        scene.screen.line(f"  {line}")
    pictures(scene.where.url, folder)


def options(items: int, seed: int, yesterday: date | None = None) -> Options:
    """Choose the week's people and items; on the third day from its end nothing is captured."""
    day = yesterday.isoformat() if yesterday else None
    chosen = settle(items=items, users=25, seed=seed, zone="Europe/London", day=day, corpus=None, now=now())
    return replace(chosen, quiet=(chosen.day - timedelta(days=2),))


def main() -> int:
    """Play the week, and end everything."""
    parser = argparse.ArgumentParser(prog="python -m demo.week", description=__doc__)
    parser.add_argument("--items", type=int, default=200, help="items of every day (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another organisation (%(default)s)")
    parser.add_argument("--to", type=Path, default=ROOT / ".demo" / "week", help="folder for what is left")
    arguments = parser.parse_args()
    from tests.ui.pictures import take_pictures

    chosen, screen, signals = options(arguments.items, arguments.seed), Screen(), Signals()
    os.environ |= {
        "O2_DEADLINE_HOURS": str(DEADLINE_HOURS),
        "O2_FIRST_DAY": (chosen.day - timedelta(days=6)).isoformat(),
        "O2_SILENT_DAYS": "3",
    }
    with signals.hold():
        folder, parts = new_run("demo", signals, now())
    try:
        scene = start(chosen, Where(folder=folder, port=free_port()), parts, screen)
        play(Week(scene=scene))
        keep(scene, arguments.to, take_pictures)
    except (PartError, DemoError) as error:
        screen.line(screen.bad(str(error)))
        return 1
    except Interrupted as interruption:
        return 128 + interruption.number
    finally:
        signals.deaf = True
        left = parts.end()
    screen.line(f"\nThe pictures, the notices and the status are in {arguments.to}")
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
