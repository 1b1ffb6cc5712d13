"""Items that arrive together go together: a batch that closes by itself.

While one batch is being flushed the next gathers; an item that arrives when nothing is under
way is flushed at once, so an idle lane adds no wait. The queue is bounded and has a deadline.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from prometheus_client import Counter, Histogram

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
BATCH_REFUSED = Counter(
    "skillgate_batch_refused_total", "Items refused because the lane was full or late.", ["lane", "why"]
)


class _Waiting(Generic[Item, Result]):
    __slots__ = ("future", "item", "since")

    def __init__(self, item: Item, *, since: float) -> None:
        self.item = item
        self.since = since
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()


class Lane(Generic[Item, Result]):
    """One queue whose items are flushed in order, a batch at a time.

    `flush` answers each item, in order, with a result or an exception; what it raises itself
    goes to every item of the batch. `abandoned` is told of an item that was flushed with a
    result nobody waited for any more. A flush that takes longer than `patience` seconds does not
    hold up the lane: it goes on beside the next one, as long as at most `most_stuck` do so.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[list[Item]], Awaitable[list[Result | Exception]]],
        *,
        abandoned: Callable[[Item, Result], None],
        most_items: int,
        most_waiting: int,
        patience: float = 3.0,
        most_stuck: int = 1,
    ) -> None:
        self._name = name
        self._flush = flush
        self._abandoned = abandoned
        self._most_items = most_items
        self._most_waiting = most_waiting
        self._patience = patience
        self._most_stuck = most_stuck
        self._queue: OrderedDict[_Waiting[Item, Result], None] = OrderedDict()
        self._under_way: set[asyncio.Task[None]] = set()
        self._awaited: asyncio.Task[None] | None = None  # the flush that the next one waits for
        self._size = BATCH_SIZE.labels(name)
        self._wait = BATCH_WAIT.labels(name)

    @property
    def waiting(self) -> int:
        """How many items are waiting to be flushed."""
        return len(self._queue)

    async def submit(self, item: Item, *, within: float) -> Result:
        """Return the item's result, or raise `Unavailable` after `within` seconds or when the queue is full."""
        if len(self._queue) >= self._most_waiting:
            BATCH_REFUSED.labels(self._name, "full").inc()
            raise Unavailable("Too many calls are waiting to be admitted. Try again shortly.", retry_after=1)
        waiting: _Waiting[Item, Result] = _Waiting(item, since=clock.monotonic())
        self._queue[waiting] = None
        self._go_on()
        deadline = asyncio.get_running_loop().call_later(within, self._expire, waiting)
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self._disown(waiting)
            raise
        finally:
            deadline.cancel()

    def _expire(self, waiting: _Waiting[Item, Result]) -> None:
        self._queue.pop(waiting, None)
        if not waiting.future.done():
            BATCH_REFUSED.labels(self._name, "late").inc()
            waiting.future.set_exception(
                Unavailable("The ledger did not answer in time; nothing was spent. Try again.", retry_after=2)
            )

    def _disown(self, waiting: _Waiting[Item, Result]) -> None:
        self._queue.pop(waiting, None)
        # Cancelled between the answer and its reading: the answer is there and nobody will have it.
        if not waiting.future.cancelled() and waiting.future.exception() is None:
            self._abandoned(waiting.item, waiting.future.result())

    def _go_on(self) -> None:
        """Flush what waits, unless a flush is waited for or too many are stuck."""
        if self._queue and self._awaited is None and len(self._under_way) <= self._most_stuck:
            flushing = self._awaited = asyncio.create_task(self._deliver())
            self._under_way.add(flushing)
            patience = asyncio.get_running_loop().call_later(self._patience, self._wait_no_more, flushing)
            flushing.add_done_callback(lambda ended: self._ended(ended, patience))

    def _wait_no_more(self, flushing: asyncio.Task[None]) -> None:
        if self._awaited is flushing:
            self._awaited = None
            self._go_on()

    def _ended(self, flushing: asyncio.Task[None], patience: asyncio.TimerHandle) -> None:
        patience.cancel()
        self._under_way.discard(flushing)
        if self._awaited is flushing:
            self._awaited = None
        self._go_on()

    def _take(self) -> list[_Waiting[Item, Result]]:
        now = clock.monotonic()
        batch: list[_Waiting[Item, Result]] = []
        while self._queue and len(batch) < self._most_items:
            waiting, _ = self._queue.popitem(last=False)
            self._wait.observe(now - waiting.since)
            batch.append(waiting)
        return batch

    async def _deliver(self) -> None:
        batch = self._take()
        if not batch:  # all of it was cancelled meanwhile
            return
        self._size.observe(len(batch))
        answers: list[Result | Exception] = [Unavailable("The process is stopping. Try again.")] * len(batch)
        try:
            answers = await self._flush([waiting.item for waiting in batch])
        except Exception as fault:  # noqa: BLE001 - whatever went wrong belongs to the callers that wait for it
            answers = [fault] * len(batch)
        finally:
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
