"""What can go wrong towards Claude, in our words. No upstream message is passed through."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
import anthropic
import httpx2

from kit.errors import (
    InvalidRequest,
    RateLimited,
    RequestTooLarge,
    SkillgateError,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamTimeout,
)

BROKEN = (anthropic.APIError, httpx2.HTTPError, httpx2.StreamError, json.JSONDecodeError, UnicodeDecodeError)
_LONGEST_RETRY_AFTER = 600


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the error for the caller, its name for the ledger, and whether upstream surely billed nothing."""

    error: SkillgateError
    name: str
    is_unbilled: bool


def of_exception(raised: BaseException) -> Fault:
    """This function will classify what the SDK or its transport raised."""
    if isinstance(raised, anthropic.APIStatusError):
        return _of_status(raised)
    if isinstance(raised, anthropic.APITimeoutError | httpx2.TimeoutException):
        unsent = _never_connected(raised)
        return Fault(UpstreamTimeout("Claude did not answer in time. Try again."), "upstream_timeout", unsent)
    if isinstance(raised, anthropic.APIConnectionError):
        message = "Claude could not be reached. Try again."
        return Fault(UpstreamFailed(message), "upstream_unreachable", _never_connected(raised))
    return Fault(
        UpstreamFailed("Claude's answer broke off or could not be read. Try again."),
        "upstream_broken",
        is_unbilled=False,
    )


def _never_connected(raised: BaseException | None) -> bool:
    """Whether no connection came about, so that nothing was sent.

    The transport calls it a connect error too when a connection that was made is reset; its cause tells.
    """
    while raised is not None:
        if isinstance(raised, aiohttp.ClientConnectorError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return True
        raised = raised.__cause__
    return False


def of_error_event(error_type: str) -> Fault:
    """This function will classify an `error` event inside a stream."""
    if error_type == "overloaded_error":
        return Fault(UpstreamOverloaded("Claude is overloaded. Try again in a moment."), error_type, is_unbilled=False)
    if error_type == "rate_limit_error":
        return Fault(_limited(5), error_type, is_unbilled=False)
    if error_type == "timeout_error":
        return Fault(UpstreamTimeout("Claude did not finish in time. Try again."), error_type, is_unbilled=False)
    return Fault(
        UpstreamFailed("Claude failed in the middle of its answer. Try again."), error_type[:64], is_unbilled=False
    )


def truncated() -> Fault:
    """This function will describe a stream that ended cleanly without saying that it was complete."""
    return Fault(
        UpstreamFailed("Claude's answer ended before it was complete. Try again."),
        "upstream_truncated",
        is_unbilled=False,
    )


@contextmanager
def translated() -> Iterator[None]:
    """This function will turn what the SDK raises inside the block into our errors."""
    try:
        yield
    except BROKEN as raised:
        raise of_exception(raised).error from raised


def _limited(retry_after: int) -> RateLimited:
    return RateLimited(
        "Claude's own rate limit for this platform is reached. Try again later.",
        retry_after=retry_after,
        limit="upstream",
    )


def _of_status(raised: anthropic.APIStatusError) -> Fault:
    name = str(raised.type or f"upstream_{raised.status_code}")[:64]
    # Only Claude's own words prove that nothing was billed; a proxy's error page does not.
    unbilled = raised.type is not None or raised.status_code < 500
    return Fault(_error_of_status(raised), name, unbilled)


def _error_of_status(raised: anthropic.APIStatusError) -> SkillgateError:
    status = raised.status_code
    if status == 529:
        return UpstreamOverloaded("Claude is overloaded. Try again in a moment.", retry_after=_retry_after(raised))
    if status == 429:
        return _limited(_retry_after(raised))
    if status in (408, 504):
        return UpstreamTimeout("Claude did not answer in time. Try again.")
    if status == 413:
        return RequestTooLarge("The request is larger than Claude accepts. Send less text.")
    if status == 400:
        return InvalidRequest(
            "Claude does not accept this request for this model. Check its size, model and parameters.",
            reason="upstream_refused",
        )
    if status in (401, 403):
        return UpstreamFailed(
            "The platform's own credentials were refused by Claude; the operator has to look into it."
        )
    if status == 404:
        return UpstreamFailed("Claude does not know the model of this skill; the operator has to look into it.")
    return UpstreamFailed("Claude failed to answer. Try again.")


def _retry_after(raised: anthropic.APIStatusError) -> int:
    try:
        seconds = float(raised.response.headers.get("retry-after", ""))
    except ValueError:
        return 5
    return int(min(max(seconds, 1.0), _LONGEST_RETRY_AFTER)) if seconds == seconds else 5
