"""The straight line: admit, call Claude, settle, answer. Every entry point stands on it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar, cast
from uuid import UUID

from kit import ids
from kit.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    InvalidRequest,
    NotAllowed,
    OutputInvalid,
    RateLimited,
    SkillgateError,
    Unavailable,
)
from skills import answers, caching, fallbacks, guardrails, inflight, routing
from skills.admission import Admitted, admit, admit_after_all, admit_again, screened
from skills.caching import Alone, Entry, Found, Lead, Seat
from skills.claude import StreamEvent
from skills.events import CacheState, Fallback, RunCompleted, RunEvent, RunFailed, RunStarted, RunText
from skills.flights import Flight
from skills.guardrails import Guard
from skills.orders import Order, Prepared, keeps_answers, prepare
from skills.routing import Route
from usage import ledger
from usage.ledger import Purpose

__all__ = ["Order", "Run", "complete", "rendered", "start", "stream"]
Rendered = TypeVar("Rendered")
_OWN = (AuthenticationFailed, BudgetExceeded, NotAllowed, RateLimited)


async def start(order: Order) -> "Run":
    """Admit a run and set it going; nothing has gone upstream when it raises.

    Raises `InvalidRequest` (with the path of the fault), `RateLimited`, `BudgetExceeded`,
    `AuthenticationFailed`, `NotAllowed` (unpriced or foreign model) or `Unavailable`.
    """
    if order.version.is_analysis:
        raise InvalidRequest(
            f"The skill {order.version.skill!r} works on documents step by step: send them to POST /v1/analyses."
        )
    guard = None
    if guardrails.are_in(order.version) and (guard := await guarded(order)) is not None:
        order = replace(order, input=guard.given)
    run_id = order.run_id or ids.uuid7()
    prepared = await prepare(order, canary=guard.canary if guard is not None else "")
    try:
        admitted = await _admit(prepared, run_id=run_id)
    except BaseException as error:
        prepared.leave(refused=error)
        fixed = fallbacks.fixed_answer(order.caller, order.version)
        if not isinstance(error, Unavailable) or not fallbacks.was_held_back(error) or fixed is None:
            raise
        prepared = replace(prepared, place=None, fallback=Fallback(prepared.body["model"], fallbacks.HELD_BACK))
        admitted = await _admit(prepared, run_id=run_id, purpose="cached")
    run = Run(prepared, run_id=run_id, admitted=admitted, guard=guard)
    run.begin()
    return run


async def guarded(order: Order) -> Guard | None:
    """Check an order's input by the skill's guardrails; None for a skill without any.

    Raises `RequestTooLarge`, or `InvalidRequest` that names the check; `RateLimited` where there is much to look through.
    """
    size = guardrails.characters(order.version, order.input)
    return await screened(order.caller, lambda: guardrails.post(order.version, order.input), characters=size)


def _admit(prepared: Prepared, *, run_id: UUID, purpose: Purpose | None = None) -> Coroutine[Any, Any, Admitted]:
    order, first = prepared.order, prepared.first
    return admit(
        order.caller,
        first.body,
        run_id=run_id,
        request_id=order.request_id,
        entry_point=order.entry_point,
        skill=order.version.skill,
        skill_version=order.version.number,
        purpose=purpose or first.purpose,
        route=first.route,
        ahead=first.ahead,
        purse=order.purse,
    )


async def stream(order: Order) -> AsyncGenerator[RunEvent, None]:
    """Start a run and yield its events; leaving the iteration leaves the run."""
    run = await start(order)
    async with aclosing(run.events()) as events:
        async for event in events:
            yield event


async def complete(run: "Run") -> RunCompleted:
    """Wait for a run's answer. Raises the error a failed run ended with."""
    return await rendered(run, lambda done: done)


async def rendered(run: "Run", render: Callable[[RunCompleted], Rendered]) -> Rendered:
    """Wait as `complete` does, for what `render` makes of the answer while the ledger is at work."""
    return await run.ending(lambda ended: render(cast("RunCompleted", ended)))


class Run(Flight[RunEvent]):
    """One execution of a skill, however many attempts it takes, or none where the answer was kept."""

    def __init__(self, prepared: Prepared, *, run_id: UUID, admitted: Admitted, guard: Guard | None = None) -> None:
        super().__init__(admitted, finishes_alone=prepared.order.finishes_alone)
        self.id = run_id
        self.route = prepared.plan.route
        self.cache: CacheState | None = None
        self._prepared = prepared
        self._order = prepared.order
        self._body = prepared.body
        self._answer: answers.Answer  # of the attempt under way
        self._guard = guard
        self._fallback = prepared.fallback
        self._is_started = False
        self._is_classifying = False
        self._is_answered = False

    @property
    def model(self) -> str:
        """The model that answers."""
        return str(self._body["model"])

    @property
    def is_spent(self) -> bool:
        """Whether the run has an answer, or has used anything on the way to none."""
        return self._is_answered or super().is_spent

    @property
    def is_last_attempt(self) -> bool:
        """Whether there is no other: a text needs no repair."""
        return self._order.version.is_text and not self._is_classifying

    def end(self, error: SkillgateError) -> None:
        """End the run early; one that waits for another's answer waits no longer."""
        super().end(error)
        if isinstance(self._prepared.place, Seat):
            self._prepared.place.outcome.cancel()

    async def perform(self) -> RunEvent:
        """Get the answer: a kept one, another's, Claude's, or what the skill says in place of it."""
        try:
            if self._prepared.place is not None:
                return await self._shared()
            if self.admitted.reservation.admission.purpose != "cached":
                return await self._answered(self.admitted.reservation)
            await self.close_unused("settled")
            return await self._fixed()
        except SkillgateError as error:
            is_unwell = self.is_failed_upstream or fallbacks.was_held_back(error)
            if self._ended_by is not None or self.is_heard or not is_unwell or self._fixed_answer is None:
                raise
            self._fallback = Fallback(self.model, fallbacks.HELD_BACK if fallbacks.was_held_back(error) else error.type)
            return await self._fixed()

    async def _shared(self) -> RunEvent:
        """Get a kept answer or another's, or share one's own."""
        place, reservation = self._prepared.place, self.admitted.reservation
        if isinstance(place, Seat):
            place = await self._handed_over(place)
        if isinstance(place, Found):
            return await self._replayed(place)
        lead = place if isinstance(place, Lead) else None
        try:
            if isinstance(self._prepared.place, Seat):
                reservation = await self._admitted_after_all()
            return await self._answered(reservation, lead=lead)
        except SkillgateError as error:
            if lead is not None and self._is_own(error):
                lead.decline()
            raise
        finally:
            if lead is not None:
                lead.leave()

    def failed(self, error: SkillgateError) -> RunEvent:
        """Say that the run has no answer."""
        return RunFailed(self.id, error, self.usage)

    async def read(self, events: list[StreamEvent]) -> None:
        """Gather the answer and pass on text as it comes."""
        is_passed_on = self._order.version.is_text and not self._is_classifying
        for text in self._answer.see(events):
            if text and is_passed_on:
                self.is_heard = True  # also by the guard alone, which cannot take back what it has heard
                said = text if self._guard is None else self._guard.hear(text)
                if said and self.is_followed:
                    await self.say(RunText(said))

    def begin_anew(self) -> None:
        """Forget an answer that nobody heard."""
        self._answer = answers.Answer()

    async def _handed_over(self, seat: Seat) -> Found | Lead | Alone:
        """Wait for another call's answer, under a usage event that is as alive as an attempt's."""
        with inflight.Lease(self.admitted.reservation, call_id=self.admitted.call_id):
            if self._ended_by is None:
                await asyncio.wait({seat.outcome})
        if self._ended_by is not None:
            seat.leave()
            await self.close_unused("released")
            raise self._ended_by
        return seat.outcome.result()

    def _is_own(self, error: SkillgateError) -> bool:
        """Whether a call came to nothing for its caller's own reasons, which say nothing of another's."""
        return self._ended_by is not None or (isinstance(error, _OWN) and not self.is_failed_upstream)

    async def _replayed(self, found: Found) -> RunEvent:
        """Say a kept answer as a call would have said it."""
        entry = found.entry
        caching.count("wait" if found.was_waited_for else "hit")
        self._body = {**self._body, "model": entry.model}
        self.route = Route(entry.model, entry.route_kind, entry.route_reason)
        self.cache = CacheState("hit", age_seconds=found.age_seconds)
        self._fallback = None
        await self.close_unused("settled")
        await self._say_started()
        if self._order.version.is_text:
            for piece in entry.pieces():
                await self.say(RunText(piece))
        done = self._completed(entry.output, entry.citations, entry.stop_reason)
        return replace(done, guardrails=[*done.guardrails, *entry.findings])

    async def _admitted_after_all(self) -> ledger.Reservation:
        await self.close_unused("released")
        own = self._prepared.own
        return await admit_after_all(self.admitted, own.body, purpose=own.purpose, route=own.route, ahead=own.ahead)

    async def _answered(self, reservation: ledger.Reservation, *, lead: Lead | None = None) -> RunEvent:
        if keeps_answers(self._order.version):
            outcome = {"any": "miss", "new": "refresh", "private": "off"}[self._order.freshness]
            caching.count(outcome)
            self.cache = CacheState(outcome)
        if self._prepared.plan.is_open:
            self.route = await self._classified(reservation)
            model, self._fallback = fallbacks.first(self._order.caller, self._order.version, model=self.route.model)
            self._body = {**self._body, "model": model}
            route = self._fallback.route if self._fallback else self.route.booked
            reservation = await admit_again(self.admitted, self._body, route=route)
        await self._say_started()
        answer = await self._asked(reservation)
        if self._guard is not None:
            if last := self._guard.last():
                await self.say(RunText(last))
            await answers.judge(answer, self._guard, version=self._order.version, given=self._order.input)
        if lead is not None and answer.stop_reason == "end_turn" and self.model == self.route.model:
            await self.settled()
            await lead.share(self._entry(answer))
        return self._completed(answer.output, answer.citations, answer.stop_reason)

    async def _asked(self, reservation: ledger.Reservation) -> answers.Answer:
        """Get the answer, with one repair if it does not fit the skill's schema."""
        version, body = self._order.version, self._body
        models = fallbacks.chain(self._order.caller, version, model=self.model)
        may_repair = True
        while True:
            self.begin_anew()
            pursuit = await self.pursue(body, reservation, fallbacks=models)
            if pursuit.fallback is not None:
                self._body, self._fallback = {**self._body, "model": pursuit.model}, pursuit.fallback
                models = fallbacks.chain(self._order.caller, version, model=self.model)
            try:
                return answers.checked(self._answer, version=version, given=self._order.input)
            except answers.Unfit as unfit:
                if not (may_repair and unfit.is_repairable):
                    raise OutputInvalid(unfit.message, stop_reason=self._answer.stop_reason) from unfit
                body = answers.repair(self._body, self._answer, unfit)
            may_repair, reservation = False, await admit_again(self.admitted, body, purpose="repair")

    @property
    def _fixed_answer(self) -> Any:
        return fallbacks.fixed_answer(self._order.caller, self._order.version)

    async def _fixed(self) -> RunEvent:
        """Say what the skill says where no model answers."""
        output = self._fixed_answer
        if not self._is_started:
            await self._say_started()
        if self._order.version.is_text:
            await self.say(RunText(output))
        return replace(self._completed(output, [], "fallback"), model="")

    async def _classified(self, reservation: ledger.Reservation) -> Route:
        """Let the classifier choose; when it fails or takes too long, the model for cases of doubt answers."""
        plan = self._prepared.plan
        late = asyncio.get_running_loop().call_later(routing.SECONDS, self.hang_up)
        self._is_classifying = True
        try:
            self.begin_anew()
            await self.attempt(routing.question(self._order.version, self._body), reservation)
        except SkillgateError as error:
            if self._ended_by is not None:
                raise
            return routing.in_doubt(plan, error.type)
        finally:
            late.cancel()
            self._is_classifying = False
        return routing.verdict(plan, self._answer)

    async def _say_started(self) -> None:
        version, self._is_started = self._order.version, True
        if not self.is_followed:
            return
        await self.say(
            RunStarted(
                self.id, version.skill, version.number, version.label, self.model, route=self.route, cache=self.cache
            )
        )

    def _entry(self, answer: answers.Answer) -> Entry:
        return Entry(
            output=answer.output,
            citations=answer.citations,
            stop_reason=answer.stop_reason,
            model=self.model,
            route_kind=self.route.kind,
            route_reason=self.route.reason,
            findings=self._guard.went_out.report() if self._guard is not None else [],
        )

    def _completed(self, output: Any, citations: list[dict[str, Any]], stop_reason: str) -> RunCompleted:
        self._is_answered = True
        return RunCompleted(
            self.id,
            output,
            citations,
            stop_reason,
            self.usage,
            model=self.model,
            route=self.route,
            cache=self.cache,
            guardrails=self._guard.report() if self._guard is not None else [],
            fallback=self._fallback,
        )
