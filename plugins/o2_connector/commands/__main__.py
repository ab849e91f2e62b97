"""What an admin may ask without a run: ``PYTHONPATH=plugins python -m o2_connector.commands COMMAND``."""

from __future__ import annotations

import argparse
import sys

from o2_connector.commands import check_mapping
from o2_connector.core.errors import StopError

COMMANDS = (check_mapping,)  # a module each, which adds its parser and names the function that runs it


def main() -> int:
    """Do what was asked for; 2 where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m o2_connector.commands", description=__doc__)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(subparsers)
    arguments = parser.parse_args()
    try:
        status: int = arguments.run(arguments)
    except StopError as error:
        print(error, file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
