"""A sign of life that workers leave in Redis and readiness checks look for."""

from kit import redis as kit_redis

_KEY = "skillgate:pulse:worker"
_LIVES_SECONDS = 20


def beat() -> None:
    """Say that a worker is alive now."""
    with kit_redis.blocking() as connection:
        connection.set(_KEY, b"1", ex=_LIVES_SECONDS)


async def is_felt() -> bool:
    """Tell whether a worker said it was alive within the last 20 s; raises what Redis raises."""
    return bool(await kit_redis.client().exists(_KEY))
