"""What the DAG files read from the environment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from o2_connector.core.errors import StopError
from o2_connector.core.settings import NotifierSetting, Settings, read_settings

DEFAULTS = Settings(
    timezone="Europe/London",
    first_day=None,
    region="GB",
    mappings="/mappings",
    directory_hours=1,
    directory_numbers=False,
    catch_all=None,
    silent_days=7,
    message_class="IPM.Note.O2Network",
    message_limit_mb=35,
    import_tasks=16,
    deadline=timedelta(hours=6),
    canary=None,
    alert_email=(),
    notifier=None,
)
GIVEN = {
    "O2_TIMEZONE": "Europe/Berlin",
    "O2_FIRST_DAY": "2026-11-01",
    "O2_REGION": "DE",
    "O2_MAPPINGS": "/srv/mappings",
    "O2_DIRECTORY_HOURS": "0.5",
    "O2_DIRECTORY_NUMBERS": "true",
    "O2_CATCH_ALL": " unclaimed@example.com ",
    "O2_SILENT_DAYS": "30",
    "O2_MESSAGE_CLASS": "IPM.Note.Archive",
    "O2_MESSAGE_LIMIT_MB": "150",
    "O2_IMPORT_TASKS": "48",
    "O2_DEADLINE_HOURS": "1.5",
    "O2_CANARY_MAILBOX": " canary@example.com ",
    "O2_ALERT_EMAIL": "oncall@example.com, archive@example.com",
    "O2_NOTIFIER": '{"notifier": "chat.Notifier", "text": "{{ text }}", "tries": 3}',
}


def read(**environ: str) -> Settings:
    return read_settings(environ, "/mappings")


def test_what_is_not_set_and_what_is_set_to_nothing_has_its_default() -> None:
    assert read() == DEFAULTS
    assert read(**dict.fromkeys(GIVEN, "")) == DEFAULTS


def test_every_setting_is_read_from_its_variable() -> None:
    settings = read(**GIVEN)

    assert settings == Settings(
        timezone="Europe/Berlin",
        first_day="2026-11-01",
        region="DE",
        mappings="/srv/mappings",
        directory_hours=0.5,
        directory_numbers=True,
        catch_all="unclaimed@example.com",
        silent_days=30,
        message_class="IPM.Note.Archive",
        message_limit_mb=150,
        import_tasks=48,
        deadline=timedelta(minutes=90),
        canary="canary@example.com",
        alert_email=("oncall@example.com", "archive@example.com"),
        notifier=NotifierSetting(path="chat.Notifier", arguments={"text": "{{ text }}", "tries": 3}),
    )


def test_the_directory_may_be_asked_every_time() -> None:
    assert read(O2_DIRECTORY_HOURS="0").directory_hours == 0


@pytest.mark.parametrize(("text", "switched"), [("true", True), (" True ", True), ("FALSE", False)])
def test_a_switch_is_true_or_false_however_it_is_written(text: str, switched: bool) -> None:
    assert read(O2_DIRECTORY_NUMBERS=text).directory_numbers is switched


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("O2_TIMEZONE", "Europe/Londom"),
        ("O2_TIMEZONE", "../etc/localtime"),
        ("O2_FIRST_DAY", "01/11/2026"),
        ("O2_FIRST_DAY", "2026-02-30"),
        ("O2_FIRST_DAY", "0026-11-01"),
        ("O2_IMPORT_TASKS", "0"),
        ("O2_IMPORT_TASKS", "65"),
        ("O2_MESSAGE_LIMIT_MB", "0"),
        ("O2_MESSAGE_LIMIT_MB", "151"),
        ("O2_SILENT_DAYS", "0"),
        ("O2_SILENT_DAYS", "999999"),
        ("O2_REGION", "UK"),
        ("O2_REGION", "gb"),
        ("O2_DIRECTORY_HOURS", "six"),
        ("O2_DIRECTORY_HOURS", "-1"),
        ("O2_DIRECTORY_HOURS", "nan"),
        ("O2_DIRECTORY_NUMBERS", "yes"),
        ("O2_SILENT_DAYS", "1e9"),
        ("O2_SILENT_DAYS", "2.5"),
        ("O2_MESSAGE_LIMIT_MB", "35 MB"),
        ("O2_IMPORT_TASKS", "7.5"),
        ("O2_DEADLINE_HOURS", "6h"),
    ],
)
def test_what_cannot_be_a_setting_is_refused_by_the_name_of_its_variable(name: str, text: str) -> None:
    with pytest.raises(StopError, match=rf"^{name} is "):
        read(**{name: text})


@pytest.mark.parametrize(
    "text",
    [
        "airflow.providers.slack.notifications.slack.SlackNotifier",
        '["chat.Notifier"]',
        '{"text": "{{ text }}"}',
        '{"notifier": 7}',
        '{"notifier": "Notifier"}',
        '{"notifier": "chat.Notifier()"}',
        '{"notifier": "chat..Notifier"}',
        '{"notifier": "chat.Notifier", "token": "secret"',
    ],
)
def test_a_notifier_that_is_no_class_with_arguments_is_refused_and_what_it_holds_is_not_said(text: str) -> None:
    with pytest.raises(StopError, match=r"^O2_NOTIFIER is ") as raised:
        read(O2_NOTIFIER=text)

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("environ", "tells"),
    [
        ({}, False),
        ({"O2_ALERT_EMAIL": " , "}, False),
        ({"O2_ALERT_EMAIL": "oncall@example.com"}, True),
        ({"O2_NOTIFIER": '{"notifier": "chat.Notifier"}'}, True),
    ],
)
def test_somebody_is_told_when_there_is_a_way(environ: dict[str, str], tells: bool) -> None:
    assert read(**environ).tells is tells
