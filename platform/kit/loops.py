"""What lives as long as an event loop: connections and tasks that end with it.

`asyncio.run` and a test's loop cancel every task before they close; a task that only waits for
that moment is how a connection opened lazily is closed without anyone having to remember it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

Kept = TypeVar("Kept")
_tasks: set[asyncio.Task[None]] = set()  # the loop itself holds tasks only weakly


def start(work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
    """Run `work` as a task that is held until it ends."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


def at_close(close: Callable[[], Awaitable[None]], *, name: str) -> asyncio.Task[None]:
    """Await `close()` when the running loop cancels its tasks, or when the returned task is cancelled."""
    return start(_close_when_cancelled(close), name=name)


async def _close_when_cancelled(close: Callable[[], Awaitable[None]]) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await close()


class Own(Generic[Kept]):
    """What each event loop has of its own, made when it is first asked for."""

    def __init__(self, make: Callable[[], Kept]) -> None:
        self._make = make
        self._of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Kept] = WeakKeyDictionary()
        self._latest: tuple[asyncio.AbstractEventLoop, Kept] | None = None  # most processes have one loop

    def here(self) -> Kept:
        """Return what the running loop has."""
        loop, latest = asyncio.get_running_loop(), self._latest
        if latest is not None and latest[0] is loop:
            return latest[1]
        kept = self._of_loops.get(loop)
        if kept is None:
            kept = self._of_loops[loop] = self._make()
        self._latest = loop, kept
        return kept


async def end(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait until it has ended."""
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task})
