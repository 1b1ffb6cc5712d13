"""How many calls one process has under way by one provider key, and whose turn it is when there is no place.

The bound halves when Claude refuses for its rate limit or its load, falls as its headers say that little is left,
and grows back with time, as what is left does. How slow this process is says nothing of Claude and moves nothing.
Tenants that wait take turns. Who would wait longer than its deadline, even as the bound grows, is refused at once.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from django.conf import settings
from prometheus_client import Counter, Gauge

from kit import clock
from kit.errors import Unavailable

WAITING = Gauge(
    "skillgate_upstream_waiting", "Calls that wait for a place towards Claude.", ["key"], multiprocess_mode="livesum"
)
SHRUNK = Counter("skillgate_upstream_shrunk", "Times a bound of calls was halved after a refusal by Claude.", ["key"])
SHED = Counter("skillgate_upstream_shed", "Calls refused because too many waited for a place.", ["key"])

LEAST = 4  # a wrong header or one refusal may slow calls down, never stop them
_RECOVERY_SECONDS = 60.0  # from nothing to the whole bound: the window of Claude's own limits
_ONE_CUT_SECONDS = 1.0  # refusals of one moment are one piece of news
_SCARCE = 0.1
_MOST_WAITING = 10_000
_LONGEST_RETRY_AFTER = 60
_WEIGHT = 0.1
_FIRST_MEAN_SECONDS = 2.0
_UNITS = tuple(
    (f"anthropic-ratelimit-{unit}-limit", f"anthropic-ratelimit-{unit}-remaining", f"anthropic-ratelimit-{unit}-reset")
    for unit in ("requests", "tokens", "input-tokens", "output-tokens")
)


@dataclass(frozen=True, slots=True)
class _Told:
    """The share of a limit that was left at a moment; it refills evenly until it is whole, as Claude's buckets do."""

    share: float = 1.0
    at: float = 0.0
    whole_after: float = 0.0

    def share_at(self, moment: float) -> float:
        passed = moment - self.at
        return 1.0 if passed >= self.whole_after else self.share + (1.0 - self.share) * passed / self.whole_after


class Gate:
    """The places of one provider key on one event loop."""

    def __init__(self, kind: str, *, most: int | None = None, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self.in_use = 0
        self._kind = kind
        self._most = settings.CLAUDE_CALLS if most is None else most
        self._least = max(1, min(LEAST, self._most))  # which the bound never falls below
        self._monotonic = monotonic
        self._cut_to = float(self._most)
        self._cut_at = monotonic() - _RECOVERY_SECONDS
        self._told = _Told()
        self._mean_seconds = _FIRST_MEAN_SECONDS
        self._queues: OrderedDict[int, deque[asyncio.Future[None]]] = OrderedDict()
        self._wake: asyncio.TimerHandle | None = None

    @property
    def bound(self) -> int:
        """How many calls may be under way now."""
        return self._bound_at(self._monotonic())

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(map(len, self._queues.values()))

    def take(self) -> bool:
        """Take a place if one is free and nobody waits."""
        if self._queues or (self.in_use >= self._least and self.in_use >= self.bound):
            return False
        self.in_use += 1
        return True

    async def wait(self, tenant_id: int, *, within: float) -> None:
        """Wait for a place in the tenants' turn; raises `Unavailable` when it takes or would take too long."""
        self._shed_hopeless(tenant_id, within=within)
        waiter = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant_id, deque()).append(waiter)
        WAITING.labels(self._kind).inc()
        self._admit()
        try:
            await asyncio.wait({waiter}, timeout=within)
        except BaseException:
            if waiter.done():
                self.leave()
            raise
        finally:
            WAITING.labels(self._kind).dec()
            self._forget(tenant_id, waiter)
        if not waiter.done():
            raise self._shed(self._mean_seconds)

    def leave(self, *, seconds: float | None = None) -> None:
        """Give a place back after so many seconds, and let the next one go."""
        self.in_use -= 1
        if seconds is not None:
            self._mean_seconds += _WEIGHT * (seconds - self._mean_seconds)
        if self._queues:
            self._admit()

    def shrink(self) -> None:
        """Halve the bound, because Claude refused for its rate limit or its load."""
        now = self._monotonic()
        if now - self._cut_at >= _ONE_CUT_SECONDS:
            self._cut_to = float(max(LEAST, min(self.bound, self.in_use) // 2))
            self._cut_at = now
            SHRUNK.labels(self._kind).inc()

    def heed(self, headers: Mapping[str, str], *, now: datetime | None = None) -> None:
        """Cap the bound by how little Claude's headers say is left, as long as it is little."""
        told = [
            (share, reset)
            for limit, remaining, reset in _UNITS
            if limit in headers and (share := _share(headers[limit], headers.get(remaining, ""))) is not None
        ]
        if told and min(told)[0] < _SCARCE:
            share, reset = min(told)
            left = _seconds_until(headers.get(reset, ""), now=now or clock.now())
            self._told = _Told(share, at=self._monotonic(), whole_after=min(left, _RECOVERY_SECONDS))

    def _bound_at(self, moment: float) -> int:
        grown = self._cut_to + (moment - self._cut_at) * self._most / _RECOVERY_SECONDS
        cap = max(LEAST, self._most * self._told.share_at(moment) / _SCARCE)
        return max(1, min(int(grown), int(cap), self._most))

    def _admit(self) -> None:
        bound = self.bound
        while self._queues and self.in_use < bound:
            tenant_id, queue = self._queues.popitem(last=False)
            waiter = queue.popleft()
            if queue:
                self._queues[tenant_id] = queue  # at the end: each tenant in turn
            if not waiter.done():
                self.in_use += 1
                waiter.set_result(None)
        self._wake_later()

    def _wake_later(self) -> None:
        """A bound that grows with time lets waiting calls go although none ends."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if self._queues and self.bound < self._most:
            self._wake = asyncio.get_running_loop().call_later(max(0.02, _RECOVERY_SECONDS / self._most), self._admit)

    def _forget(self, tenant_id: int, waiter: asyncio.Future[None]) -> None:
        queue = self._queues.get(tenant_id)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._queues[tenant_id]

    def _shed_hopeless(self, tenant_id: int, *, within: float) -> None:
        own = len(self._queues.get(tenant_id, ()))
        ahead = sum(min(len(queue), own + (other != tenant_id)) for other, queue in self._queues.items())
        bound = self._bound_at(self._monotonic() + within)
        at_once = max(0, bound - self.in_use)  # places that the bound grows by meanwhile: nobody has to leave for them
        expected = max(0, ahead + 1 - at_once) * self._mean_seconds / bound
        if expected > within or self.waiting >= _MOST_WAITING:
            raise self._shed(expected - within)

    def _shed(self, seconds: float) -> Unavailable:
        SHED.labels(self._kind).inc()
        wait = max(1, min(ceil(seconds), _LONGEST_RETRY_AFTER))
        return Unavailable(
            f"More calls wait for Claude than can be made in time. Try again in {wait} s.",
            retry_after=wait,
            reason="busy",
        )


def _share(limit: str, remaining: str) -> float | None:
    try:
        return int(remaining) / int(limit) if int(limit) > 0 else None
    except ValueError:
        return None


def _seconds_until(moment: str, *, now: datetime) -> float:
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return 1.0
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
