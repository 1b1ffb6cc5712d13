"""Delivering what is due: signed, tried again over a day, given up then; an endpoint that is gone is told no more."""

import asyncio
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from prometheus_client import Counter
from psycopg.types.json import Json

from kit import clock, ids, pg
from kit.errors import NotFound
from skills.webhooks import sending, signing

# Seconds until each further attempt: ten attempts in a little over a day.
SCHEDULE = (5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 46_800)
_AT_ONCE = 20
_LEASE_SECONDS = 30
_GONE = 410
_MOST_LOGGED = 20
_MOST_ROUNDS = 2  # so that receivers that do not answer keep a worker for seconds, not for minutes
DELIVERIES = Counter("skillgate_webhook_attempts_total", "Attempts to deliver a webhook.", ["outcome"])
Row = dict[str, Any]


async def deliver_due() -> int:
    """Attempt every delivery that is due, and return how many attempts that were."""
    attempts = 0
    for _ in range(_MOST_ROUNDS):
        taken = await pg.fetch_all(_TAKE, {"most": _AT_ONCE, "lease": _LEASE_SECONDS})
        if not taken:
            break
        await asyncio.gather(*(_attempt(row) for row in taken))
        attempts += len(taken)
    return attempts


async def redeliver(tenant_id: int, delivery_id: UUID | None) -> Row:
    """Have a delivery sent again, now; raises `NotFound`."""
    row = None if delivery_id is None else await pg.fetch_one(_AGAIN, {"tenant": tenant_id, "id": delivery_id})
    if row is None:
        raise NotFound("There is no such delivery.")
    return row


async def page(tenant_id: int, endpoint_id: UUID, *, limit: int = 100) -> list[Row]:
    """List an endpoint's deliveries with their attempts, the newest first."""
    return await pg.fetch_all(_PAGE, {"tenant": tenant_id, "endpoint": endpoint_id, "limit": limit})


async def _attempt(row: Row) -> None:
    now = clock.now()
    body = json.dumps(row["payload"], ensure_ascii=False, separators=(",", ":")).encode()
    headers = signing.headers(row, message_id=ids.encode("msg", row["id"]), body=body, now=now)
    started = clock.monotonic()
    status: int | None = None
    error = ""
    try:
        status = await sending.post(row["url"], body=body, headers={**headers, "content-type": "application/json"})
    except sending.Undelivered as undelivered:
        error = str(undelivered)
    note = {
        "at": now.isoformat(),
        "status": status,
        "error": error,
        "ms": int((clock.monotonic() - started) * 1000),
    }
    await _record(row, status=status, note=note, now=now)


async def _record(row: Row, *, status: int | None, note: Row, now: datetime) -> None:
    is_delivered = status is not None and 200 <= status < 300
    is_over = status == _GONE or row["attempts"] > len(SCHEDULE)
    state = "delivered" if is_delivered else "dead" if is_over else "pending"
    DELIVERIES.labels(state).inc()
    wait = SCHEDULE[min(row["attempts"], len(SCHEDULE)) - 1]
    given = {
        "id": row["id"],
        "state": state,
        "wait": wait,
        "log": Json([*row["log"], note][-_MOST_LOGGED:]),
        "is_ended": state != "pending",
    }
    await pg.execute(_RECORD, given)
    if status == _GONE:
        await pg.execute(_DISABLE, {"id": row["endpoint_id"]})


_TAKE = """
WITH taken AS (
    SELECT d.id FROM skills_webhookdelivery d JOIN skills_webhookendpoint e ON e.id = d.endpoint_id
    WHERE d.state = 'pending' AND d.next_at <= now() AND e.is_active
    ORDER BY d.next_at LIMIT %(most)s FOR UPDATE OF d SKIP LOCKED
)
UPDATE skills_webhookdelivery d SET attempts = attempts + 1, next_at = now() + make_interval(secs => %(lease)s)
FROM taken, skills_webhookendpoint e
WHERE d.id = taken.id AND e.id = d.endpoint_id
RETURNING d.id, d.payload, d.attempts, d.log, e.id AS endpoint_id, e.url, e.generation, e.previous_until
"""
_RECORD = """
UPDATE skills_webhookdelivery SET state = %(state)s, log = %(log)s::jsonb, next_at = now() + make_interval(secs => %(wait)s),
    ended_at = CASE WHEN %(is_ended)s THEN now() END
WHERE id = %(id)s
"""
_DISABLE = """
UPDATE skills_webhookendpoint SET is_active = false, disabled_reason = 'It answered 410 Gone.' WHERE id = %(id)s
"""
_AGAIN = """
UPDATE skills_webhookdelivery SET state = 'pending', attempts = 0, next_at = now(), ended_at = NULL
WHERE tenant_id = %(tenant)s AND id = %(id)s RETURNING *
"""
_PAGE = """
SELECT * FROM skills_webhookdelivery WHERE tenant_id = %(tenant)s AND endpoint_id = %(endpoint)s
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""
