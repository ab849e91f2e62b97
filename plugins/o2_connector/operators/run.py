"""What every task of a run needs: the run's window, links and lineage, and the verdict on a failure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.sdk import BaseOperator, BaseOperatorLink, RetryPolicy
from airflow.sdk.definitions.retry_policy import RetryDecision

from o2_connector.core.errors import IntegrityError, RetryError, StopError
from o2_connector.core.failures import fault_of
from o2_connector.core.manifest import to_xcom
from o2_connector.core.trail import Trail
from o2_connector.core.window import Asked, Window, settle_window
from o2_connector.operators.links import StagedLink, WindowLink

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(minutes=30)


FAULT = "fault"
"""Key of the XCom in which a task that fails leaves why, for the notice of the run's failure."""


def leave_fault(context: Context) -> None:
    """Leave why a task failed, where it failed by itself."""
    error: Any = context.get("exception")
    if error is not None:
        ti = context["ti"]
        ti.xcom_push(key=FAULT, value=to_xcom(fault_of(ti.task_id, error)))


def window_of(context: Context, timezone: str) -> Window:
    """Return the window that this run archives, whatever started it."""
    run: Any = context["dag_run"]
    params = context["params"]
    return settle_window(
        asked=Asked(day=params.get("day"), start=params.get("window_start"), end=params.get("window_end")),
        interval_start=run.data_interval_start,
        interval_end=run.data_interval_end,
        run_type=str(getattr(run.run_type, "value", run.run_type)),
        run_after=run.run_after,
        zone=ZoneInfo(timezone),
    )


class ArchiveOperator(BaseOperator):
    """Be the base of a run's tasks: link what each works on, and tell OpenLineage where that provider is active."""

    operator_extra_links: Collection[BaseOperatorLink] = (WindowLink(), StagedLink())

    @abstractmethod
    def trail(self) -> Trail:
        """Say what the task reads and writes: by its arguments alone, and with counts once it is done."""

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return what the task is about to read and write."""
        from o2_connector.operators.lineage import operator_lineage

        return operator_lineage(self.trail())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the task has read and written, or was about to when it failed."""
        return self.get_openlineage_facets_on_start()


class ConnectorRetryPolicy(RetryPolicy):
    """Fail at once what no retry heals; wait as long as the other side asked; leave the rest to the task's retries."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the kind of error."""
        if isinstance(exception, (StopError, IntegrityError)):
            return RetryDecision.fail(reason="a person must act; see the error's remedy")
        if isinstance(exception, RetryError) and exception.retry_after is not None:
            # As long as was asked, but never sooner than the backoff: a source that says "now" would use up all tries.
            backoff = FIRST_DELAY * 2 ** min(try_number - 1, 10)
            delay = max(timedelta(seconds=min(exception.retry_after, LONGEST_DELAY.total_seconds())), backoff)
            return RetryDecision.retry(delay=min(delay, LONGEST_DELAY))
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return the policy's settings: it has none."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ConnectorRetryPolicy:
        """Return the policy."""
        return cls()


TASK_DEFAULTS = {
    "owner": "compliance",
    "retries": 6,
    "retry_delay": FIRST_DELAY,
    "retry_exponential_backoff": 2,
    "max_retry_delay": LONGEST_DELAY,
    "retry_policy": ConnectorRetryPolicy(),
    "on_failure_callback": leave_fault,
}
"""How a task is tried again, in every DAG."""

MAP_INDEX = "{{ task.label }}"
"""How a map index gets its name. Airflow renders it before the task runs, and again after it: the name is there while a
task runs and when it has failed. An error in it would fail a task that is done, so it asks what ``execute`` has read.
"""
