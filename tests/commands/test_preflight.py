"""``preflight`` tells an operator, and programs, whether the archive could work."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from time import sleep

import pytest

from o2_connector.commands import __main__ as commands
from sandbox.server import Sandbox, running
from tests.engine.conftest import connected
from tests.engine.preflight.conftest import Rig, rigged


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox"), items=1, users=40) as sandbox:
        yield sandbox


@pytest.fixture
def rig(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    logging.disable(logging.WARNING)
    before = signal.getsignal(signal.SIGTERM)
    with connected(sandbox, tmp_path, monkeypatch) as site, rigged(site, tmp_path) as rig:
        monkeypatch.setenv("O2_CANARY_MAILBOX", rig.canary.mail or "")
        monkeypatch.setenv("O2_MAPPINGS", rig.settings.mappings)
        yield rig
    signal.signal(signal.SIGTERM, before)
    logging.disable(logging.NOTSET)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["o2-archive", "preflight", *arguments])
    return commands.main()


def test_where_nothing_has_to_be_mended_it_ends_with_0_and_counts(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--outside", rig.outside.mail or "") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "TeleMessage: ok: there is a connection o2_telemessage"
    assert "staging: ok: a name that is taken is refused" in lines
    assert "canary mailbox: ok: its author is kept" in lines
    assert lines[-1].endswith("warning: 1, error: 0, not checked: 0")


def test_where_something_has_to_be_mended_it_ends_with_1(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--canary", "nobody@example.com") == 1
    assert "canary mailbox: error: the canary's address leads to no mailbox" in capsys.readouterr().out


def test_programs_get_json_and_nothing_else(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(monkeypatch, "--json") == 0

    told = json.loads(capfdbinary.readouterr().out)
    assert (told["counts"]["error"], told["counts"]["not checked"]) == (0, 1)


def test_a_setting_that_cannot_be_ends_it_with_2(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("O2_REGION", "UK")

    assert run(monkeypatch) == 2
    assert "ISO 3166" in capsys.readouterr().err


def test_when_it_is_ended_it_removes_what_it_made(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        while len(rig.mailbox().messages) < 2:
            sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=end, daemon=True).start()

    assert run(monkeypatch) == 128 + signal.SIGINT
    assert rig.mailbox().created >= 2
    assert rig.mailbox().messages == {}
