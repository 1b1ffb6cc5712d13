"""Where a tenant is told: adding, rotating and removing endpoints. A secret is shown once, when it begins to be used."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from kit import ids, pg
from kit.errors import NotFound
from kit.statements import Connection
from skills.webhooks import sending, signing

LONGEST_OVERLAP = timedelta(hours=24)
Row = dict[str, Any]


async def of_url(connection: Connection, tenant_id: int, url: str) -> tuple[UUID, str | None]:
    """Find or make a tenant's endpoint for a URL; the secret comes only with a new one.

    Raises `InvalidRequest` for a URL that messages may not go to.
    """
    checked = sending.check_url(url, path="/callback_url")
    row = await (await connection.execute(_ENSURE, {"id": ids.uuid7(), "tenant": tenant_id, "url": checked})).fetchone()
    if row is None:
        raise NotFound("There is no such webhook endpoint.")
    is_first = bool(row["is_new"])
    return row["id"], signing.secret(row["id"], generation=row["generation"]) if is_first else None


async def add(tenant_id: int, url: str) -> tuple[Row, str | None]:
    """Make an endpoint, or enable the one that the URL has already; with its secret if it is new."""
    async with pg.connection() as connection, connection.transaction():
        endpoint_id, secret = await of_url(connection, tenant_id, url)
    return await one(tenant_id, endpoint_id), secret


async def one(tenant_id: int, endpoint_id: UUID | None) -> Row:
    """Return an endpoint; raises `NotFound`."""
    row = None if endpoint_id is None else await pg.fetch_one(f"{_ROWS} AND id = %(id)s", _of(tenant_id, endpoint_id))
    return _found(row)


async def every(tenant_id: int) -> list[Row]:
    """List a tenant's endpoints, the newest first."""
    return await pg.fetch_all(f"{_ROWS} ORDER BY id DESC LIMIT 500", {"tenant": tenant_id})


async def rotate(tenant_id: int, endpoint_id: UUID | None, *, overlap: timedelta, now: datetime) -> tuple[Row, str]:
    """Give an endpoint a new secret; for the overlap, messages are signed with the old one too."""
    until = now + min(max(overlap, timedelta(0)), LONGEST_OVERLAP)
    row = _found(await pg.fetch_one(_ROTATE, {**_of(tenant_id, endpoint_id), "until": until}))
    return row, signing.secret(row["id"], generation=row["generation"])


async def remove(tenant_id: int, endpoint_id: UUID | None) -> None:
    """Stop all messages to an endpoint; its log stays until it would be deleted anyway."""
    _found(await pg.fetch_one(_DISABLE, {**_of(tenant_id, endpoint_id), "reason": "removed"}))


def _of(tenant_id: int, endpoint_id: UUID | None) -> Row:
    return {"tenant": tenant_id, "id": endpoint_id}


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound("There is no such webhook endpoint.")
    return row


_ENSURE = b"""
INSERT INTO skills_webhookendpoint AS e (id, tenant_id, url) VALUES (%(id)s, %(tenant)s, %(url)s)
ON CONFLICT (tenant_id, url) DO UPDATE SET is_active = true, disabled_reason = ''
RETURNING e.id, e.generation, e.id = %(id)s AS is_new
"""
_ROWS = "SELECT * FROM skills_webhookendpoint WHERE tenant_id = %(tenant)s"
_ROTATE = """
UPDATE skills_webhookendpoint SET generation = generation + 1, previous_until = %(until)s
WHERE tenant_id = %(tenant)s AND id = %(id)s RETURNING *
"""
_DISABLE = """
UPDATE skills_webhookendpoint SET is_active = false, disabled_reason = %(reason)s
WHERE tenant_id = %(tenant)s AND id = %(id)s RETURNING *
"""
