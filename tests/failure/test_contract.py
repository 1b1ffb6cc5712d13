"""The failure contract, a row at a time: what callers see while a part fails, and that I1 to I5 hold after it.

Which test of real processes shows what, beside the rows below:

| part | killed | frozen (SIGSTOP) | slow | restarted | emptied |
|---|---|---|---|---|---|
| web | test_web, test_kill | here | here | test_web (SIGTERM), test_restarts | |
| worker | here, test_kill; its analyses: tests/analyses/test_durability, test_mayhem | here | here | here | |
| beat | here, test_kill | here | here | here | |
| Redis | test_redis, test_kill | test_redis, test_kill | here | here | test_redis, test_kill |
| Postgres | test_postgres, test_kill | test_postgres | here | here | |
| Claude | here | here (a moment; longer than it may be silent) | here | here | |

Retries, breakers and fallbacks, which answer Claude's typed errors, are tried in tests/resilience; a revoked key and
a suspended tenant, with and without Redis, in test_revocation.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from operator import attrgetter

import pytest

from embedded import waiting
from embedded.child import Child
from tests.failure import books, callers
from tests.failure.callers import Told
from tests.failure.stack import SILENCE_SECONDS, Stack

LASTS_SECONDS = 1.5
_BROKEN_SECONDS = 1.2
# What the slowest may add (Postgres is given 3 s), with a margin for a machine that has much other work.
LONGEST_SECONDS = LASTS_SECONDS + SILENCE_SECONDS + 3.0 + 5.0
_BEAT_SECONDS = 0.08

Breaks = Callable[[Stack], AbstractAsyncContextManager[None]]
Part = Callable[[Stack], Child]


@dataclass(frozen=True, slots=True)
class Row:
    """What is broken, and the statuses that calls under way and calls made meanwhile may get."""

    name: str
    breaks: Breaks
    under_way: frozenset[int] = frozenset({200})
    meanwhile: frozenset[int] = frozenset({200})


def restarted(*parts: Part) -> Breaks:
    """Stopped in good order and started again."""

    @asynccontextmanager
    async def breaks(stack: Stack) -> AsyncIterator[None]:
        for part in parts:
            await asyncio.to_thread(part(stack).stop)
        yield
        for part in parts:
            await asyncio.to_thread(part(stack).start)

    return breaks


def killed(*parts: Part) -> Breaks:
    """Killed, and started again after a while."""

    @asynccontextmanager
    async def breaks(stack: Stack) -> AsyncIterator[None]:
        for part in parts:
            await asyncio.to_thread(part(stack).kill)
        yield
        for part in parts:
            await asyncio.to_thread(part(stack).start)

    return breaks


def stalled(*parts: Part, seconds: float = _BROKEN_SECONDS) -> Breaks:
    """Frozen for some seconds."""

    @asynccontextmanager
    async def breaks(stack: Stack) -> AsyncIterator[None]:
        thawing = asyncio.create_task(_freeze(*(part(stack) for part in parts), seconds=seconds))
        yield
        await thawing

    return breaks


def slowed(*parts: Part) -> Breaks:
    """At work only half of the time."""

    @asynccontextmanager
    async def breaks(stack: Stack) -> AsyncIterator[None]:
        until = time.monotonic() + _BROKEN_SECONDS

        async def flicker() -> None:
            while time.monotonic() < until:
                await _freeze(*(part(stack) for part in parts), seconds=_BEAT_SECONDS)
                await asyncio.sleep(_BEAT_SECONDS)

        flickering = asyncio.create_task(flicker())
        yield
        await flickering

    return breaks


async def _freeze(*children: Child, seconds: float) -> None:
    for child in children:
        child.pause()
    try:
        await asyncio.sleep(seconds)
    finally:
        for child in children:
            child.resume()


_CLAUDE: Part = attrgetter("emulator")
_WEB: Part = lambda stack: stack.webs[0]  # noqa: E731 - named as its neighbours are
_WORKER: Part = attrgetter("worker")
_BEAT: Part = attrgetter("beat")
_REDIS: Part = attrgetter("valkey")
_POSTGRES: Part = attrgetter("postgres")
_REFUSED = frozenset({502, 503, 529})
_TIMED_OUT = frozenset({504})
_ROWS = (
    Row("Claude killed", killed(_CLAUDE), under_way=_REFUSED, meanwhile=_REFUSED),
    Row("Claude stalled", stalled(_CLAUDE)),
    Row(
        "Claude silent for too long",
        stalled(_CLAUDE, seconds=SILENCE_SECONDS + 1.5),
        under_way=_TIMED_OUT,
        meanwhile=_TIMED_OUT,
    ),
    Row("Claude restarted", restarted(_CLAUDE), under_way=_REFUSED | {200}, meanwhile=_REFUSED),
    Row("Claude slow", slowed(_CLAUDE)),
    Row("a web process stalled", stalled(_WEB)),
    Row("a web process slow", slowed(_WEB)),
    Row("worker and beat killed", killed(_WORKER, _BEAT)),
    Row("beat killed", killed(_BEAT)),
    Row("worker and beat stalled", stalled(_WORKER, _BEAT)),
    Row("worker and beat slow", slowed(_WORKER, _BEAT)),
    Row("worker and beat restarted", restarted(_WORKER, _BEAT)),
    Row("Redis restarted", restarted(_REDIS)),
    Row("Redis slow", slowed(_REDIS)),
    Row("Postgres restarted", restarted(_POSTGRES), meanwhile=frozenset({503})),
    Row("Postgres slow", slowed(_POSTGRES), meanwhile=frozenset({200, 503})),
)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name.replace(" ", "-")) for row in _ROWS])
def test_callers_see_what_was_promised_and_the_books_are_right_afterwards(stack: Stack, key: str, row: Row) -> None:
    _until_served(stack, key)

    under_way, meanwhile = asyncio.run(_calls_through(stack, key, row))

    assert {_status(told) for told in under_way} <= row.under_way, [told.text[-300:] for told in under_way]
    assert {_status(told) for told in meanwhile} <= row.meanwhile, [told.text[-300:] for told in meanwhile]
    assert [told.trouble for told in (*under_way, *meanwhile)] == [""] * len((*under_way, *meanwhile))
    assert max(told.seconds for told in (*under_way, *meanwhile)) < LONGEST_SECONDS
    for told in meanwhile:
        assert told.status != 503 or int(told.headers["Retry-After"]) >= 1
    _until_served(stack, key)
    assert waiting.until(lambda: not stack.open_events(), seconds=20, every=0.2), stack.open_events()
    assert books.faults(stack) == []


def test_everything_comes_up_whatever_is_started_first(stack: Stack, key: str) -> None:
    _until_served(stack, key)
    programs, services = (*stack.webs, stack.worker, stack.beat), (stack.postgres, stack.valkey)
    for child in (*programs, *services):
        child.kill()

    for child in programs:
        child.launch()
    time.sleep(3)  # long enough to fail for good, for whoever would
    alone = [child.name for child in programs if child.is_alive]
    for child in services:
        child.start()
    with stack.redis() as connection:
        connection.delete("skillgate:pulse:worker")

    assert alone == [child.name for child in programs]
    _until_served(stack, key, seconds=40)
    assert waiting.until(lambda: bool(stack.redis().exists("skillgate:pulse:worker")), seconds=60, every=0.3)
    assert books.faults(stack) == []


async def _calls_through(stack: Stack, key: str, row: Row) -> tuple[list[Told], list[Told]]:
    """Return what calls of every kind were told that were under way, and those that were made meanwhile."""
    kinds = (callers.run, callers.stream, callers.relay)
    under_way = [
        asyncio.create_task(kind(url, key, callers.lasting(LASTS_SECONDS))) for kind in kinds for url in stack.urls
    ]
    await asyncio.sleep(0.7)
    async with row.breaks(stack):
        meanwhile = await asyncio.gather(
            *(kind(url, key, callers.prompt(words=4)) for kind in kinds for url in stack.urls)
        )
    return list(await asyncio.gather(*under_way)), list(meanwhile)


def _status(told: Told) -> int:
    """A stream that began well and ended with an error failed all the same."""
    if told.status == 200 and "event: error" in told.text:
        return next((status for name, status in _STATUSES.items() if f'"{name}"' in told.text), 500)
    return told.status


_STATUSES = {"overloaded_error": 529, "timeout_error": 504, "api_error": 502}


def _until_served(stack: Stack, key: str, *, seconds: float = 20) -> None:
    told: list[Told] = []

    def is_served() -> bool:
        told[:] = [asyncio.run(callers.run(url, key, callers.prompt(words=4))) for url in stack.urls]
        return {one.status for one in told} == {200}

    assert waiting.until(is_served, seconds=seconds, every=0.2), [(one.status, one.trouble, one.text) for one in told]
