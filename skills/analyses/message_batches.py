"""The rows of Message Batches: written before upstream hears of them, kept alive while it works, closed by its results."""

import logging
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Json

from kit import clock, ids, pg
from kit.errors import SkillgateError
from skills.analyses import envelope
from skills.claude import bulk
from skills.claude.bulk import Result
from skills.events import RunUsage
from tenants import keys
from tenants.keys import Caller
from usage import ledger, pricing
from usage.ledger import Admission, Reservation

log = logging.getLogger(__name__)
Row = dict[str, Any]


async def begin(analysis_id: UUID) -> UUID:
    """Write a batch that is about to be created upstream."""
    batch_id = ids.uuid7()
    await pg.execute(_BEGIN, {"id": batch_id, "analysis": analysis_id})
    return batch_id


async def take_in(batch_id: UUID, reservation: Reservation) -> None:
    """Note that a call, whose money is held, goes with a batch."""
    asked = reservation.admission
    kept = {
        "event_id": str(asked.event_id),
        "month": reservation.month.isoformat(),
        "number": reservation.number,
        "opened_at": reservation.opened_at.isoformat(),
        "model": asked.model,
        "input_tokens": asked.input_tokens,
        "output_tokens": asked.output_tokens,
        "micros": asked.micros,
        "price_version": asked.price_version,
    }
    await pg.execute(_TAKE_IN, {"run": asked.run_id, "batch": batch_id, "reservation": Json(kept)})


async def name(batch_id: UUID, upstream_id: str) -> None:
    """Note what a batch is called upstream, where it is under way now."""
    await pg.execute(_NAME, {"id": batch_id, "upstream": upstream_id})


async def end(batch_id: UUID) -> None:
    """Note that nothing more comes of a batch."""
    await pg.execute(_END, {"id": batch_id})


async def unfinished(analysis_id: UUID) -> list[Row]:
    """Return the batches of an analysis that something may still come of."""
    return await pg.fetch_all(_UNFINISHED, {"id": analysis_id})


async def calls(batch_id: UUID) -> dict[str, Row]:
    """Return the calls of a batch that are not booked, by the names that they have upstream."""
    rows = await pg.fetch_all(_CALLS, {"id": batch_id})
    return {row["reservation"]["event_id"]: row for row in rows}


async def sent(analysis_id: UUID) -> set[tuple[int, int]]:
    """Return the places of steps that were sent in a batch once, whatever came of it."""
    rows = await pg.fetch_all(_SENT, {"id": analysis_id})
    return {(row["level"], row["position"]) for row in rows}


async def settle(caller: Caller, call: Row, result: Result) -> RunUsage:
    """Close a call's usage event by its result, at the price of batches; returns what it used."""
    reservation = _reservation(caller, call)
    book = await pricing.booked_by(reservation.admission.price_version)
    closing = result.observed.closing(reservation.admission, book=book, on=reservation.opened_at.date())
    await ledger.settle(reservation, closing)
    return RunUsage().with_attempt(
        closing.tokens, cost_micros=closing.cost_micros, is_estimated=closing.state == "estimated"
    )


async def release(caller: Caller, call: Row) -> None:
    """Give back what was reserved and held for a call that was never sent."""
    await ledger.settle(_reservation(caller, call), ledger.Closing(state="released", error_type="unsent"))
    await envelope.book(call["run_id"], tokens=0, micros=0, outcome="unsent")


async def keep_alive() -> None:
    """Renew the leases of all calls that Claude has in batches."""
    rows = await pg.fetch_all(_ALIVE)
    if rows:
        await ledger.heartbeat((UUID(row["event_id"]), date.fromisoformat(row["month"])) for row in rows)


async def abandon() -> int:
    """End upstream, and book, the batches of analyses that ended meanwhile; returns how many."""
    rows = await pg.fetch_all(_ABANDONED)
    for row in rows:
        try:
            await _abandon(row)
        except SkillgateError as trouble:  # the next round tries again
            log.warning("message batch %s is not ended yet: %s", row["id"], trouble)
    return len(rows)


async def _abandon(row: Row) -> None:
    caller = await keys.owner(row["key_id"], now=clock.now())
    if not row["upstream_id"]:
        await find(caller, row)
        return
    known = await bulk.look(caller, row["upstream_id"])
    if not known.is_ended:
        await bulk.cancel(caller, row["upstream_id"])
        return
    open_calls = await calls(row["id"])
    async for result in bulk.results(caller, row["upstream_id"]):
        call = open_calls.pop(result.name, None)
        if call is not None:
            used = await settle(caller, call, result)
            outcome = "cancelled"
            await envelope.book(call["run_id"], tokens=used.tokens.total, micros=used.cost_micros, outcome=outcome)
    await end(row["id"])


async def find(caller: Caller, row: Row) -> bool:
    """Find a batch whose creation was not heard of, by the names of its calls; tell whether it is clear now.

    Upstream tells the names with the results alone: so every stranger among its batches has to end first.
    """
    own = await calls(row["id"])
    known = {one["upstream_id"] for one in await pg.fetch_all(_NAMES, {"since": row["created_at"]})}
    is_clear = bool((clock.now() - row["created_at"]).total_seconds() > _UNHEARD_SECONDS)
    for stranger in await bulk.since(caller, row["created_at"].replace(microsecond=0)):
        if stranger.upstream_id in known:
            continue
        if not stranger.is_ended:
            is_clear = False
            continue
        async for result in bulk.results(caller, stranger.upstream_id):
            if result.name in own:
                await name(row["id"], stranger.upstream_id)
                return True
            break
    if is_clear:
        for call in own.values():
            await release(caller, call)
        await end(row["id"])
    return is_clear


def _reservation(caller: Caller, call: Row) -> Reservation:
    kept = call["reservation"]
    asked = Admission(
        event_id=UUID(kept["event_id"]),
        run_id=call["run_id"],
        attempt=1,
        purpose="answer",
        request_id="",
        entry_point="",
        skill="",
        skill_version=None,
        model=kept["model"],
        input_tokens=kept["input_tokens"],
        output_tokens=kept["output_tokens"],
        micros=kept["micros"],
        price_version=kept["price_version"],
    )
    return Reservation(
        caller=caller,
        admission=asked,
        month=date.fromisoformat(kept["month"]),
        number=kept["number"],
        opened_at=datetime.fromisoformat(kept["opened_at"]),
    )


def places(rows: Sequence[Row]) -> dict[tuple[int, int], Row]:
    """Find steps by their places."""
    return {(row["level"], row["position"]): row for row in rows}


_UNHEARD_SECONDS = 60.0  # a creation under way when its worker died is seen upstream by then
_BEGIN = "INSERT INTO skills_messagebatch (id, analysis_id) VALUES (%(id)s, %(analysis)s)"
_TAKE_IN = """
UPDATE skills_analysiscall SET message_batch_id = %(batch)s, reservation = %(reservation)s WHERE run_id = %(run)s
"""
_NAME = "UPDATE skills_messagebatch SET upstream_id = %(upstream)s, state = 'in_progress' WHERE id = %(id)s"
_END = "UPDATE skills_messagebatch SET state = 'ended', ended_at = now() WHERE id = %(id)s"
_UNFINISHED = "SELECT * FROM skills_messagebatch WHERE analysis_id = %(id)s AND state <> 'ended' ORDER BY id"
_CALLS = "SELECT * FROM skills_analysiscall WHERE message_batch_id = %(id)s AND (closed_at IS NULL OR outcome = 'lost')"
_SENT = """
SELECT level, position FROM skills_analysiscall
WHERE analysis_id = %(id)s AND message_batch_id IS NOT NULL AND outcome <> 'unsent'
"""
_ALIVE = """
SELECT c.reservation ->> 'event_id' AS event_id, c.reservation ->> 'month' AS month
FROM skills_messagebatch b JOIN skills_analysiscall c ON c.message_batch_id = b.id
WHERE b.state <> 'ended' AND c.closed_at IS NULL
"""
_ABANDONED = """
SELECT b.*, a.key_id FROM skills_messagebatch b JOIN skills_analysis a ON a.id = b.analysis_id
WHERE b.state <> 'ended' AND a.state IN ('succeeded', 'failed', 'cancelled')
"""
_NAMES = "SELECT upstream_id FROM skills_messagebatch WHERE created_at >= %(since)s::timestamptz - interval '1 minute'"
