"""A pipe between those who say something and the one who hears it."""

import asyncio

from kit.pipes import Pipe


async def test_what_was_said_is_heard_in_one_piece_to_the_end() -> None:
    pipe: Pipe[int] = Pipe(8)
    pipe.put(1)
    pipe.put(2)
    pipe.close()
    pipe.put(3)

    assert pipe.first == 1
    assert await pipe.hear() == [1, 2]
    assert pipe.is_over
    assert await pipe.hear() == []


async def test_who_hears_waits_for_something_or_a_nudge() -> None:
    pipe: Pipe[int] = Pipe(8)
    loop = asyncio.get_running_loop()

    loop.call_soon(pipe.put, 1)
    assert await pipe.hear() == [1]
    loop.call_soon(pipe.nudge)
    assert await pipe.hear() == []
    assert not pipe.is_over
    loop.call_soon(pipe.close)
    assert await pipe.hear() == []
    assert pipe.is_over


async def test_all_who_speak_wait_for_room_until_something_is_taken_or_the_end() -> None:
    pipe: Pipe[int] = Pipe(1)
    pipe.put(1)
    assert pipe.is_full
    waiting = [asyncio.create_task(pipe.room()) for _ in range(2)]
    await asyncio.sleep(0)

    assert not any(one.done() for one in waiting)
    pipe.take()
    await asyncio.gather(*waiting)

    pipe.put(2)
    waiting = [asyncio.create_task(pipe.room()) for _ in range(2)]
    await asyncio.sleep(0)
    pipe.close()
    await asyncio.gather(*waiting)


async def test_who_waits_no_longer_leaves_the_pipe_as_it_was() -> None:
    pipe: Pipe[int] = Pipe(8)
    hearing = asyncio.create_task(pipe.hear())
    await asyncio.sleep(0)
    hearing.cancel()
    pipe.put(1)

    assert await pipe.hear() == [1]
