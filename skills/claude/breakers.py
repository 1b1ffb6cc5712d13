"""A breaker for each provider key and model: after failures in a row nothing is sent for a while, then one probe.

What one process finds out it tells the others over the control channel, and probes are taken in turns
by a key in Redis. Without Redis each process finds out for itself.
"""

import random
from collections.abc import Callable
from math import ceil

from django.conf import settings
from prometheus_client import Gauge

from kit import clock, control, ids, loops
from kit import redis as kit_redis
from kit.errors import Unavailable
from skills.claude.provider import ProviderKey

OPEN = Gauge(
    "skillgate_upstream_breakers_open",
    "Models whose calls are held back because the last ones failed.",
    ["key", "model"],
    multiprocess_mode="livemax",
)

OPENED, CLOSED = "breaker.opened", "breaker.closed"
_LONGEST_PAUSE_SECONDS = 60.0
_PROBE_SECONDS = 10.0
_MOST_BREAKERS = 10_000
_HERE = str(ids.uuid7())
_breakers: dict[tuple[ProviderKey, str], "Breaker"] = {}


class Breaker:
    """Closed, everything passes. Open, nothing does until its pause is over; then a single call tries."""

    def __init__(self, key: ProviderKey, model: str, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._key = key
        self._model = model
        self._monotonic = monotonic
        self._failures = 0
        self._pause = settings.CLAUDE_BREAKER_SECONDS
        self._until: float | None = None  # when a probe may go; None while closed
        self._probe_until = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether calls pass as ever."""
        return self._until is None

    @property
    def is_ready(self) -> bool:
        """Whether a call would pass now, if only as the probe."""
        return self._until is None or self._monotonic() >= max(self._until, self._probe_until)

    async def enter(self) -> bool:
        """Let a call pass and tell whether it is the probe, or raise `Unavailable`."""
        if self._until is None:
            return False
        if not self.is_ready:
            raise self.refusal()
        self._probe_until = self._monotonic() + _PROBE_SECONDS
        if not await _is_ours_to_probe(self._key, self._model):
            raise self.refusal()
        return True

    def refusal(self) -> Unavailable:
        """Say that calls are held back, and for how long."""
        until = max(self._until or 0.0, self._probe_until)
        wait = max(1, ceil(until - self._monotonic()))
        return Unavailable(
            f"Claude's model {self._model[:64]} failed several times in a row, so calls to it are held back."
            f" Try again in {wait} s.",
            retry_after=wait,
            reason="breaker_open",
            model=self._model[:64],
        )

    def worked(self) -> None:
        """Note that Claude answered."""
        self._failures = 0
        if self._until is not None:
            self.close()
            _tell(CLOSED, self._key, self._model)

    def failed(self, *, is_probe: bool) -> None:
        """Note that Claude failed; of what was sent before it opened only the probe counts."""
        self._failures += 1
        is_enough = 0 < settings.CLAUDE_BREAKER_FAILURES <= self._failures
        if is_probe if self._until is not None else is_enough:
            seconds = self._pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads probes, keeps no secret
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            self.open(seconds)
            _tell(OPENED, self._key, self._model, seconds=seconds)

    def forgo(self) -> None:
        """Note that a probe ended without finding out, so that the next call may."""
        self._probe_until = 0.0
        loops.start(_end_turn(self._key, self._model), name="end a probe's turn")

    def open(self, seconds: float) -> None:
        """Hold calls back for some seconds."""
        self._until = self._monotonic() + seconds
        self._probe_until = 0.0
        OPEN.labels(self._key.kind, self._model).set(1)

    def close(self) -> None:
        """Let everything pass again."""
        self._failures, self._until, self._probe_until = 0, None, 0.0
        self._pause = settings.CLAUDE_BREAKER_SECONDS
        OPEN.labels(self._key.kind, self._model).set(0)


def breaker(key: ProviderKey, model: str) -> Breaker:
    """Return the process's breaker for a key and a model."""
    found = _breakers.get((key, model))
    if found is None:
        while len(_breakers) >= _MOST_BREAKERS:
            _breakers.pop(next(iter(_breakers)))
        found = _breakers[key, model] = Breaker(key, model)
    return found


def clear() -> None:
    """Forget everything that was found out."""
    _breakers.clear()


async def _is_ours_to_probe(key: ProviderKey, model: str) -> bool:
    try:
        taken = await kit_redis.client().set(
            f"skillgate:probe:{key.name}:{model}", _HERE, nx=True, px=int(_PROBE_SECONDS * 1000)
        )
    except kit_redis.TROUBLE:
        return True
    return bool(taken)


async def _end_turn(key: ProviderKey, model: str) -> None:
    try:
        await kit_redis.client().delete(f"skillgate:probe:{key.name}:{model}")
    except kit_redis.TROUBLE:
        return


def _tell(topic: str, key: ProviderKey, model: str, *, seconds: float = 0.0) -> None:
    async def telling() -> None:
        await _end_turn(key, model)
        await control.announce(
            topic, origin=_HERE, kind=key.kind, tenant_id=key.tenant_id, model=model, seconds=seconds
        )

    loops.start(telling(), name=f"tell of {topic}")


def _on_opened(message: control.Message) -> None:
    if message["origin"] != _HERE:
        _meant(message).open(min(float(message["seconds"]), _LONGEST_PAUSE_SECONDS * 1.2))


def _on_closed(message: control.Message) -> None:
    if message["origin"] != _HERE:
        _meant(message).close()


def _meant(message: control.Message) -> Breaker:
    return breaker(ProviderKey(message["kind"], int(message["tenant_id"])), str(message["model"]))


control.subscribe(OPENED, _on_opened)
control.subscribe(CLOSED, _on_closed)
