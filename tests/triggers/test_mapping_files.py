"""The trigger on real folders; what Airflow does with its events is tests/test_scheduler.py's."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger

from o2_connector.core.errors import StopError
from o2_connector.engine.mapping_folder import read_folder
from o2_connector.triggers.mapping_files import TOLD, MappingFilesTrigger, look

HEADINGS = b"ExternalUserId,O365UserMailbox\n"
ALEX, SAM = b"+447700900123,alex@example.com\n", b"+447700900124,sam@example.com\n"
LOOK = 0.02

pytestmark = pytest.mark.anyio


@dataclass
class Store:
    """Stand for what Airflow keeps with the asset."""

    kept: dict[str, Any] = field(default_factory=dict)

    async def aget(self, key: str) -> Any:
        return self.kept.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self.kept[key] = value


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mappings"
    made.mkdir()
    (made / "people.csv").write_bytes(HEADINGS + ALEX)
    return made


@pytest.fixture
def store(folder: Path) -> Store:
    """Give a store that knows the folder as it is."""
    return Store({TOLD: look(folder).digest})


@asynccontextmanager
async def watching(folder: Path, store: Store | None) -> AsyncIterator[asyncio.Queue[Any]]:
    trigger = MappingFilesTrigger(folder=str(folder), seconds=LOOK)
    trigger.asset_state_store = store  # type: ignore[assignment]
    events: asyncio.Queue[Any] = asyncio.Queue()

    async def pump() -> None:
        async for event in trigger.run():
            events.put_nowait(event.payload)

    task = asyncio.create_task(pump())
    try:
        yield events
        assert not task.done()
    finally:
        task.cancel()


async def told(events: asyncio.Queue[Any]) -> Any:
    return await asyncio.wait_for(events.get(), 10)


async def looks(count: int = 8) -> None:
    await asyncio.sleep(LOOK * count)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a row more": lambda folder: (folder / "people.csv").write_bytes(HEADINGS + ALEX + SAM),
    "another address of the same length": lambda folder: (folder / "people.csv").write_bytes(
        HEADINGS + ALEX.replace(b"alex", b"axel")
    ),
    "a BOM": lambda folder: (folder / "people.csv").write_bytes(b"\xef\xbb\xbf" + HEADINGS + ALEX),
    "CRLF": lambda folder: (folder / "people.csv").write_bytes((HEADINGS + ALEX).replace(b"\n", b"\r\n")),
    "another name": lambda folder: (folder / "people.csv").rename(folder / "staff.csv"),
    "a file more": lambda folder: (folder / "more.CSV").write_bytes(HEADINGS + SAM),
    "an empty file more": lambda folder: (folder / "empty.csv").touch(),
    "no file left": lambda folder: (folder / "people.csv").unlink(),
    "replaced at once": lambda folder: _written_beside(folder).replace(folder / "people.csv"),
}


def _written_beside(folder: Path) -> Path:
    fresh = folder / "people.csv.new"
    fresh.write_bytes(HEADINGS + SAM)
    return fresh


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_each_change_sends_one_event(folder: Path, store: Store, change: Callable[[Path], object]) -> None:
    async with watching(folder, store) as events:
        await looks()
        assert events.empty()

        change(folder)

        event = await told(events)
        await looks()
        now = look(folder)
        assert event == {"files": now.files, "digest": now.digest}
        assert events.empty()


async def test_what_changes_nothing_in_the_mapping_sends_no_event(folder: Path, store: Store) -> None:
    async with watching(folder, store) as events:
        await looks()
        os.utime(folder / "people.csv", (1, 1))
        (folder / "people.csv").write_bytes((folder / "people.csv").read_bytes())
        (folder / "README.md").write_text("not a mapping file")
        (folder / "people.csv.bak").write_bytes(HEADINGS + SAM)
        (folder / "._people.csv").write_bytes(b"macOS")
        (folder / "folder.csv").mkdir()
        await looks()

        assert events.empty()


async def test_a_change_back_is_a_change(folder: Path, store: Store) -> None:
    before = (folder / "people.csv").read_bytes()
    async with watching(folder, store) as events:
        (folder / "people.csv").write_bytes(before + SAM)
        first = await told(events)
        (folder / "people.csv").write_bytes(before)
        second = await told(events)

    assert first["digest"] != second["digest"] == look(folder).digest


async def test_a_file_that_is_being_written_is_told_of_when_it_is_complete(folder: Path, store: Store) -> None:
    async with watching(folder, store) as events:
        with (folder / "people.csv").open("ab", buffering=0) as file:
            for number in range(100):
                file.write(b"+4477009%05d,user%d@example.com\n" % (number, number))
                # On the trigger's own loop, and four times as often as it looks: no two looks see the same.
                await asyncio.sleep(LOOK / 4)
        assert events.empty()

        event = await told(events)
        await looks()
        assert event["digest"] == look(folder).digest
        assert events.empty()


async def test_the_first_look_ever_sends_one_event(folder: Path) -> None:
    store = Store()
    async with watching(folder, store) as events:
        event = await told(events)
        await looks()

        assert event == {"files": 1, "digest": store.kept[TOLD]}
        assert events.empty()


async def test_what_changed_while_nobody_watched_is_told_at_the_next_start(folder: Path, store: Store) -> None:
    async with watching(folder, store) as events:
        await looks()
        assert events.empty()
    (folder / "people.csv").write_bytes(HEADINGS + SAM)

    async with watching(folder, store) as events:
        await told(events)
        await looks()
        assert events.empty()
    async with watching(folder, store) as events:
        await looks()
        assert events.empty()


async def test_an_event_that_airflow_may_not_have_yet_is_sent_again_after_a_restart(folder: Path, store: Store) -> None:
    (folder / "people.csv").write_bytes(HEADINGS + SAM)
    trigger = MappingFilesTrigger(folder=str(folder), seconds=10 * LOOK)
    trigger.asset_state_store = store  # type: ignore[assignment]
    looking = trigger.run()
    first = await anext(looking)
    killed = asyncio.ensure_future(anext(looking))
    await looks(2)
    killed.cancel()

    async with watching(folder, store) as events:
        assert await told(events) == first.payload


async def test_a_folder_that_is_away_for_a_while_is_no_change(
    folder: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    async with watching(folder, store) as events:
        folder.rename(folder.with_name("away"))
        await looks()
        folder.with_name("away").rename(folder)
        await looks()
        assert events.empty()

    logged = "".join(capsys.readouterr())
    assert logged.count("cannot be read here (No such file or directory)") == 1


async def test_a_folder_that_is_made_later_is_watched_from_then_on(tmp_path: Path) -> None:
    late = tmp_path / "late"
    async with watching(late, Store()) as events:
        await looks()
        assert events.empty()
        late.mkdir()

        event = await told(events)

    assert event["files"] == 0


async def test_a_file_that_cannot_be_read_is_neither_there_nor_gone(folder: Path, store: Store) -> None:
    async with watching(folder, store) as events:
        # Not by its mode: root may read everything.
        (folder / "unreadable.csv").symlink_to("/proc/self/mem")
        await looks()
        (folder / "unreadable.csv").unlink()
        await looks()

        assert events.empty()


async def test_files_are_read_in_another_thread_than_the_triggerers_loop(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = set()
    digest_of = hashlib.file_digest

    def reading(*arguments: Any) -> Any:
        readers.add(threading.get_ident())
        return digest_of(*arguments)

    monkeypatch.setattr(hashlib, "file_digest", reading)
    async with watching(folder, store):
        await looks()

    assert readers
    assert threading.get_ident() not in readers


async def test_without_an_asset_to_keep_its_state_with_it_says_so(folder: Path) -> None:
    trigger = MappingFilesTrigger(folder=str(folder))

    with pytest.raises(StopError, match="AssetWatcher"):
        await anext(trigger.run())


async def test_it_looks_at_the_files_that_map_mailboxes_reads(folder: Path) -> None:
    names = ("a.CSV", "b.csv.txt", "c.Csv", ".csv", "._d.csv", "~$e.csv", "csv", "n\u00e4me.csv", "f.csv ", "g.tsv")
    for name in names:
        (folder / name).write_bytes(HEADINGS)
    (folder / "h.csv").mkdir()
    (folder.parent / "target").write_bytes(HEADINGS)
    (folder / "i.csv").symlink_to(folder.parent / "target")
    read = {name for name, _ in read_folder(folder)}

    for path in sorted(folder.iterdir()):
        before = look(folder)
        kept = path.rename(folder.parent / "kept")
        assert (look(folder) != before) is (path.name in read), path.name
        kept.rename(path)


async def test_airflow_makes_the_same_trigger_again(folder: Path) -> None:
    from airflow._shared.module_loading import import_string

    path, arguments = MappingFilesTrigger(folder=str(folder), seconds=5).serialize()

    again = import_string(path)(**arguments)

    assert again.serialize() == (path, arguments) == (path, {"folder": str(folder), "seconds": 5})
    # Airflow knows one watcher from another by this.
    assert BaseEventTrigger.hash(path, arguments) == BaseEventTrigger.hash(*again.serialize())
    assert BaseEventTrigger.hash(path, arguments) != BaseEventTrigger.hash(path, {**arguments, "folder": "/elsewhere"})
