"""The audit log: what someone did is written with the deed, what was refused is gathered and written later.

Refused keys come from strangers in any number, so they never cost a statement each: equal ones
are counted together in memory, a bounded number of different ones, and go out in one INSERT.
"""

import json
import threading
from datetime import datetime
from typing import Any, NamedTuple

from kit import pg
from kit.errors import Unavailable
from tenants import periodic
from tenants.models import AuditEntry, Tenant

_MOST_DIFFERENT = 1000


class RefusedKey(NamedTuple):
    """What equal refusals have in common. `display` is empty for what does not have a key's form: it may be anything."""

    reason: str
    address: str = ""
    display: str = ""
    tenant_id: int | None = None
    public_id: str = ""


class _Times:
    __slots__ = ("count", "first_at", "last_at")

    def __init__(self, *, first_at: datetime, last_at: datetime, count: int) -> None:
        self.first_at, self.last_at, self.count = first_at, last_at, count


_gathered: dict[RefusedKey, _Times] = {}
_lock = threading.Lock()


def record(
    action: str, *, tenant: Tenant | None, actor: str, subject: str = "", address: str = "", **details: Any
) -> None:
    """Write an entry in the transaction under way."""
    AuditEntry.objects.create(
        tenant=tenant, actor=actor, action=action, subject=subject, address=address, details=details
    )


def gather(refused: RefusedKey, *, now: datetime, last_at: datetime | None = None, count: int = 1) -> None:
    """Count a refusal for the next write; what is too different for the room left loses its details."""
    with _lock:
        if refused not in _gathered and len(_gathered) >= _MOST_DIFFERENT:
            refused = RefusedKey(refused.reason)
        times = _gathered.setdefault(refused, _Times(first_at=now, last_at=now, count=0))
        times.count += count
        times.last_at = max(times.last_at, last_at or now)


@periodic.every(5)
async def flush() -> None:
    """Write the gathered refusals in one statement; without a database they are kept for the next time."""
    with _lock:
        taken = dict(_gathered)
        _gathered.clear()
    if not taken:
        return
    try:
        await pg.execute(_INSERT, {"rows": json.dumps([_row(refused, times) for refused, times in taken.items()])})
    except Unavailable:
        for refused, times in taken.items():
            gather(refused, now=times.first_at, last_at=times.last_at, count=times.count)
        raise


_INSERT = """
INSERT INTO tenants_auditentry (tenant_id, actor, action, subject, address, details, at)
SELECT t.id, r.actor, 'key.refused', r.subject, r.address, r.details, r.at
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(tenant_id bigint, actor text, subject text, address text, details jsonb, at timestamptz)
LEFT JOIN tenants_tenant t ON t.id = r.tenant_id
"""


def _row(refused: RefusedKey, times: _Times) -> dict[str, Any]:
    return {
        "tenant_id": refused.tenant_id,
        "actor": refused.public_id or "anonymous",
        "subject": refused.public_id,
        "address": refused.address[:64],
        "details": {
            "reason": refused.reason,
            "display": refused.display,
            "count": times.count,
            "first_at": times.first_at.isoformat(),
        },
        "at": times.last_at.isoformat(),
    }
