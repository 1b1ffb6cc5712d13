"""A recording: it listens to a flight to the end, keeps what was said, and lets any number of readers follow.

It never waits for a reader. Frames that are in Redis need not stay in memory, so slow readers
cost nothing; without Redis the recording goes on in memory alone.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Generic, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from kit import clock, loops
from kit import redis as kit_redis
from skills.flights import Flight
from skills.replay import buffer
from skills.replay.frames import Frame, whole

log = logging.getLogger(__name__)

Said = TypeVar("Said")
Encode = Callable[[Said], list[Frame]]

_WINDOW_BYTES = 256 * 1024  # of frames that are in Redis too
_PAUSE_SECONDS = 0.5
_RENEWAL_SECONDS = buffer.LEASE_SECONDS / 3
_PATIENCE_SECONDS = 30.0

_tasks: set[asyncio.Task[None]] = set()
_recordings: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[UUID, "Recording[Any]"]] = WeakKeyDictionary()


class Recording(Generic[Said]):
    """What a run has said so far; frames from `first` on are in memory."""

    def __init__(self, run_id: UUID, *, is_buffered: bool) -> None:
        self.run_id = run_id
        self.is_buffered = is_buffered
        self.is_over = False
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._kept: deque[tuple[int, int]] = deque()  # number and size of what Redis holds
        self._kept_bytes = 0
        self._stored = 0  # the last number that is in Redis
        self._last: Frame | None = None
        self._progress = asyncio.Event()

    def frames_after(self, number: int) -> list[Frame] | None:
        """Return the frames after a number; None when some of them are no longer in memory."""
        first = self._frames[0].number if self._frames else (self._last.number + 1 if self._last else 1)
        if first > number + 1:
            return None
        return [frame for frame in self._frames if frame.number > number]

    async def progress(self) -> None:
        """Wait until there are more frames."""
        await self._progress.wait()

    async def content(self) -> bytes | None:
        """Return all that was said, from memory or Redis; None if it is no longer whole."""
        frames = self.frames_after(0)
        if frames is not None:
            return whole(frames)
        parts: list[Frame] = []
        while not parts or not parts[-1].is_last:
            try:
                page = await buffer.read(self.run_id, after=len(parts))
            except kit_redis.TROUBLE:
                return None
            if not page.frames or page.has_gap:
                return None
            parts += page.frames
        return whole(parts)

    async def listen(self, events: AsyncGenerator[Said, None], *, encode: Encode[Said]) -> None:
        """Take in all events; it returns when the last frame is kept, or cannot be."""
        writing = asyncio.create_task(self._write())
        try:
            async with aclosing(events):
                async for said in events:
                    self._add(encode(said))
            await writing
        finally:
            writing.cancel()
            self.is_over = True
            self._wake()

    def _add(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._frames.append(frame)
            self._bytes += len(frame.content)
            self._last = frame
        self._forget()
        self._wake()

    def _wake(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()
        if self.is_over:
            self._progress.set()

    def _forget(self) -> None:
        """Drop from memory what Redis has, and beyond the bound also what it has not."""
        while self._frames and self._bytes > _WINDOW_BYTES:
            is_stored = self._frames[0].number <= self._stored
            if not is_stored and self._bytes <= buffer.MOST_BYTES:
                return
            self._bytes -= len(self._frames.popleft().content)

    async def _write(self) -> None:
        """Bring to Redis what gathers while the last write is under way, and renew the lease in silence."""
        deadline = None
        while self.is_buffered:
            is_complete = self._last is not None and self._last.is_last
            if is_complete:
                deadline = deadline or clock.monotonic() + _PATIENCE_SECONDS
                self.is_buffered = clock.monotonic() < deadline
            if not await self._store():
                await asyncio.sleep(_PAUSE_SECONDS)
            elif is_complete:
                return
            elif self._last is None or self._stored == self._last.number:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RENEWAL_SECONDS):
                        await self.progress()

    async def _store(self) -> bool:
        pending = [frame for frame in self._frames if frame.number > self._stored]
        if pending and pending[0].number != self._stored + 1:
            self.is_buffered = False  # what fell out of memory meanwhile cannot be made good
            log.warning("stream %s can no longer be continued: Redis was away for too long", self.run_id)
            return False
        try:
            await buffer.append(self.run_id, pending, first_kept=self._keep(pending))
        except kit_redis.TROUBLE:
            return False
        if pending:
            self._stored = pending[-1].number
            self._forget()
        return True

    def _keep(self, pending: list[Frame]) -> int:
        """Count the frames that Redis will hold, and return the first that is within its bound."""
        counted = self._kept[-1][0] if self._kept else 0
        for frame in pending:
            if frame.number > counted:
                self._kept.append((frame.number, len(frame.content)))
                self._kept_bytes += len(frame.content)
        while self._kept_bytes > buffer.MOST_BYTES:
            self._kept_bytes -= self._kept.popleft()[1]
        return self._kept[0][0] if self._kept else 1


async def record(
    flight: Flight[Said],
    *,
    run_id: UUID,
    family_id: int,
    encode: Callable[[bool], Encode[Said]],
    at_end: Callable[[Recording[Said]], Awaitable[None]] | None = None,
    is_needed: bool = False,
) -> Recording[Said] | None:
    """Record a flight, which then goes on whoever leaves; None when Redis is away.

    `encode(is_buffered)` gives the function that turns what is said into frames. With `is_needed`
    it is recorded without Redis too. `at_end` is awaited when all is said.
    """
    try:
        await buffer.open_for(run_id, family_id=family_id)
        is_buffered = True
    except kit_redis.TROUBLE:
        if not is_needed:
            return None
        is_buffered = False
    recording: Recording[Said] = Recording(run_id, is_buffered=is_buffered)
    here()[run_id] = recording
    task = loops.start(_record(flight, recording, encode(is_buffered), at_end), name=f"recording of {run_id}")
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return recording


async def _record(
    flight: Flight[Said],
    recording: Recording[Said],
    encode: Encode[Said],
    at_end: Callable[[Recording[Said]], Awaitable[None]] | None,
) -> None:
    try:
        await recording.listen(flight.events(), encode=encode)
        if at_end is not None:
            await at_end(recording)
    except Exception:
        log.exception("the recording of run %s broke", recording.run_id)
    finally:
        here().pop(recording.run_id, None)


def here() -> dict[UUID, Recording[Any]]:
    """Return the recordings under way in the running loop."""
    return _recordings.setdefault(asyncio.get_running_loop(), {})


async def drain(*, within: float) -> None:
    """Wait for recordings under way to be kept."""
    if _tasks:
        await asyncio.wait(set(_tasks), timeout=within)
