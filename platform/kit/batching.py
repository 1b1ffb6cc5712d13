"""Items that arrive together go together: a batch that closes by itself.

While one batch is being flushed the next gathers; an item that arrives when nothing is under
way is flushed at once, so an idle lane adds no wait. The queue is bounded and has a deadline.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from prometheus_client import Histogram

from kit import clock
from kit.errors import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_SIZE = Histogram(
    "skillgate_batch_items", "Items flushed together.", ["lane"], buckets=(1, 2, 5, 10, 20, 50, 100, 200)
)
BATCH_WAIT = Histogram(
    "skillgate_batch_wait_seconds",
    "Time an item waits before its batch is flushed.",
    ["lane"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.5),
)


class _Waiting(Generic[Item, Result]):
    __slots__ = ("deadline", "future", "item", "since")

    def __init__(self, item: Item, *, since: float, deadline: float) -> None:
        self.item = item
        self.since = since
        self.deadline = deadline
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()


class Lane(Generic[Item, Result]):
    """One queue whose items are flushed in order, a batch at a time.

    `flush` answers each item, in order, with a result or an exception; what it raises itself
    goes to every item of the batch. `abandoned` is told of an item that was flushed with a
    result nobody waited for any more.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[list[Item]], Awaitable[list[Result | Exception]]],
        *,
        abandoned: Callable[[Item, Result], None],
        most_items: int,
        most_waiting: int,
    ) -> None:
        self._flush = flush
        self._abandoned = abandoned
        self._most_items = most_items
        self._most_waiting = most_waiting
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._size = BATCH_SIZE.labels(name)
        self._wait = BATCH_WAIT.labels(name)

    async def submit(self, item: Item, *, within: float) -> Result:
        """This function will return the item's result, or raise `Unavailable` after `within` seconds or when the queue is full."""
        if len(self._queue) >= self._most_waiting:
            raise Unavailable("Too many calls are waiting to be admitted. Try again shortly.", retry_after=1)
        now = clock.monotonic()
        waiting: _Waiting[Item, Result] = _Waiting(item, since=now, deadline=now + within)
        self._queue.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            await asyncio.wait({waiting.future}, timeout=within)
        except asyncio.CancelledError:
            self._disown(waiting)
            raise
        if waiting.future.done():
            return waiting.future.result()
        waiting.future.cancel()
        raise Unavailable("The ledger did not answer in time; nothing was spent. Try again.", retry_after=2)

    def _disown(self, waiting: _Waiting[Item, Result]) -> None:
        if not waiting.future.cancel() and not waiting.future.exception():
            self._abandoned(waiting.item, waiting.future.result())

    async def _work(self) -> None:
        while self._queue:
            batch = self._take()
            if batch:
                await self._deliver(batch)

    def _take(self) -> list[_Waiting[Item, Result]]:
        now = clock.monotonic()
        batch: list[_Waiting[Item, Result]] = []
        while self._queue and len(batch) < self._most_items:
            waiting = self._queue.popleft()
            if not waiting.future.done() and waiting.deadline > now:
                self._wait.observe(now - waiting.since)
                batch.append(waiting)
        return batch

    async def _deliver(self, batch: list[_Waiting[Item, Result]]) -> None:
        self._size.observe(len(batch))
        answers: list[Result | Exception]
        try:
            answers = await self._flush([waiting.item for waiting in batch])
        except Exception as fault:  # noqa: BLE001 - whatever went wrong belongs to the callers that wait for it
            answers = [fault] * len(batch)
        for waiting, answer in zip(batch, answers, strict=True):
            self._answer(waiting, answer)

    def _answer(self, waiting: _Waiting[Item, Result], answer: Result | Exception) -> None:
        if waiting.future.done():
            if not isinstance(answer, Exception):
                self._abandoned(waiting.item, answer)
        elif isinstance(answer, Exception):
            waiting.future.set_exception(answer)
        else:
            waiting.future.set_result(answer)
