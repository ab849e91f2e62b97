"""Notices: what the people on call are told, in words that need no knowledge of the code, and with nothing personal.

A notice says what happened, what it means for the archive, what to do, and where to look. It names the day, not the
run. Items are counted, and numbers are masked as in the report.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from o2_connector.core.plurals import are, many
from o2_connector.core.report import Detail, Silent, remedy_of
from o2_connector.core.window import Window, day_window

MOST_LINES = 20
"""Lines of one kind that a notice has; the report has all of them."""

_OPENS = re.compile(r"\{(?=[{%#])")  # what a template of Jinja's begins with

SAFE = "Running it again is always safe: what is in a mailbox already is not delivered twice."


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Tell somebody on call one thing.

    :param subject: names the day.
    :param happened: what happened, a paragraph each; those that begin with a hyphen are a list.
    :param means: what it means for the archive.
    :param todo: what to do.
    :param look: where to look.
    """

    subject: str
    happened: tuple[str, ...]
    means: tuple[str, ...]
    todo: tuple[str, ...]
    look: tuple[str, ...] = ()

    @property
    def parts(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each part that has anything, under its heading."""
        for heading, lines in (
            ("What happened", self.happened),
            ("What it means for the archive", self.means),
            ("What to do", self.todo),
            ("Where to look", self.look),
        ):
            if lines:
                yield heading, lines

    @property
    def text(self) -> str:
        """Return all but the subject as plain text."""
        return "\n\n".join("\n".join([heading, *lines]) for heading, lines in self.parts) + "\n"

    @property
    def html(self) -> str:
        """Return all but the subject as simple HTML."""
        return "\n".join(
            f"<h3>{heading}</h3>\n" + "\n".join(f"<p>{html.escape(line)}</p>" for line in lines)
            for heading, lines in self.parts
        )

    def as_text(self) -> Notice:
        """Return it as mere text: what foreign names hold is no line of its own, and no template of Airflow's."""
        lines = {name: tuple(map(_plain, getattr(self, name))) for name in ("happened", "means", "todo", "look")}
        return replace(self, subject=_plain(self.subject), **lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Say what a notice is about.

    :param window: what was to be archived; None of a replay, and where a run asked for none that can be.
    :param on: when the run began.
    :param look: where more is to be seen, a line each.
    """

    window: Window | None
    zone: ZoneInfo
    on: datetime
    replay: bool = False
    dry_run: bool = False
    look: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return what was to be done, in words."""
        if self.replay:
            return f"the replay of parked items on {day_in_words(self.on, self.zone)}"
        dry = "the dry run of " if self.dry_run else ""
        if self.window is None:
            return f"{dry or 'the run on '}{day_in_words(self.on, self.zone)}"
        return dry + in_words(self.window, self.zone)

    @property
    def whole(self) -> str:
        """Return the same as the beginning of a sentence."""
        name = self.name if self.replay or self.dry_run or not self.window else f"the archive of {self.name}"
        return name[0].upper() + name[1:]


def in_words(window: Window, zone: ZoneInfo) -> str:
    """Return a window as a person calls it: a day by its date."""
    first, last = window.start.astimezone(zone), window.end.astimezone(zone)
    if window == day_window(first.date(), zone):
        return day_in_words(first, zone)
    return f"{first.day} {first:%B %Y, %H:%M} to {last.day} {last:%B %Y, %H:%M} ({zone.key})"


def day_in_words(moment: datetime, zone: ZoneInfo) -> str:
    """Return the day of a moment."""
    local = moment.astimezone(zone)
    return f"{local:%A} {local.day} {local:%B %Y}"


def moment_in_words(moment: datetime, zone: ZoneInfo) -> str:
    """Return a moment."""
    return f"{moment.astimezone(zone):%H:%M} on {day_in_words(moment, zone)}"


def parked(about: Subject, *, details: Sequence[Detail], new: int, waiting: int, days: int) -> Notice:
    """Say that items have no mailbox.

    :param details: of all that are parked.
    :param new: how many of them nobody was told of before.
    :param waiting: items that are delivered, while somebody else who took part has no mailbox.
    :param days: for how many whole days the oldest waits.
    """
    of_day = "" if about.replay else f" of {about.name}"
    news = f", of which {new:,} {are(new)} new" if new != len(details) else ""
    oldest = f" The oldest has waited for {many(days, 'day')}." if days else ""
    happened = [
        (
            f"{many(len(details), 'item')}{of_day} {are(len(details))} parked{news}: nobody who took part has a"
            f" mailbox that could be found.{oldest} By cause, with what to do about it:"
        ),
        *by_cause(details),
    ]
    if waiting:
        happened.append(
            f"Beside these, {many(waiting, 'item')} {'was' if waiting == 1 else 'were'} delivered to some of those who"
            f" took part, and {'waits' if waiting == 1 else 'wait'} for somebody of the organisation who has no mailbox"
            " yet."
        )
    return Notice(
        subject=f"O2 archive: {many(new, 'item')}{of_day} {'has' if new == 1 else 'have'} no mailbox yet"
        + (f" ({about.name})" if about.replay else ""),
        happened=tuple(happened),
        means=(
            (
                "A parked item is kept whole in staging, and is in nobody's mailbox: who searches the mailboxes does"
                " not find it. Nothing is lost."
            ),
        ),
        todo=(
            (
                "Do what stands beside each cause; the report names each item by its id. Nothing else is needed: as"
                " soon as somebody has a mailbox, the replay of parked items brings what they missed, with the dates"
                " of its capture."
            ),
        ),
        look=about.look,
    )


def nothing_captured(about: Subject, *, before: Sequence[tuple[Window, int]]) -> Notice:
    """Say that a day has nothing, although most of the days that it is compared with had something.

    :param before: these days, the last one first, and how many items each had.
    """
    had = "; ".join(f"{in_words(window, about.zone)}: {many(count, 'item')}" for window, count in before)
    return Notice(
        subject=f"O2 archive: nothing was captured on {about.name}",
        happened=(
            (
                f"TeleMessage says that it has no item at all of {about.name}. That is unusual. The days that it is"
                f" compared with had some: {had}."
            ),
        ),
        means=(
            (
                "If nobody texted or called, the archive is complete. If somebody did, it was not captured, and what"
                " is not captured cannot be archived, now or later."
            ),
        ),
        todo=(
            "If it was a holiday, nothing.",
            (
                "Else ask somebody whose phone is captured whether they texted or called that day. If they did,"
                " report to O2 and TeleMessage at once that nothing is captured. When they say that the day is there"
                f" after all, trigger o2_network_archive for it. {SAFE}"
            ),
            "Of days with nothing that follow each other, only the first is told.",
        ),
        look=about.look,
    )


def fell_silent(about: Subject, *, numbers: Sequence[Silent], days: int, in_all: int) -> Notice:
    """Say that enrolled numbers have had no item for some days.

    :param numbers: those that were not silent before.
    :param in_all: how many are silent now.
    """
    rest, before = len(numbers) - MOST_LINES, in_all - len(numbers)
    return Notice(
        subject=f"O2 archive: {many(len(numbers), 'number')} silent for {many(days, 'day')}, up to {about.name}",
        happened=(
            (
                f"Nothing was captured of {many(len(numbers), 'number')} of the mapping files in the"
                f" {many(days, 'day')} up to and including {about.name}. Their last digits, with file and line of the"
                " mapping row:"
            ),
            *(f"- {each.number}, {each.place}" for each in numbers[:MOST_LINES]),
            *((f"- and {rest:,} more, which the report names",) if rest > 0 else ()),
            *((f"{many(before, 'number')} fell silent earlier and still {are(before)}.",) if before else ()),
        ),
        means=(
            (
                "If these phones were not used, the archive is complete. If one was, it is no longer captured, and"
                " what is not captured cannot be archived."
            ),
        ),
        todo=(
            (
                "Look up whose number it is, and ask whether they used the phone. If they did, have O2 check that the"
                " number is captured."
            ),
            "If the number is not in use any more, write the first day on which it was not into its row's ValidTo.",
            "Each number is told once, when its silence begins.",
        ),
        look=about.look,
    )


def by_cause(details: Iterable[Detail]) -> Iterator[str]:
    """Yield how many there are of each cause, and what to do about it."""
    causes = Counter((each.cause, remedy_of(each)) for each in details)
    for (cause, what), count in causes.most_common(MOST_LINES):
        yield f"- {count:,}: {cause}. What to do: {what or 'look this code of Microsoft Graph up'}."


def _plain(line: str) -> str:
    printed = "".join(letter for letter in " ".join(line.split()) if letter.isprintable())
    return _OPENS.sub("{ ", printed)
