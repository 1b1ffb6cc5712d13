"""An event that one coroutine waits for, no longer than it wants to, at the price of a future and a timer."""

from __future__ import annotations

import asyncio


class Signal:
    """Set once or several times; `asyncio.wait_for` over an `asyncio.Event` would take a task for each wait."""

    __slots__ = ("_waiter", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake who waits, and whoever comes until it is cleared."""
        self.is_set = True
        self._wake()

    def clear(self) -> None:
        """Let the next one wait again."""
        self.is_set = False

    async def wait(self, *, seconds: float | None = None) -> None:
        """Wait until it is set, or so many seconds."""
        if self.is_set:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
