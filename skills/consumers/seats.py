"""How many sockets a key has open, over all processes; while Redis is away, this process's share."""

from collections import Counter
from contextlib import suppress

from django.conf import settings

from kit import redis as kit_redis
from kit.errors import RateLimited

MOST_PER_KEY = 20
LEASE_SECONDS = 60
_TAKE = """
local now = redis.call('TIME')[1] + 0
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
_RENEW = """
redis.call('ZADD', KEYS[1], redis.call('TIME')[1] + ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
_here: Counter[int] = Counter()


async def take(family_id: int, seat: str) -> None:
    """Count one socket more, or raise `RateLimited`."""
    try:
        taken = await kit_redis.client().eval(_TAKE, 1, _name(family_id), seat, MOST_PER_KEY, LEASE_SECONDS)
    except kit_redis.TROUBLE:
        taken = _here[family_id] < max(1, MOST_PER_KEY // settings.PROCESS_COUNT)
    if not taken:
        raise RateLimited(
            f"The key has {MOST_PER_KEY} sockets open, which is the most. Run more on one socket, or close one.",
            retry_after=LEASE_SECONDS,
            limit=MOST_PER_KEY,
        )
    _here[family_id] += 1


async def renew(family_id: int, seat: str) -> None:
    """Keep a socket counted for another minute."""
    with suppress(*kit_redis.TROUBLE):
        await kit_redis.client().eval(_RENEW, 1, _name(family_id), seat, LEASE_SECONDS)


async def leave(family_id: int, seat: str) -> None:
    """Count one socket less."""
    _here[family_id] -= 1
    if _here[family_id] <= 0:
        del _here[family_id]
    with suppress(*kit_redis.TROUBLE):
        await kit_redis.client().zrem(_name(family_id), seat)


def _name(family_id: int) -> str:
    return f"skillgate:sockets:{{{family_id}}}"
