"""Looking into the sandbox's mailboxes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from demo.mailboxes import Arrived, card, differing_texts, somebody_parked
from demo.options import ROOT, Options
from sandbox.people import written
from sandbox.world import World

TEXTS = ["Plain", "Emoji \U0001f600 and \u0645\u0631\u062d\u0628\u0627", "e\u0301 is not \u00e9", "two\nlines "]


@pytest.fixture
def corpus(tmp_path: Path) -> Options:
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"sender": f"Sender {text[0]}", "text": text}) + "\n" for text in TEXTS))
    zone = ZoneInfo("Europe/London")
    return Options(items=len(TEXTS), users=12, seed=1, zone=zone, day=date(2026, 11, 21), corpus=file)


def archived(options: Options) -> dict[str, list[str]]:
    world = World(options.seed, options.users, options.items, options.zone.key, corpus=options.corpus)
    return {item["itemId"]: [str(item["text"])] for item in world.items_of(*options.window)}


def test_every_text_of_a_corpus_is_found_again(corpus: Options) -> None:
    assert differing_texts(corpus, archived(corpus)) == []


@pytest.mark.parametrize("change", [lambda text: text.strip(), lambda text: text.replace("e\u0301", "\u00e9")])
def test_a_text_that_differs_in_one_code_point_is_named(corpus: Options, change: object) -> None:
    assert callable(change)
    texts = {item_id: [change(text) for text in copies] for item_id, copies in archived(corpus).items()}

    assert len(differing_texts(corpus, texts)) == 1


def test_a_text_that_no_mailbox_has_is_named(corpus: Options) -> None:
    texts = archived(corpus)
    missing = next(iter(texts))
    del texts[missing]

    assert differing_texts(corpus, texts) == [missing]


def test_a_second_copy_in_one_mailbox_is_seen_and_a_copy_in_another_is_none() -> None:
    arrived = Arrived()
    arrived.copies.update([("amelia", "1"), ("noah", "1"), ("amelia", "2"), ("amelia", "1")])

    assert arrived.twice == 1
    assert arrived.mailboxes == 2


def test_a_card_says_what_a_person_looks_for() -> None:
    message = {
        "subject": "SMS and MMS between +447700900001, +447700900002",
        "from": {"emailAddress": {"name": "Amelia", "address": "amelia@example.com"}},
        "toRecipients": [{"emailAddress": {"name": "Noah", "address": "noah@example.com"}}] * 3,
        "sentDateTime": "2026-11-21T09:30:00Z",
        "bodyPreview": "\nFirst line\nsecond",
        "attachments": [{"name": "picture.png", "size": 1234}],
    }

    lines = list(card(message))

    assert lines[2] == "  to   Noah <noah@example.com> and 2 more"
    assert lines[3] == "  2026-11-21 09:30:00 UTC   First line"
    assert lines[4] == "  + picture.png, 1,234 bytes"


def test_who_is_named_to_be_added_takes_part_in_items_that_nobody_gets_and_is_in_no_mapping_file() -> None:
    options = Options(items=300, users=25, seed=1, zone=ZoneInfo("Europe/London"), day=date(2026, 11, 21))
    world = World(options.seed, options.users, options.items, options.zone.key)

    named = somebody_parked(options)

    assert named is not None
    number, address = named
    (person,) = [person for person in world.people if person.phone == number]
    assert (person.user, person.mapped_to) == (None, None)
    spelt = written(number)
    items = [item for item in world.items_of(*options.window) if not world.users_of(item)]
    assert [item for item in items if {party["phone"] for party in (item["from"], *item["to"])} & set(spelt)]
    assert [user for user in world.directory if user.mail == address and user.mailbox == "ok"]


def test_nobody_is_named_where_nothing_waits(corpus: Options) -> None:
    assert somebody_parked(corpus) is None


def test_what_ends_a_demo_needs_nothing_of_the_connector() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    answer = subprocess.run(
        [sys.executable, "-m", "demo", "down", "--help"], cwd=ROOT, env=environ, capture_output=True, check=False
    )

    assert answer.returncode == 0, answer.stderr.decode()
