"""Daily totals for reports, kept from the events and always rebuildable from them.

Every settlement raises the revision of its day in its own transaction; a refresh looks at the days
whose revision was not rolled yet and adds what changed: events with new numbers, and those that were
open or estimated. So no event is missed, however late its commit, and a busy day is not read again.
"""

from datetime import date
from typing import Any

from django.db import connection, transaction

from tenants.models import Tenant
from usage.models import Totals
from usage.rows import fetch

_STALE = """
SELECT tenant_id, day FROM usage_dayrevision WHERE revision > rolled_revision ORDER BY tenant_id, day LIMIT %s
"""
# Days that change at this moment are left out: the next refresh sees to them.
_DIFFERENT = """
WITH days AS (
    SELECT tenant_id, day FROM usage_dayrevision WHERE revision = rolled_revision
    UNION
    SELECT e.tenant_id, e.day FROM usage_event e WHERE e.state <> 'open'
        AND NOT EXISTS (SELECT 1 FROM usage_dayrevision r WHERE r.tenant_id = e.tenant_id AND r.day = e.day)
    UNION
    SELECT d.tenant_id, d.day FROM usage_dailyusage d
        WHERE NOT EXISTS (SELECT 1 FROM usage_dayrevision r WHERE r.tenant_id = d.tenant_id AND r.day = d.day)
), events AS (
    SELECT t.* FROM days CROSS JOIN LATERAL usage_day_totals(days.tenant_id, days.day) t
), rollups AS (
    SELECT d.tenant_id, d.day, d.key_id, d.skill, d.model, d.calls, d.errors, d.estimated_calls, d.released_calls, d.unpriced_calls,
           d.input_tokens, d.output_tokens, d.cache_write_5m_tokens, d.cache_write_1h_tokens, d.cache_read_tokens, d.charged_tokens,
           d.cost_micros, d.estimated_micros, d.unpriced_micros, d.billed_micros
    FROM usage_dailyusage d JOIN days ON days.tenant_id = d.tenant_id AND days.day = d.day
)
SELECT 'rollup' AS side, * FROM (SELECT * FROM rollups EXCEPT ALL SELECT * FROM events) wrong
UNION ALL
SELECT 'events' AS side, * FROM (SELECT * FROM events EXCEPT ALL SELECT * FROM rollups) missing
ORDER BY tenant_id, day, key_id, skill, model, side
"""
# What the rows of a day add up to and what is kept as their sum, where the two differ.
_MEASURES = [field.name for field in Totals._meta.local_fields]  # noqa: SLF001 - where Django documents a model's fields
_ADDED = ", ".join(f"sum({name})::bigint" for name in _MEASURES)
_KEPT = ", ".join(_MEASURES)
_MISSUMMED = f"""
WITH rows AS (SELECT tenant_id, day, {_ADDED} FROM usage_dailyusage GROUP BY tenant_id, day),
sums AS (SELECT tenant_id, day, {_KEPT} FROM usage_tenantday)
SELECT tenant_id, day FROM (TABLE rows EXCEPT TABLE sums) missing
UNION SELECT tenant_id, day FROM (TABLE sums EXCEPT TABLE rows) wrong ORDER BY tenant_id, day
"""  # noqa: S608 - the columns are ours


# What a refresh goes on from, where nothing is to be refreshed: how far it came, and what it counted that may still change.
_MARKS = """
SELECT r.tenant_id, r.day FROM usage_dayrevision r
CROSS JOIN LATERAL (
    SELECT min(e.number) AS first, max(e.number) FILTER (WHERE e.state <> 'open') AS last, bool_or(e.number = r.rolled_number) AS is_there
    FROM usage_event e WHERE e.tenant_id = r.tenant_id AND e.day = r.day AND e.month = date_trunc('month', r.day)::date
) e
WHERE r.revision = r.rolled_revision AND r.revision > 0
    AND (r.first_number IS DISTINCT FROM e.first OR e.is_there IS NOT TRUE OR r.rolled_number < e.last)
ORDER BY r.tenant_id, r.day
"""
_NAMES = f"tenant_id, day, number, state, key_id, skill, model, {', '.join(_MEASURES)}"
_PROVISIONAL = f"""
WITH days AS (
    SELECT tenant_id, day, rolled_number FROM usage_dayrevision WHERE revision = rolled_revision
), events AS (
    SELECT {", ".join(f"p.{name.strip()}" for name in _NAMES.split(","))}
    FROM days CROSS JOIN LATERAL usage_day_parts(days.tenant_id, days.day) p
    WHERE p.state IN ('open', 'estimated') AND p.number <= days.rolled_number
), kept AS (
    SELECT {", ".join(f"p.{name.strip()}" for name in _NAMES.split(","))} FROM usage_provisionalusage p
    WHERE NOT EXISTS (SELECT 1 FROM usage_dayrevision r WHERE r.tenant_id = p.tenant_id AND r.day = p.day AND r.revision <> r.rolled_revision)
)
SELECT DISTINCT tenant_id, day, number FROM (
    (TABLE events EXCEPT ALL TABLE kept) UNION ALL (TABLE kept EXCEPT ALL TABLE events)
) wrong ORDER BY tenant_id, day, number
"""  # noqa: S608 - the columns are ours


def refresh(*, most: int = 1000) -> int:
    """Bring the rollups of changed days up to date and return how many days there were."""
    with connection.cursor() as cursor:
        cursor.execute(_STALE, [most])
        days = cursor.fetchall()
        for tenant_id, day in days:
            cursor.execute("SELECT usage_roll_day(%s, %s)", [tenant_id, day])
    return len(days)


def rebuild(tenant: Tenant, day: date) -> None:
    """Make a day's rollup anew from all its events."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT usage_forget_days(%s, %s, %s)", [tenant.pk, day, day])
        cursor.execute("DELETE FROM usage_tenantday WHERE tenant_id = %s AND day = %s", [tenant.pk, day])
        cursor.execute("SELECT usage_roll_day(%s, %s)", [tenant.pk, day])


def check() -> list[dict[str, Any]]:
    """Return every row by which rollups and events differ, days still to be refreshed left out.

    `side` says whether the row stands in the rollup or follows from the events.
    """
    return fetch(_DIFFERENT)


def check_sums() -> list[dict[str, Any]]:
    """Return every tenant and day whose kept sum is not what its rollups add up to."""
    return fetch(_MISSUMMED)


def check_marks() -> list[dict[str, Any]]:
    """Return every tenant and day that a refresh would go on with from a wrong number."""
    return fetch(_MARKS)


def check_provisional() -> list[dict[str, Any]]:
    """Return what is kept of events that may still change and is not what they say."""
    return fetch(_PROVISIONAL)
