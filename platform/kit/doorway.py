"""Who may begin: a few requests with each turn of the event loop, so that what has begun goes on first.

When a thousand arrive in one moment, beginning them together would give the first its first word only after the
last had begun, and what they wait for in between would seem to be late although nobody had looked.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar

from kit import heap, loops

PER_TURN = 4
UNTENDED_SECONDS = 10.0  # from when a crowd comes in; much of what it began has ended then, and is not looked through

_has_entered: ContextVar[bool] = ContextVar("has_entered", default=False)


class Doorway:
    """The way into one event loop; whoever comes when there is no crowd passes at once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = 0
        self._is_turning = False
        self._is_tended = True
        self._waiting: deque[Callable[[], bool]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def enter(self) -> None:
        """Return when it is one's turn: first come, first served."""
        if _has_entered.get() or self._passes():
            return
        waiter = self._loop.create_future()

        def let_in() -> bool:
            if waiter.done():  # it has left
                return False
            waiter.set_result(None)
            return True

        self._waiting.append(let_in)
        await waiter

    def begin(self, work: Callable[[], bool]) -> None:
        """Call `work` when it is its turn, which may be now; what it starts need not enter again.

        It tells whether it began anything: False leaves the turn to the next.
        """

        def let_in() -> bool:
            token = _has_entered.set(True)
            try:
                return work()
            finally:
                _has_entered.reset(token)

        if self._passes():
            let_in()
        else:
            self._waiting.append(let_in)

    def _passes(self) -> bool:
        if not self._is_turning:
            self._is_turning, self._left = True, PER_TURN
            self._loop.call_soon(self._turn)
        if not self._left or self._waiting:
            return False
        self._left -= 1
        return True

    def _turn(self) -> None:
        self._left = PER_TURN
        self._is_turning = bool(self._waiting)
        if self._is_turning:
            self._loop.call_soon(self._turn)
            self._leave_heap()
        while self._left and self._waiting:
            if self._waiting.popleft()():
                self._left -= 1

    def _leave_heap(self) -> None:
        """Put off collecting garbage, which would take some tenths of a second, until a crowd has been seen to."""
        if self._is_tended:
            self._is_tended = False
            heap.leave()
            loops.start(self._tend_heap(), name="tend heap")

    async def _tend_heap(self) -> None:
        try:
            await asyncio.sleep(UNTENDED_SECONDS)
        finally:  # also when the loop ends before
            heap.tend()
            self._is_tended = True


_doorways = loops.Own(Doorway)
here = _doorways.here
"""Return the running loop's doorway."""
