"""The way in: a few at a time, first come, first served."""

import asyncio
import gc
from collections.abc import Callable
from functools import partial

import pytest

from kit import doorway
from kit.doorway import PER_TURN, Doorway


def crowd_of(number: int, way: Doorway) -> list[int]:
    """Have so many begin, and return the list to which each adds itself in its turn."""
    begun: list[int] = []

    def begin(one: int) -> bool:
        begun.append(one)
        return True

    for one in range(number):
        way.begin(partial(begin, one))
    return begun


async def several_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(condition)


async def test_the_first_are_served_before_the_last_begin() -> None:
    doorway = Doorway()
    said: list[str] = []

    async def one(number: int) -> None:
        await doorway.enter()
        said.append(f"{number} begins")
        for _ in range(5):
            await asyncio.sleep(0)
        said.append(f"{number} ends")

    await asyncio.gather(*(one(number) for number in range(100)))

    begun = [line for line in said if line.endswith("begins")]
    assert begun == [f"{number} begins" for number in range(100)]
    assert said.index("0 ends") <= 6 * PER_TURN + 1
    assert said.index("50 ends") < said.index("99 begins")
    assert doorway.waiting == 0


async def test_who_left_is_passed_over_and_holds_nobody_up() -> None:
    doorway = Doorway()
    crowd = [asyncio.create_task(doorway.enter()) for _ in range(PER_TURN + 8)]
    await asyncio.sleep(0)

    for left in crowd[PER_TURN + 1 : -1]:
        left.cancel()
    await asyncio.wait(crowd)

    assert [task.cancelled() for task in crowd] == [False] * (PER_TURN + 1) + [True] * 6 + [False]
    async with asyncio.timeout(5):
        await doorway.enter()
    assert doorway.waiting == 0


async def test_a_crowd_is_begun_in_order() -> None:
    begun = crowd_of(3 * PER_TURN, Doorway())

    assert begun == list(range(PER_TURN))
    await several_turns()
    assert begun == list(range(3 * PER_TURN))


async def test_garbage_waits_until_a_crowd_has_been_seen_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway, "UNTENDED_SECONDS", 0.05)
    way = Doorway()

    crowd_of(PER_TURN, way)
    await several_turns()
    assert gc.isenabled()

    crowd_of(3 * PER_TURN, way)
    await several_turns()
    assert not gc.isenabled()
    await eventually(gc.isenabled)

    crowd_of(3 * PER_TURN, way)
    await several_turns()
    assert not gc.isenabled()
    await eventually(gc.isenabled)


def test_a_loop_that_ends_leaves_no_garbage_to_lie() -> None:
    async def crowded() -> bool:
        crowd_of(3 * PER_TURN, Doorway())
        await several_turns()
        return gc.isenabled()

    assert not asyncio.run(crowded())
    assert gc.isenabled()


async def test_what_was_begun_in_its_turn_does_not_wait_again() -> None:
    doorway = Doorway()
    inside: list[asyncio.Task[None]] = []

    def begin() -> bool:
        inside.append(asyncio.create_task(doorway.enter()))
        return True

    for _ in range(2 * PER_TURN):
        doorway.begin(begin)
    first = inside[0]
    await asyncio.sleep(0)

    assert first.done()
    await asyncio.gather(*inside)
