"""The answers and leads in Redis; those asked for together go in one round trip.

Trouble comes out as `Trouble` after `LIMITS_TIMEOUT_SECONDS` at most, and opens a breaker, so that the
next calls do not wait for a Redis that is away.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.exceptions import NoScriptError

from kit import clock, control
from kit import redis as kit_redis
from kit.batching import Lane
from kit.errors import Unavailable
from skills.caching.keys import Key
from tenants.breaker import Breaker

CHANGED = "cache.changed"
LEASE_SECONDS = 5.0
MOST_ENTRIES = 1_000
_SCRIPT = (Path(__file__).parent / "scripts.lua").read_text()
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()  # how Redis names a script
_LEASE = int(LEASE_SECONDS * 1_000)
_MOST_TOGETHER = 32
_MOST_WAITING = 5_000
_LONGEST_WAIT_SECONDS = 1.0
_LATE_SECONDS = 0.02

Argument = str | int | bytes
Order = tuple[Key, tuple[Argument, ...]]


class Trouble(Exception):
    """Redis did not answer as it should; the call goes on without it."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look showed: an answer with the milliseconds it still has, the lead, or that somebody else has it."""

    verdict: str
    left_ms: int = 0
    packed: bytes = b""


async def seek(key: Key, *, owner: str) -> Looked:
    """This function will find an answer, or take the lead for it if nobody has that."""
    answer = await _wire().run((key, ("seek", owner, _LEASE)))
    if answer[0] == b"found":
        return Looked("found", int(answer[1]), answer[2])
    return Looked(answer[0].decode())


async def take(key: Key, *, owner: str) -> None:
    """This function will take the lead from whoever has it."""
    await _wire().run((key, ("take", owner, _LEASE)))


async def renew(key: Key, *, owner: str) -> None:
    """This function will keep a lead for another `LEASE_SECONDS`."""
    await _wire().run((key, ("renew", owner, _LEASE)))


async def keep(key: Key, packed: bytes, *, owner: str, ttl_seconds: int) -> bool:
    """This function will keep an answer and tell who waits for it; not when another has taken the lead since, or it was purged."""
    prefix = _prefix(key.tenant_id)
    said = ("keep", owner, ttl_seconds * 1_000, packed, key.member, MOST_ENTRIES, prefix, control.channel(), _note(key))
    return bool((await _wire().run((key, said)))[0] == b"kept")


async def leave(key: Key, *, owner: str) -> None:
    """This function will give up a lead and tell who waits for it."""
    await _wire().run((key, ("leave", owner, control.channel(), _note(key))))


def purge(tenant_id: int, *, skill: str | None = None) -> int:
    """This function will remove a tenant's answers, of one skill or all, and return how many; synchronous.

    What is under way now is not kept. Raises `Unavailable` without Redis.
    """
    answers = 0
    pattern = f"{_prefix(tenant_id)}{skill or '*'}/*"
    try:
        with kit_redis.blocking() as connection:
            for lead in connection.scan_iter(f"{pattern}:lead", count=1_000):
                connection.set(lead, "purged", xx=True, keepttl=True)
            for answer in connection.scan_iter(f"{pattern}:answer", count=1_000):
                answers += int(connection.unlink(answer))
    except kit_redis.TROUBLE as trouble:
        raise Unavailable("Redis cannot be reached: nothing can be served from it meanwhile. Try again.") from trouble
    return answers


def _note(key: Key) -> str:
    return json.dumps({"topic": CHANGED, "tenant_id": key.tenant_id, "skill": key.skill, "digest": key.digest})


def _prefix(tenant_id: int) -> str:
    return f"sg:cache:{{t{tenant_id}}}:"


def _names(key: Key) -> tuple[str, ...]:
    prefix = _prefix(key.tenant_id)
    return (*(f"{prefix}{key.member}:{part}" for part in ("answer", "lead", "crowd")), f"{prefix}index")


class _Wire:
    """One loop's orderly line to Redis, with its breaker."""

    def __init__(self) -> None:
        self._breaker = Breaker("response cache")
        self._lane: Lane[Order, Any] = Lane(
            "cache",
            self._flush,
            abandoned=lambda order, answer: None,  # a lead that nobody reads lapses by itself
            most_items=_MOST_TOGETHER,
            most_waiting=_MOST_WAITING,
        )

    async def run(self, order: Order) -> Any:
        """This function will return the script's answer, or raise `Trouble`."""
        if not self._breaker.is_ready:
            raise Trouble
        try:
            return await self._lane.submit(order, within=_LONGEST_WAIT_SECONDS)
        except Unavailable as full:
            raise Trouble from full

    async def _flush(self, orders: list[Order]) -> list[Any | Exception]:
        if not self._breaker.admits():
            raise Trouble
        with self._breaker.watched():
            try:
                answers = await _send_in_time(orders)
            except kit_redis.TROUBLE as trouble:
                self._breaker.failed(trouble)
                raise Trouble from trouble
            faults = [answer for answer in answers if isinstance(answer, Exception)]
            if faults:
                self._breaker.failed(faults[0])
            else:
                self._breaker.worked()
        return [Trouble(answer) if isinstance(answer, Exception) else answer for answer in answers]


async def _send_in_time(orders: list[Order]) -> list[Any]:
    """A timer that fires late says that this process was busy, not Redis; orders are idempotent, so they go once more."""
    started = clock.monotonic()
    try:
        return await _send(orders)
    except (TimeoutError, kit_redis.RedisTimeout):
        if clock.monotonic() - started <= settings.LIMITS_TIMEOUT_SECONDS + _LATE_SECONDS:
            raise
    return await _send(orders)


async def _send(orders: list[Order]) -> list[Any]:
    answers = await _evaluate(orders)
    missing = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if missing:
        await kit_redis.client().script_load(_SCRIPT)
        for index, answer in zip(missing, await _evaluate([orders[index] for index in missing]), strict=True):
            answers[index] = answer
    return answers


async def _evaluate(orders: list[Order]) -> list[Any]:
    async with kit_redis.client().pipeline(transaction=False) as pipeline:
        for key, arguments in orders:
            names = _names(key)
            pipeline.evalsha(_SHA, len(names), *names, *arguments)
        return await pipeline.execute(raise_on_error=False)


_wires: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Wire]] = WeakKeyDictionary()


def _wire() -> _Wire:
    of_loop = _wires.setdefault(asyncio.get_running_loop(), {})
    wire = of_loop.get(settings.REDIS_URL)
    if wire is None:
        wire = of_loop[settings.REDIS_URL] = _Wire()
    return wire
