"""What became of an item is told stage by stage, whatever became of it, from staging alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from o2_connector.core.explanation import DecisionTold, Explanation
from o2_connector.core.identity import message_id
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.core.window import Window
from o2_connector.engine.explanation import explain
from o2_connector.engine.windows import windows_in
from tests.engine.evidence import ALEX, AT, Evidence, attached, evidence_in, record
from tests.engine.small import DAY, Killed

LEE = "+447700900999"
TEXT = "See you at ten."
HALF = Window(start=DAY.start, end=DAY.start + timedelta(hours=12))
LATER = Window(start=DAY.end, end=DAY.end + timedelta(days=1))


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evidence]:
    yield from evidence_in(tmp_path, monkeypatch)


def told(evidence: Evidence, item_id: str = "o2-1", *, personal: bool = False) -> Explanation:
    """Explain an item, looking at every window."""
    windows = list(windows_in(evidence.staging))
    return explain(evidence.staging, item_id, windows, personal=personal)


def outcomes(decision: DecisionTold) -> list[tuple[str, str | None]]:
    """Return outcome and cause of each of a decision's deliveries, as far as they have any."""
    return [(each.counts.outcome, each.counts.cause) for each in decision.deliveries if each.counts]


def test_a_delivered_item_has_every_stage(evidence: Evidence) -> None:
    decision = evidence.archive([record("o2-0"), record()])

    explanation = told(evidence)

    (captured,), (converted,), (decided,) = explanation.records, explanation.conversions, explanation.decisions
    assert explanation.message_id == message_id("o2-1")
    assert (captured.window, captured.line, captured.fault) == (DAY.name, 2, None)
    assert captured.archived_at
    assert captured.archived_at.isoformat() == AT.replace("Z", "000+00:00")
    assert (evidence.root / captured.batch).read_bytes().splitlines()[1] == record().rstrip()
    emls = evidence.root / str(converted.emls)
    assert b"X-O2-Item-Id: o2-1\r\n" in emls.read_bytes()[converted.offset :][: converted.length]
    assert (converted.converter, converted.record) == ("2", captured.digest)
    assert (decided.run_id, decided.replay, decided.dry_run) == ("run", False, False)
    assert decided.mapping == decision.mapping.name
    assert [name.rpartition(".")[2] for name in decided.reports] == ["csv"]
    (delivery,) = decided.deliveries
    assert (delivery.mailbox, delivery.rule, delivery.place) == ("mailbox-of-alex", "mapping file", "a.csv:2")
    assert (delivery.record, delivery.asked) == (captured.digest, False)
    assert outcomes(decided) == [(Outcome.IMPORTED, None)]
    assert (explanation.waits, explanation.unread) == ((), ())


def test_an_item_of_several_runs_and_windows_has_each_decision_in_order(evidence: Evidence) -> None:
    for window, run in ((DAY, "first"), (HALF, "half"), (DAY, "again")):
        evidence.archive([record()], window, run=run)

    explanation = told(evidence)

    assert [(each.run_id, each.span) for each in explanation.decisions] == [
        ("first", DAY.name),
        ("half", HALF.name),
        ("again", DAY.name),
    ]
    assert [outcomes(each) for each in explanation.decisions] == [
        [(Outcome.IMPORTED, None)],
        [(Outcome.SKIPPED, Cause.ALREADY_THERE)],
        [(Outcome.SKIPPED, Cause.ALREADY_THERE)],
    ]
    assert {each.window for each in explanation.records} == {DAY.name, HALF.name}


def test_the_same_record_again_and_another_one_under_the_same_id_are_told_apart(evidence: Evidence) -> None:
    evidence.archive([record(), record(), record(text="Another.")], batch=1)

    explanation = told(evidence)

    first, again, other = sorted(explanation.records, key=lambda each: each.batch)
    assert first.digest == again.digest != other.digest
    (decision,) = explanation.decisions
    causes = {(each.record, each.counts and each.counts.cause) for each in decision.deliveries}
    assert causes == {
        (first.digest, None),
        (first.digest, Cause.SAME_ITEM_AGAIN),
        (other.digest, Cause.CONFLICTING_ITEM),
    }


def test_a_rejected_record_is_found_by_its_id_with_the_fault(evidence: Evidence) -> None:
    evidence.archive([record("o2-0"), record(direction="SIDEWAYS")])

    explanation = told(evidence)

    (rejected,) = explanation.records
    assert (rejected.line, rejected.sender) == (2, None)
    assert rejected.fault
    assert "direction" in rejected.fault
    assert explanation.conversions == explanation.decisions == ()


def test_a_parked_item_says_since_when_and_for_whom_and_then_which_replay_delivered_it(evidence: Evidence) -> None:
    evidence.archive([record(to=[{"phone": LEE}])])

    (waits,) = told(evidence).waits
    assert (waits.cause, waits.nobody, waits.gone) == (Cause.NO_ADDRESS, True, False)
    assert waits.since == int(evidence.at.timestamp() * 1000)
    assert [each.phone for each in waits.people] == ["…456", "…999"]

    evidence.rows.append(f"{LEE},alex@example.com")
    evidence.replay()

    run, replay = (explanation := told(evidence)).decisions
    assert [(each.outcome, each.cause) for each in run.standings] == [("parked", Cause.NO_ADDRESS)]
    assert (replay.replay, outcomes(replay)) == (True, [(Outcome.IMPORTED, None)])
    assert {(each.gone, each.by) for each in explanation.waits} == {(True, replay.run_id)}


def test_a_replay_that_could_not_deliver_it_says_that_it_stays(evidence: Evidence) -> None:
    evidence.archive([record(to=[{"phone": LEE}])])
    evidence.replay()

    _, replay = told(evidence).decisions

    assert (replay.replay, replay.deliveries) == (True, ())
    assert [each.outcome for each in replay.standings] == ["parked"]


def test_an_item_that_waits_for_somebody_while_others_have_it_says_so(evidence: Evidence) -> None:
    evidence.archive([record(to=[{"phone": ALEX}, {"phone": LEE, "email": "nobody@example.com"}])])

    explanation = told(evidence)

    (waits,) = explanation.waits
    assert (waits.nobody, waits.cause, [each.phone for each in waits.people]) == (False, Cause.NO_USER, ["…999"])
    assert outcomes(explanation.decisions[0]) == [(Outcome.IMPORTED, None)]


def test_what_a_newcomer_missed_and_got_is_told(evidence: Evidence) -> None:
    evidence.archive([record()])
    evidence.rows.append("+447700900456,kim@example.com")
    evidence.users["kim@example.com"] = "mailbox-of-kim"
    evidence.replay()

    explanation = told(evidence)

    _, replay = explanation.decisions
    assert [each.mailbox for each in replay.deliveries if each.place == "a.csv:3"] == ["mailbox-of-kim"]
    assert [(each.gone, each.by) for each in explanation.waits] == [(True, replay.run_id)]


def test_attachments_say_where_they_are_or_why_they_are_not(evidence: Evidence) -> None:
    files = b"picture", b"x" * (2 << 20), b"never had"
    evidence.megabytes = 1
    files_told = attached(*files)
    gone = files_told[2]
    missing = {(gone["attachmentId"], gone["sha256"], gone["byteCount"]): Cause.ATTACHMENT_GONE}
    evidence.archive([record(itemType="MMS", attachments=files_told)], files=files[:2], missing=missing)

    explanation = told(evidence)

    picture, large, never = explanation.records[0].attachments
    assert (picture.staged, picture.cause) == (f"attachments/{picture.sha256[:2]}/{picture.sha256}", None)
    assert (bool(large.staged), large.cause) == (True, Cause.ATTACHMENT_TOO_LARGE)
    assert (never.staged, never.cause) == (None, Cause.ATTACHMENT_GONE)
    assert set(explanation.conversions[0].causes) == {Cause.ATTACHMENT_TOO_LARGE, Cause.ATTACHMENT_GONE}
    assert outcomes(explanation.decisions[0])[0][0] == Outcome.PARTIALLY_IMPORTED


def test_an_item_that_was_staged_and_never_converted_is_found(evidence: Evidence) -> None:
    evidence.stage([record("o2-0"), record()])

    explanation = told(evidence)

    assert [each.line for each in explanation.records] == [2]
    assert explanation.conversions == explanation.decisions == ()


def test_an_item_that_was_converted_and_never_decided_on_has_its_version_from_the_e_mail(evidence: Evidence) -> None:
    evidence.convert(evidence.stage([record("o2-0"), record()]))

    explanation = told(evidence)

    (converted,) = explanation.conversions
    assert converted.converter == "2"
    assert converted.emls
    assert explanation.decisions == ()


def test_a_batch_that_came_otherwise_when_it_came_again_is_looked_through(evidence: Evidence) -> None:
    evidence.archive([record("o2-0")])
    evidence.stage([record("o2-0"), record()])

    assert [each.line for each in told(evidence).records] == [2]


def test_a_batch_that_came_twice_has_each_conversion_where_it_belongs(evidence: Evidence) -> None:
    evidence.archive([record()], run="first")
    evidence.archive([record(), record("o2-2")], run="second")

    explanation = told(evidence)

    assert len(explanation.records) == len(explanation.conversions) == 2
    assert [len(explanation.conversions_of(each)) for each in explanation.records] == [1, 1]


def test_a_dry_run_is_one(evidence: Evidence) -> None:
    evidence.archive([record()], run="dry", dry_run=True)

    (decision,) = told(evidence).decisions

    assert decision.dry_run
    assert [(each.mailbox, each.counts, each.asked) for each in decision.deliveries] == [
        ("mailbox-of-alex", None, False)
    ]


@pytest.mark.parametrize("action", ["EDIT", "DELETE"])
def test_what_edits_or_deletes_another_names_it_and_is_not_taken_for_it(evidence: Evidence, action: str) -> None:
    evidence.archive([record(), record("o2-2", relatesTo={"itemId": "o2-1", "action": action})])

    (second,) = told(evidence, "o2-2").records
    assert (second.action, second.relates_to) == (action, "o2-1")
    assert [each.line for each in told(evidence).records] == [1]


def test_a_delivery_of_which_the_answer_is_not_known_says_so(evidence: Evidence) -> None:
    _, _, decision = evidence.decide([record()])
    with contextlib.suppress(Killed):
        evidence.deliver(decision, most=0)

    (delivery,) = told(evidence).decisions[0].deliveries

    assert (delivery.asked, delivery.counts) == (True, None)
    evidence.deliver(decision)
    (delivery,) = told(evidence).decisions[0].deliveries
    assert delivery.asked is False
    assert delivery.counts
    assert (delivery.counts.outcome, delivery.counts.cause) == (Outcome.SKIPPED, Cause.ALREADY_THERE)


def test_a_delivery_that_nobody_asked_for_yet_has_no_answer(evidence: Evidence) -> None:
    evidence.decide([record()])

    (delivery,) = told(evidence).decisions[0].deliveries

    assert (delivery.asked, delivery.counts, delivery.answers) == (False, None, ())


def test_a_failure_stays_told_beside_the_success_that_counts(evidence: Evidence) -> None:
    evidence.full = {"mailbox-of-alex"}
    decision = evidence.archive([record()])
    assert outcomes(told(evidence).decisions[0]) == [(Outcome.FAILED, "ErrorQuotaExceeded")]

    evidence.full = set()
    evidence.at += timedelta(minutes=1)
    evidence.deliver(decision)

    (delivery,) = told(evidence).decisions[0].deliveries
    assert [each.outcome for each in delivery.answers] == [Outcome.FAILED, Outcome.IMPORTED]
    assert delivery.counts
    assert delivery.counts.outcome is Outcome.IMPORTED


def test_an_unknown_id_says_how_far_it_was_looked_for(evidence: Evidence) -> None:
    for window in (DAY, LATER):
        evidence.archive([record()], window)

    explanation = told(evidence, "o2-10")

    assert not explanation.is_found
    assert explanation.searched == (DAY.name, LATER.name)


def test_only_the_windows_that_were_asked_for_are_looked_at(evidence: Evidence) -> None:
    evidence.archive([record()])
    evidence.archive([record("o2-2")], LATER)

    explanation = explain(evidence.staging, "o2-1", [LATER], personal=False)

    assert (explanation.is_found, explanation.searched) == (False, (LATER.name,))


@pytest.mark.parametrize("item_id", ['a"b\\c/d', "é 😀", "o2.1+*?["])
def test_any_id_is_found(evidence: Evidence, item_id: str) -> None:
    evidence.archive([record(item_id), record("o2-2")])

    explanation = told(evidence, item_id)

    assert len(explanation.records) == len(explanation.conversions) == len(explanation.decisions) == 1
    assert outcomes(explanation.decisions[0]) == [(Outcome.IMPORTED, None)]


@pytest.mark.parametrize("part", ["/raw/", "index.", "/decision.", "/receipts.", ".messages."])
def test_what_is_altered_is_named_and_the_rest_is_told(evidence: Evidence, part: str) -> None:
    evidence.archive([record(itemType="MMS", attachments=attached(b"picture"))], files=[b"picture"])
    name = evidence.spoil(part)

    explanation = told(evidence)

    assert any(name in each for each in explanation.unread)
    assert explanation.is_found or part == "index."


def personal_in(explanation: Explanation) -> Sequence[str]:
    """Return what is told of those that must not be, where nobody asked."""
    text = repr(explanation)
    return [each for each in (ALEX, "7700 900456", "Kim", "Wilber", "alex@example", TEXT) if each in text]


def test_nothing_personal_is_told_unless_it_is_asked_for_and_the_text_never(evidence: Evidence) -> None:
    evidence.archive([record(), record("o2-2", to=[{"phone": LEE}])])

    assert personal_in(told(evidence)) == personal_in(told(evidence, "o2-2")) == []

    explanation = told(evidence, personal=True)
    assert personal_in(explanation) == [ALEX, "7700 900456", "Kim", "Wilber", "alex@example"]
    assert explanation.decisions[0].deliveries[0].address == "alex@example.com"


def test_what_no_line_can_carry_is_shown_escaped(evidence: Evidence) -> None:
    evidence.archive([record(**{"from": {"phone": "+44\x1b[31m", "name": "Kim\nItem o2-2\ud83d"}})])

    (captured,) = told(evidence, personal=True).records

    assert captured.sender
    assert (captured.sender.phone, captured.sender.name) == ("+44\\u001b[31m", "Kim\\u000aItem o2-2\\ud83d")
    assert told(evidence).records[0].sender


def test_a_line_that_somebody_has_forged_is_named_with_none_of_its_words(evidence: Evidence) -> None:
    evidence.archive([record()])
    stem = f"windows/{DAY.name}/converted/b0"
    forged = evidence.put(f"{stem}.index.", ".jsonl", b'{"item_id":"o2-1","offset":"%b"}\n' % LEE.encode())

    explanation = told(evidence)

    assert explanation.unread == (f"staging: line 1 of {forged.name} is no IndexRow",)
    assert len(explanation.conversions) == 1
