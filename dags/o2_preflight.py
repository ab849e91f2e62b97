"""Try everything that the archive needs, by hand, before the first day is archived or after something was changed."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, Param

from o2_connector.core.settings import read_settings
from o2_connector.operators.preflight import PreflightOperator
from o2_connector.operators.run import TASK_DEFAULTS

SETTINGS = read_settings(os.environ, str(Path(__file__).resolve().parent.parent / "include" / "mappings"))

ADDRESS = r"^\s*[^\s@]{1,64}@[^\s@]{1,255}\s*$"

DOC = """
### O2 preflight

Tries TeleMessage, the Microsoft 365 tenant, staging and the mapping as the archive uses them. Each line of the task's
log says what was found and, where something has to be mended, how. The task fails where there is an error; a warning
fails nothing.

- In the **canary mailbox** a folder and some messages are made, read back, compared and removed again, and so is what
  an earlier preflight left that was killed. Take a mailbox that no mapping leads to. While it is tried no import writes
  to it.
- In **staging** one object of some bytes stays below `preflight/`: nothing is ever removed there.
- Lines that begin with *open point* say what this tenant does where Microsoft's documentation is silent.

Nothing in the log tells whose it is: no address, no name, no host, no id. It can be sent to the makers of the connector
as it is. `o2-archive preflight` is the same from the command line, with `--json` for programs.
"""

with DAG(
    "o2_preflight",
    description="Is everything as the archive of O2 items needs it?",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["o2", "archive"],
    params={
        "canary": Param(
            None,
            type=["null", "string"],
            pattern=ADDRESS,
            title="Canary mailbox",
            description="The address of the mailbox to try. Whoever may see this run sees it: O2_CANARY_MAILBOX in the"
            " environment names one that nobody sees, and is taken when this is empty.",
        ),
        "outside": Param(
            None,
            type=["null", "string"],
            pattern=ADDRESS,
            title="A mailbox that must stay closed",
            description="The address of a mailbox outside of the application's scope: an error is found if it opens."
            " Whoever may see this run sees it. Empty: this is not checked.",
        ),
    },
    default_args=TASK_DEFAULTS,
):
    # Nobody is told of a failure but who looks at the run: no notice has to know why it failed.
    PreflightOperator(task_id="preflight", settings=SETTINGS, on_failure_callback=None)
