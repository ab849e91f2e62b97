"""Mapping: that a run could use the files. Their names, numbers and addresses stay here; `check-mapping` tells them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from o2_connector.core.mapping_files import Severity, read_mapping_files
from o2_connector.core.phone_book import bind
from o2_connector.core.preflight import Area, Found, error, ok, warning
from o2_connector.core.settings import Settings
from o2_connector.engine.mapping_folder import read_folder, unread
from o2_connector.engine.preflight.checks import Check

_TELLS = "`make check-mapping` names each of them, with its remedy"


def mapping_checks(settings: Settings) -> list[Check]:
    """Return what is checked of the mapping files."""

    def files() -> Iterator[Found]:
        folder = Path(settings.mappings)
        contents = read_folder(folder)
        rows, found = read_mapping_files(contents, settings.region, ZoneInfo(settings.timezone))
        _, found = bind(rows, found)
        counted = Counter(finding.severity for finding in (*found, *unread(folder)))
        if counted[Severity.ERROR]:
            yield error(f"a run could not use the files (errors: {counted[Severity.ERROR]})", _TELLS)
        if counted[Severity.WARNING]:
            yield warning(f"some of it is hardly as its author thinks (warnings: {counted[Severity.WARNING]})", _TELLS)
        if not contents:
            yield warning(
                "there is no mapping file here: only e-mail properties would lead to mailboxes",
                "mount the folder into every worker, or set O2_MAPPINGS",
            )
        elif not counted[Severity.ERROR]:
            yield ok(f"the files can be used (files: {len(contents)}, rows: {len(rows)})")

    return [Check(name="mapping.files", area=Area.MAPPING, title="the mapping files", run=files)]
