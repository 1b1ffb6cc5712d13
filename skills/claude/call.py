"""One upstream attempt, streamed. The events are Claude's own, decoded once and not modelled again."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, ClassVar

import orjson

from kit import clock, sse
from kit.errors import SkillgateError
from kit.settings import settings
from skills.claude import faults
from skills.claude.client import at_hand, client
from skills.claude.events import StreamEvent
from skills.claude.observation import Observation
from skills.claude.places import Place
from skills.claude.sdk import Asking, Claude, Reply

_made, _parsed = tuple.__new__, orjson.loads  # an event is made by the dozen: without its class, which is a call more
_DELTA_TEXTS = ("text", "partial_json", "thinking", "signature")
_HIDDEN = ("thinking", "redacted_thinking")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Call:
    """One call of `POST /v1/messages`; `observed` says at any moment what is known of it."""

    def __init__(
        self,
        body: dict[str, Any],
        *,
        place: Place,
        reference: str,
        headers: Mapping[str, str] | None = None,
        within: float | None = None,
    ) -> None:
        self._body = body
        self._headers = dict(headers or {})
        self._place = place
        self._reference = reference
        self._within = settings.CLAUDE_TOTAL_SECONDS if within is None else within
        self.observed = Observation()
        self._ready: tuple[Claude, Asking] | None = None
        self._is_dropped = False

    def make_ready(self) -> None:
        """Put the request together ahead of its time, if nothing has to be waited for; `send` or `drop` it then."""
        sdk = None if self._is_dropped else at_hand(self._place.key)
        if sdk is not None:
            self._ready = self._made(sdk)

    def send(self) -> None:
        """Send the request if it is ready and has a connection; else `pieces` does."""
        if self._ready is not None:
            self.observed.is_sent = self._ready[1].send()

    def drop(self) -> None:
        """Make no call of it; one that was sent is cancelled."""
        seen, self._is_dropped = self.observed, True
        if seen.is_sent:
            seen.is_cancelled = True
            seen.started_at = seen.last_seen_at = seen.ended_at = clock.monotonic()
        if self._ready is not None:
            self._ready[1].drop()

    async def pieces(self) -> AsyncGenerator[list[StreamEvent], None]:
        """Make the call and yield its events up to `message_stop`, those that came together at once.

        It takes at most `within` seconds. Raises the errors of `kit.errors` that upstream faults map to. However it
        ends, also by cancellation, `observed` is complete afterwards.
        """
        seen = self.observed
        seen.started_at = seen.last_seen_at = clock.monotonic()
        loop, reply = asyncio.get_running_loop(), None
        try:
            async with asyncio.timeout(min(self._within, settings.CLAUDE_FIRST_TOKEN_SECONDS)) as patience:
                reply, decoder = await self._asked(), sse.Decoder()
                while piece := await reply.read():
                    events: list[StreamEvent] = []
                    try:
                        self._take_in(decoder.feed(piece), events, patience)
                    finally:
                        yield events  # what came before a fault, too
            if not seen.is_finished:
                raise self._fail(faults.truncated())
            loop.call_soon(loop.call_soon, reply.close)  # its connection is free: the next call can wait for that
            reply = None
        except faults.broken() as raised:
            is_own_key = self._place.key.kind == "own"
            raise self._fail(faults.of_exception(raised, phase=self._phase, is_own_key=is_own_key)) from raised
        except TimeoutError as late:
            is_over = clock.monotonic() - seen.started_at >= self._within
            raise self._fail(faults.late("total" if is_over else "first_token")) from late
        except (asyncio.CancelledError, GeneratorExit):
            seen.is_cancelled = not seen.is_finished
            raise
        finally:
            if reply is not None:
                reply.close()
            seen.ended_at = clock.monotonic()

    @property
    def _phase(self) -> faults.Phase:
        return "first_token" if self.observed.first_output_at is None else "between_tokens"

    def _allow_all(self, patience: asyncio.Timeout) -> None:
        """The answer has begun: from here on only the whole time counts, and the transport's own patience with silence."""
        elapsed = clock.monotonic() - self.observed.started_at
        patience.reschedule(asyncio.get_running_loop().time() + max(0.0, self._within - elapsed))

    async def _asked(self) -> Reply:
        ready, self._ready = self._ready, None  # what is sent is not held for as long as the answer lasts
        sdk, asking = ready or self._made(await client(self._place.key))
        self.observed.is_sent = True
        reply = await sdk.reply(asking)
        self.observed.request_id = reply.request_id
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._place.heed, reply.headers)  # after the answer, if that came along
        return reply

    def _made(self, sdk: Claude) -> tuple[Claude, Asking]:
        body = _encoded({**self._body, "stream": True})
        return sdk, sdk.asking(body, headers={**self._headers, "x-client-reference": self._reference})

    def _take_in(self, sent: list[sse.ServerSentEvent], events: list[StreamEvent], patience: asyncio.Timeout) -> None:
        """Decode and note events one by one, and put them to `events`."""
        seen = self.observed
        seen.last_seen_at = clock.monotonic()
        had_output = seen.first_output_at is not None
        for event, raw, _, _ in sent:
            if not raw:
                continue
            try:
                data = _parsed(raw)
            except orjson.JSONDecodeError:  # half a surrogate pair, as parts of a text may bring it
                data = json.loads(raw)
            if type(data) is not dict:
                raise json.JSONDecodeError("a stream event is an object", raw, 0)
            if event in self._SEEN:
                self._SEEN[event](self, data)
            events.append(_made(StreamEvent, (event, data, raw)))
        if not had_output and seen.first_output_at is not None and not seen.is_finished:
            self._allow_all(patience)

    def _see_start(self, event: dict[str, Any]) -> None:
        message = event.get("message")
        self.observed.see_start(message if isinstance(message, dict) else {})

    def _see_block(self, event: dict[str, Any]) -> None:
        block = event.get("content_block")
        if isinstance(block, dict):
            self.observed.has_hidden_output |= block.get("type") in _HIDDEN
            self.observed.output_bytes += len(_encoded(block))

    def _see_delta(self, event: dict[str, Any]) -> None:
        seen, delta = self.observed, event.get("delta")
        if seen.first_output_at is None:
            seen.first_output_at = seen.last_seen_at
        if type(delta) is dict:
            for name in _DELTA_TEXTS:
                if name in delta and type(text := delta[name]) is str:
                    seen.output_bytes += len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))

    def _see_end(self, event: dict[str, Any]) -> None:
        self.observed.see_end(event)

    def _see_stop(self, _: dict[str, Any]) -> None:
        self.observed.is_finished = True

    def _see_error(self, event: dict[str, Any]) -> None:
        error = event.get("error")
        raise self._fail(faults.of_error_event(str((error if isinstance(error, dict) else {}).get("type"))))

    _SEEN: ClassVar[dict[str, Callable[["Call", dict[str, Any]], None]]] = {
        "message_start": _see_start,
        "content_block_start": _see_block,
        "content_block_delta": _see_delta,
        "message_delta": _see_end,
        "message_stop": _see_stop,
        "error": _see_error,
    }

    def _fail(self, fault: faults.Fault) -> SkillgateError:
        self.observed.fault = fault
        return fault.error


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # half a surrogate pair, or a number of more than 64 bits
        return _ENCODER.encode(body).encode("utf-8", "replace")
