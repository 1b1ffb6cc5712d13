"""The states of an analysis and the verbs that move it; each move, its event and its webhook are one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Json

from kit import control, ids, pg
from kit.errors import Conflict, SkillgateError
from kit.statements import Connection
from skills.analyses.models import Analysis

State = Analysis.State
LEASE_SECONDS = 30
ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)
_TOLD = (*ENDED, State.AWAITING_BUDGET)
STOPPED = "analysis.stopped"
PREFIXES: dict[str, str] = {Analysis.Kind.ANALYSIS: "ana", Analysis.Kind.BATCH: "bat"}
Row = dict[str, Any]


async def claim(analysis_id: UUID) -> Row | None:
    """Take a queued analysis for this worker; None when it is not waiting any more."""
    async with pg.connection() as connection, connection.transaction():
        row = await _one(connection, _CLAIM, {"id": analysis_id, "lease": LEASE_SECONDS})
        if row is not None and row["fence"] == 1:
            await say(connection, analysis_id, f"{row['kind']}.started", {"state": State.RUNNING})
        return row


async def renew(analysis_id: UUID, *, fence: int) -> bool:
    """Keep a worker's hold for another `LEASE_SECONDS`; False when it has lost it."""
    given = {"id": analysis_id, "fence": fence, "lease": LEASE_SECONDS}
    return await pg.execute(_RENEW, given) == 1


async def put_back(analysis_id: UUID, *, fence: int, after: float, busy: float, failures: int = 0) -> None:
    """Return an analysis to the queue, to be taken up again after so many seconds."""
    given = {"id": analysis_id, "fence": fence, "after": after, "busy": busy, "failures": failures}
    await pg.execute(_PUT_BACK, given)


async def pause(analysis_id: UUID, *, fence: int, error: dict[str, Any], busy: float, retry_after: float) -> None:
    """Let an analysis wait for money; it tries again by itself after so many seconds."""
    await _end(analysis_id, State.AWAITING_BUDGET, fence=fence, busy=busy, error=error, retry_after=retry_after)


async def fail(analysis_id: UUID, *, fence: int, error: dict[str, Any], busy: float) -> None:
    """End an analysis that cannot go on, with the reason; what was finished is kept."""
    await _end(analysis_id, State.FAILED, fence=fence, busy=busy, error=error)


async def succeed(analysis_id: UUID, *, fence: int, result: dict[str, Any], busy: float) -> None:
    """End an analysis with its result."""
    await _end(analysis_id, State.SUCCEEDED, fence=fence, busy=busy, result=result)


async def cancel(tenant_id: int, analysis_id: UUID) -> Row | None:
    """End an analysis at once; the worker it is with stops within seconds. None if there is none.

    Raises `Conflict` when it has ended already in another way.
    """
    async with pg.connection() as connection, connection.transaction():
        row = await _one(connection, _CANCEL, {"id": analysis_id, "tenant": tenant_id})
        if row is not None:
            await tell(connection, row)
    if row is None:
        return await _unmoved(tenant_id, analysis_id, done=(State.CANCELLED,), verb="cancelled")
    await control.announce(STOPPED, analysis_id=str(analysis_id))
    return row


async def resume(
    tenant_id: int, analysis_id: UUID, *, max_tokens: int | None = None, max_micros: int | None = None
) -> Row | None:
    """Have an analysis that waits for money or failed go on from its last finished step.

    `max_tokens` and `max_micros` replace its envelope. None if there is no such analysis; raises `Conflict`
    when there is nothing to resume.
    """
    given = {"id": analysis_id, "tenant": tenant_id, "tokens": max_tokens, "micros": max_micros}
    async with pg.connection() as connection, connection.transaction():
        row = await _one(connection, _RESUME, given)
        if row is not None:
            await say(connection, analysis_id, f"{row['kind']}.resumed", {"state": State.QUEUED})
            return row
    return await _unmoved(tenant_id, analysis_id, done=(State.QUEUED, State.RUNNING), verb="resumed")


async def say(connection: Connection, analysis_id: UUID, name: str, data: dict[str, Any]) -> None:
    """Append an event to an analysis, within the caller's transaction."""
    await connection.execute(_SAY, {"id": analysis_id, "name": name, "data": Json(data)})


_KEPT = ("reason", "path", "limit", "check", "found", "side")


def reason(error: SkillgateError) -> dict[str, Any]:
    """Render an error for keeping: its type, message and the details that explain it."""
    kept: dict[str, Any] = {name: error.details[name] for name in _KEPT if name in error.details}
    return {**kept, "type": error.type, "message": error.message}


async def _unmoved(tenant_id: int, analysis_id: UUID, *, done: Sequence[str], verb: str) -> Row | None:
    row = await pg.fetch_one(_OWN, {"id": analysis_id, "tenant": tenant_id})
    if row is None or row["state"] in done:
        return row
    raise Conflict(f"The analysis is {row['state']} and cannot be {verb}.", state=row["state"])


async def _end(
    analysis_id: UUID,
    state: str,
    *,
    fence: int,
    busy: float,
    error: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
    retry_after: float = 0,
) -> None:
    given = {
        "id": analysis_id,
        "fence": fence,
        "state": state,
        "busy": busy,
        "error": None if error is None else Json(error),
        "result": None if result is None else Json(result),
        "after": retry_after,
        "is_ended": state in ENDED,
    }
    async with pg.connection() as connection, connection.transaction():
        before = await _one(connection, _REASON, {"id": analysis_id})
        row = await _one(connection, _END, given)
        if row is not None and not _is_repeated(before, row):
            await tell(connection, row)


def _is_repeated(before: Row | None, row: Row) -> bool:
    """An analysis that tries every minute whether there is money again is paused once, for whoever listens."""
    if row["state"] != State.AWAITING_BUDGET or before is None or before["error"] is None:
        return False
    return bool(before["error"] == row["error"] and before["told_steps"] == row["steps_done"])


async def tell(connection: Connection, row: Row) -> None:
    """Say that an analysis has come to a state, to those who listen and to its callback."""
    event = f"{row['kind']}.{row['state']}"
    data = {name: row[name] for name in ("state", "error", "steps_done", "steps_failed")}
    await say(connection, row["id"], event, data)
    if row["callback_id"] is not None and row["state"] in _TOLD:
        await connection.execute(_DELIVER, {"delivery": ids.uuid7(), "event": event, **_payload(row, event)})


def _payload(row: Row, event: str) -> dict[str, Any]:
    # What ended, not what it said: whoever is told fetches the result with a key.
    data = {
        "id": ids.encode(PREFIXES[row["kind"]], row["id"]),
        "state": row["state"],
        "skill": row["skill"],
        "metadata": row["metadata"],
        "error": row["error"],
        "used_tokens": row["used_tokens"],
        "cost_micros": row["used_micros"],
    }
    at = _instant(row["ended_at"] or row["available_at"])
    payload = {"type": event, "timestamp": at, "data": data}
    return {"tenant": row["tenant_id"], "endpoint": row["callback_id"], "payload": Json(payload)}


def _instant(at: datetime) -> str:
    return at.isoformat()


async def _one(connection: Connection, query: str, given: dict[str, Any]) -> Row | None:
    return await (await connection.execute(query.encode(), given)).fetchone()


_OWN = "SELECT * FROM skills_analysis WHERE id = %(id)s AND tenant_id = %(tenant)s AND deleted_at IS NULL"
_CLAIM = """
UPDATE skills_analysis SET state = 'running', fence = fence + 1, dispatched_at = NULL,
    lease_until = now() + make_interval(secs => %(lease)s), started_at = coalesce(started_at, now())
WHERE id = %(id)s AND state = 'queued' AND available_at <= now()
RETURNING *
"""
_RENEW = """
UPDATE skills_analysis SET lease_until = now() + make_interval(secs => %(lease)s)
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
"""
_PUT_BACK = """
UPDATE skills_analysis SET state = 'queued', lease_until = NULL, dispatched_at = NULL, failures = failures + %(failures)s,
    busy_seconds = busy_seconds + %(busy)s, available_at = now() + make_interval(secs => %(after)s)
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
"""
_REASON = """
SELECT error, (SELECT (e.data ->> 'steps_done')::integer FROM skills_analysisevent e
               WHERE e.analysis_id = a.id AND e.name = a.kind || '.awaiting_budget' ORDER BY e.id DESC LIMIT 1) AS told_steps
FROM skills_analysis a WHERE id = %(id)s
"""
_END = """
UPDATE skills_analysis SET state = %(state)s, lease_until = NULL, dispatched_at = NULL, error = %(error)s::jsonb,
    result = %(result)s::json, busy_seconds = busy_seconds + %(busy)s,
    available_at = now() + make_interval(secs => %(after)s), ended_at = CASE WHEN %(is_ended)s THEN now() END
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
RETURNING *
"""
_CANCEL = """
UPDATE skills_analysis SET state = 'cancelled', lease_until = NULL, dispatched_at = NULL, ended_at = now(), error = NULL
WHERE id = %(id)s AND tenant_id = %(tenant)s AND state IN ('queued', 'running', 'awaiting_budget')
RETURNING *
"""
_RESUME = """
UPDATE skills_analysis SET state = 'queued', dispatched_at = NULL, ended_at = NULL, available_at = now(), failures = 0,
    error = NULL, max_tokens = coalesce(%(tokens)s, max_tokens), max_micros = coalesce(%(micros)s, max_micros)
WHERE id = %(id)s AND tenant_id = %(tenant)s AND state IN ('failed', 'awaiting_budget') AND deleted_at IS NULL
RETURNING *
"""
_SAY = b"INSERT INTO skills_analysisevent (analysis_id, name, data, at) VALUES (%(id)s, %(name)s, %(data)s, now())"
_DELIVER = b"""
INSERT INTO skills_webhookdelivery (id, tenant_id, endpoint_id, event, payload)
SELECT %(delivery)s, e.tenant_id, e.id, %(event)s, %(payload)s::jsonb
FROM skills_webhookendpoint e WHERE e.id = %(endpoint)s AND e.tenant_id = %(tenant)s AND e.is_active
"""
