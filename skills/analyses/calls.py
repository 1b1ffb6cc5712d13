"""One upstream attempt at a step, on the same line as every other call: limits, ledger, Claude, settlement."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from kit import clock
from kit.errors import OutputInvalid, SkillgateError, Unavailable
from skills import answers, claude, requests
from skills.admission import Admitted, admit
from skills.analyses.envelope import Held
from skills.analyses.stages import Question
from skills.claude import StreamEvent
from skills.events import RunCompleted, RunFailed
from skills.flights import Flight
from tenants.keys import Caller
from usage import pricing

ENTRY_POINT = "analysis"
Ended = RunCompleted | RunFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question with what identifies its call, and what is held of the envelope for it."""

    caller: Caller
    question: Question
    request_id: str
    held: Held


class Misfit(OutputInvalid):
    """The answer does not fit; `repair` is the body that shows Claude what is wrong with it, if that can help."""

    repair: dict[str, Any] | None = None


async def bound(caller: Caller, body: dict[str, Any]) -> tuple[int, int]:
    """Return the most tokens and micro-dollars that a call can use."""
    book = await pricing.current(caller.tenant_id)
    read, written = requests.input_bound(body), int(body["max_tokens"])
    micros = book.upper_bound(body["model"], input_tokens=read, output_tokens=written, on=clock.now().date())
    return read + written, micros


async def counted(caller: Caller, body: dict[str, Any]) -> tuple[int, int] | None:
    """Return the same from Claude's own count of the input, which costs a round trip; None without."""
    try:
        count = await claude.count_tokens(body, caller=caller)
    except SkillgateError:
        return None
    read = min(requests.input_bound(body), count + int(count * settings.COUNT_MARGIN_PERCENT / 100))
    book = await pricing.current(caller.tenant_id)
    written = int(body["max_tokens"])
    return read + written, book.upper_bound(
        body["model"], input_tokens=read, output_tokens=written, on=clock.now().date()
    )


async def begin(ask: Ask) -> "StepCall":
    """Admit a call and set it going; raises what `skills.admission.admit` raises."""
    version = ask.question.version
    admitted = await admit(
        ask.caller,
        ask.question.body,
        run_id=ask.held.run_id,
        request_id=ask.request_id,
        entry_point=ENTRY_POINT,
        skill=version.skill,
        skill_version=version.number,
        input_tokens=ask.held.tokens - int(ask.question.body["max_tokens"]),
        purse=ask.held,
    )
    call = StepCall(ask, admitted)
    call.begin()
    return call


async def result(call: "StepCall") -> RunCompleted:
    """Wait until a call is settled and return its answer, or raise the error it ended with."""
    said = [event async for event in call.events()]
    ended = said[-1] if said else None
    if isinstance(ended, RunCompleted):
        return ended
    raise ended.error if ended is not None else Unavailable("The call ended without an answer.")


class StepCall(Flight[Ended]):
    """One attempt; it goes on to its end whoever waits for it."""

    def __init__(self, ask: Ask, admitted: Admitted) -> None:
        super().__init__(admitted, finishes_alone=True)
        self._ask = ask
        self._answer = answers.Answer()

    async def perform(self) -> Ended:
        """Get the answer and check that it is in the form that was asked for."""
        question = self._ask.question
        await self.attempt(question.body, self.admitted.reservation)
        try:
            checked = answers.checked(self._answer, version=question.version, given=question.given)
        except answers.Unfit as unfit:
            raise self._misfit(unfit) from unfit
        return RunCompleted(self._ask.held.run_id, checked.output, [], checked.stop_reason, self.usage)

    def failed(self, error: SkillgateError) -> Ended:
        """Say that there is no answer."""
        return RunFailed(self._ask.held.run_id, error, self.usage)

    async def read(self, events: list[StreamEvent]) -> None:
        """Gather the answer."""
        self._answer.see(events)

    def _misfit(self, unfit: answers.Unfit) -> Misfit:
        misfit = Misfit(unfit.message, reason="output_invalid")
        if unfit.is_repairable:
            misfit.repair = answers.repair(self._ask.question.body, self._answer, unfit)
        return misfit
