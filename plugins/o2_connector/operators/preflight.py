"""Preflight: try every system as the archive uses it, before anything is archived."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from o2_connector.core.errors import StopError
from o2_connector.core.preflight import Finding, OpenPoint, State
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook
from o2_connector.hooks.telemessage import TeleMessageHook

if TYPE_CHECKING:
    from airflow.sdk import Context

    from o2_connector.core.settings import Settings

_LEVELS = {State.ERROR: logging.ERROR, State.WARNING: logging.WARNING, State.NOT_CHECKED: logging.WARNING}


class PreflightOperator(BaseOperator):
    """Say in the log what is as it should be and what is not; fail where something has to be mended.

    Returns how many findings there are of each state. The run's parameters ``canary`` and ``outside`` name the mailbox
    to try and one that must stay closed; neither is told anywhere.

    :param settings: how the organisation archives.
    """

    def __init__(self, *, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = settings
        self._at_work = False

    def execute(self, context: Context) -> dict[str, int]:
        """Try everything, tell, judge."""
        from o2_connector.engine.preflight.run import PATIENCE_SECONDS, preflight

        params = context["params"]
        canary = params.get("canary") or self.settings.canary
        self._at_work = True
        found = preflight(
            replace(self.settings, canary=canary),
            TeleMessageHook(),
            GraphHook(patience_seconds=PATIENCE_SECONDS),
            StagingHook(),
            outside=params.get("outside") or None,
            heard=self._tell,
        )
        self._at_work = False
        if found.errors:
            raise StopError("\n".join([f"{len(found.errors)} have to be mended:", *map(str, found.errors)]))
        return found.counts

    def on_kill(self) -> None:
        """Stop where it stands; what was made is removed on the way out."""
        if self._at_work:
            raise KeyboardInterrupt

    def _tell(self, finding: Finding | OpenPoint) -> None:
        level = _LEVELS.get(finding.state, logging.INFO) if isinstance(finding, Finding) else logging.INFO
        self.log.log(level, "%s", finding)
