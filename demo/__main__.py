"""Archive a day of the sandbox with a real Airflow: ``python -m demo demo|up|down``; the Makefile calls it."""

from __future__ import annotations

import argparse
import sys

from demo.options import OptionError, settle
from demo.screen import now
from demo.story import down, perform, up


def main() -> int:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("demo", "archive the day, then end everything"), ("up", "archive the day, and stay")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--items", type=int, default=2000, help="items that TeleMessage captured on the day")
        command.add_argument("--users", type=int, default=25, help="people of the organisation")
        command.add_argument("--seed", type=int, default=1, help="another seed is another organisation")
        command.add_argument("--zone", default="Europe/London", help="the time zone whose midnight ends a day")
        command.add_argument("--day", metavar="YYYY-MM-DD", help="the day to archive (default: yesterday)")
        command.add_argument("--corpus", metavar="FILE", help="JSON Lines with sender and text, plain or gzip")
    commands.add_parser("down", help="end what `up` started")
    arguments = vars(parser.parse_args())
    command = arguments.pop("command")
    if command == "down":
        return down()
    try:
        options = settle(**arguments, now=now())
    except OptionError as error:
        print(error, file=sys.stderr)
        return 2
    return up(options) if command == "up" else perform(options, stays=False)


if __name__ == "__main__":
    sys.exit(main())
