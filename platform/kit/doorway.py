"""Who may begin: a few requests with each turn of the event loop, so that what has begun goes on first.

When a thousand arrive in one moment, beginning them together would give the first its first word only after the
last had begun, and what they wait for in between would seem to be late although nobody had looked.
"""

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

PER_TURN = 2


class Doorway:
    """The way into one event loop; whoever comes when there is no crowd passes at once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = 0
        self._is_turning = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def enter(self) -> None:
        """Return when it is one's turn: first come, first served."""
        if not self._is_turning:
            self._is_turning, self._left = True, PER_TURN
            self._loop.call_soon(self._turn)
        if self._left and not self._waiting:
            self._left -= 1
            return
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        await waiter

    def _turn(self) -> None:
        self._left = PER_TURN
        while self._left and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # else it has left
                waiter.set_result(None)
                self._left -= 1
        self._is_turning = bool(self._waiting)
        if self._is_turning:
            self._loop.call_soon(self._turn)


_doorways: WeakKeyDictionary[asyncio.AbstractEventLoop, Doorway] = WeakKeyDictionary()


async def enter() -> None:
    """Return when the running loop has room to begin one more request."""
    loop = asyncio.get_running_loop()
    found = _doorways.get(loop)
    if found is None:
        found = _doorways[loop] = Doorway()
    await found.enter()
