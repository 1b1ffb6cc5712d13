"""The rate-limit headers of every answer; the limits are told, never enforced, so they are beyond what anyone asks."""

from __future__ import annotations

from datetime import UTC, datetime

_REQUESTS = 10_000_000
_TOKENS = {"input-tokens": 2_000_000_000, "output-tokens": 400_000_000, "tokens": 2_400_000_000}


class RateLimits:
    """Counts the requests of the running minute."""

    def __init__(self) -> None:
        self._minute = -1
        self._used = 0
        self._fixed = b""

    def headers(self, *, now: float) -> bytes:
        """Return the header lines for a request that arrives now."""
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._used = minute, 0
            self._fixed = _fixed(minute)
        self._used += 1
        remaining = max(0, _REQUESTS - self._used)
        return b"%banthropic-ratelimit-requests-remaining: %d\r\n" % (self._fixed, remaining)


def _fixed(minute: int) -> bytes:
    reset = datetime.fromtimestamp((minute + 1) * 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = {"requests-limit": _REQUESTS, "requests-reset": reset}
    for name, limit in _TOKENS.items():
        found |= {f"{name}-limit": limit, f"{name}-remaining": limit, f"{name}-reset": reset}
    return "".join(f"anthropic-ratelimit-{name}: {value}\r\n" for name, value in found.items()).encode()
