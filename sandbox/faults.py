"""What goes wrong on demand: both sites ask here before they answer, tests and people put it in."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

FAULTS_PATH = "/_sandbox/faults"


@dataclass(kw_only=True, slots=True)
class Fault:
    """Hold one thing that will go wrong, and how often it still will."""

    times: int
    path: re.Pattern[str]
    rate: float | None
    detail: dict[str, Any]


class Faults:
    """Count down what was asked to go wrong.

    A fault strikes the next `times` requests in whose path its pattern is found; with a `rate` it strikes each such
    request with that probability, from a seeded generator, until it has struck `times` times. `struck` counts by kind.
    """

    def __init__(self, seed: int = 1) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._faults: dict[str, list[Fault]] = {}
        self.struck: Counter[str] = Counter()

    def add(self, kind: str, *, times: int = 1, path: str = ".*", rate: float | None = None, **detail: Any) -> None:
        """Let `kind` strike requests in whose path `path` is found; `detail` is for the site."""
        rate = None if rate is None else float(rate)  # what comes over HTTP may be anything
        fault = Fault(times=int(times), path=re.compile(path), rate=rate, detail=detail)
        with self._lock:
            self._faults.setdefault(kind, []).append(fault)

    def take(self, kind: str, path: str) -> dict[str, Any] | None:
        """Return the detail of the fault of `kind` that strikes this request, or None when none does."""
        faults = self._faults.get(kind)
        if not faults:
            return None  # a day's import asks six times for each message
        with self._lock:
            for fault in faults:
                if not fault.path.search(path):
                    continue
                if fault.rate is not None and self._random.random() >= fault.rate:
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    faults.remove(fault)
                self.struck[kind] += 1
                return fault.detail
        return None

    def clear(self) -> None:
        """Forget every fault that has not struck yet, and how many have."""
        with self._lock:
            self._faults.clear()
            self.struck.clear()


def faults_route(faults: Faults) -> Route:
    """Make the route that lets another process put faults in (POST, JSON) and clear them (DELETE)."""

    async def endpoint(request: Request) -> Response:
        if request.method == "DELETE":
            faults.clear()
            return Response(status_code=HTTPStatus.NO_CONTENT)
        try:
            faults.add(**await request.json())
        except (TypeError, ValueError, re.error) as error:
            return JSONResponse({"error": str(error)}, status_code=HTTPStatus.BAD_REQUEST)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return Route(FAULTS_PATH, endpoint, methods=["POST", "DELETE"])
