"""What TeleMessage answers about a frozen window: the list of its batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated

import msgspec

from o2_connector.core.errors import ItemError, RetryError, StopError


class AttachmentGone(ItemError):
    """Say that TeleMessage keeps an attachment no longer: its item is archived without it, by name."""


class AlteredError(RetryError):
    """Say that bytes came whole, but are not those of the digest that TeleMessage named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Name one file of items at the source, and say what its bytes will be.

    :param size: bytes, not compressed.
    :param sha256: of those bytes, 64 lower-case hex digits.
    """

    batch_id: str
    item_count: int
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """Name one frozen window at the source, with its batches in the source's order."""

    export_id: str
    item_count: int
    batches: tuple[Batch, ...]


def parse_export(body: bytes) -> Export:
    """Decode the answer to a freeze and prove that it is whole.

    :raises RetryError: when it is no JSON (an answer cut short, a gateway's page) or when its counts do not add up: a
        list that contradicts itself was taken while the source still copied, and the next one may be right.
    :raises StopError: when it is JSON of another shape than the contract's, or names a batch twice: the source, asked
        again, answers the same.
    """
    try:
        export = _DECODER.decode(body)
    except msgspec.ValidationError as error:  # names the place; these types put no value into the message
        raise StopError(f"TeleMessage's list of batches breaks the contract: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RetryError("TeleMessage's list of batches is not JSON") from error
    twice = [batch_id for batch_id, times in Counter(batch.batch_id for batch in export.batches).items() if times > 1]
    if twice:
        raise StopError(f"TeleMessage's list of batches breaks the contract: batch {twice[0]} is named twice")
    total = sum(batch.item_count for batch in export.batches)
    if total != export.item_count:
        raise RetryError(f"export {export.export_id} counts {export.item_count} items, but its batches {total}")
    return Export(
        export_id=export.export_id,
        item_count=export.item_count,
        batches=tuple(
            Batch(
                batch_id=batch.batch_id,
                item_count=batch.item_count,
                size=batch.byte_count,
                sha256=batch.sha256.lower(),
            )
            for batch in export.batches
        ),
    )


# "." and ".." cannot be sent: every client and proxy folds them away (RFC 3986, 6.2.2.3), quoted or not
_Id = Annotated[str, msgspec.Meta(pattern=r"\A(?!\.{1,2}\Z).+\Z", max_length=512)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _WireBatch(msgspec.Struct, frozen=True, rename="camel"):
    """Spell a batch as the contract does."""

    batch_id: _Id
    item_count: _Count
    byte_count: _Count
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Fa-f]{64}\Z")]


class _WireExport(msgspec.Struct, frozen=True, rename="camel"):
    """Spell an export as the contract does."""

    export_id: _Id
    item_count: _Count
    batches: list[_WireBatch]


_DECODER = msgspec.json.Decoder(_WireExport)
