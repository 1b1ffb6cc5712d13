"""A stream on its way to a client: frames as they come, a comment in every silence, and an end when told to."""

import asyncio
import logging
from typing import Self

from kit import sse
from kit.errors import AuthenticationFailed, SkillgateError
from skills import connections
from skills.api.sources import Source
from skills.replay import DONE
from tenants.keys import Caller

log = logging.getLogger(__name__)

SILENCE_SECONDS = 15.0
_FAREWELL_SECONDS = 0.5


async def begun(source: Source, *, caller: Caller, request_id: str | None) -> "Line":
    """Wait for a stream's first frame, so that what goes wrong before it is an ordinary error, and return its line."""
    await source.begun()
    return Line(source, caller=caller, request_id=request_id)


class Line:
    """Yields the bytes to send: all frames that are there in one piece, to the last one or until the caller may hear no more.

    A run of the caller's own ends by itself then and says so; only what others began is cut off. `is_over`: what was
    yielded last is the end.
    """

    retire = None

    def __init__(self, source: Source, *, caller: Caller, request_id: str | None) -> None:
        self.caller = caller
        self.is_over = False
        self._source = source
        self._request_id = request_id
        self._error: SkillgateError | None = None
        self._loop = asyncio.get_running_loop()
        self._said_at = self._loop.time()
        self._silence = self._loop.call_later(SILENCE_SECONDS, self._mind_silence)
        connections.hold(self)

    def __aiter__(self) -> Self:
        """Return the line itself."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for something to send; what goes wrong is sent as well, as the last thing."""
        if self.is_over:
            raise StopAsyncIteration
        try:
            return await self._next()
        except SkillgateError as error:
            return self._end_with(error)
        except Exception:
            log.exception("a stream of request %s broke", self._request_id)
            return self._end_with(
                SkillgateError("Something went wrong on our side. Quote the request id if you report it.")
            )

    async def aclose(self) -> None:
        """Leave the stream."""
        self.is_over = True
        self._silence.cancel()
        connections.let_go(self)
        await self._source.aclose()

    def end(self) -> None:
        """End the line soon, because its key may do nothing more."""
        self._loop.call_later(_FAREWELL_SECONDS, self._cut, AuthenticationFailed())

    async def _next(self) -> bytes:
        frames = await self._source.take()
        self._said_at = self._loop.time()
        if frames:
            self.is_over = frames[-1].is_last
            return frames[0].content if len(frames) == 1 else b"".join([frame.content for frame in frames])
        if self._source.is_over:
            raise self._error or SkillgateError("The stream ended too soon.")
        return sse.comment()

    def _cut(self, error: SkillgateError) -> None:
        self._error = error
        self._source.end()

    def _end_with(self, error: SkillgateError) -> bytes:
        self.is_over = True
        return sse.encode("error", error.envelope(request_id=self._request_id)) + DONE

    def _mind_silence(self) -> None:
        quiet = self._loop.time() - self._said_at
        if quiet >= SILENCE_SECONDS:
            self._source.nudge()
            quiet = 0.0
        self._silence = self._loop.call_later(SILENCE_SECONDS - quiet, self._mind_silence)
