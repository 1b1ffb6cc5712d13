"""Steps by Message Batches: held and reserved one by one, sent together, looked at again and again, kept by their names.

A step is sent in a batch once. What comes back without a usable answer is done like any other step. Calls count
against the key's rate limits when they are sent, and leave half of what is free to calls that somebody waits for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from kit import clock, ids
from kit.errors import RateLimited, SkillgateError, Unavailable
from skills import answers, claude, requests
from skills.analyses import calls, envelope, message_batches, patience
from skills.analyses.holds import Hold, Paused, Yielded
from skills.answers import Answer
from skills.claude import bulk
from skills.events import RunUsage
from tenants import limits
from tenants.keys import Caller
from usage import ledger, pricing
from usage.ledger import Admission

MOST_CALLS = 2_000
_SOONEST_SECONDS, _LATEST_SECONDS = 2.0, 60.0
_MOST_AWAITED = 4  # batches looked at that have not ended; the later ones will not have either
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
        """Return the body of the call."""

    async def keep(self, step: Row, run_id: UUID, usage: RunUsage, answer: Answer) -> None:
        """Keep a step's answer with its booking; raises `answers.Unfit`."""


async def work_off(terms: Terms, waiting: Sequence[Row], steps: Steps) -> list[Row]:
    """Do what it can of steps by Message Batches; returns those that have to be done otherwise.

    Raises `Yielded` while there is something to wait for, and `Paused` when there is no money to send any.
    """
    waits = await _collect(terms, waiting, steps)
    was_sent = await message_batches.sent(terms.hold.id)
    unsent = [step for step in waiting if (step["level"], step["position"]) not in was_sent]
    if unsent:
        waits += await _send(terms, unsent, steps, is_waiting=bool(waits))
    if waits:
        raise Yielded(after=min(waits))
    return [step for step in waiting if step["done_at"] is None]


async def _collect(terms: Terms, waiting: Sequence[Row], steps: Steps) -> list[float]:
    """Keep what has come of the batches so far; returns in how many seconds to look at each of the others."""
    waits = []
    for row in await message_batches.unfinished(terms.hold.id):
        if not row["upstream_id"]:
            if not await message_batches.find(terms.caller, row):
                raise Yielded(after=_LATEST_SECONDS / 4)
            return await _collect(terms, waiting, steps)
        known = await bulk.look(terms.caller, row["upstream_id"])
        if known.is_ended:
            await _keep_all(terms, row, waiting, steps)
        else:
            waits.append(_bounded((clock.now() - row["created_at"]).total_seconds() / 4))
        if len(waits) == _MOST_AWAITED:
            break
    return waits


def _bounded(seconds: float) -> float:
    return min(max(seconds, _SOONEST_SECONDS), _LATEST_SECONDS)


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


async def _send(terms: Terms, unsent: Sequence[Row], steps: Steps, *, is_waiting: bool) -> list[float]:
    """Send as many as money and rate limits are there for; returns in how many seconds to look again.

    What no rate limit lets through at any time is left to be done otherwise. A batch that could not be created is
    cleared up by the next look.
    """
    sending = Sending(terms, steps)
    try:
        await sending.take_in(unsent)
    except Paused:
        if not sending.going and not is_waiting:
            raise
    if not sending.going or sending.batch_id is None:
        return sending.waits
    try:
        upstream_id = await bulk.create(terms.caller, sending.going)
    except SkillgateError as error:
        await _give_up(terms, sending.batch_id, error)
        raise Yielded(after=_LATEST_SECONDS / 4, failures=1) from error
    await message_batches.name(sending.batch_id, upstream_id)
    return [*sending.waits, _SOONEST_SECONDS]


class Sending:
    """A batch that is put together: what goes with it by now, and what the rate limits have it wait for."""

    def __init__(self, terms: Terms, steps: Steps) -> None:
        self.batch_id: UUID | None = None
        self.going: list[tuple[str, Row]] = []
        self.waits: list[float] = []
        self._terms = terms
        self._steps = steps

    async def take_in(self, unsent: Sequence[Row]) -> None:
        """Take in what may go now; raises `Paused` where the money ends."""
        for step in unsent:
            if self.waits or len(self.going) == MOST_CALLS:
                return
            self._terms.hold.check()
            await self._take_in(step, self._steps.body(step))

    async def _take_in(self, step: Row, body: Row) -> None:
        caller, run_id = self._terms.caller, ids.uuid7()
        tokens = requests.input_bound(body) + int(body["max_tokens"])
        try:
            decision = await limits.take(caller, tokens=tokens, call_id=str(run_id))
        except RateLimited as limited:
            if not limited.details.get("never"):
                self.waits.append(_bounded(float(limited.details["retry_after"])))
            return
        self.batch_id = self.batch_id or await message_batches.begin(self._terms.hold.id)
        try:
            name = await _admit(self._terms, step, body, run_id=run_id, batch_id=self.batch_id)
        except BaseException:
            await limits.cancel(caller, call_id=str(run_id))
            if not self.going:
                await message_batches.end(self.batch_id)
            raise
        await limits.release(caller, call_id=str(run_id))
        self.going.append((name, body))
        for window in (decision.requests, decision.tokens):
            if 2 * window.remaining < window.limit:
                self.waits.append(_bounded(window.reset_after))


async def _give_up(terms: Terms, batch_id: UUID, error: SkillgateError) -> None:
    """What was refused was not taken; of anything else nobody knows yet."""
    if isinstance(error, Unavailable) or error.status not in _REFUSALS:
        return
    for call in (await message_batches.calls(batch_id)).values():
        await message_batches.release(terms.caller, call)
    await message_batches.end(batch_id)


async def _admit(terms: Terms, step: Row, body: Row, *, run_id: UUID, batch_id: UUID) -> str:
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
        await envelope.forgo(run_id, error)
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
