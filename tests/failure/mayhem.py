"""Random trouble for a stack: kills, pauses and flushes, each mended after a moment."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import redis

from embedded.child import Child
from tests.failure.stack import Stack

_PAUSE_SECONDS = 2.0


class Mayhem:
    """Everything that may happen happens in turn, in random order, at random intervals; `done` counts it."""

    def __init__(self, stack: Stack, *, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self._stack = stack
        self._random = random.Random(seed)
        self._bag: list[tuple[str, Callable[[], Awaitable[None]]]] = []

    @asynccontextmanager
    async def raging(self) -> AsyncIterator[None]:
        """Make trouble inside the block and leave everything running after it."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._rage(stop))
        try:
            yield
        finally:
            stop.set()
            await task
            for child in (self._stack.postgres, self._stack.valkey, *self._stack.webs):
                await asyncio.to_thread(child.start)

    async def _rage(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not self._bag:
                self._bag = self._everything()
                self._random.shuffle(self._bag)
            name, act = self._bag.pop()
            await act()
            self.done[name] += 1
            await asyncio.sleep(self._random.uniform(0.3, 2.0))

    def _everything(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        stack = self._stack
        killed: list[tuple[str, Child]] = [
            ("web", stack.webs[0]),
            ("web", stack.webs[1]),
            ("worker", stack.worker),
            ("beat", stack.beat),
            ("redis", stack.valkey),
            ("postgres", stack.postgres),
        ]
        kills = [(f"kill {name}", lambda child=child: self._kill(child)) for name, child in killed]
        return [*kills, ("pause redis", self._pause_redis), ("flush redis", self._flush_redis)]

    async def _kill(self, child: Child) -> None:
        await asyncio.to_thread(child.kill)
        await asyncio.sleep(self._random.uniform(0.0, 1.5))
        await asyncio.to_thread(child.launch)

    async def _pause_redis(self) -> None:
        self._stack.valkey.pause()
        await asyncio.sleep(_PAUSE_SECONDS)
        self._stack.valkey.resume()

    async def _flush_redis(self) -> None:
        await asyncio.to_thread(flush, self._stack)


def flush(stack: Stack) -> None:
    """Empty Redis, or find it down for the moment."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            with stack.redis() as connection:
                connection.flushall()
        except redis.RedisError:
            time.sleep(0.1)
        else:
            return
