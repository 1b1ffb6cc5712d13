"""One stack for the tests that mend what they break; the kill test has its own."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.failure import callers
from tests.failure.callers import Told
from tests.failure.stack import Stack

ABANDONED = 6


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The platform as real processes; whoever stops one of them starts it again."""
    with Stack() as stack:
        # The lease of a minute that these calls leave behind passes while the tests run.
        stack.abandoned = _abandon(stack, stack.key(name="abandoned"))
        yield stack


@pytest.fixture(scope="session")
def key(stack: Stack) -> str:
    """A key of the demo tenant with plenty of everything."""
    return stack.key(name="plenty")


def _abandon(stack: Stack, key: str) -> list[str]:
    async def calls() -> list[Told]:
        under_way = [
            asyncio.create_task(callers.run(stack.urls[1], key, callers.lasting(30))) for _ in range(ABANDONED)
        ]
        await asyncio.sleep(2)
        await asyncio.to_thread(stack.webs[1].kill)
        return list(await asyncio.gather(*under_way))

    assert [told.status for told in asyncio.run(calls())] == [0] * ABANDONED
    stack.webs[1].start()
    return stack.open_events()
