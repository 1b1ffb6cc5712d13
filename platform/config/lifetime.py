"""What lives as long as a server process: listeners and writers beside the requests, and an orderly end."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.urls import get_resolver

from kit import heap, lag, loops, pg, traces
from kit import redis as kit_redis
from kit.errors import Unavailable
from skills import claude, connections, idempotency, inflight, replay
from tenants import background
from usage import ledger

_SHUTDOWN_SECONDS = 25.0
_SETTLE_SECONDS = 1.0
_CLOSE_SECONDS = 0.3
_watches: list[asyncio.Task[None]] = []


async def startup() -> None:
    """Load what requests need, and start what this process does beside them."""
    _ = get_resolver().url_patterns  # imports every view: no request waits for that
    claude.load()
    traces.start("skillgate-web")
    heap.settle()
    _watches.append(lag.watch())
    await pg.pool()  # its first connection opens beside; no call waits for that
    await background.start()


def end_idle() -> None:
    """Have long-lived connections end as soon as nothing goes on in them."""
    connections.retire_all()


def end_calls() -> None:
    """End the runs under way; each tells its caller and is billed once for what it produced."""
    inflight.end_all(Unavailable("The server is restarting. Try again.", retry_after=1))


async def shutdown(*, seconds: float = _SHUTDOWN_SECONDS) -> None:
    """Let runs under way finish, end those that take too long, and settle all, within `seconds`."""
    if not await _idle(within=max(0.1, seconds - _SETTLE_SECONDS - _CLOSE_SECONDS)):
        end_calls()
        await _idle(within=_SETTLE_SECONDS)
    await replay.drain(within=_SETTLE_SECONDS)
    await idempotency.drain(within=_SETTLE_SECONDS)
    await ledger.drain()
    while _watches:
        await loops.end(_watches.pop())
    await background.stop()
    await claude.close()
    await kit_redis.close()
    await pg.close()
    if traces.is_on():
        await asyncio.to_thread(traces.stop)


async def _idle(*, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            await inflight.idle()
    except TimeoutError:
        return False
    return True


async def lifespan(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """Speak ASGI's lifespan protocol with servers that have one."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await startup()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await shutdown()
            await send({"type": "lifespan.shutdown.complete"})
            return
