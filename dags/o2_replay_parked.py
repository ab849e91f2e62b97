"""Deliver what waited for a mailbox: when the mapping files change, every morning, and by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pendulum
from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    AssetWatcher,
    CronTriggerTimetable,
    Param,
)

from o2_connector.core.settings import read_settings
from o2_connector.operators.deliver import ImportToMailboxesOperator
from o2_connector.operators.notices import told_of_book, told_of_run
from o2_connector.operators.replay import FindParkedOperator, ReconcileReplayOperator
from o2_connector.operators.run import MAP_INDEX, TASK_DEFAULTS
from o2_connector.triggers.mapping_files import MappingFilesTrigger

SETTINGS = read_settings(os.environ, str(Path(__file__).resolve().parent.parent / "include" / "mappings"))

TASKS = {
    "find_parked": """
Decides again on all that waits for a mailbox, whichever day it is of, by the mapping files and the directory as they
are now.

- *The mapping cannot be used*: mend the lines that it names; the next run takes them. What waits goes on waiting.
- *The folder of mapping files*: mount it into every worker, or mend `O2_MAPPINGS`.
- *Graph refuses …*, *the login refuses the application*: mend the connection `o2_graph`, or the application's rights.
""",
    "import_to_mailboxes": """
Writes each delivery of its mailboxes into them, once, with the dates of its capture. It is skipped when nothing can be
delivered.

- *must wait*: Graph was busy or did not answer. What is open is tried again by itself.
- *the login refuses the application*, a *403*: mend the connection `o2_graph`, or the application's rights. The next
  run tries again.
""",
    "reconcile": """
Adds the book up, writes the report, which names what stays parked and since when, and lets what was delivered leave the
park.

- *There is no book*: `find_parked` did not finish; mend that first.
- *deliveries failed*: the report names each with its cause. The items stay parked, and the next run tries them again.
- *does not balance*: it names the sum that is wrong. Clear the task before it that failed, with what follows.
""",
}
"""What each task does, and what to do when it says so in its log and fails."""

DOC = """
### O2 replay of parked items

An item that nobody gets, because nobody in it has a mailbox yet, is *parked*; one that somebody of the organisation
missed *waits* for them. This DAG looks at all of them again, whichever day they are of, and delivers what now has a
mailbox, with the dates of its capture, once. It runs when a mapping file changes, every morning (a mailbox may come
without a change of the files), and by hand. Running it again is always safe.

While this DAG is paused nobody watches the files; what changed meanwhile is noticed as soon as it is let go.
""" + "".join(f"\n#### {task}\n{text}" for task, text in TASKS.items())

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
            description_md="Decide, and say in the report what would be delivered; write nothing to a mailbox.",
        ),
    },
    default_args=TASK_DEFAULTS,
    **told_of_run(SETTINGS, replay=True),
):
    find_parked = FindParkedOperator(task_id="find_parked", doc_md=TASKS["find_parked"], **SETTINGS.mapping)
    deliver = ImportToMailboxesOperator.partial(
        task_id="import_to_mailboxes", doc_md=TASKS["import_to_mailboxes"], map_index_template=MAP_INDEX
    ).expand(shard=find_parked.output)
    reconcile = ReconcileReplayOperator(
        task_id="reconcile",
        doc_md=TASKS["reconcile"],
        find_parked=find_parked.task_id,
        timezone=SETTINGS.timezone,
        first_day=SETTINGS.first_day,
        trigger_rule="all_done",
        **told_of_book(SETTINGS, replay=True),
    )
    # Both: what follows a failed task is done at once, while that task's other map indexes may still work.
    [find_parked, deliver] >> reconcile
