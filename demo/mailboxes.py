"""What arrived in the sandbox's mailboxes, read from there and not from what the archive says of itself."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from demo.options import Options
from demo.screen import shown

ITEM_ID = "x-o2-item-id"
ITEM_TYPE = "x-o2-item-type"
KINDS = ("SMS", "MMS", "CALL", "VOICEMAIL")

#: Items of a day among which somebody is looked for who takes part in many.
ENOUGH = 2000


@dataclass(kw_only=True)
class Arrived:
    """Sum up the mailboxes.

    :param copies: e-mails for each mailbox and item.
    :param drafts: e-mails that Outlook would show as not sent.
    :param examples: the e-mail to show for each kind of item.
    :param texts: for each item, the text as every copy gives it back; only where texts are to be compared.
    """

    copies: Counter[tuple[str, str]] = field(default_factory=Counter)
    drafts: int = 0
    examples: dict[str, dict[str, Any]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    breaches: int = 0

    @property
    def twice(self) -> int:
        """Count the e-mails that are in a mailbox a second time."""
        return sum(number - 1 for number in self.copies.values())

    @property
    def mailboxes(self) -> int:
        """Count the mailboxes that hold anything."""
        return len({mailbox for mailbox, _ in self.copies})


def _answers(sandbox: dict[str, Any], path: str) -> Iterator[Any]:
    """Ask the sandbox's own side door, beside the Graph API; an answer a line."""
    base = urlsplit(sandbox["graph"]["url"])
    session = requests.Session()
    session.trust_env = False  # it is on this machine, whatever proxy the environment names
    with session.get(
        f"{base.scheme}://{base.netloc}{path}", verify=sandbox["ca_file"], stream=True, timeout=600
    ) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line:
                yield json.loads(line)


def header(message: dict[str, Any], name: str) -> str:
    """Give a header of an e-mail, or nothing."""
    return next((each["value"] for each in message["internetMessageHeaders"] or [] if each["name"].lower() == name), "")


def look(sandbox: dict[str, Any], *, keep_texts: bool) -> Arrived:
    """Read every e-mail that is in a mailbox, one after the other."""
    # Not at the top: to end a demo takes nothing of the connector, nor its folder on the path.
    from o2_connector.core.rebuild import read_graph_message, rebuild

    arrived = Arrived()
    for message in _answers(sandbox, "/_sandbox/messages"):
        item_id, kind = header(message, ITEM_ID), header(message, ITEM_TYPE)
        arrived.copies[message["userId"], item_id] += 1
        arrived.drafts += message["isDraft"]
        if keep_texts:
            arrived.texts.setdefault(item_id, []).append(rebuild(read_graph_message(message)).item.text or "")
        known = arrived.examples.get(kind)
        if known is None or _interest(message) > _interest(known):
            arrived.examples[kind] = message
    arrived.breaches = sum(map(len, _answers(sandbox, "/_sandbox/breaches")))
    return arrived


def _interest(message: dict[str, Any]) -> tuple[bool, bool]:
    """Prefer what shows more: an attachment, an emoji."""
    return bool(message["attachments"]), max(message["bodyPreview"], default="") >= "\N{MAHJONG TILE EAST WIND}"


def _who(recipient: dict[str, Any]) -> str:
    address = recipient["emailAddress"]
    return f"{address['name']} <{address['address']}>"


def card(message: dict[str, Any]) -> Iterator[str]:
    """Describe an e-mail in a few lines."""
    recipients = message["toRecipients"]
    others = f" and {len(recipients) - 1} more" if len(recipients) > 1 else ""
    first = next((line for line in message["bodyPreview"].splitlines() if line.strip()), "")
    yield shown(message["subject"], 92)
    yield f"  from {shown(_who(message['from']), 98)}"
    yield f"  to   {shown(_who(recipients[0]), 80)}{others}"
    yield f"  {message['sentDateTime'][:19].replace('T', ' ')} UTC   {shown(first, 80)}"
    for each in message["attachments"]:
        yield f"  + {shown(each['name'], 60)}, {each['size']:,} bytes"


def differing_texts(options: Options, texts: dict[str, list[str]]) -> list[str]:
    """Name every item of the corpus that no mailbox has, or of which a copy differs in as much as one code point.

    The texts come from the file itself; the sandbox's world tells only which item each line became.
    """
    from sandbox.world import World

    world = World(options.seed, options.users, options.items, options.zone.key, corpus=options.corpus)
    wanted = zip(world.items_of(*options.window), corpus_texts(options.corpus), strict=True)
    return [item["itemId"] for item, text in wanted if set(texts.get(item["itemId"], ())) != {text}]


def corpus_texts(file: Path | None) -> Iterator[str]:
    """Read the texts of a corpus, in order."""
    if file is None:
        return
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)["text"]


def somebody_parked(options: Options) -> tuple[str, str] | None:
    """Give the number of a phone whose items wait, and an address that could be its; None where none do."""
    from sandbox.people import line_of
    from sandbox.world import World

    world = World(options.seed, options.users, options.items, options.zone.key, corpus=options.corpus)
    unserved = {line_of(person.phone): person.phone for person in world.people if not (person.user or person.mapped_to)}
    seen = Counter(
        line_of(party["phone"])
        for item in world.items_of(*options.window, stop=ENOUGH)
        for party in (item["from"], *item["to"])
    )
    number = max(unserved, key=seen.__getitem__)
    address = next(user.mail for user in world.directory if user.mail and user.mailbox == "ok")
    return (unserved[number], address) if seen[number] else None
