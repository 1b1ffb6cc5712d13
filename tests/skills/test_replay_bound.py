"""What is kept of a long stream: its end, as much as the bound allows, and the knowledge that the beginning is gone."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from kit import ids
from kit.errors import StreamGap
from skills import replay
from skills.replay import buffer
from skills.replay.frames import Frame
from skills.replay.recording import Recording

FRAMES, BYTES = 60, 100_000


async def test_a_stream_over_four_mebibytes_keeps_its_end_and_says_that_its_beginning_is_gone() -> None:
    run_id = ids.uuid7()
    await buffer.open_for(run_id, family_id=7)

    recording: Recording[int] = Recording(run_id, is_buffered=True)
    await recording.listen(_spoken(), encode=_frame)

    kept = buffer.MOST_BYTES // BYTES
    assert kept < FRAMES
    page = await buffer.read(run_id, after=0)
    assert page.has_gap
    assert [frame.number for frame in page.frames] == list(range(FRAMES - kept + 1, FRAMES + 1))
    with pytest.raises(StreamGap):
        await anext(replay.follow(run_id, family_id=7, after=0))
    after = FRAMES - kept
    continued = [frame async for frame in replay.follow(run_id, family_id=7, after=after)]
    assert [frame.number for frame in continued] == list(range(after + 1, FRAMES + 1))
    assert continued[-1].is_last


async def _spoken() -> AsyncGenerator[int, None]:
    for number in range(1, FRAMES + 1):
        yield number
        await asyncio.sleep(0.005)  # Redis keeps up, as with any model


def _frame(number: int) -> list[Frame]:
    return [Frame(number, b"x" * BYTES, is_last=number == FRAMES)]
