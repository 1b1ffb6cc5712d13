"""The way in: a few at a time, first come, first served."""

import asyncio

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
    crowd = [asyncio.create_task(doorway.enter()) for _ in range(10)]
    await asyncio.sleep(0)

    for left in crowd[3:9]:
        left.cancel()
    await asyncio.wait(crowd)

    assert [task.cancelled() for task in crowd] == [False] * 3 + [True] * 6 + [False]
    async with asyncio.timeout(5):
        await doorway.enter()
    assert doorway.waiting == 0
