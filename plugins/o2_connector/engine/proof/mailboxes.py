"""Proof of the mailboxes: that each one has what the ledgers say it was given, once, and as it was staged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from o2_connector.core.errors import IntegrityError, ItemError, MailboxError, RetryError, StopError
from o2_connector.core.naming import FOLDER_NAME, UNFINISHED_CATEGORY
from o2_connector.core.pacing import CONCURRENT
from o2_connector.engine.messages import Messages
from o2_connector.engine.proof.asking import Asking, Questions
from o2_connector.engine.proof.ledgers import Due, Ledgers
from o2_connector.engine.proof.likeness import differences
from o2_connector.engine.proof.result import Fault, Proof, Result
from o2_connector.hooks.graph_mail import (
    Found,
    archived,
    archived_call,
    folder_named,
    folders_call,
    found_messages,
    item_call,
    message_call,
)
from o2_connector.hooks.graph_requests import Answer, Call, GraphRequests, get
from o2_connector.hooks.staging import StagingHook

SAMPLE = 500
"""Deliveries of each window that are looked up, unless all are asked for: were one in a hundred not as it was
delivered, such a sample would miss it once in 150 times."""

_IN_STAGING = "the e-mail as it was delivered is in staging"


class Extent(StrEnum):
    """Say how many of the deliveries are looked up."""

    SAMPLE = "sample"
    ALL = "all"
    NONE = "none"


@dataclass(kw_only=True)
class _Found:
    """Gather what came of it.

    :param sound: deliveries that are there, as they were staged.
    """

    sound: int = 0
    faults: list[Fault] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)


def prove_mailboxes(
    staging: StagingHook, graph: Callable[[], GraphRequests], ledgers: Ledgers, extent: Extent, seed: str
) -> Result:
    """Look deliveries up in their mailboxes.

    :param seed: by which the sample is chosen.
    """
    if extent is Extent.ALL:
        ledgers.choose_all()
    else:
        ledgers.choose_some(SAMPLE, seed)
    found = _Found(unproved=list(ledgers.unread))
    mailboxes = ledgers.all_mailboxes() if extent is Extent.ALL else ledgers.mailboxes()
    with ExitStack() as stack:
        messages = stack.enter_context(Messages(staging, ledgers.packs))
        try:
            asked = graph()
            look = _Look(graph=asked, ledgers=ledgers, messages=messages, found=found, whole=extent is Extent.ALL)
            Asking(staging, asked, look.busy).ask({mailbox: look.at(mailbox) for mailbox in mailboxes})
        except (StopError, RetryError) as error:
            found.unproved.append(f"the mailboxes could not be asked: {error}")
    return Result(
        proof=Proof.MAILBOXES,
        proved=_proved(found, ledgers, extent),
        faults=tuple(found.faults),
        unproved=tuple(found.unproved),
    )


def _proved(found: _Found, ledgers: Ledgers, extent: Extent) -> str:
    if not found.sound:
        return "" if found.faults or found.unproved else "nothing was delivered"
    total, boxes = ledgers.count, len(ledgers.mailboxes())
    chosen = "" if extent is Extent.ALL or ledgers.chosen == total else f" ({SAMPLE} of each window, chosen by digest)"
    return (
        f"{found.sound:,} of {total:,} deliveries looked up in {boxes:,} mailbox{'es' * (boxes != 1)}{chosen}: each is"
        " there once, its subject, body, times, facts and attachments as they are staged"
    )


class _Closed(Exception):
    """Say that nothing more is to be asked of a mailbox."""


class _Look:
    """Look into mailboxes; all of it in one thread.

    :param whole: whether to look for items that a mailbox was not meant to have.
    """

    def __init__(
        self, *, graph: GraphRequests, ledgers: Ledgers, messages: Messages, found: _Found, whole: bool
    ) -> None:
        self._graph = graph
        self._ledgers = ledgers
        self._messages = messages
        self._found = found
        self._whole = whole

    def at(self, mailbox: str) -> Questions:
        """Ask one mailbox for its deliveries."""
        try:
            if self._whole:
                yield from self._strangers(mailbox)
            for some in self._ledgers.due(mailbox, CONCURRENT):
                yield from self._each(mailbox, some)
        except _Closed:
            return
        except RetryError as error:  # an answer that is none
            self._found.unproved.append(f"mailbox {mailbox} could not be asked: {error}")

    def busy(self, mailboxes: Collection[str], error: RetryError) -> None:
        """Take note that mailboxes could not be asked."""
        many = f"{len(mailboxes):,} mailbox{'es' * (len(mailboxes) != 1)}"
        self._found.unproved.append(f"{many} could not be asked, ask again when the run is over: {error}")

    def _each(self, mailbox: str, some: Sequence[Due]) -> Questions:
        """Look some deliveries up."""
        answers = yield [item_call(mailbox, each.key) for each in some]
        there: list[tuple[Due, str, bool]] = []
        for each, answer in zip(some, answers, strict=True):
            if self._is_answered(mailbox, answer, each.item_id):
                found = found_messages(answer, each.key)
                wrong = list(_copies(each, found))
                self._found.faults += wrong
                there += [(each, one.message_id, not wrong) for one in found if not one.unfinished]
        for start in range(0, len(there), CONCURRENT):
            part = there[start : start + CONCURRENT]
            answers = yield [message_call(mailbox, message_id) for _, message_id, _ in part]
            for (each, message_id, once), answer in zip(part, answers, strict=True):
                if self._is_answered(mailbox, answer, each.item_id):
                    self._found.sound += self._is_as_staged(each, message_id, answer.fields) and once

    def _is_as_staged(self, due: Due, message_id: str, message: Mapping[str, Any]) -> bool:
        """Hold a message against the staged one; where there are several, against the one that it is most like."""
        found: list[list[str]] = []
        for version in due.versions:
            try:
                packed = self._messages.of(version)
            except IntegrityError as error:
                self._found.unproved.append(f"item {due.item_id} has nothing to be compared with: {error}")
                return False
            found.append(list(differences(message, msgspec.json.decode(packed.message), packed.parts)))
        differs = min(found, key=len)
        if differs:
            self._found.faults.append(
                Fault(
                    item_id=due.item_id,
                    mailbox=due.mailbox,
                    message=message_id,
                    what=f"the message was altered: {'; '.join(differs)}",
                    remedy=f"Look who changed it, in the mailbox's audit log; {_IN_STAGING}",
                )
            )
        return not differs

    def _strangers(self, mailbox: str) -> Questions:
        """Look through the archive folder for items of the span that the mailbox was not meant to have."""
        sent = self._ledgers.sent()
        folder: str | None = None
        call: Call | None = folders_call(mailbox) if sent else None
        seen: set[str] = set()
        while call and sent:
            if call.path in seen:
                raise RetryError("a list has no end: Graph gave the same page twice")
            seen.add(call.path)
            (answer,) = yield [call]
            if not self._is_answered(mailbox, answer, None):
                return
            if folder is None:
                folder = folder_named(answer, FOLDER_NAME)
                call = archived_call(mailbox, folder, *sent) if folder else self._following(answer)
                continue
            for each in archived(answer):
                item_id = self._ledgers.item_of(each.key)
                if item_id and not self._ledgers.is_meant(mailbox, each.key):
                    self._found.faults.append(_stranger(mailbox, item_id, each.message_id))
            call = self._following(answer)

    def _following(self, answer: Answer) -> Call | None:
        link = answer.fields.get("@odata.nextLink")
        return None if link is None else get(self._graph.below_root(str(link)))

    def _is_answered(self, mailbox: str, answer: Answer, item_id: str | None) -> bool:
        """Tell whether an answer is of use, and take note why not."""
        if answer.ok:
            return True
        error = answer.failure(f"item {item_id} was looked for" if item_id else "the archive folder was looked for")
        if isinstance(error, StopError):
            raise error
        if isinstance(error, MailboxError) and error.cause != "ErrorAccessDenied":
            self._found.faults.append(
                Fault(
                    mailbox=mailbox,
                    what=f"the mailbox is gone ({error.cause}), and with it"
                    f" {self._ledgers.chosen_in(mailbox):,} of the deliveries that are looked for",
                    remedy="A user who was deleted can be restored for 30 days, and a mailbox on hold opened by"
                    f" eDiscovery; {_IN_STAGING}",
                )
            )
            raise _Closed
        self._found.unproved.append(f"mailbox {mailbox} does not answer, or is closed to the application: {error}")
        if isinstance(error, ItemError):
            return False
        raise _Closed


def _copies(due: Due, found: Sequence[Found]) -> Iterator[Fault]:
    """Yield what is wrong with how often an item is there."""
    whole = sorted((each for each in found if not each.unfinished), key=lambda each: each.message_id != due.message)
    about = {"item_id": due.item_id, "mailbox": due.mailbox}
    delivered = f"delivered on {datetime.fromtimestamp(due.at / 1000, UTC):%Y-%m-%d at %H:%M:%S} UTC"
    if not found:
        yield Fault(
            **about,
            message=due.message,
            what=f"the message is not there; it was {delivered}",
            remedy="Its reader, an administrator or a retention policy removed it: look into the mailbox's recoverable"
            f" items. A run does not deliver it again; {_IN_STAGING}",
        )
    elif not whole:
        yield Fault(
            **about,
            message=found[0].message_id,
            what=f"the message lacks attachments still, by its category; it was {delivered}",
            remedy=f"Look who set the category {UNFINISHED_CATEGORY!r}, in the mailbox's audit log; {_IN_STAGING}",
        )
    for each in (*whole[1:], *((each for each in found if each.unfinished) if whole else ())):
        yield Fault(
            **about,
            message=each.message_id,
            what=f"the message is there {len(found)} times; it was {delivered}",
            remedy=f"Somebody has copied it: keep {whole[0].message_id}, and remove this one",
        )


def _stranger(mailbox: str, item_id: str, message_id: str) -> Fault:
    return Fault(
        item_id=item_id,
        mailbox=mailbox,
        message=message_id,
        what="the mailbox has the item, and no ledger says that it was meant to",
        remedy="Unless a run over this window is at work, look who put it there, in the mailbox's audit log, and"
        " whether its reader may see it",
    )
