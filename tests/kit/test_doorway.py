"""The way in: a few at a time, first come, first served."""

import asyncio
import gc
from functools import partial

from kit.doorway import PER_TURN, Doorway


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


async def test_a_crowd_is_begun_in_order_and_garbage_waits_meanwhile() -> None:
    doorway = Doorway()
    begun: list[int] = []
    was_tended: list[bool] = []

    def begin(number: int) -> bool:
        begun.append(number)
        was_tended.append(gc.isenabled())
        return True

    for number in range(3 * PER_TURN):
        doorway.begin(partial(begin, number))
    assert begun == list(range(PER_TURN))
    for _ in range(5):
        await asyncio.sleep(0)

    assert begun == list(range(3 * PER_TURN))
    assert was_tended[0]
    assert not was_tended[-1]
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
