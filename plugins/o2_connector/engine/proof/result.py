"""Result: what a proof proved, what it found wrong, and what it could not prove. No personal value is in any of it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Proof(StrEnum):
    """Say what is proved."""

    CHAIN = "chain"
    OBJECTS = "objects"
    CONVERSION = "conversion"
    BOOKS = "books"
    PARKED = "parked"
    MAILBOXES = "mailboxes"


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Hold one thing that is not as it should be.

    :param what: what is wrong.
    :param remedy: what to do.
    :param place: the object in staging that it is about.
    :param mailbox: the user's object id.
    :param message: Graph's id of the message.
    """

    what: str
    remedy: str
    place: str | None = None
    item_id: str | None = None
    mailbox: str | None = None
    message: str | None = None

    def __str__(self) -> str:
        about = (
            self.place,
            self.item_id and f"item {self.item_id}",
            self.mailbox and f"mailbox {self.mailbox}",
            self.message and f"message {self.message}",
        )
        return f"{', '.join(filter(None, about))}: {self.what}. {self.remedy}."


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what came of one proof.

    :param proved: what is as it should be, with counts; nothing where that is nothing.
    :param unproved: what could not be proved, and why.
    """

    proof: Proof
    proved: str
    faults: tuple[Fault, ...] = ()
    unproved: tuple[str, ...] = ()
