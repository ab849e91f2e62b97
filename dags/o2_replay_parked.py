"""Deliver what waited for a mailbox: when the mapping files change, every morning, and by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pendulum
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    AssetWatcher,
    AsyncCallback,
    CronTriggerTimetable,
    DeadlineAlert,
    DeadlineReference,
    Param,
)

from o2_connector.core.settings import read_settings
from o2_connector.operators.deliver import ImportToMailboxesOperator
from o2_connector.operators.replay import FindParkedOperator, ReconcileReplayOperator
from o2_connector.operators.run import TASK_DEFAULTS
from o2_connector.triggers.mapping_files import MappingFilesTrigger

SETTINGS = read_settings(os.environ, str(Path(__file__).resolve().parent.parent / "include" / "mappings"))

DOC = """
### O2 replay of parked items

An item that nobody gets, because nobody in it has a mailbox yet, is *parked*; one that somebody of the organisation
missed *waits* for them. This DAG looks at all of them again, whichever day they are of, and delivers what now has a
mailbox, with the dates of its capture, once. It runs when a mapping file changes, every morning (a mailbox may come
without a change of the files), and by hand.

- **find_parked** decides again, by the mapping files and the directory as they are now. *The mapping cannot be used*:
  mend the lines it names; the next run takes them.
- **import_to_mailboxes** writes each delivery into its mailbox, once. It is skipped when nothing can be delivered.
- **reconcile** adds the book up, writes the report, which names what stays parked and since when, and lets what was
  delivered leave the park. What failed stays parked: the next run tries it again.

Running it again is always safe. While this DAG is paused nobody watches the files; what changed meanwhile is noticed as
soon as it is let go.
"""

with DAG(
    "o2_replay_parked",
    description="Parked O2 items into the mailboxes of those who have one by now",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 7 * * *", timezone=SETTINGS.timezone),
        assets=[
            Asset(
                "o2_mapping_files",
                watchers=[AssetWatcher(name="changes", trigger=MappingFilesTrigger(folder=SETTINGS.mappings))],
            )
        ],
    ),
    start_date=pendulum.datetime(2020, 1, 1, tz=SETTINGS.timezone),
    catchup=False,
    max_active_runs=1,
    tags=["o2", "archive"],
    params={
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Decide, and say what would be delivered; write nothing to a mailbox.",
        ),
    },
    default_args=TASK_DEFAULTS,
    on_failure_callback=SmtpNotifier(
        **SETTINGS.notice(
            "O2 archive: a replay of parked items failed ({{ dag_run.run_id }})",
            "The run <b>{{ dag_run.run_id }}</b> of {{ dag_run.dag_id }} failed. Items that wait for a mailbox still"
            " wait; nothing is lost. Open the run in Airflow: the first red task's log says what is wrong and what to"
            " do. The next run tries again, and nothing is delivered twice.",
        )
    )
    if SETTINGS.alert_email
    else None,
    # Nothing has to be delivered by then, but a run that hangs keeps all later ones waiting, and nobody would see it.
    deadline=DeadlineAlert(
        name="replayed in time",
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=SETTINGS.deadline,
        callback=AsyncCallback(
            SmtpNotifier,
            kwargs=SETTINGS.notice(
                "O2 archive: a replay of parked items is late ({{ dag_run.dag_run_id }})",
                "The run <b>{{ dag_run.dag_run_id }}</b> of {{ dag_run.dag_id }} was not finished by"
                " {{ deadline.deadline_time }}. It goes on, and the next one waits for it; nothing is lost. Open the"
                " run in Airflow to see which task it waits for.",
            ),
        ),
    )
    if SETTINGS.alert_email
    else None,
):
    find_parked = FindParkedOperator(task_id="find_parked", **SETTINGS.mapping)
    deliver = ImportToMailboxesOperator.partial(task_id="import_to_mailboxes").expand(shard=find_parked.output)
    reconcile = ReconcileReplayOperator(
        task_id="reconcile",
        find_parked=find_parked.task_id,
        timezone=SETTINGS.timezone,
        trigger_rule="all_done",
    )
    # Both: what follows a failed task is done at once, while that task's other map indexes may still work.
    [find_parked, deliver] >> reconcile
