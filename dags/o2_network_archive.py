"""Archive the O2 network's SMS, MMS and calls: from TeleMessage through staging into Microsoft 365 mailboxes, daily."""

from __future__ import annotations

import os
from pathlib import Path

import pendulum
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, AsyncCallback, CronDataIntervalTimetable, DeadlineAlert, DeadlineReference, Param

from o2_connector.core.settings import read_settings
from o2_connector.operators.convert import ConvertOperator
from o2_connector.operators.deliver import ImportToMailboxesOperator
from o2_connector.operators.extract import ExtractOperator
from o2_connector.operators.map import MapMailboxesOperator
from o2_connector.operators.reconcile import ReconcileOperator
from o2_connector.operators.run import TASK_DEFAULTS
from o2_connector.operators.stage import StageToBlobOperator

SETTINGS = read_settings(os.environ, str(Path(__file__).resolve().parent.parent / "include" / "mappings"))

DOC = """
### O2 network archive

Archives what the O2 network captured in one window (by default: yesterday) into the folder
**O2 SMS and Voice Network Archiver** of the mailboxes of everyone who took part.

- **extract** freezes the window at TeleMessage and lists its batches. *Refuses the login*: mend the connection
  `o2_telemessage`. *Not closed yet*: it tries again by itself.
- **stage_to_blob** copies batches and attachments into staging, byte for byte. It tries again by itself; what is
  staged is not copied again.
- **convert** makes an e-mail of every record. One that breaks the contract is rejected by name; the rest goes on.
  *O2_MESSAGE_CLASS* or *O2_MESSAGE_LIMIT_MB*: mend the setting that it names and clear the task.
- **map_mailboxes** decides who gets what: mapping files first, then the e-mail property. *The mapping cannot be
  used*: mend the lines it names (`make check-mapping` finds them too) and clear the task. Who has no mailbox yet is
  named in the report; `o2_replay_parked` delivers as soon as they have one.
- **import_to_mailboxes** writes each delivery into its mailbox, once. It tries again by itself; what is delivered is
  left alone.
- **reconcile** adds the book up and writes the report. Its log says what does not add up, or what failed and why.

Running a window again is always safe: what is in a mailbox already is skipped and counted.

To archive one window, trigger the DAG; without a window it takes the last complete day. The logical date of a manual
run has no meaning here. To archive past days, create a backfill.
"""

WHEN = "A date and time, like 2026-11-21T00:00:00+00:00. Leave both empty for the last complete day."


with DAG(
    "o2_network_archive",
    description="O2 SMS, MMS and calls from TeleMessage into Microsoft 365 mailboxes",
    doc_md=DOC,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=SETTINGS.timezone),
    # Without a first day, days that end while no scheduler runs would be left out: Airflow goes on with the last one.
    start_date=pendulum.parse(SETTINGS.first_day or "2020-01-01", tz=SETTINGS.timezone),
    catchup=bool(SETTINGS.first_day),
    max_active_runs=4,
    tags=["o2", "archive"],
    params={
        "window_start": Param(
            None, type=["null", "string"], format="date-time", title="Window start", description=WHEN
        ),
        "window_end": Param(None, type=["null", "string"], format="date-time", title="Window end", description=WHEN),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Stage, convert and map, and say what would be delivered; write nothing to a mailbox.",
        ),
    },
    default_args=TASK_DEFAULTS,
    on_failure_callback=SmtpNotifier(
        **SETTINGS.notice(
            "O2 archive: a run failed ({{ dag_run.run_id }})",
            "The run <b>{{ dag_run.run_id }}</b> of {{ dag_run.dag_id }} failed. Its window is not, or not wholly, in"
            " the mailboxes. Open the run in Airflow: the first red task's log says what is wrong and what to do."
            " Nothing is lost, and running it again delivers nothing twice.",
        )
    )
    if SETTINGS.alert_email
    else None,
    # From when the run was queued: counted from the logical date, every backfilled day would be late at once.
    deadline=DeadlineAlert(
        name="archived in time",
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=SETTINGS.deadline,
        callback=AsyncCallback(
            SmtpNotifier,
            kwargs=SETTINGS.notice(
                "O2 archive: a day is late ({{ dag_run.dag_run_id }})",
                "The run <b>{{ dag_run.dag_run_id }}</b> of {{ dag_run.dag_id }} was not finished by"
                " {{ deadline.deadline_time }}. It goes on; nothing is lost. Open the run in Airflow to see which task"
                " it waits for.",
            ),
        ),
    )
    if SETTINGS.alert_email
    else None,
):
    extract = ExtractOperator(
        task_id="extract", timezone=SETTINGS.timezone, retries=24
    )  # ten hours for a window that is not closed
    stage = StageToBlobOperator.partial(task_id="stage_to_blob").expand(group=extract.output)
    convert = ConvertOperator.partial(
        task_id="convert",
        region=SETTINGS.region,
        message_class=SETTINGS.message_class,
        message_megabytes=SETTINGS.message_limit_mb,
    ).expand(group=stage.output)
    map_mailboxes = MapMailboxesOperator(
        task_id="map_mailboxes", groups=convert.output, silent_days=SETTINGS.silent_days, **SETTINGS.mapping
    )
    deliver = ImportToMailboxesOperator.partial(task_id="import_to_mailboxes").expand(shard=map_mailboxes.output)
    reconcile = ReconcileOperator(
        task_id="reconcile",
        extract=extract.task_id,
        stage=stage.task_id,
        convert=convert.task_id,
        map_mailboxes=map_mailboxes.task_id,
        timezone=SETTINGS.timezone,
        trigger_rule="all_done",
    )
    # All of them: what follows a failed task is done at once, while that task's other map indexes may still work.
    [extract, stage, convert, map_mailboxes, deliver] >> reconcile
