"""Errors, named by what the caller should do.

    ConnectorError
    ├── StopError       give up at once: a person must change something (a password, a permission, a mapping file)
    ├── RetryError      try the task again later: the cause passes by itself (a window not closed yet, an outage)
    ├── IntegrityError  give up at once: bytes are not what their digest says, or a book does not add up
    ├── ItemError       set this one item aside, by name, and go on
    └── MailboxError    set this one mailbox's deliveries aside, with the cause, and go on

A message may name files, lines, item ids, object names and codes. It never holds a text, a phone number, an e-mail
address or a token: messages reach logs, the Airflow UI and notices.
"""


class ConnectorError(Exception):
    """Be the root of everything this connector raises on purpose."""


class StopError(ConnectorError):
    """Say that no retry heals this; the message ends with the remedy."""


class RetryError(ConnectorError):
    """Say that the same call may succeed later.

    :param retry_after: seconds that the other side asked us to wait, where it did.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class IntegrityError(ConnectorError):
    """Say that bytes or counts contradict what was recorded of them."""


class ItemError(ConnectorError):
    """Say what is wrong with one item.

    :param fault: what is wrong and where, in words; no value of the item.
    :param item_id: TeleMessage's id, where the record has a readable one.
    """

    def __init__(self, fault: str, *, item_id: str | None = None) -> None:
        super().__init__(f"item {item_id}: {fault}" if item_id else fault)
        self.fault = fault
        self.item_id = item_id


class MailboxError(ConnectorError):
    """Say that a mailbox takes nothing at all.

    :param cause: a code of :class:`o2_connector.core.outcomes.Cause`'s kind, for the report.
    """

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause
