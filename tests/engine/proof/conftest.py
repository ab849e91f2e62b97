"""An archive with all that there can be in it, sound; and copies of it that may be tampered with."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path

import pytest

from o2_connector.core.window import Window
from sandbox.server import running
from tests.archive import YESTERDAY, Archive, connected
from tests.engine.proof.tampered import Staged, copied

DAY = Window(start=YESTERDAY, end=YESTERDAY + timedelta(days=1))
DAY_BEFORE = Window(start=DAY.start - timedelta(days=1), end=DAY.start)
QUIET = Window(start=DAY_BEFORE.start - timedelta(hours=1), end=DAY_BEFORE.start - timedelta(minutes=59))
"""A minute in which nothing was captured."""


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Archive two days, one of them twice, and a quiet minute; dry run, and replay what was parked of them."""
    folder = tmp_path_factory.mktemp("sound")
    with running(folder / "sandbox", items=60, users=14) as sandbox:
        with pytest.MonkeyPatch.context() as monkeypatch:
            line = connected(sandbox, folder, monkeypatch)
            line.run("day before", start=DAY_BEFORE.start)
            line.run("quiet", start=QUIET.start, days=1 / 1440)
            line.run("day")
            line.run("day again")
            line.run("day dry", dry_run=True)
            someone = next(user for user in sandbox.world.directory if user.mailbox == "ok").user_principal_name
            rows = [f"{person.phone},{someone}\n" for person in sandbox.world.people if person.user is None]
            assert len(rows) > 1
            (line.mappings / "later.csv").write_text("".join(["ExternalUserId,O365UserMailbox\n", *rows[1:]]))
            line.replay("replay")
        yield line


@pytest.fixture
def staged(sound: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Staged:
    """Lend a copy of the sound archive's staging."""
    copied(sound.staging, tmp_path / "staging")
    return Staged(folder=connected(sound.sandbox, tmp_path, monkeypatch).staging, span=DAY)


@pytest.fixture(scope="session")
def mailed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Archive a day into mailboxes that may be tampered with."""
    folder = tmp_path_factory.mktemp("mailed")
    with running(folder / "sandbox", items=30, users=14) as sandbox:
        with pytest.MonkeyPatch.context() as monkeypatch:
            line = connected(sandbox, folder, monkeypatch)
            line.run()
        yield line


@pytest.fixture
def line(mailed: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """Lend that archive, with a copy of its staging; afterwards the mailboxes are as they were."""
    graph = mailed.sandbox.graph
    before = deepcopy(graph.mailboxes, {id(graph.breaches): graph.breaches})
    copied(mailed.staging, tmp_path / "staging")
    line = connected(mailed.sandbox, tmp_path, monkeypatch)
    line.xcom |= mailed.xcom
    yield line
    graph.faults.clear()
    graph.change_users(mailed.sandbox.world.directory)
    graph.mailboxes |= before


@pytest.fixture
def day(line: Archive) -> Staged:
    """Lend that day's staging."""
    return Staged(folder=line.staging, span=DAY)
