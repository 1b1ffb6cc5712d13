"""Items that arrive together go together: a batch that closes by itself.

While one batch is being flushed the next gathers; an item that arrives when nothing is under
way is flushed in the next turn of the loop, with what came until then, so an idle lane adds no
wait. Where items have lately come one by one, it is sent before that, in the turn that brings it.
The queue is bounded and has a deadline.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from math import inf
from typing import Any, Generic, TypeVar

from kit import clock
from kit.errors import Unavailable
from kit.metrics import Counter, Histogram

Item = TypeVar("Item")
Result = TypeVar("Result")
Told = Callable[[Result | Exception], None]
Batch = dict[asyncio.Future[Result], tuple[Item, float, float]]  # since when each waits, and until when
Flushing = asyncio.Future[Any] | None  # the task that does it; of an item sent at once what will be its result
CALM = 8  # so many one by one are no crowd, in which a batch of one is chance: the next one would part from its turn

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
    goes to every item of the batch. `at_once` sends one item right now and tells of its outcome
    in a later turn, or returns False and leaves it to `flush`. `abandoned` is told of an item that
    was flushed with a result nobody waited for any more. A flush that takes longer than `patience`
    seconds does not hold up the lane: it goes on beside the next one, as long as at most
    `most_stuck` do so.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[list[Item]], Awaitable[list[Result | Exception]]],
        *,
        abandoned: Callable[[Item, Result], None],
        at_once: Callable[[Item, Told[Result]], bool] | None = None,
        most_items: int,
        most_waiting: int,
        patience: float = 3.0,
        most_stuck: int = 1,
    ) -> None:
        self._name = name
        self._flush = flush
        self._abandoned = abandoned
        self._at_once = at_once
        self._most_items = most_items
        self._most_waiting = most_waiting
        self._patience = patience
        self._most_stuck = most_stuck
        self._loop = asyncio.get_running_loop()
        self._queue: Batch[Result, Item] = {}
        self._under_way: dict[Flushing, Batch[Result, Item]] = {}
        self._awaited: Flushing = None  # the flush that the next one waits for
        self._awaited_until = inf
        self._watch: asyncio.TimerHandle | None = None  # one for all deadlines: it goes off at the earliest
        self._watches_until = inf
        self._lone = CALM  # how many came one by one, and nothing meanwhile
        self._size = BATCH_SIZE.labels(name)
        self._wait = BATCH_WAIT.labels(name)

    @property
    def waiting(self) -> int:
        """How many items are waiting to be flushed."""
        return len(self._queue)

    async def submit(self, item: Item, *, within: float) -> Result:
        """Return the item's result, or raise `Unavailable` as `put` says; who is cancelled has not asked."""
        answer = self.put(item, within=within)
        try:
            return await answer
        except asyncio.CancelledError:
            self.forgo(item, answer)
            raise

    def put(self, item: Item, *, within: float) -> "asyncio.Future[Result]":
        """Take an item in, which is flushed whoever waits for it, and return what will be its result.

        It is `Unavailable` after `within` seconds, or at once when the queue is full.
        """
        answer: asyncio.Future[Result] = self._loop.create_future()
        if len(self._queue) >= self._most_waiting:
            BATCH_REFUSED.labels(self._name, "full").inc()
            full = Unavailable("Too many calls are waiting to be admitted. Try again shortly.", retry_after=1)
            answer.set_exception(full)
            return answer
        now = clock.monotonic()
        until = now + within
        if until < self._watches_until:
            self._watch_until(until, now=now)
        if not (self._lone >= CALM and self._is_sent_at_once(item, answer, now=now, until=until)):
            self._queue[answer] = item, now, until
            if self._awaited is None:
                self._go_on()
        return answer

    def forgo(self, item: Item, answer: "asyncio.Future[Result]") -> None:
        """Want no more what `put` returned for an item: it is not flushed any more, or abandoned once it was."""
        self._queue.pop(answer, None)
        answer.cancel()
        # Where the answer is there already, nobody will have it.
        if not answer.cancelled() and answer.exception() is None:
            self._abandoned(item, answer.result())

    def _watch_until(self, moment: float, *, now: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watches_until = moment
        self._watch = self._loop.call_later(moment - now, self._look)

    def _look(self) -> None:
        """Refuse what waited too long, wait no more for a flush that takes too long, and watch on."""
        now = clock.monotonic()
        if self._awaited_until <= now:
            self._awaited, self._awaited_until = None, inf
            self._go_on()
        earliest = self._awaited_until
        for batch in (*self._under_way.values(), self._queue):
            for answer, (_, _, until) in list(batch.items()):
                if until <= now:
                    self._expire(answer, is_under_way=batch is not self._queue)
                elif not answer.done():
                    earliest = min(earliest, until)
        self._watch, self._watches_until = None, inf
        if earliest < inf:
            self._watch_until(earliest, now=now)

    def _expire(self, answer: "asyncio.Future[Result]", *, is_under_way: bool) -> None:
        self._queue.pop(answer, None)
        if not answer.done():
            BATCH_REFUSED.labels(self._name, "late").inc()
            late = Unavailable("The ledger did not answer in time; nothing was spent. Try again.", retry_after=2)
            late.may_be_done = is_under_way
            answer.set_exception(late)

    def _is_sent_at_once(self, item: Item, answer: "asyncio.Future[Result]", *, now: float, until: float) -> bool:
        if self._at_once is None or self._under_way or self._queue:
            return False
        batch = {answer: (item, now, until)}
        if not self._at_once(item, partial(self._end, answer, batch)):
            return False
        self._begin(answer, batch, now=now)
        self._loop.call_soon(self._observe, 1, 0.0)
        return True

    def _go_on(self) -> None:
        """Flush what waits, unless a flush is waited for or too many are stuck."""
        if self._queue and self._awaited is None and len(self._under_way) <= self._most_stuck:
            self._awaited = self._loop.create_task(self._deliver())
            self._under_way[self._awaited] = {}

    async def _deliver(self) -> None:
        """Flush a batch of all that came in the turn of the loop that began with its first item."""
        flushing = self._awaited
        batch = dict(islice(self._queue.items(), self._most_items))
        for answer in batch:
            del self._queue[answer]
        now = clock.monotonic()
        self._begin(flushing, batch, now=now)
        outcomes: list[Result | Exception] = []  # it stays so when cancelled
        try:
            if batch:  # or else all of it was cancelled meanwhile
                _, since, _ = next(iter(batch.values()))
                self._loop.call_soon(self._observe, len(batch), now - since)  # once it is sent
                outcomes = await self._flush([item for item, _, _ in batch.values()])
        except Exception as fault:  # noqa: BLE001 - whatever went wrong belongs to the callers that wait for it
            outcomes = [fault] * len(batch)
        finally:
            self._end(flushing, batch, *(outcomes or [Unavailable("The process is stopping. Try again.")] * len(batch)))

    def _begin(self, flushing: Flushing, batch: Batch[Result, Item], *, now: float) -> None:
        self._under_way[flushing] = batch
        self._awaited, self._awaited_until = flushing, now + self._patience
        if self._awaited_until < self._watches_until:
            self._watch_until(self._awaited_until, now=now)

    def _observe(self, items: int, waited: float) -> None:
        self._wait.observe(waited)
        self._size.observe(items)

    def _end(self, flushing: Flushing, batch: Batch[Result, Item], *outcomes: Result | Exception) -> None:
        for (answer, (item, _, _)), outcome in zip(batch.items(), outcomes, strict=True):
            if answer.done():
                if not isinstance(outcome, Exception):
                    self._abandoned(item, outcome)
            elif isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
        del self._under_way[flushing]
        if self._awaited is flushing:
            self._awaited, self._awaited_until = None, inf
        self._lone = 0 if self._queue or len(batch) > 1 else self._lone + 1
        if self._queue:
            self._go_on()
