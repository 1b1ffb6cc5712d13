"""The straight line: admit, call Claude, settle, answer. Every entry point stands on it.

A run lives in a task of its own. Whoever reads its events may leave at any moment: the run is
then ended after a grace, its upstream call is cancelled and its usage event is closed all the same.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kit import ids, loops
from kit.errors import OutputInvalid, SkillgateError, Unavailable
from skills import answers, claude, inflight, requests
from skills.admission import Admitted, admit, admit_again
from skills.events import RunCompleted, RunEvent, RunFailed, RunStarted, RunText, RunUsage
from skills.versions import Version
from tenants import limits
from tenants.keys import Caller
from usage import ledger

log = logging.getLogger(__name__)

LEAVE_GRACE_SECONDS = 2.0
STALL_SECONDS = 30.0
_QUEUED_EVENTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller wants run; `input` is checked against the version's schema already."""

    caller: Caller
    version: Version
    input: dict[str, Any]
    entry_point: str
    request_id: str
    max_tokens: int | None = None
    cache_system: bool | None = None
    model: str | None = None


async def start(order: Order) -> "Run":
    """This function will admit a run and set it going; nothing has gone upstream when it raises.

    Raises `RateLimited`, `BudgetExceeded`, `AuthenticationFailed`, `NotAllowed` (unpriced model)
    or `Unavailable`.
    """
    run_id = ids.uuid7()
    body = requests.build(
        order.version,
        order.input,
        max_tokens=order.max_tokens,
        cache_system=order.cache_system,
        model=order.model,
        metadata_user=order.caller.public_id,
    )
    admitted = await admit(
        order.caller,
        body,
        run_id=run_id,
        request_id=order.request_id,
        entry_point=order.entry_point,
        skill=order.version.skill,
        skill_version=order.version.number,
    )
    run = Run(order, run_id=run_id, body=body, admitted=admitted)
    run.begin()
    return run


async def stream(order: Order) -> AsyncIterator[RunEvent]:
    """This function will start a run and yield its events; leaving the iteration leaves the run."""
    run = await start(order)
    async with aclosing(run.events()) as events:
        async for event in events:
            yield event


async def complete(run: "Run") -> RunCompleted:
    """This function will wait for a run's answer. Raises the error a failed run ended with."""
    async with aclosing(run.events()) as events:
        async for event in events:
            if isinstance(event, RunFailed):
                raise event.error
            if isinstance(event, RunCompleted):
                return event
    raise Unavailable("The run ended without an answer. Try again.")


class Run:
    """One execution of a skill, however many attempts it takes."""

    def __init__(self, order: Order, *, run_id: UUID, body: dict[str, Any], admitted: Admitted) -> None:
        self.id = run_id
        self.admitted = admitted
        self.usage = RunUsage()
        self._order = order
        self._body = body
        self._queue: asyncio.Queue[RunEvent | None] = asyncio.Queue(_QUEUED_EVENTS)
        self._is_listened_to = True
        self._is_over = False
        self._ended_by: SkillgateError | None = None
        self._upstream: asyncio.Task[answers.Answer] | None = None

    @property
    def model(self) -> str:
        """The model that answers."""
        return str(self._body["model"])

    def begin(self) -> None:
        """This function will set the run going in a task of its own."""
        loops.start(self._drive(), name=f"run {self.id}")

    def end(self, error: SkillgateError) -> None:
        """This function will end the run early; what was produced is billed, once."""
        self._ended_by = self._ended_by or error
        if self._upstream is not None:
            self._upstream.cancel()

    async def events(self) -> AsyncIterator[RunEvent]:
        """This function will yield the run's events, the last being RunCompleted or RunFailed."""
        try:
            while (event := await self._queue.get()) is not None:
                yield event
        finally:
            self._leave()

    def _leave(self) -> None:
        self._is_listened_to = False
        while not self._queue.empty():
            self._queue.get_nowait()
        if not self._is_over:
            gone = Unavailable("The client left before the run was complete.")
            asyncio.get_running_loop().call_later(LEAVE_GRACE_SECONDS, self.end, gone)

    async def _drive(self) -> None:
        last: RunEvent
        try:
            await self._say(self._started())
            answer = await self._answer()
            last = RunCompleted(self.id, answer.output, answer.citations, answer.stop_reason, self.usage)
        except SkillgateError as error:
            last = RunFailed(self.id, error, self.usage)
        except Exception:
            log.exception("run %s broke", self.id)
            last = RunFailed(self.id, SkillgateError("The platform failed to complete this run."), self.usage)
        finally:
            self._is_over = True
            unused = self.admitted.reservation.admission.tokens - self.usage.tokens.total
            await limits.refund(self._order.caller, tokens=max(0, unused), call_id=self.admitted.call_id)
        await self._say(last)
        await self._say(None)

    def _started(self) -> RunStarted:
        version = self._order.version
        return RunStarted(self.id, version.skill, version.number, version.label, self.model)

    async def _answer(self) -> answers.Answer:
        version, order = self._order.version, self._order
        answer = await self._attempt(self._body, self.admitted.reservation)
        try:
            return answers.checked(answer, version=version, input=order.input)
        except answers.Unfit as unfit:
            if not unfit.is_repairable:
                raise OutputInvalid(unfit.message, stop_reason=answer.stop_reason) from unfit
            body = answers.repair(self._body, answer, unfit)
        reservation = await admit_again(self.admitted, body)
        repaired = await self._attempt(body, reservation)
        try:
            return answers.checked(repaired, version=version, input=order.input)
        except answers.Unfit as unfit:
            raise OutputInvalid(unfit.message, stop_reason=repaired.stop_reason) from unfit

    async def _attempt(self, body: dict[str, Any], reservation: ledger.Reservation) -> answers.Answer:
        call = claude.Call(body, environment=self._order.caller.environment, reference=str(reservation.event_id))
        with inflight.registered(reservation, call_id=self.admitted.call_id, end=self.end):
            self._upstream = asyncio.create_task(self._read(call))
            if self._ended_by is not None:
                self._upstream.cancel()
            await asyncio.wait({self._upstream})
            await self._settle(reservation, call)
        if self._ended_by is not None:
            raise self._ended_by
        return self._upstream.result()

    async def _settle(self, reservation: ledger.Reservation, call: claude.Call) -> None:
        admission, day = reservation.admission, reservation.opened_at.date()
        closing = call.observed.closing(admission, book=self.admitted.book, on=day)
        self.usage = self.usage.with_attempt(
            closing.tokens, cost_micros=closing.cost_micros, is_estimated=closing.state == "estimated"
        )
        await ledger.settle(reservation, closing)

    async def _read(self, call: claude.Call) -> answers.Answer:
        answer = answers.Answer()
        relays_text = self._order.version.is_text
        async with aclosing(call.events()) as events:
            async for event in events:
                text = answer.see(event)
                if text and relays_text:
                    await self._say(RunText(text))
        return answer

    async def _say(self, event: RunEvent | None) -> None:
        if not self._is_listened_to:
            return
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._queue.put(event)
        except TimeoutError:
            self._leave()
