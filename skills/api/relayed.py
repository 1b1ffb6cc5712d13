"""Claude's own events as an HTTP answer: relayed as they come, and kept for the retry of a call that must be made once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Self

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from kit import loops, sse
from kit.errors import SkillgateError
from kit.middleware import request_id_of
from kit.wire import JSON, encode
from skills import idempotency, messages
from skills.api import retries
from skills.api.opening import EVENT_STREAM
from skills.api.streams import EventStream
from skills.idempotency import Claim, Kept, UnderWay
from skills.messages import Ask, Relay, Relayed


async def stream(request: Request, ask: Ask) -> HttpResponseBase:
    """Answer with Claude's events; a repeated call, by its `Idempotency-Key`, with the same ones.

    A call that fails before its first event raises its error, which is then a plain HTTP answer.
    """
    key = retries.key_of(request)
    if key is not None:
        said = idempotency.digest(request.path, request.data)
        return await retries.detached(_once(request, ask, key, said))
    relay = await messages.start(ask)
    first = await relay.begun()
    if isinstance(first, SkillgateError):
        relay.leave()
        raise first
    return EventStream(_Relaying(relay, request), headers=relay.admitted.decision.headers())


class _Relaying:
    """Yields a call's events, all that are there in one piece. `is_over`: what was yielded last is the end."""

    def __init__(self, relay: Relay, request: Request) -> None:
        self.is_over = False
        self._relay = relay
        self._said = relay.unheard
        self._request = request

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        said = await self._said.hear()
        self.is_over = self._said.is_over
        if not said:
            raise StopAsyncIteration
        return b"".join([_frame(one, request=self._request) for one in said])

    async def aclose(self) -> None:
        self._relay.leave()


def _frame(said: Relayed, *, request: Request) -> bytes:
    if isinstance(said, SkillgateError):
        return sse.encode("error", said.envelope(request_id=request_id_of(request)))
    return sse.encode(said.type, said.raw)


# --- With an idempotency key -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tape:
    """The frames of one call, for its first client while they come and for later ones when they are all there."""

    frames: list[bytes] = field(default_factory=list)
    error: SkillgateError | None = None  # instead of any frame
    is_whole: bool = False
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, *frames: bytes) -> None:
        self.frames += frames
        self._wake()

    def end(self) -> None:
        self.is_whole = True
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def play(self) -> AsyncGenerator[bytes, None]:
        position = 0
        while True:
            while position < len(self.frames):
                position += 1
                yield self.frames[position - 1]
            if self.is_whole:
                return
            await self._moved.wait()

    async def begun(self) -> None:
        while not self.frames and not self.is_whole:
            await self._moved.wait()


async def _once(request: Request, ask: Ask, key: str, said: bytes) -> HttpResponseBase:
    found = await idempotency.claim(ask.caller, key, digest=said)
    if isinstance(found, Kept):
        return HttpResponse(
            found.content, status=found.status, content_type=found.content_type, headers=retries.REPLAYED
        )
    if isinstance(found, UnderWay):
        raise idempotency.under_way()
    try:
        relay = await messages.start(ask)
    except BaseException:
        await idempotency.drop(found)
        raise
    tape = _Tape()
    loops.start(_record(relay, tape, claim=found, request=request), name="a stream with an idempotency key")
    await tape.begun()
    if tape.error is not None:
        raise tape.error
    return EventStream(tape.play(), headers=relay.admitted.decision.headers())


async def _record(relay: Relay, tape: _Tape, *, claim: Claim, request: Request) -> None:
    """Take a call down to its end, whether or not anyone listens; its last frame goes out once the tape is kept."""
    last: Relayed | None = None
    async with aclosing(relay.events()) as events:
        async for said in events:
            if last is not None:
                tape.add(_frame(last, request=request))
            last = said
    if isinstance(last, SkillgateError) and not tape.frames:
        tape.error = last
        kept = Kept(last.status, JSON, encode(last.envelope(request_id=request_id_of(request))))
        ending: tuple[bytes, ...] = ()
    else:
        ending = () if last is None else (_frame(last, request=request),)
        kept = Kept(200, EVENT_STREAM, b"".join([*tape.frames, *ending]))
    try:
        await (idempotency.keep(claim, kept) if relay.is_spent else idempotency.drop(claim))
    finally:
        tape.add(*ending)
        tape.end()
