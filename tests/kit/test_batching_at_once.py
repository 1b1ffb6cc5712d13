"""A lane on which items come one by one sends each in the turn that brings it; a crowd still goes in batches."""

import asyncio
from collections.abc import Callable

import pytest

from kit.batching import CALM, Lane
from kit.errors import Unavailable


class Prompt:
    """A lane that sends at once, as long as `takes`, and what it sent; of the outcomes the test tells."""

    def __init__(self, **options: float) -> None:
        self.takes = True
        self.sent: dict[int, Callable[[int | Exception], None]] = {}
        self.flushed: list[list[int]] = []
        self.left: list[int] = []
        self.lane: Lane[int, int] = Lane(
            "test",
            self._flush,
            abandoned=lambda item, _: self.left.append(item),
            at_once=self._send,
            most_items=3,
            most_waiting=5,
            **options,  # type: ignore[arg-type]  # options are the lane's
        )

    def _send(self, item: int, told: Callable[[int | Exception], None]) -> bool:
        if self.takes:
            self.sent[item] = told
        return self.takes

    async def _flush(self, items: list[int]) -> list[int | Exception]:
        self.flushed.append(items)
        return [item * 10 for item in items]


async def test_what_comes_alone_is_sent_at_once_and_what_comes_meanwhile_as_one_batch() -> None:
    prompt = Prompt()

    alone, *others = (prompt.lane.put(n, within=5) for n in range(3))
    assert list(prompt.sent) == [0]
    prompt.sent[0](7)

    assert (await alone, await asyncio.gather(*others)) == (7, [10, 20])
    assert prompt.flushed == [[1, 2]]


async def test_who_is_of_a_crowd_waits_for_the_end_of_the_turn() -> None:
    prompt = Prompt()
    first, *others = (prompt.lane.put(n, within=5) for n in range(3))
    prompt.sent[0](0)
    await asyncio.gather(first, *others)

    assert await asyncio.gather(*(prompt.lane.submit(n, within=5) for n in (3, 4))) == [30, 40]
    for n in range(5, 5 + CALM):
        assert await prompt.lane.submit(n, within=5) == n * 10
    prompt.lane.put(99, within=5)

    assert prompt.flushed == [[1, 2], [3, 4], *([n] for n in range(5, 5 + CALM))]
    assert list(prompt.sent) == [0, 99]


async def test_what_cannot_be_sent_at_once_is_flushed() -> None:
    prompt = Prompt()
    prompt.takes = False

    assert await prompt.lane.submit(1, within=5) == 10

    assert prompt.flushed == [[1]]


async def test_what_was_sent_at_once_fails_and_is_abandoned_like_the_rest() -> None:
    prompt = Prompt()

    failing = prompt.lane.put(1, within=5)
    prompt.sent[1](ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await failing
    prompt.lane.forgo(2, prompt.lane.put(2, within=5))
    prompt.sent[2](20)

    assert prompt.left == [2]
    assert prompt.flushed == []


async def test_what_was_sent_at_once_and_is_not_answered_does_not_hold_up_the_lane_for_ever() -> None:
    prompt = Prompt(patience=0.05)

    stuck = prompt.lane.put(1, within=0.1)
    assert await prompt.lane.submit(2, within=5) == 20
    with pytest.raises(Unavailable) as late:
        await stuck
    assert late.value.may_be_done
    assert await prompt.lane.submit(3, within=5) == 30

    prompt.sent[1](10)
    assert prompt.left == [1]
    assert prompt.flushed == [[2], [3]]
