"""The guard of one run: what its input becomes before anything is admitted, and what its answer may say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kit.errors import InvalidRequest, OutputBlocked, RequestTooLarge
from skills.guardrails import canary, plans, scanning
from skills.guardrails.plans import INPUT, OUTPUT, Check, Plan
from skills.guardrails.scanning import Tally
from skills.guardrails.streams import Outflow
from skills.versions import Version

# How far a blocked answer is read on in silence: at its end Claude says what it used. To hang up would save what is
# not written yet, but then only a bound is known, about as much above what was used as this is.
OUTWAITED_CHARACTERS = 2_400


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
    _unsaid: int = 0

    def hear(self, text: str) -> str:
        """Take in some of the answer and return what of it may go out by now.

        Of an answer that is blocked nothing more does; `last` raises `OutputBlocked` for it, and so does this one
        when its end is far off.
        """
        if not self.plan.has_output:
            return text
        if self.went_out.blocked is not None:
            return self._outwaited(text)
        self._outflow = self._outflow or Outflow(self._checks, self.went_out)
        said = self._outflow.feed(text)
        self._said.append(said)
        return said

    def last(self) -> str:
        """Return what of a text answer was held back; raises `OutputBlocked`."""
        if self._outflow is None:
            return ""
        refuse_output(self.went_out, whose="skill")
        said = self._outflow.rest()
        refuse_output(self.went_out, whose="skill")
        self._said.append(said)
        return said

    async def judge(self, output: Any, citations: list[dict[str, Any]], *, is_text: bool) -> tuple[Any, list[Any]]:
        """Return an answer's output and citations as they may go out; raises `OutputBlocked`."""
        if not self.plan.has_output:
            return output, citations
        value = {"citations": citations, **({} if is_text else {"output": output})}
        size = sum(map(len, scanning.texts(value)))
        value = await scanning.beside(lambda: scanning.judged(value, self._checks, self.went_out), characters=size)
        refuse_output(self.went_out, whose="skill")
        return "".join(self._said) if is_text and self._outflow else value.get("output", output), value["citations"]

    def report(self) -> list[dict[str, Any]]:
        """List what was found, as callers see it."""
        return [*self.came_in.report(), *self.went_out.report()]

    def _outwaited(self, text: str) -> str:
        self._unsaid += len(text)
        if self._unsaid > OUTWAITED_CHARACTERS:
            refuse_output(self.went_out, whose="skill")
        return ""


def are_in(version: Version) -> bool:
    """Tell whether a skill has guardrails."""
    return plans.of(version.policy) is not None


def characters(version: Version, given: dict[str, Any]) -> int:
    """Count what there is to look through in an input; 0 for a skill that has no checks of it."""
    plan = plans.of(version.policy)
    return sum(map(len, scanning.texts(given))) if plan is not None and plan.input else 0


async def post(version: Version, given: dict[str, Any], *, besides: int = 0) -> Guard | None:
    """Check an input before anything is admitted; None for a skill without guardrails.

    `besides` are bytes that come with it and are looked through later.

    Raises `RequestTooLarge`, or `InvalidRequest` that names the check; nothing was spent then.
    """
    plan = plans.of(version.policy)
    if plan is None:
        return None
    if plan.max_input_bytes is not None:
        refuse_too_large(scanning.texts(given), most=plan.max_input_bytes, besides=besides)
    tally = Tally(INPUT)
    if plan.input:
        size = sum(map(len, scanning.texts(given)))
        given = await scanning.beside(lambda: scanning.judged(given, plan.input, tally), characters=size)
        refuse_input(tally)
    return Guard(plan, given, canary_of(version), tally, _checks_of_output(version, plan))


def canary_of(version: Version) -> str:
    """Word what goes into the system prompt of a skill that has a canary; nothing for others."""
    plan = plans.of(version.policy)
    return canary.instruction(canary.mark_of(version)) if plan is not None and plan.canary else ""


def _checks_of_output(version: Version, plan: Plan) -> tuple[Check, ...]:
    if not plan.canary:
        return plan.output
    find = canary.finder(canary.mark_of(version))
    return (Check("canary", plan.canary, find, reach=canary.REACH), *plan.output)


def checks_input(version: Version) -> bool:
    """Tell whether a skill has checks of what comes in."""
    plan = plans.of(version.policy)
    return plan is not None and bool(plan.input)


def input_tally(found: Iterable[dict[str, Any]] = ()) -> Tally:
    """Return a tally of what comes in that begins with what was reported before."""
    tally = Tally(INPUT)
    for one in found:
        tally.counts[one["check"], one["action"]] += one["count"]
    return tally


async def look_through(
    version: Version, text: str, *, offsets: Sequence[int] | None, tally: Tally, path: str
) -> tuple[str, list[int] | None]:
    """Return a text as it may go into a prompt, and where the offsets into it are now.

    Raises `InvalidRequest` that names the check.
    """
    plan = plans.of(version.policy)
    checks = plan.input if plan is not None else ()
    found = await scanning.beside(lambda: scanning.look(text, checks), characters=len(text))
    for one in found:
        tally.add(one, path=path)
    refuse_input(tally)
    made = scanning.replacements(found)
    places = None if offsets is None else [scanning.moved(offset, made) for offset in offsets]
    return scanning.redacted(text, found), places


async def judge_value(version: Version, value: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what a skill says as it may go out, and what was found; raises `OutputBlocked`."""
    plan = plans.of(version.policy)
    if plan is None or not plan.has_output:
        return value, []
    guard = Guard(plan, {}, "", Tally(INPUT), _checks_of_output(version, plan))
    judged, _ = await guard.judge(value, [], is_text=False)
    return judged, guard.went_out.report()


def refuse_too_large(texts: Iterable[str], *, most: int, besides: int = 0) -> None:
    """Raise `RequestTooLarge` for texts that have more bytes together."""
    size = besides + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    if size > most:
        raise RequestTooLarge(
            f"The input has {size:,} bytes of text; at most {most:,} are taken here. Send less, or in parts.",
            size_bytes=size,
            limit_bytes=most,
        )


def refuse_input(tally: Tally) -> None:
    """Raise `InvalidRequest` for what a check found and forbids."""
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


def refuse_output(tally: Tally, *, whose: str) -> None:
    """Raise `OutputBlocked` for what a check of the skill or the tenant found in what goes out, and forbids."""
    if tally.blocked is None:
        return
    check, kind, _ = tally.blocked
    raise OutputBlocked(
        f"The answer was withheld by the {whose}'s check `{check}`; what it used is billed.",
        check=check,
        found=kind,
        side=OUTPUT,
    )
