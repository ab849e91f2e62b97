"""The command line, `o2-archive`: what an operator may ask without a run."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from importlib import import_module
from io import TextIOWrapper
from signal import SIGINT, SIGPIPE
from textwrap import dedent

from o2_connector.core.errors import ConnectorError

COMMANDS = {
    "before a run": {
        "check-mapping": "say what is not right in the mapping files",
        "preflight": "say whether TeleMessage, the tenant, staging and the mapping are as the archive needs them",
        "mapping-diff": "say what changed mapping files would do to archived days",
    },
    "ask": {
        "status": "say how every day stands",
        "explain": "say what became of one item, stage by stage",
    },
    "prove": {
        "verify": "prove what was archived, or say what is wrong with it",
        "export": "write everything of a window into a folder, with a manifest that others can check",
    },
}
"""By what they are for, the commands and what they do. Each has a module, which adds its parser and names the function
that runs it; it is imported when the command is asked for, since some take seconds."""

STATUSES = """
    exit status:
      0  done, and nothing is wrong
      1  done, and what was found is wrong: the output says what, and what to do
      2  not done: what was asked for cannot be, or something that it needs is not there
"""


def main() -> int:
    """Do what was asked for on the command line; return the exit status."""
    _set_airflow_up()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that has no such character
    try:
        try:
            return _run(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except ConnectorError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + SIGINT
    except BrokenPipeError:  # who reads has read enough; Python flushes once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + SIGPIPE
    except Exception as error:  # noqa: BLE001  Python's own status would say that it was done; its words may hold a value
        where = "".join(traceback.format_tb(error.__traceback__))
        print(f"{where}{type(error).__name__}: not foreseen; report it with the lines above", file=sys.stderr)
        return 2


def _set_airflow_up() -> None:
    # As Airflow's own `airflow connections test` does: else those of its database are not found outside of a task.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # Its log goes to the same screen, and a command says by itself what there is to say.
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")


def _run(given: list[str]) -> int:
    wanted = next((word for word in given if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="o2-archive",
        usage="%(prog)s COMMAND [-h] ...",
        description="Look after the archive of O2 texts and calls without a run of Airflow. Say -h after a command for"
        " what it takes.",
        epilog=f"{_listed()}\n{dedent(STATUSES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(prog=parser.prog, metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    for name in (name for group in COMMANDS.values() for name in group):
        if name == wanted:
            import_module(f"o2_connector.commands.{name.replace('-', '_')}").add_to(subparsers)
        else:
            subparsers.add_parser(name)
    arguments = parser.parse_args(given)
    status: int = arguments.run(arguments)
    return status


def _listed() -> str:
    groups = (
        "\n".join([f"{purpose}:", *(f"  {name:<15} {does}" for name, does in commands.items())])
        for purpose, commands in COMMANDS.items()
    )
    return "\n\n".join(groups)


if __name__ == "__main__":
    sys.exit(main())
