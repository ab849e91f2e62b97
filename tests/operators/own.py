"""A notifier of the user's own: it keeps what it is told, and fails when it is to."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.sdk import BaseNotifier


class OwnNotifier(BaseNotifier):
    """Keep what it is told.

    :param title: not rendered by Airflow.
    :param body: rendered by Airflow. (templated)
    """

    template_fields = ("body",)
    told: ClassVar[list[tuple[str, str]]] = []
    broken: ClassVar[bool] = False

    def __init__(self, *, title: str, body: list[dict[str, str]]) -> None:
        super().__init__()
        self.title = title
        self.body = body

    def notify(self, context: Any) -> None:
        """Keep the notice."""
        if self.broken:
            raise RuntimeError("the chat is down")
        self.told.append((self.title, self.body[0]["text"]))
