"""What work waits for: money in the envelope, a free rate limit, the end of trouble that passes."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from kit.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    NotAllowed,
    OutputInvalid,
    RateLimited,
    SkillgateError,
    Unavailable,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamTimeout,
)
from skills.analyses import envelope, states
from skills.analyses.holds import Failed, Hold, Lost, Paused, Yielded

Counting = Callable[[], Awaitable[tuple[int, int] | None]]
PASSING = (RateLimited, UpstreamOverloaded, UpstreamFailed, UpstreamTimeout, Unavailable)
_MOST_FAILURES = 8
_LONGEST_PAUSE = 60.0
_LONGEST_WAIT_HERE = 20.0  # a longer wait is spent in the queue, not in a worker
_BUDGET_RETRY_SECONDS = 30.0
_ENVELOPE_RETRY_SECONDS = 365 * 86_400.0  # an envelope grows by request alone


async def hold_money(
    hold: Hold, place: envelope.Place, *, run_id: UUID, bound: tuple[int, int], count: Counting | None = None
) -> envelope.Held:
    """Hold what a call may use, and return it; while others are under way what they leave over may still come free.

    `bound` is in tokens and micro-dollars. What is left at the end may be enough for the exact `count`
    where it is not for the bound. Raises `Paused` when the envelope is spent, and `Lost`.
    """
    tokens, micros = bound
    while (held := await envelope.hold(place, run_id=run_id, tokens=tokens, micros=micros)) is None:
        if not await states.renew(hold.id, fence=hold.fence):
            raise Lost
        if not hold.flights:
            exact, count = (await count() if count is not None else None), None
            if exact is not None and exact[0] < tokens:
                tokens, micros = exact
                continue
            raise Paused(states.reason(envelope.spent(tokens, micros)), retry_after=_ENVELOPE_RETRY_SECONDS)
        await hold.sleep(0.3)
    return held


async def wait_for_rate(hold: Hold, limited: RateLimited, *, failures: int) -> None:
    """Wait until a rate limit lets the next call through, here or in the queue."""
    if limited.details.get("never"):
        raise failed(limited) from limited
    if failures >= _MOST_FAILURES:
        raise Yielded(after=_LONGEST_PAUSE, failures=1) from limited
    wait = float(limited.details["retry_after"])
    if wait > _LONGEST_WAIT_HERE:
        raise Yielded(after=min(wait, 600.0)) from limited
    await hold.sleep(wait)


async def wait_out(hold: Hold, trouble: SkillgateError, *, failures: int) -> None:
    """Wait until trouble has had time to pass; raises `Failed` when it will not."""
    if failures >= _MOST_FAILURES:
        raise failed(trouble) from trouble
    wait = max(float(trouble.details.get("retry_after", 0)), 0.5 * 2**failures)
    await hold.sleep(min(wait, _LONGEST_PAUSE))


def verdict(error: SkillgateError) -> Failed | Paused:
    """Say how an analysis is left whose next step was refused for good."""
    if isinstance(error, BudgetExceeded):
        return Paused(states.reason(error), retry_after=_BUDGET_RETRY_SECONDS)
    if isinstance(error, AuthenticationFailed):
        message = "The key that the analysis was submitted with may not be used any more. Submit it again with another."
        return Failed({"type": error.type, "reason": "key_inactive", "message": message})
    return failed(error)


def failed(error: SkillgateError) -> Failed:
    """Say that work ends for this reason."""
    kept = states.reason(error)
    if isinstance(error, OutputInvalid | NotAllowed):
        kept.setdefault("reason", "output_invalid" if isinstance(error, OutputInvalid) else "not_allowed")
    return Failed(kept)
