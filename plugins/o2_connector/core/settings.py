"""Settings: what the DAG files read from the environment, the same for every component of Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import phonenumbers

from o2_connector.core.conversion_profile import LARGEST_MEGABYTES, MESSAGE_CLASS, MESSAGE_MEGABYTES
from o2_connector.core.errors import StopError
from o2_connector.core.layout import BUCKETS, IMPORT_TASKS
from o2_connector.core.window import EARLIEST


@dataclass(frozen=True, kw_only=True, slots=True)
class NotifierSetting:
    """Name one of Airflow's notifiers.

    :param path: dotted, of its class.
    :param arguments: its keyword arguments, in which ``{{ subject }}`` and ``{{ text }}`` stand for a notice's.
    """

    path: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Hold how an organisation archives; README explains each variable.

    :param timezone: IANA name of the zone whose midnight begins a day.
    :param first_day: the first day to archive, like ``2026-11-01``, where there is one.
    :param canary: address of the mailbox that a preflight tries, where there is one.
    :param alert_email: who is told by e-mail what an operator should know.
    :param notifier: by what else it is told, where by anything.
    """

    timezone: str
    first_day: str | None
    region: str
    mappings: str
    directory_hours: float
    directory_numbers: bool
    catch_all: str | None
    silent_days: int
    message_class: str
    message_limit_mb: int
    import_tasks: int
    deadline: timedelta
    canary: str | None
    alert_email: tuple[str, ...]
    notifier: NotifierSetting | None

    @property
    def tells(self) -> bool:
        """Tell whether anybody is to be told anything."""
        return bool(self.alert_email or self.notifier)

    @property
    def mapping(self) -> dict[str, Any]:
        """Return what the operators that decide take."""
        return {
            "mappings": self.mappings,
            "region": self.region,
            "timezone": self.timezone,
            "directory_hours": self.directory_hours,
            "directory_numbers": self.directory_numbers,
            "catch_all": self.catch_all,
            "tasks": self.import_tasks,
        }


def read_settings(environ: Mapping[str, str], mappings: str) -> Settings:
    """Read the settings.

    :param mappings: the folder of mapping files where no other is set.
    :raises StopError: naming the variable that is wrong.
    """
    return Settings(
        timezone=_zone(environ),
        first_day=_day(environ, "O2_FIRST_DAY"),
        region=_region(environ),
        mappings=environ.get("O2_MAPPINGS") or mappings,
        directory_hours=_number(environ, "O2_DIRECTORY_HOURS", 1),
        directory_numbers=_switch(environ, "O2_DIRECTORY_NUMBERS"),
        catch_all=environ.get("O2_CATCH_ALL", "").strip() or None,
        silent_days=_whole(environ, "O2_SILENT_DAYS", 7, 1, 3650),
        message_class=environ.get("O2_MESSAGE_CLASS") or MESSAGE_CLASS,
        message_limit_mb=_whole(environ, "O2_MESSAGE_LIMIT_MB", MESSAGE_MEGABYTES, 1, LARGEST_MEGABYTES),
        import_tasks=_whole(environ, "O2_IMPORT_TASKS", IMPORT_TASKS, 1, BUCKETS),
        deadline=timedelta(hours=_number(environ, "O2_DEADLINE_HOURS", 6)),
        canary=environ.get("O2_CANARY_MAILBOX", "").strip() or None,
        alert_email=tuple(filter(None, (each.strip() for each in environ.get("O2_ALERT_EMAIL", "").split(",")))),
        notifier=_notifier(environ),
    )


def _zone(environ: Mapping[str, str]) -> str:
    name = environ.get("O2_TIMEZONE") or "Europe/London"
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError) as error:
        raise StopError(f"O2_TIMEZONE is {name!r}, which is no time zone: write one like Europe/London") from error


def _region(environ: Mapping[str, str]) -> str:
    name = environ.get("O2_REGION") or "GB"
    if name not in phonenumbers.SUPPORTED_REGIONS:
        raise StopError(f"O2_REGION is {name!r}, which is no country: write its ISO 3166 code in capitals, like GB")
    return name


def _day(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name)
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if day < EARLIEST.date():
        raise StopError(f"{name} is {text!r}: write a day since {EARLIEST:%Y} like 2026-11-01, or leave it empty")
    return day.isoformat()


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        raise StopError(f"{name} is {text!r}: write a number, or leave it empty for {default:g}") from None
    if not 0 <= number < 1e6:
        raise StopError(f"{name} is {text!r}: write a number from 0, or leave it empty for {default:g}")
    return number


def _whole(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    number = _number(environ, name, default)
    if not (number.is_integer() and least <= number <= most):
        raise StopError(
            f"{name} is {number:g}: write a whole number from {least} to {most}, or leave it empty for {default}"
        )
    return int(number)


def _switch(environ: Mapping[str, str], name: str) -> bool:
    text = (environ.get(name) or "false").strip().lower()
    if text not in {"true", "false"}:
        raise StopError(f"{name} is {text!r}: write true or false")
    return text == "true"


def _notifier(environ: Mapping[str, str]) -> NotifierSetting | None:
    text = environ.get("O2_NOTIFIER", "").strip()
    if not text:
        return None
    # What it holds is not said: it may have a secret in it.
    try:
        arguments = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise StopError(
            'O2_NOTIFIER is no JSON object: write one like {"notifier": "a.module.AClass", "text": "{{ text }}"}'
        ) from None
    path = arguments.pop("notifier", None)
    if not isinstance(path, str) or not all(part.isidentifier() for part in path.split(".")) or "." not in path:
        raise StopError('O2_NOTIFIER is without a class: name it by its dotted path, {"notifier": "a.module.AClass"}')
    return NotifierSetting(path=path, arguments=arguments)
