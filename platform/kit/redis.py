"""The way to Redis: one async client for each event loop, impatient and without retries.

Redis is never the truth here, so nobody waits for it: connecting and reading each get
`LIMITS_TIMEOUT_SECONDS`, and a failed command is the caller's to answer for.
"""

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

import redis
from django.conf import settings
from redis.asyncio import BlockingConnectionPool, Redis

from kit import loops, traces

RedisTimeout = redis.TimeoutError
TROUBLE = (redis.RedisError, OSError, TimeoutError)

_MOST_CONNECTIONS = 64
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Redis]] = WeakKeyDictionary()


def client() -> Redis:
    """Return the running loop's client, made on first use; answers are bytes."""
    of_loop = _clients.setdefault(asyncio.get_running_loop(), {})
    found = of_loop.get(settings.REDIS_URL)
    if found is None:
        patience = settings.LIMITS_TIMEOUT_SECONDS
        found = _connect(read_timeout=patience, pool_timeout=patience)
        if traces.is_on():
            traced: Any = found
            traced.execute_command = traces.traced(found.execute_command, system="redis")
        of_loop[settings.REDIS_URL] = found
        loops.at_close(found.aclose, name="redis client")
    return found


def subscriber() -> Redis:
    """Return a new client for a subscription, which may be silent for as long as it likes.

    The caller closes it.
    """
    return _connect(read_timeout=None, pool_timeout=settings.LIMITS_TIMEOUT_SECONDS)


def _connect(*, read_timeout: float | None, pool_timeout: float) -> Redis:
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        settings.REDIS_URL, max_connections=_MOST_CONNECTIONS, timeout=pool_timeout, **_options(read_timeout)
    )
    return Redis.from_pool(pool)


def blocking() -> redis.Redis:
    """Return a new client for synchronous code, as impatient as the other; use it in a `with`."""
    pool = redis.ConnectionPool.from_url(settings.REDIS_URL, **_options(settings.LIMITS_TIMEOUT_SECONDS))
    return redis.Redis.from_pool(pool)


def _options(read_timeout: float | None) -> dict[str, Any]:
    # RESP2 and no driver_info: one round trip less in each of the handshakes.
    return {
        "socket_timeout": read_timeout,
        "socket_connect_timeout": settings.LIMITS_TIMEOUT_SECONDS,
        "retry": None,
        "protocol": 2,
        "driver_info": None,
    }


async def close() -> None:
    """Close the running loop's clients; the next use opens a new one."""
    for found in _clients.pop(asyncio.get_running_loop(), {}).values():
        await found.aclose()
