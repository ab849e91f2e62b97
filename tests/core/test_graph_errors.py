"""Graph's errors are judged by what the caller should do."""

from __future__ import annotations

import pytest

from o2_connector.core.errors import ItemError, MailboxError, RetryError, StopError
from o2_connector.core.graph_errors import (
    ANSWER_LOST,
    NO_ANSWER,
    NOT_SENT,
    REMEDIES,
    Verdict,
    effect_unknown,
    error_code,
    failure,
    judge,
)


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (201, None, Verdict.SUCCESS_LIKE),
        (409, "ErrorFolderExists", Verdict.SUCCESS_LIKE),
        (NO_ANSWER, NOT_SENT, Verdict.TRANSIENT),
        (NO_ANSWER, ANSWER_LOST, Verdict.TRANSIENT),
        (408, None, Verdict.TRANSIENT),
        (412, "ErrorIrresolvableConflict", Verdict.TRANSIENT),
        (423, None, Verdict.TRANSIENT),
        (424, None, Verdict.TRANSIENT),
        (429, "ApplicationThrottled", Verdict.TRANSIENT),
        (500, "UnknownError", Verdict.TRANSIENT),
        (503, "ErrorServerBusy", Verdict.TRANSIENT),
        (509, None, Verdict.TRANSIENT),
        (401, "InvalidAuthenticationToken", Verdict.STOP),
        (402, None, Verdict.STOP),
        (403, None, Verdict.STOP),
        (403, "accessDenied", Verdict.STOP),
        (403, "Authorization_RequestDenied", Verdict.STOP),
        (403, "SomethingNew", Verdict.STOP),
        (308, None, Verdict.STOP),
        (403, "ErrorAccessDenied", Verdict.MAILBOX),
        (404, "MailboxNotEnabledForRESTAPI", Verdict.MAILBOX),
        (404, "ErrorFolderNotFound", Verdict.MAILBOX),
        (507, None, Verdict.MAILBOX),
        (400, "BadRequest", Verdict.ITEM),
        (413, None, Verdict.ITEM),
        (422, "UnprocessableType", Verdict.ITEM),
    ],
)
def test_an_answer_is_judged_by_the_reference(status: int, code: str | None, verdict: Verdict) -> None:
    assert judge(status, code) is verdict


def test_a_known_code_counts_for_more_than_its_status() -> None:
    assert judge(403, "ErrorQuotaExceeded") is Verdict.MAILBOX
    assert judge(500, "ErrorCorruptData") is Verdict.ITEM
    assert judge(400, "ErrorServerBusy") is Verdict.TRANSIENT


def test_what_nobody_knows_is_permanent_below_500_and_passes_above() -> None:
    assert judge(418, "SomethingNew") is Verdict.ITEM
    assert judge(599, "SomethingNew") is Verdict.TRANSIENT


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_a_failure_of_the_server_may_hide_a_success(status: int) -> None:
    assert effect_unknown(status, None)


def test_a_request_whose_answer_was_lost_may_have_worked_and_one_that_never_left_has_not() -> None:
    assert effect_unknown(NO_ANSWER, ANSWER_LOST)
    assert not effect_unknown(NO_ANSWER, NOT_SENT)


@pytest.mark.parametrize("status", [423, 424, 429, 509])
def test_a_throttled_request_was_not_executed(status: int) -> None:
    assert not effect_unknown(status, None)


def test_a_503_is_graphs_own_only_when_it_says_when_to_come_back() -> None:
    assert not effect_unknown(503, None, retry_after=1.5)
    assert effect_unknown(503, None)


def test_a_refusal_is_no_secret_success() -> None:
    assert not effect_unknown(500, "ErrorItemCorrupt")
    assert not effect_unknown(400, "BadRequest")


def test_a_nested_code_that_is_known_counts_for_more_than_a_general_one_around_it() -> None:
    body = {"error": {"code": "BadRequest", "innerError": {"code": "ErrorQuotaExceeded"}}}

    assert error_code(body) == "ErrorQuotaExceeded"


def test_an_unknown_code_is_named_from_the_outside() -> None:
    body = {"error": {"code": "SomethingNew", "innererror": {"code": "SomethingNewer"}}}

    assert error_code(body) == "SomethingNew"


@pytest.mark.parametrize(
    "body",
    [None, [], "x", {}, {"error": "x"}, {"error": {"code": 7}}, {"error": {"code": "no mailbox for a@example.com"}}],
)
def test_what_is_no_code_is_not_repeated(body: object) -> None:
    assert error_code(body) is None


def test_a_transient_answer_becomes_a_retry_with_its_wait() -> None:
    error = failure("a message was created", status=429, code="TooManyRequests", request_id="r-1", retry_after=7.5)

    assert isinstance(error, RetryError)
    assert error.retry_after == 7.5
    assert str(error) == "a message was created: 429 TooManyRequests (Graph's request r-1)"


def test_an_answer_about_the_mailbox_carries_its_code_as_cause() -> None:
    error = failure("a message was created", status=507, code="ErrorQuotaExceeded")

    assert isinstance(error, MailboxError)
    assert error.cause == "ErrorQuotaExceeded"


def test_an_answer_about_the_item_carries_its_code_as_fault() -> None:
    error = failure("a message was created", status=413, code=None)

    assert isinstance(error, ItemError)
    assert error.fault == "HTTP 413"


def test_a_message_beyond_the_tenants_limit_fails_alone_and_the_remedy_names_the_setting() -> None:
    error = failure("a part of an attachment was uploaded", status=413, code="ErrorMessageSizeExceeded")

    assert isinstance(error, ItemError)
    assert "O2_MESSAGE_LIMIT_MB" in REMEDIES[error.fault]


def test_a_mailbox_out_of_scope_is_set_aside_with_cause_and_remedy() -> None:
    error = failure("a message was created", status=403, code="ErrorAccessDenied")

    assert isinstance(error, MailboxError)
    assert error.cause == "ErrorAccessDenied"
    assert "Mail.ReadWrite" in str(error)


def test_a_missing_permission_stops_with_its_name() -> None:
    error = failure("a user was looked up", status=403, code="Authorization_RequestDenied")

    assert isinstance(error, StopError)
    assert "User.Read.All" in str(error)
