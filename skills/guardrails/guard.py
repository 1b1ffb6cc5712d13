"""The guard of one run: what its input becomes before anything is admitted, and what its answer may say."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kit.errors import InvalidRequest, OutputBlocked, RequestTooLarge
from skills.guardrails import canary, plans, scanning
from skills.guardrails.plans import INPUT, OUTPUT, Check, Plan
from skills.guardrails.scanning import Tally
from skills.guardrails.streams import Outflow
from skills.versions import Version


@dataclass(slots=True)
class Guard:
    """`given`: the input as it may go into the prompt; `canary`: what the system prompt says of its mark, if it has one."""

    plan: Plan
    given: dict[str, Any]
    canary: str
    came_in: Tally
    _checks: tuple[Check, ...]
    went_out: Tally = field(default_factory=lambda: Tally(OUTPUT))
    _outflow: Outflow | None = None
    _said: list[str] = field(default_factory=list)

    def hear(self, text: str) -> str:
        """This function will take in some of the answer and return what of it may go out by now.

        Raises `OutputBlocked`; what went out before is no part of what is blocked.
        """
        if not self.plan.has_output:
            return text
        self._outflow = self._outflow or Outflow(self._checks, self.went_out)
        return self._passed(self._outflow.feed(text))

    def last(self) -> str:
        """This function will return what of a text answer was held back; raises `OutputBlocked`."""
        return "" if self._outflow is None else self._passed(self._outflow.rest())

    async def judge(self, output: Any, citations: list[dict[str, Any]], *, is_text: bool) -> tuple[Any, list[Any]]:
        """This function will return an answer's output and citations as they may go out; raises `OutputBlocked`."""
        if not self.plan.has_output:
            return output, citations
        value = {"citations": citations, **({} if is_text else {"output": output})}
        size = sum(map(len, scanning.texts(value)))
        value = await scanning.beside(lambda: scanning.judged(value, self._checks, self.went_out), characters=size)
        self._refuse_blocked()
        return "".join(self._said) if is_text and self._outflow else value.get("output", output), value["citations"]

    def report(self) -> list[dict[str, Any]]:
        """This function will list what was found, as callers see it."""
        return [*self.came_in.report(), *self.went_out.report()]

    def _passed(self, text: str) -> str:
        self._refuse_blocked()
        self._said.append(text)
        return text

    def _refuse_blocked(self) -> None:
        if self.went_out.blocked is None:
            return
        check, kind, _ = self.went_out.blocked
        raise OutputBlocked(
            f"The answer was withheld by the skill's check `{check}`; what it used is billed.",
            check=check,
            found=kind,
            side=OUTPUT,
        )


def characters(version: Version, given: dict[str, Any]) -> int:
    """This function will count what there is to look through in an input; 0 for a skill that has no checks of it."""
    plan = plans.of(version.policy)
    return sum(map(len, scanning.texts(given))) if plan is not None and plan.input else 0


async def post(version: Version, given: dict[str, Any]) -> Guard | None:
    """This function will check an input before anything is admitted; None for a skill without guardrails.

    Raises `RequestTooLarge`, or `InvalidRequest` that names the check; nothing was spent then.
    """
    plan = plans.of(version.policy)
    if plan is None:
        return None
    if plan.max_input_bytes is not None:
        refuse_too_large(scanning.texts(given), most=plan.max_input_bytes)
    tally = Tally(INPUT)
    if plan.input:
        size = sum(map(len, scanning.texts(given)))
        given = await scanning.beside(lambda: scanning.judged(given, plan.input, tally), characters=size)
        refuse_input(tally)
    mark = canary.mark_of(version) if plan.canary else ""
    checks = plan.output
    if plan.canary:
        checks = (Check("canary", plan.canary, canary.finder(mark), reach=canary.REACH), *checks)
    return Guard(plan, given, canary.instruction(mark) if mark else "", tally, checks)


def refuse_too_large(texts: Iterable[str], *, most: int) -> None:
    """This function will raise `RequestTooLarge` for texts that have more bytes together."""
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    if size > most:
        raise RequestTooLarge(
            f"The input has {size:,} bytes of text; at most {most:,} are taken here. Send less, or in parts.",
            size_bytes=size,
            limit_bytes=most,
        )


def refuse_input(tally: Tally) -> None:
    """This function will raise `InvalidRequest` for what a check found and forbids."""
    if tally.blocked is None:
        return
    check, kind, path = tally.blocked
    raise InvalidRequest(
        f"{path}: the input was refused by the check `{check}` ({kind}). Nothing was spent.",
        path=path,
        check=check,
        found=kind,
        side=INPUT,
    )
