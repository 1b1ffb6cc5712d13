"""Postgres stalled or killed: 503 in time and nothing upstream without a row; what runs goes on and settles later."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest

from embedded import waiting
from tests.failure import books, callers
from tests.failure.callers import Call, Told
from tests.failure.stack import Stack

LONGEST_SECONDS = 3.0
MARGIN_SECONDS = 0.3
# Longer than a key is remembered (5 s), so that also looking it up meets the silence.
OUTAGE_SECONDS = 7.0

Broken = Callable[[Stack], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def killed(stack: Stack) -> AsyncIterator[None]:
    await asyncio.to_thread(stack.postgres.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(stack.postgres.start)


@asynccontextmanager
async def paused(stack: Stack) -> AsyncIterator[None]:
    await asyncio.to_thread(stack.postgres.pause)
    try:
        yield
    finally:
        await asyncio.to_thread(stack.postgres.resume)


@pytest.mark.parametrize("broken", [killed, paused])
def test_without_postgres_calls_are_refused_in_time_and_nothing_goes_upstream(
    stack: Stack, key: str, broken: Broken
) -> None:
    billed = len(stack.calls())

    told = asyncio.run(_calls_during(stack, key, broken))

    assert {one.status for one in told} == {503}
    assert all(int(one.headers["Retry-After"]) >= 1 for one in told)
    assert {one.error["type"] for one in told} == {"api_error"}
    assert max(one.seconds for one in told) < LONGEST_SECONDS + MARGIN_SECONDS
    assert len(stack.calls()) == billed
    _until_served(stack, key)
    _until_closed(stack)
    assert books.faults(stack) == []


@pytest.mark.parametrize("broken", [killed, paused])
def test_calls_under_way_go_on_without_postgres_and_settle_later(stack: Stack, key: str, broken: Broken) -> None:
    _until_served(stack, key)

    told, waiting_for_postgres = asyncio.run(_calls_across(stack, key, broken))

    assert waiting_for_postgres == []
    for one in told:
        assert one.status == 200
        assert '"error"' not in one.text
    _until_closed(stack)
    last = stack.sql("SELECT state FROM usage_event ORDER BY opened_at DESC LIMIT %s", [len(told)])
    assert [event["state"] for event in last] == ["settled"] * len(told)
    assert books.faults(stack) == []
    _until_served(stack, key)


async def _calls_during(stack: Stack, key: str, broken: Broken) -> list[Told]:
    began = time.monotonic()
    told: list[Told] = []
    async with broken(stack):
        while time.monotonic() - began < OUTAGE_SECONDS:
            calls = [callers.run(url, key, callers.prompt(words=4), leave_after=10) for url in stack.urls * 3]
            told += await asyncio.gather(*calls)
    return told


async def _calls_across(stack: Stack, key: str, broken: Broken) -> tuple[list[Told], list[str]]:
    """Return what calls of every kind were told, and the kinds that were not answered before Postgres was back."""
    kinds: list[Call] = [callers.run, callers.stream, callers.relay]
    under_way = [
        asyncio.create_task(kind(url, key, callers.lasting(2)), name=kind.__name__)
        for kind in kinds
        for url in stack.urls
    ]
    await asyncio.sleep(0.7)
    async with broken(stack):
        _, late = await asyncio.wait(under_way, timeout=2 + LONGEST_SECONDS)
    return list(await asyncio.gather(*under_way)), [call.get_name() for call in late]


def _until_served(stack: Stack, key: str) -> None:
    """Wait until both web processes have found Postgres again."""
    for url in stack.urls:
        assert waiting.until(partial(_is_served, url, key), seconds=10, every=0.3)


def _is_served(url: str, key: str) -> bool:
    return asyncio.run(callers.run(url, key, callers.prompt(words=4))).status == 200


def _until_closed(stack: Stack) -> None:
    """Wait a little until what settles late is settled, which is long before the sweep."""
    assert waiting.until(lambda: not stack.open_events(), seconds=15, every=0.3)
