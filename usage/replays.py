"""What would have happened: the calls of the last days, counted against limits or a budget that were not in force.

Every call asks for what it used in the end, where admission reserves an upper bound and gives back
the rest: a replay tells the order of magnitude, kindly. What it would have blocked counts nothing.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

DAYS = 30
MOST_CALLS = 200_000
_CALLS = """
SELECT opened_at, day, month, charged_tokens, cost_micros, coalesce(duration_ms, 0) FROM usage_event
WHERE tenant_id = %(tenant)s AND month >= %(first_month)s AND opened_at >= %(since)s AND state <> 'released'
  AND (%(family)s::bigint IS NULL OR family_id = %(family)s) AND (%(skill)s = '' OR skill = %(skill)s)
ORDER BY opened_at DESC LIMIT %(most)s
"""


class Call(NamedTuple):
    """What a replay needs of a usage event."""

    at: datetime
    day: date
    month: date
    tokens: int
    micros: int
    milliseconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Limits that might be; None limits nothing. The window is the budget's."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_calls: int | None = None
    limit_tokens: int | None = None
    limit_micros: int | None = None
    window: str = "month"


@dataclass(slots=True)
class Replay:
    """How a proposal would have fared."""

    calls: int = 0
    tokens: int = 0
    blocked_calls: int = 0
    blocked_tokens: int = 0
    blocked_micros: int = 0
    first_blocked_at: datetime | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    days: dict[date, int] = field(default_factory=dict)
    is_cut: bool = False

    def note(self, call: Call, reason: str | None) -> None:
        """Count a call, blocked for a reason or not."""
        self.calls += 1
        self.tokens += call.tokens
        if reason is None:
            return
        self.blocked_calls += 1
        self.blocked_tokens += call.tokens
        self.blocked_micros += call.micros
        self.first_blocked_at = self.first_blocked_at or call.at
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self.days[call.day] = self.days.get(call.day, 0) + 1


class _Bucket:
    """A minute's allowance that refills steadily, as the limiter's does."""

    def __init__(self, limit: int) -> None:
        self._limit, self._left = float(limit), float(limit)
        self._at: datetime | None = None

    def fits(self, amount: int, *, at: datetime) -> bool:
        if self._at is not None:
            self._left = min(self._limit, self._left + self._limit * (at - self._at).total_seconds() / 60)
        self._at = at
        return amount <= self._left + 1e-6

    def take(self, amount: int) -> None:
        self._left -= amount


class _Rules:
    """A proposal at work, call by call."""

    def __init__(self, proposal: Proposal) -> None:
        self._proposal = proposal
        self._requests = _Bucket(proposal.requests_per_minute) if proposal.requests_per_minute else None
        self._tokens = _Bucket(proposal.tokens_per_minute) if proposal.tokens_per_minute else None
        self._running: list[datetime] = []
        self._used: dict[date, list[int]] = {}

    def reason(self, call: Call) -> str | None:
        """Tell why a call would have been blocked; None lets it pass and counts it."""
        found = self._over_rate(call) or self._over_budget(call)
        if found is None:
            self._admit(call)
        return found

    def _over_rate(self, call: Call) -> str | None:
        while self._running and self._running[0] <= call.at:
            heapq.heappop(self._running)
        if self._requests and not self._requests.fits(1, at=call.at):
            return "requests per minute"
        if self._tokens and not self._tokens.fits(call.tokens, at=call.at):
            return "tokens per minute"
        if self._proposal.concurrent_calls and len(self._running) >= self._proposal.concurrent_calls:
            return "concurrent calls"
        return None

    def _over_budget(self, call: Call) -> str | None:
        tokens, micros = self._used_in(call)
        if self._proposal.limit_tokens is not None and tokens + call.tokens > self._proposal.limit_tokens:
            return "token budget"
        if self._proposal.limit_micros is not None and micros + call.micros > self._proposal.limit_micros:
            return "cost budget"
        return None

    def _admit(self, call: Call) -> None:
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(call.tokens)
        if self._proposal.concurrent_calls:
            heapq.heappush(self._running, call.at + timedelta(milliseconds=call.milliseconds))
        used = self._used_in(call)
        used[0] += call.tokens
        used[1] += call.micros

    def _used_in(self, call: Call) -> list[int]:
        return self._used.setdefault(call.month if self._proposal.window == "month" else call.day, [0, 0])


def replay(
    tenant_id: int, *, proposal: Proposal, now: datetime, family_id: int | None = None, skill: str = ""
) -> Replay:
    """Replay the last 30 days of a tenant, a family of keys or a skill against a proposal.

    At most the latest 200,000 calls are looked at; `is_cut` tells that there were more. A month's budget
    starts empty where the 30 days begin.
    """
    calls = list(_calls(tenant_id, now=now, family_id=family_id, skill=skill))
    found = run(reversed(calls), proposal=proposal)
    found.is_cut = len(calls) == MOST_CALLS
    return found


def run(calls: Iterable[Call], *, proposal: Proposal) -> Replay:
    """Replay calls, oldest first, against a proposal."""
    rules, found = _Rules(proposal), Replay()
    for call in calls:
        found.note(call, rules.reason(call))
    return found


def _calls(tenant_id: int, *, now: datetime, family_id: int | None, skill: str) -> Iterator[Call]:
    since = now - timedelta(days=DAYS)
    parameters: dict[str, Any] = {
        "tenant": tenant_id,
        "family": family_id,
        "skill": skill,
        "since": since,
        "first_month": (since - timedelta(days=1)).date().replace(day=1),
        "most": MOST_CALLS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CALLS, parameters)
        while rows := cursor.fetchmany(10_000):
            yield from (Call(*row) for row in rows)
