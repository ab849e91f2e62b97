"""Parked: items that wait for a mailbox, as lines of write-once objects in staging.

An item waits when nobody gets it, or when somebody of the organisation who took part has no mailbox yet. What waits is
all that was ever said to wait, less all that was said to be gone. Neither is taken back, so their order is of no
account, nor who says it twice: two runs side by side, a task that is tried again, a batch that is cut another way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

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

    @property
    def is_parked(self) -> bool:
        """Tell whether nobody at all gets it."""
        return self.nobody and not self.caught

    @property
    def id(self) -> str:
        """Return what it is known by: the same item waiting for the same people is the same, whoever says so."""
        said = msgspec.json.encode((self.key, self.nobody, self.caught, self.people))
        return hashlib.sha256(said).hexdigest()[:32]


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """Say that something waits no longer.

    :param id: the :attr:`Waiting.id`.
    """

    id: str


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """Say that something waits no longer when the deliveries of an item are made.

    :param item: the item's number among those that the run decided on.
    :param window: name of the window under which it waits.
    """

    item: int
    id: str
    window: str


def still_waiting(said: Iterable[Waiting], gone: Iterable[Gone]) -> dict[str, Waiting]:
    """Return what waits, by id; of what was said twice, the first that was parked."""
    left = {each.id for each in gone}
    waiting: dict[str, Waiting] = {}
    for each in said:
        name = each.id
        if name not in left and (name not in waiting or each.parked < waiting[name].parked):
            waiting[name] = each
    return waiting


def merged(each: Iterable[Waiting]) -> Waiting:
    """Return several that are the same item as one: for all of their people, since the first was parked."""
    entries = sorted(each, key=lambda one: (one.parked, one.id))
    people = {(person.phone, person.email, person.side): person for one in entries for person in one.people}
    return msgspec.structs.replace(
        entries[0],
        people=tuple(people.values()),
        nobody=all(one.nobody for one in entries),
        caught=any(one.caught for one in entries),
    )


def by_item(waiting: Mapping[str, Waiting]) -> dict[str, list[Waiting]]:
    """Return what waits by the item's key."""
    items: dict[str, list[Waiting]] = {}
    for each in waiting.values():
        items.setdefault(each.key, []).append(each)
    return items
