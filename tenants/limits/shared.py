"""Counting in Redis: one script decides, by Redis's clock; calls that arrive together go in one round trip.

Any trouble (down, stalled, out of memory, read-only, loading) comes out as `Trouble` after
`LIMITS_TIMEOUT_SECONDS` at most, and opens a breaker so that the next calls do not even try.
"""

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.exceptions import NoScriptError

from kit import clock, loops, traces
from kit import redis as kit_redis
from kit.batching import Lane
from kit.errors import Unavailable
from tenants.breaker import Breaker
from tenants.limits.verdicts import LEASE_SECONDS, Allowance, Verdict

Argument = str | int
Order = tuple[int, tuple[Argument, ...]]  # family, arguments of the script

_SCRIPT = (Path(__file__).parent / "scripts.lua").read_text()
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()  # how Redis names a script
_LEASE = int(LEASE_SECONDS * 1_000_000)
_MOST_TOGETHER = 64
_LATE_SECONDS = 0.02
_MOST_WAITING = 5000
_LONGEST_WAIT_SECONDS = 2.0  # a bound for a flood; trouble ends the wait much earlier, with the flush before


class Trouble(Exception):
    """Redis did not answer as it should; the caller decides without it."""


async def take(family_id: int, *, allowance: Allowance, tokens: int, call_id: str) -> Verdict:
    """This function will decide about a call and charge it if admitted."""
    limits = (allowance.requests, allowance.tokens)
    order: Order = (family_id, ("take", call_id, tokens, *limits, allowance.concurrent, _LEASE))
    return _verdict(await _wire().run(order))


async def finish(family_id: int, *, allowance: Allowance, tokens: int, requests: int, call_id: str) -> int:
    """This function will end a call's lease and give back up to what it was charged; returns the tokens."""
    order: Order = (family_id, ("finish", call_id, tokens, allowance.requests, allowance.tokens, requests))
    return int(await _wire().run(order))


async def renew(family_id: int, call_ids: list[str]) -> None:
    """This function will renew the leases of running calls, also of calls that Redis has lost or never knew."""
    await _wire().run((family_id, ("renew", _LEASE, *call_ids)))


def seconds_to_probe() -> float:
    """This function will return how long it is until Redis is tried again; 0 while it works."""
    return _wire().breaker.seconds_to_probe()


def _verdict(answer: list[Any]) -> Verdict:
    admitted, running, *instants = answer
    at, requests_ahead, tokens_ahead, requests_wait, tokens_wait = (float(micros) / 1e6 for micros in instants)
    return Verdict(
        bool(admitted),
        datetime.fromtimestamp(at, tz=UTC),
        running,
        requests_ahead,
        tokens_ahead,
        requests_wait,
        tokens_wait,
    )


def _keys(family_id: int) -> tuple[str, ...]:
    # One hash slot for a family, so that the script also runs on a cluster.
    return tuple(f"sg:lim:{{f:{family_id}}}:{part}" for part in ("requests", "tokens", "leases", "charges"))


class _Wire:
    """One loop's orderly line to Redis, with its breaker."""

    def __init__(self) -> None:
        self.breaker = Breaker("rate limits")
        self._lane: Lane[Order, Any] = Lane(
            "limits",
            self._flush,
            abandoned=self._undo,
            most_items=_MOST_TOGETHER,
            most_waiting=_MOST_WAITING,
        )

    async def run(self, order: Order) -> Any:
        """This function will return the script's answer, or raise `Trouble`."""
        if not self.breaker.is_ready:
            raise Trouble
        try:
            return await self._lane.submit(order, within=_LONGEST_WAIT_SECONDS)
        except Unavailable as full:
            raise Trouble from full

    def _undo(self, order: Order, answer: Any) -> None:
        """This function will give back what was charged to a call that was cancelled meanwhile."""
        family_id, (verb, *arguments) = order
        if verb == "take" and answer[0] == 1:
            call_id, tokens, requests_limit, tokens_limit = arguments[:4]
            undo: Order = (family_id, ("finish", call_id, tokens, requests_limit, tokens_limit, 1))
            loops.start(self._run_quietly(undo), name="undo of a cancelled call")

    async def _run_quietly(self, order: Order) -> None:
        try:
            await self.run(order)
        except Trouble:
            return

    async def _flush(self, orders: list[Order]) -> list[Any | Exception]:
        if not self.breaker.admits():
            raise Trouble
        with self.breaker.watched():
            try:
                answers = await _send_in_time(orders)
            except kit_redis.TROUBLE as trouble:
                self.breaker.failed(trouble)
                raise Trouble from trouble
            faults = [answer for answer in answers if isinstance(answer, Exception)]
            if faults:
                self.breaker.failed(faults[0])
            else:
                self.breaker.worked()
        return [Trouble(answer) if isinstance(answer, Exception) else answer for answer in answers]


async def _send_in_time(orders: list[Order]) -> list[Any]:
    """A timer that fires late says that this process was busy, not Redis; orders are idempotent, so they go once more."""
    patience = settings.LIMITS_TIMEOUT_SECONDS
    started = clock.monotonic()
    try:
        async with asyncio.timeout(patience):
            return await _send(orders)
    except kit_redis.TROUBLE as trouble:
        was_late = clock.monotonic() - started > patience + _LATE_SECONDS
        if not (was_late and isinstance(trouble, (TimeoutError, kit_redis.RedisTimeout))):
            raise
    async with asyncio.timeout(patience):
        return await _send(orders)


async def _send(orders: list[Order]) -> list[Any]:
    client = kit_redis.client()
    answers = await _evaluate(orders)
    missing = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if missing:
        await client.script_load(_SCRIPT)
        for index, answer in zip(missing, await _evaluate([orders[index] for index in missing]), strict=True):
            answers[index] = answer
    return answers


async def _evaluate(orders: list[Order]) -> list[Any]:
    async with kit_redis.client().pipeline(transaction=False) as pipeline:
        for family_id, arguments in orders:
            keys = _keys(family_id)
            pipeline.evalsha(_SHA, len(keys), *keys, *arguments)
        with traces.span("EVALSHA", kind="client", db__system__name="redis", db__operation__name="EVALSHA"):
            return await pipeline.execute(raise_on_error=False)


_wires: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Wire]] = WeakKeyDictionary()


def _wire() -> _Wire:
    of_loop = _wires.setdefault(asyncio.get_running_loop(), {})
    wire = of_loop.get(settings.REDIS_URL)
    if wire is None:
        wire = of_loop[settings.REDIS_URL] = _Wire()
    return wire
