"""A mail server that keeps what it gets: where the archiver's alerts go when there is nobody to alert."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class MailSink:
    """Keep every message that is delivered, in the order of arrival.

    :param folder: where each is written to, where a person is to look at them.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.mails: list[EmailMessage] = []
        self._folder = folder

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep one message."""
        content = envelope.original_content or b""
        self.mails.append(message_from_bytes(content, policy=policy.default))
        if self._folder:
            self._folder.mkdir(exist_ok=True)
            (self._folder / f"{len(self.mails):04d}.eml").write_bytes(content)
        return "250 Message accepted for delivery"
