"""Counting in this process alone, by the same rules as the shared script, for while Redis is in trouble."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from kit import clock
from tenants.limits.verdicts import LEASE_SECONDS, MINUTE, ROUNDING, Allowance, Verdict

_MOST_IDLE = 10_000


@dataclass(slots=True)
class _Call:
    lease_ends: float
    tokens: int


@dataclass(slots=True)
class _Family:
    requests_at: float = 0.0
    tokens_at: float = 0.0
    calls: dict[str, _Call] = field(default_factory=dict)

    def is_idle(self, now: float) -> bool:
        return self.requests_at <= now and self.tokens_at <= now and not self.calls


def _wait(ahead: float, unit: float, *, amount: int, limit: int) -> float:
    wait = ahead + unit * (amount - limit)
    return 0.0 if wait <= unit * ROUNDING + 2e-8 else wait


class Shares:
    """GCRA for requests and tokens and leases for running calls, per family, all or nothing."""

    def __init__(
        self, *, monotonic: Callable[[], float] = clock.monotonic, now: Callable[[], datetime] = clock.now
    ) -> None:
        self._monotonic = monotonic
        self._now = now
        self._families: dict[int, _Family] = {}
        self._lock = threading.Lock()

    def __contains__(self, family_id: int) -> bool:
        """Whether anything of a family was counted here."""
        return family_id in self._families

    def take(self, family_id: int, *, allowance: Allowance, tokens: int, call_id: str) -> Verdict:
        """Admit a call and charge it, or refuse it and charge nothing; a known call is admitted again."""
        with self._lock:
            now = self._monotonic()
            family = self._family(family_id, now)
            request_cost, token_cost = MINUTE / allowance.requests, MINUTE / allowance.tokens
            requests_ahead, tokens_ahead = max(0.0, family.requests_at - now), max(0.0, family.tokens_at - now)
            requests_wait = _wait(requests_ahead, request_cost, amount=1, limit=allowance.requests)
            tokens_wait = _wait(tokens_ahead, token_cost, amount=tokens, limit=allowance.tokens)
            is_known = call_id in family.calls
            fits = tokens <= allowance.tokens and requests_wait == tokens_wait == 0
            if not is_known and fits and len(family.calls) < allowance.concurrent:
                requests_ahead, tokens_ahead = requests_ahead + request_cost, tokens_ahead + token_cost * tokens
                family.requests_at, family.tokens_at = now + requests_ahead, now + tokens_ahead
                family.calls[call_id] = _Call(lease_ends=now + LEASE_SECONDS, tokens=tokens)
                is_known = True
            return Verdict(
                is_known, self._now(), len(family.calls), requests_ahead, tokens_ahead, requests_wait, tokens_wait
            )

    def finish(self, family_id: int, *, allowance: Allowance, tokens: int, requests: int, call_id: str) -> int:
        """End a call's lease and give back up to what it was charged; returns the tokens."""
        with self._lock:
            family = self._families.get(family_id)
            call = family.calls.pop(call_id, None) if family else None
            if family is None or call is None:
                return 0
            back = min(tokens, call.tokens)
            family.tokens_at -= MINUTE / allowance.tokens * back
            family.requests_at -= MINUTE / allowance.requests * requests
            return back

    def renew(self, family_id: int, call_id: str) -> None:
        """Renew the lease of a call that was taken here."""
        with self._lock:
            family = self._families.get(family_id)
            call = family.calls.get(call_id) if family else None
            if call is not None:
                call.lease_ends = self._monotonic() + LEASE_SECONDS

    def _family(self, family_id: int, now: float) -> _Family:
        if len(self._families) >= _MOST_IDLE and family_id not in self._families:
            # Only idle ones go: they say no more than a new one, so nobody gets a fresh allowance by this.
            self._families = {key: kept for key, kept in self._families.items() if not kept.is_idle(now)}
        family = self._families.setdefault(family_id, _Family())
        for ended in [call_id for call_id, call in family.calls.items() if call.lease_ends <= now]:
            del family.calls[ended]
        return family
