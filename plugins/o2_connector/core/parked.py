"""Parked: items that wait for a mailbox, as lines of write-once objects in staging.

An item waits when nobody gets it, or when somebody of the organisation who took part has no mailbox yet. What waits is
all that was ever said to wait, less all that was said to be gone. Neither is taken back, so their order is of no
account, nor who says it twice: two runs side by side, a task that is tried again, a batch that is cut another way. What
went and is to wait again waits by another name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

import msgspec

from o2_connector.core.manifest import StagedObject


class Person(msgspec.Struct, frozen=True, array_like=True):
    """Hold one participant whom an item waits for.

    :param phone: as captured, on one line.
    :param email: the e-mail property, or nothing.
    :param side: whether the network captured the item at this end.
    """

    phone: str
    email: str
    side: bool


class Waiting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Hold one item that waits.

    :param sent: milliseconds since 1970, UTC.
    :param attached: raw bytes of all its attachments.
    :param causes: why parts of the item are not in its message, where any are not.
    :param pack: the pack of messages that holds it.
    :param offset: bytes into that pack.
    :param length: bytes.
    :param window: name of the window that it was captured in.
    :param parked: since when it waits, in milliseconds since 1970, UTC.
    :param why: the cause.
    :param nobody: whether none of its participants gets it; else it waits for some of them.
    :param caught: whether the catch-all mailbox gets it.
    :param people: whom it waits for.
    :param again: how often the same was gone before.
    """

    item_id: str
    key: str
    record: str
    sent: int
    attached: int = 0
    causes: tuple[str, ...] = ()
    pack: StagedObject
    offset: int
    length: int
    window: str
    parked: int
    why: str
    nobody: bool
    caught: bool = False
    people: tuple[Person, ...]
    again: int = 0

    @property
    def message(self) -> tuple[int, int]:
        """Return where its message lies in its pack: offset and length."""
        return self.offset, self.length

    @property
    def is_parked(self) -> bool:
        """Tell whether nobody at all gets it."""
        return self.nobody and not self.caught

    @property
    def id(self) -> str:
        """Return what it is known by: the same record waiting for the same people is the same, whoever says so."""
        return _name(self.key, self.record, self.nobody, self.caught, self.people, self.again)


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """Say that something waits no longer, or that somebody has their copy.

    :param id: the :attr:`Waiting.id`, or what :func:`served_id` returns.
    """

    id: str


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """Say what is gone when the deliveries of an item are made.

    :param item: the item's number among those that the run decided on.
    :param id: see :class:`Gone`.
    :param window: name of the window under which it waits.
    """

    item: int
    id: str
    window: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Park:
    """Hold what waits.

    :param waiting: by id; of what was said twice, the first that was parked.
    :param gone: every id that was said to be gone.
    """

    waiting: Mapping[str, Waiting]
    gone: Set[str]

    def named(self, entry: Waiting) -> Waiting:
        """Return an entry by the name that it waits by, since it began to; or by the first one that is not gone."""
        while True:
            name = entry.id
            if name in self.waiting:
                return msgspec.structs.replace(entry, parked=self.waiting[name].parked)
            if name not in self.gone:
                return entry
            entry = msgspec.structs.replace(entry, again=entry.again + 1)

    def by_record(self) -> dict[tuple[str, str], list[Waiting]]:
        """Return what waits by the item's key and the digest of its record: another record is another's evidence."""
        records: dict[tuple[str, str], list[Waiting]] = {}
        for each in self.waiting.values():
            records.setdefault((each.key, each.record), []).append(each)
        return records


def park_after(said: Iterable[Waiting], gone: Iterable[Gone]) -> Park:
    """Return the park, from all that was ever said."""
    left = {each.id for each in gone}
    waiting: dict[str, Waiting] = {}
    for each in said:
        name = each.id
        if name not in left and (name not in waiting or each.parked < waiting[name].parked):
            waiting[name] = each
    return Park(waiting=waiting, gone=left)


def served_id(entry: Waiting, person: Person) -> str:
    """Return by what it is known that somebody has got, from the park, their copy of a record."""
    return _name("served", entry.key, entry.record, person)


def merged(each: Iterable[Waiting]) -> Waiting:
    """Return several that are the same record as one: for all of their people, since the first was parked.

    While one of them says that nobody gets it, nobody is known to have got it; while one of those says that the
    catch-all mailbox has not, that one has not.
    """
    entries = sorted(each, key=lambda one: (one.parked, one.id))
    nobodys = [one for one in entries if one.nobody]
    return msgspec.structs.replace(
        entries[0],
        people=tuple(dict.fromkeys(person for one in entries for person in one.people)),
        nobody=bool(nobodys),
        caught=bool(nobodys) and all(one.caught for one in nobodys),
        again=0,
    )


def left_over(each: Waiting, served: Set[Person], rest: Waiting | None) -> Waiting | None:
    """Return what must go on waiting of an entry when deliveries of its item are made, beside the rest, if anything.

    Who is waited for by name goes on to be, even if the mapping does not know them any more. Others were waited for
    only because nobody got the item, or nobody at the side where it was captured: somebody does now, and they may be
    anybody.

    :param served: who of the item's participants gets it.
    :param rest: what the item waits for by this decision, where it does.
    """
    waits: Set[Person] = set(rest.people) if rest and (each.nobody or not rest.nobody) else set()
    side_served = any(person.side for person in served)
    people = tuple(
        person
        for person in each.people
        if not (person in served or person in waits or (each.nobody and served) or (person.side and side_served))
    )
    return msgspec.structs.replace(each, people=people, again=0) if people else None


def leaving(item: int, each: Waiting, served: Set[Person], waits: Set[str]) -> Iterator[Leaving]:
    """Yield what is gone of an entry when the deliveries of its item are made.

    :param item: the item's number.
    :param served: who of the item's participants gets it.
    :param waits: ids of what the item waits for from then on.
    """
    for person in each.people:
        if person in served:
            yield Leaving(item=item, id=served_id(each, person), window=each.window)
    if each.id not in waits:
        yield Leaving(item=item, id=each.id, window=each.window)


def _name(*parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]
