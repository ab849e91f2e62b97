"""Progress: what an import tells while it works, in the log and through Airflow's metrics."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable

from airflow.sdk.observability import stats

from o2_connector.core.outcomes import Outcome

EVERY_SECONDS = 5.0
_OVER = 6  # ticks that the rate is taken over

_log = logging.getLogger("airflow.task")


class Progress:
    """Count what becomes of a shard's deliveries, and tell every few seconds.

    Metrics: the counters ``o2_archive.import.deliveries`` (tagged with the outcome) and ``o2_archive.import.refused``
    (Graph's 429), and the gauges ``o2_archive.import.waiting`` (mailboxes) and ``o2_archive.import.per_second``. These
    have the shard as their tag, for a day's imports work side by side, and are 0 when the import is over.

    :param total: deliveries that were open when the import began.
    :param clock: counts seconds, from any start.
    :param shard: which buckets' mailboxes these are for.
    """

    def __init__(self, total: int, clock: Callable[[], float], *, shard: str) -> None:
        self.counts: Counter[Outcome] = Counter()
        self.refused = 0
        self._total = total
        self._clock = clock
        self._tags = {"shard": shard}
        self._told: Counter[Outcome] = Counter()
        self._refused_told = 0
        self._marks = deque([(clock(), 0)], maxlen=_OVER + 1)

    def tell(self, waiting: int, *, last: bool = False) -> None:
        """Tell where the import stands, when it is time.

        :param waiting: mailboxes that Graph, or our own count of its limits, lets wait.
        """
        now, done = self._clock(), self.counts.total()
        if not last and now - self._marks[-1][0] < EVERY_SECONDS:
            return
        self._marks.append((now, done))
        began, before = self._marks[0]
        rate = (done - before) / (now - began) if now > began else 0.0
        left = max(0, self._total - done)
        _log.info(
            "%s of %s deliveries done, %s a second, %d mailboxes waiting, %s",
            f"{done:,}",
            f"{self._total:,}",
            f"{rate:,.0f}",
            waiting,
            f"about {_in_words(left / rate)} to go" if left and rate else "none to go" if not left else "stalled",
        )
        for outcome, count in (self.counts - self._told).items():
            stats.incr("o2_archive.import.deliveries", count, tags={"outcome": outcome.replace(" ", "_")})
        if self.refused > self._refused_told:
            stats.incr("o2_archive.import.refused", self.refused - self._refused_told)
        stats.gauge("o2_archive.import.waiting", 0 if last else waiting, tags=self._tags)
        stats.gauge("o2_archive.import.per_second", 0 if last else rate, tags=self._tags)
        self._told, self._refused_told = self.counts.copy(), self.refused


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
