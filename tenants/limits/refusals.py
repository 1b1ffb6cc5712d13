"""How often a key's calls were refused, by hour and reason: counted in memory, written in batches."""

import json
import threading
from collections import Counter
from datetime import datetime
from typing import NamedTuple

from prometheus_client import Counter as Metric

from kit import pg
from kit.errors import Unavailable
from tenants import periodic
from tenants.keys.caller import Caller

REFUSED = Metric("skillgate_refused_total", "Calls refused by a limit or a budget.", ["reason"])

_MOST_DIFFERENT = 50_000


class _Kind(NamedTuple):
    tenant_id: int
    key_id: int
    hour: str
    reason: str


_counted: Counter[_Kind] = Counter()
_lock = threading.Lock()


def count(caller: Caller, *, reason: str, now: datetime) -> None:
    """Count one refused call of a key's family; `reason` names the limit or budget."""
    periodic.ensure()
    REFUSED.labels(reason).inc()
    hour = now.replace(minute=0, second=0, microsecond=0).isoformat()
    kind = _Kind(caller.tenant_id, caller.family_id, hour, reason[:64])
    with _lock:
        if kind in _counted or len(_counted) < _MOST_DIFFERENT:
            _counted[kind] += 1


@periodic.every(5)
async def flush() -> None:
    """Add what was counted to the table in one statement; without a database it is kept."""
    with _lock:
        taken = Counter(_counted)
        _counted.clear()
    if not taken:
        return
    try:
        await pg.execute(_UPSERT, {"rows": json.dumps([{**kind._asdict(), "count": n} for kind, n in taken.items()])})
    except Unavailable:
        with _lock:
            _counted.update(taken)
        raise


# In the order of the unique constraint, so that two processes never wait for each other in a ring.
_UPSERT = """
INSERT INTO tenants_refusal AS kept (tenant_id, key_id, hour, reason, count)
SELECT r.tenant_id, r.key_id, r.hour, r.reason, r.count
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(tenant_id bigint, key_id bigint, hour timestamptz, reason text, count bigint)
JOIN tenants_apikey k ON k.tenant_id = r.tenant_id AND k.id = r.key_id
ORDER BY r.key_id, r.hour, r.reason
ON CONFLICT (key_id, hour, reason) DO UPDATE SET count = kept.count + excluded.count
"""
