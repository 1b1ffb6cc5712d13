"""The answers and leads in Redis; those asked for together go in one round trip.

Trouble comes out as `Trouble`, and opens a breaker, so that the next calls do not wait for a Redis that is away.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from kit import control
from kit import redis as kit_redis
from kit.errors import Unavailable
from skills.caching.keys import Key
from tenants.wire import Script, Trouble

__all__ = [
    "CHANGED",
    "LEASE_SECONDS",
    "MOST_ENTRIES",
    "Looked",
    "Trouble",
    "keep",
    "leave",
    "purge",
    "renew",
    "seek",
    "take",
]
CHANGED = "cache.changed"
LEASE_SECONDS = 5.0
MOST_ENTRIES = 1_000
_LEASE = int(LEASE_SECONDS * 1_000)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look showed: an answer with the milliseconds it still has, the lead, or that somebody else has it."""

    verdict: str
    left_ms: int = 0
    packed: bytes = b""


async def seek(key: Key, *, owner: str) -> Looked:
    """Find an answer, or take the lead for it if nobody has that."""
    answer = await _script.run(key, "seek", owner, _LEASE)
    if answer[0] == b"found":
        return Looked("found", int(answer[1]), answer[2])
    return Looked(answer[0].decode())


async def take(key: Key, *, owner: str) -> None:
    """Take the lead from whoever has it."""
    await _script.run(key, "take", owner, _LEASE)


async def renew(key: Key, *, owner: str) -> None:
    """Keep a lead for another `LEASE_SECONDS`."""
    await _script.run(key, "renew", owner, _LEASE)


async def keep(key: Key, packed: bytes, *, owner: str, ttl_seconds: int) -> bool:
    """Keep an answer and tell who waits for it; not when another has taken the lead since, or it was purged."""
    prefix = _prefix(key.tenant_id)
    said = ("keep", owner, ttl_seconds * 1_000, packed, key.member, MOST_ENTRIES, prefix, control.channel(), _note(key))
    return bool((await _script.run(key, *said))[0] == b"kept")


async def leave(key: Key, *, owner: str) -> None:
    """Give up a lead and tell who waits for it."""
    await _script.run(key, "leave", owner, control.channel(), _note(key))


def purge(tenant_id: int, *, skill: str | None = None) -> int:
    """Remove a tenant's answers, of one skill or all, and return how many; synchronous.

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


_script = Script(
    "response cache",  # an answer that nobody reads any more is left alone: a lead lapses by itself
    (Path(__file__).parent / "scripts.lua").read_text(),
    lane="cache",
    keys=_names,
    most_together=32,
    longest_wait=1.0,
    steps=3,  # to wait a little longer in a crowd is cheaper than another call upstream
)
