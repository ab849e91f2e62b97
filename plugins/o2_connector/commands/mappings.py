"""Mappings: which folder of mapping files a command is about."""

from __future__ import annotations

import argparse

MAPPINGS = "include/mappings"
"""The folder where neither the command line nor O2_MAPPINGS names one."""


def add_folder_to(parser: argparse.ArgumentParser) -> None:
    """Let a folder be named; where none is, the settings have it."""
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help=f"else that of O2_MAPPINGS, else {MAPPINGS}")
