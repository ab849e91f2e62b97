"""What an admin may ask without a run: ``PYTHONPATH=plugins python -m o2_connector.commands COMMAND``."""

from __future__ import annotations

import argparse
import os
import sys

from o2_connector.commands import check_mapping, mapping_diff
from o2_connector.core.errors import ConnectorError

COMMANDS = (check_mapping, mapping_diff)  # a module each, which adds its parser and names the function that runs it


def main() -> int:
    """Do what was asked for; 2 where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m o2_connector.commands", description=__doc__)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(subparsers)
    arguments = parser.parse_args()
    try:
        status: int = arguments.run(arguments)
    except ConnectorError as error:
        print(error, file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    # As Airflow's own `airflow connections test` does: else those of its database are not found outside of a task.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # Its log goes to the same screen, and a command says by itself what there is to say.
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
    sys.exit(main())
