"""Every refusal the platform can give: one base class, a closed family, one wire form.

The wire form is Anthropic's error envelope, so that its SDKs parse ours
(https://docs.anthropic.com/en/api/errors):
`{"type": "error", "error": {"type", "message", …details}, "request_id"}`.
"""

from typing import Any, ClassVar


class SkillgateError(Exception):
    """A refusal that a caller may read: `message` says what happened and what to do.

    `details` join the error object on the wire; `headers` join the HTTP response.
    """

    type: ClassVar[str] = "api_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, headers: dict[str, str] | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.headers = headers or {}
        self.details = details

    def envelope(self, *, request_id: str | None) -> dict[str, Any]:
        """Render the error as it goes over every wire."""
        error = {**self.details, "type": self.type, "message": self.message}
        return {"type": "error", "error": error, "request_id": request_id}


class InvalidRequest(SkillgateError):
    """What was sent cannot be understood or does not fit the skill's schema."""

    type = "invalid_request_error"
    status = 400


class AuthenticationFailed(SkillgateError):
    """No usable key. Always the same words, whatever the reason."""

    type = "authentication_error"
    status = 401

    def __init__(self) -> None:
        super().__init__(
            "The API key is missing or not valid. Send it as `Authorization: Bearer sg_…` or `X-API-Key: sg_…`.",
            headers={"WWW-Authenticate": 'Bearer realm="skillgate"'},
        )


class BudgetExceeded(SkillgateError):
    """The call does not fit what is left of a budget."""

    type = "billing_error"
    status = 402


class NotAllowed(SkillgateError):
    """The key is good but lacks the scope for this."""

    type = "permission_error"
    status = 403


class NotFound(SkillgateError):
    """Absent, or another tenant's: the same answer."""

    type = "not_found_error"
    status = 404


class MethodNotAllowed(SkillgateError):
    """The URL exists, the verb does not."""

    type = "invalid_request_error"
    status = 405


class NotAcceptable(SkillgateError):
    """None of the media types the client accepts can be produced."""

    type = "invalid_request_error"
    status = 406


class Conflict(SkillgateError):
    """The object's state, or a call still in flight, stands against this one."""

    type = "conflict_error"
    status = 409


class StreamGap(SkillgateError):
    """Some of a stream is no longer kept, so that it cannot be continued without a gap."""

    type = "gap_error"
    status = 410


class RequestTooLarge(SkillgateError):
    """The body is over the size limit."""

    type = "request_too_large"
    status = 413


class UnsupportedMediaType(SkillgateError):
    """The body is not in a media type this endpoint reads."""

    type = "invalid_request_error"
    status = 415


class IdempotencyMismatch(SkillgateError):
    """The Idempotency-Key was used before with another body."""

    type = "invalid_request_error"
    status = 422


class RateLimited(SkillgateError):
    """Over a rate limit; `retry_after` is whole seconds, at least 1."""

    type = "rate_limit_error"
    status = 429

    def __init__(
        self, message: str, *, retry_after: int, headers: dict[str, str] | None = None, **details: Any
    ) -> None:
        super().__init__(
            message,
            headers={**(headers or {}), "Retry-After": str(max(1, retry_after))},
            retry_after=max(1, retry_after),
            **details,
        )


class UpstreamFailed(SkillgateError):
    """Claude refused or broke; nothing of its message is passed through."""

    type = "api_error"
    status = 502


class Unavailable(SkillgateError):
    """A part of the platform is down or full; trying again later helps.

    `may_be_done`: no answer came, and what was asked may have been done, or be done yet.
    """

    type = "api_error"
    status = 503
    may_be_done = False

    def __init__(self, message: str, *, retry_after: int = 5, **details: Any) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)}, retry_after=retry_after, **details)


class UpstreamTimeout(SkillgateError):
    """Claude did not answer in time."""

    type = "timeout_error"
    status = 504


class UpstreamOverloaded(SkillgateError):
    """Claude is overloaded."""

    type = "overloaded_error"
    status = 529

    def __init__(self, message: str, *, retry_after: int = 5, **details: Any) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)}, retry_after=retry_after, **details)


class OutputInvalid(SkillgateError):
    """Claude answered, but not in the form the skill promises, and the repair did not help either."""

    type = "api_error"
    status = 502


class OutputBlocked(SkillgateError):
    """Claude answered, and what it said may not go out by the skill's own checks; the call is billed."""

    type = "invalid_request_error"
    status = 422
