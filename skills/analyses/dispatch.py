"""The queue: which analyses a message is sent for now. The rows are the outbox; a lost message is sent again.

A tenant has only so many under way or announced at a time, so that a thousand of one tenant's do
not stand before another's one. What a lost worker held is put back when its lease is over.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any
from uuid import UUID

from celery import current_app
from prometheus_client import Counter, Gauge

from kit import pg
from skills.analyses import documents, envelope, message_batches, states

log = logging.getLogger(__name__)

QUEUE = "analyses"
TASK = "skills.run_analysis"
STALE_SECONDS = 40  # a message that led to nothing for so long is taken for lost
PARALLEL = 4  # a tenant's share, unless its terms say otherwise
_MOST_LAPSES = 6
_MOST_AT_ONCE = 200
PUBLISHED = Counter("skillgate_analyses_published_total", "Messages sent for analyses.")
LAPSED = Counter("skillgate_analyses_lapsed_total", "Analyses put back because their worker was lost.")
WAITING = Gauge("skillgate_analyses_waiting", "Analyses by state.", ["state"])
_publisher = ThreadPoolExecutor(1, thread_name_prefix="analyses")
_under_way: set[asyncio.Future[None]] = set()


async def due() -> list[UUID]:
    """Choose the analyses to announce now, and note that they are."""
    async with pg.connection() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('skills_dispatch'))")
        given = {"stale": STALE_SECONDS, "share": PARALLEL, "most": _MOST_AT_ONCE}
        rows = await (await connection.execute(_DUE, given)).fetchall()
    return [row["id"] for row in sorted(rows, key=lambda row: (row["place"], -row["priority"], row["id"]))]


def publish(analysis_ids: Sequence[UUID]) -> None:
    """Send a message for each; one that cannot be sent is sent later by the timetable."""
    for analysis_id in analysis_ids:
        try:
            current_app.send_task(TASK, args=[str(analysis_id)], queue=QUEUE, retry=False)
        except Exception as trouble:  # noqa: BLE001 - whatever the broker's transport raises: the rows are the truth
            log.warning("analysis %s was not announced: %s", analysis_id, trouble)
            return
        PUBLISHED.inc()


async def wake() -> None:
    """Announce what is due, without waiting for the broker; for processes that serve requests."""
    if _under_way:  # one slow broker must not take more than a thread; the timetable does the rest
        return
    chosen = await due()
    sending = asyncio.get_running_loop().run_in_executor(_publisher, copy_context().run, publish, chosen)
    _under_way.add(sending)
    sending.add_done_callback(_under_way.discard)


async def recover() -> int:
    """Put back what lost workers held, and try again what waited for money; returns how many."""
    async with pg.connection() as connection, connection.transaction():
        lapsed = await (await connection.execute(_LAPSED, {"most": _MOST_LAPSES})).fetchall()
        for row in lapsed:
            log.warning("analysis %s lost its worker and is %s", row["id"], row["state"])
            if row["state"] == states.State.FAILED:
                await states.tell(connection, row)
    LAPSED.inc(len(lapsed))
    await message_batches.keep_alive()
    await message_batches.abandon()
    again = await pg.execute(_AGAIN)
    for row in await pg.fetch_all(_UNBOOKED):
        await envelope.reconcile(row["tenant_id"], row["id"])
    return len(lapsed) + again


async def count() -> dict[str, int]:
    """Count the analyses that have not ended, by state."""
    rows = await pg.fetch_all(_COUNT)
    counted = {row["state"]: row["count"] for row in rows}
    for state in ("queued", "running", "awaiting_budget"):
        WAITING.labels(state).set(counted.get(state, 0))
    return counted


async def delete(tenant_id: int, analysis_id: UUID) -> bool:
    """Delete the content of an analysis that has ended; what it used stays in the ledger."""
    given = {"tenant": tenant_id, "id": analysis_id}
    files: list[dict[str, Any]] = []
    async with pg.connection() as connection, connection.transaction():
        row = await (await connection.execute(_EMPTY, given)).fetchone()
        if row is not None:
            files = await (await connection.execute(_DROP_DOCUMENTS, given)).fetchall()
            await connection.execute(_DROP_STEPS, given)
            await connection.execute(_DROP_EVENTS, given)
    for one in files:
        if one["path"]:
            await asyncio.to_thread((documents.folder() / one["path"]).unlink, missing_ok=True)
    return row is not None


async def delete_expired() -> int:
    """Delete the content of analyses that have been kept for as long as their tenant wants."""
    await pg.execute(_GIVE_UP)
    rows = await pg.fetch_all(_EXPIRED)
    for row in rows:
        await delete(row["tenant_id"], row["id"])
    return len(rows)


_DUE = b"""
WITH busy AS (
    SELECT tenant_id, count(*) AS count FROM skills_analysis
    WHERE state = 'running' OR (state = 'queued' AND dispatched_at > now() - make_interval(secs => %(stale)s))
    GROUP BY tenant_id
), waiting AS (
    SELECT a.id, a.tenant_id, a.priority, coalesce(b.count, 0)
        + row_number() OVER (PARTITION BY a.tenant_id ORDER BY a.priority DESC, a.id) AS place
    FROM skills_analysis a LEFT JOIN busy b ON b.tenant_id = a.tenant_id
    WHERE a.state = 'queued' AND a.available_at <= now()
        AND (a.dispatched_at IS NULL OR a.dispatched_at <= now() - make_interval(secs => %(stale)s))
), chosen AS (
    SELECT w.id, w.place FROM waiting w LEFT JOIN skills_analysisterms t ON t.tenant_id = w.tenant_id
    WHERE w.place <= coalesce(t.parallel_analyses, %(share)s)
    ORDER BY w.place, w.priority DESC, w.id LIMIT %(most)s
)
UPDATE skills_analysis a SET dispatched_at = now() FROM chosen WHERE a.id = chosen.id
RETURNING a.id, a.priority, chosen.place
"""
# One that loses its workers again and again without finishing a step would take every worker down: it fails.
_LAPSED = b"""
UPDATE skills_analysis SET
    state = CASE WHEN failures + 1 >= %(most)s THEN 'failed' ELSE 'queued' END,
    ended_at = CASE WHEN failures + 1 >= %(most)s THEN now() END,
    error = CASE WHEN failures + 1 >= %(most)s THEN jsonb_build_object(
        'type', 'api_error', 'reason', 'worker_lost', 'message', 'Its workers were lost again and again. It can be resumed.'
    ) END,
    failures = failures + 1, lease_until = NULL, dispatched_at = NULL, available_at = now()
WHERE state = 'running' AND lease_until < now()
RETURNING *
"""
_AGAIN = """
UPDATE skills_analysis SET state = 'queued', dispatched_at = NULL
WHERE state = 'awaiting_budget' AND available_at <= now()
"""
_UNBOOKED = """
SELECT DISTINCT a.tenant_id, a.id FROM skills_analysiscall c JOIN skills_analysis a ON a.id = c.analysis_id
LEFT JOIN skills_messagebatch b ON b.id = c.message_batch_id
WHERE c.closed_at IS NULL AND a.state <> 'running' AND (b.id IS NULL OR b.state = 'ended') LIMIT 100
"""
_COUNT = """
SELECT state, count(*) AS count FROM skills_analysis WHERE state IN ('queued', 'running', 'awaiting_budget') GROUP BY state
"""
_EMPTY = b"""
UPDATE skills_analysis SET deleted_at = now(), result = NULL, input = '{}', instructions = '', output_schema = NULL,
    metadata = '{}', error = NULL
WHERE id = %(id)s AND tenant_id = %(tenant)s AND deleted_at IS NULL AND state IN ('succeeded', 'failed', 'cancelled')
RETURNING id
"""
_DROP_DOCUMENTS = b"DELETE FROM skills_analysisdocument WHERE analysis_id = %(id)s RETURNING path"
_DROP_STEPS = b"DELETE FROM skills_analysisstep WHERE analysis_id = %(id)s"
_DROP_EVENTS = b"DELETE FROM skills_analysisevent WHERE analysis_id = %(id)s"
_GIVE_UP = """
UPDATE skills_analysis a SET state = 'cancelled', ended_at = now(), dispatched_at = NULL
FROM tenants_tenant t
WHERE t.id = a.tenant_id AND a.state = 'awaiting_budget' AND a.created_at < now() - make_interval(days => t.retention_days)
"""
_EXPIRED = """
SELECT a.tenant_id, a.id FROM tenants_tenant t JOIN skills_analysis a ON a.tenant_id = t.id
WHERE a.deleted_at IS NULL AND a.created_at < now() - make_interval(days => t.retention_days)
    AND a.state IN ('succeeded', 'failed', 'cancelled') LIMIT 500
"""
