"""Notices: tell the people on call, by e-mail and by a notifier of their own, what Airflow's callbacks give cause to.

When a book is closed, or could not be, ``reconcile`` tells: it works whatever became of the rest, and knows most. What
it cannot tell of, because it was killed or never began, the DAG's own callback tells.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from airflow.sdk import BaseNotifier
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from o2_connector.core.errors import ConnectorError, StopError
from o2_connector.core.failures import UNKNOWN, Fault, Standing, failed, late
from o2_connector.core.manifest import ReportManifest, from_xcom
from o2_connector.core.notices import Notice, Subject
from o2_connector.core.settings import NotifierSetting, Settings, read_settings
from o2_connector.core.window import Window
from o2_connector.engine.notices import news_of, read_book
from o2_connector.hooks.staging import StagingHook
from o2_connector.operators.links import page_url
from o2_connector.operators.run import FAULT, leave_fault, window_of

if TYPE_CHECKING:
    from airflow.sdk import Context

TOLD = "told"
"""Key of the XCom by which ``reconcile`` says of which failure of the run it has told: how often the run was cleared
before. What is left of the time before a clearing says nothing of what failed since."""

_PLACEHOLDER = re.compile(r"\{\{\s*(subject|text)\s*\}\}")

_log = logging.getLogger("airflow.task")


def told_of_run(settings: Settings, *, replay: bool = False) -> dict[str, Any]:
    """Return the arguments of a DAG by which a run that is late, or fails untold, is told of.

    :raises StopError: when the notifier that is set cannot be used.
    """
    if not settings.tells:
        return {}
    if settings.notifier:
        _check(settings.notifier)
    return {
        "on_failure_callback": RunNotifier(settings, replay=replay),
        "deadline": DeadlineAlert(
            name="replayed in time" if replay else "archived in time",
            # From when the run was queued: counted from the logical date, every backfilled day would be late at once.
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=settings.deadline,
            # Without an address or a secret: Airflow keeps these in its database, and puts them into a metric's tag.
            callback=AsyncCallback(LateNotifier, kwargs={"replay": replay}),
        ),
    }


def told_of_book(settings: Settings, *, replay: bool = False) -> dict[str, Any]:
    """Return the arguments of ``reconcile`` by which it tells what its book gives cause to."""
    if not settings.tells:
        return {}
    return {
        "on_success_callback": BookNotifier(settings, replay=replay),
        "on_failure_callback": [leave_fault, FailedBookNotifier(settings, replay=replay)],
    }


class BookNotifier(BaseNotifier):
    """Tell what a book gives cause to: parked items, a day with nothing, numbers that fell silent."""

    def __init__(self, settings: Settings, *, replay: bool) -> None:
        super().__init__()
        self.settings = settings
        self.replay = replay

    def notify(self, context: Context) -> None:
        """Tell, in the worker, when ``reconcile`` is done."""
        self.tell_news(context)

    def tell_news(self, context: Context) -> None:
        """Tell what nobody was told of before."""
        manifest = _manifest(context)
        if manifest is None:
            return
        staging = StagingHook()
        about = self.about(context, staging, manifest)
        book = read_book(staging, manifest.report)
        tell(self.settings, news_of(staging, about, book, manifest.link.sha256), context)

    def about(self, context: Context, staging: StagingHook, manifest: ReportManifest | None) -> Subject:
        """Return what the notices are about."""
        window = None if self.replay else manifest.window if manifest else _window(context, self.settings.timezone)
        report = (f"The report: {staging.url(manifest.log.name)}",) if manifest else ()
        return _subject(self.settings, context, window, replay=self.replay, look=report)


class FailedBookNotifier(BookNotifier):
    """Tell why a run failed, by its book and by what the tasks left, and what else the book gives cause to."""

    def notify(self, context: Context) -> None:
        """Tell, in the worker, when ``reconcile`` has failed for good."""
        if context.get("exception") is None:
            return  # its process was ended from outside: this is the DAG processor, and the run's callback will tell
        if tell(self.settings, [self._failure(context)], context):
            context["ti"].xcom_push(key=TOLD, value=_cleared(context))
        self.tell_news(context)

    def _failure(self, context: Context) -> Notice:
        staging, manifest = StagingHook(), _manifest(context)
        about = self.about(context, staging, manifest)
        faults, standing = _faults(context), _standing(context)
        try:
            book = read_book(staging, manifest.report) if manifest else None
        except ConnectorError:
            _log.exception("The report cannot be read: the notice does without it")
            book = None
        if book is None:
            return failed(about, faults=faults, standing=standing)
        return failed(
            about,
            faults=faults,
            standing=standing,
            counts=book.counts,
            details=book.details,
            contradictions=book.contradictions,
        )


class RunNotifier(BaseNotifier):
    """Tell of a failed run of which ``reconcile`` has not told: it was killed, or it never began."""

    def __init__(self, settings: Settings, *, replay: bool) -> None:
        super().__init__()
        self.settings = settings
        self.replay = replay

    def notify(self, context: Context) -> None:
        """Tell, in the DAG processor, when a run has failed."""
        ti: Any = context.get("ti")
        if ti is not None and ti.xcom_pull(task_ids="reconcile", key=TOLD, map_indexes=None) == _cleared(context):
            return
        window = None if self.replay else _window(context, self.settings.timezone)
        about = _subject(self.settings, context, window, replay=self.replay)
        tell(self.settings, [failed(about, faults=_faults(context), standing=_standing(context))], context)


class LateNotifier(BaseNotifier):
    """Tell that a run is not done in time.

    :param replay: whether it is one of parked items.
    """

    def __init__(self, *, replay: bool, context: Context | None = None) -> None:
        super().__init__(context)
        self.replay = replay

    async def async_notify(self, context: Context) -> None:
        """Tell, in the triggerer, when a deadline has passed."""
        await asyncio.to_thread(self.notify, context)  # no notifier shall keep the triggers waiting

    def notify(self, context: Any) -> None:
        """Tell, by what the deadline's context has: the run as the REST API describes it."""
        settings = read_settings(os.environ, "")
        told: Mapping[str, Any] = context["dag_run"]
        if told["state"] == "success":
            return  # it was, just now
        if told["run_type"] == "backfill":
            return  # all of a backfill's days are queued when it is made: most of them wait for their turn
        run = _described(told)
        known: Any = {**context, "dag_run": run, "params": told["conf"] or {}, "run_id": told["dag_run_id"]}
        window = None if self.replay else _window(known, settings.timezone)
        notice = late(
            _subject(settings, known, window, replay=self.replay),
            due=datetime.fromisoformat(str(context["deadline"]["deadline_time"])),
            failed=told["state"] == "failed",
            standing=_asked(told["dag_id"], told["dag_run_id"]),
        )
        tell(settings, [notice], context)


def tell(settings: Settings, notices: Iterable[Notice], context: Any) -> bool:
    """Tell notices by every way that is set, whichever of them fails; say whether each got through by at least one."""
    told = [_tell(settings, notice.as_text(), context) for notice in notices]
    return all(told)


def _check(setting: NotifierSetting) -> None:
    """Find out whether a notifier can be used.

    :raises StopError: naming what is wrong with the setting.
    """
    module, _, name = setting.path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        raise StopError(
            f"O2_NOTIFIER names {setting.path}, which cannot be imported: correct it, or install the provider that has"
            " it in every component of Airflow"
        ) from None
    if not (inspect.isclass(found) and issubclass(found, BaseNotifier) and found.notify is not BaseNotifier.notify):
        raise StopError(
            f"O2_NOTIFIER names {setting.path}, which is no notifier of Airflow's: name a class of that kind"
        )
    try:
        inspect.signature(found).bind(**setting.arguments)
    except TypeError as error:
        raise StopError(f"O2_NOTIFIER does not fit {setting.path}: {error}") from None


def _tell(settings: Settings, notice: Notice, context: Any) -> bool:
    told = False
    for make in (_by_mail, _by_notifier):
        try:
            if (notifier := make(settings, notice)) is not None:
                notifier({**context, "subject": notice.subject, "text": notice.text})
                told = True
        except Exception:  # noqa: BLE001  the next one tells all the same, and the task is none the worse
            _log.exception("A notice could not be sent: %s", make.__name__)
    if told:
        _log.info("Told: %s", notice.subject)
    else:
        _log.error("Nobody could be told: %s", notice.subject)
    return told


def _by_mail(settings: Settings, notice: Notice) -> BaseNotifier | None:
    if not settings.alert_email:
        return None
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return SmtpNotifier(to=list(settings.alert_email), subject=notice.subject, html_content=notice.html)


def _by_notifier(settings: Settings, notice: Notice) -> BaseNotifier | None:
    if settings.notifier is None:
        return None
    module, _, name = settings.notifier.path.rpartition(".")
    made: BaseNotifier = getattr(import_module(module), name)(**_filled(settings.notifier.arguments, notice))
    return made


def _filled(value: Any, notice: Notice) -> Any:
    """Fill in the placeholders, also those that Airflow would not: a notifier need not render its arguments."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: str(getattr(notice, found[1])), value)
    if isinstance(value, Mapping):
        return {key: _filled(each, notice) for key, each in value.items()}
    return [_filled(each, notice) for each in value] if isinstance(value, list) else value


def _manifest(context: Context) -> ReportManifest | None:
    left = context["ti"].xcom_pull(task_ids="reconcile", map_indexes=None)
    return None if left is None else from_xcom(left, ReportManifest)


def _cleared(context: Context) -> int:
    """Return how often somebody has cleared tasks of the run."""
    run: Any = context["dag_run"]
    return run.clear_number or 0


def _window(context: Context, timezone: str) -> Window | None:
    """Return the run's window, or None where it asked for none that can be."""
    try:
        return window_of(context, timezone)
    except (StopError, KeyError):  # the barest context of a DAG's callback has no run
        return None


def _subject(
    settings: Settings, context: Context, window: Window | None, *, replay: bool, look: tuple[str, ...] = ()
) -> Subject:
    run: Any = context.get("dag_run")
    params: Mapping[str, Any] = context.get("params") or {}
    return Subject(
        window=window,
        zone=ZoneInfo(settings.timezone),
        on=(run.start_date or run.run_after) if run else datetime.now(UTC),
        replay=replay,
        dry_run=bool(params.get("dry_run")),
        look=(*_look(context, window), *look),
    )


def _look(context: Context, window: Window | None) -> Iterator[str]:
    from airflow.sdk.configuration import conf

    if window:
        yield f"The window on the archive's page: {page_url(f'window={window.name}')}"
    run: Any = context.get("dag_run")
    if run:
        base = conf.get("api", "base_url", fallback="/").rstrip("/")
        yield f"The run in Airflow: {base}/dags/{run.dag_id}/runs/{quote(context['run_id'])}"


def _faults(context: Context) -> list[Fault]:
    ti: Any = context.get("ti")
    if ti is None:
        return []
    left = ti.xcom_pull(task_ids=list(context["dag"].task_ids), key=FAULT)
    return [from_xcom(each, Fault) for each in left if each is not None]


def _standing(context: Context) -> Standing:
    run: Any = context.get("dag_run")
    return _asked(run.dag_id, context["run_id"]) if run else UNKNOWN


def _asked(dag_id: str, run_id: str) -> Standing:
    """Ask Airflow how far a run is; a notice is better without it than not sent."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    try:
        states = RuntimeTaskInstance.get_task_states(dag_id=dag_id, run_ids=[run_id])
    except Exception:  # noqa: BLE001  whatever it is
        _log.exception("Airflow does not say how far the run is: the notice does without it")
        return UNKNOWN
    return Standing.read(states.get(run_id, {}))


def _described(told: Mapping[str, Any]) -> Any:
    """Return a run of the REST API's words as tasks know runs."""
    moments = {
        name: told[name] and datetime.fromisoformat(told[name])
        for name in ("data_interval_start", "data_interval_end", "run_after", "start_date")
    }
    return SimpleNamespace(**moments, dag_id=told["dag_id"], run_type=told["run_type"])
