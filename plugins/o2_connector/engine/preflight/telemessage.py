"""TeleMessage: that it lets us in, and lets us read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from o2_connector.core.errors import StopError
from o2_connector.core.preflight import Area, Found, ok
from o2_connector.engine.preflight.checks import Check
from o2_connector.hooks.telemessage import TeleMessageHook

FROZEN = datetime(2020, 1, 1, tzinfo=UTC)
"""A second that is over, and always the same: asked twice for a window TeleMessage answers the same list, and freezing
one changes no item."""


def telemessage_checks(telemessage: TeleMessageHook) -> list[Check]:
    """Return what is checked of TeleMessage."""

    def login() -> Iterator[Found]:
        accepted, said = telemessage.test_connection()
        if not accepted:
            raise StopError(said)
        yield ok("it is reached over TLS, its certificate verifies, and it takes the login")

    def window() -> Iterator[Found]:
        telemessage.freeze_export(FROZEN, FROZEN + timedelta(seconds=1))
        yield ok("the account may freeze a window")

    return [
        Check(
            name="telemessage.login",
            area=Area.TELEMESSAGE,
            title="the login",
            run=login,
            needs=["telemessage.connection"],
        ),
        Check(
            name="telemessage.window",
            area=Area.TELEMESSAGE,
            title="the archive export",
            run=window,
            needs=["telemessage.login"],
        ),
    ]
