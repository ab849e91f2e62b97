"""Explain: say what became of one item, stage by stage."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from o2_connector.commands.screen import wrapped
from o2_connector.commands.windows import WHAT, span_of
from o2_connector.core.errors import IntegrityError, StopError
from o2_connector.core.explanation import (
    AttachmentTold,
    ConversionTold,
    DecisionTold,
    DeliveryTold,
    Explanation,
    RecordTold,
    WaitTold,
    Who,
)
from o2_connector.core.items import Identifier
from o2_connector.core.outcomes import Outcome, remedy
from o2_connector.core.plurals import many
from o2_connector.core.settings import read_settings
from o2_connector.engine.explanation import explain
from o2_connector.engine.windows import windows_in
from o2_connector.hooks.staging import StagingHook

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_INDENT = "  "


def add_to(subparsers: Subparsers) -> None:
    """Add the command to the parser of commands."""
    parser = subparsers.add_parser("explain")
    parser.description = (
        "Say what became of an item at every stage, from staging alone: when it was captured and where it is staged,"
        " what it was converted to, whose mailboxes it is for and by which rule, when it was delivered as which"
        " message, or why not. Exit 1 where there is no such item, or where something could not be read."
    )
    parser.add_argument("item_id", metavar="ITEM_ID", help="TeleMessage's id, as reports and e-mails have it")
    parser.add_argument("--window", metavar="WINDOW", help=f"look there alone: {WHAT}; else every window is looked at")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for a script")
    parser.add_argument(
        "--show-personal",
        action="store_true",
        help="show the participants' numbers, names and addresses, and the mailboxes' addresses; else numbers are"
        " masked, and mailboxes are told by their object ids",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what became of the item; return 1 where there is none, or where not all of it is known.

    :raises StopError: where the id or the window is none, or staging is not to be had.
    :raises IntegrityError: where there is no such item, and something could not be looked at.
    """
    item_id = _checked(arguments.item_id)
    staging = StagingHook()
    zone = ZoneInfo(read_settings(os.environ, "").timezone)
    span = None if arguments.window is None else span_of(arguments.window, zone)
    explanation = explain(staging, item_id, list(windows_in(staging, span)), personal=arguments.show_personal)
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(explanation).decode() + "\n")
    else:
        print("\n\n".join("\n".join(paragraph) for paragraph in _paragraphs(explanation)))
    if explanation.unread and not explanation.is_found:
        raise IntegrityError("The item was not found, but not everything could be read: it may be in what is altered.")
    return int(bool(explanation.unread) or not explanation.is_found)


def _checked(item_id: str) -> str:
    try:
        return msgspec.convert(item_id, Identifier)
    except (msgspec.ValidationError, UnicodeEncodeError):
        raise StopError("That is no item id: give it as a report or an e-mail's X-O2-Item-Id has it.") from None


def _paragraphs(told: Explanation) -> Iterator[list[str]]:
    if not told.is_found:
        yield [wrapped(f"There is no item {told.item_id} in {_searched(told.searched)}.")]
    else:
        yield [
            f"Item {told.item_id}",
            *_facts(("Message-ID", told.message_id), ("looked at", _searched(told.searched))),
        ]
    several = len({each.digest for each in told.records}) > 1
    for record in told.records:
        yield from _of_record(record, told.conversions_of(record))
    for decision in told.decisions:
        yield _decided(decision, several)
    if told.is_found and not told.decisions:
        yield ["Not decided on", *_lines("No run has come so far that it says whose mailbox it is for.")]
    for wait in told.waits:
        yield _waits(wait)
    if told.unread:
        yield ["Not read, so that nothing is known of it", *(wrapped(f"{_INDENT}{each}") for each in told.unread)]


def _of_record(record: RecordTold, conversions: Sequence[ConversionTold]) -> Iterator[list[str]]:
    yield ["Captured", *_captured(record)]
    yield [
        "Staged",
        *_facts(("record", f"{record.batch}, line {record.line}"), ("SHA-256", record.digest)),
        *(line for each in record.attachments for line in _attachment(each)),
    ]
    if record.fault is not None:
        yield ["Rejected", *_lines(f"It breaks the contract: {record.fault}. Show TeleMessage the batch and the line.")]
    elif not conversions:
        yield ["Not converted", *_lines("No run has come so far.")]
    for each in conversions:
        yield ["Converted", *_converted(each)]


def _captured(record: RecordTold) -> Iterator[str]:
    if record.sent_at and record.archived_at and record.sender:
        yield from _facts(
            ("captured", _time(record.archived_at)),
            ("sent", _time(record.sent_at)),
            ("what", " ".join(filter(None, (record.item_type, record.direction, record.status)))),
            ("from", _who(record.sender)),
            ("to", ", ".join(map(_who, record.recipients))),
        )
    if record.action and record.relates_to:
        yield from _facts(("relates to", f"{record.action}S item {record.relates_to}, which stays as it was"))
    yield from _facts(("window", record.window))


def _attachment(each: AttachmentTold) -> Iterator[str]:
    where = each.staged or "not there"
    yield from _facts(("attachment", f"{each.attachment_id}, {many(each.size, 'byte')}: {where}"))
    if each.cause:
        yield from _facts(("", f"not in the e-mail: {each.cause}"))


def _converted(each: ConversionTold) -> Iterator[str]:
    yield from _facts(
        ("converter", f"version {each.converter}" if each.converter else "not known"),
        ("e-mail", f"{each.emls or 'not there'}, {many(each.length, 'byte')} from byte {each.offset}"),
        ("SHA-256", each.sha256),
    )
    for cause in each.causes:
        yield from _facts(("in part", f"{cause}; {remedy(cause)}"))


def _decided(decision: DecisionTold, several: bool) -> list[str]:
    kind = "replay" if decision.replay else "run"
    return [
        f"Decided by {'dry ' if decision.dry_run else ''}{kind} {decision.run_id}",
        *_facts(
            ("at", _time(decision.decided_at)),
            ("mapping", decision.mapping),
            *(("book", report) for report in decision.reports),
        ),
        *(line for each in decision.deliveries for line in _delivery(each, decision.dry_run, several)),
        *(line for each in decision.standings for line in _facts((each.outcome, each.cause))),
    ]


def _delivery(each: DeliveryTold, dry_run: bool, several: bool) -> Iterator[str]:
    rule = f"{each.rule} {each.place}" if each.place else each.rule
    mailbox = f"{each.mailbox} ({each.address})" if each.address else each.mailbox
    yield from _facts(("mailbox", f"{mailbox}, by {rule}"))
    if several and each.record:
        yield from _facts(("", f"the record with SHA-256 {each.record}"))
    if dry_run:
        yield from _facts(("", "a dry run: nothing was written to a mailbox"))
        return
    for answer in each.answers:
        words = f"{answer.outcome} {_at(answer.at)}"
        words += f": {answer.cause}" if answer.cause else ""
        words += "; it may be there nevertheless" if answer.doubtful else ""
        yield from _facts(("", words))
        if answer.message:
            yield from _facts(("", f"Graph's id of the message: {answer.message}"))
    if each.asked:
        yield from _facts(("", "asked, answer not known yet: the import looks into the mailbox before it sends again"))
    elif each.counts is None:
        yield from _facts(("", "not asked for yet" if each.settled is None else each.settled))
    elif each.counts.outcome is Outcome.FAILED and len(each.answers) > 1:
        yield from _facts(("", f"so it {each.counts.outcome}"))


def _waits(wait: WaitTold) -> list[str]:
    ended = f", until run {wait.by} delivered it" if wait.by else ""
    whom = ", ".join(map(_who, wait.people))
    stands = "nobody gets it" if wait.nobody else "somebody else gets it"
    stands = "the catch-all mailbox gets it" if wait.caught else stands
    return [
        f"Waited since {_at(wait.since)}{ended}" if wait.gone else f"Waits since {_at(wait.since)}",
        *_facts(("for", whom), ("because", wait.cause), ("meanwhile", stands)),
        *(_facts(("remedy", remedy(wait.cause))) if not wait.gone else ()),
    ]


def _searched(windows: Sequence[str]) -> str:
    if not windows:
        return "staging, for no window was archived there"
    if len(windows) == 1:
        return f"window {windows[0]}"
    return f"{many(len(windows), 'window')}, {windows[0]} to {windows[-1]}"


def _facts(*facts: tuple[str, str]) -> Iterator[str]:
    for name, value in facts:
        yield f"{_INDENT}{name:<10}  {value}"


def _lines(*lines: str) -> Iterator[str]:
    for line in lines:
        yield wrapped(f"{_INDENT}{line}", _INDENT)


def _who(who: Who) -> str:
    more = ", ".join(filter(None, (who.name, who.email)))
    return f"{who.phone} ({more})" if more else who.phone


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _at(milliseconds: int) -> str:
    return _time(datetime.fromtimestamp(milliseconds / 1000, UTC))
