"""Every cause has a remedy, and none of them can be mistaken for another."""

from __future__ import annotations

import pytest

from o2_connector.core.outcomes import Cause, remedy


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_remedy(cause: Cause) -> None:
    assert remedy(f"{cause}").strip()


def test_causes_differ() -> None:
    assert len({cause.value for cause in Cause}) == len(Cause.__members__)
