"""Ledger: what is to be delivered, and what became of it, as lines of write-once objects in staging.

A shard's *deliveries* object holds a line with the packs of Graph messages that it refers to, then a line for each
delivery, mailbox by mailbox and oldest first. A delivery's number is its line's, from 0. *Intents* and *receipts* are
written while the import goes on, in as many objects as it takes; where a delivery has several receipts, :func:`latest`
says which counts.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from o2_connector.core.errors import IntegrityError
from o2_connector.core.manifest import StagedObject
from o2_connector.core.outcomes import Cause, Outcome, Rule


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Hold one item for one mailbox.

    :param item: number of the item among those that the run decided on.
    :param key: the item's key in the mailbox.
    :param mailbox: the user's object id.
    :param sent: milliseconds since 1970, UTC.
    :param pack: which pack of messages holds it, by number.
    :param offset: bytes into that pack.
    :param length: bytes.
    :param attached: raw bytes of all its attachments.
    :param rule: which rule gave the mailbox its copy.
    :param place: file and line of the mapping row, where that is the rule.
    :param causes: why parts of the item are not in its message, where any are not.
    :param settled: outcome and cause, where no mailbox needs to be asked.
    """

    item: int
    item_id: str
    key: str
    mailbox: str
    sent: int
    pack: int
    offset: int
    length: int
    attached: int = 0
    rule: Rule
    place: str | None = None
    causes: tuple[str, ...] = ()
    settled: tuple[Outcome, str] | None = None


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """Say that Graph may have been asked for a delivery, from now on.

    :param delivery: its number in the shard's deliveries.
    """

    delivery: int
    item_id: str
    mailbox: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Say what became of a delivery.

    :param delivery: its number in the shard's deliveries.
    :param at: milliseconds since 1970, UTC.
    :param cause: one of ours in words, or Graph's own code.
    :param message: Graph's immutable id of the message, where it is known.
    :param doubtful: of a failure: whether the item may be in the mailbox nevertheless.
    """

    delivery: int
    item_id: str
    mailbox: str
    outcome: Outcome
    at: int
    cause: str | None = None
    message: str | None = None
    doubtful: bool = False


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a message as a pack of messages has it: Graph's JSON, and what else the import needs."""

    message: msgspec.Raw
    parts: tuple[PackedPart, ...] = ()


class PackedPart(msgspec.Struct, frozen=True, kw_only=True):
    """Refer to an attachment in staging.

    :param content_id: of one that belongs to the body: shown in it, or kept out of sight.
    """

    name: str
    content_type: str
    size: int
    sha256: str
    content_id: str | None = None


_ENCODER = msgspec.json.Encoder()
_LINES = 256  # that are encoded together
_PACKS = msgspec.json.Decoder(tuple[StagedObject, ...])
_DELIVERY = msgspec.json.Decoder(Delivery)


def delivery_lines(packs: tuple[StagedObject, ...], rows: Iterable[Delivery]) -> Iterator[bytes]:
    """Yield the lines of a deliveries object, many at a time."""
    yield _ENCODER.encode(packs) + b"\n"
    rest = iter(rows)
    while some := list(islice(rest, _LINES)):
        yield _ENCODER.encode_lines(some)


def read_packs(line: bytes) -> tuple[StagedObject, ...]:
    """Read the first line of a deliveries object."""
    if not line:
        raise IntegrityError("a deliveries object is empty: not even its packs are named")
    return _PACKS.decode(line)


def read_delivery(line: bytes) -> Delivery:
    """Read any other line of it."""
    return _DELIVERY.decode(line)


def receipt_of(
    number: int,
    row: Delivery,
    outcome: Outcome,
    *,
    at: int,
    cause: str | None = None,
    message: str | None = None,
    doubtful: bool = False,
) -> Receipt:
    """Make the receipt of a delivery that Graph was asked for; one without all of the item's parts is partial.

    What the message lacks is what the row says of it. Where the item was found in the mailbox, and no receipt says who
    put it there, that is a guess: a run with another limit for messages may have, and the book cannot know.
    """
    if row.causes and outcome is not Outcome.FAILED:
        outcome, cause = Outcome.PARTIALLY_IMPORTED, "; ".join(row.causes)
    return Receipt(
        delivery=number,
        item_id=row.item_id,
        mailbox=row.mailbox,
        outcome=outcome,
        at=at,
        cause=cause,
        message=message,
        doubtful=doubtful,
    )


def said_again(receipt: Receipt) -> tuple[Outcome, str | None]:
    """Return outcome and cause of a delivery that another book's receipt settles.

    What is there is what that one says was delivered, whatever this book's row would have brought: the two runs may
    have had different limits for messages. Books that follow each other say it on.
    """
    if receipt.outcome is Outcome.PARTIALLY_IMPORTED:
        return receipt.outcome, receipt.cause
    return Outcome.SKIPPED, Cause.ALREADY_THERE


def outranks(receipt: Receipt, outcome: Outcome, at: int) -> bool:
    """Tell whether a receipt counts rather than another of the same delivery, of which outcome and time are known.

    The latest counts, but a failure never outranks a delivery: nothing that was delivered is tried again, so the
    failure came first, whatever the clocks of two workers say.
    """
    return (receipt.outcome is not Outcome.FAILED, receipt.at) >= (outcome is not Outcome.FAILED, at)


def sum_up(receipts: Iterable[Receipt], count: int) -> tuple[Counter[Outcome], list[Receipt], bytearray]:
    """Count so many deliveries by the outcome that counts for each; nine bytes a delivery.

    :returns: how many have each outcome; the receipts of those that need a person, in the deliveries' order; and for
        each delivery a byte that is nought where it has no receipt.
    :raises IntegrityError: when there is a receipt for a delivery that is not among them.
    """
    kinds = list(Outcome)
    known = bytearray(count)  # nought for none, else the outcome's place in that list, from 1
    times = array("q", bytes(8 * count))
    troubled: dict[int, Receipt] = {}
    for receipt in receipts:
        number = receipt.delivery
        if not 0 <= number < count:
            raise IntegrityError(f"there is a receipt for delivery {number}, but the shard has {count} deliveries")
        if known[number] and not outranks(receipt, kinds[known[number] - 1], times[number]):
            continue
        known[number], times[number] = kinds.index(receipt.outcome) + 1, receipt.at
        if receipt.outcome in (Outcome.FAILED, Outcome.PARTIALLY_IMPORTED):
            troubled[number] = receipt
        else:
            troubled.pop(number, None)
    counted = Counter({kind: known.count(place) for place, kind in enumerate(kinds, start=1)})
    return counted, [troubled[number] for number in sorted(troubled)], known
