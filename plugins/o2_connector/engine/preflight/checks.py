"""Checks: each by itself; one that fails leaves the others running, and who needs it says that it was not checked."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from o2_connector.core.errors import ConnectorError, RetryError
from o2_connector.core.preflight import Area, Finding, Found, OpenPoint, State, discreet, error, not_checked
from o2_connector.hooks.graph_requests import Answer

Observed: TypeAlias = tuple[str, bool | None]
"""What was observed, and whether it is what was assumed; None where a reader has to say."""

Heard: TypeAlias = Callable[[Finding | OpenPoint], object]

_CODE = re.compile(r"[A-Za-z_]{3,80}")
_OURS = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Describe a check.

    :param name: for ever the same.
    :param title: what is checked, as a noun.
    :param run: yields what it finds.
    :param needs: names of the checks without whose success it cannot run.
    """

    name: str
    area: Area
    title: str
    run: Callable[[], Iterable[Found]]
    needs: Collection[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """Describe how an open point is put to the tenant.

    :param needs: names of the checks without whose success it cannot be observed.
    """

    point: str
    assumed: str
    observe: Callable[[], Observed]
    needs: Collection[str] = ()


class Runner:
    """Run checks and keep what they find.

    :param known: values that no finding may show.
    :param heard: told of each finding as soon as it is there.
    """

    def __init__(self, known: Collection[str], heard: Heard) -> None:
        self.findings: list[Finding] = []
        self.points: list[OpenPoint] = []
        self._known = known
        self._heard = heard
        self._failed: dict[str, str] = {}
        self._passed: set[str] = set()

    def passed(self, name: str) -> bool:
        """Tell whether a check ran and found nothing that stands in the way."""
        return name in self._passed

    def check(self, checks: Iterable[Check]) -> None:
        """Run checks in their order."""
        for check in checks:
            missing = self._missing(check.needs)
            found = [not_checked(f"{check.title}: {missing}")] if missing else self._found(check)
            if all(each.state not in {State.ERROR, State.NOT_CHECKED} for each in found):
                self._passed.add(check.name)
            else:
                self._failed[check.name] = missing or f"it needs {check.title}"
            for each in found:
                self._keep(check, each)

    def observe(self, observations: Iterable[Observation]) -> None:
        """Put open points to the tenant."""
        for each in observations:
            observed, as_assumed, why = None, None, self._missing(each.needs)
            if not why:
                try:
                    observed, as_assumed = each.observe()
                except Exception as failure:  # noqa: BLE001  whatever it is, the others go on
                    why = self.told(failure)
            point = OpenPoint(
                point=each.point, assumed=each.assumed, observed=observed, as_assumed=as_assumed, why=why or None
            )
            self.points.append(point)
            self._heard(point)

    def told(self, failure: Exception) -> str:
        """Say what went wrong, without anything that tells where it was."""
        if isinstance(failure, ConnectorError):
            return discreet(str(failure), self._known)
        frames = traceback.extract_tb(failure.__traceback__)
        ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_OURS)]
        place = f" at {Path(ours[-1].filename).relative_to(_OURS)}:{ours[-1].lineno}" if ours else ""
        return f"{type(failure).__name__}{place}"  # what it says may be anything

    def _found(self, check: Check) -> list[Found]:
        found: list[Found] = []
        try:
            found.extend(check.run())
        except ConnectorError as failure:
            again = "try again in a few minutes" if isinstance(failure, RetryError) else None
            found.append(Found(State.ERROR, f"{check.title}: {self.told(failure)}", again))
        except Exception as failure:  # noqa: BLE001  whatever it is, the others go on
            found.append(error(f"{check.title}: {self.told(failure)}", "this is a fault of the connector, report it"))
        return found

    def _missing(self, needs: Collection[str]) -> str:
        """Say what is missing, and of what that misses in turn the first."""
        return next((self._failed.get(name, "it was interrupted") for name in needs if name not in self._passed), "")

    def _keep(self, check: Check, found: Found) -> None:
        finding = Finding(check=check.name, area=check.area, state=found.state, what=found.what, remedy=found.remedy)
        self.findings.append(finding)
        self._heard(finding)


def said(answer: Answer) -> str:
    """Return an answer's status and code."""
    code = answer.code if answer.code is None or _CODE.fullmatch(answer.code) else "a code of its own"
    return " ".join(filter(None, [str(int(answer.status)) if answer.status else "no answer", code]))
