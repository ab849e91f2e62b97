"""Links from a task instance to the archive's page: to its window, and to what it staged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PAGE = "o2-archive"
"""The page's route in Airflow's UI, and the path under which it is served: see ``o2_plugin.py``."""


class WindowLink(BaseOperatorLink):
    """Lead to the window that a task works on."""

    name = "O2 archive: the window"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's address, or nothing while the window is unknown."""
        window = _trail(operator).window
        return page_url(f"window={window.name}") if window else ""


class StagedLink(BaseOperatorLink):
    """Lead to the objects that a task writes to staging."""

    name = "O2 archive: what it staged"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's address, or nothing while it is unknown where they lie."""
        stem = _trail(operator).stem
        return page_url(f"stem={quote(stem)}", "staged") if stem else ""


def page_url(query: str, page: str = "") -> str:
    """Return the address of the archive's page, or of one below it, within Airflow's own frame.

    What follows the route is the path that the frame opens, and that path has the one of Airflow's base URL in it (read
    in the UI of 3.3.2).
    """
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="/").rstrip("/")
    return f"{base}/plugin/{PAGE}{urlsplit(base).path}/{PAGE}/{page}?{query}"


def _trail(operator: Any) -> Any:
    return operator.trail()  # called on the worker, with the operator that ran
