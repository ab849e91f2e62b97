"""Parties: the people of an item as its e-mail names them."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from typing import NamedTuple

from o2_connector.core.escapes import one_line
from o2_connector.core.identity import DOMAIN
from o2_connector.core.items import Direction, Item, Participant
from o2_connector.core.phones import normalise

_SMTP_ADDRESS = re.compile(
    r"(?!.*=\?)(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_LOCAL_PART = 64  # characters (RFC 5321, 4.5.3.1.1)
_CACHED = 1 << 12  # participants


class Address(NamedTuple):
    """Hold a display name, with the number in it, and an SMTP address."""

    name: str
    address: str


class Party(NamedTuple):
    """Hold what is said of one participant.

    :param number: in E.164 where it is a subscriber's, else as captured, on one line.
    :param fact: the participant as captured, as JSON.
    :param is_known: whether the address is the captured one.
    """

    number: str
    address: Address
    fact: str
    is_known: bool


@lru_cache(_CACHED)
def party_of(participant: Participant, region: str) -> Party:
    """Return what is said of a participant.

    The address is the *User's Email address* property where that is one, else made from the number under a domain that
    is nobody's. What the mapping files say is not in it: it may change, and the e-mail is what was captured.
    """
    number = normalise(participant.phone, region) or one_line(participant.phone).strip() or "no number"
    name = one_line(participant.name or "").strip()
    email = (participant.email or "").strip()
    is_known = is_smtp_address(email)
    captured = {"phone": participant.phone, "email": participant.email, "name": participant.name}
    return Party(
        number=number,
        address=Address(
            name=f"{name} ({number})" if name else number,
            address=email if is_known else f"{_local_part(number)}@{DOMAIN}",
        ),
        fact=json.dumps({key: value for key, value in captured.items() if value is not None}),
        is_known=is_known,
    )


def to_and_cc(item: Item, recipients: tuple[Party, ...]) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
    """Share the recipients out: what came in to a group is To the organisation's people, with a copy to all others.

    The organisation's people are those whose address is known; where that tells nobody apart, all are To.
    """
    if len(recipients) == 1:
        return (recipients[0].address,), ()
    ours = tuple(party.address for party in recipients if party.is_known)
    if item.direction is Direction.OUTBOUND or not 0 < len(ours) < len(recipients):
        return tuple(party.address for party in recipients), ()
    return ours, tuple(party.address for party in recipients if not party.is_known)


def is_smtp_address(text: str) -> bool:
    """Tell whether text is an address that both RFC 5321 and Exchange take: a dot-atom and a host name, no quotes.

    What looks like an encoded word (RFC 2047) is none: mail readers decode it.
    """
    return len(text) <= 254 and _SMTP_ADDRESS.fullmatch(text) is not None


def _local_part(number: str) -> str:
    # Alphanumeric senders hold any sign ("O2 UK", "M&S"): what is no letter or digit becomes its code point.
    name = re.sub(r"[A-Z]", lambda found: found[0].lower(), number.removeprefix("+") or number)
    name = re.sub(r"[^a-z0-9]", lambda found: f"_{ord(found[0]):x}_", name)
    if len(name) <= _LOCAL_PART:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: _LOCAL_PART - 17]}_{digest}"
