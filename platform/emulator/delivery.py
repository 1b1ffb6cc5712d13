"""Delivers an answer, whole or as a stream, at its pace and with its fault, and closes the books on what was made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emulator import events
from emulator.exchange import JSON
from emulator.refusals import Refused

if TYPE_CHECKING:
    from emulator.answers import Answer
    from emulator.caching import Consumed
    from emulator.exchange import Exchange
    from emulator.faults import Plan
    from emulator.journal import Entry, Journal

Json = dict[str, Any]

_STREAM = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
_SILENCE = 600.0
# An answer without a pace still gives others a turn after so many chunks.
_TURN = 8
_OUTCOMES = {
    "drop": "reset",
    "hangup": "reset",
    "truncate": "truncated",
    "error_event": "error_event",
    "malformed_json": "malformed",
    "silence": "stalled",
}
_ABSURD: dict[str, Json] = {
    "negative": {"input_tokens": -7, "output_tokens": -3, "cache_read_input_tokens": -1},
    "huge": {"input_tokens": 10**15, "output_tokens": 10**18},
    "strings": {"input_tokens": "many", "output_tokens": "12"},
    "mixed": {"input_tokens": -7, "output_tokens": 10**15, "cache_creation_input_tokens": "many"},
}


@dataclass(slots=True)
class Call:
    """A billed call: what it answers, how, and how much of it was made so far."""

    exchange: Exchange
    journal: Journal
    entry: Entry
    model: str
    is_stream: bool
    inference_geo: str | None
    speed: str | None
    message_id: str
    answer: Answer
    consumed: Consumed
    plan: Plan
    pace: float
    words: int
    produced: int = 0
    held: bytes = b""

    def close(self, outcome: str) -> None:
        """Close the books with what was made so far."""
        made = self.answer.tokens if outcome == "complete" else max(self.answer.least, self.produced)
        self.journal.close(self.entry, outcome=outcome, output_tokens=made)

    def with_usage(self, record: Json, spent: Json) -> Json:
        """Return a record with its usage, or with what a fault makes of it."""
        shape = self.plan.fault.shape if self.plan.fault else None
        if self.plan.kind == "usage_missing":
            return record if shape == "absent" else {**record, "usage": None}
        if self.plan.kind == "usage_absurd":
            return {**record, "usage": {**spent, **_ABSURD.get(shape or "mixed", _ABSURD["mixed"])}}
        return {**record, "usage": spent}

    def usage(self, *, output_tokens: int) -> Json:
        """Return the full usage at a point of the answer."""
        return events.usage(
            self.consumed,
            self.answer,
            output_tokens=output_tokens,
            inference_geo=self.inference_geo,
            speed=self.speed,
        )

    async def say(self, frames: bytes) -> bool:
        """Send frames; without a pace or a fault they wait for what follows at once, as a fast connection brings both."""
        self.held += frames
        return await self.flush() if self.pace or self.plan.kind else True

    async def flush(self) -> bool:
        """Send what waits; tell whether the client is still there."""
        held, self.held = self.held, b""
        return await self.send(held) if held else True

    async def send(self, frames: bytes) -> bool:
        """Send some bytes, at one a second if the fault says so; tell whether the client is still there."""
        if self.plan.kind != "slow":
            await self.exchange.write(frames)
            return True
        seconds = self.plan.fault.seconds if self.plan.fault else None
        for at in range(len(frames)):
            await self.exchange.write(frames[at : at + 1])
            if not await self.exchange.pause(1.0 if seconds is None else seconds):
                return False
        return True


async def deliver(call: Call) -> None:
    """Answer a call in the form it asked for."""
    try:
        await (_stream(call) if call.is_stream else _whole(call))
    finally:
        # Reached with open books only when this process is being stopped.
        call.close("aborted")


async def _stream(call: Call) -> None:
    await call.exchange.start(headers=_STREAM)
    is_there = await call.say(_opening(call))
    breaks_after = call.plan.breaks_after
    sent = 0
    for chunk in events.chunks(call.answer, words=call.words):
        if not is_there:
            return call.close("client_gone")
        if chunk.tokens and sent == breaks_after:
            return await _break_stream(call)
        call.produced += chunk.tokens
        sent += bool(chunk.tokens)
        is_there = await call.say(chunk.frames)
        if chunk.tokens and (call.pace or not sent % _TURN):
            is_there = await call.flush() and await call.exchange.pause(call.pace) and is_there
    if not is_there:
        return call.close("client_gone")
    if breaks_after is not None:
        return await _break_stream(call)
    return await _end_stream(call)


def _opening(call: Call) -> bytes:
    message = events.start(message_id=call.message_id, model=call.model)
    message = call.with_usage(message, call.usage(output_tokens=call.answer.least))
    return events.frame({"type": "message_start", "message": message})


async def _end_stream(call: Call) -> None:
    spent = events.final_usage(call.consumed, call.answer)
    closing = call.held + events.frame(call.with_usage(events.end(call.answer), spent)) + events.STOP
    if call.plan.kind == "slow":
        is_there = await call.send(closing)
        call.close("complete" if is_there else "client_gone")
        return await call.exchange.write(b"", is_last=True)
    # The books are closed before the last byte leaves: who has seen the end finds it in the journal.
    call.close("complete")
    return await call.exchange.write(closing, is_last=True)


async def _break_stream(call: Call) -> None:
    kind = call.plan.kind
    exchange = call.exchange
    if kind == "silence":
        await exchange.pause(_SILENCE)
    call.close(_OUTCOMES[kind])
    if kind in ("drop", "hangup"):
        return await exchange.sever(with_reset=kind == "drop")
    last = b""
    if kind == "error_event":
        error = {"type": "overloaded_error", "message": "Overloaded"}
        last = events.frame({"type": "error", "error": error, "request_id": exchange.request_id})
    elif kind == "malformed_json":
        last = b'event: content_block_delta\ndata: {"type": "content_block_delta", "ind\n\n'
    return await exchange.write(last, is_last=True)


async def _whole(call: Call) -> None:
    if call.plan.kind == "silence":
        return await _fall_silent(call)
    if not await _generate(call):
        return call.close("client_gone")
    record = events.message(call.answer, message_id=call.message_id, model=call.model)
    record = call.with_usage(record, call.usage(output_tokens=call.answer.tokens))
    body = json.dumps(record).encode()
    if call.plan.kind in _OUTCOMES:
        return await _break_whole(call, body)
    if call.plan.kind == "slow":
        await call.exchange.start(headers=JSON)
        call.close("complete" if await call.send(body) else "client_gone")
        return await call.exchange.write(b"", is_last=True)
    call.close("complete")
    return await call.exchange.respond(body)


async def _generate(call: Call) -> bool:
    """Take the time that the answer takes; tell whether the client waited for it."""
    if not call.pace:
        call.produced = call.answer.tokens
        return True
    for chunk in events.chunks(call.answer, words=call.words):
        call.produced += chunk.tokens
        if chunk.tokens and not await call.exchange.pause(call.pace):
            return False
    return True


async def _fall_silent(call: Call) -> None:
    await call.exchange.start(headers=JSON)
    await call.exchange.pause(_SILENCE)
    call.close("stalled")
    await call.exchange.write(b"", is_last=True)


async def _break_whole(call: Call, body: bytes) -> None:
    kind = call.plan.kind
    half = body[: len(body) // 2]
    call.close(_OUTCOMES[kind])
    if kind in ("truncate", "malformed_json"):
        return await call.exchange.respond(half)
    await call.exchange.start(headers=JSON, length=len(body))
    await call.exchange.write(half)
    return await call.exchange.sever(with_reset=kind == "drop")


def refuse_unbroken(plan: Plan, *, is_stream: bool) -> None:
    """Refuse outright a call that should fail by an error event but asked for no stream."""
    if plan.kind == "error_event" and not is_stream:
        raise Refused(529, "Overloaded")
