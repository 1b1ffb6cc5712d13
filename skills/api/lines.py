"""A stream on its way to a client: frames as they come, a comment in every silence, and an end when told to."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from kit import sse
from kit.errors import SkillgateError
from skills.api.opening import Frames

SILENCE_SECONDS = 15.0
_AHEAD = 8


class Line:
    """Yields the bytes to send: all frames that are there in one piece, to the last one.

    A task of its own reads the source, a few frames ahead of the client; leaving the block ends it. Raises what
    the source raises.
    """

    def __init__(self, source: Frames) -> None:
        self._source = source
        self._ready: list[bytes] = []
        self._error: Exception | None = None
        self._is_over = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._said_at = self._loop.time()

    async def __aenter__(self) -> Self:
        """Begin to read."""
        self._reading = self._loop.create_task(self._read())
        self._silence = self._loop.call_later(SILENCE_SECONDS, self._mind_silence)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Stop reading."""
        self._silence.cancel()
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    def __aiter__(self) -> Self:
        """Return the line itself."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for something to send."""
        while not self._ready:
            if self._error is not None:
                raise self._error
            if self._is_over:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        ready, self._ready = self._ready, []
        self._room.set()
        self._said_at = self._loop.time()
        return ready[0] if len(ready) == 1 else b"".join(ready)

    def cut(self, error: SkillgateError) -> None:
        """End the line with an error, after what was read before."""
        self._error = self._error or error
        self._news.set()

    async def _read(self) -> None:
        try:
            async for frame in self._source:
                self._ready.append(frame.content)
                self._news.set()
                if frame.is_last:
                    break
                if len(self._ready) >= _AHEAD:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # noqa: BLE001 - it is raised where the line is read
            self._error = self._error or error
        finally:
            self._is_over = True
            self._news.set()

    def _mind_silence(self) -> None:
        quiet = self._loop.time() - self._said_at
        if quiet >= SILENCE_SECONDS:
            if not self._ready:
                self._ready.append(sse.comment())
                self._news.set()
            quiet = 0.0
        self._silence = self._loop.call_later(SILENCE_SECONDS - quiet, self._mind_silence)
