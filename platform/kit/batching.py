"""Items that arrive together go together: a batch that closes by itself.

While one batch is being flushed the next gathers; an item that arrives when nothing is under
way is flushed at once, so an idle lane adds no wait. The queue is bounded and has a deadline.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from kit import clock
from kit.errors import Unavailable
from kit.metrics import Counter, Histogram

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_SIZE = Histogram(
    "skillgate_batch_items", "Items flushed together.", ["lane"], buckets=(1, 2, 5, 10, 20, 50, 100, 200)
)
BATCH_WAIT = Histogram(
    "skillgate_batch_wait_seconds",
    "Time the first item of a batch, which waits longest, waits before the batch is flushed.",
    ["lane"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2.5),
)
BATCH_REFUSED = Counter(
    "skillgate_batch_refused_total", "Items refused because the lane was full or late.", ["lane", "why"]
)


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
        self._queue: OrderedDict[asyncio.Future[Result], tuple[Item, float]] = OrderedDict()  # and since when it waits
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
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._queue[answer] = item, clock.monotonic()
        if self._awaited is None:
            self._go_on()
        deadline = loop.call_later(within, self._expire, answer)
        try:
            return await answer
        except asyncio.CancelledError:
            self._disown(item, answer)
            raise
        finally:
            deadline.cancel()

    def _expire(self, answer: "asyncio.Future[Result]") -> None:
        self._queue.pop(answer, None)
        if not answer.done():
            BATCH_REFUSED.labels(self._name, "late").inc()
            answer.set_exception(
                Unavailable("The ledger did not answer in time; nothing was spent. Try again.", retry_after=2)
            )

    def _disown(self, item: Item, answer: "asyncio.Future[Result]") -> None:
        self._queue.pop(answer, None)
        # Cancelled between the answer and its reading: the answer is there and nobody will have it.
        if not answer.cancelled() and answer.exception() is None:
            self._abandoned(item, answer.result())

    def _go_on(self) -> None:
        """Flush what waits, unless a flush is waited for or too many are stuck."""
        if self._queue and self._awaited is None and len(self._under_way) <= self._most_stuck:
            loop = asyncio.get_running_loop()
            flushing = self._awaited = loop.create_task(self._deliver())
            self._under_way.add(flushing)
            patience = loop.call_later(self._patience, self._wait_no_more, flushing)
            flushing.add_done_callback(partial(self._ended, patience))

    def _wait_no_more(self, flushing: asyncio.Task[None]) -> None:
        if self._awaited is flushing:
            self._awaited = None
            self._go_on()

    def _ended(self, patience: asyncio.TimerHandle, flushing: asyncio.Task[None]) -> None:
        patience.cancel()
        self._under_way.discard(flushing)
        if self._awaited is flushing:
            self._awaited = None
        self._go_on()

    async def _deliver(self) -> None:
        if not self._queue:  # all of it was cancelled meanwhile
            return
        _, (_, since) = next(iter(self._queue.items()))
        self._wait.observe(clock.monotonic() - since)
        batch = [self._queue.popitem(last=False) for _ in range(min(len(self._queue), self._most_items))]
        self._size.observe(len(batch))
        outcomes: list[Result | Exception] = []
        try:
            outcomes = await self._flush([item for _, (item, _) in batch])
        except Exception as fault:  # noqa: BLE001 - whatever went wrong belongs to the callers that wait for it
            outcomes = [fault] * len(batch)
        finally:
            if not outcomes:  # cancelled
                outcomes = [Unavailable("The process is stopping. Try again.")] * len(batch)
            for (answer, (item, _)), outcome in zip(batch, outcomes, strict=True):
                self._answer(item, answer, outcome)

    def _answer(self, item: Item, answer: "asyncio.Future[Result]", outcome: Result | Exception) -> None:
        if answer.done():
            if not isinstance(outcome, Exception):
                self._abandoned(item, outcome)
        elif isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
