"""One Messages API call: Claude's events, relayed as they came."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kit import clock, ids
from kit.errors import SkillgateError, UpstreamFailed
from skills import claude, guardrails
from skills.admission import Admitted, admit, refuse_foreign_model, screened
from skills.claude import StreamEvent
from skills.flights import Flight
from skills.guardrails import RelayGuard
from skills.messages.accumulation import Accumulation
from skills.messages.models import check_allowed, prices
from tenants import limits
from tenants.keys import Caller

Json = dict[str, Any]
Relayed = StreamEvent | SkillgateError
Rendered = TypeVar("Rendered")

PING_SECONDS = 15.0
_MOST_GATHERED = 256  # events to be put together while the ledger is at work; one takes many times its text's length
PING = StreamEvent(type="ping", data={"type": "ping"}, raw='{"type": "ping"}')
_STOP = StreamEvent(type="message_stop", data={"type": "message_stop"}, raw='{"type":"message_stop"}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a caller asks of Claude: a checked body. `finishes_alone`: go on although nobody listens."""

    caller: Caller
    body: Json
    request_id: str
    betas: str = ""
    finishes_alone: bool = False


async def start(ask: Ask) -> "Relay":
    """Admit a call and set it going; nothing has gone upstream when it raises.

    Raises `NotFound` or `NotAllowed` for its model, `InvalidRequest` or `RequestTooLarge` by the tenant's
    guardrails, `RateLimited`, `BudgetExceeded`, `AuthenticationFailed` or `Unavailable`.
    """
    book = await prices(ask.caller, ask.body["model"])
    guard = await _guarded(ask.caller, ask.body)
    asked = ask.body if guard is None else guard.body
    body = dict(asked)
    body.pop("stream", None)
    body.setdefault("metadata", {"user_id": ask.caller.public_id})
    headers = {"anthropic-beta": ask.betas} if ask.betas else {}
    admitted = await admit(
        ask.caller,
        body,
        run_id=ids.uuid7(),
        request_id=ask.request_id,
        entry_point="messages",
        skill="",
        skill_version=None,
        headers=headers,
        book=book,
    )
    relay = Relay(admitted, body=body, headers=headers, finishes_alone=ask.finishes_alone, guard=guard)
    relay.begin()
    return relay


async def _guarded(caller: Caller, body: Json) -> RelayGuard | None:
    if not caller.messages_policy:
        return None
    refuse_foreign_model(caller, body["model"])
    policy = caller.messages_policy
    size = guardrails.relay_characters(policy, body)
    return await screened(caller, lambda: guardrails.post_relay(policy, body), characters=size)


async def complete(relay: "Relay") -> Json:
    """Wait for the whole message of a call just started. Raises the error a failed call ended with."""
    return await rendered(relay, lambda message: message)


async def rendered(relay: "Relay", render: Callable[[Json], Rendered]) -> Rendered:
    """Wait as `complete` does, for what `render` makes of the message while the ledger is at work."""
    relay.gather()
    return await relay.ending(lambda _: render(relay.message()))


async def count_tokens(caller: Caller, body: Json) -> tuple[int, limits.Decision]:
    """Let Claude count a request's tokens: limited by requests per minute, and free."""
    await check_allowed(caller, body["model"])
    call_id = str(ids.uuid7())
    decision = await limits.take(caller, tokens=0, call_id=call_id)
    try:
        guard = await guardrails.post_relay(caller.messages_policy, body)
        return await claude.count_tokens(body if guard is None else guard.body, caller=caller), decision
    finally:
        await limits.refund(caller, tokens=0, call_id=call_id)


class Relay(Flight[Relayed]):
    """A call whose events go to the caller as they came; its `message_stop` goes out once its event is settled."""

    def __init__(
        self,
        admitted: Admitted,
        *,
        body: Json,
        headers: Mapping[str, str],
        finishes_alone: bool = False,
        guard: RelayGuard | None = None,
    ) -> None:
        super().__init__(admitted, finishes_alone=finishes_alone)
        self._body = body
        self._headers = headers
        self._guard = guard
        self._stop = _STOP
        self._said_at: float | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._gathered: list[Json] | None = None  # and not put together yet
        self._whole = Accumulation()
        self._unreadable: UpstreamFailed | None = None

    @property
    def upstream_headers(self) -> Mapping[str, str]:
        """The headers that go to Claude: the betas the caller asked for."""
        return self._headers

    @property
    def is_last_attempt(self) -> bool:
        """Whether there is no other: what Claude answers is relayed as it is."""
        return True

    async def perform(self) -> Relayed:
        """Relay everything up to the end."""
        if self._gathered is None:
            self._mind_silence()
        try:
            await self.pursue(self._body, self.admitted.reservation)
        finally:
            if self._silence is not None:
                self._silence.cancel()
        if self._guard is not None:
            self._guard.last()
        return self._stop

    def gather(self) -> None:
        """Put the events together instead of saying them; nothing may have been said yet."""
        self._gathered = []

    def message(self) -> Json:
        """Return what was put together. Raises `UpstreamFailed` if it is no message."""
        if self._gathered is None:
            raise UpstreamFailed("The answer was not gathered.")
        self._put_together(self._gathered)
        if self._unreadable is not None:
            raise self._unreadable
        return self._whole.message()

    def _put_together(self, gathered: list[Json]) -> None:
        self._gathered = []
        try:
            for event in gathered:
                self._whole.see(event)
        except UpstreamFailed as unreadable:  # the call goes on to its end: what it uses is billed as it says
            self._unreadable = unreadable

    def failed(self, error: SkillgateError) -> Relayed:
        """Say that the answer ends here."""
        return error

    async def read(self, events: list[StreamEvent]) -> None:
        """Pass events on."""
        for event in events:
            if event.type == "message_stop":
                self._stop = event
            else:
                self.is_heard = True
                for said in (event,) if self._guard is None else self._passed(event, self._guard):
                    if self._gathered is None:
                        await self.say(said)
                    else:
                        self._gathered.append(said.data)
        if self._gathered is not None and len(self._gathered) > _MOST_GATHERED:
            self._put_together(self._gathered)
        if self.is_heard:
            self._said_at = clock.monotonic()

    def _passed(self, event: StreamEvent, guard: RelayGuard) -> list[StreamEvent]:
        """What of an event may go out by now, by the tenant's guardrails; raises `OutputBlocked`."""
        changed = guard.hear(event.data)
        if changed is None:
            return [event]
        return [StreamEvent(str(data["type"]), data, raw=json.dumps(data, ensure_ascii=False)) for data in changed]

    def _mind_silence(self) -> None:
        """Keep the connection alive through Claude's silences, once the answer has begun: until then it can be refused."""
        if self._said_at is not None and clock.monotonic() - self._said_at >= PING_SECONDS:
            self._said_at = clock.monotonic()
            if self.is_followed and not self.unheard.is_full:
                self.unheard.put(PING)
        self._silence = asyncio.get_running_loop().call_later(PING_SECONDS / 3, self._mind_silence)
