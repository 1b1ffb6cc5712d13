"""What can go wrong towards Claude, in our words. No upstream message is passed through."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Literal

import httpx2

from kit import clock
from kit.errors import (
    InvalidRequest,
    RateLimited,
    RequestTooLarge,
    SkillgateError,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import anthropic

Phase = Literal["connect", "first_token", "between_tokens", "total"]
_LONGEST_RETRY_AFTER = 600
_MOST_SECONDS = 1e9
_PASSING = (408, 409, 429)
_LATE: dict[Phase, str] = {
    "connect": "No connection to Claude came about in time.",
    "first_token": "Claude did not begin its answer in time.",
    "between_tokens": "Claude fell silent in the middle of its answer.",
    "total": "Claude did not finish its answer in time.",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the error for the caller, its name for the ledger, and what it tells those who try again.

    `is_unbilled`: upstream surely billed nothing. `is_passing`: another attempt can help, after `retry_after`
    seconds if Claude named them. `is_outage`: Claude itself is unwell. `is_limited`: it asks for less,
    because its rate limit is reached or it is overloaded.
    """

    error: SkillgateError
    name: str
    is_unbilled: bool
    is_passing: bool = False
    is_outage: bool = False
    is_limited: bool = False
    retry_after: float | None = None


@cache
def broken() -> tuple[type[Exception], ...]:
    """Return what a call may raise, from the SDK down to the bytes."""
    import anthropic  # noqa: PLC0415 - most of a second, for those alone who call Claude

    return (anthropic.APIError, httpx2.HTTPError, httpx2.StreamError, json.JSONDecodeError, UnicodeDecodeError)


def of_exception(raised: BaseException, *, phase: Phase = "first_token", is_own_key: bool = False) -> Fault:
    """Classify what the SDK or its transport raised in a phase of a call."""
    import anthropic  # noqa: PLC0415 - loaded by who called

    if isinstance(raised, anthropic.APIStatusError):
        return _of_status(raised, is_own_key=is_own_key)
    if isinstance(raised, anthropic.APITimeoutError | httpx2.TimeoutException):
        return late("connect" if _never_connected(raised) else phase)
    if isinstance(raised, anthropic.APIConnectionError):
        message = "Claude could not be reached. Try again."
        return Fault(
            UpstreamFailed(message), "upstream_unreachable", _never_connected(raised), is_passing=True, is_outage=True
        )
    return Fault(
        UpstreamFailed("Claude's answer broke off or could not be read. Try again."),
        "upstream_broken",
        is_unbilled=False,
        is_passing=isinstance(raised, httpx2.HTTPError),  # the connection broke; what cannot be read stays so
    )


def late(phase: Phase) -> Fault:
    """Describe a call whose time ran out in a phase; only the connection is worth another attempt."""
    return Fault(
        UpstreamTimeout(f"{_LATE[phase]} Try again.", phase=phase),
        "upstream_timeout",
        is_unbilled=phase == "connect",
        is_passing=phase == "connect",
        is_outage=phase in ("connect", "first_token"),
    )


def _never_connected(raised: BaseException | None) -> bool:
    """Whether no connection came about, so that nothing was sent.

    The transport calls it a connect error too when a connection that was made is reset; its cause tells.
    """
    import aiohttp  # noqa: PLC0415 - loaded by who called

    while raised is not None:
        if isinstance(raised, aiohttp.ClientConnectorError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return True
        raised = raised.__cause__
    return False


def of_error_event(error_type: str) -> Fault:
    """Classify an `error` event inside a stream."""
    if error_type == "overloaded_error":
        overloaded = UpstreamOverloaded("Claude is overloaded. Try again in a moment.")
        return Fault(overloaded, error_type, is_unbilled=False, is_passing=True, is_outage=True, is_limited=True)
    if error_type == "rate_limit_error":
        return Fault(_limited(5), error_type, is_unbilled=False, is_passing=True, is_limited=True)
    if error_type == "timeout_error":
        slow = UpstreamTimeout("Claude did not finish in time. Try again.")
        return Fault(slow, error_type, is_unbilled=False, is_passing=True, is_outage=True)
    is_api_error = error_type == "api_error"
    return Fault(
        UpstreamFailed("Claude failed in the middle of its answer. Try again."),
        error_type[:64],
        is_unbilled=False,
        is_passing=is_api_error,
        is_outage=is_api_error,
    )


def truncated() -> Fault:
    """Describe a stream that ended cleanly without saying that it was complete."""
    return Fault(
        UpstreamFailed("Claude's answer ended before it was complete. Try again."),
        "upstream_truncated",
        is_unbilled=False,
        is_passing=True,
    )


@contextmanager
def translated(*, is_own_key: bool = False) -> Iterator[None]:
    """Turn what the SDK raises inside the block into our errors."""
    try:
        yield
    except broken() as raised:
        raise of_exception(raised, is_own_key=is_own_key).error from raised


def _limited(retry_after: int) -> RateLimited:
    return RateLimited(
        "Claude's own rate limit for this platform is reached. Try again later.",
        retry_after=retry_after,
        limit="upstream",
    )


def _of_status(raised: anthropic.APIStatusError, *, is_own_key: bool) -> Fault:
    status = raised.status_code
    name = str(raised.type or f"upstream_{raised.status_code}")[:64]
    # Only Claude's own words prove that nothing was billed; a proxy's error page does not.
    unbilled = raised.type is not None or status < 500
    return Fault(
        _refused_key(is_own_key=is_own_key) if status in (401, 403) else _error_of_status(raised),
        name,
        unbilled,
        is_passing=(status in _PASSING or status >= 500) and raised.response.headers.get("x-should-retry") != "false",
        is_outage=status >= 500,
        is_limited=status in (429, 529),
        retry_after=_asked_to_wait(raised),
    )


def _refused_key(*, is_own_key: bool) -> SkillgateError:
    if is_own_key:
        return UpstreamFailed(
            "Claude refused the tenant's own Anthropic key. Ask the tenant's owner to replace it.",
            reason="provider_key_refused",
        )
    return UpstreamFailed("The platform's own credentials were refused by Claude; the operator has to look into it.")


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
    if status == 404:
        return UpstreamFailed("Claude does not know the model of this skill; the operator has to look into it.")
    return UpstreamFailed("Claude failed to answer. Try again.")


def _retry_after(raised: anthropic.APIStatusError) -> int:
    seconds = _asked_to_wait(raised)
    return 5 if seconds is None else int(min(max(ceil(seconds), 1), _LONGEST_RETRY_AFTER))


def _asked_to_wait(raised: anthropic.APIStatusError) -> float | None:
    """Seconds, or a date, as the header may be either; nothing for what is neither."""
    told = raised.response.headers.get("retry-after", "")
    try:
        seconds = float(told)
    except ValueError:
        return _until(told)
    return seconds if 0 <= seconds < _MOST_SECONDS else None


def _until(date: str) -> float | None:
    try:
        return max(0.0, (parsedate_to_datetime(date) - clock.now()).total_seconds())
    except (TypeError, ValueError):  # a date without a time zone cannot be compared
        return None
