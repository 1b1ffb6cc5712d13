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
        self._fixed: list[tuple[bytes, bytes]] = []

    def headers(self, *, now: float) -> list[tuple[bytes, bytes]]:
        """Return the headers for a request that arrives now."""
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._used = minute, 0
            self._fixed = _fixed(minute)
        self._used += 1
        remaining = str(max(0, _REQUESTS - self._used)).encode()
        return [*self._fixed, (b"anthropic-ratelimit-requests-remaining", remaining)]


def _fixed(minute: int) -> list[tuple[bytes, bytes]]:
    reset = datetime.fromtimestamp((minute + 1) * 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    found = [
        (b"anthropic-ratelimit-requests-limit", str(_REQUESTS).encode()),
        (b"anthropic-ratelimit-requests-reset", reset),
    ]
    for name, limit in _TOKENS.items():
        prefix = b"anthropic-ratelimit-" + name.encode()
        value = str(limit).encode()
        found += [(prefix + b"-limit", value), (prefix + b"-remaining", value), (prefix + b"-reset", reset)]
    return found
