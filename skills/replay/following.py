"""Reading a recorded stream: from where it is, in this process or another, as it goes on."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

from kit import ids
from kit import redis as kit_redis
from kit.errors import NotFound, StreamGap, Unavailable
from skills.replay import buffer, recording
from skills.replay.frames import Frame
from skills.replay.recording import Recording

_SHORTEST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.25
_MOST_TROUBLES = 20


async def follow(run_id: UUID, *, family_id: int, after: int = 0) -> AsyncGenerator[Frame, None]:
    """Yield a stream's frames after a number, to its end, from any process.

    Raises `NotFound` for a stream that is not the family's, `StreamGap` when what comes next is
    no longer there, `Unavailable` without Redis.
    """
    local = recording.here().get(run_id)
    page = await _look(run_id, after=after, patience=1)
    if page.family_id != family_id:
        raise unknown()
    pause = _SHORTEST_PAUSE_SECONDS
    while True:
        before = after
        _refuse_gap(page, run_id, may_grow=local is not None and not local.is_over)
        async for frame in _now(page, local):
            yield frame
            after = frame.number
            if frame.is_last:
                return
        pause = _SHORTEST_PAUSE_SECONDS if after > before else min(_LONGEST_PAUSE_SECONDS, 1.5 * pause)
        if len(page.frames) < buffer.MOST_READ:
            await asyncio.sleep(pause)
        page = await _look(run_id, after=after, patience=_MOST_TROUBLES)


async def _now(page: buffer.Page, local: Recording[Any] | None) -> AsyncGenerator[Frame, None]:
    """Yield what a look showed, and then what this process says itself."""
    for frame in page.frames:
        yield frame
    if local is not None:
        async for frame in _follow_here(local, after=page.last):
            yield frame


async def follow_any(followed: Recording[Any], *, family_id: int) -> AsyncGenerator[Frame, None]:
    """Yield all frames of a recording of this process, which may be in memory alone."""
    after = 0
    async for frame in _follow_here(followed, after=after):
        yield frame
        after = frame.number
        if frame.is_last:
            return
    if not followed.is_buffered:
        raise _gap(followed.run_id)
    async for frame in follow(followed.run_id, family_id=family_id, after=after):
        yield frame


async def _follow_here(followed: Recording[Any], *, after: int) -> AsyncGenerator[Frame, None]:
    """Yield from memory as long as memory reaches back far enough."""
    while (frames := followed.frames_after(after)) is not None:
        for frame in frames:
            yield frame
            after = frame.number
        if not frames:
            if followed.is_over:
                return
            await followed.progress()


async def _look(run_id: UUID, *, after: int, patience: int) -> buffer.Page:
    for trouble in range(patience):
        try:
            return await buffer.read(run_id, after=after)
        except kit_redis.TROUBLE:
            if trouble < patience - 1:
                await asyncio.sleep(_LONGEST_PAUSE_SECONDS)
    raise Unavailable("Streams cannot be continued right now. Try again.")


def unknown() -> NotFound:
    """Word the answer for a stream that is absent, forgotten or another's: they are told the same."""
    return NotFound("There is no stream of this run, or it is no longer known.")


def _refuse_gap(page: buffer.Page, run_id: UUID, *, may_grow: bool) -> None:
    is_at_its_end = not page.frames and not page.is_written and not may_grow
    if is_at_its_end or page.has_gap:
        raise _gap(run_id)


def _gap(run_id: UUID) -> StreamGap:
    return StreamGap(
        "What comes next in this stream is no longer kept, or its server was lost. Run the skill again.",
        run_id=ids.encode("run", run_id),
    )
