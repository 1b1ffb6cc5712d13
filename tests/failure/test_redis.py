"""Redis down, stalled or emptied: calls go on under local limits, hardly slower, and budgets stay exact."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import pytest

from embedded import waiting
from tests.failure import books, callers, mayhem
from tests.failure.callers import Told
from tests.failure.stack import Stack

MOST_ADDED_SECONDS = 0.15
# Two web processes, their databases and the callers share the machine with whatever else is tested.
MARGIN_SECONDS = 0.25
LOCAL = "x-skillgate-limits"


@contextmanager
def killed(stack: Stack) -> Iterator[None]:
    stack.valkey.kill()
    try:
        yield
    finally:
        stack.valkey.start()


@contextmanager
def paused(stack: Stack) -> Iterator[None]:
    stack.valkey.pause()
    try:
        yield
    finally:
        stack.valkey.resume()


@pytest.mark.parametrize("broken", [killed, paused])
def test_calls_go_on_under_local_limits_without_redis(
    stack: Stack, key: str, broken: Callable[[Stack], AbstractContextManager[None]]
) -> None:
    _until_shared(stack, key)
    usual = statistics.median(_one(url, key).seconds for url in stack.urls * 5)

    with broken(stack):
        without = [_one(url, key) for url in stack.urls * 8]

    assert {told.status for told in without} == {200}
    assert {_header(told) for told in without} == {"local"}
    assert max(told.seconds for told in without) < usual + MOST_ADDED_SECONDS + MARGIN_SECONDS
    _until_shared(stack, key)
    assert books.faults(stack) == []


def test_a_call_under_way_ends_well_when_redis_dies(stack: Stack, key: str) -> None:
    async def call_and_kill() -> Told:
        call = asyncio.create_task(callers.run(stack.urls[0], key, callers.lasting(3)))
        await asyncio.sleep(1)
        with killed(stack):
            return await call

    told = asyncio.run(call_and_kill())

    assert told.status == 200
    assert told.seconds < 3 + 1
    assert books.faults(stack) == []


def test_an_emptied_redis_is_filled_again_and_nobody_notices(stack: Stack, key: str) -> None:
    _until_shared(stack, key)

    mayhem.flush(stack)
    after = [_one(url, key) for url in stack.urls * 3]

    assert {(told.status, _header(told)) for told in after} == {(200, "shared")}
    assert books.faults(stack) == []


def test_the_sweep_goes_on_after_redis_was_killed_and_emptied(stack: Stack) -> None:
    """Nothing but the timetable and the worker's pulse: both must find their way back to the queue."""
    with killed(stack):
        time.sleep(1)
    mayhem.flush(stack)

    assert waiting.until(lambda: bool(stack.redis().exists("skillgate:pulse:worker")), seconds=25, every=0.5)


def _one(url: str, key: str) -> Told:
    return asyncio.run(callers.run(url, key, callers.prompt(words=4)))


def _header(told: Told) -> str:
    return next((value for name, value in told.headers.items() if name.lower() == LOCAL), "shared")


def _is_shared(url: str, key: str) -> bool:
    return _header(_one(url, key)) == "shared"


def _until_shared(stack: Stack, key: str) -> None:
    """Wait until both web processes have found Redis again."""
    for url in stack.urls:
        assert waiting.until(partial(_is_shared, url, key), seconds=15, every=0.3)
