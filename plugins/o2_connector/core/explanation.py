"""Explanation: every stage of one item, as it is told to whoever asks what became of it.

Numbers are masked, and names and addresses left out, where nothing else was asked for; a text is never among it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from o2_connector.core.escapes import one_line
from o2_connector.core.outcomes import Outcome
from o2_connector.core.phones import masked


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be the base of what is told."""


class Who(Told, frozen=True, kw_only=True):
    """Name one participant.

    :param email: the e-mail property; like the name, only where what is personal may be shown.
    """

    phone: str
    email: str | None = None
    name: str | None = None


class AttachmentTold(Told, frozen=True, kw_only=True):
    """Tell what became of an attachment.

    :param staged: its object, where it is there.
    :param cause: why it is not in the e-mail, where it is not.
    """

    attachment_id: str
    size: int
    sha256: str
    staged: str | None = None
    cause: str | None = None


class RecordTold(Told, frozen=True, kw_only=True):
    """Tell of a record as it was captured.

    :param batch: the batch's object.
    :param line: its line there, from 1.
    :param digest: SHA-256 of the line.
    :param fault: why it was rejected, where it breaks the contract; then nothing that follows is known.
    :param relates_to: the item that this one edits or deletes.
    """

    window: str
    batch: str
    line: int
    digest: str
    fault: str | None = None
    item_type: str | None = None
    direction: str | None = None
    status: str | None = None
    sent_at: datetime | None = None
    archived_at: datetime | None = None
    sender: Who | None = None
    recipients: tuple[Who, ...] = ()
    action: str | None = None
    relates_to: str | None = None
    attachments: tuple[AttachmentTold, ...] = ()


class ConversionTold(Told, frozen=True, kw_only=True):
    """Tell of an e-mail that a record was converted to.

    :param record: the record's digest.
    :param batch: the object of the batch that was converted, where a run has decided on it.
    :param converter: the converter's version, where an object that says it is there.
    :param emls: the object that holds the e-mail, where it is known.
    :param causes: why parts of the item are not in it.
    """

    window: str
    record: str
    batch: str | None
    converter: str | None
    emls: str | None
    offset: int
    length: int
    sha256: str
    causes: tuple[str, ...] = ()


class Answer(Told, frozen=True, kw_only=True):
    """Tell what came of asking for a delivery.

    :param at: milliseconds since 1970, UTC.
    :param message: Graph's immutable id.
    :param doubtful: whether the item may be in the mailbox although it failed.
    """

    outcome: Outcome
    at: int
    cause: str | None = None
    message: str | None = None
    doubtful: bool = False


class DeliveryTold(Told, frozen=True, kw_only=True):
    """Tell of a delivery.

    :param record: digest of the record that it brings, where it is known.
    :param mailbox: the user's object id.
    :param address: by which the directory led there; only where what is personal may be shown.
    :param place: file and line of the mapping row, where that is the rule.
    :param settled: why no mailbox had to be asked, where the mapping settled it.
    :param answers: oldest first.
    :param counts: the one that counts, where there is any.
    :param asked: whether Graph was asked for something of which the answer is not known.
    """

    record: str | None
    mailbox: str
    address: str | None = None
    rule: str
    place: str | None = None
    settled: str | None = None
    answers: tuple[Answer, ...] = ()
    counts: Answer | None = None
    asked: bool = False


class Standing(Told, frozen=True, kw_only=True):
    """Tell what a decision says of an item besides its deliveries.

    :param outcome: ``parked`` or ``waiting``.
    :param since: milliseconds since 1970, UTC.
    """

    outcome: str
    cause: str
    since: int | None = None


class DecisionTold(Told, frozen=True, kw_only=True):
    """Tell of a decision on an item: of a run over its window, or of a replay.

    :param span: name of the window, or of the span of what was replayed.
    :param mapping: the object of the mapping that was used.
    :param reports: the book's objects, where the run has come so far.
    """

    run_id: str
    span: str
    replay: bool
    dry_run: bool
    decided_at: datetime
    mapping: str
    deliveries: tuple[DeliveryTold, ...] = ()
    standings: tuple[Standing, ...] = ()
    reports: tuple[str, ...] = ()


class WaitTold(Told, frozen=True, kw_only=True):
    """Tell that an item waits, or waited.

    :param since: milliseconds since 1970, UTC.
    :param nobody: whether none of its participants got it then.
    :param caught: whether the catch-all mailbox got it.
    :param gone: whether it waits no longer.
    :param by: the run that ended it, where one says so.
    """

    window: str
    record: str
    since: int
    cause: str
    nobody: bool
    caught: bool = False
    people: tuple[Who, ...]
    gone: bool = False
    by: str | None = None


class Explanation(Told, frozen=True, kw_only=True):
    """Tell every stage of one item, in order.

    :param searched: names of the windows that were looked at, oldest first.
    :param unread: what could not be read, in words: of this nothing is known.
    """

    item_id: str
    message_id: str
    searched: tuple[str, ...]
    records: tuple[RecordTold, ...] = ()
    conversions: tuple[ConversionTold, ...] = ()
    decisions: tuple[DecisionTold, ...] = ()
    waits: tuple[WaitTold, ...] = ()
    unread: tuple[str, ...] = ()

    def conversions_of(self, record: RecordTold) -> list[ConversionTold]:
        """Return the e-mails that a record was converted to."""
        return [
            each
            for each in self.conversions
            if (each.window, each.record) == (record.window, record.digest) and each.batch in (None, record.batch)
        ]

    @property
    def is_found(self) -> bool:
        """Tell whether there is such an item."""
        return bool(self.records or self.conversions or self.waits or self.decisions)


def who(phone: str, email: str | None, name: str | None = None, *, personal: bool) -> Who:
    """Name a participant, masked unless what is personal may be shown; what no line can carry is shown escaped."""
    if not personal:
        return Who(phone=one_line(masked(phone)))
    return Who(phone=one_line(phone), email=one_line(email or "") or None, name=one_line(name or "") or None)
