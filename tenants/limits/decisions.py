"""An admitted call's limits for its headers, and a refused one's way out."""

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from kit.errors import RateLimited
from tenants.limits.verdicts import MINUTE, ROUNDING, Allowance, Verdict

Source = Literal["shared", "local"]
Reason = Literal["requests_per_minute", "tokens_per_minute", "concurrent_calls"]

_NEVER_RETRY_AFTER = 3600  # every 429 carries Retry-After; for what can never pass it is long on purpose


class Window(NamedTuple):
    """One limit as it stands: `reset_after` is in how many seconds all of it is there again."""

    limit: int
    remaining: int
    reset_after: float


class Decision(NamedTuple):
    """What was decided about a call, by Redis for all processes (`shared`) or by this one alone (`local`)."""

    requests: Window
    tokens: Window
    concurrent: Window
    at: datetime
    source: Source

    def headers(self) -> dict[str, str]:
        """Render the limits as headers, in Anthropic's names and as the IETF's RateLimit fields."""
        headers = {
            "RateLimit-Policy": _policy(self.requests.limit, self.tokens.limit, self.concurrent.limit),
            "RateLimit": (
                f'"requests";r={self.requests.remaining};t={math.ceil(self.requests.reset_after)}, '
                f'"tokens";r={self.tokens.remaining};t={math.ceil(self.tokens.reset_after)}, '
                f'"concurrent";r={self.concurrent.remaining}'
            ),
        }
        at = self.at.timestamp()
        for name, window in (("requests", self.requests), ("tokens", self.tokens)):
            headers[f"anthropic-ratelimit-{name}-limit"] = str(window.limit)
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(window.remaining)
            headers[f"anthropic-ratelimit-{name}-reset"] = _rfc3339(math.ceil(round(at + window.reset_after, 6)))
        if self.source == "local":
            headers["x-skillgate-limits"] = "local"
        return headers


@lru_cache(maxsize=256)  # limits of keys are alike
def _policy(requests: int, tokens: int, concurrent: int) -> str:
    return (
        f'"requests";q={requests};w=60, "tokens";q={tokens};w=60;qu="tokens", '
        f'"concurrent";q={concurrent};qu="concurrent-requests"'
    )


@lru_cache(maxsize=256)  # many calls of a second tell the same
def _rfc3339(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def decision(verdict: Verdict, *, allowance: Allowance, source: Source) -> Decision:
    """Put a verdict in the terms of the limits."""
    return Decision(
        requests=_window(allowance.requests, verdict.requests_ahead),
        tokens=_window(allowance.tokens, verdict.tokens_ahead),
        concurrent=Window(allowance.concurrent, max(0, allowance.concurrent - verdict.running), 0.0),
        at=verdict.at,
        source=source,
    )


def _window(limit: int, ahead: float) -> Window:
    # Rounded down, so that a call of exactly that size passes; half of the rounding that counting itself allows.
    return Window(limit, max(0, math.floor(limit - ahead * limit / MINUTE + ROUNDING / 2)), ahead)


def reason(verdict: Verdict, *, allowance: Allowance, tokens: int) -> Reason:
    """Name the limit that refused: the one that takes longest to give way."""
    if tokens > allowance.tokens:
        return "tokens_per_minute"
    if verdict.running >= allowance.concurrent:
        return "concurrent_calls"
    return "requests_per_minute" if verdict.requests_wait > verdict.tokens_wait else "tokens_per_minute"


def refusal(verdict: Verdict, *, allowance: Allowance, tokens: int, source: Source, next_probe: float) -> RateLimited:
    """Make the error for a refused call; each thing it suggests would pass when done next."""
    made = decision(verdict, allowance=allowance, source=source)
    why = reason(verdict, allowance=allowance, tokens=tokens)
    if tokens > allowance.tokens:
        return _too_large(made, tokens=tokens, next_probe=next_probe)
    wait = max(1, math.ceil(max(verdict.requests_wait, verdict.tokens_wait)))
    if why == "concurrent_calls":
        after = f" and {wait} s have passed" if wait > 1 else ""
        used, way_out = verdict.running, f"Wait until one of the running calls has ended{after}."
        return _error(
            made, why=why, used=used, way_out=way_out, retry_after=wait, would_pass={"after_a_running_call_ends": True}
        )
    would_pass: dict[str, Any] = {"after_seconds": wait}
    way_out = f"This call passes in {wait} s."
    if why == "tokens_per_minute" and verdict.requests_wait <= 0 and made.tokens.remaining > 0:
        would_pass["tokens_now"] = made.tokens.remaining
        way_out = f"A call of at most {made.tokens.remaining} tokens passes now, this one of {tokens} in {wait} s."
    window = made.requests if why == "requests_per_minute" else made.tokens
    return _error(
        made, why=why, used=window.limit - window.remaining, way_out=way_out, retry_after=wait, would_pass=would_pass
    )


def _too_large(made: Decision, *, tokens: int, next_probe: float) -> RateLimited:
    """A call over the whole minute's allowance passes at no time, or, under a local share, once Redis is back."""
    is_passing = made.source == "local"
    largest = made.tokens.limit
    return _error(
        made,
        why="tokens_per_minute",
        used=largest - made.tokens.remaining,
        way_out=f"This call counts {tokens} tokens and never passes; send one of at most {largest}, for example with a "
        "smaller `max_tokens`, or have the key's limit raised."
        if not is_passing
        else f"Only part of the limit is available for the moment; send a call of at most {largest} tokens or try later.",
        retry_after=max(1, math.ceil(next_probe)) if is_passing else _NEVER_RETRY_AFTER,
        would_pass={"largest_tokens": largest},
        never=not is_passing,
    )


def _error(
    made: Decision,
    *,
    why: Reason,
    used: int,
    way_out: str,
    retry_after: int,
    would_pass: dict[str, Any],
    never: bool = False,
) -> RateLimited:
    limit = {
        "requests_per_minute": made.requests.limit,
        "tokens_per_minute": made.tokens.limit,
        "concurrent_calls": made.concurrent.limit,
    }[why]
    headers = made.headers() | ({"x-should-retry": "false"} if never else {})
    return RateLimited(
        f"The key's limit of {limit} {why.replace('_', ' ')} is reached ({used} used). {way_out}"
        if not never
        else f"The key's limit is {limit} {why.replace('_', ' ')}. {way_out}",
        retry_after=retry_after,
        headers=headers,
        reason=why,
        limit=limit,
        used=used,
        would_pass=would_pass,
        never=never,
        source=made.source,
    )
