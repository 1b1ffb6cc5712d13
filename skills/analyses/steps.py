"""Doing one step: ask, hold the money, call, book, and keep what came of it; again by the kind of what goes wrong."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from kit import ids
from kit.errors import OutputBlocked, RateLimited, SkillgateError
from skills import answers
from skills.analyses import calls, checkpoints, envelope, patience, screening, stages
from skills.analyses.calls import Ask, Misfit
from skills.analyses.checkpoints import Kept
from skills.analyses.findings import Source, merged, rendered, verified
from skills.analyses.holds import Hold
from skills.analyses.parts import page_of
from skills.analyses.planning import Kind
from skills.analyses.stages import Brief, Question
from skills.answers import Answer
from skills.events import RunCompleted, RunUsage
from tenants.keys import Caller

Row = dict[str, Any]
_MOST_MISFITS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """All that the steps of one analysis share."""

    hold: Hold
    caller: Caller
    brief: Brief
    sources: list[Source]
    request_id: str
    part_bytes: int
    is_bulk: bool = False


async def do(bench: Bench, step: Row, *, findings: list[Row]) -> None:
    """Do one step and keep its outcome; raises a `Stop` when work has to end."""
    question = _question(bench, step, findings)
    failures = misfits = 0
    while True:
        bench.hold.check()
        try:
            return await _attempt(bench, step, question, findings)
        except Misfit as misfit:
            misfits += 1
            if misfits >= _MOST_MISFITS:
                raise patience.failed(misfit) from misfit
            question = replace(question, body=misfit.repair or question.body)
        except RateLimited as limited:
            failures += limited.details.get("limit") == "upstream"
            await patience.wait_for_rate(bench.hold, limited, failures=failures)
        except patience.PASSING as trouble:
            failures += 1
            await patience.wait_out(bench.hold, trouble, failures=failures)
        except SkillgateError as error:
            raise patience.verdict(error) from error


async def _attempt(bench: Bench, step: Row, question: Question, findings: list[Row]) -> None:
    hold = bench.hold
    run_id = ids.uuid7()
    place = envelope.Place(hold.id, hold.fence, step["level"], step["position"])
    held = await patience.hold_money(
        hold,
        place,
        run_id=run_id,
        bound=await calls.bound(bench.caller, question.body),
        count=lambda: calls.counted(bench.caller, question.body),
    )
    ask = Ask(caller=bench.caller, question=question, request_id=bench.request_id, held=held)
    try:
        call = await calls.begin(ask)
    except SkillgateError as error:
        await envelope.forgo(run_id, error)
        raise
    hold.flights.add(call)
    try:
        if hold.is_lost:
            call.end(SkillgateError("The analysis was stopped."))
        done = await calls.result(call)
    except SkillgateError as error:
        await envelope.book(run_id, tokens=call.usage.tokens.total, micros=call.usage.cost_micros, outcome=error.type)
        hold.check()
        raise
    finally:
        hold.flights.discard(call)
    await _keep(bench, step, done, _output(bench, step, done.output, findings))


class InBulk:
    """Steps as message batches need them."""

    def __init__(self, bench: Bench, findings: list[Row]) -> None:
        self._bench = bench
        self._findings = findings

    def body(self, step: Row) -> Row:
        """Return the body of the call."""
        return _question(self._bench, step, self._findings).body

    async def keep(self, step: Row, run_id: UUID, usage: RunUsage, answer: Answer) -> None:
        """Keep a step's answer with its booking; raises `answers.Unfit`."""
        question = _question(self._bench, step, self._findings)
        checked = answers.checked(answer, version=question.version, given=question.given)
        done = RunCompleted(run_id, checked.output, [], checked.stop_reason, usage)
        await _keep(self._bench, step, done, _output(self._bench, step, done.output, self._findings))


# --- What is asked, and what is kept of the answer ----------------------------------------------------------------------


def _question(bench: Bench, step: Row, findings: list[Row]) -> Question:
    given, user = step["input"], bench.caller.public_id
    if step["kind"] == Kind.MAP:
        source = bench.sources[given["document"]]
        text = source.text[given["start"] : given["end"]]
        return stages.read(bench.brief, text=text, place=_place_of(source, given), user=user)
    chosen = findings[given["start"] : given["end"]]
    text = rendered(chosen, sources=bench.sources)
    if step["kind"] == Kind.MERGE:
        return stages.merge(bench.brief, text=text, count=len(chosen), most=_most_merged(chosen), user=user)
    names = ", ".join(source.name for source in bench.sources)[:4000]
    return stages.answer(bench.brief, text=text, count=len(chosen), place=names, user=user)


def _output(bench: Bench, step: Row, said: Any, findings: list[Row]) -> Row:
    given = step["input"]
    if step["kind"] == Kind.ANSWER:
        return {"answer": said}
    if step["kind"] == Kind.MERGE:
        chosen = findings[given["start"] : given["end"]]
        return merged(said["findings"], given=chosen, most=_most_merged(chosen)).as_output()
    source = bench.sources[given["document"]]
    found = verified(
        said["findings"], source=source, document=given["document"], start=given["start"], end=given["end"]
    )
    return found.as_output()


def _most_merged(findings: list[Row]) -> int:
    return max(1, len(findings) // 2)


def _place_of(source: Source, given: Row) -> str:
    first, last = page_of(given["start"], source.pages), page_of(max(given["start"], given["end"] - 1), source.pages)
    if first is None:
        return f"{source.name}, characters {given['start']} to {given['end']}"
    return f"{source.name}, page {first}" if first == last else f"{source.name}, pages {first} to {last}"


async def _keep(bench: Bench, step: Row, done: RunCompleted, output: Row) -> None:
    said: list[tuple[str, Row]] = []
    if output.get("findings") and step["kind"] == Kind.MAP:
        with suppress(OutputBlocked):  # what may not go out is told by nobody; the result says so, when all is read
            shown, _ = await screening.said(bench.brief, _partial(bench, output))
            said.append(("analysis.findings", shown))
    await checkpoints.keep(bench.hold, step, Kept(done.run_id, done.usage, output=output), said=said)


def _partial(bench: Bench, output: Row) -> Row:
    shown = [
        {
            "statement": finding["statement"],
            "document": bench.sources[finding["places"][0]["document"]].name,
            "page": finding["places"][0]["page"],
            "quote": finding["places"][0]["quote"],
        }
        for finding in output["findings"]
    ]
    return {"findings": shown}
