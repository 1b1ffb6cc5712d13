"""Where a stream's frames come from: a live run, or a recording; and how whoever sends them is told of more."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from kit.pipes import Pipe
from skills.api.frames import Encoder
from skills.replay import Frame
from skills.runs import Run

Frames = AsyncGenerator[Frame, None]

_AHEAD = 8


class Source(ABC):
    """A stream's frames, for one who reads them; closing it leaves the stream."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether all frames were taken."""

    @abstractmethod
    async def begun(self) -> None:
        """Wait until the first frame is there; raises what the stream raises in place of it."""

    @abstractmethod
    async def take(self) -> list[Frame]:
        """Wait for frames and take all that are there: none after a nudge, and at the end."""

    @abstractmethod
    def nudge(self) -> None:
        """Have whoever waits for frames wait no longer."""

    @abstractmethod
    def end(self) -> None:
        """End it after the frames that are there."""

    @abstractmethod
    async def aclose(self) -> None:
        """Leave the stream."""

    @abstractmethod
    def frames(self) -> Frames:
        """Return the frames one by one, for who needs no more than that."""


class Live(Source):
    """A run that is heard as it goes, and ends when nobody hears it."""

    def __init__(self, run: Run, encode: Encoder) -> None:
        self._run = run
        self._said = run.unheard
        self._encode = encode

    @property
    def is_over(self) -> bool:
        """Whether all was heard."""
        return self._said.is_over

    async def begun(self) -> None:
        """Wait until the run says something."""
        await self._run.begun()

    async def take(self) -> list[Frame]:
        """Hear what the run says."""
        return [frame for said in await self._said.hear() for frame in self._encode(said)]

    def nudge(self) -> None:
        """Hear nothing."""
        self._said.nudge()

    def end(self) -> None:
        """Hear no more than was said."""
        self._said.close()

    async def aclose(self) -> None:
        """Leave the run."""
        self._run.leave()

    async def frames(self) -> Frames:
        """Hear the run to its end."""
        async with aclosing(self._run.events()) as events:
            async for said in events:
                for frame in self._encode(said):
                    yield frame


class Recorded(Source):
    """Frames that are read from somewhere, by a task of its own a few ahead of whoever sends them."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._ahead: Pipe[Frame] = Pipe(_AHEAD)
        self._error: Exception | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether all was taken."""
        return self._ahead.is_over

    async def begun(self) -> None:
        """Begin to read; raises what reading raises."""
        try:
            self._reading = asyncio.create_task(self._read())
            await self._ahead.ready()
            if self._ahead.is_over and self._error is not None:
                raise self._error
        except BaseException:
            await self.aclose()
            raise

    async def take(self) -> list[Frame]:
        """Take what was read; raises what reading raised, after what was read before."""
        frames = await self._ahead.hear()
        if not frames and self._error is not None:
            raise self._error
        return frames

    def nudge(self) -> None:
        """Take nothing."""
        self._ahead.nudge()

    def end(self) -> None:
        """Read no more."""
        self._ahead.close()

    async def aclose(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    def frames(self) -> Frames:
        """Return them as they are read."""
        return self._frames

    async def _read(self) -> None:
        try:
            async with aclosing(self._frames) as frames:
                async for frame in frames:
                    await self._ahead.room()
                    self._ahead.put(frame)
                    if frame.is_last:
                        break
        except Exception as error:  # noqa: BLE001 - it is raised where the frames are taken
            self._error = error
        finally:
            self._ahead.close()
