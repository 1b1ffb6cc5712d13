"""Work that is put off the request's path: what gathered in this process is written every few seconds.

A piece of work is declared once with `every`; the first request on an event loop starts a task
for it there. What had not been written when a process is killed is lost, so only counts and
traces go this way, never anything that is owed.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from kit import loops
from kit.errors import Unavailable

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]

_declared: list[tuple[float, Work]] = []
_running: loops.Own[list[asyncio.Task[None]]] = loops.Own(list)  # one for each of the declared


def every(seconds: float) -> Callable[[Work], Work]:
    """Declare an async function without arguments as work to be done every `seconds`."""

    def declare(work: Work) -> Work:
        _declared.append((seconds, work))
        return work

    return declare


def ensure() -> None:
    """Start all declared work on the running loop, each once."""
    running = _running.here()
    for seconds, work in _declared[len(running) :]:
        running.append(loops.start(_repeat(seconds, work), name=f"periodic {work.__module__}.{work.__qualname__}"))


async def stop() -> None:
    """End the work on the running loop and do each piece a last time."""
    running = _running.here()
    while running:
        await loops.end(running.pop())
    for _, work in _declared:
        await _attempt(work)


async def _repeat(seconds: float, work: Work) -> None:
    while True:
        await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads processes, keeps no secret
        await _attempt(work)


async def _attempt(work: Work) -> None:
    try:
        await work()
    except Unavailable as unavailable:
        logger.warning("%s is put off: %s", work.__qualname__, unavailable)
    except Exception:
        logger.exception("%s failed", work.__qualname__)
