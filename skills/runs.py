"""The straight line: admit, call Claude, settle, answer. Every entry point stands on it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kit import ids
from kit.errors import InvalidRequest, OutputInvalid, SkillgateError, Unavailable
from skills import answers, requests
from skills.admission import Admitted, admit, admit_again
from skills.claude import StreamEvent
from skills.events import RunCompleted, RunEvent, RunFailed, RunStarted, RunText
from skills.flights import Flight
from skills.versions import Version
from tenants.keys import Caller
from usage import ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller wants run. `finishes_alone`: go on although nobody listens (resumable and idempotent calls)."""

    caller: Caller
    version: Version
    input: dict[str, Any]
    entry_point: str
    request_id: str
    max_tokens: int | None = None
    cache_system: bool | None = None
    model: str | None = None
    finishes_alone: bool = False


async def start(order: Order) -> "Run":
    """This function will admit a run and set it going; nothing has gone upstream when it raises.

    Raises `InvalidRequest` (with the path of the fault), `RateLimited`, `BudgetExceeded`,
    `AuthenticationFailed`, `NotAllowed` (unpriced model) or `Unavailable`.
    """
    if order.version.is_analysis:
        raise InvalidRequest(
            f"The skill {order.version.skill!r} works on documents step by step: send them to POST /v1/analyses."
        )
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


async def stream(order: Order) -> AsyncGenerator[RunEvent, None]:
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


class Run(Flight[RunEvent]):
    """One execution of a skill, however many attempts it takes."""

    def __init__(self, order: Order, *, run_id: UUID, body: dict[str, Any], admitted: Admitted) -> None:
        super().__init__(admitted, finishes_alone=order.finishes_alone)
        self.id = run_id
        self._order = order
        self._body = body
        self._answer = answers.Answer()

    @property
    def model(self) -> str:
        """The model that answers."""
        return str(self._body["model"])

    async def perform(self) -> RunEvent:
        """This function will get the answer, with one repair if it does not fit the skill's schema."""
        version, given = self._order.version, self._order.input
        await self.say(RunStarted(self.id, version.skill, version.number, version.label, self.model))
        answer = await self._ask(self._body, self.admitted.reservation)
        try:
            return self._completed(answers.checked(answer, version=version, given=given))
        except answers.Unfit as unfit:
            if not unfit.is_repairable:
                raise OutputInvalid(unfit.message, stop_reason=answer.stop_reason) from unfit
            body = answers.repair(self._body, answer, unfit)
        answer = await self._ask(body, await admit_again(self.admitted, body, purpose="repair"))
        try:
            return self._completed(answers.checked(answer, version=version, given=given))
        except answers.Unfit as unfit:
            raise OutputInvalid(unfit.message, stop_reason=answer.stop_reason) from unfit

    def failed(self, error: SkillgateError) -> RunEvent:
        """This function will say that the run has no answer."""
        return RunFailed(self.id, error, self.usage)

    async def read(self, event: StreamEvent) -> None:
        """This function will gather the answer and pass on text as it comes."""
        text = self._answer.see(event)
        if text and self._order.version.is_text:
            await self.say(RunText(text))

    async def _ask(self, body: dict[str, Any], reservation: ledger.Reservation) -> answers.Answer:
        self._answer = answers.Answer()
        await self.attempt(body, reservation)
        return self._answer

    def _completed(self, answer: answers.Answer) -> RunCompleted:
        return RunCompleted(self.id, answer.output, answer.citations, answer.stop_reason, self.usage)
