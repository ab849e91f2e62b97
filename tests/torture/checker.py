"""Count what came: in the mailboxes first, in our own books afterwards."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from o2_connector.core.ledger import Receipt, outranks, read_delivery
from o2_connector.core.manifest import Shard
from o2_connector.core.naming import ITEM_PROPERTY, UNFINISHED_CATEGORY
from o2_connector.core.outcomes import Outcome
from o2_connector.engine.book import receipts_of
from o2_connector.hooks.staging import StagingHook
from tests.torture.world import Sent

Place = tuple[str, str]
"""An item's key and a mailbox."""


@dataclass(kw_only=True)
class Found:
    """List what is not as it should be, each by name.

    :param lost: items that a mailbox has not.
    :param doubled: an entry for each copy too many, or of what its user had deleted for good.
    :param unfinished: messages whose attachments are still to come.
    :param wrong_mailbox: messages in a mailbox that has nothing to do with their item, or of no item.
    :param altered: messages that do not say what their item said, or with other attachments.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    wrong_mailbox: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)


def inspect(
    items: Iterable[Sent],
    gone: Collection[Place],
    tally: Mapping[str, Mapping[str, Any]],
    messages: Iterable[Mapping[str, Any]],
) -> Found:
    """Hold the mailboxes against what was to be delivered.

    :param gone: what users deleted for good.
    :param tally: by mailbox how many `messages` it has, and of how many each item (`values`), wherever they lie.
    :param messages: the same messages, but for those in Deleted Items.
    """
    due = {(item.key, mailbox): item for item in items for mailbox in item.mailboxes}
    here = {(key, mailbox): count for mailbox, held in tally.items() for key, count in _by_item(held).items()}
    found = Found()
    for place, item in due.items():
        count, wanted = here.get(place, 0), 0 if place in gone else 1
        name = f"{item.item_id} in {place[1]}: {count}"
        found.doubled += [name] * (count - wanted)
        found.lost += [name] * (wanted - count)
    for (key, mailbox), count in here.items():
        if (key, mailbox) not in due:
            found.wrong_mailbox += [f"{key} in {mailbox}"] * count
    for mailbox, held in tally.items():
        found.wrong_mailbox += [f"no item in {mailbox}"] * (held["messages"] - sum(_by_item(held).values()))
    for message in messages:
        key, mailbox = str(key_of(message)), str(message["userId"])
        if UNFINISHED_CATEGORY in message["categories"]:
            found.unfinished.append(f"{key} in {mailbox}")
        elif (key, mailbox) in due and (differs := _differs(message, due[key, mailbox])):
            found.altered.append(f"{due[key, mailbox].item_id} in {mailbox}: {', '.join(differs)}")
    return found


def without_receipt(staging: StagingHook, shards: Iterable[Shard]) -> list[str]:
    """Name the deliveries of books that were worked through to the end of which the book does not say that they are."""
    missing = []
    for shard in shards:
        receipts: dict[int, Receipt] = {}
        for receipt in receipts_of(staging, shard):
            known = receipts.get(receipt.delivery)
            if known is None or outranks(receipt, known.outcome, known.at):
                receipts[receipt.delivery] = receipt
        with staging.reader(shard.deliveries) as lines:
            rows = [read_delivery(line) for line in lines.readlines()[1:]]
        for number, row in enumerate(rows):
            last = receipts.get(number)
            if last is None or last.outcome is Outcome.FAILED or not _is_of(last, row.item_id, row.mailbox):
                said = f"{last.outcome}, {last.cause}" if last else "nothing"
                missing.append(f"{row.item_id} in {row.mailbox} of {shard.deliveries.name}: {said}")
    return missing


def key_of(message: Mapping[str, Any]) -> str | None:
    """Return which item a message is of."""
    wanted = ITEM_PROPERTY.casefold()
    values = (each["value"] for each in message["singleValueExtendedProperties"] if each["id"].casefold() == wanted)
    return next(values, None)


def _by_item(held: Mapping[str, Any]) -> dict[str, int]:
    wanted = ITEM_PROPERTY.casefold()
    return {
        key: count
        for name, values in held["values"].items()
        if name.casefold() == wanted
        for key, count in values.items()
    }


def _differs(message: Mapping[str, Any], item: Sent) -> list[str]:
    """Name what a message says otherwise than its item."""
    digests = sorted(attachment["sha256"] for attachment in message["attachments"])
    sent = datetime.fromisoformat(message["sentDateTime"])
    same = {
        f"{len(digests)} attachments where {len(item.digests)} were sent": tuple(digests) == item.digests,
        "text": message["body"]["content"] == item.text,
        "Message-ID": message["internetMessageId"] == item.message_id,
        "time": abs((sent - item.sent).total_seconds()) < 1,
        "a draft": message["isDraft"] is False,
    }
    return [name for name, is_so in same.items() if not is_so]


def _is_of(receipt: Receipt, item_id: str, mailbox: str) -> bool:
    return (receipt.item_id, receipt.mailbox) == (item_id, mailbox)
