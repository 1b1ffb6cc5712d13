"""Doing one step: ask, hold the money, call, book, and keep what came of it; again by the kind of what goes wrong."""

from dataclasses import dataclass, replace
from typing import Any

from psycopg.types.json import Json

from kit import ids, pg
from kit.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    NotAllowed,
    OutputInvalid,
    RateLimited,
    SkillgateError,
    Unavailable,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamTimeout,
)
from skills.analyses import calls, envelope, stages, states
from skills.analyses.calls import Ask, Misfit
from skills.analyses.findings import Source, merged, rendered, verified
from skills.analyses.holds import Failed, Hold, Lost, Paused, Yielded
from skills.analyses.parts import page_of
from skills.analyses.planning import Kind
from skills.analyses.stages import Brief, Question
from skills.events import RunCompleted
from tenants.keys import Caller

Row = dict[str, Any]
_PASSING = (RateLimited, UpstreamOverloaded, UpstreamFailed, UpstreamTimeout, Unavailable)
_MOST_FAILURES = 8
_MOST_MISFITS = 3
_LONGEST_PAUSE = 60.0
_LONGEST_WAIT_HERE = 20.0  # a longer wait is spent in the queue, not in a worker
_BUDGET_RETRY_SECONDS = 30.0
_ENVELOPE_RETRY_SECONDS = 365 * 86_400.0  # an envelope grows by request alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """All that the steps of one analysis share."""

    hold: Hold
    caller: Caller
    brief: Brief
    sources: list[Source]
    request_id: str
    part_bytes: int


async def do(bench: Bench, step: Row, *, findings: list[Row]) -> None:
    """This function will do one step and keep its outcome; raises a `Stop` when work has to end."""
    question = _question(bench, step, findings)
    failures = misfits = 0
    while True:
        bench.hold.check()
        try:
            return await _attempt(bench, step, question, findings)
        except Misfit as misfit:
            misfits += 1
            if misfits >= _MOST_MISFITS:
                raise _failed(misfit) from misfit
            question = replace(question, body=misfit.repair or question.body)
        except RateLimited as limited:
            failures += limited.details.get("limit") == "upstream"
            await _wait_for_rate(bench.hold, limited, failures=failures)
        except _PASSING as trouble:
            failures += 1
            await _wait_out(bench.hold, trouble, failures=failures)
        except SkillgateError as error:
            raise verdict(error) from error


async def _attempt(bench: Bench, step: Row, question: Question, findings: list[Row]) -> None:
    hold = bench.hold
    run_id = ids.uuid7()
    place = envelope.Place(hold.id, hold.fence, step["level"], step["position"])
    await _hold_money(bench, place, question, run_id)
    ask = Ask(caller=bench.caller, question=question, run_id=run_id, request_id=bench.request_id)
    try:
        call = await calls.begin(ask)
    except SkillgateError as error:
        await envelope.book(run_id, tokens=0, micros=0, outcome=error.type)
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


async def _hold_money(bench: Bench, place: envelope.Place, question: Question, run_id: Any) -> None:
    """Hold the call's bound; while other calls are under way what they leave over may still come free."""
    tokens, micros = await calls.bound(question.body)
    while not await envelope.hold(place, run_id=run_id, tokens=tokens, micros=micros):
        if not await states.renew(bench.hold.id, fence=bench.hold.fence):
            raise Lost
        if not bench.hold.flights:
            raise Paused(
                {
                    "type": BudgetExceeded.type,
                    "reason": "envelope_spent",
                    "message": f"What is left of the analysis' envelope is less than its next step may need ({tokens} tokens, "
                    f"{micros} micro-dollars). Resume it with a larger `max_tokens` or `max_cost_usd`.",
                },
                retry_after=_ENVELOPE_RETRY_SECONDS,
            )
        await bench.hold.sleep(0.3)


async def _wait_for_rate(hold: Hold, limited: RateLimited, *, failures: int) -> None:
    if limited.details.get("never"):
        raise _failed(limited) from limited
    if failures >= _MOST_FAILURES:
        raise Yielded(after=_LONGEST_PAUSE, failures=1) from limited
    wait = float(limited.details["retry_after"])
    if wait > _LONGEST_WAIT_HERE:
        raise Yielded(after=min(wait, 600.0)) from limited
    await hold.sleep(wait)


async def _wait_out(hold: Hold, trouble: SkillgateError, *, failures: int) -> None:
    if failures >= _MOST_FAILURES:
        raise _failed(trouble) from trouble
    wait = max(float(trouble.details.get("retry_after", 0)), 0.5 * 2**failures)
    await hold.sleep(min(wait, _LONGEST_PAUSE))


def verdict(error: SkillgateError) -> Failed | Paused:
    """This function will say how an analysis is left whose next step was refused for good."""
    if isinstance(error, BudgetExceeded):
        return Paused(states.reason(error), retry_after=_BUDGET_RETRY_SECONDS)
    if isinstance(error, AuthenticationFailed):
        message = "The key that the analysis was submitted with may not be used any more. Submit it again with another."
        return Failed({"type": error.type, "reason": "key_inactive", "message": message})
    return _failed(error)


def _failed(error: SkillgateError) -> Failed:
    kept = states.reason(error)
    if isinstance(error, OutputInvalid | NotAllowed):
        kept.setdefault("reason", "output_invalid" if isinstance(error, OutputInvalid) else "not_allowed")
    return Failed(kept)


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
    """The step's checkpoint, its booking and its events are one transaction."""
    used: Row = {"tokens": done.usage.tokens.total, "micros": done.usage.cost_micros, "outcome": "done"}
    given = {"id": bench.hold.id, "fence": bench.hold.fence, "step": step["id"], "output": Json(output)}
    async with pg.connection() as connection, connection.transaction():
        await envelope.book_on(connection, done.run_id, **used)
        row = await (await connection.execute(_DONE.encode(), {**given, "busy": bench.hold.seconds})).fetchone()
        if row is not None:
            await states.say(connection, bench.hold.id, "analysis.progress", _progress(row))
            if output.get("findings") and step["kind"] == Kind.MAP:
                await states.say(connection, bench.hold.id, "analysis.findings", _partial(bench, output))
    if row is None:
        bench.hold.stop(Lost())
        raise Lost


def _progress(row: Row) -> Row:
    done, total = row["steps_done"], max(row["steps_total"], row["steps_done"])
    left = row["busy"] / done * (total - done)
    return {
        "steps_done": done,
        "steps_total": total,
        "percentage": min(99, 100 * done // total),
        "used_tokens": row["used_tokens"],
        "cost_micros": row["used_micros"],
        "seconds_left": round(left, 1),
    }


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


_DONE = """
WITH mine AS (
    UPDATE skills_analysis SET steps_done = steps_done + 1, steps_total = greatest(steps_total, steps_done + 1), failures = 0
    WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
        AND EXISTS (SELECT 1 FROM skills_analysisstep WHERE id = %(step)s AND done_at IS NULL)
    RETURNING steps_done, steps_total, used_tokens, used_micros, busy_seconds + %(busy)s AS busy
), kept AS (
    UPDATE skills_analysisstep SET output = %(output)s::json, done_at = now(), fence = %(fence)s
    FROM mine WHERE id = %(step)s
)
SELECT * FROM mine
"""
