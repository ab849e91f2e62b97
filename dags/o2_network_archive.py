"""Archive the O2 network's SMS, MMS and calls: from TeleMessage through staging into Microsoft 365 mailboxes, daily."""

from __future__ import annotations

import os
from pathlib import Path

import pendulum
from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from o2_connector.core.settings import read_settings
from o2_connector.operators.convert import ConvertOperator
from o2_connector.operators.deliver import ImportToMailboxesOperator
from o2_connector.operators.extract import ExtractOperator
from o2_connector.operators.map import MapMailboxesOperator
from o2_connector.operators.notices import told_of_book, told_of_run
from o2_connector.operators.reconcile import ReconcileOperator
from o2_connector.operators.run import MAP_INDEX, TASK_DEFAULTS
from o2_connector.operators.stage import StageToBlobOperator

SETTINGS = read_settings(os.environ, str(Path(__file__).resolve().parent.parent / "include" / "mappings"))

TASKS = {
    "extract": """
Freezes the window at TeleMessage: from then on its list of batches does not change. It moves no content, and shares the
batches out over the tasks that follow.

- *TeleMessage refuses the login*: mend login and password of the connection `o2_telemessage`, then clear this task.
- *not closed yet*: TeleMessage has not all of the window. It is asked again by itself, for ten hours.
- *cannot be reached*, *answers HTTP 5…*: an outage. It is asked again by itself.
- *The window …* or *Give …*: what was asked for is no window. Trigger the DAG again, and fill in the form as it says.
""",
    "stage_to_blob": """
Copies batches and their attachments from TeleMessage into staging, byte for byte, and checks every digest. What is
staged is not copied again. An attachment that TeleMessage keeps no longer, or sends altered time after time, is named
in the report, and everything else goes on.

- *keeps breaking*, *cannot be reached*: it goes on by itself, from where it was.
- *bytes are not those of the digest*: TeleMessage sends another batch than it promised. It is asked again by itself; if
  it goes on so, report it to TeleMessage with the batch's id.
- *no longer knows*: clear `extract`, so that the window is frozen anew.
- *staging: …*: correct the connection `o2_staging`, or the rights that it names, then clear this task.
""",
    "convert": """
Makes an e-mail of every record, and writes down who took part. A record that breaks the contract is rejected by name:
the report has its id, batch and line, and everything else goes on.

- *O2_MESSAGE_CLASS*, *O2_MESSAGE_LIMIT_MB*: mend the setting that it names, then clear this task.
- *should have sha256*: something in staging is not what it was when it was written. Nothing was made of it. Find out
  who changed it; staging must be write-once.
""",
    "map_mailboxes": """
Decides who gets what: the mapping files first, then the e-mail property, each only where the directory knows a mailbox
of that address. It reads the files once, keeps what it went by, and shares the deliveries out by mailbox. Who has no
mailbox yet is named in the report; `o2_replay_parked` delivers as soon as they have one.

- *The mapping cannot be used*: mend the lines that it names (`o2-archive check-mapping` finds them too), then clear
  this task. Nothing was imported.
- *The folder of mapping files*: mount it into every worker, or mend `O2_MAPPINGS`.
- *Graph refuses to look up users*, *refuses every mailbox*: grant the application what it names.
- *the login refuses the application*: mend the connection `o2_graph` as it says.
""",
    "import_to_mailboxes": """
Writes each delivery of its mailboxes into them, once. What is delivered already is left alone, whoever did it. A
mailbox that is full or gone costs its own deliveries only; the report names them.

- *must wait*: Graph was busy or did not answer. What is open is tried again by itself.
- *the login refuses the application*, a *403*: mend the connection `o2_graph`, or the application's rights, then clear
  this task.
- Killed, or lost its machine: clear it. It goes on where it was, and asks the mailboxes about what was in doubt.
""",
    "reconcile": """
Adds the book up from what is staged and writes the report. It runs whatever became of the tasks before it.

- *There is no book*: `extract` did not finish; mend that first.
- *does not balance*: it names the sum, or the batch, that is wrong. When a task before it failed, clear that one with
  what follows. When none did, evidence is missing: keep staging as it is, and look at the batch that it names.
- *deliveries failed*: the report names each with its cause. Mend the causes, then clear `import_to_mailboxes` with what
  follows it.
""",
}
"""What each task does, and what to do when it says so in its log and fails."""

DOC = """
### O2 network archive

Archives what the O2 network captured in one window (by default: yesterday) into the folder
**O2 SMS and Voice Network Archiver** of the mailboxes of everyone who took part. Running a window again is always safe:
what is in a mailbox already is skipped and counted.

To archive one day, trigger the DAG and choose it; without a day it takes the last complete one. The logical date of a
manual run has no meaning here. To archive many days, create a backfill.
""" + "".join(f"\n#### {task}\n{text}" for task, text in TASKS.items())


def bound(title: str, example: str) -> Param:
    """Ask for one end of a span."""
    return Param(
        None,
        type=["null", "string"],
        format="date-time",
        pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.]0+)?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?$",
        title=title,
        section="A span other than one day",
        description_md="Both ends or neither, and no day; whole seconds, 31 days at most. The form takes the time zone"
        f" that the UI shows. In a JSON configuration write the offset, like `{example}`: without one it is the time in"
        f" {SETTINGS.timezone}.",
    )


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
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description_md=f"The day to archive, from midnight to midnight in {SETTINGS.timezone}. Empty: the last"
            " complete day. A day that is archived already is safe: what is in a mailbox is skipped and counted.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description_md="Stage, convert and map, and say in the report what would be delivered; write nothing to a"
            " mailbox.",
        ),
        "window_start": bound("Window start", "2026-11-21T00:00:00+00:00"),
        "window_end": bound("Window end", "2026-11-22T00:00:00+00:00"),
    },
    default_args=TASK_DEFAULTS,
    **told_of_run(SETTINGS),
):
    extract = ExtractOperator(
        task_id="extract",
        doc_md=TASKS["extract"],
        timezone=SETTINGS.timezone,
        first_day=SETTINGS.first_day,
        retries=24,  # ten hours for a window that is not closed
    )
    stage = StageToBlobOperator.partial(
        task_id="stage_to_blob", doc_md=TASKS["stage_to_blob"], map_index_template=MAP_INDEX
    ).expand(group=extract.output)
    convert = ConvertOperator.partial(
        task_id="convert",
        doc_md=TASKS["convert"],
        map_index_template=MAP_INDEX,
        region=SETTINGS.region,
        message_class=SETTINGS.message_class,
        message_megabytes=SETTINGS.message_limit_mb,
    ).expand(group=stage.output)
    map_mailboxes = MapMailboxesOperator(
        task_id="map_mailboxes",
        doc_md=TASKS["map_mailboxes"],
        groups=convert.output,
        silent_days=SETTINGS.silent_days,
        **SETTINGS.mapping,
    )
    deliver = ImportToMailboxesOperator.partial(
        task_id="import_to_mailboxes", doc_md=TASKS["import_to_mailboxes"], map_index_template=MAP_INDEX
    ).expand(shard=map_mailboxes.output)
    reconcile = ReconcileOperator(
        task_id="reconcile",
        doc_md=TASKS["reconcile"],
        extract=extract.task_id,
        stage=stage.task_id,
        convert=convert.task_id,
        map_mailboxes=map_mailboxes.task_id,
        timezone=SETTINGS.timezone,
        first_day=SETTINGS.first_day,
        trigger_rule="all_done",
        **told_of_book(SETTINGS),
    )
    # All of them: what follows a failed task is done at once, while that task's other map indexes may still work.
    [extract, stage, convert, map_mailboxes, deliver] >> reconcile
