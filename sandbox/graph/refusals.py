"""What Graph answers when it refuses: a status, a code to branch on and a message for people."""

from __future__ import annotations


class Refused(Exception):
    """Carry one refusal from the rule that made it to the answer's error envelope."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def not_served(what: str) -> Refused:
    """Refuse a path that is no path of Graph's, or none that the sandbox serves, in Graph's words for it."""
    return Refused(400, "BadRequest", f"Resource not found for the segment '{what}'.")


def item_not_found() -> Refused:
    """Refuse an id that names nothing in this mailbox (Exchange's response code, which Graph passes on)."""
    return Refused(404, "ErrorItemNotFound", "The specified object was not found in the store.")


def malformed_id() -> Refused:
    """Refuse a text that cannot be an id at all (Exchange's response code)."""
    return Refused(400, "ErrorInvalidIdMalformed", "Id is malformed.")


def access_denied() -> Refused:
    """Refuse what the application's mail permissions, or the scope that confines them, do not cover."""
    return Refused(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
