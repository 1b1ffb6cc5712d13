"""What a worker process does around one task: an event loop with all that a server's has, and an orderly end of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from uuid import UUID

from kit import pg
from kit import redis as kit_redis
from skills import claude, inflight
from skills.analyses import dispatch, engine
from tenants import background
from usage import ledger

Answer = TypeVar("Answer")


def run(work: Callable[[], Awaitable[Answer]]) -> Answer:
    """Do asynchronous work to its end, on a loop that listens for revocations and leaves nothing open."""
    return asyncio.run(_within_lifetime(work))


async def perform(analysis_id: UUID) -> list[UUID]:
    """Work on an analysis; returns the ids of those to announce next."""
    await engine.work(analysis_id)
    return await dispatch.due()


async def _within_lifetime(work: Callable[[], Awaitable[Answer]]) -> Answer:
    async with lifetime():
        return await work()


@asynccontextmanager
async def lifetime() -> AsyncIterator[None]:
    """Start and end what runs beside the work on the running loop."""
    await background.start()
    try:
        yield
    finally:
        await inflight.idle()
        await ledger.drain()
        await background.stop()
        await claude.close()
        await kit_redis.close()
        await pg.close()
