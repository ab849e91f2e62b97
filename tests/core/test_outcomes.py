"""Every cause has a remedy, and none of them can be mistaken for another."""

from __future__ import annotations

from itertools import permutations

import pytest

from o2_connector.core.outcomes import Cause, remedy


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_remedy(cause: Cause) -> None:
    assert remedy(f"{cause}").strip()


def test_causes_differ() -> None:
    assert len({cause.value for cause in Cause}) == len(Cause.__members__)


def test_no_cause_has_the_words_of_another() -> None:
    assert not [(one, other) for one, other in permutations(Cause, 2) if one in other]


@pytest.mark.parametrize("first", Cause)
def test_two_causes_have_the_remedies_of_both_and_no_other(first: Cause) -> None:
    for second in set(Cause) - {first}:
        assert remedy(f"{first}; {second}") == "; ".join(dict.fromkeys((remedy(first), remedy(second))))


@pytest.mark.parametrize(
    "text",
    ["", "ErrorQuotaExceeded", f"not {Cause.GUEST}", f"{Cause.GUEST} at all", f"{Cause.GUEST}, {Cause.DISABLED}"],
)
def test_what_only_has_the_words_of_a_cause_has_no_remedy(text: str) -> None:
    assert remedy(text) == ""


def test_a_cause_beside_words_of_an_older_version_keeps_its_remedy() -> None:
    assert remedy(f"what we said once; {Cause.GUEST}; and more") == remedy(Cause.GUEST)
