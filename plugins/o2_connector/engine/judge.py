"""Judge: what an answer means for its delivery and its mailbox, and what is to be asked because of it.

Here lanes learn what came of their requests, and deliveries get their receipts; when anything is sent is the
conductor's to say. Only its thread comes here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from o2_connector.core.errors import ConnectorError, ItemError, MailboxError, RetryError, StopError
from o2_connector.core.graph_errors import Verdict
from o2_connector.core.ledger import receipt_of
from o2_connector.core.naming import FOLDER_NAME
from o2_connector.core.outcomes import Cause, Outcome
from o2_connector.engine.journal import Journal
from o2_connector.engine.lanes import Job, Kind, Lane, Task
from o2_connector.engine.paces import Paces
from o2_connector.engine.progress import Progress
from o2_connector.engine.worklist import Worklist
from o2_connector.hooks.graph_mail import archived, folder_failure, folder_named, found_messages, id_of
from o2_connector.hooks.graph_requests import Answer, GraphRequests
from o2_connector.hooks.transport import backoff

_IN_FOLDER = frozenset({Kind.LOOK, Kind.CREATE})
_log = logging.getLogger("airflow.task")


def put_back(job: Job) -> None:
    """Queue a request again that was not done."""
    if job.message is not None:
        job.lane.litter.append(job.message)
    elif job.task is None:
        job.lane.setup = job
    elif job.kind is Kind.ASK:
        job.lane.ask_later(time.monotonic(), job.task)
    else:
        job.lane.make_ready(job.task)


class Judge:
    """Judge answers, each by itself.

    :param settle_seconds: how long to wait, after an answer was lost, before the mailbox is asked what came of it.
    :param patience_seconds: how long one delivery, or one mailbox, is tried before it is left to the task's next try.
    :param pending: takes why a delivery is left to it.
    :param stop: told what concerns every mailbox.
    """

    def __init__(
        self,
        *,
        graph: GraphRequests,
        worklist: Worklist,
        journal: Journal,
        paces: Paces,
        progress: Progress,
        settle_seconds: float,
        patience_seconds: float,
        pending: list[RetryError],
        stop: Callable[[BaseException], None],
    ) -> None:
        self._graph = graph
        self._worklist = worklist
        self._journal = journal
        self._paces = paces
        self._progress = progress
        self._settle_seconds = settle_seconds
        self._patience_seconds = patience_seconds
        self._pending = pending
        self._stop = stop

    def answered(self, job: Job, answer: Answer, *, alone: bool, whole: bool) -> None:
        """Judge one answer of a batch.

        :param alone: whether it is about this request alone.
        :param whole: whether it is that of the whole batch.
        """
        lane = job.lane
        lane.alone -= bool(lane.alone and alone)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS and not whole:
            self._progress.refused += 1
        if answer.ok:
            self._take(job, answer)
            return
        if job.kind is Kind.CREATE and answer.effect_unknown:
            self._doubt(lane, job.delivery)
            return
        if not alone and answer.verdict in {Verdict.ITEM, Verdict.MAILBOX}:
            # Something in the batch spoilt it; which it was shows when each goes by itself
            lane.alone += 1
            put_back(job)
            return
        what = job.kind.value
        failure = folder_failure(answer, what) if job.kind in _IN_FOLDER else answer.failure(what)
        if answer.status == HTTPStatus.UNAUTHORIZED and not whole:
            failure = RetryError(f"{what}: the token was refused")
        if job.kind is Kind.FOLDER and (answer.verdict is Verdict.SUCCESS_LIKE or answer.effect_unknown):
            # It exists, or may: the list knows
            lane.find_folder()
            self._stumble(lane, RetryError("the archive folder can neither be made nor found"))
            return
        if isinstance(failure, RetryError):
            put_back(job)
            if alone:
                self._stumble(lane, failure)
            return
        self._refuse(job, failure)

    def made(self, job: Job, result: str | BaseException) -> None:
        """Judge what became of a message that took several requests."""
        lane = job.lane
        if isinstance(result, RetryError) and result.retry_after:
            self._paces.hold(lane.mailbox, result.retry_after)
        match result:
            case str() if job.kind is Kind.REMOVE:
                _log.warning("Removed an unfinished message beside a whole one of the same item")
            case str():
                lane.leftovers.pop(job.delivery.row.key, None)
                lane.troubled, lane.stumbles = None, 0
                self.receive(lane, job.delivery, Outcome.IMPORTED, message=result)
            case RetryError() if job.kind is Kind.REMOVE:
                put_back(job)
                self._stumble(lane, result)
            case ConnectorError() if job.kind is Kind.REMOVE and not isinstance(result, StopError):
                _log.warning("An unfinished message beside a whole one could not be removed: %s", result)
            case RetryError():
                self._doubt(lane, job.delivery)
            case ConnectorError():
                self._refuse(job, result)
            case _:
                put_back(job)
                self._stop(result)

    def receive(
        self,
        lane: Lane,
        task: Task,
        outcome: Outcome,
        cause: str | None = None,
        message: str | None = None,
        *,
        doubtful: bool = False,
    ) -> None:
        """Say what became of a delivery."""
        receipt = receipt_of(
            task.number,
            task.row,
            outcome,
            cause=cause,
            message=message,
            doubtful=doubtful,
            at=time.time_ns() // 1_000_000,
        )
        self._progress.counts[receipt.outcome] += 1
        self._journal.receive(receipt)

    def _refuse(self, job: Job, failure: BaseException) -> None:
        """Act upon a refusal that will not pass by itself."""
        lane = job.lane
        match failure:
            case MailboxError(cause="ErrorFolderNotFound") if job.kind in _IN_FOLDER and job.era < max(lane.era, 2):
                put_back(job)
                if job.era == lane.era:  # the first to learn of it
                    lane.find_folder()
            case MailboxError():
                put_back(job)
                lane.cause = lane.cause or failure.cause
            case ItemError() if job.kind is Kind.CREATE:
                self.receive(lane, job.delivery, Outcome.FAILED, failure.fault)
            case ItemError():  # even the folder is refused
                put_back(job)
                lane.cause = lane.cause or failure.fault
            case _:
                put_back(job)
                self._stop(failure)

    def _take(self, job: Job, answer: Answer) -> None:
        """Take what was asked for, or made."""
        lane = job.lane
        try:
            match job.kind:
                case Kind.FOLDERS:
                    self._take_folders(lane, answer)
                case Kind.FOLDER:
                    self._take_folder(lane, answer)
                case Kind.LOOK:
                    self._take_archived(lane, answer)
                case Kind.ASK:
                    self._take_found(lane, job.delivery, answer)
                case Kind.CREATE:
                    self._take_created(lane, job.delivery, answer)
        except RetryError as error:  # a list that is none
            put_back(job)
            self._stumble(lane, error)
        except StopError as error:  # a page on another host
            put_back(job)
            self._stop(error)
        else:
            if lane.setup is None:
                lane.troubled, lane.stumbles = None, 0

    def _take_created(self, lane: Lane, task: Task, answer: Answer) -> None:
        if (message := id_of(answer)) is None:
            self._doubt(lane, task)
        else:
            self.receive(lane, task, Outcome.IMPORTED, message=message)

    def _take_folder(self, lane: Lane, answer: Answer) -> None:
        lane.folder, lane.setup = id_of(answer), None
        if lane.folder is None:
            lane.find_folder()
            self._stumble(lane, RetryError("the archive folder was made, but Graph does not name it"))
        else:
            lane.era += 1
            lane.looked = True  # nothing can be in it

    def _take_folders(self, lane: Lane, answer: Answer) -> None:
        lane.folder = folder_named(answer, FOLDER_NAME)
        if lane.folder is not None:
            lane.era += 1
            # Looked into once; what this import has put there since is known
            lane.setup = None if lane.looked else Job(lane=lane, kind=Kind.LOOK)
        elif (page := self._following(lane, answer)) is not None:
            lane.setup = Job(lane=lane, kind=Kind.FOLDERS, page=page)
        else:
            lane.setup = Job(lane=lane, kind=Kind.FOLDER)

    def _take_archived(self, lane: Lane, answer: Answer) -> None:
        there: dict[str, str] = {}
        for each in archived(answer):
            if each.unfinished:
                lane.leftovers.setdefault(each.key, []).append(each.message_id)
            else:
                there.setdefault(each.key, each.message_id)
        for number, row, message_id, doubtful in self._worklist.found(lane.mailbox, there) if there else ():
            lane.settled.add(number)
            lane.whole.add(row.key)
            task = Task(number=number, row=row)
            if doubtful:
                self.receive(lane, task, Outcome.IMPORTED, message=message_id)
            else:
                self.receive(lane, task, Outcome.SKIPPED, Cause.ALREADY_THERE, message_id)
        page = self._following(lane, answer)
        lane.setup = None if page is None else Job(lane=lane, kind=Kind.LOOK, page=page)
        if page is None:
            lane.looked = True
            if lane.more_doubts:  # the folder may have answered them all, and nothing needs to be waited for
                lane.more_doubts = bool(self._worklist.doubtful_rows(lane.mailbox, -1, 1))
            for key in lane.whole & lane.leftovers.keys():
                lane.litter += lane.leftovers.pop(key)

    def _take_found(self, lane: Lane, task: Task, answer: Answer) -> None:
        found = found_messages(answer, task.row.key)
        task.page = self._following(lane, answer)
        task.torn += [each.message_id for each in found if each.unfinished]
        whole = [each.message_id for each in found if not each.unfinished]
        if whole:
            self.receive(lane, task, Outcome.IMPORTED, message=whole[0])
            lane.litter += task.torn
            return
        if task.page is not None:
            lane.ask_later(time.monotonic(), task)
            return
        lane.leftovers.pop(task.row.key, None)
        if task.torn:
            lane.leftovers[task.row.key], task.torn = task.torn, []
        lane.make_ready(task)

    def _following(self, lane: Lane, answer: Answer) -> str | None:
        link = answer.fields.get("@odata.nextLink")
        if link is None:
            return None
        page = self._graph.below_root(str(link))
        if page in lane.pages:
            lane.left = RetryError("a list has no end: Graph gave the same page twice")
        lane.pages.add(page)
        return page

    def _doubt(self, lane: Lane, task: Task) -> None:
        """Have a delivery asked for later, whose answer was lost."""
        due = time.monotonic() + self._settle_seconds
        task.troubled = task.troubled or time.monotonic()
        if due - task.troubled > self._patience_seconds:
            self._pending.append(RetryError("a message was created: again and again the answer was lost"))
        else:
            lane.ask_later(due, task)

    def _stumble(self, lane: Lane, error: RetryError) -> None:
        """Let a mailbox alone for as long as Graph asks, or longer each time; in the end leave it to the next try."""
        now = time.monotonic()
        lane.troubled = lane.troubled or now
        wait = backoff(lane.stumbles, retry_after=error.retry_after)
        lane.stumbles += 1
        if now + wait - lane.troubled > self._patience_seconds:
            lane.left = lane.left or error
        else:
            self._paces.hold(lane.mailbox, wait)
