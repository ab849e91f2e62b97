"""A sound archive is proved, all of it, and nothing is found."""

from __future__ import annotations

import pytest

from o2_connector.core.window import Window
from o2_connector.engine.proof.mailboxes import Extent
from o2_connector.engine.proof.result import Proof
from tests.archive import Archive
from tests.engine.proof.conftest import DAY, DAY_BEFORE, QUIET
from tests.engine.proof.tampered import Staged


@pytest.mark.parametrize(
    "span", [DAY, DAY_BEFORE, Window(start=DAY_BEFORE.start, end=DAY.end)], ids=["day", "day before", "both"]
)
@pytest.mark.parametrize("extent", [Extent.SAMPLE, Extent.ALL])
def test_a_sound_archive_is_proved(staged: Staged, sound: Archive, span: Window, extent: Extent) -> None:
    proved = staged.prove(span, extent=extent)

    assert (proved.faults, proved.unproved) == ([], [])
    assert [result.proof for result in proved.results] == list(Proof)
    assert all(result.proved for result in proved.results)
    assert sound.sandbox.graph.breaches == []


def test_messages_of_several_requests_are_among_what_is_proved(sound: Archive) -> None:
    sizes = [attachment["size"] for message in sound.messages() for attachment in message["attachments"]]

    assert max(sizes) > 4 * 1024 * 1024


def test_what_is_proved_is_counted(staged: Staged, sound: Archive) -> None:
    proved = staged.prove(extent=Extent.ALL)

    assert proved.of(Proof.CHAIN).proved.startswith("6 links, each as its digest says, ending at chain/00000006.")
    assert "60 records in 1 batch converted again: the same 60 e-mails" in proved.of(Proof.CONVERSION).proved
    assert proved.of(Proof.BOOKS).proved.startswith("4 books added up again")
    delivered = len({(each["userId"], each["internetMessageId"]) for each in sound.messages()})
    both = staged.prove(Window(start=DAY_BEFORE.start, end=DAY.end), extent=Extent.ALL)
    assert f"{delivered:,} of {delivered:,} deliveries looked up" in both.of(Proof.MAILBOXES).proved
    assert "still wait" in proved.of(Proof.PARKED).proved


def test_an_empty_window_is_proved_by_its_book(staged: Staged) -> None:
    proved = staged.prove(QUIET, extent=Extent.ALL)

    assert (proved.faults, proved.unproved) == ([], [])
    assert proved.of(Proof.BOOKS).proved.startswith("1 book added up again, 0 items")


def test_a_replays_own_span_is_proved(staged: Staged) -> None:
    replay = next(link for link in staged.links() if link.replay)

    proved = staged.prove(replay.window, extent=Extent.ALL)

    assert (proved.faults, proved.unproved) == ([], [])
    assert "delivered" in proved.of(Proof.PARKED).proved


def test_what_no_book_covers_is_not_proved(staged: Staged) -> None:
    proved = staged.prove(Window(start=QUIET.start, end=DAY.end))

    assert proved.faults == []
    (why,) = proved.unproved
    assert why.startswith(f"no book covers {Window(start=QUIET.end, end=DAY_BEFORE.start)}: it is not archived")


def test_proving_writes_nothing_but_its_turns(staged: Staged) -> None:
    before = {name for name in staged.names("**/*") if not name.startswith("owners/")}

    staged.prove(extent=Extent.ALL)

    assert {name for name in staged.names("**/*") if not name.startswith("owners/")} == before
