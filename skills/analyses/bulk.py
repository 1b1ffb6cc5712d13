"""Steps by Message Batches: held and reserved one by one, sent together, looked at again and again, kept by their names.

A step is sent in a batch once. What comes back without a usable answer is done like any other step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from kit import clock, ids
from kit.errors import BudgetExceeded, SkillgateError, Unavailable
from skills import answers, claude, requests
from skills.analyses import calls, envelope, message_batches, patience
from skills.analyses.holds import Hold, Paused, Yielded
from skills.answers import Answer
from skills.claude import bulk
from skills.events import RunUsage
from tenants.keys import Caller
from usage import ledger, pricing
from usage.ledger import Admission

MOST_CALLS = 2_000
_SOONEST_SECONDS, _LATEST_SECONDS = 2.0, 60.0
Row = dict[str, Any]
_REFUSALS = (400, 401, 403, 404, 413, 429)  # upstream took nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What all calls of an analysis or a batch have in common."""

    hold: Hold
    caller: Caller
    entry_point: str
    request_id: str
    skill: str
    skill_version: int


class Steps(Protocol):
    """What a step asks, and what is kept of its answer."""

    def body(self, step: Row) -> Row:
        """This function will return the body of the call."""

    async def keep(self, step: Row, run_id: UUID, usage: RunUsage, answer: Answer) -> None:
        """This function will keep a step's answer with its booking; raises `answers.Unfit`."""


async def work_off(terms: Terms, waiting: Sequence[Row], steps: Steps) -> list[Row]:
    """This function will do what it can of steps by Message Batches; returns those that have to be done otherwise.

    Raises `Yielded` while upstream works on them, and `Paused` when there is no money to send any.
    """
    await _collect(terms, waiting, steps)
    was_sent = await message_batches.sent(terms.hold.id)
    unsent = [step for step in waiting if (step["level"], step["position"]) not in was_sent]
    if unsent:
        await _send(terms, unsent[:MOST_CALLS], steps)
    return [step for step in waiting if step["done_at"] is None]


async def _collect(terms: Terms, waiting: Sequence[Row], steps: Steps) -> None:
    """Keep what has come of the batches so far."""
    for row in await message_batches.unfinished(terms.hold.id):
        if not row["upstream_id"]:
            if not await message_batches.find(terms.caller, row):
                raise Yielded(after=_LATEST_SECONDS / 4)
            return await _collect(terms, waiting, steps)
        known = await bulk.look(terms.caller, row["upstream_id"])
        if not known.is_ended:
            age = (clock.now() - row["created_at"]).total_seconds()
            raise Yielded(after=min(max(age / 4, _SOONEST_SECONDS), _LATEST_SECONDS))
        await _keep_all(terms, row, waiting, steps)
    return None


async def _keep_all(terms: Terms, row: Row, waiting: Sequence[Row], steps: Steps) -> None:
    by_place = message_batches.places(waiting)
    open_calls = await message_batches.calls(row["id"])
    async for result in bulk.results(terms.caller, row["upstream_id"]):
        terms.hold.check()
        call = open_calls.pop(result.name, None)
        if call is not None:
            step = by_place.get((call["level"], call["position"]))
            await _keep(terms, call, result, step=step, steps=steps)
    await message_batches.end(row["id"])


async def _keep(terms: Terms, call: Row, result: bulk.Result, *, step: Row | None, steps: Steps) -> None:
    used = await message_batches.settle(terms.caller, call, result)
    outcome = result.error.type if result.error is not None else "lost"
    if result.message is not None and step is not None and step["done_at"] is None:
        try:
            await steps.keep(step, call["run_id"], used, _answer(result.message))
        except answers.Unfit:
            outcome = "output_invalid"
        else:
            step["done_at"] = clock.now()
            return
    await envelope.book(call["run_id"], tokens=used.tokens.total, micros=used.cost_micros, outcome=outcome)


async def _send(terms: Terms, unsent: Sequence[Row], steps: Steps) -> None:
    """Send as many as there is money for; a batch that could not be created is cleared up by the next look."""
    batch_id = await message_batches.begin(terms.hold.id)
    going: list[tuple[str, Row]] = []
    paused: Paused | None = None
    for step in unsent:
        terms.hold.check()
        body = steps.body(step)
        try:
            going.append((await _admit(terms, step, body, batch_id=batch_id), body))
        except Paused as stop:
            paused = stop
            break
    if not going:
        await message_batches.end(batch_id)
        raise paused or Paused({"type": BudgetExceeded.type, "message": "Nothing could be sent."}, retry_after=30)
    try:
        upstream_id = await bulk.create(terms.caller, going)
    except SkillgateError as error:
        await _give_up(terms, batch_id, error)
        raise Yielded(after=_LATEST_SECONDS / 4, failures=1) from error
    await message_batches.name(batch_id, upstream_id)
    raise Yielded(after=_SOONEST_SECONDS)


async def _give_up(terms: Terms, batch_id: UUID, error: SkillgateError) -> None:
    """What was refused was not taken; of anything else nobody knows yet."""
    if isinstance(error, Unavailable) or error.status not in _REFUSALS:
        return
    for call in (await message_batches.calls(batch_id)).values():
        await message_batches.release(terms.caller, call)
    await message_batches.end(batch_id)


async def _admit(terms: Terms, step: Row, body: Row, *, batch_id: UUID) -> str:
    run_id = ids.uuid7()
    place = envelope.Place(terms.hold.id, terms.hold.fence, step["level"], step["position"])
    tokens, micros = await calls.bound(terms.caller, body)
    await patience.hold_money(terms.hold, place, run_id=run_id, bound=(tokens, micros))
    book = await pricing.current(terms.caller.tenant_id)
    asked = Admission(
        event_id=ids.uuid7(),
        run_id=run_id,
        attempt=1,
        purpose="answer",
        request_id=terms.request_id,
        entry_point=terms.entry_point,
        skill=terms.skill,
        skill_version=terms.skill_version,
        model=body["model"],
        input_tokens=requests.input_bound(body),
        output_tokens=int(body["max_tokens"]),
        micros=micros,
        price_version=book.version,
    )
    try:
        reservation = await ledger.reserve(terms.caller, asked)
    except SkillgateError as error:
        await envelope.book(run_id, tokens=0, micros=0, outcome=error.type)
        raise patience.verdict(error) if error.status < 500 else Yielded(after=5.0, failures=1) from error
    await message_batches.take_in(batch_id, reservation)
    return str(asked.event_id)


def _answer(message: claude.bulk.Message) -> Answer:
    said = Answer(stop_reason=str(message.get("stop_reason") or ""))
    for block in message.get("content") or []:
        if isinstance(block, dict) and block.get("type") == "text":
            said.parts.append(str(block.get("text") or ""))
            said.citations += answers.citations(block)
    return said
