"""A choice that no message could have is refused, with the name of its setting."""

from __future__ import annotations

from typing import Any

import pytest

from o2_connector.core.conversion_profile import Profile
from o2_connector.core.errors import StopError
from o2_connector.core.items import captured
from o2_connector.core.rendering import render
from tests.core.records import line


@pytest.mark.parametrize(
    ("choice", "setting"),
    [
        ({"message_class": "IPM.Appointment"}, "O2_MESSAGE_CLASS"),
        ({"message_class": "IPM.Notes"}, "O2_MESSAGE_CLASS"),
        ({"message_class": "IPM.Note."}, "O2_MESSAGE_CLASS"),
        ({"message_class": "IPM.Note..O2"}, "O2_MESSAGE_CLASS"),
        ({"message_class": "IPM.Note.Ö"}, "O2_MESSAGE_CLASS"),
        ({"message_class": "\u0131PM.Note"}, "O2_MESSAGE_CLASS"),
        ({"message_class": "IPM.Note." + "a" * 240}, "O2_MESSAGE_CLASS"),
        ({"message_megabytes": 0}, "O2_MESSAGE_LIMIT_MB"),
        ({"message_megabytes": 151}, "O2_MESSAGE_LIMIT_MB"),
    ],
)
def test_what_cannot_be_stops_the_run(choice: dict[str, Any], setting: str) -> None:
    with pytest.raises(StopError, match=setting):
        Profile(region="GB", **choice)


@pytest.mark.parametrize(
    ("kind", "message_class"),
    [
        ("SMS", "IPM.Note.O2Network.SMS"),
        ("MMS", "IPM.Note.O2Network.MMS"),
        ("CALL", "IPM.Note.O2Network.Call"),
        ("VOICEMAIL", "IPM.Note.O2Network.Voicemail"),
    ],
)
def test_each_type_has_its_class(kind: str, message_class: str) -> None:
    assert render(captured(line(itemType=kind)), Profile(region="GB"), {}).message_class == message_class


def test_the_class_is_the_organisations() -> None:
    profile = Profile(region="GB", message_class="IPM.Note.Archive")

    assert render(captured(line()), profile, {}).message_class == "IPM.Note.Archive.SMS"
