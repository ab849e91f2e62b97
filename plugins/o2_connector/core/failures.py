"""Failures: what the people on call are told of a run that failed, or that is not done in time.

An error is quoted only where it is one of :mod:`o2_connector.core.errors`: their sentences never hold a personal value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from o2_connector.core.errors import ConnectorError
from o2_connector.core.notices import MOST_LINES, SAFE, Notice, Subject, by_cause, moment_in_words
from o2_connector.core.outcomes import Outcome
from o2_connector.core.plurals import are, many
from o2_connector.core.report import Counts, Detail

_DOES = {
    "extract": "asks TeleMessage what it has",
    "stage_to_blob": "copies it into staging",
    "convert": "makes the e-mails",
    "find_parked": "decides again on what is parked",
    "map_mailboxes": "decides who gets what",
    "import_to_mailboxes": "writes into the mailboxes",
    "reconcile": "adds the book up",
}
"""What each task does, in the order in which they work."""

_DOUBT = "IntegrityError"

_ONCE_MORE = (
    "Clear the task once in Airflow, with all that follows it (Clear, Downstream). If it says the same again, find"
    " out who changed what it names, and since when; where that came from TeleMessage just now, report it to them."
)

_PART = re.compile("_[0-9]+$")

_KEPT = "Nothing is lost by this: TeleMessage keeps what it has, and what was fetched is kept in staging."


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Say why a task gave up, as it may be told to anybody. A task that fails leaves it in XCom.

    :param kind: name of the error's class.
    :param sentence: what it says, where that is known to hold nothing personal.
    """

    task: str
    kind: str
    sentence: str | None = None


def fault_of(task: str, error: BaseException) -> Fault:
    """Return what may be told of an error."""
    sentence = str(error) if isinstance(error, ConnectorError) else None
    return Fault(task=task, kind=type(error).__name__, sentence=sentence)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Say how far the tasks of a run are.

    :param parts: how many parts of a task are in a state of Airflow's; a task that is not mapped is one part.
    """

    parts: Mapping[tuple[str, str | None], int]

    @classmethod
    def read(cls, states: Mapping[str, str | None]) -> Standing:
        """Read Airflow's answer, in which a part of a mapped task is named ``<task>_<number>``."""
        return cls(parts=Counter((_PART.sub("", name), state) for name, state in states.items()))

    def count(self, *states: str) -> int:
        """Return how many parts are in one of some states."""
        return sum(count for (_, state), count in self.parts.items() if state in states)

    def tasks(self, *states: str) -> dict[str, int]:
        """Return the tasks that have parts in one of some states, and how many, in the order of their work."""
        found = Counter[str]()
        for (task, state), count in self.parts.items():
            if state in states:
                found[task] += count
        return {task: found[task] for task in _in_order(found)}


UNKNOWN = Standing(parts={})
"""Where Airflow did not say."""


def late(about: Subject, *, due: datetime, failed: bool, standing: Standing) -> Notice:
    """Say that a run is not done in time.

    :param due: when it should have been done.
    :param failed: whether it is over, and failed.
    """
    return Notice(
        subject=f"O2 archive: {about.name} is late",
        happened=(
            f"{about.whole} should have been done by {moment_in_words(due, about.zone)}, and is not.",
            "Its run has failed; another notice said why." if failed else _progress(standing),
        ),
        means=(
            "What is parked still waits, and the next replay waits for this one. Nothing is lost."
            if about.replay
            else f"What was captured then is not, or not all, in the mailboxes yet. {_KEPT}",
        ),
        todo=(
            ("Do what the notice of the failure says.",)
            if failed
            else (
                "Mostly nothing: the run goes on by itself, and tries again what did not work.",
                (
                    "If it is still not done in an hour, read in Airflow the log of the task that is at work or waits"
                    " to try again: it says what it waits for, and how far it is."
                ),
            )
        ),
        look=about.look,
    )


def failed(
    about: Subject,
    *,
    faults: Sequence[Fault],
    standing: Standing = UNKNOWN,
    counts: Counts | None = None,
    details: Iterable[Detail] = (),
    contradictions: Sequence[str] = (),
) -> Notice:
    """Say that a run failed, and why.

    :param faults: why tasks gave up.
    :param counts: of its book, where there is one.
    :param details: of its book.
    :param contradictions: what does not add up in its book.
    """
    refused = [each for each in details if each.outcome == Outcome.FAILED]
    broken = _broken(faults, standing, explained=bool(refused or contradictions))
    # A book that lacks what a failed task did not do says nothing new.
    gaps = () if broken else contradictions
    altered = any(fault.kind == _DOUBT for fault in faults if fault.task in broken)
    return Notice(
        subject=f"O2 archive: {about.name} failed",
        happened=(
            f"{about.whole} failed.",
            *(line for task in broken for line in _gave_up(task, faults, standing)),
            *_refused(refused),
            *(f"The book does not balance: {gap}." for gap in gaps),
        ),
        means=tuple(_meaning(about, counts, doubtful=altered or bool(gaps))),
        todo=(_ONCE_MORE, SAFE) if altered else tuple(_todo(about, broken, refused, gaps)),
        look=about.look,
    )


def _progress(standing: Standing) -> str:
    total = sum(standing.parts.values())
    if not total:
        return "Its run goes on."
    doing = (
        ("at work", standing.tasks("running", "queued", "scheduled", "deferred")),
        ("waiting to try again", standing.tasks("up_for_retry")),
    )
    now = "".join(f"; {what}: {', '.join(tasks)}" for what, tasks in doing if tasks)
    return f"{standing.count('success', 'skipped')} of its {many(total, 'task')} are done so far{now}."


def _broken(faults: Iterable[Fault], standing: Standing, *, explained: bool) -> list[str]:
    """Return the tasks that failed by themselves: what adds the book up fails with any of them, and with its book."""
    tasks = {*(fault.task for fault in faults), *standing.tasks("failed")}
    others = tasks - {"reconcile"}
    return _in_order(others or (set() if explained else tasks))


def _in_order(tasks: Iterable[str]) -> list[str]:
    order = list(_DOES)
    return sorted(tasks, key=lambda task: order.index(task) if task in _DOES else len(order))


def _gave_up(task: str, faults: Iterable[Fault], standing: Standing) -> Iterator[str]:
    parts = standing.tasks("failed").get(task, 0)
    what = (
        f"{task}{f', which {_DOES[task]},' if task in _DOES else ''} failed{f' in {parts} parts' if parts > 1 else ''}"
    )
    said = Counter((fault.sentence, fault.kind) for fault in faults if fault.task == task)
    if not said:
        yield (
            f"{what}, and left no error: its process was ended from outside, as by a lack of memory, a machine that"
            " went away, or a person."
        )
    for number, (sentence, kind) in enumerate(list(said)[:MOST_LINES]):
        begin = what if number == 0 else "- and"
        yield f"{begin} {f'and said: “{sentence}”' if sentence else f'with an error that nobody foresaw: {kind}.'}"


def _refused(refused: Sequence[Detail]) -> Iterator[str]:
    if refused:
        yield (
            f"{many(len(refused), 'delivery', 'deliveries')} failed: so often an item could not be put into a mailbox."
            " By cause, with what to do about it:"
        )
        yield from by_cause(refused)


def _meaning(about: Subject, counts: Counts | None, *, doubtful: bool) -> Iterator[str]:
    if about.dry_run:
        yield "Nothing: a dry run writes to no mailbox."
        return
    if counts is not None and counts.available_for_import:
        there = counts.imported + counts.partially_imported + counts.skipped
        rest = counts.available_for_import - there - counts.failed
        left = ((counts.failed, "failed"), (rest, f"{are(rest)} still to be made"))
        yield (
            f"Of {many(counts.available_for_import, 'delivery', 'deliveries')} {there:,} {are(there)} in the mailboxes"
            f"{''.join(f', {count:,} {what}' for count, what in left if count > 0)}."
        )
    else:
        yield (
            "What is parked still waits."
            if about.replay
            else "As far as is known, this run has written nothing into the mailboxes: what was captured then is not"
            " archived."
        )
    if doubtful:
        yield (
            "Something is not what was recorded of it, or is not accounted for. Until it is known why, this must not be"
            " called archived. Leave staging, where everything is kept, as it is: it is the evidence."
        )
    else:
        yield _KEPT


def _todo(about: Subject, broken: Sequence[str], refused: Sequence[Detail], gaps: Sequence[str]) -> Iterator[str]:
    if broken:
        yield (
            f"Do what is said of {broken[0]} above; where nothing is, its log in Airflow has more."
            f" {_again(about, broken[0])}"
        )
    if refused:
        again = "" if broken else f" {_again(about, 'import_to_mailboxes')}"
        yield f"Mend each cause as it says above; the report names each item and its mailbox.{again}"
    if gaps:
        yield (
            "Clear reconcile in Airflow, so that it adds up once more. If it says the same again, keep the logs, and"
            " let whoever looks after this software find out what is missing."
        )
    if not (broken or refused or gaps):
        yield f"Read the log of reconcile in Airflow, which says why. {_again(about, 'reconcile')}"
    yield SAFE


def _again(about: Subject, task: str) -> str:
    if about.replay:
        return "The next replay, at the latest tomorrow morning, tries it again by itself."
    return f"Then clear {task} in Airflow, with all that follows it (Clear, Downstream)."
