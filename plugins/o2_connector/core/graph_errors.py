"""Microsoft Graph's errors, judged by what the caller should do. Codes count, never messages.

Sources: Microsoft Graph "Error responses and resource types" (concepts/errors) and the Exchange response codes that
Graph passes through (EWS reference, ResponseCode).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from o2_connector.core.errors import ConnectorError, ItemError, MailboxError, RetryError, StopError

NO_ANSWER = 0
"""The status of a request to which no answer came."""

NOT_SENT = "NotSent"
"""The code of a request that never reached Graph: no connection, no token."""

ANSWER_LOST = "AnswerLost"
"""The code of a request that was sent, and whose answer did not arrive or cannot be read."""


class Verdict(StrEnum):
    """Say what an answer means for the work at hand."""

    TRANSIENT = "transient"
    ITEM = "item"
    MAILBOX = "mailbox"
    STOP = "stop"
    SUCCESS_LIKE = "success_like"


_BY_CODE = {
    code: verdict
    for verdict, codes in {
        Verdict.TRANSIENT: (
            "ApplicationThrottled",
            "ErrorADUnavailable",
            "ErrorBatchProcessingStopped",
            "ErrorConnectionFailed",
            "ErrorExceededConnectionCount",
            "ErrorInternalServerTransientError",
            "ErrorIrresolvableConflict",
            "ErrorMailboxFailover",
            "ErrorMailboxMoveInProgress",
            "ErrorMailboxStoreUnavailable",
            "ErrorNotEnoughMemory",
            "ErrorServerBusy",
            "ErrorTimeoutExpired",
            "ErrorTooManyObjectsOpened",
            "MailboxInfoStale",
            "ServiceUnavailable",
            "TooManyRequests",
            "serviceNotAvailable",
        ),
        Verdict.STOP: (
            "Authorization_RequestDenied",
            "InvalidAuthenticationToken",
            "accessDenied",
            "insufficient_claims",
        ),
        Verdict.MAILBOX: (
            "ErrorAccessDenied",  # this one lies outside of the application's scope; the others go on
            "ErrorFolderNotFound",
            "ErrorInvalidUser",
            "ErrorMessagePerFolderCountReceiveQuotaExceeded",
            "ErrorNonExistentMailbox",
            "ErrorQuotaExceeded",
            "MailboxNotEnabledForRESTAPI",
            "Request_ResourceNotFound",
            "ResourceNotFound",
            "extensionError",
            "quotaLimitReached",
        ),
        Verdict.ITEM: (
            "ErrorAttachmentSessionIsSupportedOnlyForFileAttachments",
            "ErrorContentConversionFailed",
            "ErrorCorruptData",
            "ErrorInvalidProperty",
            "ErrorInvalidRecipients",
            "ErrorInvalidRequest",
            "ErrorItemCorrupt",
            "ErrorMessageSizeExceeded",
            "ErrorMimeContentInvalid",
            "ErrorMimeContentInvalidBase64String",
            "InvalidInternetMessageHeader",
            "InvalidInternetMessageHeaderCollection",
            "UnableToDeserializePostBody",
            "UnprocessableType",
            "invalidRequest",
            "malwareDetected",
        ),
        Verdict.SUCCESS_LIKE: ("ErrorFolderExists",),
    }.items()
    for code in codes
}

_BY_STATUS = {
    NO_ANSWER: Verdict.TRANSIENT,
    HTTPStatus.UNAUTHORIZED: Verdict.STOP,
    HTTPStatus.PAYMENT_REQUIRED: Verdict.STOP,
    HTTPStatus.FORBIDDEN: Verdict.STOP,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: Verdict.STOP,
    HTTPStatus.REQUEST_TIMEOUT: Verdict.TRANSIENT,
    HTTPStatus.PRECONDITION_FAILED: Verdict.TRANSIENT,  # the message's change key moved on
    HTTPStatus.LOCKED: Verdict.TRANSIENT,
    HTTPStatus.FAILED_DEPENDENCY: Verdict.TRANSIENT,  # in a batch: the request it waited for failed
    HTTPStatus.TOO_MANY_REQUESTS: Verdict.TRANSIENT,
    HTTPStatus.INSUFFICIENT_STORAGE: Verdict.MAILBOX,
}

# What throttles says so before it works; everything else of 5xx may have worked and then failed to say so.
_NOT_EXECUTED = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.LOCKED, HTTPStatus.FAILED_DEPENDENCY, 509}

REMEDIES = {
    "Authorization_RequestDenied": "grant the application permission User.Read.All with admin consent",
    "ErrorAccessDenied": "grant the application Mail.ReadWrite for this mailbox (RBAC for Applications or admin "
    "consent); a new grant takes up to two hours to reach every server",
    "ErrorMessageSizeExceeded": "lower O2_MESSAGE_LIMIT_MB to the tenant's limit and run the window again: a message "
    "that names what did not fit takes its place; or raise the tenant's limit (35 MB unless set, at most 150)",
    "ErrorNonExistentMailbox": "give the user a mailbox again, or correct the mapping",
    "ErrorQuotaExceeded": "enlarge the mailbox or its archive, or free named properties if these are used up",
    "MailboxNotEnabledForRESTAPI": "give the user an Exchange Online mailbox, or correct the mapping",
    "InvalidAuthenticationToken": "check that tenant_id and cloud belong together, and this machine's clock",
}
"""What an administrator can do about a code."""

_ANY_REMEDY = "check the application's permissions and the tenant's licences"


def judge(status: int, code: str | None) -> Verdict:
    """Say what to do about an answer; its code counts for more than its status, and an unknown one by its class."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Verdict.SUCCESS_LIKE
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < HTTPStatus.BAD_REQUEST:  # a redirect: whoever answers there is not the Graph that was configured
        return Verdict.STOP
    return Verdict.ITEM if status < HTTPStatus.INTERNAL_SERVER_ERROR else Verdict.TRANSIENT


def effect_unknown(status: int, code: str | None, *, retry_after: float | None = None) -> bool:
    """Tell whether a request that was answered thus may have been executed all the same.

    Graph has no idempotency key for messages: such a request must not be sent again before the mailbox was asked. A
    503 that says when to come back is Graph's own throttle; one that does not may be any gateway's on the way.
    """
    if judge(status, code) is not Verdict.TRANSIENT or status in _NOT_EXECUTED:
        return False
    if status == NO_ANSWER:
        return code != NOT_SENT
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return retry_after is None
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT


def error_code(body: Any) -> str | None:
    """Return the telling code of an error's JSON: the first one that is known, from the outermost inwards.

    A code that does not look like one is not repeated: it might hold what must not reach a log.
    """
    codes = list(_codes(body.get("error"))) if isinstance(body, dict) else []
    return next((code for code in codes if code in _BY_CODE), codes[0] if codes else None)


def failure(
    what: str,
    *,
    status: int,
    code: str | None,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> ConnectorError:
    """Make the error that an answer calls for.

    :param what: what was asked for, in words; no address and no URL.
    """
    name = code or f"HTTP {status}"
    answered = " ".join(filter(None, [str(status) if status else "no answer", code]))
    message = f"{what}: {answered}" + (f" (Graph's request {request_id})" if request_id else "")
    remedy = REMEDIES.get(name)
    match judge(status, code):
        case Verdict.TRANSIENT:
            return RetryError(message, retry_after=retry_after)
        case Verdict.MAILBOX:
            return MailboxError(f"{message}; {remedy}" if remedy else message, cause=name)
        case Verdict.STOP:
            return StopError(f"{message}; {remedy or _ANY_REMEDY}")
        case _:  # also a success-like answer where it is none: whoever asked for this one thing did not get it
            return ItemError(name)


def _codes(error: Any) -> Iterator[str]:
    while isinstance(error, dict):
        code = error.get("code")
        if isinstance(code, str) and re.fullmatch(r"[A-Za-z0-9_.]{1,100}", code):
            yield code
        error = error.get("innerError") or error.get("innererror")
