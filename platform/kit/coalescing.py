"""Those who miss a cache together share one read, so that a crowd costs what one costs."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
_under_way: dict[tuple[asyncio.AbstractEventLoop, Hashable], asyncio.Task[Any]] = {}


async def shared(key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
    """Return what `read` returns, or raise what it raises, together with whoever asks for `key` until it has ended.

    The read outlives any one of them. What may have changed since it began belongs into the key.
    """
    place = (asyncio.get_running_loop(), key)
    task = _under_way.get(place)
    if task is None:
        task = _under_way[place] = asyncio.ensure_future(read())
        task.add_done_callback(lambda done: _ended(place, done))
    result: T = await asyncio.shield(task)
    return result


def _ended(place: tuple[asyncio.AbstractEventLoop, Hashable], done: "asyncio.Future[Any]") -> None:
    _under_way.pop(place, None)
    if not done.cancelled():
        done.exception()  # read: whoever asked may be gone
