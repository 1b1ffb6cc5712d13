"""A crowd that misses a cache reads once; what one of them suffers is not the others' affair."""

import asyncio

import pytest

from kit import coalescing
from kit.errors import Unavailable


class Source:
    """Counts how often it is read, and answers when it is told to."""

    def __init__(self) -> None:
        self.reads = 0
        self.may_answer = asyncio.Event()

    async def read(self) -> int:
        self.reads += 1
        await self.may_answer.wait()
        return self.reads

    async def fail(self) -> int:
        self.reads += 1
        await self.may_answer.wait()
        raise Unavailable("Nobody is there.")


async def crowd(source: Source, *, key: str = "a") -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(coalescing.shared(key, source.read)) for _ in range(50)]
    await asyncio.sleep(0)
    return tasks


async def test_a_crowd_shares_one_read() -> None:
    source = Source()
    tasks = await crowd(source)
    source.may_answer.set()

    assert await asyncio.gather(*tasks) == [1] * 50
    assert source.reads == 1


async def test_what_comes_after_it_reads_anew() -> None:
    source = Source()
    source.may_answer.set()

    assert [await coalescing.shared("a", source.read) for _ in range(2)] == [1, 2]


async def test_other_keys_are_read_apart() -> None:
    source = Source()
    tasks = [*await crowd(source, key="a"), *await crowd(source, key="b")]
    source.may_answer.set()
    await asyncio.gather(*tasks)

    assert source.reads == 2


async def test_who_leaves_does_not_take_the_read_along() -> None:
    source = Source()
    first, *others = await crowd(source)
    first.cancel()
    source.may_answer.set()

    assert await asyncio.gather(*others) == [1] * 49
    assert first.cancelled()


async def test_a_read_that_fails_fails_for_all_and_is_not_kept() -> None:
    source = Source()
    tasks = [asyncio.create_task(coalescing.shared("a", source.fail)) for _ in range(3)]
    await asyncio.sleep(0)
    source.may_answer.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    with pytest.raises(Unavailable):
        await coalescing.shared("a", source.fail)
    assert source.reads == 2
