"""A Postgres that accepts and never answers: callers hear 503 within 3 s, and nothing stays behind."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from kit import pg
from kit.errors import Unavailable
from tests.usage.desk import Desk, account, events, settled
from usage import ledger
from usage.ledger import lanes, unanswered

CONNECTIONS = 2


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """The idle backends that the test has stopped; all go on at its end."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


async def stop_all_backends(pids: list[int]) -> None:
    async with pg.connection() as first, pg.connection() as second:
        pids += [first.info.backend_pid, second.info.backend_pid]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def go_on(pids: list[int]) -> None:
    while pids:
        os.kill(pids.pop(), signal.SIGCONT)


async def until_released(desk: Desk) -> None:
    """Until every statement has its answer: one that has none yet may still commit what nobody waits for."""
    for _ in range(500):
        if not under_way() and unanswered.count() == 0 and account(desk)["reserved_tokens"] == 0:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{under_way()} under way, {unanswered.count()} unanswered, {account(desk)}")


def under_way() -> int:
    return sum(len(lane._under_way) for lane in lanes._lanes.here())


async def test_callers_hear_within_three_seconds_and_nothing_leaks(
    desk: Desk, settings: Settings, stopped: list[int]
) -> None:
    settings.POOL_MAX_CONNECTIONS = CONNECTIONS
    await ledger.settle(await desk.reserve(1), settled(1))
    await stop_all_backends(stopped)
    tasks_before = len(asyncio.all_tasks())

    async def call() -> float:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await desk.reserve(100)
        return time.monotonic() - started

    took = await asyncio.gather(*(call() for _ in range(40)))
    took += await asyncio.gather(*(call() for _ in range(40)))

    assert max(took) < 3
    assert all(lane.waiting == 0 for lane in lanes._lanes.here())
    assert len(asyncio.all_tasks()) <= tasks_before + 8
    go_on(stopped)
    await until_released(desk)
    assert {event["state"] for event in events(desk)} <= {"settled", "released"}
    assert isinstance(await desk.reserve(100), ledger.Reservation)


async def test_a_settlement_outlasts_the_outage(desk: Desk, settings: Settings, stopped: list[int]) -> None:
    settings.POOL_MAX_CONNECTIONS = CONNECTIONS
    reservation = await desk.reserve(100)
    await stop_all_backends(stopped)

    settling = asyncio.create_task(ledger.settle(reservation, settled(30)))
    await asyncio.sleep(3.5)
    assert not settling.done()
    go_on(stopped)

    assert await asyncio.wait_for(settling, 10) == "settled"
    assert account(desk)["settled_tokens"] == 30


async def test_one_stuck_connection_holds_up_its_callers_only(
    desk: Desk, settings: Settings, stopped: list[int]
) -> None:
    settings.POOL_MAX_CONNECTIONS = CONNECTIONS
    async with pg.connection() as first, pg.connection() as second:
        stopped.append(first.info.backend_pid)
        assert second.info.backend_pid != first.info.backend_pid
    os.kill(stopped[0], signal.SIGSTOP)

    outcomes = [await asyncio.gather(desk.reserve(10), return_exceptions=True) for _ in range(3)]

    admitted = [one for (one,) in outcomes if isinstance(one, ledger.Reservation)]
    assert len(admitted) >= 1
    go_on(stopped)
    for one in admitted:
        await ledger.settle(one, ledger.Closing("released"))
    await until_released(desk)
