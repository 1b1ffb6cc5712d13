"""Trying the cases of a run, a few at a time, on the same line as every other call: limits, budgets, ledger, Claude.

The rows are the truth: a message that comes twice changes nothing, and a run whose worker was lost is taken up
again by another, which tries what has no result yet.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from kit import clock, pg
from kit.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    InvalidRequest,
    NotAllowed,
    RateLimited,
    SkillgateError,
    Unavailable,
)
from skills import catalog, runs
from skills.cases import expectations
from skills.events import RunUsage
from skills.versions import Version
from tenants import keys
from tenants.keys import Caller

log = logging.getLogger(__name__)

ENTRY_POINT = "case"
LEASE_SECONDS = 40
_BEAT_SECONDS = 10
_PARALLEL = 4
_PATIENCE = 5
_LONGEST_PAUSE = 20.0
Row = dict[str, Any]
# What stands against one case stands against all that follow.
_ENDS_ALL = (AuthenticationFailed, BudgetExceeded, NotAllowed, Unavailable)


@dataclass(slots=True)
class _Bench:
    """What all cases of a run need."""

    run: Row
    caller: Caller
    version: Version
    waiting: list[Row]
    trouble: list[SkillgateError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Tried:
    """What one case came to."""

    faults: list[str]
    output: Any
    usage: RunUsage
    milliseconds: int


async def work(run_id: int) -> None:
    """Try the cases of a run to its end; nothing when another worker has it, or it has ended."""
    row = await pg.fetch_one(_CLAIM, {"id": run_id, "lease": LEASE_SECONDS})
    if row is None:
        return
    async with _held(run_id):
        try:
            await _perform(row)
        except SkillgateError as error:
            await pg.execute(_FAIL, {"id": run_id, "error": error.message[:500]})
        except Exception:
            log.exception("case run %s broke", run_id)
            await pg.execute(_FAIL, {"id": run_id, "error": "The platform failed to go on with this run."})


async def due() -> list[int]:
    """Choose the runs that wait for a worker, those of lost workers included, and note that."""
    return [row["id"] for row in await pg.fetch_all(_DUE)]


@asynccontextmanager
async def _held(run_id: int) -> AsyncIterator[None]:
    async def beat() -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            with suppress(Unavailable):
                await pg.execute(_RENEW, {"id": run_id, "lease": LEASE_SECONDS})

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def _perform(row: Row) -> None:
    caller = await keys.authenticate_again(row["key_id"], address=row["address"], now=clock.now())
    version = await catalog.stored(row["version_id"])
    if not caller.may("run") or not caller.may_run(version.skill):
        raise NotAllowed(f"The key {caller.name} may not run the skill {version.skill}.")
    waiting = await pg.fetch_all(_WAITING, {"id": row["id"]})
    bench = _Bench(row, caller, version, waiting[::-1])
    await asyncio.gather(*(_work_through(bench) for _ in range(_PARALLEL)))
    if bench.trouble:
        raise bench.trouble[0]
    await pg.execute(_FINISH, {"id": row["id"]})


async def _work_through(bench: _Bench) -> None:
    while bench.waiting and not bench.trouble:
        case = bench.waiting.pop()
        try:
            tried = await _try(bench, case)
        except _ENDS_ALL as error:
            bench.trouble.append(error)
            return
        await pg.execute(_RESULT, _columns(case, tried))


async def _try(bench: _Bench, case: Row) -> _Tried:
    began = clock.monotonic()
    try:
        run = await _started(bench, case)
    except InvalidRequest as error:
        return _Tried([f"The version refuses the input: {error.message}"], None, RunUsage(), 0)
    output: Any = None
    try:
        output = (await runs.complete(run)).output
        milliseconds = round(1000 * (clock.monotonic() - began))
        faults = expectations.faults(case["expect"], output, milliseconds=milliseconds)
    except _ENDS_ALL:
        raise
    except SkillgateError as error:
        milliseconds = round(1000 * (clock.monotonic() - began))
        faults = [f"There is no answer: {error.message}"]
    return _Tried(faults, output, run.usage, milliseconds)


async def _started(bench: _Bench, case: Row) -> runs.Run:
    order = runs.Order(
        caller=bench.caller,
        version=bench.version,
        input=case["input"],
        entry_point=ENTRY_POINT,
        request_id=bench.run["request_id"],
        finishes_alone=True,
        freshness="private",  # a kept answer would show neither what the version does nor what it costs
    )
    for _ in range(_PATIENCE):
        with suppress(RateLimited):
            return await runs.start(order)
        await asyncio.sleep(_LONGEST_PAUSE / _PATIENCE)
    return await runs.start(order)


def _columns(case: Row, tried: _Tried) -> dict[str, Any]:
    return {
        "id": case["id"],
        "outcome": "failed" if tried.faults else "passed",
        "faults": json.dumps(tried.faults),
        "output": json.dumps(tried.output, ensure_ascii=True),
        "cost": tried.usage.cost_micros,
        "tokens": tried.usage.tokens.total,
        "milliseconds": tried.milliseconds,
    }


_CLAIM = """
UPDATE skills_caserun SET state = 'running', lease_until = now() + make_interval(secs => %(lease)s)
WHERE id = %(id)s AND (state = 'queued' OR (state = 'running' AND lease_until < now()))
RETURNING *
"""
_RENEW = """
UPDATE skills_caserun SET lease_until = now() + make_interval(secs => %(lease)s) WHERE id = %(id)s AND state = 'running'
"""
_WAITING = "SELECT * FROM skills_caseresult WHERE run_id = %(id)s AND outcome = '' ORDER BY position"
_RESULT = """
UPDATE skills_caseresult SET outcome = %(outcome)s, faults = %(faults)s::jsonb, output = %(output)s::json,
    cost_micros = %(cost)s, tokens = %(tokens)s, milliseconds = %(milliseconds)s
WHERE id = %(id)s
"""
_TOTALS = """
    passed_cases = r.passed, cost_micros = r.cost, tokens = r.tokens, p50_milliseconds = r.p50,
    ended_at = now(), lease_until = NULL
FROM (
    SELECT count(*) FILTER (WHERE outcome = 'passed') AS passed, coalesce(sum(cost_micros), 0) AS cost,
           coalesce(sum(tokens), 0) AS tokens,
           percentile_disc(0.5) WITHIN GROUP (ORDER BY milliseconds) FILTER (WHERE milliseconds > 0) AS p50
    FROM skills_caseresult WHERE run_id = %(id)s
) r WHERE id = %(id)s AND state = 'running'
"""
_FINISH = f"UPDATE skills_caserun SET state = 'finished', {_TOTALS}"  # noqa: S608 - constants of ours
_FAIL = f"UPDATE skills_caserun SET state = 'failed', error = %(error)s, {_TOTALS}"  # noqa: S608 - the same
_DUE = """
UPDATE skills_caserun SET dispatched_at = now() WHERE id IN (
    SELECT id FROM skills_caserun
    WHERE (state = 'queued' OR (state = 'running' AND lease_until < now()))
        AND (dispatched_at IS NULL OR dispatched_at < now() - interval '30 seconds')
    ORDER BY id LIMIT 100
) RETURNING id
"""
