"""What happened on the organisation's phones: any day, any number of items, from a seed and without a memory."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import msgspec

from sandbox.directory import User
from sandbox.items import ONCE_A_DAY, PARTICULAR, Cast, File, Item, Scene, Shape, instant, item_id, message, ordinary
from sandbox.media import Media, size_and_digest
from sandbox.people import line_of, mapping_csv, organisation, other_number

# A stretch of items in which a particular shape comes once; a shorter day is one stretch.
STRETCH = 500

# How much of a day's traffic falls into each 24th of it.
_TRAFFIC = (2, 1, 1, 1, 1, 2, 4, 8, 12, 14, 14, 13, 13, 12, 12, 12, 12, 11, 9, 8, 7, 6, 5, 3)
_BEFORE = (0, *itertools.accumulate(_TRAFFIC))
_MIX = 2654435761  # Knuth's multiplier: scatters consecutive numbers over 32 bits

_ATTACHMENT_ID = re.compile(r"o2-[0-9a-f]{6}-(?P<day>[0-9]{8})-(?P<index>[0-9]{7,})-a(?P<number>[0-9])")


class CorpusLine(msgspec.Struct, frozen=True):
    """Hold one line of a corpus."""

    sender: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Day:
    """Hold a calendar day: its begin and length, what its items' ids begin with, what their seeds are counted from."""

    begin: datetime
    microseconds: int
    ids: str
    seed: int


class World:
    """Know the organisation and everything that its phones ever sent or got.

    Nothing is stored: item `index` of a day is made from the seed, the day and the index whenever it is asked for.
    Every day of `zone` has `items` items, or as many as `corpus` has lines. The same parameters give the same world on
    any machine; other parameters give other item ids, so that two worlds never meet in one archive.
    """

    def __init__(
        self,
        seed: int,
        users: int,
        items: int,
        zone: str,
        corpus: Path | None = None,
        batch_size: int = 500,
        quiet: Collection[date] = (),
    ) -> None:
        self.batch_size = batch_size
        self.quiet = set(quiet)
        self.directory, self.people = organisation(seed, users)
        self.corpus = read_corpus(corpus) if corpus else ()
        self.items = len(self.corpus) if corpus else items
        self._zone = ZoneInfo(zone)
        parameters = (seed, users, self.items, zone, [(line.sender, line.text) for line in self.corpus])
        self._tag = hashlib.sha256(msgspec.json.encode(parameters)).hexdigest()[:6]
        usual = tuple(
            person for person in self.people if person.kind in {"by property", "in the file", "alias", "other spelling"}
        )
        self._cast = Cast(
            usual=usual,
            rare=tuple(person for person in self.people if person not in usual),
            of_kind={person.kind: person for person in self.people},
        )
        self._person_of = {line_of(person.phone): person for person in self.people}
        # A kind of phone that a smaller world lacks has no item of its own.
        kinds = {"full", "denied"} - self._cast.of_kind.keys()
        shapes = {name: shape for name, shape in PARTICULAR.items() if name not in kinds}
        self._particular = tuple(shapes.values())
        self._recurring = tuple(shape for name, shape in shapes.items() if name not in ONCE_A_DAY)

    def mapping_csv(self) -> str:
        """Return the mapping file that the organisation's admins keep."""
        return mapping_csv(self.people)

    def users_of(self, item: Item) -> set[User]:
        """Return the users into whose mailboxes the rules lead an item; nobody's when it must be parked."""
        people = (self._person_of.get(line_of(party["phone"])) for party in (item["from"], *item["to"]))
        return {person.user for person in people if person is not None and person.user is not None}

    def count(self, window_from: datetime, window_to: datetime) -> int:
        """Return how many items were archived in the window."""
        return sum(stop - start for _, start, stop in self._stretches(window_from, window_to))

    def items_of(
        self, window_from: datetime, window_to: datetime, start: int = 0, stop: int | None = None
    ) -> Iterator[Item]:
        """Yield the window's items in the order of archivedAt, or only those from number `start` up to `stop`.

        A window is half open. Skipping costs nothing, so that a batch is as cheap at a day's end as at its start.
        """
        for day, first, beyond in self._stretches(window_from, window_to):
            length = beyond - first
            for index in range(first + min(start, length), beyond if stop is None else first + min(stop, length)):
                yield self._item(day, index)
            start = max(0, start - length)
            stop = None if stop is None else max(0, stop - length)

    def attachment(self, attachment_id: str) -> Media | None:
        """Return what an attachment of any day consists of, or None when there is none of this id."""
        parts = _ATTACHMENT_ID.fullmatch(attachment_id)
        if parts is None:
            return None
        try:
            day = self._day(date.fromisoformat(parts["day"]))
        except ValueError:
            return None
        index, number = int(parts["index"]), int(parts["number"])
        if index >= self.items or not attachment_id.startswith(day.ids):
            return None
        _, files = self._drawn(day, index, self._archived(day, index))
        return files[number][1] if number < len(files) else None

    def _stretches(self, window_from: datetime, window_to: datetime) -> Iterator[tuple[_Day, int, int]]:
        """Yield (day, first index, index beyond the last) for each day that has items in the window."""
        date_of_day = window_from.astimezone(self._zone).date()
        while (day := self._day(date_of_day)).begin < window_to:
            first, beyond = self._index_at(day, window_from), self._index_at(day, window_to)
            if first < beyond and date_of_day not in self.quiet:
                yield day, first, beyond
            date_of_day += timedelta(days=1)

    def _index_at(self, day: _Day, moment: datetime) -> int:
        """Return the index of the day's first item that is archived at the moment or later."""
        return bisect_left(range(self.items), moment, key=lambda index: self._archived(day, index))

    @lru_cache(maxsize=512)  # noqa: B019 - a process has one world, or a few
    def _day(self, day: date) -> _Day:
        begin, end = (
            datetime(midnight.year, midnight.month, midnight.day, tzinfo=self._zone).astimezone(UTC)
            for midnight in (day, day + timedelta(days=1))
        )
        ids = f"o2-{self._tag}-{day:%Y%m%d}-"
        return _Day(
            begin=begin,
            microseconds=(end - begin) // timedelta(microseconds=1),
            ids=ids,
            seed=int.from_bytes(hashlib.sha256(ids.encode()).digest()[:8], "big"),
        )

    def _archived(self, day: _Day, index: int) -> datetime:
        """Return when an item is archived: inside the day, and strictly later than the item before it."""
        jitter = ((index * _MIX + day.seed) & 0xFFFF_FFFF) / 0xFFFF_FFFF
        traffic = (index + 0.1 + 0.8 * jitter) / self.items * _BEFORE[-1]
        hour = bisect_left(_BEFORE, traffic) - 1
        share = (hour + (traffic - _BEFORE[hour]) / _TRAFFIC[hour]) / 24
        return day.begin + timedelta(microseconds=int(day.microseconds * share))

    def _item(self, day: _Day, index: int) -> Item:
        archived = self._archived(day, index)
        drawn, files = self._drawn(day, index, archived)
        key = item_id(day.ids, index)
        item: Item = {"itemId": key, "network": "O2", "archivedAt": instant(archived, "microseconds"), **drawn}
        if files:
            more = drawn.get("attachments", [{}] * len(files))
            item["attachments"] = [
                {**_described(f"{key}-a{number}", name, media), **more[number]}
                for number, (name, media) in enumerate(files)
            ]
        return item

    def _drawn(self, day: _Day, index: int, archived: datetime) -> tuple[Item, tuple[File, ...]]:
        """Draw what is in an item, and the files that it carries."""
        shape, index_before = self._shape(index)
        scene = Scene(
            cast=self._cast,
            random=Random(day.seed + index),
            archived=archived,
            day=day.ids,
            index=index,
            index_before=index_before,
            seed=day.seed,
        )
        return self._quoted(scene, self.corpus[index]) if self.corpus else shape(scene)

    def _shape(self, index: int) -> tuple[Shape, int]:
        """Return the shape of a day's item, and the index of the particular item before it.

        The particular shapes are spread evenly over each stretch, in the first one all of them. A day too short for
        them has the first ones, and the short rest of a long day none.
        """
        begin = index - index % STRETCH
        length = min(STRETCH, self.items - begin)
        shapes = self._recurring if begin else self._particular
        if length < len(shapes):
            return (ordinary, 0) if begin else (shapes[index], index - 1)
        number = -(-(index - begin) * len(shapes) // length)
        if number == len(shapes) or begin + number * length // len(shapes) != index:
            return ordinary, 0
        return shapes[number], begin + (number - 1) * length // len(shapes)

    def _quoted(self, scene: Scene, line: CorpusLine) -> tuple[Item, tuple[File, ...]]:
        """Make a line of the corpus an inbound SMS; one sender always has the same number."""
        number = int.from_bytes(hashlib.sha256(line.sender.encode()).digest()[:4], "big")
        sender = {"phone": other_number(number), "name": None}
        receiver = scene.pick(scene.cast.usual).participant(scene.below(3))
        return message(scene, sender, [receiver], line.text, outbound=False, status="DELIVERED")


def read_corpus(file: Path) -> tuple[CorpusLine, ...]:
    """Read a corpus: JSON Lines with `sender` and `text`, plain or compressed (by its name's ending, .gz)."""
    decoder = msgspec.json.Decoder(CorpusLine)
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        return tuple(decoder.decode(line) for line in lines if line.strip())


def _described(attachment_id: str, name: str, media: Media) -> dict[str, str | int]:
    size, digest = size_and_digest(media)
    return {
        "attachmentId": attachment_id,
        "fileName": name,
        "contentType": media.content_type,
        "byteCount": size,
        "sha256": digest,
    }
