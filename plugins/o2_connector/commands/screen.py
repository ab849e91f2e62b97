"""Screen: how commands show things, to a person and to a script."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from shutil import get_terminal_size
from textwrap import fill

from o2_connector.core.mapping_files import Finding, Severity
from o2_connector.core.plurals import many


def wrapped(text: str, indent: str = "    ") -> str:
    """Return a line; for a person, over several ones that end between words."""
    if not sys.stdout.isatty():
        return text
    width = get_terminal_size().columns
    return fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def summed(findings: Iterable[Finding]) -> str:
    """Count findings by severity."""
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(many(counts[each], each) for each in Severity if counts[each]) or "nothing to mend"
