"""What every task of a run needs: the run's window, and the verdict on a failure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.sdk import RetryPolicy
from airflow.sdk.definitions.retry_policy import RetryDecision

from o2_connector.core.errors import IntegrityError, RetryError, StopError
from o2_connector.core.window import Window, settle_window

if TYPE_CHECKING:
    from airflow.sdk import Context

FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(minutes=30)


def window_of(context: Context, timezone: str) -> Window:
    """Return the window that this run archives, whatever started it."""
    run: Any = context["dag_run"]
    params = context["params"]
    return settle_window(
        asked_start=params.get("window_start"),
        asked_end=params.get("window_end"),
        interval_start=run.data_interval_start,
        interval_end=run.data_interval_end,
        run_type=str(getattr(run.run_type, "value", run.run_type)),
        run_after=run.run_after,
        zone=ZoneInfo(timezone),
    )


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
}
"""How a task is tried again, in every DAG."""
