"""What is told to whom, and when: real days against the sandbox, a real mail server, a notifier of the user's own."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.triggers.callback import CallbackTrigger

from o2_connector.core.errors import RetryError, StopError
from o2_connector.core.settings import Settings, read_settings
from o2_connector.core.window import Window, day_window
from o2_connector.operators.notices import told_of_book, told_of_run
from o2_connector.operators.run import leave_fault
from sandbox.server import Sandbox, running
from tests.archive import Archive, Instance, connected
from tests.operators.own import OwnNotifier
from tests.personal import PERSONAL
from tests.statsd import Told, statsd

ITEMS = 60
LONDON = ZoneInfo("Europe/London")
TODAY = datetime.now(LONDON).date()
TASKS = ("extract", "stage", "convert", "map", "import", "find_parked", "reconcile")
OWN = {"notifier": "tests.operators.own.OwnNotifier", "title": "{{subject}}", "body": [{"text": "{{ text }}"}]}


def day(back: int) -> Window:
    return day_window(TODAY - timedelta(days=back), LONDON)


def called(window: Window) -> str:
    local = window.start.astimezone(LONDON)
    return f"{local:%A} {local.day} {local:%B %Y}"


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Hold an archive of which a day failed, for one mailbox was full.

    :param error: which ``reconcile`` ended with.
    :param metrics: what Airflow's metrics were told of that day.
    """

    line: Archive
    error: StopError
    metrics: Sequence[Told]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failed]:
    folder = tmp_path_factory.mktemp("notices")
    with pytest.MonkeyPatch.context() as monkeypatch, running(folder / "sandbox", items=ITEMS, users=14) as sandbox:
        line = connected(sandbox, folder, monkeypatch)
        smtp = {"conn_type": "smtp", "host": sandbox.smtp_host, "port": sandbox.smtp_port}
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "o2@example.com", "retry_limit": 1}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps({**smtp, "extra": extra}))
        monkeypatch.setenv("O2_ALERT_EMAIL", "oncall@example.com")
        monkeypatch.setenv("O2_NOTIFIER", json.dumps(OWN))
        user = next(user for user in sandbox.world.directory if user.mailbox == "ok")
        full = {"status": 507, "code": "ErrorQuotaExceeded"}
        sandbox.graph.faults.add("status", times=999, path=f"/users/{user.id}/mailFolders/[^/]+/messages$", **full)
        with statsd(monkeypatch) as sink:
            with pytest.raises(StopError) as raised:
                run(line, 1)
            metrics = sink.told()
        sandbox.graph.faults.clear()
        yield Failed(line=line, error=raised.value, metrics=metrics)


@pytest.fixture
def line(failed: Failed) -> Iterator[Archive]:
    """Give the archive with its failed day, of which nothing is told yet."""
    line = failed.line
    context, xcom = line.context, dict(line.xcom)
    line.sandbox.mails.clear()
    OwnNotifier.told.clear()
    yield line
    line.context = context
    line.xcom.clear()
    line.xcom.update(xcom)


@pytest.fixture
def sandbox(failed: Failed) -> Sandbox:
    return failed.line.sandbox


def settings() -> Settings:
    return read_settings(os.environ, "")


def dag() -> DAG:
    with DAG("o2_network_archive", schedule=None) as made:
        for task in TASKS:
            EmptyOperator(task_id=task)
    return made


def run(line: Archive, back: int, run_id: str = "") -> None:
    window = day(back)
    line.run(run_id or f"day-{back}", start=window.start, days=(window.end - window.start) / timedelta(days=1))


def finish(line: Archive, error: BaseException | None = None, *, replay: bool = False) -> None:
    """Call back as Airflow's worker does when ``reconcile`` is done, or has failed for good."""
    arguments = told_of_book(settings(), replay=replay)
    callbacks = arguments["on_failure_callback"] if error else [arguments["on_success_callback"]]
    for callback in callbacks:
        callback({**line.context, "dag": dag(), "exception": error})


def told(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Return subject and text of every notice since this was last asked, when both ways say the same."""
    notices = list(OwnNotifier.told)
    assert [str(mail["subject"]) for mail in sandbox.mails] == [subject for subject, _ in notices]
    for mail, (_, text) in zip(sandbox.mails, notices, strict=True):
        assert mail["to"] == "oncall@example.com"
        for words in text.split("\n"):
            assert words in words_of(mail)
        assert not PERSONAL.search(text)
    sandbox.mails.clear()
    OwnNotifier.told.clear()
    return notices


def words_of(mail: EmailMessage) -> str:
    (part,) = mail.iter_parts()
    return html.unescape(re.sub("<[^>]+>", "", part.get_content()))


def subjects(sandbox: Sandbox) -> list[str]:
    return [subject for subject, _ in told(sandbox)]


class Airflow:
    """Answer in place of Airflow's supervisor how far the tasks of a run are."""

    def __init__(self, **states: str | None) -> None:
        self.states = states

    def send(self, msg: Any) -> Any:
        """Answer the one question that is asked."""
        return SimpleNamespace(task_states=dict.fromkeys(msg.run_ids, self.states))


def knows(monkeypatch: pytest.MonkeyPatch, **states: str | None) -> None:
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", Airflow(**states), raising=False)


def test_a_day_that_failed_is_told_with_each_cause_and_what_is_parked(
    line: Archive, sandbox: Sandbox, failed: Failed
) -> None:
    window, counts = day(1), line.counts

    finish(line, failed.error)

    (subject, text), (parked, why) = told(sandbox)
    assert subject == f"O2 archive: {called(window)} failed"
    assert f"- {counts['failed']}: ErrorQuotaExceeded. What to do: enlarge the mailbox" in text
    assert f" are in the mailboxes, {counts['failed']} failed." in text
    assert f"/o2-archive/?window={window.name}" in text
    assert "/dags/o2_network_archive/runs/day-1" in text
    assert f"The report: file://{line.staging}/windows/{window.name}/" in text
    assert parked == f"O2 archive: {counts['parked']} items of {called(window)} have no mailbox yet"
    assert "no mapping row and no e-mail property. What to do: add the participant's number to a mapping file" in why
    assert line.xcom["reconcile", -1, "told"] == 0


def test_a_day_tells_its_items_by_outcome_and_how_old_it_is_before_and_after(line: Archive, failed: Failed) -> None:
    values = {each.name: each.value for each in failed.metrics}
    ages = [each.value for each in failed.metrics if each.name == "o2_archive.oldest_window_age"]

    for outcome in ("imported", "failed", "parked"):
        assert values[f"o2_archive.items,outcome={outcome}"] == line.counts[outcome] > 0
    assert len(ages) == 2
    assert 0 < ages[0] < ages[1] < 24 * 3600
    assert not PERSONAL.search("\n".join(values))
    assert not [user.id for user in line.sandbox.world.directory if user.id in "\n".join(values)]


def test_a_dry_run_of_a_day_that_nobody_archived_makes_no_day_older(
    line: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with statsd(monkeypatch) as sink:
        line.run("dry", start=day(9).start, dry_run=True)
        ages = [each.value for each in sink.told() if each.name == "o2_archive.oldest_window_age"]

    assert len(ages) == 2
    assert max(ages) < 8 * 24 * 3600


def test_a_task_that_gave_up_is_told_in_its_own_words_and_the_age_goes_on_rising(
    line: Archive, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_O2_TELEMESSAGE"])
    monkeypatch.setenv("AIRFLOW_CONN_O2_TELEMESSAGE", json.dumps({**connection, "password": "wrong"}))
    with statsd(monkeypatch) as sink:
        with pytest.raises(StopError) as refused:
            run(line, 2)
        metrics = sink.told()
    leave_fault({**line.context, "exception": refused.value})
    with pytest.raises(StopError) as no_book:
        line.reconcile("day-2", window_start=day(2).start.isoformat(), window_end=day(2).end.isoformat())

    finish(line, no_book.value)

    ((subject, text),) = told(sandbox)
    assert subject == f"O2 archive: {called(day(2))} failed"
    assert f"extract, which asks TeleMessage what it has, failed and said: “{refused.value}”" in text
    assert "There is no book" not in text
    assert "Then clear extract in Airflow" in text
    assert [each.value > 24 * 3600 for each in metrics if each.name == "o2_archive.oldest_window_age"] == [True]


def test_an_error_that_was_not_foreseen_is_told_by_its_kind_alone(line: Archive, sandbox: Sandbox) -> None:
    convert = Instance(xcom=line.xcom, task_id="convert", map_index=0)
    leave_fault({**line.context, "ti": convert, "exception": KeyError("+447700900123")})

    finish(line, RuntimeError("+447700900123"))

    text = told(sandbox)[0][1]
    assert "convert, which makes the e-mails, failed with an error that nobody foresaw: KeyError." in text


def run_failed(line: Archive) -> None:
    """Call back as Airflow's DAG processor does when a run has failed."""
    told_of_run(settings())["on_failure_callback"]({**line.context, "dag": dag(), "reason": "task_failure"})


def test_a_run_whose_reconcile_was_killed_is_told_once_and_by_its_tasks(
    line: Archive, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows(monkeypatch, extract="success", convert_0="success", import_to_mailboxes_7="failed", reconcile="failed")
    for callback in told_of_book(settings())["on_failure_callback"]:
        callback({**line.context, "dag": dag()})  # as the DAG processor does when a task's process is lost
    assert told(sandbox) == []

    run_failed(line)

    ((subject, text),) = told(sandbox)
    assert subject == f"O2 archive: {called(day(1))} failed"
    assert "import_to_mailboxes, which writes into the mailboxes, failed, and left no error" in text


def test_a_run_of_which_airflow_knows_next_to_nothing_is_told_all_the_same(sandbox: Sandbox, line: Archive) -> None:
    told_of_run(settings())["on_failure_callback"]({"dag": dag(), "run_id": "x", "reason": "all_tasks_deadlocked"})

    assert subjects(sandbox) == [f"O2 archive: the run on {called(day(0))} failed"]


def test_what_reconcile_has_told_the_run_does_not_tell_again(line: Archive, sandbox: Sandbox, failed: Failed) -> None:
    finish(line, failed.error)
    subjects(sandbox)

    run_failed(line)

    assert told(sandbox) == []


def test_what_fails_after_tasks_were_cleared_is_told_though_reconcile_told_of_what_was_before(
    line: Archive, sandbox: Sandbox, failed: Failed
) -> None:
    finish(line, failed.error)
    subjects(sandbox)
    # import_to_mailboxes alone, which fails again: reconcile does not run
    line.context = {**line.context, "dag_run": SimpleNamespace(**{**vars(line.context["dag_run"]), "clear_number": 1})}

    run_failed(line)

    assert subjects(sandbox) == [f"O2 archive: {called(day(1))} failed"]


@pytest.mark.parametrize(("replay", "state"), [(False, "running"), (False, "failed"), (True, "running")])
def test_a_run_that_is_late_is_told_by_the_triggerer(
    line: Archive, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, replay: bool, state: str
) -> None:
    knows(monkeypatch, extract="success", stage_to_blob_0="success", stage_to_blob_1="up_for_retry", convert=None)

    asyncio.run(passed(late_run(state), replay=replay))

    ((subject, text),) = told(sandbox)
    name = f"the replay of parked items on {called(day(0))}" if replay else called(day(1))
    assert subject == f"O2 archive: {name} is late"
    assert f"should have been done by 06:00 on {called(day(0))}" in text
    progress = "2 of its 4 tasks are done so far; waiting to try again: stage_to_blob."
    assert (progress in text) == (state == "running")
    assert ("Its run has failed" in text) == (state == "failed")


def test_a_run_that_was_done_just_now_is_not_told_to_be_late(line: Archive, sandbox: Sandbox) -> None:
    asyncio.run(passed(late_run("success"), replay=False))

    assert told(sandbox) == []


def test_a_day_of_a_backfill_that_waits_for_its_turn_is_not_told_to_be_late(line: Archive, sandbox: Sandbox) -> None:
    asyncio.run(passed({**late_run("queued"), "run_type": "backfill"}, replay=False))

    assert told(sandbox) == []


async def passed(run: dict[str, Any], *, replay: bool) -> None:
    """Call back as Airflow's triggerer does when a deadline has passed."""
    callback = told_of_run(settings(), replay=replay)["deadline"].callback
    assert "@" not in json.dumps(callback.kwargs)
    due = datetime.combine(TODAY, datetime.min.time(), LONDON) + timedelta(hours=6)
    context = {"dag_run": run, "deadline": {"id": "1", "deadline_time": due}}
    trigger = CallbackTrigger(callback_path=callback.path, callback_kwargs={**callback.kwargs, "context": context})
    states = [event.payload["state"] async for event in trigger.run()]
    assert states == ["running", "success"]


def late_run(state: str) -> dict[str, Any]:
    """Return a run as a deadline's context describes it."""
    midnight = day(1).end.isoformat().replace("+00:00", "Z")
    return {
        "dag_id": "o2_network_archive",
        "dag_run_id": "scheduled__1",
        "state": state,
        "run_type": "scheduled",
        "conf": None,
        "run_after": midnight,
        "start_date": midnight,
        "data_interval_start": day(1).start.isoformat().replace("+00:00", "Z"),
        "data_interval_end": midnight,
    }


def test_a_week_with_silence_is_told_as_it_begins_and_parked_items_once(line: Archive, sandbox: Sandbox) -> None:
    line.silent_days = 2
    sandbox.world.quiet.update({TODAY - timedelta(days=4), TODAY - timedelta(days=3)})
    address = next(user.user_principal_name for user in sandbox.world.directory if user.mailbox == "ok")
    (line.mappings / "new.csv").write_text(f"ExternalUserId,O365UserMailbox\n+447700900555,{address}\n")

    def told_of(back: int, run_id: str = "") -> list[tuple[str, str]]:
        run(line, back, run_id)
        finish(line)
        return told(sandbox)

    (first,) = told_of(6)
    second = dict(told_of(5))
    (nothing,) = told_of(4)
    again, next_day = told_of(4, "again"), told_of(3)
    line.replay()
    finish(line, replay=True)

    assert first[0].endswith(f"items of {called(day(6))} have no mailbox yet")
    (silent,) = [subject for subject in second if "silent" in subject]
    assert silent.endswith(f" silent for 2 days, up to {called(day(5))}")
    assert "- …555, new.csv:2" in second.pop(silent)
    assert [subject[-len(" have no mailbox yet") :] for subject in second] == [" have no mailbox yet"]
    assert nothing[0] == f"O2 archive: nothing was captured on {called(day(4))}"
    assert f"{called(day(5))}: {ITEMS} items; {called(day(6))}: {ITEMS} items." in nothing[1]
    assert again == next_day == told(sandbox) == []


def test_whichever_way_fails_the_other_tells_and_the_task_does_not_fail(
    line: Archive, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OwnNotifier, "broken", True)
    finish(line, RuntimeError())
    assert len(sandbox.mails) == 2
    assert line.xcom.pop(("reconcile", -1, "told")) == 0

    monkeypatch.setattr(OwnNotifier, "broken", False)
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", '{"conn_type": "smtp", "host": "127.0.0.1", "port": 1}')
    finish(line, RuntimeError())
    assert len(OwnNotifier.told) == 2
    assert line.xcom.pop(("reconcile", -1, "told")) == 0

    monkeypatch.setattr(OwnNotifier, "broken", True)
    finish(line, RuntimeError())
    assert ("reconcile", -1, "told") not in line.xcom


def test_what_foreign_names_hold_is_no_template(line: Archive, sandbox: Sandbox) -> None:
    stage = Instance(xcom=line.xcom, task_id="stage", map_index=0)
    leave_fault({**line.context, "ti": stage, "exception": RetryError("batch {{ dag_run.conf }}\n{% raw %}")})

    finish(line, RuntimeError())

    assert "“batch { { dag_run.conf }} { % raw %}”" in told(sandbox)[0][1]


def test_where_nobody_is_named_nothing_is_told_and_nothing_is_asked() -> None:
    nobody = read_settings({}, "")

    assert told_of_run(nobody) == told_of_book(nobody) == {}


@pytest.mark.parametrize(
    ("path", "arguments", "fault"),
    [
        ("no.such.Module", {}, "cannot be imported: correct it, or install"),
        ("tests.operators.own.Missing", {}, "cannot be imported"),
        ("tests.archive.Archive", {}, "is no notifier of Airflow's"),
        ("airflow.sdk.BaseNotifier", {}, "is no notifier of Airflow's"),
        ("tests.operators.own.OwnNotifier", {"title": ""}, "missing a required argument: 'body'"),
        ("tests.operators.own.OwnNotifier", {"title": "", "body": [], "to": "x"}, "unexpected keyword argument 'to'"),
    ],
)
def test_a_notifier_that_cannot_be_used_is_refused_when_the_dag_is_read_by_the_name_of_the_setting(
    path: str, arguments: dict[str, Any], fault: str
) -> None:
    wrong = read_settings({"O2_NOTIFIER": json.dumps({"notifier": path, **arguments})}, "")

    with pytest.raises(StopError, match=rf"^O2_NOTIFIER .*{path}.*{fault}"):
        told_of_run(wrong)
