"""Working on a batch: each item is a run like any other, a few at a time; what goes wrong with one is that item's."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from kit import clock, ids, pg
from kit.errors import RateLimited, SkillgateError
from skills import answers, catalog, requests, runs
from skills.analyses import bulk, calls, checkpoints, envelope, lanes, patience, states
from skills.analyses.checkpoints import Kept
from skills.analyses.holds import Hold, Paused
from skills.analyses.models import Analysis
from skills.answers import Answer
from skills.events import RunUsage
from skills.runs import Order, Run
from skills.versions import Version
from tenants import keys
from tenants.keys import Caller

ENTRY_POINT = "batch"
PARALLEL_ITEMS = 8
_LOADED = 64
_MOST_FAILURES = 6
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """All that the items of one batch share."""

    hold: Hold
    caller: Caller
    version: Version
    request_id: str
    max_tokens: int | None
    is_bulk: bool = False


async def proceed(hold: Hold, row: Row) -> None:
    """Work on a batch until every item is done; raises a `Stop` when work has to end."""
    bench = await _prepare(hold, row)
    await envelope.reconcile(row["tenant_id"], row["id"])
    most = lanes.share(bench.caller, most=PARALLEL_ITEMS)
    if bench.is_bulk:
        await _in_bulk(bench)
    while waiting := await pg.fetch_all(_WAITING, {"id": hold.id, "most": _LOADED}):
        hold.check()
        await lanes.work_off(hold, waiting, lambda item: do(bench, item), most=most)
    await states.succeed(hold.id, fence=hold.fence, result={}, busy=hold.seconds)


async def _in_bulk(bench: Bench) -> None:
    """What comes back without a usable answer stays for the ordinary way; until then this raises `Yielded`."""
    terms = bulk.Terms(
        hold=bench.hold,
        caller=bench.caller,
        entry_point=ENTRY_POINT,
        request_id=bench.request_id,
        skill=bench.version.skill,
        skill_version=bench.version.number,
    )
    waiting = await pg.fetch_all(_WAITING, {"id": bench.hold.id, "most": None})
    await bulk.work_off(terms, waiting[::-1], InBulk(bench))


class InBulk:
    """Items as message batches need them."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def body(self, step: Row) -> Row:
        """Return the body of the call."""
        order = _order(self._bench, step)
        version, user = self._bench.version, self._bench.caller.public_id
        return requests.build(version, order.input, max_tokens=order.max_tokens, metadata_user=user)

    async def keep(self, step: Row, run_id: UUID, usage: RunUsage, answer: Answer) -> None:
        """Keep an item's answer with its booking; raises `answers.Unfit`."""
        checked = answers.checked(answer, version=self._bench.version, given=step["input"]["input"])
        said: Row = {"output": checked.output, "citations": checked.citations, "stop_reason": checked.stop_reason}
        said["model"] = self.body(step)["model"]
        await checkpoints.keep(
            self._bench.hold, step, Kept(run_id, usage, output={**said, "usage": _usage(usage, run_id=run_id)})
        )


async def _prepare(hold: Hold, row: Row) -> Bench:
    try:
        caller = await keys.authenticate_again(row["key_id"], address=row["address"], now=clock.now())
        version = await catalog.stored(row["version_id"])
    except SkillgateError as error:
        if error.status >= 500:
            raise
        raise patience.verdict(error) from error
    given: Row = row["input"]
    return Bench(
        hold=hold,
        caller=caller,
        version=version,
        request_id=row["request_id"],
        max_tokens=given["max_tokens"],
        is_bulk=row["processing"] == Analysis.Processing.BULK,
    )


async def do(bench: Bench, item: Row) -> None:
    """Run one item and keep its answer or its error; raises a `Stop` when work has to end."""
    failures = 0
    while True:
        bench.hold.check()
        try:
            return await _attempt(bench, item)
        except RateLimited as limited:
            failures += limited.details.get("limit") == "upstream"
            await patience.wait_for_rate(bench.hold, limited, failures=failures)
        except patience.PASSING as trouble:
            failures += 1
            if failures >= _MOST_FAILURES:
                return await _keep_error(bench, item, trouble)
            await patience.wait_out(bench.hold, trouble, failures=failures)
        except SkillgateError as error:
            stop = patience.verdict(error)
            if isinstance(stop, Paused) or stop.error.get("reason") == "key_inactive":
                raise stop from error
            return await _keep_error(bench, item, error)


async def _attempt(bench: Bench, item: Row) -> None:
    hold = bench.hold
    run = await _started(bench, item)
    hold.flights.add(run)
    try:
        if hold.is_lost:
            run.end(SkillgateError("The batch was stopped."))
        done = await runs.complete(run)
    except SkillgateError as error:
        used = run.usage
        await envelope.book(run.id, tokens=used.tokens.total, micros=used.cost_micros, outcome=error.type)
        hold.check()
        raise
    finally:
        hold.flights.discard(run)
    output = {"output": done.output, "citations": done.citations, "stop_reason": done.stop_reason, "model": run.model}
    if done.guardrails:
        output["guardrails"] = done.guardrails
    await checkpoints.keep(
        hold, item, Kept(run.id, done.usage, output={**output, "usage": _usage(done.usage, run_id=run.id)})
    )


async def _started(bench: Bench, item: Row) -> Run:
    """Hold the money and admit the run; a dearer model than was held for waits for what others leave over."""
    hold, order = bench.hold, _order(bench, item)
    place = envelope.Place(hold.id, hold.fence, item["level"], item["position"])
    bound = await _bound(bench, order)
    while True:
        run_id = ids.uuid7()
        held = await patience.hold_money(hold, place, run_id=run_id, bound=bound)
        try:
            return await runs.start(replace(order, run_id=run_id, purse=held))
        except SkillgateError as error:
            await envelope.forgo(run_id, error)
            if error.details.get("reason") != envelope.SPENT or not hold.flights:
                raise
        await hold.sleep(0.3)


def _order(bench: Bench, item: Row) -> Order:
    return Order(
        caller=bench.caller,
        version=bench.version,
        input=item["input"]["input"],
        entry_point=ENTRY_POINT,
        request_id=bench.request_id,
        max_tokens=bench.max_tokens,
        finishes_alone=True,
    )


async def _bound(bench: Bench, order: Order) -> tuple[int, int]:
    """The most that an answer can use, and one repair of it where the skill promises a form."""
    body = requests.build(bench.version, order.input, max_tokens=order.max_tokens)
    tokens, micros = await calls.bound(bench.caller, body)
    if bench.version.is_text:
        return tokens, micros
    return 2 * tokens + body["max_tokens"], 3 * micros


async def _keep_error(bench: Bench, item: Row, error: SkillgateError) -> None:
    kept = Kept(None, RunUsage(), output={"error": states.reason(error)}, is_failed=True)
    await checkpoints.keep(bench.hold, item, kept)


def _usage(used: RunUsage, *, run_id: Any) -> Row:
    return {
        "run_id": ids.encode("run", run_id),
        "tokens": used.tokens.total,
        "cost_micros": used.cost_micros,
        "attempts": used.attempts,
    }


# From the end of the list: what comes first is taken first.
_WAITING = """
SELECT * FROM (
    SELECT * FROM skills_analysisstep WHERE analysis_id = %(id)s AND done_at IS NULL ORDER BY position LIMIT %(most)s
) AS first ORDER BY position DESC
"""
