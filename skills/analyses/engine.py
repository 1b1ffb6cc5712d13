"""Working on an analysis: take it, do its steps a few at a time, and leave it in a state that says how it goes on."""

import logging
from contextlib import suppress
from typing import Any
from uuid import UUID

from kit import clock
from kit.errors import SkillgateError
from skills import catalog
from skills.analyses import (
    bulk,
    calls,
    citing,
    documents,
    envelope,
    lanes,
    patience,
    planning,
    screening,
    states,
    steps,
)
from skills.analyses.holds import Failed, Hold, Lost, Paused, Stop, Yielded
from skills.analyses.models import Analysis
from skills.analyses.planning import Plan
from skills.analyses.stages import Brief, part_sizes
from skills.analyses.steps import Bench
from skills.batches import items
from tenants import keys

log = logging.getLogger(__name__)

PARALLEL_STEPS = 4
_MOST_BREAKDOWNS = 5
_CACHED_BYTES = 4_000  # a shared part of this size is worth one call that goes ahead and fills the cache
Row = dict[str, Any]


async def work(analysis_id: UUID) -> str | None:
    """Take an analysis and work on it until it ends, waits or makes room; returns how it was left.

    None when it was not there to be taken: a message that comes twice changes nothing.
    """
    row = await states.claim(analysis_id)
    if row is None:
        return None
    async with Hold(analysis_id, kind=row["kind"], fence=row["fence"], tenant_id=row["tenant_id"]) as hold:
        try:
            await (items.proceed(hold, row) if row["kind"] == Analysis.Kind.BATCH else _proceed(hold, row))
        except Stop as stop:
            return await _leave(hold, stop)
        except SkillgateError as error:
            log.warning("analysis %s is put back: %s", analysis_id, error)
            return await _leave(hold, _breakdown(row, states.reason(error)))
        except Exception:
            log.exception("analysis %s broke down", analysis_id)
            message = "The platform failed to go on with this analysis. It can be resumed."
            return await _leave(hold, _breakdown(row, {"type": "api_error", "reason": "internal", "message": message}))
    return "succeeded"


async def _proceed(hold: Hold, row: Row) -> None:
    bench = await _prepare(hold, row)
    await envelope.reconcile(row["tenant_id"], row["id"])
    while True:
        hold.check()
        plan = await _plan(bench)
        if plan.answer is not None:
            return await _finish(bench, plan, row=row)
        await _do_all(bench, plan)


async def _prepare(hold: Hold, row: Row) -> Bench:
    try:
        caller = await keys.authenticate_again(row["key_id"], address=row["address"], now=clock.now())
        version = await catalog.stored(row["version_id"])
        brief = Brief(version, row["input"], row["instructions"], row["output_schema"])
        sources = await screening.documents(hold, row, brief, await documents.sources(row["id"]))
    except SkillgateError as error:
        if error.status >= 500:
            raise
        raise patience.verdict(error) from error
    part_bytes, _ = part_sizes(version, caller)
    return Bench(
        hold=hold,
        caller=caller,
        brief=brief,
        sources=sources,
        request_id=row["request_id"],
        part_bytes=part_bytes,
        is_bulk=row["processing"] == Analysis.Processing.BULK,
    )


async def _plan(bench: Bench) -> Plan:
    known = await planning.load(bench.hold.id)
    if not known:
        part_bytes, overlap = part_sizes(bench.brief.version, bench.caller)
        first = planning.first_steps(bench.sources, part_bytes=part_bytes, overlap_bytes=overlap)
        if not first:
            message = "The documents have no text to read."
            raise Failed({"type": "invalid_request_error", "reason": "no_text", "message": message})
        await _add(bench, first, expected=planning.expected_steps(len(first)))
        known = await planning.load(bench.hold.id)
    plan = planning.next_plan(known, sources=bench.sources, part_bytes=bench.part_bytes)
    new = [step for step in plan.steps if "id" not in step]
    if not new:
        return plan
    is_last = new[-1]["kind"] == planning.Kind.ANSWER
    await _add(bench, new, expected=len(known) + len(new) + (not is_last))
    return planning.next_plan(await planning.load(bench.hold.id), sources=bench.sources, part_bytes=bench.part_bytes)


async def _add(bench: Bench, new: list[Row], *, expected: int) -> None:
    if not await planning.add(bench.hold.id, new, fence=bench.hold.fence, expected=expected):
        raise Lost


async def _do_all(bench: Bench, plan: Plan) -> None:
    """Do the steps a few at a time. When one has to stop, no further one begins and those under way come to their end."""
    steps_left = plan.steps
    if bench.is_bulk and plan.steps[0]["kind"] == planning.Kind.MAP:
        steps_left = await bulk.work_off(_terms(bench), plan.steps, steps.InBulk(bench, plan.findings))
    waiting = list(reversed(steps_left))
    if len(waiting) > 2 and len(bench.brief.version.system.encode()) > _CACHED_BYTES:
        await steps.do(bench, waiting.pop(), findings=plan.findings)
    await lanes.work_off(
        bench.hold,
        waiting,
        lambda step: steps.do(bench, step, findings=plan.findings),
        most=lanes.share(bench.caller, most=PARALLEL_STEPS),
    )


def _terms(bench: Bench) -> bulk.Terms:
    version = bench.brief.version
    return bulk.Terms(
        hold=bench.hold,
        caller=bench.caller,
        entry_point=calls.ENTRY_POINT,
        request_id=bench.request_id,
        skill=version.skill,
        skill_version=version.number,
    )


async def _finish(bench: Bench, plan: Plan, *, row: Row) -> None:
    schema = bench.brief.answer_schema()
    cited = citing.resolve(plan.answer, schema=schema, findings=plan.findings, sources=bench.sources)
    result = {
        "output": cited.output,
        "citations": cited.citations,
        "citations_dropped": cited.dropped + plan.dropped,
        "documents": [
            {"name": source.name, "characters": len(source.text), "pages": len(source.pages) if source.pages else None}
            for source in bench.sources
        ],
    }
    hold = bench.hold
    result = await screening.result(bench.brief, result, row=row, schema=schema)
    await states.succeed(hold.id, fence=hold.fence, result=result, busy=hold.seconds)


def _breakdown(row: Row, error: Row) -> Stop:
    if row["failures"] + 1 >= _MOST_BREAKDOWNS:
        return Failed(error)
    return Yielded(after=2.0 ** row["failures"] * 2, failures=1)


async def _leave(hold: Hold, stop: Stop) -> str:
    given: Row = {"fence": hold.fence, "busy": hold.seconds}
    if isinstance(stop, Failed):
        await states.fail(hold.id, error=stop.error, **given)
        return "failed"
    if isinstance(stop, Paused):
        await states.pause(hold.id, error=stop.error, retry_after=stop.retry_after, **given)
        return "awaiting_budget"
    if isinstance(stop, Yielded):
        await states.put_back(hold.id, after=stop.after, failures=stop.failures, **given)
        return "queued"
    with suppress(SkillgateError):
        await envelope.reconcile(hold.tenant_id, hold.id)
    return "lost"
